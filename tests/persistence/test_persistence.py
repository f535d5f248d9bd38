"""Model files: equal predictions after loading, for every learner, pipeline and type of label."""

import copy
import os
import zipfile

import numpy as np
import pandas as pd
import pytest
import sklearn
import skops.io
import torch
from numpy.testing import assert_array_equal
from sklearn.exceptions import NotFittedError
from sklearn.pipeline import make_pipeline
from torch import nn

import sklearn_fewshot
from sklearn_fewshot import (
    ClassAttributes,
    FewShotClassifier,
    FrozenEncoder,
    ModelFormatError,
    ProtoNetClassifier,
    ReptileClassifier,
    SiameseNetClassifier,
    ZeroShotProtoNetClassifier,
    ZeroShotRelationNetClassifier,
    adapt,
    load_model,
    save_model,
)
from sklearn_fewshot.adapted import REFINEMENTS
from sklearn_fewshot.persistence import _archive
from sklearn_fewshot.persistence._trusted import own_types
from sklearn_fewshot.persistence._values import check_sizes
from tests.persistence.equality import METHODS, check_equal

ZERO_SHOT = (ZeroShotProtoNetClassifier, ZeroShotRelationNetClassifier)


# ---------------------------------------------------------------------- round trips


def test_every_learner_predicts_the_same(make_any, table, through_file):
    quick = {
        "validation_fraction": 0.0,
        "calibrate": False,
    }  # what logistic regression lacks time for
    learner = make_any(**quick).fit(table.X, table.y)
    loaded = through_file(learner)
    check_equal(loaded, learner, table.X, (*METHODS, "transform"))
    assert repr(loaded.get_params()) == repr(learner.get_params())
    assert loaded.history_ == learner.history_
    stored = {k: v for k, v in vars(learner).items() if k != "net_"}
    assert vars(loaded).keys() == stored.keys()
    assert_array_equal(loaded.classes_, learner.classes_)
    adapted = learner.adapt(table.X_new, table.y_new)
    check_equal(loaded.adapt(table.X_new, table.y_new), adapted, table.X)
    check_equal(through_file(adapted), adapted, table.X)


@pytest.mark.parametrize("cls", ZERO_SHOT)
def test_learners_without_examples_predict_the_same(cls, table, through_file):
    rng = np.random.default_rng(0)
    labels = np.unique(np.concatenate([table.y, table.y_new]))
    attributes = ClassAttributes(labels, rng.normal(size=(12, 4)), names=list("abcd"))
    learner = cls(n_way=5, n_query=3, episodes_per_epoch=3, max_epochs=1, random_state=0)
    learner.fit(table.X, table.y, class_attributes=attributes)
    loaded = through_file(learner)
    check_equal(loaded, learner, table.X)
    assert loaded.class_attributes_.names == attributes.names
    adapted = learner.adapt(class_attributes=attributes)
    check_equal(loaded.adapt(class_attributes=attributes), adapted, table.X)
    check_equal(through_file(adapted), adapted, table.X)


@pytest.mark.parametrize("frozen", [False, True])
@pytest.mark.parametrize("backbone", ["auto", "mlp", "spectral", "conv4"])
def test_every_shape_of_samples(make_learner, series, pictures, through_file, backbone, frozen):
    data = {"spectral": series, "conv4": pictures}.get(backbone, pictures)
    learner = make_learner(backbone=backbone, freeze_backbone=frozen, max_epochs=1)
    learner.fit(data.X, data.y)
    check_equal(through_file(learner), learner, data.X, (*METHODS, "transform"))


def test_spatial_maps(pictures, through_file):
    cls = sklearn_fewshot.RelationNetClassifier
    learner = cls(n_way=3, n_shot=1, n_query=2, episodes_per_epoch=2, max_epochs=1, random_state=0)
    learner.fit(pictures.X, pictures.y)
    check_equal(through_file(learner), learner, pictures.X)


def test_a_classifier_goes_on_learning(learner, table, through_file):
    clf = learner.adapt(table.X_new, table.y_new, include_base=True)
    loaded = through_file(clf)
    check_equal(
        loaded.partial_fit(table.X[:9], table.y[:9]),
        clf.partial_fit(table.X[:9], table.y[:9]),
        table.X,
    )
    check_equal(loaded.drop_classes(["new-24"]), clf.drop_classes(["new-24"]), table.X)
    again = (table.X_new[::2], table.y_new[::2])
    check_equal(adapt(loaded, *again), adapt(clf, *again), table.X)


