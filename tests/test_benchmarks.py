"""Benchmarks: results are never lost, pages follow from them, test classes are never trained on."""

import json
import re
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module

import numpy as np
import pytest

from benchmarks import _data, _report, omniglot, shots
from benchmarks._report import DOCS, RESULTS, Study
from sklearn_fewshot.datasets import make_glyphs


def never():
    raise AssertionError("computed again")


@pytest.fixture
def study(tmp_path):
    return Study("study", tmp_path)


def test_a_finished_case_is_not_computed_again(study, tmp_path):
    first = study.remember("letter", "ProtoNet", 0, compute=lambda: {"accuracy": 0.1 + 0.2})
    assert first["accuracy"] == 0.1 + 0.2
    assert first["machine"] == _report.machine()
    in_another_process = Study("study", tmp_path)
    assert in_another_process.remember("letter", "ProtoNet", 0, compute=never) == first
    assert study.get("letter", "ProtoNet", 0) == first
    assert study.get("letter", "ProtoNet", 1) is None


def test_an_interrupted_case_leaves_the_finished_ones(study):
    def interrupt():
        raise KeyboardInterrupt

    study.remember("a", compute=dict)
    before = study.path.read_bytes()
    with pytest.raises(KeyboardInterrupt):
        study.remember("b", compute=interrupt)
    assert study.path.read_bytes() == before


@pytest.mark.parametrize("step", ["write_text", "replace"])
def test_an_interrupted_write_leaves_the_finished_cases(study, monkeypatch, step):
    def interrupt(*args):
        raise KeyboardInterrupt

    study.store({"a": {}})
    before = study.path.read_bytes()
    with monkeypatch.context() as patch:
        patch.setattr(*((_report.Path if step == "write_text" else _report.os), step), interrupt)
        with pytest.raises(KeyboardInterrupt):
            study.store({"b": {}})
    assert study.path.read_bytes() == before
    study.store({"b": {}})
    assert study.get("a") == study.get("b") == {}


def test_processes_at_the_same_time_lose_no_case(study, tmp_path):
    def another(seed):
        Study("study", tmp_path).store({f"case/{seed}": {"seed": seed}})

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(another, range(100)))
    assert [result["seed"] for result in study.find("case")] == list(range(100))


def test_cases_are_found_by_how_their_names_begin(study):
    for name in ("x/MatchingNet/10", "x/MatchingNet/2", "x/MatchingNet with FCE/0", "y/a/0"):
        study.store({name: {"name": name}})
    found = [result["name"] for result in study.find("x", "MatchingNet")]
    assert found == ["x/MatchingNet/2", "x/MatchingNet/10"]
    assert len(study.find("x")) == 3
    assert study.find("z") == []


STUDIES = sorted(path.stem for path in RESULTS.glob("*.json"))


@pytest.mark.parametrize("name", STUDIES)
def test_stored_results_are_small_and_a_line_each(name, tmp_path):
    text = (RESULTS / f"{name}.json").read_text()
    copy = Study(name, tmp_path)
    copy.store(json.loads(text))
    assert copy.path.read_text() == text
    assert len(text) < 200_000


@pytest.mark.parametrize("name", STUDIES)
def test_pages_are_what_the_results_say(name, tmp_path, monkeypatch):
    benchmark = import_module(f"benchmarks.{name}")
    for module in (_report, benchmark):
        monkeypatch.setattr(module, "DOCS", tmp_path, raising=False)
    benchmark.write()
    written, committed = (undated(folder / f"{name}.md") for folder in (tmp_path, DOCS))
    assert written == committed


def undated(page):
    """Return a page without the day on which it was written."""
    return re.sub(r"\(\d{4}-\d\d-\d\d\)", "", page.read_text())


class Spy:
    """Stands in for a learner: remembers what it is trained on, recognises nothing."""

    history_, best_epoch_ = [{"valid_acc": 0.0}], 0

    def fit(self, X, y, **groups):
        self.X, self.y, self.groups = X, y, groups
        return self

    def adapt(self, X_support, y_support):
        self.n_support = len(X_support)
        return self

    def predict(self, X):
        return np.full(len(X), -1)


@pytest.fixture
def run_characters(load_data):
    file = load_data("omniglot/omniglot_28.npz")
    return np.unique(np.concatenate([file["run_train"][..., 0], file["run_test"][..., 0]]))


def test_models_of_the_main_table_have_seen_characters_of_the_runs(run_characters):
    _, y = _data.omniglot(0)
    assert len(run_characters) == 200
    assert np.isin(run_characters, y // 4).sum() == 78


def test_models_of_the_runs_are_trained_on_other_characters(run_characters, monkeypatch):
    spy = Spy()
    monkeypatch.setitem(
        omniglot.ENTRIES, "protonet", omniglot.ENTRIES["protonet"]._replace(make=lambda **kw: spy)
    )
    result = omniglot.run_lake("protonet", 0)
    assert not np.isin(spy.y // 4, run_characters).any()
    assert len(np.unique(spy.y)) == 4 * 964
    assert spy.n_support == 20
    assert result["runs"] == [0.0] * 20


def test_the_runs_are_within_an_alphabet_and_by_other_drawers(load_data):
    file = load_data("omniglot/omniglot_28.npz")
    for support, query, answer in zip(
        file["run_train"], file["run_test"], file["run_answer"], strict=True
    ):
        assert len(np.unique(file["alphabet"][support[:, 0]])) == 1
        np.testing.assert_array_equal(support[answer, 0], query[:, 0])
        assert (support[answer, 1] != query[:, 1]).all()
    for X_support, X_query, answer in _data.omniglot_runs():
        assert X_support.shape == X_query.shape == (20, 1, 28, 28)
        np.testing.assert_array_equal(np.sort(answer), np.arange(20))


def test_the_parts_of_the_vinyals_split_share_no_character(load_data):
    load_data("omniglot/omniglot_28.npz")
    train, validation, test = (np.unique(_data.omniglot(part)[1] // 4) for part in range(3))
    assert (len(train), len(validation), len(test)) == (1028, 172, 423)
    assert not np.intersect1d(train, validation).size
    assert not np.intersect1d(np.union1d(train, validation), test).size


def test_base_and_new_letters_of_the_shot_curves_differ(monkeypatch):
    monkeypatch.setattr(shots, "make_glyphs", lambda **kw: make_glyphs(**kw | {"n_per_class": 1}))
    base, latin, georgian = (set(y) for _, y in shots.glyphs.__wrapped__().values())
    assert (len(base), len(latin), len(georgian)) == (619, 100, 43)
    assert len(base | latin | georgian) == 762
