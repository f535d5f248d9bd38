"""Classifiers in service: nothing done elsewhere, or meanwhile, changes what they answer."""

import copy
import pickle
import threading

import numpy as np
import pytest
import torch
from sklearn.base import BaseEstimator, clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.ensemble import VotingClassifier
from sklearn.exceptions import NotFittedError
from sklearn.frozen import FrozenEstimator
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.parallel import Parallel, delayed
from torch import nn

from sklearn_fewshot import (
    FewShotClassifier,
    FewShotPipeline,
    FrozenEncoder,
    SiameseNetClassifier,
    adapt,
    load_model,
    make_fewshot_pipeline,
    save_model,
)
from sklearn_fewshot.model_selection import EpisodeSplit, episodic_score


@pytest.fixture(scope="module")
def learner(make_learner, table):
    return make_learner().fit(table.X, table.y)


@pytest.fixture
def pipe(make_learner, table):
    return make_fewshot_pipeline(StandardScaler(), make_learner()).fit(table.X, table.y)


# ------------------------------------------------------------------ what was adapted stays


def shift(pipe, table):
    pipe.fit(50.0 + 9.0 * table.X, table.y)


def scale_otherwise(pipe, table):
    pipe[0].set_params(with_mean=False)
    pipe[0].scale_ *= 3.0


def return_frames(pipe, table):
    pipe.set_output(transform="pandas")


@pytest.mark.parametrize("change", [shift, scale_otherwise, return_frames])
@pytest.mark.parametrize("include_base", [False, True])
@pytest.mark.parametrize("nested", [False, True])
def test_nothing_done_to_a_pipeline_changes_what_was_adapted(
    pipe, table, change, include_base, nested
):
    base = Pipeline([("inner", pipe)]) if nested else pipe
    adapted = adapt(base, table.X_new, table.y_new, include_base=include_base)
    expected = adapted.predict_proba(table.X_new)
    change(pipe, table)
    np.testing.assert_array_equal(adapted.predict_proba(table.X_new), expected)


@pytest.mark.parametrize("change", [scale_otherwise, return_frames])
def test_nothing_done_to_one_adapted_pipeline_changes_another(pipe, table, change):
    first = adapt(pipe, table.X_new, table.y_new)
    second = adapt(first, table.X_new[:8], table.y_new[:8])
    expected = [it.predict_proba(table.X_new) for it in (second, pipe)]
    if change is scale_otherwise:
        scale_otherwise([first[0].estimator], table)
    else:
        change(first, table)
    for it, before in zip((second, pipe), expected, strict=True):
        np.testing.assert_array_equal(it.predict_proba(table.X_new), before)


def test_copies_of_a_pipeline_share_the_weights_of_its_encoder(make_learner, table):
    network = nn.Linear(6, 4)
    pipe = make_pipeline(FrozenEncoder(network), make_learner()).fit(table.X, table.y)
    adapted = adapt(pipe, table.X_new, table.y_new)
    assert adapted[0].estimator is not pipe[0]
    assert adapted[0].estimator.module is network
    assert copy.deepcopy(pipe[0]).module is network


# ------------------------------------------------------------------ parameters


def test_what_a_classifier_was_built_with_survives_clone(learner, table):
    both = learner.adapt(table.X_new, table.y_new, include_base=True)
    every = np.union1d(table.y, table.y_new)
    again = [clone(both).fit(table.X_new, table.y_new), adapt(both, table.X_new, table.y_new)]
    assert all(len(it.classes_) == len(every) for it in again)


@pytest.mark.parametrize(
    "make_ensemble",
    [
        lambda classifier: VotingClassifier([("one", classifier)]),
        lambda classifier: CalibratedClassifierCV(classifier, cv=2, ensemble=False),
    ],
)
def test_an_ensemble_that_encodes_labels_does_not_lose_the_base_classes(
    learner, table, make_ensemble
):
    """Codes are no labels of base classes: an error, not the easier task."""
    both = learner.adapt(table.X_new, table.y_new, include_base=True)
    with pytest.raises(ValueError, match="of different types"):
        make_ensemble(both).fit(table.X_new, table.y_new)


def test_scores_of_a_classifier_with_base_classes_are_those_of_the_harder_task(learner, table):
    cv = EpisodeSplit(n_episodes=30, n_way=4, n_shot=1, n_query=3, random_state=0)
    options = {"n_way": 4, "n_query": 3, "n_episodes": 30}
    scores = {}
    for include_base in (False, True):
        classifier = learner.adapt(table.X_new, table.y_new, include_base=include_base)
        by_folds = cross_val_score(classifier, table.X_new, table.y_new, cv=cv)
        scores[include_base] = by_folds.mean()
        episodic = episodic_score(classifier, table.X_new, table.y_new, **options)
        assert abs(episodic.mean - by_folds.mean()) < 0.15
    assert scores[True] < scores[False] - 0.05