def test_a_learner_goes_on_learning(make_learner, table, through_file):
    learner = make_learner(backbone="mlp", warm_start=True, validation_fraction=0.0)
    loaded = through_file(learner.fit(table.X, table.y))
    check_equal(loaded.fit(table.X, table.y), learner.fit(table.X, table.y), table.X)


def test_rejection_and_calibration(learner, table, through_file):
    assert learner._network.calibration is not None
    clf = learner.adapt(table.X_new, table.y_new)
    loaded = through_file(clf)
    assert_array_equal(loaded.rejection_threshold(0.1), clf.rejection_threshold(0.1))
    kept = {"reject_label": "none", "reject_rate": 0.3}
    assert_array_equal(loaded.predict(table.X, **kept), clf.predict(table.X, **kept))


@pytest.mark.parametrize("refinement", REFINEMENTS)
def test_examples_without_a_label(learner, table, through_file, refinement):
    y = np.where(np.arange(len(table.y_new)) % 2, table.y_new, "?")
    clf = learner.adapt(table.X_new, y, unlabelled="?", refinement=refinement)
    loaded = through_file(clf)
    assert loaded.refinement == refinement
    assert_array_equal(loaded.transduction_, clf.transduction_)
    check_equal(loaded, clf, table.X)
    check_equal(loaded.partial_fit(table.X_new, y), clf.partial_fit(table.X_new, y), table.X)


def test_verification(make_learner, table, through_file):
    learner = SiameseNetClassifier(
        n_way=5, n_query=3, episodes_per_epoch=3, max_epochs=1, refit=False, random_state=0
    ).fit(table.X, table.y)
    pairs = np.stack([table.X[:-1], table.X[1:]], axis=1)
    assert_array_equal(through_file(learner).predict_pairs(pairs), learner.predict_pairs(pairs))


LABELS = {
    "int": np.array([-3, 10]),
    "unsigned": np.array([1, 200], dtype=np.uint8),
    "float": np.array([1.0, 2.0]),
    "bool": np.array([False, True]),
    "text": np.array(["a", "ünïcode\U0001f600"]),
    "big-endian": np.array([1, 2], dtype=">i4"),
    "objects": np.array(["a", "bc"], dtype=object),
}


@pytest.mark.parametrize("labels", LABELS.values(), ids=LABELS)
def test_labels_of_every_type(labels, through_file):
    X = np.array([[0.0, 1.0], [5.0, 5.0], [0.5, 1.0]])
    y = np.array([labels[0], labels[1], labels[0]], dtype=labels.dtype)
    clf = FewShotClassifier().fit(X, y)
    loaded = through_file(clf)
    assert_array_equal(loaded.predict(X), clf.predict(X))
    assert loaded.classes_.dtype == clf.classes_.dtype
    assert [type(label) for label in loaded.classes_] == [type(label) for label in clf.classes_]


def test_column_names_are_kept(table, through_file):
    frame = pd.DataFrame(table.X_new).add_prefix("x")
    clf = FewShotClassifier().fit(frame, table.y_new)
    loaded = through_file(clf)
    check_equal(loaded, clf, frame)
    with pytest.raises(ValueError, match="feature names"):
        loaded.predict(frame[frame.columns[::-1]])


def test_equal_models_are_equal_files(small, tmp_path):
    save_model(small, tmp_path / "a")
    save_model(load_model(tmp_path / "a"), tmp_path / "b")
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_a_learner_and_its_classifier_share_one_network(learner, table, path):
    save_model(learner, path)
    alone = path.stat().st_size
    clf = learner.adapt(table.X_new, table.y_new)
    save_model(clf, path)
    loaded = load_model(path)
    assert loaded._network is loaded.learner._network
    assert path.stat().st_size < 1.2 * alone


def test_a_classifier_of_a_learner_that_was_fitted_again(make_learner, table, through_file):
    learner = make_learner(backbone="mlp", max_epochs=1).fit(table.X, table.y)
    clf = learner.adapt(table.X_new, table.y_new)
    expected = clf.predict_proba(table.X)
    learner.set_params(random_state=1).fit(table.X, table.y)
    loaded = through_file(clf)
    assert loaded._network is not loaded.learner._network
    assert_array_equal(loaded.predict_proba(table.X), expected)


def test_skops_alone_opens_the_file(small, table, path):
    save_model(small, path)
    needed = skops.io.get_untrusted_types(file=path)
    assert set(needed) <= own_types().keys()
    check_equal(skops.io.load(path, trusted=needed), small, table.X)


def test_the_file_says_which_versions_wrote_it(small, path):
    save_model(small, path)
    with zipfile.ZipFile(path) as archive:
        about = archive.read("about.json").decode()
    assert sklearn.__version__ in about
    assert torch.__version__ in about


