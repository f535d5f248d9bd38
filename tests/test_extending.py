"""The learners that docs/extending.md writes keep the promises of the family."""

import doctest
import importlib.util
import pickle
import re
import sys
import tempfile
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.spatial.distance import cdist
from sklearn.base import clone
from sklearn.utils import estimator_checks
from sklearn.utils.estimator_checks import parametrize_with_checks

from sklearn_fewshot.model_selection import episodic_score
from sklearn_fewshot.nn import EpisodicCrossEntropy, Support

PAGE = Path(__file__).parents[1] / "docs" / "extending.md"
BLOCKS = re.findall(r"^```python\n(.*?)^```$", PAGE.read_text("utf-8"), re.DOTALL | re.MULTILINE)
EXAMPLES = [block for block in BLOCKS if block.startswith(">>>")]
LEARNERS = [block for block in BLOCKS if block not in EXAMPLES]
BUDGET = {"n_way": 5, "n_query": 3, "episodes_per_epoch": 5, "max_epochs": 2, "random_state": 0}


def module_of_the_page():
    """Import the page's code as a module of its own, as pickles and the page itself want it."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "learners_of_the_page.py"
        path.write_text("\n".join(LEARNERS), "utf-8")
        spec = importlib.util.spec_from_file_location(path.stem, path)
        module = sys.modules[path.stem] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    return module


PAGES_OWN = module_of_the_page()
MahalanobisHead = PAGES_OWN.MahalanobisHead
MahalanobisNetClassifier = PAGES_OWN.MahalanobisNetClassifier


@pytest.fixture(scope="module")
def learner(table):
    return MahalanobisNetClassifier(**BUDGET).fit(table.X, table.y)


@pytest.fixture
def episodes():
    """Two episodes of six examples of three classes, all different; and queries."""
    rng = np.random.default_rng(0)
    code = torch.tensor([[0, 1, 2, 2, 1, 1], [2, 2, 0, 1, 0, 0]])
    embedding, query = (torch.from_numpy(rng.normal(size=(2, n, 4))) for n in (6, 5))
    return Support(embedding, code, torch.ones(2, 6, dtype=torch.float64), 3), query


def scored(support, query):
    head = MahalanobisHead(ridge=0.3)
    with torch.inference_mode():
        return head.score(head.context(head.represent(support)), query).numpy()


def items(support, index):
    """Take some items of every episode."""
    return Support(*(value[:, index] for value in support[:3]), support.n_classes)


def unit(rows):
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


# ------------------------------------------------------------------ the page


def test_the_page_has_code_and_examples():
    assert len(LEARNERS) == 3
    assert len(EXAMPLES) == 3


@pytest.mark.parametrize("code", LEARNERS, ids=["metric", "optimisation", "model"])
def test_a_learner_has_forty_lines_as_the_page_says(code):
    without_docs = re.sub(r'""".*?"""', "", code, flags=re.DOTALL)
    assert sum(bool(line.strip()) for line in without_docs.splitlines()) <= 40


def test_the_examples_of_the_page_print_what_it_says():
    parsed = doctest.DocTestParser().get_doctest(
        "\n".join(EXAMPLES), vars(PAGES_OWN).copy(), PAGE.name, str(PAGE), 0
    )
    runner = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS)
    report = []
    runner.run(parsed, out=report.append)
    assert not runner.summarize(verbose=False).failed, "".join(report)


# ------------------------------------------------------------------ scikit-learn


@pytest.mark.filterwarnings("ignore:.* training classes of .* too few examples:UserWarning")
@pytest.mark.filterwarnings("ignore:.* has no validation classes:UserWarning")
@pytest.mark.filterwarnings("ignore:X .* feature names, but .* was fitted with:UserWarning")
@parametrize_with_checks([MahalanobisNetClassifier(**BUDGET)])
def test_scikit_learn_agrees(estimator, check, monkeypatch):
    monkeypatch.setenv("SCIPY_ARRAY_API", "1")  # one check asks for it
    check(estimator)


def test_wrong_values_are_refused():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the check trains on a handful of rows
        estimator_checks.check_param_validation(
            "MahalanobisNetClassifier", MahalanobisNetClassifier(**BUDGET)
        )


def test_the_signature_shows_all_parameters():
    params = MahalanobisNetClassifier(ridge=2.0, lr=0.1).get_params()
    assert (params["ridge"], params["lr"], params["n_way"]) == (2.0, 0.1, 60)
    assert clone(MahalanobisNetClassifier(ridge=2.0)).ridge == 2.0
    assert "random_state : int" in MahalanobisNetClassifier.__doc__
    assert "{" not in MahalanobisNetClassifier.__doc__.replace('{"', "")
    with pytest.raises(TypeError, match=r"no parameter 'rigde'. Did you mean 'ridge'"):
        MahalanobisNetClassifier(rigde=1.0)


# ------------------------------------------------------------------ the equations


def test_scores_are_those_of_scipys_mahalanobis_distance(episodes):
    support, query = episodes
    scores = scored(support, query)
    for e in range(2):
        X, code = unit(support.inputs[e].numpy()), support.target[e].numpy()
        means = np.stack([X[code == k].mean(axis=0) for k in range(3)])
        deviation = X - means[code]
        Q = deviation.T @ deviation / 6 + 0.3 * np.eye(4)
        distance = cdist(unit(query[e].numpy()), means, "mahalanobis", VI=np.linalg.inv(Q))
        np.testing.assert_allclose(scores[e], -10.0 * distance**2, rtol=1e-6)


def test_the_network_is_trained_through_the_solution(episodes):
    """The slope of the loss is the quotient of small differences, for embeddings and ridge."""
    support, query = episodes
    head, target = MahalanobisHead(ridge=0.3).double(), torch.tensor([[0, 1, 2, 0, 1]] * 2)

    def loss(embedding, log_ridge):
        representation = support._replace(inputs=embedding)
        weights = {"head.log_ridge": log_ridge}
        context = torch.func.functional_call(_Context(head), weights, (representation,))
        return EpisodicCrossEntropy()(head.score(context, query), target)

    inputs = support.inputs.requires_grad_(), head.log_ridge.detach().requires_grad_()
    assert torch.autograd.gradcheck(loss, inputs)


class _Context(torch.nn.Module):
    """The method that solves, as a module's forward pass."""

    def __init__(self, head):
        super().__init__()
        self.head = head

    def forward(self, representation):
        return self.head.context(representation)


