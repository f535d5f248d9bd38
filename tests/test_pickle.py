"""Pickle, joblib, deepcopy and clone: small, free of torch, equal predictions elsewhere."""

import copy
import pickle
import pickletools
import subprocess
import sys

import joblib
import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.preprocessing import StandardScaler
from skorch.callbacks import EarlyStopping
from torch import nn

from sklearn_fewshot import FewShotClassifier, adapt, make_fewshot_pipeline
from sklearn_fewshot.nn.backbones import Conv4
from sklearn_fewshot.training import _start

ON_LOAD = """
import pickle, sys
import numpy as np
estimator, X, expected = pickle.load(sys.stdin.buffer)
for name, (old, new) in expected.items():
    np.testing.assert_allclose(getattr(estimator[name], "predict_proba")(X[name]), old, atol=1e-7)
    adapted = estimator[name].adapt(X[name], np.arange(len(X[name])) % 2)
    np.testing.assert_allclose(adapted.predict_proba(X[name]), new, atol=1e-7)
print("equal")
"""


def names_in(pickled):
    """Return the modules of all objects that a pickle refers to."""
    strings = [arg for _, arg, _ in pickletools.genops(pickled) if isinstance(arg, str)]
    return {string.split(".")[0].split(" ")[0] for string in strings}


def through_pickle(estimator):
    return pickle.loads(pickle.dumps(estimator))


def check_equal_predictions(estimator, expected, X):
    np.testing.assert_array_equal(estimator.predict(X), expected.predict(X))
    for method in ("predict_proba", "decision_function", "score_samples"):
        np.testing.assert_allclose(
            getattr(estimator, method)(X), getattr(expected, method)(X), rtol=1e-7, atol=1e-7
        )


@pytest.mark.parametrize("duplicate", [through_pickle, copy.deepcopy], ids=["pickle", "deepcopy"])
def test_copies_predict_the_same(learner, picture_learner, table, pictures, duplicate):
    for fitted, data in ((learner, table), (picture_learner, pictures)):
        copied = duplicate(fitted)
        assert copied.module_ is not fitted.module_
        check_equal_predictions(copied, fitted, data.X)
        adapted = fitted.adapt(data.X_new, data.y_new)
        check_equal_predictions(copied.adapt(data.X_new, data.y_new), adapted, data.X)
        check_equal_predictions(duplicate(adapted), adapted, data.X)


def test_a_pickle_holds_no_torch_objects(make_learner, learner, picture_learner, table, pictures):
    frozen = make_learner(backbone="mlp", freeze_backbone=True).fit(table.X, table.y)
    for estimator in (
        learner,
        picture_learner,
        frozen,
        learner.adapt(table.X_new, table.y_new),
        picture_learner.adapt(pictures.X_new, pictures.y_new),
        FewShotClassifier().fit(table.X_new, table.y_new),
    ):
        for protocol in (2, pickle.HIGHEST_PROTOCOL):
            assert not names_in(pickle.dumps(estimator, protocol)) & {"torch", "skorch"}


def test_a_process_that_never_trained_predicts_the_same(learner, picture_learner, table, pictures):
    both = {"table": learner, "pictures": picture_learner}
    X = {"table": table.X, "pictures": pictures.X}
    expected = {
        name: (
            both[name].predict_proba(X[name]),
            both[name].adapt(X[name], np.arange(len(X[name])) % 2).predict_proba(X[name]),
        )
        for name in both
    }
    process = subprocess.run(
        [sys.executable, "-c", ON_LOAD],
        input=pickle.dumps((both, X, expected)),
        capture_output=True,
        check=False,
    )
    assert process.returncode == 0, process.stderr.decode()
    assert process.stdout.decode().split() == ["equal"]


def test_pickles_are_small(make_learner, learner, picture_learner, table, pictures):
    pictures_28 = np.kron(pictures.X, np.ones((1, 1, 2, 2), np.uint8))[..., 2:-2, 2:-2]
    omniglot_like = make_learner(max_epochs=0).fit(pictures_28, pictures.y)
    assert isinstance(omniglot_like.module_.backbone, Conv4)
    assert len(pickle.dumps(omniglot_like)) < 1_000_000
    small = make_learner(backbone="identity").fit(table.X, table.y)
    assert len(pickle.dumps(small)) < 20_000
    weights = sum(v.numel() * v.element_size() for v in learner.module_.state_dict().values())
    assert len(pickle.dumps(learner)) < weights + 20_000


