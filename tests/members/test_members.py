"""Members of other families, put through the interface: what holds for all, and for each."""

import pickle
from typing import NamedTuple

import numpy as np
import pytest
import sklearn
import torch
from sklearn.linear_model import Ridge
from torch import nn

from sklearn_fewshot import adapt
from sklearn_fewshot.episodes import EpisodeSampler
from sklearn_fewshot.model_selection import EpisodeSplit, _evaluation, episodic_score
from sklearn_fewshot.network import Recipe
from sklearn_fewshot.nn import (
    DataTensor,
    EpisodeBatch,
    EpisodicCrossEntropy,
    ValidationEpisodes,
    evaluate,
    is_padding,
)
from sklearn_fewshot.persistence import _files
from sklearn_fewshot.training._config import TrainingConfig
from sklearn_fewshot.training._data import TrainingData, make_sampler
from sklearn_fewshot.training._meta_train import meta_train
from tests.members.members import (
    GradientNet,
    GradientNetClassifier,
    ReaderNet,
    ReaderNetClassifier,
    RidgeRegressor,
    SoftKMeansClassifier,
)

LEARNERS = [GradientNetClassifier, ReaderNetClassifier, SoftKMeansClassifier]
INDEPENDENT = [GradientNetClassifier, ReaderNetClassifier]
TASK = {"n_way": 5, "n_shot": 2, "n_query": 4, "n_episodes": 30}
BUDGET = {"n_way": 5, "n_shot": 2, "n_query": 4, "episodes_per_epoch": 64, "max_epochs": 2}
BUDGET |= {"lr": 1e-2, "refit": False, "random_state": 0}
MORE = {
    GradientNetClassifier: {"episodes_per_epoch": 32, "lr": 3e-3},
    ReaderNetClassifier: {"n_shot": (1, 4), "episodes_per_epoch": 1200, "meta_batch_size": 8},
}


class Data(NamedTuple):
    """Base classes; a support set of new ones in random order, and queries."""

    X: np.ndarray
    y: np.ndarray
    X_new: np.ndarray
    y_new: np.ndarray
    X_query: np.ndarray
    y_query: np.ndarray


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(0)
    codes = np.repeat(np.arange(45), 12)
    X = 5.0 * rng.normal(size=(45, 3))[codes] + rng.normal(size=(len(codes), 3))
    is_base = codes < 30
    support = np.flatnonzero((codes >= 40) & (np.arange(len(codes)) % 12 < 3))
    support = rng.permutation(support)
    query = np.flatnonzero((codes >= 40) & (np.arange(len(codes)) % 12 >= 3))
    parts = (is_base, support, query)
    return Data(*(values[part] for part in parts for values in (X, codes)))


@pytest.fixture(scope="module")
def fitted(data):
    """Every learner, fitted once. Shared: nobody may refit it."""
    return {cls: cls(**BUDGET | MORE.get(cls, {})).fit(data.X, data.y) for cls in LEARNERS}


@pytest.fixture(params=LEARNERS)
def learner(request, fitted):
    return fitted[request.param]


@pytest.fixture(params=INDEPENDENT)
def independent(request, fitted):
    return fitted[request.param]


@pytest.fixture
def transductive(fitted):
    return fitted[SoftKMeansClassifier]


def scores_of(learner, data, order=slice(None), names=None):
    y = data.y_new if names is None else names[data.y_new - 40]
    return learner.adapt(data.X_new[order], y[order]).decision_function(data.X_query)


# ------------------------------------------------------------------ what holds for all


def test_it_learns(learner, data):
    """Fit's validation, calibration and predictions all adapt: by gradients, too."""
    assert learner.history_[-1]["valid_acc"] > 0.5  # chance is 0.2
    assert learner._network.calibration is not None
    assert episodic_score(learner, data.X_query, data.y_query, **TASK).mean > 0.35


def test_it_knows_its_base_classes_or_says_why_not(learner, data):
    if learner.module_.n_outputs is None:
        assert learner.score(data.X, data.y) > 3 / 30
    else:
        with pytest.raises(ValueError, match=r"ReaderNet has 5 outputs and cannot .* Got 30"):
            learner.predict(data.X)


