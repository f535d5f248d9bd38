"""Laws of the refinements of class means by unlabelled examples."""

from functools import partial

import numpy as np
import pytest
import sklearn
from numpy.testing import assert_allclose, assert_array_equal
from scipy.special import softmax
from sklearn.base import clone

from sklearn_fewshot import (
    BaselineClassifier,
    FewShotClassifier,
    MatchingNetClassifier,
    ProtoNetClassifier,
    RelationNetClassifier,
    adapt,
)
from sklearn_fewshot.adapted import REFINEMENTS
from sklearn_fewshot.adapted._alpha_tim import (
    ALPHA,
    N_STEPS,
    STEP,
    Samples,
    logit_slope,
    loss_gradient,
)
from sklearn_fewshot.adapted._unlabelled import DEFAULT, Unlabelled, join_examples, refine
from sklearn_fewshot.network import Representation
from sklearn_fewshot.utils._digest import digests
from sklearn_fewshot.utils._sklearn import InvalidParameterError

every_refinement = pytest.mark.parametrize("refinement", REFINEMENTS)


@pytest.fixture(scope="module")
def network(make_learner, table):
    """A network that compares the rows themselves, calibrated. Shared: nobody may change it."""
    return make_learner(backbone="identity", max_epochs=0).fit(table.X, table.y)._network


@pytest.fixture
def task():
    """Three classes of three labelled examples, and unlabelled ones: of the second class none."""
    rng = np.random.default_rng(0)
    centre = 2.0 * rng.normal(size=(3, 6))
    code = np.repeat(np.arange(3), 3)
    labelled = Representation.of_examples(centre[code] + rng.normal(size=(9, 6)), code, 3)
    of = np.repeat([0, 2], [12, 5])
    return labelled, centre[of] + 0.7 * rng.normal(size=(17, 6))


def refined(network, task, refinement):
    labelled, unlabelled = task
    means = network.condense(labelled)
    samples = Unlabelled(unlabelled, digests(unlabelled))
    result, count = refine(network, means, means.class_count, labelled, samples, refinement)
    assert_allclose(count, result.class_count)
    return result


def probabilities(network, means, rows, count):
    """Class probabilities beside an outlier, by loops."""
    scale, found = float(network.module.head.scale), []
    outlier = network.calibration.quantile(count, 0.1, np.empty(0)).mean()
    for row in rows:
        scores = [-scale * np.sum((row - mean) ** 2) for mean in means] + [outlier]
        found.append(softmax(network.inverse_temperature(count) * np.array(scores))[:-1])
    return np.array(found)


# ------------------------------------------------------------------ the equations


def test_bd_cspn_by_loops(network, task):
    labelled, unlabelled = task
    count = np.full(3, 3.0)
    means = np.stack([labelled.embedding[labelled.code == k].mean(axis=0) for k in range(3)])
    inlier = probabilities(network, means, unlabelled, count).sum(axis=1)
    means += np.average(unlabelled, axis=0, weights=inlier) - means.mean(axis=0)
    total, mass = count[:, None] * means, count.copy()
    for row, proba in zip(
        unlabelled, probabilities(network, means, unlabelled, count), strict=True
    ):
        winner = max(range(3), key=proba.__getitem__)
        total[winner] += proba[winner] * row
        mass[winner] += proba[winner]
    found = refined(network, task, "bd_cspn")
    assert_allclose(found.embedding, total / mass[:, None], rtol=1e-9)
    assert_allclose(found.weight, mass, rtol=1e-9)


def test_classes_that_no_sample_is_predicted_as_keep_their_place(network, task):
    labelled, unlabelled = task
    found = refined(network, task, "bd_cspn")
    means = network.condense(labelled).embedding
    inlier = probabilities(network, means, unlabelled, np.full(3, 3.0)).sum(axis=1)
    shift = np.average(unlabelled, axis=0, weights=inlier) - means.mean(axis=0)
    assert found.weight[1] == 3.0
    assert found.weight[[0, 2]].min() > 4.0
    assert_allclose(found.embedding[1], means[1] + shift, rtol=1e-9)