def test_neither_order_nor_padding_has_influence(episodes):
    support, query = episodes
    expected = scored(support, query)
    shuffled = items(support, torch.tensor([3, 5, 0, 2, 1, 4]))
    np.testing.assert_allclose(scored(shuffled, query), expected)
    twice = items(support, torch.tensor([0, 1, 2, 3, 4, 5, 0, 3]))
    twice.weight[:, 6:] = 0.0
    np.testing.assert_allclose(scored(twice, query), expected)


def test_weights_count_examples_and_duplicates_change_nothing(episodes):
    support, query = episodes
    doubled = items(support, torch.arange(8) % 6)
    weight = support.weight.clone()
    weight[:, :2] = 2.0
    weighted = support._replace(weight=weight)
    np.testing.assert_allclose(scored(weighted, query), scored(doubled, query))
    twice = items(support, torch.arange(12) % 6)
    np.testing.assert_allclose(scored(twice, query), scored(support, query))


def test_a_class_without_examples_is_out(episodes):
    support, query = episodes
    scores = scored(support._replace(n_classes=4), query)
    assert (scores[..., 3] == -np.inf).all()
    np.testing.assert_allclose(scores[..., :3], scored(support, query))


# ------------------------------------------------------------------ the learner


def test_renaming_the_classes_permutes_the_columns(learner, table):
    codes = np.unique(table.y_new, return_inverse=True)[1]
    names = np.array(["d", "a", "c", "b"])
    renamed = learner.adapt(table.X_new, names[codes])
    expected = learner.adapt(table.X_new, table.y_new)
    columns = np.argsort(np.argsort(names))
    np.testing.assert_allclose(
        renamed.predict_proba(table.X)[:, columns], expected.predict_proba(table.X), atol=1e-6
    )


def test_the_score_of_a_query_does_not_depend_on_the_others(learner, table):
    classifier = learner.adapt(table.X_new, table.y_new)
    together = classifier.decision_function(table.X)
    np.testing.assert_allclose(classifier.decision_function(table.X[[5]]), together[[5]], atol=1e-6)


def test_learning_on_equals_learning_at_once(learner, table):
    half = len(table.y_new) // 2
    classifier = learner.adapt(table.X_new[:half], table.y_new[:half])
    classifier.partial_fit(table.X_new[half:], table.y_new[half:])
    expected = learner.adapt(table.X_new, table.y_new)
    np.testing.assert_allclose(
        classifier.decision_function(table.X), expected.decision_function(table.X), atol=1e-6
    )


def test_a_pickle_predicts_the_same(learner, table):
    loaded = pickle.loads(pickle.dumps(learner))
    np.testing.assert_array_equal(loaded.predict_proba(table.X), learner.predict_proba(table.X))


def test_training_makes_a_random_network_see_what_matters():
    """Nine of twelve features are noise; the network has random weights."""
    rng = np.random.default_rng(0)
    y = np.repeat(np.arange(30), 15)
    means = np.hstack([rng.normal(scale=4.0, size=(30, 3)), np.zeros((30, 9))])
    X = means[y] + rng.normal(size=(len(y), 12)) * np.repeat([1.0, 8.0], [3, 9])
    base = y < 24
    accuracy = []
    for max_epochs in (0, 3):
        learner = MahalanobisNetClassifier(
            backbone="mlp", n_way=10, episodes_per_epoch=20, max_epochs=max_epochs, lr=3e-3,
            validation_fraction=0.0, random_state=0,
        )  # fmt: skip
        learner.fit(X[base], y[base])
        task = {"n_way": 6, "n_shot": 3, "n_query": 5, "n_episodes": 10}
        accuracy.append(episodic_score(learner, X[~base], y[~base], **task).mean)
    assert accuracy[0] < 0.5
    assert accuracy[1] > 0.7
