"""TrainingDisplay draws the history of a fitted learner."""

from io import BytesIO

import matplotlib.pyplot as plt
import numpy as np
import pytest
from sklearn.exceptions import NotFittedError
from sklearn.neighbors import NearestCentroid
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sklearn_fewshot import ProtoNetClassifier
from sklearn_fewshot.inspection import TrainingDisplay


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")


def texts(display):
    return [text.get_text() for text in display.ax_.get_legend().get_texts()]


def test_loss_accuracy_and_the_epoch_that_was_kept(learner):
    display = TrainingDisplay.from_estimator(learner, name="ours")
    display.figure_.savefig(BytesIO(), format="png")
    loss, accuracy = display.lines_
    rows = learner.history_
    np.testing.assert_array_equal(loss.get_xdata(), [row["epoch"] for row in rows])
    np.testing.assert_array_equal(loss.get_ydata(), [row["train_loss"] for row in rows])
    np.testing.assert_allclose(accuracy.get_ydata(), [100 * row["valid_acc"] for row in rows])
    assert display.best_epoch == learner.best_epoch_
    assert texts(display)[:2] == ["ours: loss in training", "ours: accuracy on held-out classes"]


@pytest.mark.parametrize(("best", "text"), [(0, "before training"), (2, "weights that were kept")])
def test_the_mark_says_what_it_is(best, text):
    display = TrainingDisplay(np.arange(1, 4), np.ones(3), np.ones(3), best_epoch=best).plot()
    assert texts(display)[-1] == text
    kept = [line for line in display.ax_.lines if line.get_label() == text]
    assert list(kept[0].get_xdata()) == [best, best]


@pytest.mark.filterwarnings("ignore:.*no validation classes")
def test_without_held_out_classes_there_is_the_loss_alone(make_learner, table):
    learner = make_learner(validation_fraction=0.0).fit(table.X, table.y)
    display = TrainingDisplay.from_estimator(learner)
    assert display.score_ax_ is None
    assert texts(display) == ["loss in training"]


def test_what_ends_in_a_learner_is_taken(make_learner, learner, table):
    pipe = make_pipeline(StandardScaler(), make_learner()).fit(table.X, table.y)
    display = TrainingDisplay.from_estimator(pipe)
    assert len(display.epoch) == len(pipe[-1].history_)
    adapted = learner.adapt(table.X_new, table.y_new)
    assert len(TrainingDisplay.from_estimator(adapted).epoch) == len(learner.history_)
    _, ax = plt.subplots()
    assert display.plot(ax=ax).ax_ is ax


def test_what_has_no_history_is_refused(make_learner, table):
    with pytest.raises(NotFittedError):
        TrainingDisplay.from_estimator(ProtoNetClassifier())
    with pytest.raises(TypeError, match="which has no history_"):
        TrainingDisplay.from_estimator(NearestCentroid().fit(table.X, table.y))
    with pytest.raises(ValueError, match=r"not trained for an epoch \(max_epochs=0\)"):
        TrainingDisplay.from_estimator(make_learner(max_epochs=0).fit(table.X, table.y))