@pytest.mark.parametrize("wrap", [lambda it: it, lambda it: make_pipeline(StandardScaler(), it)])
def test_a_search_over_parameters_of_a_fitted_learner_is_refused(learner, table, wrap):
    classifier = wrap(FewShotClassifier(learner))
    prefix = "fewshotclassifier__" if isinstance(classifier, Pipeline) else ""
    search = GridSearchCV(classifier, {f"{prefix}learner__n_way": [2, 3]}, cv=2)
    with pytest.raises(ValueError, match=r"does not set learner__n_way.*is fitted.*EpisodicScorer"):
        search.fit(table.X_new, table.y_new)
    assert learner.n_way == 5


def test_learners_are_candidates_of_a_search_if_frozen(learner, make_learner, table):
    other = make_learner(n_way=3).fit(table.X, table.y)
    search = GridSearchCV(FewShotClassifier(), {"learner": [None, learner, other]}, cv=2)
    with pytest.raises(ValueError, match=r"clone.*FrozenEstimator"):
        search.fit(table.X_new, table.y_new)
    frozen = [None, FrozenEstimator(learner), FrozenEstimator(other)]
    search.set_params(param_grid={"learner": frozen}).fit(table.X_new, table.y_new)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()
    assert search.cv_results_["mean_test_score"][1] > 0.5


@pytest.mark.parametrize("include_base", [False, True])
def test_a_frozen_learner_is_as_the_learner(learner, table, tmp_path, include_base):
    plain = FewShotClassifier(learner, include_base=include_base)
    frozen = FewShotClassifier(FrozenEstimator(learner), include_base=include_base)
    expected = plain.fit(table.X_new, table.y_new).predict_proba(table.X_new)
    save_model(frozen.fit(table.X_new, table.y_new), tmp_path / "model.skops")
    for it in (
        frozen,
        clone(frozen).fit(table.X_new, table.y_new),
        pickle.loads(pickle.dumps(frozen)),
        load_model(tmp_path / "model.skops"),
        adapt(frozen, table.X_new, table.y_new),
        clone(frozen)
        .partial_fit(table.X_new[:9], table.y_new[:9])
        .partial_fit(table.X_new[9:], table.y_new[9:]),
    ):
        np.testing.assert_allclose(it.predict_proba(table.X_new), expected, atol=1e-6)
    options = {"n_way": 3, "n_query": 3, "n_episodes": 10}
    scores = [episodic_score(it, table.X_new, table.y_new, **options) for it in (plain, frozen)]
    np.testing.assert_array_equal(scores[0].scores, scores[1].scores)


def test_batches_and_device_of_a_fitted_learner_can_be_changed(make_learner, table):
    fitted = make_learner().fit(table.X, table.y)
    classifier = fitted.adapt(table.X_new, table.y_new)
    expected = classifier.predict_proba(table.X_new)
    sizes = []
    fitted.module_.backbone.register_forward_hook(
        lambda m, inputs, out: sizes.append(len(inputs[0]))
    )
    for it in (fitted, pickle.loads(pickle.dumps(fitted))):
        it.set_params(predict_batch_size=16, device="cpu")
    np.testing.assert_allclose(classifier.predict_proba(table.X_new), expected, atol=1e-6)
    assert max(sizes) == 16
    with pytest.raises(ValueError, match="predict_batch_size"):
        fitted.set_params(predict_batch_size=0)


# ------------------------------------------------------------------ what a classifier holds


def test_what_a_classifier_holds_agrees_with_predict_elsewhere(make_any, table):
    learner = make_any().fit(table.X, table.y)
    few = np.r_[0:9]  # unequal shots, beside all base classes
    classifier = learner.adapt(table.X_new[few], table.y_new[few], include_base=True)
    module = copy.deepcopy(learner._network.of_base.module)
    state = {name: torch.from_numpy(value).float() for name, value in classifier.state_.items()}
    state = {
        name: value.long() if classifier.state_[name].dtype.kind == "i" else value
        for name, value in state.items()
    }
    queries = torch.tensor(table.X_new, dtype=torch.float32)
    with torch.no_grad():
        logits = module.predict(state, queries[None])[0].numpy() + classifier.score_correction_
    np.testing.assert_allclose(
        logits, classifier.decision_function(table.X_new), rtol=1e-4, atol=1e-4
    )
    assert (
        logits.argmax(axis=1)
        == np.searchsorted(classifier.classes_, classifier.predict(table.X_new))
    ).all()
    with pytest.raises(NotFittedError):
        FewShotClassifier().state_  # noqa: B018


