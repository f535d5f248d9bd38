"""EpisodeDisplay draws what was predicted, on pictures and on everything else."""

import subprocess
import sys
from io import BytesIO

import matplotlib.pyplot as plt
import numpy as np
import pytest
from sklearn.exceptions import NotFittedError
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from sklearn_fewshot import FewShotClassifier, adapt
from sklearn_fewshot.inspection import EpisodeDisplay


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")


@pytest.fixture
def episode():
    """Three classes of pictures, two support examples and four queries each, one of them wrong."""
    rng = np.random.default_rng(0)
    X = rng.random((18, 1, 6, 6))
    y = np.array(["a", "b", "c"])[np.arange(18) % 3]
    y_pred = y[6:].copy()
    y_pred[4] = "a"  # is "b"
    return {
        "X_support": X[:6],
        "y_support": y[:6],
        "X_query": X[6:],
        "y_pred": y_pred,
        "y_query": y[6:],
        "confidence": np.linspace(0.4, 0.95, 12),
    }


def texts(ax):
    return [text.get_text() for text in ax.texts]


def frames(ax):
    """Line styles of the frames of all pictures."""
    return [patch.get_linestyle() for patch in ax.patches if patch.get_zorder() > 0]


def render(display):
    """Draw to the end: what is missing in a font or a layout warns only here."""
    display.figure_.savefig(BytesIO(), format="png")


def split(toy):
    """Support and queries of a toy's new classes: two examples of each class are support."""
    order = np.argsort(toy.y_new, kind="stable")
    X, y = toy.X_new[order], toy.y_new[order]
    is_support = np.concatenate([np.arange(n) < 2 for n in np.unique(y, return_counts=True)[1]])
    return X[is_support], y[is_support], X[~is_support], y[~is_support]


# ---------------------------------------------------------------------- pictures


def test_draws_every_picture_once(episode):
    display = EpisodeDisplay.from_predictions(**episode)
    render(display)
    assert isinstance(display, EpisodeDisplay)
    assert display.figure_ is display.ax_.figure
    assert len(display.ax_.images) == 18
    assert (
        display.ax_.get_title() == "3 classes from 2 examples each: 11 of 12 queries right (92 %)"
    )


def test_errors_look_different_without_colour_and_name_the_true_class(episode):
    ax = EpisodeDisplay.from_predictions(**episode).ax_
    assert sum(style != "-" and style != "solid" for style in frames(ax)) == 1
    assert texts(ax).count("is b") == 1
    assert len({patch.get_linewidth() for patch in ax.patches if patch.get_zorder() > 0}) == 3


def test_confidence_stands_below_each_query_the_surest_first(episode):
    ax = EpisodeDisplay.from_predictions(**episode).ax_
    shown = [int(text[:-2]) for text in texts(ax) if text.endswith(" %")]
    assert len(shown) == 12
    per_class = [100 * episode["confidence"][episode["y_pred"] == label] for label in "abc"]
    np.testing.assert_allclose(shown, np.concatenate([-np.sort(-v) for v in per_class]), atol=0.51)


def test_without_true_labels_nothing_is_called_right(episode):
    del episode["y_query"]
    ax = EpisodeDisplay.from_predictions(**episode).ax_
    assert ax.get_legend() is None
    assert "right" not in ax.get_title()
    assert len(set(frames(ax))) == 1


def test_limits_say_what_is_left_out(episode):
    ax = EpisodeDisplay.from_predictions(**episode, n_queries=3, n_shot=1, classes=["a", "c"]).ax_
    assert len(ax.images) == 2 * (1 + 3)
    assert "+2" in texts(ax)  # five queries were taken for a
    assert "class\n2 of 3" in texts(ax)
    assert "11 of 12" in ax.get_title()


def test_classes_without_queries_or_without_support_have_a_row(episode):
    y_pred = np.where(episode["y_pred"] == "c", "old", episode["y_pred"])
    episode.update(y_pred=y_pred, y_query=None)
    ax = EpisodeDisplay.from_predictions(**episode).ax_
    assert {"a", "b", "c", "old", "no query predicted as this class"} <= set(texts(ax))