def test_the_order_of_the_support_changes_nothing(learner, data):
    order = np.random.default_rng(1).permutation(len(data.y_new))
    np.testing.assert_allclose(scores_of(learner, data, order), scores_of(learner, data), atol=1e-4)


def test_renaming_the_classes_permutes_the_columns(learner, data):
    names = np.array(["d", "a", "e", "c", "b"])
    renamed = scores_of(learner, data, names=names)[:, np.argsort(np.argsort(names))]
    np.testing.assert_allclose(renamed, scores_of(learner, data), atol=1e-4)


def test_probabilities_sum_to_one(learner, data):
    proba = learner.adapt(data.X_new, data.y_new).predict_proba(data.X_query)
    np.testing.assert_allclose(proba.sum(axis=1), 1.0)


@pytest.mark.parametrize("cut", [1, 4, 9])
def test_learning_on_equals_learning_at_once(learner, data, cut):
    """Also where whole classes come later, and one after another is dropped again."""
    order = np.argsort(data.y_new, kind="stable")
    X, y = data.X_new[order], data.y_new[order]
    classifier = learner.adapt(X[:cut], y[:cut]).partial_fit(X[cut:], y[cut:])
    np.testing.assert_allclose(
        classifier.decision_function(data.X_query), scores_of(learner, data), atol=1e-4
    )
    classifier.drop_classes([40, 43])
    few = ~np.isin(y, [40, 43])
    expected = learner.adapt(X[few], y[few]).decision_function(data.X_query)
    np.testing.assert_allclose(classifier.decision_function(data.X_query), expected, atol=1e-4)


def test_a_pickle_predicts_the_same(learner, data):
    classifier = learner.adapt(data.X_new, data.y_new)
    for value in (learner, classifier):
        loaded = pickle.loads(pickle.dumps(value))
        loaded = loaded.adapt(data.X_new, data.y_new) if value is learner else loaded
        np.testing.assert_array_equal(
            loaded.predict_proba(data.X_query), classifier.predict_proba(data.X_query)
        )


def test_a_file_predicts_the_same_if_its_types_are_trusted(learner, data, tmp_path):
    path = tmp_path / "model.skops"
    _files.save_model(learner.adapt(data.X_new, data.y_new), path)
    recipe = learner._network.recipe
    theirs = [type(learner), recipe.options.get("head", recipe.module)]
    trusted = [f"{part.__module__}.{part.__qualname__}" for part in theirs]
    for some in ([], trusted[:1], trusted[1:]):
        with pytest.raises(Exception, match="members"):
            _files.load_model(path, trusted=some)
    loaded = _files.load_model(path, trusted=trusted)
    np.testing.assert_array_equal(loaded.decision_function(data.X_query), scores_of(learner, data))


@pytest.mark.parametrize("size", [{}, {"n_way": (2, 5), "n_shot": (1, 3)}])
def test_many_episodes_at_a_time_are_one_after_another(learner, data, size):
    task = TASK | size | {"n_episodes": 10, "random_state": 1}
    new = data.X_query, data.y_query
    expected = [
        learner.adapt(new[0][support], new[1][support]).score(new[0][query], new[1][query])
        for support, query in EpisodeSplit(**task).split(*new)
    ]
    for scoring in ("accuracy", "balanced_accuracy"):  # the same, with as many queries a class
        scores = episodic_score(learner, *new, **task, scoring=scoring).scores
        np.testing.assert_allclose(scores, expected)


def test_outliers_can_be_rejected(learner, data):
    classifier = learner.adapt(data.X_new, data.y_new)
    assert np.isfinite(classifier.rejection_threshold(0.1)).all()
    assert set(classifier.predict(data.X_query, reject_label=-1)) <= {-1, *range(40, 45)}


def test_learners_without_embedding_say_so(independent, data):
    name = type(independent.module_).__name__
    with pytest.raises(TypeError, match=f"{name} does not embed rows one by one"):
        independent.transform(data.X_query)
    for params, match in (
        ({"freeze_backbone": True}, "has no backbone to freeze"),
        ({"compile": True}, "has no backbone to compile"),
    ):
        with pytest.raises(ValueError, match=f"{name} {match}"):
            type(independent)(**BUDGET | params).fit(data.X, data.y)