# ------------------------------------------------------------------ threads


def test_a_prediction_beside_a_change_is_of_one_state(learner, table):
    """Whatever other threads add and drop, each answer is one of the classes of its moment."""
    old, extra = table.y_new == table.y_new[0], table.y_new != table.y_new[0]
    classifier = learner.adapt(table.X_new, table.y_new)
    allowed, failures, stop = set(table.y_new), [], threading.Event()

    def read():
        while not stop.is_set():
            try:
                proba = classifier.predict_proba(table.X_new[:3])
                predicted = classifier.predict(table.X_new[:3], reject_label="none")
                if not np.allclose(proba.sum(axis=1), 1.0) or set(predicted) - allowed - {"none"}:
                    failures.append((proba, predicted))
            except Exception as error:
                failures.append(error)

    def write():
        for _ in range(40):
            classifier.drop_classes(np.unique(table.y_new[extra]))
            classifier.partial_fit(table.X_new[extra], table.y_new[extra])

    readers = [threading.Thread(target=read) for _ in range(4)]
    for thread in readers:
        thread.start()
    write()
    stop.set()
    for thread in readers:
        thread.join()
    assert failures == []
    assert old.any()


def test_a_file_saved_beside_changes_is_of_one_state(pipe, table, tmp_path):
    """What a service stores while its other threads work is the classes of one moment."""
    classifier, smaller = (pipe.adapt(table.X_new, table.y_new) for _ in range(2))
    extra = classifier.classes_[2:]
    smaller.drop_classes(extra)
    expected = {len(it.classes_): it.predict_proba(table.X) for it in (classifier, smaller)}
    is_extra, stop = np.isin(table.y_new, extra), threading.Event()

    def change():
        while not stop.is_set():
            classifier.drop_classes(extra)
            classifier.partial_fit(table.X_new[is_extra], table.y_new[is_extra])

    changing = threading.Thread(target=change)
    changing.start()
    try:
        for _ in range(8):
            save_model(classifier, tmp_path / "model.fsl")
            loaded = load_model(tmp_path / "model.fsl")
            proba = loaded.predict_proba(table.X)
            np.testing.assert_allclose(proba, expected[len(loaded.classes_)], atol=1e-6)
    finally:
        stop.set()
        changing.join()


def test_examples_that_several_threads_add_are_all_there(learner, table):
    classifier = learner.adapt(table.X_new[:4], table.y_new[:4])
    rest = [np.array([row]) for row in range(4, len(table.y_new))]
    Parallel(n_jobs=8, backend="threading")(
        delayed(classifier.partial_fit)(table.X_new[row], table.y_new[row]) for row in rest
    )
    whole = learner.adapt(table.X_new, table.y_new)
    np.testing.assert_array_equal(classifier.class_count_, whole.class_count_)
    np.testing.assert_allclose(
        classifier.decision_function(table.X), whole.decision_function(table.X), atol=1e-6
    )


def test_threads_that_begin_a_classifier_together_lose_nothing(learner, table):
    for classifier in (FewShotClassifier(learner), FewShotClassifier()):
        parts = [
            (table.X_new[row : row + 4], table.y_new[row : row + 4]) for row in range(0, 40, 4)
        ]
        Parallel(n_jobs=8, backend="threading")(
            delayed(classifier.partial_fit)(*part) for part in parts
        )
        assert classifier.class_count_.sum() == 40
        np.testing.assert_array_equal(classifier.classes_, np.unique(table.y_new))


def test_base_classes_of_another_network_are_refused(make_learner, table):
    learner = make_learner().fit(table.X, table.y)
    classifier = learner.adapt(table.X_new, table.y_new, include_base=True)
    plain = learner.adapt(table.X_new, table.y_new)
    learner.fit(2.0 * table.X, table.y)
    with pytest.raises(ValueError, match="was fitted again or exchanged"):
        adapt(classifier, table.X_new, table.y_new)
    again = adapt(plain, table.X_new, table.y_new)  # needs nothing of the learner
    np.testing.assert_array_equal(
        again.decision_function(table.X_new), plain.decision_function(table.X_new)
    )


# ------------------------------------------------------------------ other pipelines