@every_refinement
def test_means_move_with_the_samples(network, task, refinement):
    """Averages divide by the sum of their weights: a shift of all samples is one of the means."""
    labelled, unlabelled = task
    elsewhere = labelled._replace(embedding=labelled.embedding + 50.0), unlabelled + 50.0
    expected = refined(network, task, refinement)
    found = refined(network, elsewhere, refinement)
    assert_allclose(found.embedding, expected.embedding + 50.0, rtol=1e-8)
    assert_allclose(found.weight, expected.weight, rtol=1e-8)


def test_loss_of_alpha_tim_by_loops(network, task):
    labelled, unlabelled = task
    means, count = network.condense(labelled), np.full(3, 3.0)
    inlier = np.linspace(0.2, 1.0, len(unlabelled))
    scale, factor = float(network.module.head.scale), network.inverse_temperature(count)

    def proba(row, centres):
        return softmax([-factor * scale * np.sum((row - centre) ** 2) for centre in centres])

    def entropy(p):
        return (1.0 - np.sum(p**ALPHA)) / (ALPHA - 1.0)

    def loss(centres):
        of_class = [
            np.mean([-np.log(proba(x, centres)[k]) for x in labelled.embedding[labelled.code == k]])
            for k in range(3)
        ]
        each = np.array([proba(x, centres) for x in unlabelled])
        share = inlier / inlier.sum()
        information = entropy(share @ each) - share @ [entropy(p) for p in each]
        return np.mean(of_class) - information

    samples = Samples.join(labelled, unlabelled, inlier)
    gradient = loss_gradient(network, means, samples, factor)
    for place in np.ndindex(means.embedding.shape):
        step = np.zeros(means.embedding.shape)
        step[place] = 1e-5
        slope = (loss(means.embedding + step) - loss(means.embedding - step)) / 2e-5
        assert_allclose(gradient[place], slope, rtol=1e-5, atol=1e-8)


def test_alpha_tim_averages_by_the_probabilities_that_its_steps_end_with(network, task):
    labelled, unlabelled = task
    means, found = network.condense(labelled), refined(network, task, "soft_kmeans")
    inlier = probabilities(network, means.embedding, unlabelled, means.weight).sum(axis=1)
    samples, factor = Samples.join(labelled, unlabelled, inlier), network.inverse_temperature
    step = STEP * 3 / (factor(means.weight) * 2.0 * float(network.module.head.scale))
    for _ in range(N_STEPS):
        gradient = loss_gradient(network, found, samples, factor(means.weight))
        found = found._replace(embedding=found.embedding - step * gradient)
    scores = network.predict(network.adapt(found), unlabelled, found.weight)
    weight = inlier[:, None] * softmax(factor(means.weight) * scores, axis=1)
    count = 3.0 + weight.sum(axis=0)
    expected = refined(network, task, "alpha_tim")
    total = 3.0 * means.embedding + weight.T @ unlabelled
    assert_allclose(expected.embedding, total / count[:, None], rtol=1e-9)
    assert_allclose(expected.weight, count, rtol=1e-9)


def test_logits_of_squared_distances_have_twice_their_scale_as_slope(network, task):
    means = network.condense(task[0])
    assert_allclose(logit_slope(network, means), 2.0 * float(network.module.head.scale), rtol=1e-6)


@every_refinement
def test_far_outliers_change_nothing(network, task, refinement):
    labelled, unlabelled = task
    far = np.concatenate([unlabelled, unlabelled[:5] + 100.0])
    found, expected = (refined(network, it, refinement) for it in ((labelled, far), task))
    assert_allclose(found.embedding, expected.embedding, rtol=1e-9)


def test_examples_that_are_not_all_kept_are_represented_by_their_mean(task):
    labelled, _ = task
    means = Representation(np.eye(3, 6), np.arange(3), np.array([3.0, 4.0, 3.0]), 3)
    joined = join_examples(means, labelled)
    assert_array_equal(joined.code, [1, 0, 0, 0, 2, 2, 2])
    assert_array_equal(joined.class_count, means.class_count)


