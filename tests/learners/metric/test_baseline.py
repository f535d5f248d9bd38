"""The baseline: ordinary training on the base classes, centroids or regression of new ones."""

import numpy as np
import pytest
import torch
from scipy.special import softmax
from sklearn.preprocessing import normalize

from sklearn_fewshot import BaselineClassifier
from sklearn_fewshot.model_selection import episodic_score
from sklearn_fewshot.nn import ClassifierModule, CosineClassifier, SampleLoader, Support
from sklearn_fewshot.nn.heads import AnchoredCentroidHead, AnchoredHead, CentroidHead
from sklearn_fewshot.training import _meta_train

BUDGET = {
    "n_way": 5,
    "n_shot": 1,
    "n_query": 3,
    "episodes_per_epoch": 5,
    "max_epochs": 2,
    "refit": False,
    "random_state": 0,
}


def make(**params):
    return BaselineClassifier(**{**BUDGET, **params})


@pytest.fixture
def trained(monkeypatch):
    """The modules and tasks of all trainings, in order."""
    seen = []

    def spy(module, criterion, task, **params):
        seen.append((module, task))
        return train(module, criterion, task, **params)

    train = _meta_train.train
    monkeypatch.setattr(_meta_train, "train", spy)
    return seen


def served(task, n_epochs=10):
    """Return rows and classes of some epochs of training."""
    batches = [batch for _ in range(n_epochs) for batch in task.train]
    inputs = torch.cat([batch.inputs for batch in batches]).numpy()
    return inputs, torch.cat([batch.target for batch in batches]).numpy()


# ------------------------------------------------------------------ training


def test_held_out_classes_are_not_among_those_of_the_classifier(trained, table):
    held_out = np.unique(table.y)[[1, 4, 5]]
    make(validation_classes=held_out, max_epochs=1).fit(table.X, table.y)
    ((module, task),) = trained
    assert isinstance(module, ClassifierModule)
    assert isinstance(task.train, SampleLoader)
    assert module.classifier.out_features == 5
    inputs, classes = served(task)
    label_of = {x.astype(np.float32).tobytes(): y for x, y in zip(table.X, table.y, strict=True)}
    seen = np.array([label_of[x.tobytes()] for x in inputs])
    trained_on = np.setdiff1d(np.unique(table.y), held_out)
    np.testing.assert_array_equal(seen, trained_on[classes])
    assert set(seen) == set(trained_on)
    assert len(np.unique(inputs, axis=0)) == np.isin(table.y, trained_on).sum()


def test_the_second_training_has_all_classes(trained, table):
    make(backbone="mlp", lr=1e-2, refit=True).fit(table.X, table.y)
    assert [module.classifier.out_features for module, _ in trained] == [6, 8]


def test_the_validation_episodes_are_those_of_the_family(trained, table):
    learner = make(n_way=2, n_query=6).fit(table.X, table.y)
    ((_, task),) = trained
    assert task.valid.plan.query.shape[1:] == (2, 6)
    assert {"valid_acc", "valid_loss", "train_loss"} <= set(learner.history_[0])


def test_an_epoch_has_as_many_batches_as_asked_for(trained, table):
    make(episodes_per_epoch=3, batch_size=17, validation_fraction=0.0).fit(table.X, table.y)
    ((_, task),) = trained
    assert [len(batch.inputs) for batch in task.train] == [17] * 3


@pytest.mark.parametrize(
    ("classifier", "cls"), [("softmax", torch.nn.Linear), ("cosine", CosineClassifier)]
)
def test_the_last_layer_is_left_behind(classifier, cls, trained, table):
    learner = make(classifier=classifier, scale=7.0).fit(table.X, table.y)
    ((module, _),) = trained
    assert type(module.classifier) is cls
    if classifier == "cosine":
        assert module.classifier.scale == 7.0
    names = set(learner.module_.state_dict())
    assert names == {name for name in module.state_dict() if not name.startswith("classifier")}


def test_the_loss_of_training_falls(table):
    for classifier in ("softmax", "cosine"):
        learner = make(classifier=classifier, validation_fraction=0.0, max_epochs=10, lr=1e-2)
        losses = [row["train_loss"] for row in learner.fit(table.X, table.y).history_]
        assert losses[-1] < 0.7 * losses[0]


def test_training_by_cosines_recognises_new_classes(table):
    learner = make(classifier="cosine").fit(table.X, table.y)
    result = episodic_score(
        learner, table.X_new, table.y_new, n_way=4, n_shot=2, n_query=4, n_episodes=20
    )
    assert result.mean > 0.7


