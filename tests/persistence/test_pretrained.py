"""Learners that come with the package."""

import numpy as np
import pytest

from sklearn_fewshot import ProtoNetClassifier, load_pretrained
from sklearn_fewshot.datasets import make_glyphs
from sklearn_fewshot.model_selection import episodic_score


@pytest.fixture(scope="module")
def learner():
    return load_pretrained("glyphs")


@pytest.fixture(scope="module")
def georgian():
    return make_glyphs(scripts="Georgian", n_per_class=12, random_state=7)


def test_the_letter_model_reads_a_script_that_it_has_not_seen(learner, georgian):
    task = {"n_query": 5, "n_episodes": 100, "groups": georgian.face}
    assert episodic_score(learner, georgian.images, georgian.target, **task).mean > 0.85
    classifier = learner.adapt(georgian.images[::12], georgian.target[::12])
    assert classifier.score(georgian.images, georgian.target) > 0.5  # of 43 letters


def test_it_has_seen_no_letter_of_that_script(learner, georgian):
    assert isinstance(learner, ProtoNetClassifier)
    assert not np.isin(georgian.target, learner.classes_).any()
    assert np.isin(["a", "Ж", "ծ"], learner.classes_).all()


def test_it_is_calibrated_and_quiet(learner, georgian):
    assert learner.n_calibration_classes_ > 100
    assert learner.verbose == 0
    classifier = learner.adapt(georgian.images[:24], georgian.target[:24])
    digits = np.random.default_rng(0).integers(0, 256, (50, 1, 28, 28), dtype=np.uint8)
    assert (classifier.predict(digits, reject_label="none") == "none").mean() > 0.9  # noise


def test_each_call_loads_a_learner_of_its_own(learner):
    other = load_pretrained("glyphs")
    assert other is not learner
    assert other.module_ is not learner.module_


@pytest.mark.parametrize("name", ["letters", "../models/glyphs", None, 3])
def test_another_name_is_an_error_that_lists_those_there_are(name):
    with pytest.raises(ValueError, match=r"must be one of \['glyphs'\]. Got "):
        load_pretrained(name)
