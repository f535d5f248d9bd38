"""Damaged, foreign and forged model files: refused with a reason."""

import io
import os
import pickle
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest
import skops.io
from sklearn.preprocessing import StandardScaler

from sklearn_fewshot import (
    FewShotClassifier,
    ModelFormatError,
    load_model,
    save_model,
)
from sklearn_fewshot.persistence import _archive, _schema
from tests.persistence.forgery import (
    arguments,
    attribute,
    call,
    forge,
    listed,
    members_of,
    pack,
    plain,
    states,
)
from tests.stress.fuzz_models import Fuzzer, Outcome

N_FUZZED = 300


# ---------------------------------------------------------------------- damaged and foreign files


def test_a_file_cut_short_anywhere_is_refused(small_file, path):
    for stop in range(0, len(small_file), 37):
        path.write_bytes(small_file[:stop])
        with pytest.raises(ModelFormatError, match="cannot be loaded"):
            load_model(path)


def test_foreign_files_are_refused(path):
    np.savez(path.with_suffix(".npz"), X=np.zeros(3))
    with pytest.raises(ModelFormatError, match=r"lacks about\.json, checksum\.txt, schema\.json"):
        load_model(path.with_suffix(".npz"))
    skops.io.dump(StandardScaler().fit([[1.0]]), path)
    with pytest.raises(ModelFormatError, match="something else than save_model has written it"):
        load_model(path)
    for content in (b"", b"PK", pickle.dumps({"a": 1}), b"\x93NUMPY\x01\x00", os.urandom(5000)):
        path.write_bytes(content)
        with pytest.raises(ModelFormatError, match=r"not a zip file"):
            load_model(path)


def test_newer_formats_say_so(path, monkeypatch):
    monkeypatch.setattr(_archive, "FORMAT", 2)
    save_model(FewShotClassifier().fit([[0.0], [4.0]], [0, 1]), path)
    monkeypatch.undo()
    with pytest.raises(ModelFormatError, match=r"format 2, .* reads formats up to 1: install"):
        load_model(path)


def test_the_checksum_tells_of_every_change(small_file, path):
    members = members_of(small_file)
    for name in [name for name in members if name != "checksum.txt"]:
        data = bytearray(members[name])
        data[-1] ^= 1
        changed = members | {name: bytes(data)}
        pack(path, changed, signed=False)
        with pytest.raises(ModelFormatError, match=r"checksum differs|JSONDecodeError"):
            load_model(path)
    pack(path, members)
    load_model(path)


def test_files_that_cannot_be_loaded_are_not_saved(path, monkeypatch):
    monkeypatch.setattr(_schema, "MOST_VALUES", 10)
    with pytest.raises(ValueError, match="cannot be saved: it consists of more than 10 values"):
        save_model(FewShotClassifier().fit([[0.0], [4.0]], [0, 1]), path)
    monkeypatch.undo()
    monkeypatch.setattr(_archive, "MOST_TEXT", 10)
    with pytest.raises(ValueError, match=r"schema\.json has .* bytes, at most 10 are read"):
        save_model(FewShotClassifier().fit([[0.0], [4.0]], [0, 1]), path)
    assert not list(path.parent.iterdir())


# ---------------------------------------------------------------------- sizes


def test_zip_bombs_are_refused(small_file, path):
    pack(path, members_of(small_file), zipfile.ZIP_DEFLATED)
    with pytest.raises(ModelFormatError, match="compressed"):
        load_model(path)
    # A stored member that claims more than there is, and a name that stands twice.
    directory = small_file.index(b"PK\x01\x02")
    claimed = bytearray(small_file)
    struct.pack_into("<II", claimed, directory + 20, 2**31, 2**31)
    path.write_bytes(claimed)
    with pytest.raises(ModelFormatError, match="larger than the file"):
        load_model(path)
    pack(path, [*members_of(small_file).items()] * 2)
    with pytest.raises(ModelFormatError, match="one name"):
        load_model(path)