def test_pictures_are_distorted_on_request(pictures):
    plain, distorted = (
        make(augment=augment, validation_fraction=0.0).fit(pictures.X, pictures.y)
        for augment in (None, "affine")
    )
    losses = [learner.history_[-1]["train_loss"] for learner in (plain, distorted)]
    assert losses[0] != losses[1]


# ------------------------------------------------------------------ new classes


def unit_embeddings(learner, *samples):
    return [normalize(learner.transform(X).astype(float)) for X in samples]


@pytest.mark.parametrize("kind", ["table", "pictures", "series"])
def test_centroids_equal_plain_loops(kind, request):
    toy = request.getfixturevalue(kind)
    learner = make(scale=5.0, max_epochs=1, calibrate=False).fit(toy.X, toy.y)
    assert isinstance(learner.module_.head, CentroidHead)
    X_support, y_support = toy.X_new[:11], toy.y_new[:11]
    support, query = unit_embeddings(learner, X_support, toy.X)
    expected = []
    for label in np.unique(y_support):
        members = support[y_support == label]
        centroid = sum(members) / len(members)
        expected.append(5.0 * (query @ centroid / np.linalg.norm(centroid) - 1.0))
    expected = np.stack(expected, axis=1)
    classifier = learner.adapt(X_support, y_support)
    np.testing.assert_allclose(classifier.decision_function(toy.X), expected, atol=1e-5)
    np.testing.assert_allclose(
        classifier.predict_proba(toy.X), softmax(expected, axis=1), atol=1e-5
    )


def test_the_regression_is_that_of_the_embeddings(table):
    params = {"validation_fraction": 0.0, "calibrate": False}
    learner = make(readout="anchored", **params).fit(table.X, table.y)
    assert isinstance(learner.module_.head, AnchoredCentroidHead)
    X_support, y_support = table.X_new[:17], table.y_new[:17]
    rows, queries = (learner.transform(X).astype(float) for X in (X_support, table.X))
    codes = np.unique(y_support, return_inverse=True)[1]
    head = AnchoredHead("cosine", 10.0).double()
    n_classes = len(np.unique(codes))
    support = Support(*(torch.from_numpy(v)[None] for v in (rows, codes, np.ones(17))), n_classes)
    with torch.inference_mode():
        expected = head.score(head.context(support), torch.from_numpy(queries)[None])[0].numpy()
    scores = learner.adapt(X_support, y_support).decision_function(table.X)
    np.testing.assert_allclose(scores, expected, atol=1e-5)


def test_regression_needs_nothing_of_the_examples_but_their_embedding(table):
    """It keeps them, since the fit cannot be continued; the base classes', too."""
    learner = make(readout="anchored", validation_fraction=0.0).fit(table.X, table.y)
    assert len(learner.representation_.embedding) == len(table.X)
    assert learner.score(table.X, table.y) > 0.7


def test_samples_that_are_not_embedded_are_centred_too(table):
    params = {"backbone": "identity", "max_epochs": 0, "validation_fraction": 0.0}
    learner = make(**params).fit(table.X, table.y)
    centred = table.X - table.X.mean(axis=0)
    expected = centred / np.linalg.norm(centred, axis=1, keepdims=True)
    np.testing.assert_allclose(learner.transform(table.X), expected, atol=1e-5)


@pytest.mark.parametrize("kind", ["table", "pictures"])
def test_embeddings_are_centred_by_the_base_classes(kind, request):
    toy = request.getfixturevalue(kind)
    learner = make(validation_fraction=0.0).fit(toy.X, toy.y)
    module = learner.module_
    scale = 1.0 / 255 if toy.X.dtype == np.uint8 else 1.0
    with torch.inference_mode():
        rows = module.features(torch.from_numpy(toy.X.astype(np.float32) * scale)).flatten(1)
    centred = rows - module.head.center
    assert centred.mean(dim=0).norm() < 0.2 * rows.std(dim=0).norm()
    np.testing.assert_allclose(
        learner.transform(toy.X), centred / centred.norm(dim=1, keepdim=True), atol=1e-4
    )


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("classifier", "linear"),
        ("readout", "knn"),
        ("scale", -1.0),
        ("scale", "auto"),
        ("batch_size", 1),
    ],
)
def test_parameters_are_checked(name, value, table):
    with pytest.raises(ValueError, match=f"'{name}' parameter of BaselineClassifier"):
        make(**{name: value}).fit(table.X, table.y)