def test_pictures_go_in_as_they_are(pictures):
    budget = {"n_way": 3, "n_shot": 1, "n_query": 2, "max_epochs": 1, "episodes_per_epoch": 4}
    for cls in INDEPENDENT:
        learner = cls(**budget, random_state=0).fit(pictures.X, pictures.y)
        classifier = adapt(learner, pictures.X_new, pictures.y_new)
        assert classifier.predict(pictures.X_new).shape == pictures.y_new.shape


# ------------------------------------------------------------------ queries and each other


def test_a_query_alone_is_a_query_among_others(independent, data):
    classifier = independent.adapt(data.X_new, data.y_new)
    together = classifier.decision_function(data.X_query)
    alone = [classifier.decision_function(row[None])[0] for row in data.X_query]
    np.testing.assert_array_equal(alone, together)


def test_transductive_answers_come_from_all_queries(transductive, data):
    classifier = transductive.adapt(data.X_new, data.y_new)
    together = classifier.decision_function(data.X_query)
    alone = classifier.decision_function(data.X_query[:1])
    assert np.abs(together[:1] - alone).max() > 1e-3


def test_transductive_answers_do_not_depend_on_any_block_size(transductive, data, monkeypatch):
    """They once did: each block of queries was answered by itself."""
    expected = scores_of(transductive, data)
    new = data.X_query, data.y_query
    task = TASK | {"random_state": 0}
    accuracy = episodic_score(transductive, *new, **task).scores
    shuffled = pickle.loads(pickle.dumps(transductive))
    shuffled._network.batch_size = 2
    monkeypatch.setattr(_evaluation, "VALUES_AT_A_TIME", 1)
    with sklearn.config_context(working_memory=0):  # one query, or one episode, at a time
        np.testing.assert_allclose(scores_of(shuffled, data), expected, atol=1e-4)
        np.testing.assert_array_equal(episodic_score(shuffled, *new, **task).scores, accuracy)


# ------------------------------------------------------------------ the modules


@pytest.mark.parametrize("cls", [GradientNet, ReaderNet])
def test_padding_has_no_influence(cls):
    """Neither padded items nor classes that only other episodes of a batch have."""
    rng = torch.Generator().manual_seed(0)
    inputs, query = (torch.randn(2, n, 3, generator=rng) for n in (6, 4))
    target = torch.tensor([[0, 1, 0, 1, 0, 0], [2, 1, 0, 2, 1, 0]])
    weight = torch.tensor([[1.0, 1, 1, 1, 0, 0], [1, 1, 1, 1, 1, 1]])
    batch = EpisodeBatch(
        inputs=torch.cat([inputs.flatten(0, 1), query.flatten(0, 1)]),
        support=torch.arange(12).view(2, 6),
        support_target=target,
        weight=weight,
        query=12 + torch.arange(8).view(2, 4),
        target=torch.tensor([[0, 1, 0, -1], [0, 1, 2, 2]]),
        n_classes=3,
    )
    module = cls.build((3,))
    loss = module.training_loss(batch, EpisodicCrossEntropy())
    loss.backward()
    assert all(
        value.grad is not None and value.grad.isfinite().all() for value in module.parameters()
    )
    take = batch.inputs.__getitem__
    with torch.no_grad():
        both = module.predict(module.adapt(batch.support_sets(take)), query)
        one = batch.support_sets(take)
        one = one._replace(
            inputs=inputs[:1, :4], target=target[:1, :4], weight=weight[:1, :4], n_classes=2
        )
        alone = module.predict(module.adapt(one), query[:1])
    assert (both[0, :, 2] == -torch.inf).all()
    torch.testing.assert_close(both[:1, :, :2], alone, atol=1e-5, rtol=1e-5)


# ------------------------------------------------------------------ regression


class SquaredError(nn.Module):
    """Mean over the values of the queries, without padding."""

    def forward(self, predicted, target):
        real = ~is_padding(target)
        return (predicted[real] - target[real]).square().mean()