def test_colour_and_wide_pictures(episode):
    rng = np.random.default_rng(0)
    for shape, dtype in (((3, 6, 6), np.uint8), ((4, 5, 9), np.float32)):
        X = (255 * rng.random((18, *shape))).astype(dtype)
        display = EpisodeDisplay.from_predictions(
            **episode | {"X_support": X[:6], "X_query": X[6:]}
        )
        render(display)
        tile = np.asarray(display.ax_.images[0].get_array())
        assert tile.shape == (*shape[1:], shape[0])
        assert tile.min() >= 0
        assert tile.max() <= 1


def test_constant_pictures(episode):
    blank = {"X_support": np.zeros((6, 1, 4, 4)), "X_query": np.zeros((12, 1, 4, 4))}
    render(EpisodeDisplay.from_predictions(**episode | blank))


@pytest.mark.parametrize("label", ["a name of more than twenty-four letters", "Ж", "x_y-z" * 9, 7])
def test_labels_of_any_length_stay_inside(episode, label):
    for name in ("y_support", "y_pred", "y_query"):
        episode[name] = np.array(
            [label if v == "b" else 3 if label == 7 else v for v in episode[name]]
        )
    display = EpisodeDisplay.from_predictions(**episode)
    render(display)
    box = display.figure_.bbox
    for text in display.ax_.texts:
        extent = text.get_window_extent()
        assert box.x0 <= extent.x0
        assert extent.x1 <= box.x1


def test_labels_of_several_words_break_between_them(episode):
    for name in ("y_support", "y_pred", "y_query"):
        episode[name] = np.where(episode[name] == "b", "Tengwar/character01", episode[name])
    assert {"is Tengwar/", "character01"} <= set(
        texts(EpisodeDisplay.from_predictions(**episode).ax_)
    )


# ---------------------------------------------------------------------- from_estimator


def test_learner_is_adapted_and_agrees_with_its_predictions(picture_learner, pictures):
    X_support, y_support, X_query, y_query = split(pictures)
    args = X_support, y_support, X_query, y_query
    display = EpisodeDisplay.from_estimator(picture_learner, *args)
    render(display)
    classifier = picture_learner.adapt(X_support, y_support)
    np.testing.assert_array_equal(display.y_pred, classifier.predict(X_query))
    np.testing.assert_allclose(
        display.confidence, classifier.predict_proba(X_query).max(axis=1), atol=1e-6
    )
    again = EpisodeDisplay.from_estimator(classifier, *args)
    np.testing.assert_array_equal(again.y_pred, display.y_pred)


def test_adapted_classifier_is_used_as_it_is(picture_learner, pictures):
    X_support, y_support, X_query, _ = split(pictures)
    classifier = picture_learner.adapt(X_support, y_support, include_base=True)
    display = EpisodeDisplay.from_estimator(classifier, X_support, y_support, X_query)
    np.testing.assert_array_equal(display.y_pred, classifier.predict(X_query))


def test_flattened_pictures_are_shown_as_pictures(make_learner, pictures):
    X_support, y_support, X_query, y_query = split(pictures)
    flat = [X.reshape(len(X), -1).astype(np.float32) for X in (pictures.X, X_support, X_query)]
    learner = make_learner(input_shape=pictures.X.shape[1:], max_epochs=1)
    pipe = make_pipeline(FunctionTransformer(), learner).fit(flat[0], pictures.y)
    display = EpisodeDisplay.from_estimator(pipe, flat[1], y_support, flat[2], y_query)
    assert display.X_query.shape == X_query.shape


def test_vectors_are_shown_by_their_embedding(make_learner, table):
    X_support, y_support, X_query, y_query = split(table)
    pipe = make_pipeline(StandardScaler(), make_learner()).fit(table.X, table.y)
    display = EpisodeDisplay.from_estimator(pipe, X_support, y_support, X_query, y_query)
    render(display)
    assert not display.ax_.images
    np.testing.assert_allclose(display.X_query, pipe.transform(X_query), atol=1e-6)
    adapted = adapt(pipe, X_support, y_support)
    np.testing.assert_array_equal(display.y_pred, adapted.predict(X_query))
    again = EpisodeDisplay.from_estimator(adapted, X_support, y_support, X_query, y_query)
    np.testing.assert_array_equal(again.X_query, display.X_query)


