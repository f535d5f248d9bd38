"""What `export_onnx` exports and refuses, as far as it takes no library of ONNX."""

import sys

import numpy as np
import pytest
import torch
from sklearn.exceptions import NotFittedError
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sklearn_fewshot import (
    FewShotClassifier,
    MAMLClassifier,
    RelationNetClassifier,
    export_onnx,
)
from sklearn_fewshot.persistence._onnx import Prediction


@pytest.mark.parametrize("options", [{}, {"metric": "cityblock"}, {"readout": "anchored"}], ids=str)
def test_one_function_of_tensors_predicts_as_the_classifier(make_learner, table, options):
    learner = make_learner(**options).fit(table.X, table.y)
    classifier = learner.adapt(table.X_new[:15], table.y_new[:15])
    with torch.no_grad():
        code, proba = Prediction(classifier)(torch.tensor(table.X_new, dtype=torch.float32))
    np.testing.assert_allclose(proba, classifier.predict_proba(table.X_new), atol=1e-5)
    assert (classifier.classes_[code] == classifier.predict(table.X_new)).all()


@pytest.mark.parametrize("cls", [RelationNetClassifier, MAMLClassifier])
def test_other_learners_are_refused(make_learner, table, tmp_path, cls):
    options = make_learner().get_params()
    shared = {name: options[name] for name in ("n_way", "n_shot", "episodes_per_epoch")}
    learner = cls(**shared, max_epochs=1, refit=False, random_state=0)
    classifier = learner.fit(table.X, table.y).adapt(table.X_new, table.y_new)
    with pytest.raises(TypeError, match=f"ProtoNetClassifier and Basel.*of {cls.__name__}. Train"):
        export_onnx(classifier, tmp_path / "model.onnx")
    assert not (tmp_path / "model.onnx").exists()


def test_what_is_not_adapted_is_refused(make_learner, table, tmp_path):
    pipe = make_pipeline(StandardScaler(), make_learner()).fit(table.X, table.y)
    for estimator in (pipe, pipe[-1], StandardScaler()):
        with pytest.raises(TypeError, match=r"Export what adapt\(estimator"):
            export_onnx(estimator, tmp_path / "model.onnx")
    with pytest.raises(NotFittedError):
        export_onnx(FewShotClassifier(), tmp_path / "model.onnx")


def test_without_the_libraries_the_error_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnx", None)
    classifier = FewShotClassifier().fit([[0.0], [1.0]], ["a", "b"])
    with pytest.raises(ImportError, match=r"needs onnx, .*sklearn-fewshot\[onnx\]"):
        export_onnx(classifier, tmp_path / "model.onnx")