@pytest.mark.parametrize("mmap_mode", [None, "r"])
def test_joblib_loads_what_it_dumped(learner, table, tmp_path, mmap_mode):
    adapted = learner.adapt(table.X_new, table.y_new, include_base=True)
    joblib.dump((learner, adapted), tmp_path / "both.joblib")
    loaded, loaded_adapted = joblib.load(tmp_path / "both.joblib", mmap_mode=mmap_mode)
    check_equal_predictions(loaded, learner, table.X)
    check_equal_predictions(loaded_adapted, adapted, table.X)
    check_equal_predictions(
        loaded.adapt(table.X_new, table.y_new, include_base=True), adapted, table.X
    )
    check_equal_predictions(
        loaded_adapted.partial_fit(table.X[:2], table.y[:2]),
        copy.deepcopy(adapted).partial_fit(table.X[:2], table.y[:2]),
        table.X,
    )


def test_what_was_loaded_can_be_fitted_again(learner, table):
    loaded = through_pickle(learner)
    assert not hasattr(loaded, "net_")
    assert loaded.history_ == learner.history_
    check_equal_predictions(loaded.fit(table.X, table.y), learner, table.X)
    assert hasattr(loaded, "net_")


def test_a_warm_start_continues_from_what_was_loaded(make_learner, table):
    learner = make_learner(backbone="mlp", warm_start=True, validation_fraction=0.0)
    loaded = through_pickle(learner.fit(table.X, table.y))
    check_equal_predictions(loaded.fit(table.X, table.y), learner.fit(table.X, table.y), table.X)


@pytest.mark.parametrize("frozen", [False, True])
@pytest.mark.parametrize("unit_length", [False, True])
def test_a_projected_start_survives(make_learner, table, monkeypatch, unit_length, frozen):
    monkeypatch.setattr(_start, "_choose", lambda *args: _start.Start(0.5, unit_length))
    learner = make_learner(backbone="residual_mlp", freeze_backbone=frozen).fit(table.X, table.y)
    assert learner.transform(table.X).shape[1] < 6  # fewer axes than six training classes
    check_equal_predictions(through_pickle(learner), learner, table.X)


def test_modules_of_the_user_travel_on_the_cpu(make_learner, table):
    backbone = nn.Sequential(nn.Linear(6, 5), nn.BatchNorm1d(5))
    learner = make_learner(backbone=backbone, callbacks=[EarlyStopping(sink=None)])
    loaded = through_pickle(learner.fit(table.X, table.y))
    check_equal_predictions(loaded, learner, table.X)
    assert loaded.backbone is not backbone
    assert all(value.device.type == "cpu" for value in loaded.backbone.state_dict().values())


def test_a_module_of_the_user_is_pickled_once_beside_the_trained_weights(make_learner, table):
    backbone = nn.Sequential(nn.Linear(6, 300), nn.Linear(300, 300))
    weights = sum(value.numel() * 4 for value in backbone.state_dict().values())
    learner = make_learner(backbone=backbone, max_epochs=1).fit(table.X, table.y)
    adapted = learner.adapt(table.X_new, table.y_new)
    examples = adapted._support.shown.items.embedding.nbytes
    for estimator, kept in ((learner, 0), (adapted, examples)):
        assert len(pickle.dumps(estimator)) < 2 * weights + kept + 60_000


def test_loading_leaves_the_global_random_state(learner):
    pickled, state = pickle.dumps(learner), torch.get_rng_state()
    pickle.loads(pickled)
    assert torch.equal(torch.get_rng_state(), state)


def test_pickling_leaves_the_learner_as_it_was(make_learner, table):
    learner = make_learner(max_epochs=1).fit(table.X, table.y)
    before = dict(vars(learner))
    first, second = pickle.dumps(learner), pickle.dumps(learner)
    assert first == second
    assert all(vars(learner)[name] is value for name, value in before.items())


def test_clone_keeps_parameters_and_forgets_what_was_fitted(learner):
    cloned = clone(learner)
    assert cloned.get_params() == learner.get_params()
    assert vars(cloned).keys() == learner.get_params().keys()


def test_a_cloned_backbone_is_the_users_own_start(make_learner, table):
    backbone = nn.Linear(6, 5)
    learner = make_learner(backbone=backbone).fit(table.X, table.y)
    cloned = clone(learner)
    assert torch.equal(cloned.backbone.weight, backbone.weight)
    check_equal_predictions(cloned.fit(table.X, table.y), learner, table.X)


def test_pipelines_travel_whole(make_learner, table):
    pipeline = make_fewshot_pipeline(StandardScaler(), make_learner(max_epochs=1))
    pipeline.fit(table.X, table.y)
    for estimator in (pipeline, adapt(pipeline, table.X_new, table.y_new)):
        check_equal_predictions(through_pickle(estimator), estimator, table.X)