# ------------------------------------------------------------------ invariances


@every_refinement
def test_order_of_examples_and_names_of_classes_do_not_matter(network, task, refinement):
    labelled, unlabelled = task
    rng = np.random.default_rng(1)
    renamed = np.array([2, 0, 1])
    shuffled = labelled.take(rng.permutation(9)).recode(renamed, 3), rng.permutation(unlabelled)
    expected = refined(network, task, refinement)
    found = refined(network, shuffled, refinement)
    assert_allclose(found.embedding[renamed], expected.embedding, rtol=1e-9)
    assert_allclose(found.weight[renamed], expected.weight, rtol=1e-9)


@every_refinement
def test_blocks_do_not_matter(network, task, refinement):
    expected = refined(network, task, refinement)
    with sklearn.config_context(working_memory=2e-4):  # about 200 bytes: two or three rows
        found = refined(network, task, refinement)
    assert_allclose(found.embedding, expected.embedding, rtol=1e-9)


@every_refinement
def test_one_class_and_only_outliers(network, task, refinement):
    labelled, unlabelled = task
    one = labelled.take(labelled.code == 0)._replace(n_classes=1)
    assert np.isfinite(refined(network, (one, unlabelled), refinement).embedding).all()
    found = refined(network, (labelled, np.full((4, 6), 1e3)), refinement)
    assert np.isfinite(found.embedding).all()
    assert_allclose(found.weight, 3.0)


@every_refinement
@pytest.mark.parametrize(
    "make",
    [
        partial(ProtoNetClassifier, metric="cosine"),
        partial(ProtoNetClassifier, metric="cityblock"),
        RelationNetClassifier,
        BaselineClassifier,
    ],
)
def test_refinements_help_every_learner_with_means(make, refinement):
    rng = np.random.default_rng(0)
    y = np.repeat(np.arange(30), 20)
    X = 2.0 * rng.normal(size=(30, 6))[y] + rng.normal(size=(600, 6))
    learner = make(max_epochs=3, episodes_per_epoch=10, validation_fraction=0.4, random_state=0)
    learner.fit(X[y < 22], y[y < 22])
    place, new = np.arange(600) % 20, y >= 22
    one, more = new & (place == 0), new & (place > 0)
    marked = np.concatenate([y[one], np.full(more.sum(), -1)])
    both = np.concatenate([X[one], X[more]])
    classifier = learner.adapt(both, marked, unlabelled=-1, refinement=refinement)
    plain = learner.adapt(X[one], y[one])
    assert classifier.score(X[more], y[more]) >= plain.score(X[more], y[more])


# ------------------------------------------------------------------ the parameter


@pytest.fixture(scope="module")
def half_labelled(table):
    """Two labelled examples of each class, and the rest without a label."""
    y = table.y_new.copy()
    place = np.array([np.sum(y[:row] == label) for row, label in enumerate(y)])
    y[place >= 2] = "?"
    return table.X_new, y


def test_the_refinement_is_chosen_by_name(learner, half_labelled):
    X, y = half_labelled
    scores = {
        name: learner.adapt(X, y, unlabelled="?", refinement=name).decision_function(X)
        for name in REFINEMENTS
    }
    assert_array_equal(
        learner.adapt(X, y, unlabelled="?").decision_function(X), scores.pop(DEFAULT)
    )
    first, second = scores.values()
    assert np.abs(first - second).max() > 1e-3


@every_refinement
def test_the_refinement_is_a_parameter(learner, half_labelled, refinement):
    X, y = half_labelled
    expected = learner.adapt(X, y, unlabelled="?", refinement=refinement)
    by_function = adapt(learner, X, y, unlabelled="?", refinement=refinement)
    again = clone(expected).fit(X, y)
    assert again.refinement == refinement
    grown = clone(expected).partial_fit(X[::2], y[::2]).partial_fit(X[1::2], y[1::2])
    for other in (by_function, again):
        assert_array_equal(other.decision_function(X), expected.decision_function(X))
    assert_allclose(grown.predict_proba(X), expected.predict_proba(X), atol=1e-6)
    assert_allclose(grown.rejection_threshold(), expected.rejection_threshold(), rtol=1e-6)


