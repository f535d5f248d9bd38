"""Laws of values over classes: what leaving a class out changes, and what they cover."""

import numpy as np
import pytest
from numpy.testing import assert_allclose
from sklearn.linear_model import LogisticRegression
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import NearestCentroid
from sklearn.svm import SVC

from sklearn_fewshot import FewShotClassifier
from sklearn_fewshot.episodes import EpisodePlan
from sklearn_fewshot.model_selection import EpisodicComparison, episodic_score
from sklearn_fewshot.model_selection._baselines import support_baselines
from sklearn_fewshot.model_selection._jackknife import class_values, gains

N_CLASSES, N_ROWS = 7, 12


def blobs(seed, n_classes=N_CLASSES, spread=1.5, n_features=4):
    rng = np.random.default_rng(seed)
    centres = spread * rng.normal(size=(n_classes, 1, n_features))
    X = centres + rng.normal(size=(n_classes, N_ROWS, n_features))
    return X.reshape(-1, n_features), np.repeat(np.arange(n_classes), N_ROWS)


def values_of(plan, *answers):
    return class_values(plan.classes, gains(plan, *answers))


def accuracy_by_hand(X, y, plan, left_out):
    """Accuracy of nearest class means without a class, with everything anew."""
    hits = []
    for classes, support, query in zip(plan.classes, plan.support, plan.query, strict=True):
        kept = classes != left_out
        means = X[support[kept]].mean(axis=1)
        distances = np.square(X[query[kept]][:, :, None] - means).sum(axis=-1)
        hits.append(distances.argmin(axis=-1) == np.arange(kept.sum())[:, None])
    return np.mean(hits)


def test_with_all_classes_it_is_the_jackknife():
    X, y = blobs(0)
    result = episodic_score(FewShotClassifier(), X, y, n_way="all", n_query=5, n_episodes=20)
    plan, predicted, runner_up = result.answers[1:]
    values = values_of(plan, predicted, runner_up)
    without = np.array([accuracy_by_hand(X, y, plan, k) for k in range(N_CLASSES)])
    assert np.ptp(without) > 0.02  # classes differ
    expected = -(N_CLASSES - 1) * (without - without.mean())
    assert_allclose(values, result.mean + expected)


def test_a_class_that_nobody_confuses_raises_the_mean():
    X, y = blobs(0, spread=0.5)
    X[y == 3] += 50.0
    result = episodic_score(FewShotClassifier(), X, y, n_way=3, n_query=5, n_episodes=200)
    values = values_of(*result.answers[1:])
    assert values.argmax() == 3
    assert values.mean() == pytest.approx(result.mean)


def test_an_unknown_second_counts_as_the_true_class():
    rows = np.arange(9).reshape(1, 3, 3)
    plan = EpisodePlan(rows[:, :, :1], rows[:, :, 1:], np.array([[0, 1, 2]]))
    predicted = np.array([[[0, 1], [1, 1], [2, 2]]])
    second = np.full((1, 3, 2), -1)
    # The query of class 0 that went to class 1 is right without it, unless class 2 is next.
    found = gains(plan, predicted, second)
    assert_allclose(found.score, [5 / 6])
    assert_allclose(found.gain, [[5 / 6 - 1, 5 / 6 - 1, 5 / 6 - 3 / 4]])
    second[0, 0, 1] = 0
    assert_allclose(gains(plan, predicted, second).gain, found.gain)
    second[0, 0, 1] = 2
    assert_allclose(gains(plan, predicted, second).gain[0, 1], 5 / 6 - 3 / 4)


def test_classes_that_are_all_alike_leave_the_noise_of_the_episodes():
    """Of answers by chance the interval over classes is that over episodes."""
    rng = np.random.default_rng(0)
    classes = np.argsort(rng.random((4000, 30)), axis=1)[:, :4]
    rows = np.arange(4000 * 4 * 6).reshape(4000, 4, 6)
    plan = EpisodePlan(rows[:, :, :1], rows[:, :, 1:], classes)
    answers = np.argsort(rng.random((4000, 4, 5, 4)), axis=3)[..., :2]
    codes = np.take_along_axis(classes[:, None, None], answers, axis=3)
    found = gains(plan, codes[..., 0], codes[..., 1])
    values = class_values(classes, found)
    over_classes = values.std(ddof=1) / np.sqrt(30)
    over_episodes = found.score.std(ddof=1) / np.sqrt(4000)
    assert 0.6 < over_classes / over_episodes < 1.4


