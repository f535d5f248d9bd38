"""Samples in other units than those of ``fit`` warn, wherever they come in."""

import pickle
import time
import warnings
from functools import partial

import numpy as np
import pytest
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sklearn_fewshot import (
    FewShotClassifier,
    SiameseNetClassifier,
    ZeroShotProtoNetClassifier,
    adapt,
    load_model,
    make_fewshot_pipeline,
    save_model,
)
from sklearn_fewshot.model_selection import episodic_score
from sklearn_fewshot.utils._input_range import InputRange

METHODS = ("predict", "predict_proba", "decision_function", "score_samples")


def entries_of(learner, toy):
    """Return every public call that takes samples, by name, as a function of them."""
    rows = len(toy.X_new)
    adapted = learner.adapt(toy.X_new, toy.y_new)
    found = {
        "adapt": lambda X: learner.adapt(X[:rows], toy.y_new),
        "fit": lambda X: FewShotClassifier(learner).fit(X[:rows], toy.y_new),
        "partial_fit": lambda X: learner.adapt(toy.X_new, toy.y_new).partial_fit(
            X[:rows], toy.y_new
        ),
        "readapt": lambda X: adapt(adapted, X[:rows], toy.y_new),
        "transform": learner.transform,
        "score": lambda X: learner.score(X[:rows], np.resize(learner.classes_, rows)),
        "support": lambda X: learner.predict(toy.X, X_support=X[:rows], y_support=toy.y_new),
        "reject": lambda X: adapted.predict(X, reject_label=reject_label(toy)),
        "episodic_score": lambda X: episodic_score(
            learner, X[:rows], toy.y_new, n_way=2, n_query=2, n_episodes=2
        ),
    }
    for method in METHODS:
        found[f"learner.{method}"] = getattr(learner, method)
        found[f"adapted.{method}"] = getattr(adapted, method)
    return found


def reject_label(toy):
    return "none" if toy.y.dtype.kind == "U" else -1


def pairs_of(X):
    return np.stack([X[:-1], X[1:]], axis=1)


def check_warns_once(call, X, match):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        call(X)
    texts = [str(warning.message) for warning in caught]
    assert len(texts) == 1, texts
    assert match in texts[0]
    assert caught[0].filename == __file__


# ------------------------------------------------------------------ every entry


def test_every_entry_warns_of_rows_that_did_not_pass_the_transformers(make_learner, table):
    raw = table._replace(X=100.0 * table.X + 9e3, X_new=100.0 * table.X_new + 9e3)
    scaler = StandardScaler().fit(raw.X)
    scaled = raw._replace(X=scaler.transform(raw.X), X_new=scaler.transform(raw.X_new))
    learner = make_learner(validation_fraction=0.5).fit(scaled.X, scaled.y)
    for call in entries_of(learner, scaled).values():
        check_warns_once(call, raw.X, "training standard deviations")
        call(scaled.X)


@pytest.mark.parametrize("factor", [1 / 255, 257], ids=["floats", "16 bits"])
def test_every_entry_warns_of_pictures_in_another_range(make_learner, pictures, factor):
    learner = make_learner(max_epochs=1, validation_fraction=0.5).fit(pictures.X, pictures.y)
    remedy = "X * 255." if factor < 1 else "X / 257."
    for call in entries_of(learner, pictures).values():
        check_warns_once(call, float(factor) * pictures.X, remedy)
        call(pictures.X)
        call(pictures.X.astype(np.float64))


def test_pairs_in_another_range_warn_on_either_side(make_learner, pictures):
    params = make_learner(max_epochs=1).get_params()
    names = SiameseNetClassifier().get_params().keys() & params.keys()
    options = {name: params[name] for name in names - {"metric"}}
    learner = SiameseNetClassifier(**options, false_accept_rate=0.2)  # resolved by few pairs
    learner.fit(pictures.X, pictures.y)
    y = np.resize([1, -1], len(pictures.X) - 1)
    pairs = pairs_of(pictures.X)
    calls = (
        learner.predict_pairs,
        learner.pair_score,
        learner.pair_distance,
        lambda pairs: learner.calibrate_threshold(pairs, y),
    )
    for call in calls:
        call(pairs)
        check_warns_once(call, pairs / 255, "X * 255.")
        many = np.tile(257.0 * pairs, (60, 1, 1, 1, 1))  # more than are compared
        check_warns_once(learner.pair_score, many, "X / 257.")