def test_vector_errors_are_crossed(table):
    X_support, y_support, X_query, y_query = split(table)
    y_pred = np.roll(y_query, 1)
    ax = EpisodeDisplay.from_predictions(X_support, y_support, X_query, y_pred, y_query=y_query).ax_
    assert len(ax.collections[-1].get_offsets()) == np.sum(y_pred != y_query)
    assert [text.get_text() for text in ax.get_legend().get_texts()][-1] == "wrong"


@pytest.mark.parametrize("n_features", [1, 2])
def test_few_features_and_no_variance(n_features):
    X = np.ones((4, n_features))
    render(EpisodeDisplay.from_predictions(X[:2], [0, 1], X[2:], [0, 1]))


def test_series(make_learner, series):
    X_support, y_support, X_query, y_query = split(series)
    learner = make_learner(max_epochs=1).fit(series.X, series.y)
    render(EpisodeDisplay.from_estimator(learner, X_support, y_support, X_query, y_query))


# ---------------------------------------------------------------------- axes and errors


@pytest.mark.parametrize("kind", ["pictures", "points"])
def test_draws_in_the_given_axes(episode, kind):
    if kind == "points":
        episode.update({name: episode[name].reshape(-1, 36) for name in ("X_support", "X_query")})
    figure, axes = plt.subplots(1, 2)
    display = EpisodeDisplay.from_predictions(**episode, ax=axes[1])
    assert display.ax_ is axes[1]
    assert display.figure_ is figure
    assert not axes[0].has_data()
    assert display.plot(ax=axes[0]) is display
    assert display.ax_ is axes[0]
    assert plt.get_fignums() == [figure.number]
    render(display)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"y_support": ["a"]}, r"y_support must have one label a sample of X_support: 6. Got .*1"),
        ({"y_pred": None}, r"y_pred must have one label a sample of X_query: 12. Got None"),
        ({"y_query": ["a"] * 3}, r"y_query must have one label a sample of X_query: 12"),
        ({"confidence": [0.5]}, r"confidence must have one entry per sample: 12. Got 1"),
        ({"X_query": np.zeros((12, 1, 5, 5))}, r"X_support and X_query must hold samples of one"),
        ({"X_query": np.zeros((0, 1, 6, 6))}, r"support examples and queries. Got 6 and 0"),
        ({"X_support": np.zeros((6, 9, 9, 3))}, r"np.moveaxis\(X, -1, 1\)"),
        ({"classes": ["z"]}, r"'classes' parameter of EpisodeDisplay .* Got 'z'"),
        ({"classes": []}, r"'classes' parameter of EpisodeDisplay"),
        ({"n_queries": 0}, r"'n_queries' parameter of EpisodeDisplay .* Got 0"),
    ],
)
def test_errors_name_what_is_wrong(episode, change, message):
    with pytest.raises(ValueError, match=message):
        EpisodeDisplay.from_predictions(**episode | change)


def test_unknown_keywords_and_estimators(episode, table, make_learner):
    with pytest.raises(TypeError, match="colour"):
        EpisodeDisplay.from_predictions(**episode, colour="red")
    X_support, y_support, X_query, y_query = split(table)
    with pytest.raises(TypeError, match="Got StandardScaler"):
        EpisodeDisplay.from_estimator(StandardScaler(), X_support, y_support, X_query)
    for estimator in (make_learner(), FewShotClassifier()):
        with pytest.raises(NotFittedError):
            EpisodeDisplay.from_estimator(estimator, X_support, y_support, X_query)
    with pytest.raises(ValueError, match="needs X_support and y_support"):
        EpisodeDisplay.from_estimator(make_learner(), X_support, None, X_query, y_query)


def test_matplotlib_is_imported_by_drawing_only():
    code = "import sys, sklearn_fewshot.inspection; sys.exit('matplotlib' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