def npy(descr, shape, content=bytes(16)):
    file = io.BytesIO()
    header = {"descr": descr, "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(file, header)
    return file.getvalue() + content


class Bomb:
    """Calls a function when it is unpickled."""

    def __reduce__(self):
        return os.mkdir, ("executed",)


def pickled():
    file = io.BytesIO()
    np.save(file, np.array([Bomb()]), allow_pickle=True)
    return file.getvalue()


HOSTILE_ARRAYS = {
    "too long": (npy("<f8", (10**12,)), "must hold 1000000000000 values"),
    "huge but empty": (npy("<f8", (0, 10**15)), "must hold 0 values"),
    "objects": (pickled(), "does not begin as numpy's plain arrays do"),
    "records of objects": (npy([("a", "|O")], (2,)), "does not begin as numpy's plain arrays do"),
    "endless strings": (npy("<U0", (10**12,), b""), "without any bytes"),
    "no array": (b"PK", "does not begin as numpy's plain arrays do"),
}


@pytest.mark.parametrize(("data", "message"), HOSTILE_ARRAYS.values(), ids=HOSTILE_ARRAYS)
def test_hostile_arrays_are_refused(small_file, path, data, message):
    pack(path, members_of(small_file) | {"part_0.npy": data})
    with pytest.raises(ModelFormatError, match=message):
        load_model(path)
    assert not Path("executed").exists()


VALUES = [
    ("input_shape_", arguments(10**9), "no file of this size has samples of 1000000000"),
    ("n_features_in_", plain(10**9), "no file of this size has samples of 1000000000"),
    ("batch_size", plain(2**40), "lower it before fit"),
    ("predict_batch_size", plain(2.0**40), "lower it before fit"),
    ("memory", plain("/tmp"), "is a cache"),
    ("net_params", call("DictNode", "builtins.dict", {"n_jobs": plain(10**6)}), "cannot be"),
    ("input_scale", plain(None), "TypeError"),
    ("_network", plain("a network"), "cannot be loaded"),
    ("classes_", plain(None), "cannot be loaded"),
    ("weights", call("DictNode", "builtins.dict", {}, key_types=listed()), "weights are not"),
]


@pytest.mark.parametrize(("name", "value", "message"), VALUES, ids=[name for name, *_ in VALUES])
def test_values_that_do_not_go_together_are_refused(piped, path, name, value, message):
    save_model(piped, path)

    def change(schema):
        holder, key = attribute(schema, name)
        holder[key] = value

    forge(path, change)
    with pytest.raises(ModelFormatError, match=message):
        load_model(path)


STR = call("TypeNode", "builtins.str", None)


def test_networks_are_compared_with_their_weights_before_they_are_built(piped, path):
    """In gigabytes if they were built: also if a part is no network, but trusted by skops."""
    huge = {"input_shape": arguments(10**9)}
    width = call("DictNode", "builtins.dict", {"embedding_dim": plain(10**9)})
    width["key_types"] = listed(STR)
    named = call("TypeNode", "sklearn_fewshot.nn.backbones._plain.MLP", None)
    for forged, message in (
        ({"input_shape": arguments(7)}, "weights are not those"),
        ({"backbone_options": width}, "weights are not those"),
        ({"backbone": named, **huge}, "weights are not those"),
        ({"head": call("TypeNode", "builtins.list", None), **huge}, "cannot be loaded"),
        ({"head": call("FunctionNode", "numpy.exp", None), **huge}, "cannot be loaded"),
    ):
        save_model(piped, path)

        def change(schema, forged=forged):
            recipe = next(state for state in states(schema) if state["__class__"] == "Recipe")
            module, shape, options = recipe["content"]
            others = {name: value for name, value in forged.items() if name != "input_shape"}
            options["content"].update(others)
            options["key_types"] = listed(*[STR] * len(options["content"]))
            recipe["content"] = [module, forged.get("input_shape", shape), options]

        forge(path, change)
        with pytest.raises(ModelFormatError, match=message):
            load_model(path)


def test_numbers_of_classes_that_fill_the_memory_are_refused(path):
    save_model(FewShotClassifier().fit([[0.0], [4.0]], [0, 1]), path)

    def change(schema):
        for state in states(schema):
            if state["__class__"] == "Representation":
                state["content"][-1] = plain(10**12)

    forge(path, change)
    with pytest.raises(ModelFormatError, match=r"n_classes .* too much for a file"):
        load_model(path)


# ---------------------------------------------------------------------- many damaged files


def test_fuzzed_files_are_refused_or_load(tmp_path, count_cases):
    outcomes = Fuzzer(tmp_path, seed=0).run(N_FUZZED)
    bad = sum(outcomes[name] for name in (Outcome.LOST, Outcome.DIFFERENT, Outcome.EXECUTED))
    count_cases("damaged model files", tried=outcomes.total(), lost=bad)
    assert bad == 0
    assert outcomes[Outcome.REFUSED] > N_FUZZED / 2