class Resampler(BaseEstimator):
    """Drops samples of the training data, as those of imbalanced-learn; has no ``transform``."""

    def fit(self, X, y=None):
        return self

    def fit_resample(self, X, y):
        keep = np.random.default_rng(0).random(len(y)) < 1.0
        return X[keep], y[keep]


class ResamplingPipeline(Pipeline):
    """A pipeline that skips resamplers in predictions, as that of imbalanced-learn does."""

    def _validate_steps(self):
        pass

    def fit(self, X, y):
        for _, part in self.steps[:-1]:
            if hasattr(part, "fit_resample"):
                X, y = part.fit_resample(X, y)
            else:
                X = part.fit(X, y).transform(X)
        self.steps[-1][1].fit(X, y)
        return self

    def predict(self, X):
        for _, part in self.steps[:-1]:
            X = part.transform(X) if hasattr(part, "transform") else X
        return self.steps[-1][1].predict(X)


def test_steps_that_only_resample_training_data_are_skipped(make_learner, table):
    steps = [("scale", StandardScaler()), ("drop", Resampler()), ("learn", make_learner())]
    pipe = ResamplingPipeline(steps).fit(table.X, table.y)
    without = Pipeline([steps[0], steps[2]])
    options = {"n_way": 3, "n_query": 3, "n_episodes": 10}
    expected = adapt(without, table.X_new, table.y_new)
    adapted = adapt(pipe, table.X_new, table.y_new)
    assert isinstance(adapted, ResamplingPipeline)
    np.testing.assert_array_equal(adapted.predict(table.X), expected.predict(table.X))
    scores = [episodic_score(it, table.X_new, table.y_new, **options) for it in (pipe, without)]
    np.testing.assert_array_equal(scores[0].scores, scores[1].scores)
    scores = [
        episodic_score(FewShotClassifier(), table.X_new, table.y_new, preprocess=it, **options)
        for it in (pipe[:-1], without[:-1])
    ]
    np.testing.assert_array_equal(scores[0].scores, scores[1].scores)


@pytest.mark.parametrize("routing", [False, True])
def test_options_of_prediction_go_with_a_support_set(pipe, table, routing):
    import sklearn

    support = {"X_support": table.X_new, "y_support": table.y_new}
    expected = adapt(pipe, table.X_new, table.y_new)[-1]
    scaled = pipe[0].transform(table.X_new)
    weight = np.linspace(0, 1, len(table.y_new))
    with sklearn.config_context(enable_metadata_routing=routing):
        predicted = pipe.predict(table.X_new, reject_label="none", reject_rate=0.3, **support)
        score = pipe.score(table.X_new, table.y_new, sample_weight=weight, **support)
    np.testing.assert_array_equal(
        predicted, expected.predict(scaled, reject_label="none", reject_rate=0.3)
    )
    assert score == expected.score(scaled, table.y_new, weight)


def test_pairs_pass_through_a_pipeline(table):
    budget = {"max_epochs": 1, "episodes_per_epoch": 5, "refit": False, "random_state": 0}
    plain = make_pipeline(StandardScaler(), SiameseNetClassifier(**budget)).fit(table.X, table.y)
    pipe = FewShotPipeline(plain.steps)
    pairs = np.stack([table.X_new[:-1], table.X_new[1:]], axis=1)
    is_same = np.where(table.y_new[:-1] == table.y_new[1:], 1, -1)
    scaled = np.stack([plain[0].transform(pairs[:, side]) for side in (0, 1)], axis=1)
    np.testing.assert_array_equal(pipe.pair_score(pairs), plain[-1].pair_score(scaled))
    assert pipe.calibrate_threshold(pairs, is_same, false_accept_rate=0.3) is pipe
    np.testing.assert_array_equal(pipe.predict_pairs(pairs), plain[-1].predict_pairs(scaled))
    with pytest.raises(ValueError, match="Pairs must be an array of shape"):
        pipe.pair_score(table.X_new)


def test_a_pipeline_adapts_grows_and_forgets(pipe, table):
    adapted = pipe.adapt(table.X_new[:20], table.y_new[:20])
    assert isinstance(adapted, FewShotPipeline)
    assert adapted.partial_fit(table.X_new[20:], table.y_new[20:]) is adapted
    whole = adapt(pipe, table.X_new, table.y_new)
    np.testing.assert_array_equal(adapted.predict(table.X), whole.predict(table.X))
    adapted.drop_classes([adapted.classes_[0]])
    assert len(adapted.classes_) == len(whole.classes_) - 1
    assert not hasattr(pipe, "partial_fit")
    assert not hasattr(pipe, "pair_score")
    assert len(pipe.adapt(table.X_new, table.y_new, include_base=True).classes_) == 12
