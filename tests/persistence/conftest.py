"""What the tests of model files share."""

import pytest
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sklearn_fewshot import FewShotClassifier, load_model, save_model


@pytest.fixture
def path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # where a file that executes something leaves traces
    return tmp_path / "model.skops"


@pytest.fixture(scope="session")
def small_file(tmp_path_factory):
    """Bytes of a file of a classifier without a learner."""
    path = tmp_path_factory.mktemp("small") / "model.skops"
    save_model(FewShotClassifier().fit([[0.0, 1.0], [4.0, 5.0]], ["a", "b"]), path)
    return path.read_bytes()


@pytest.fixture(scope="session")
def piped(make_learner, table):
    return make_pipeline(StandardScaler(), make_learner(max_epochs=1)).fit(table.X, table.y)


@pytest.fixture(scope="session")
def small(make_learner, table):
    """A learner whose file is small."""
    return make_learner(backbone="identity").fit(table.X, table.y)


@pytest.fixture
def through_file(path):
    def through(estimator, **options):
        save_model(estimator, path)
        return load_model(path, **options)

    return through