@every_refinement
def test_without_unlabelled_examples_it_has_no_effect(learner, table, refinement):
    plain = learner.adapt(table.X_new, table.y_new)
    other = FewShotClassifier(learner, refinement=refinement).fit(table.X_new, table.y_new)
    assert_array_equal(other.predict_proba(table.X), plain.predict_proba(table.X))


def test_unknown_refinements_are_refused(learner, half_labelled):
    with pytest.raises(InvalidParameterError, match="'refinement' parameter of FewShotClassifier"):
        learner.adapt(*half_labelled, unlabelled="?", refinement="k_means")


@every_refinement
def test_base_classes_beside_the_new_ones(learner, half_labelled, table, refinement):
    options = {"unlabelled": "?", "include_base": True, "refinement": refinement}
    both = learner.adapt(*half_labelled, **options)
    assert len(both.classes_) == 12
    assert both.score(table.X_new, table.y_new) > 0.4


# ------------------------------------------------------------------ transduction_


@every_refinement
def test_transduction_is_given_or_predicted_in_the_order_of_fit(learner, half_labelled, refinement):
    X, y = half_labelled
    classifier = learner.adapt(X, y, unlabelled="?", refinement=refinement)
    is_labelled = y != "?"
    assert_array_equal(classifier.transduction_[is_labelled], y[is_labelled])
    assert_array_equal(classifier.transduction_[~is_labelled], classifier.predict(X[~is_labelled]))
    assert classifier.transduction_.dtype == classifier.classes_.dtype


def test_transduction_goes_on_with_partial_fit(learner, half_labelled):
    X, y = half_labelled
    first = np.argsort(y == "?", kind="stable")[:9]  # with one unlabelled
    rest = np.setdiff1d(np.arange(len(y)), first)
    grown = FewShotClassifier(learner, unlabelled="?").fit(X[first], y[first])
    order = first
    for rows in (rest[::2], rest[1::2], rest[y[rest] == "?"][:3]):  # at last unlabelled ones only
        grown.partial_fit(X[rows], y[rows])
        order = np.concatenate([order, rows])
    found, is_labelled = grown.transduction_, y[order] != "?"
    assert_array_equal(found[is_labelled], y[order][is_labelled])
    assert_array_equal(found[~is_labelled], grown.predict(X[order][~is_labelled]))


def test_transduction_forgets_the_examples_of_dropped_classes(learner, half_labelled):
    X, y = half_labelled
    classifier = learner.adapt(X, y, unlabelled="?")
    dropped = classifier.classes_[1]
    classifier.drop_classes(dropped)
    rest = y != dropped
    assert len(classifier.transduction_) == rest.sum()
    is_labelled = y[rest] != "?"
    assert_array_equal(classifier.transduction_[is_labelled], y[rest][is_labelled])
    assert dropped not in classifier.transduction_


def test_transduction_of_labelled_examples_is_y(learner, table):
    for model in (learner.adapt(table.X_new, table.y_new), FewShotClassifier()):
        model.fit(table.X_new, table.y_new)
        assert_array_equal(model.transduction_, table.y_new)
    matching = MatchingNetClassifier(max_epochs=0, refit=False, random_state=0)
    adapted = matching.fit(table.X, table.y).adapt(table.X_new, table.y_new)
    assert_array_equal(adapted.transduction_, table.y_new)


def test_base_classes_have_no_part_in_transduction(learner, half_labelled):
    X, y = half_labelled
    both = learner.adapt(X, y, unlabelled="?", include_base=True)
    assert len(both.transduction_) == len(y)
    assert_array_equal(both.transduction_[y != "?"], y[y != "?"])