def sinusoids(n_tasks, n_points, rng):
    """Tasks y = A sin(x - phi), as in Finn et al. (2017): points, tasks, values."""
    size = (n_tasks, n_points)
    x = rng.uniform(-5.0, 5.0, size=size)
    amplitude, phase = rng.uniform(0.1, 5.0, (n_tasks, 1)), rng.uniform(0.0, np.pi, (n_tasks, 1))
    values = amplitude * np.sin(x - phase)
    task = np.broadcast_to(np.arange(n_tasks)[:, None], size)
    return x.reshape(-1, 1), task.ravel(), values.reshape(-1, 1)


def episodes_of(X, values, plan):
    store = DataTensor(X, torch.device("cpu"))
    return ValidationEpisodes(store, plan, values=torch.from_numpy(values).float())


def test_a_regression_on_sinusoids_is_learned():
    rng = np.random.default_rng(0)
    X, codes, values = sinusoids(400, 30, rng)
    classes = np.arange(400)
    data = TrainingData(X, codes, classes, None, classes >= 360, values=values)
    config = TrainingConfig(
        recipe=Recipe(RidgeRegressor, (1,), {}), owner="the test", n_way=1, n_shot=10, n_query=15,
        meta_batch_size=16, episodes_per_epoch=1600, max_epochs=3, optimizer="adam", lr=3e-3,
        weight_decay=0.0, lr_factor=None, patience=None, freeze_backbone=False, augment=None,
        callbacks=[], device="cpu", precision="float32", calibrate=False, compile=False,
        predict_batch_size=256, verbose=0, net_params={}, criterion=SquaredError(),
    )  # fmt: skip
    trained = meta_train(config, data, rng)
    assert trained.n_way == 1
    assert {"valid_loss", "train_loss"} <= trained.history[-1].keys()
    assert "valid_acc" not in trained.history[-1]

    X, codes, values = sinusoids(200, 30, np.random.default_rng(1))
    sampler = EpisodeSampler(codes, n_way=1, n_shot=10, n_query=15, min_way=1)
    plan = sampler.plan(500, np.random.default_rng(2))
    episodes = episodes_of(X, values, plan)
    error = evaluate(trained.network.module, SquaredError(), episodes)[1]
    untrained = evaluate(RidgeRegressor((1,)), SquaredError(), episodes)[1]
    mean_of_support = values[plan.support].mean(axis=(1, 2))[:, None, None]
    assert error < 0.1 * ((values[plan.query] - mean_of_support) ** 2).mean()
    assert error < 0.1 * untrained


def test_tasks_are_regressions_by_themselves():
    """A ragged batch of tasks is predicted like one task after another by scikit-learn's ridge."""
    X, codes, values = sinusoids(8, 12, np.random.default_rng(0))
    every = np.ones(8, dtype=bool)
    data = TrainingData(X, codes, np.arange(8), None, every, values=values)
    size = {"n_way": 1, "n_shot": (3, 8), "n_query": 4, "owner": "the test"}
    plan = make_sampler(data, every, **size).plan(6, np.random.default_rng(0))
    assert (plan.support < 0).any()
    module = RidgeRegressor((1,))
    predicted, _ = episodes_of(X, values, plan).score(module)
    with torch.no_grad():
        rows = module._rows(torch.from_numpy(X).float()[None])[0].double().numpy()
    for found, support, query in zip(predicted, plan.support[:, 0], plan.query[:, 0], strict=True):
        support = support[support >= 0]
        ridge = Ridge(alpha=1.0, fit_intercept=False).fit(rows[support], values[support].ravel())
        np.testing.assert_allclose(found[:, 0], ridge.predict(rows[query]), atol=1e-3)


def test_a_learner_of_classes_still_needs_two_of_them(data):
    for params in ({"n_way": 1}, {"n_way": (1, 3)}):
        with pytest.raises(ValueError, match="'n_way' parameter of GradientNetClassifier must"):
            GradientNetClassifier(**BUDGET | params).fit(data.X, data.y)