def test_groups_are_left_out_as_a_whole():
    X, y = blobs(0)
    result = episodic_score(FewShotClassifier(), X, y, n_way=4, n_query=5, n_episodes=60)
    plan, predicted, runner_up = result.answers[1:]
    found = gains(plan, predicted, runner_up)
    each = class_values(plan.classes, found)
    assert_allclose(class_values(plan.classes, found, np.arange(N_CLASSES)), each)
    turned = class_values(plan.classes, found, N_CLASSES - 1 - np.arange(N_CLASSES))
    assert_allclose(turned, each[::-1])
    groups = class_values(plan.classes, found, np.array([0, 0, 0, 1, 1, 2, 2]))
    assert groups.shape == (3,)
    assert groups.mean() == pytest.approx(each.mean())
    assert class_values(plan.classes, found, np.zeros(N_CLASSES, int)) == pytest.approx(each.mean())


@pytest.mark.parametrize(
    "classifier", [LogisticRegression(), GaussianNB(), SVC(), NearestCentroid()], ids=repr
)
def test_second_choices_are_those_of_the_classifier(classifier):
    X, y = blobs(1)
    result = episodic_score(classifier, X, y, n_way=4, n_shot=4, n_query=3, n_episodes=5)
    plan, predicted, runner_up = result.answers[1:]
    for episode in range(5):
        rows = plan.support[episode].ravel()
        fitted = type(classifier)(**classifier.get_params()).fit(X[rows], y[rows])
        queries = X[plan.query[episode].ravel()]
        scores = (
            fitted.decision_function(queries)
            if hasattr(fitted, "decision_function")
            else fitted.predict_proba(queries)
        )
        first = fitted.predict(queries)
        assert first.tolist() == predicted[episode].ravel().tolist()
        scores[np.arange(len(queries)), np.searchsorted(fitted.classes_, first)] = -np.inf
        second = fitted.classes_[scores.argmax(axis=1)]
        found = runner_up[episode].ravel()
        assert second[found >= 0].tolist() == found[found >= 0].tolist()
        if not isinstance(classifier, NearestCentroid):  # it predicts by other distances
            assert (found >= 0).all()


@pytest.mark.parametrize("n_shot", [1, 3])
@pytest.mark.parametrize("name", ["nearest centroid", "1-nearest neighbour"])
def test_baselines_have_the_second_choice_of_their_distances(name, n_shot):
    X, y = blobs(1)
    X[:, 0] *= 10.0  # the spread within classes is another in each direction
    setting = {"n_way": 4, "n_shot": n_shot, "n_query": 3, "n_episodes": 5}
    found = episodic_score(support_baselines(n_shot)[name], X, y, **setting).answers
    assert (found.runner_up >= 0).all()
    if name == "nearest centroid" or n_shot == 1:
        expected = episodic_score(FewShotClassifier(), X, y, **setting).answers
        np.testing.assert_array_equal(found.predicted, expected.predicted)
        np.testing.assert_array_equal(found.runner_up, expected.runner_up)


@pytest.mark.parametrize("way", [2, 4])
def test_pairs_have_a_second_choice_and_classifiers_without_scores_only_there(way):
    X, y = blobs(1)
    pairwise = SVC(decision_function_shape="ovo")
    answers = episodic_score(pairwise, X, y, n_way=way, n_query=3, n_episodes=3).answers
    assert np.all((answers.runner_up >= 0) == (way == 2))


@pytest.mark.parametrize(("n_way", "n_classes"), [(5, 20), ("all", 8)])
def test_intervals_over_classes_cover_and_verdicts_err_rarely(n_way, n_classes):
    """Of classes drawn anew each time, with two methods that are equally good on average."""
    found = []
    for seed in range(60):
        X, y = blobs(seed, n_classes, spread=2.0, n_features=6)
        halves = {"first": X[:, :3], "second": X[:, 3:]}
        params = {"n_way": n_way, "n_query": 5, "n_episodes": 100}
        scored = {
            k: episodic_score(FewShotClassifier(), part, y, **params) for k, part in halves.items()
        }
        found.append(EpisodicComparison(scored))
    truth = np.mean([comparison.results["first"].mean for comparison in found])
    intervals = [comparison.results["first"].interval_over("classes") for comparison in found]
    assert np.mean([it.low <= truth <= it.high for it in intervals]) > 0.85  # 95 less 3 errors
    is_shown = ["and on others" in comparison.verdict for comparison in found]
    assert np.mean(is_shown) < 0.15
    assert np.mean(["these classes" in comparison.verdict for comparison in found]) > 0.4