def test_zero_shot_queries_in_another_range_warn(table):
    attributes = {label: [row, row**2] for row, label in enumerate(np.unique(table.y))}
    learner = ZeroShotProtoNetClassifier(
        n_way=3, n_query=3, episodes_per_epoch=2, max_epochs=1, random_state=0
    ).fit(table.X, table.y, class_attributes=attributes)
    for method in METHODS:
        check_warns_once(getattr(learner, method), 500.0 * table.X, "training standard")
        call = partial(getattr(learner, method), class_attributes=attributes)
        check_warns_once(call, 500.0 * table.X, "training standard")


def test_the_last_step_of_a_pipeline_warns_and_the_pipeline_does_not(make_learner, table):
    raw = table._replace(X=table.X + 1e3, X_new=table.X_new + 1e3)
    for make in (make_pipeline, make_fewshot_pipeline):
        pipe = make(StandardScaler(), make_learner()).fit(raw.X, raw.y)
        adapted = adapt(pipe, raw.X_new, raw.y_new)
        adapted.predict(raw.X)
        check_warns_once(pipe[-1].predict, raw.X, "call the pipeline")
        check_warns_once(adapted[-1].predict, raw.X, "call the pipeline")


def test_what_fit_saw_is_kept_in_files(learner, table, tmp_path):
    adapted = learner.adapt(table.X_new, table.y_new)
    for number, model in enumerate((learner, adapted)):
        path = tmp_path / f"{number}.skops"
        save_model(model, path)
        for restored in (pickle.loads(pickle.dumps(model)), load_model(path)):
            check_warns_once(restored.predict, 500.0 * table.X, "training standard")
            restored.predict(table.X)


# ------------------------------------------------------------------ both ways, any depth

KINDS = {"unit": 1.0, "8 bits": 255, "12 bits": 4095, "16 bits": 65535}


def as_kind(unit, kind):
    if kind == "unit":
        return unit
    return np.round(unit * KINDS[kind]).astype(np.uint8 if kind == "8 bits" else np.uint16)


@pytest.mark.parametrize("fitted", KINDS)
@pytest.mark.parametrize("given", KINDS)
def test_pictures_of_another_depth_are_named_with_the_factor(fitted, given):
    unit = np.random.default_rng(0).uniform(size=(40, 1, 8, 8))
    unit[:, :, 0, 0] = np.linspace(0.5, 1, 40)[:, None]  # dark and bright ones
    X = as_kind(unit, fitted)
    problem = InputRange.of(X).difference(as_kind(unit, given))
    if fitted == given:
        assert problem is None
        return
    factor = KINDS[fitted] / KINDS[given]
    assert (f"X * {factor:.4g}." if factor > 1 else f"X / {1 / factor:.4g}.") in problem


def test_dark_pictures_of_the_same_depth_do_not_differ():
    rng = np.random.default_rng(0)
    X = rng.integers(0, 256, size=(40, 1, 8, 8), dtype=np.uint8)
    known = InputRange.of(X)
    for given in (X // 4, X // 8, X * 0, X[:1], 1.2 * X):
        assert known.difference(given) is None


def test_standardised_pictures_differ_from_raw_ones():
    unit = np.random.default_rng(0).uniform(size=(40, 3, 8, 8))
    standardised = (unit - 0.45) / 0.22
    assert "Bring X to that range" in InputRange.of(unit).difference(standardised)
    assert "Bring X to that range" in InputRange.of(standardised).difference(255 * unit)


# ------------------------------------------------------------------ no false alarm


def test_a_few_outliers_among_many_rows_do_not_differ(table):
    known = InputRange.of(table.X)
    X = np.tile(table.X, (50, 1))
    X[::7] *= 1e4
    assert known.difference(X) is None


def test_new_classes_do_not_differ(table, pictures, series):
    for toy in (table, pictures, series):
        known = InputRange.of(toy.X)
        assert known.difference(toy.X_new) is None
        assert all(known.difference(row[None]) is None for row in (*toy.X, *toy.X_new))


def test_columns_that_were_constant_say_nothing(table):
    X = np.column_stack([table.X, np.full(len(table.X), 5.0)])
    moved = X.copy()
    moved[:, -1] = 1e3
    assert InputRange.of(X).difference(moved) is None


def test_rows_far_below_the_range_differ(table):
    assert "fitted on values from" in InputRange.of(table.X).difference(1e-3 * table.X)


# ------------------------------------------------------------------ cost


def test_a_million_queries_cost_little_more_than_a_thousand():
    X = np.random.default_rng(0).normal(size=(1000, 8))
    known, many = InputRange.of(X), np.broadcast_to(X, (1000, 1000, 8)).reshape(-1, 8)
    shortest = [np.inf, np.inf]
    for _ in range(5):
        for place, rows in enumerate((X, many)):
            start = time.perf_counter()
            known.difference(rows)
            shortest[place] = min(shortest[place], time.perf_counter() - start)
    assert shortest[1] < 10 * shortest[0]