def test_bfloat16_predictions_come_back(make_learner, table, through_file):
    learner = make_learner(backbone="mlp", precision="bfloat16", device=torch.device("cpu"))
    learner.fit(table.X, table.y)
    loaded = through_file(learner)
    check_equal(loaded, learner, table.X)
    assert loaded._network.autocast_dtype == learner._network.autocast_dtype == torch.bfloat16


def test_arrays_in_memory_maps_are_saved_as_arrays(table, path):
    clf = FewShotClassifier().fit(table.X, table.y)
    np.save(path.with_suffix(".npy"), clf.class_count_)
    mapped = np.load(path.with_suffix(".npy"), mmap_mode="r")
    clf._support = clf._support._replace(class_count=mapped)
    save_model(clf, path)
    assert type(load_model(path).class_count_) is np.ndarray


# ---------------------------------------------------------------------- what cannot be saved


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"backbone": nn.Linear(6, 3)}, "'backbone' parameter .* instance of Linear"),
        ({"backbone": lambda: nn.Linear(6, 3)}, "'backbone' parameter .* Lambdas"),
        ({"metric": lambda a, b: (a - b).sum(-1)}, "'metric' parameter"),
        ({"random_state": np.random.RandomState(0)}, "'random_state' parameter"),
        ({"net_params": {"callbacks": nn.Linear(1, 1)}}, "'net_params' parameter"),
        ({"net_params": {"a generator": (n for n in [1])}}, "cannot store a part of"),
        ({"predict_batch_size": 2**40}, "lower it before fit"),
    ],
)
def test_parameters_that_cannot_be_saved_are_named(small, path, params, message):
    learner = copy.deepcopy(small).set_params(**params)
    with pytest.raises((TypeError, ValueError), match=message):
        save_model(learner, path)
    assert not list(path.parent.iterdir())


@pytest.mark.parametrize("name", ["n_steps", "adapt_steps"])
def test_steps_that_keep_a_machine_busy_are_refused(name):
    with pytest.raises(ModelFormatError, match=f"has {name}=1000000000, at most 10000"):
        check_sizes(ReptileClassifier(**{name: 10**9}), file_size=2**40)


def test_estimators_that_cannot_be_saved_are_named(table, path):
    for estimator, message in (
        (
            make_pipeline(FewShotClassifier()).fit(table.X, table.y).set_params(memory="cache"),
            "memory=None",
        ),
        (FrozenEncoder(nn.Linear(6, 2)).fit(table.X), "'module' parameter of FrozenEncoder"),
    ):
        with pytest.raises(TypeError, match=message):
            save_model(estimator, path)
    with pytest.raises(NotFittedError):
        save_model(ProtoNetClassifier(), path)
    assert not list(path.parent.iterdir())


def test_classes_that_cannot_be_found_cannot_be_saved(small, path):
    class Own(ProtoNetClassifier):
        pass

    learner = copy.deepcopy(small)
    learner.__class__ = Own
    with pytest.raises(TypeError, match=r"what was written cannot be loaded: .* in a module"):
        save_model(learner, path)
    assert not list(path.parent.iterdir())


def test_values_that_refer_to_themselves_cannot_be_saved(small, path):
    learner, loop = copy.deepcopy(small), []
    loop.append(loop)
    with pytest.raises(TypeError, match="cannot store a part of"):
        save_model(learner.set_params(net_params={"a loop": loop}), path)


# ---------------------------------------------------------------------- writing


def test_the_path_is_taken_as_it_is(small, tmp_path):
    save_model(small, str(tmp_path / "no suffix"))
    assert os.listdir(tmp_path) == ["no suffix"]


@pytest.mark.parametrize("broken", ["fsync", "replace"])
def test_a_failed_save_leaves_the_old_file(small, learner, path, monkeypatch, broken):
    save_model(small, path)
    before = path.read_bytes()

    def fail(*args):
        raise OSError("no space left")

    monkeypatch.setattr(_archive.os, broken, fail)
    with pytest.raises(OSError, match="no space left"):
        save_model(learner, path)
    assert path.read_bytes() == before
    assert os.listdir(path.parent) == [path.name]


def test_a_link_still_leads_to_the_file(small, tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "folder" / "model")
    save_model(small, tmp_path / "link")
    assert (tmp_path / "link").is_symlink()
    load_model(tmp_path / "folder" / "model")


def test_no_file_and_no_folder(small, tmp_path):
    with pytest.raises(FileNotFoundError):
        load_model(tmp_path / "nothing")
    with pytest.raises(FileNotFoundError):
        save_model(small, tmp_path / "nothing" / "model")
    with pytest.raises(OSError, match="directory"):
        load_model(tmp_path)
