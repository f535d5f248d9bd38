"""PairRocDisplay draws how well pairs are verified."""

from io import BytesIO

import matplotlib.pyplot as plt
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.exceptions import NotFittedError
from sklearn.metrics import roc_auc_score

from sklearn_fewshot import ProtoNetClassifier, SiameseNetClassifier
from sklearn_fewshot.inspection import PairRocDisplay


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")


@pytest.fixture(scope="module")
def siamese(table):
    params = {"n_way": 6, "max_epochs": 2, "episodes_per_epoch": 4, "random_state": 0}
    return SiameseNetClassifier(**params).fit(table.X, table.y)


@pytest.fixture(scope="module")
def pairs(table):
    """Pairs of new classes, and whether they are of the same."""
    first, second = np.random.default_rng(0).integers(len(table.X_new), size=(2, 200))
    same = np.where(table.y_new[first] == table.y_new[second], 1, -1)
    return np.stack([table.X_new[first], table.X_new[second]], axis=1), same


def test_the_threshold_in_use_is_where_predictions_are(siamese, pairs):
    X, y = pairs
    display = PairRocDisplay.from_estimator(siamese, X, y)
    display.figure_.savefig(BytesIO(), format="png")
    said = siamese.predict_pairs(X) == 1
    assert display.operating_point == pytest.approx((said[y == -1].mean(), said[y == 1].mean()))
    assert display.roc_auc == pytest.approx(roc_auc_score(y, siamese.pair_score(X)))


# Few values, so that there are ties.
scores = st.lists(st.integers(0, 6), min_size=2, max_size=30)


@given(same=scores, different=scores, threshold=st.integers(-1, 7))
def test_rates_are_those_of_counting(same, different, threshold):
    y = np.repeat([1, -1], [len(same), len(different)])
    score = np.array(same + different, dtype=float)
    display = PairRocDisplay.from_predictions(y, score, threshold=threshold)
    plt.close(display.figure_)
    accepted = np.mean(np.array(different) > threshold), np.mean(np.array(same) > threshold)
    assert display.operating_point == pytest.approx(accepted)
    x = display.equal_error_rate
    curve = np.interp(x, display.false_accept_rate, display.true_accept_rate)
    lower = np.interp(x - 1e-9, display.false_accept_rate, display.true_accept_rate)
    assert min(lower, curve) - 1e-6 <= 1 - x <= max(lower, curve) + 1e-6


def test_what_is_told_apart_makes_no_errors():
    display = PairRocDisplay.from_predictions([1, 1, -1, -1], [3.0, 2.0, 1.0, 0.0], threshold=1.5)
    assert display.roc_auc == 1.0
    assert display.equal_error_rate == 0.0
    assert display.operating_point == (0.0, 1.0)


def test_several_in_one_picture(siamese, pairs):
    display = PairRocDisplay.from_estimator(siamese, *pairs, name="a")
    other = PairRocDisplay.from_predictions(pairs[1], np.arange(200), name="b", ax=display.ax_)
    assert other.line_.get_color() != display.line_.get_color()
    texts = [text.get_text() for text in other.ax_.get_legend().get_texts()]
    assert texts.count("by chance") == 1
    assert {text.partition(":")[0] for text in texts} == {"a", "b", "by chance"}
    assert other.operating_point is None
    assert display.plot(color="red").line_.get_color() == "red"


def test_what_is_malformed_is_refused(learner, siamese, pairs):
    X, y = pairs
    with pytest.raises(TypeError, match="takes a fitted SiameseNetClassifier"):
        PairRocDisplay.from_estimator(learner, X, y)
    with pytest.raises(NotFittedError):
        PairRocDisplay.from_estimator(SiameseNetClassifier(), X, y)
    with pytest.raises(ValueError, match=r"1 \(same class\) or -1 .* Got \[0, 1\]"):
        PairRocDisplay.from_predictions([0, 1], [0.0, 1.0])
    with pytest.raises(ValueError, match=r"each at least once\. Got \[1\]"):
        PairRocDisplay.from_predictions([1, 1], [0.0, 1.0])
    with pytest.raises(ValueError, match=r"shape \(200,\) and \(3,\)"):
        PairRocDisplay.from_predictions(y, [0.0, 1.0, 2.0])
    with pytest.raises(ValueError, match="must be finite"):
        PairRocDisplay.from_predictions([1, -1], [0.0, np.nan])
    assert not hasattr(ProtoNetClassifier, "pair_score")
