"""Damaged, foreign and hostile model files: refused with a reason, and nothing is executed."""

import builtins
import io
import json
import marshal
import os
import pickle
import struct
import warnings
import zipfile
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse
import skops.io
import torch
from sklearn.ensemble import RandomForestClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from skops.io._audit import NODE_TYPE_MAPPING

from sklearn_fewshot import (
    FewShotClassifier,
    ModelFormatError,
    load_model,
    save_model,
)
from sklearn_fewshot.network import Recipe
from sklearn_fewshot.persistence import _archive, _schema
from sklearn_fewshot.persistence._trusted import LOADERS
from tests.stress.fuzz_models import Fuzzer, Outcome, Watch, written_out

N_FUZZED = 300


@pytest.fixture
def path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # where a file that executes something leaves traces
    return tmp_path / "model.skops"


@pytest.fixture(scope="session")
def small_file(tmp_path_factory):
    """Bytes of a file of a classifier without a learner."""
    path = tmp_path_factory.mktemp("small") / "model.skops"
    save_model(FewShotClassifier().fit([[0.0, 1.0], [4.0, 5.0]], ["a", "b"]), path)
    return path.read_bytes()


def members_of(content):
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def signature(members):
    return _archive._checksum(pair for pair in members if pair[0] != "checksum.txt")


def pack(path, members, compression=zipfile.ZIP_STORED, signed=True):
    """Write pairs of names and data as a zip file, with a checksum that fits."""
    members = list(members.items()) if isinstance(members, dict) else members
    with zipfile.ZipFile(path, "w", compression) as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of names that stand twice
        for name, data in members:
            is_signature = signed and name == "checksum.txt"
            archive.writestr(name, signature(members) if is_signature else data)


def forge(path, change):
    """Change the schema of a model file, with a checksum that fits."""
    members = members_of(path.read_bytes())
    schema = written_out(json.loads(members["schema.json"]), {})
    members["schema.json"] = json.dumps(change(schema) or schema).encode()
    pack(path, members)


def states(schema):
    """Yield all states of a schema."""
    if isinstance(schema, dict):
        if "__loader__" in schema:
            yield schema
        schema = schema.values()
    elif not isinstance(schema, list):
        return
    for part in schema:
        yield from states(part)


def attribute(schema, name):
    """Return the dict that has a first attribute of a name, and the name."""
    return next(
        (state["content"], name)
        for state in states(schema)
        if state["__loader__"] == "DictNode" and name in state["content"]
    )


def plain(value):
    kind = {"__class__": "str", "__module__": "builtins", "__loader__": "JsonNode"}
    return {**kind, "content": json.dumps(value)}


def call(loader, name, content, **more):
    module, _, name = name.rpartition(".")
    kind = {"__class__": name, "__module__": module, "__loader__": loader}
    return {**kind, "content": content, **more}


def listed(*values, loader="ListNode", name="builtins.list"):
    return call(loader, name, [plain(v) if not isinstance(v, dict) else v for v in values])


def arguments(*values):
    return listed(*values, loader="TupleNode", name="builtins.tuple")


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


@pytest.fixture(scope="session")
def piped(make_learner, table):
    return make_pipeline(StandardScaler(), make_learner(max_epochs=1)).fit(table.X, table.y)


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


def test_networks_are_compared_with_their_weights_before_they_are_built(piped, path):
    width = call("DictNode", "builtins.dict", {"embedding_dim": plain(10**9)})
    width["key_types"] = listed(call("TypeNode", "builtins.str", None))
    for name, value in (("input_shape", arguments(7)), ("backbone_options", width)):
        save_model(piped, path)

        def change(schema, name=name, value=value):
            for state in states(schema):
                if state["__class__"] == "Recipe":
                    state["content"][Recipe._fields.index(name)] = value

        forge(path, change)
        with pytest.raises(ModelFormatError, match="weights are not those of the network"):
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


# ---------------------------------------------------------------------- what could execute or hang

TRACE = "executed"  # a folder that hostile files try to make
RUN = ("os.mkdir", arguments(TRACE))
CALLS = {
    "a constructor": call("ConstructorFromReduceNode", *RUN),
    "an object": call("ObjectNode", *RUN),
    "a list": call("ListNode", "os.mkdir", [plain(TRACE)]),
    "a dict": call("DictNode", "os.mkdir", {}, key_types=listed()),
    "a set": call("SetNode", "os.mkdir", [plain(TRACE)]),
    "a function": call("FunctionNode", "os.mkdir", None),
    "a type": call("TypeNode", "os.mkdir", None),
    "an operator": call("OperatorFuncNode", "operator.call", None, attrs=arguments(TRACE)),
    "a method of an operator": call(
        "OperatorFuncNode", "operator.methodcaller", None, attrs=arguments("mkdir")
    ),
    "a partial": call(
        "PartialNode",
        "functools.partial",
        {
            "func": call("FunctionNode", "os.mkdir", None),
            "args": arguments(TRACE),
            "kwds": call("DictNode", "builtins.dict", {}, key_types=listed()),
            "namespace": plain(None),
        },
    ),
    "a method": call(
        "MethodNode",
        "builtins.list",
        {"func": "clear", "obj": listed(1)},
    ),
    "a scalar": call("NdArrayNode", "os.mkdir", None, type="numpy", file="part_0.npy"),
    "keys": call(
        "DictNode",
        "builtins.dict",
        {TRACE: plain(1)},
        key_types=listed(call("TypeNode", "os.mkdir", None)),
    ),
    "a module": call("ObjectNode", "torch.nn.modules.linear.Linear", None),
    "one of our modules": call(
        "ConstructorFromReduceNode",
        "sklearn_fewshot.nn.backbones._plain.MLP",
        arguments(arguments(10**9)),
    ),
    "a loss": call("LossNode", "os.mkdir", arguments(), __reduce__={"args": arguments(TRACE)}),
    "zeros without end": call("NdArrayNode", "numpy.void", None, type="numpy", file="part_0.npy"),
    "bytes without end": call("NdArrayNode", "numpy.bytes_", None, type="numpy", file="part_0.npy"),
    "a random state": call("RandomStateNode", "numpy.random.mtrand.RandomState", plain({})),
    "a generator whose seeds take for ever": call(
        "RandomGeneratorNode",
        "numpy.random._generator.Generator",
        {
            "bit_generator": call(
                "DictNode",
                "builtins.dict",
                {"bit_generator": plain("PCG64")},
                key_types=listed(call("TypeNode", "builtins.str", None)),
            ),
            "seed_seq": call(
                "DictNode",
                "builtins.dict",
                {"pool_size": plain(10**7)},
                key_types=listed(call("TypeNode", "builtins.str", None)),
            ),
        },
    ),
    "a sparse matrix": call(
        "SparseMatrixNode",
        "scipy.sparse._matrix.spmatrix",
        None,
        type="scipy",
        file="part_0.npy",
    ),
}


@pytest.fixture(scope="session")
def watch():
    return Watch()


@pytest.mark.parametrize("hostile", CALLS.values(), ids=CALLS)
def test_nothing_is_called(small_file, path, watch, hostile):
    """As a parameter, which nothing looks at, and as the whole file."""
    path.write_bytes(small_file)
    load_model(path)
    watch.on, watch.seen[:] = True, []
    try:
        for protocol in (0, 1, 2):
            whole = {**hostile, "protocol": protocol}

            def change(schema, protocol=protocol):
                holder, key = attribute(schema, "unlabelled")
                holder[key] = hostile
                schema["protocol"] = protocol

            for forgery in (change, lambda schema, whole=whole: whole):
                path.write_bytes(small_file)
                forge(path, forgery)
                with pytest.raises(ModelFormatError, match=r"not trusted|not one of skops"):
                    load_model(path)
    finally:
        watch.on = False
    assert not watch.seen
    assert not Path(TRACE).exists()


def test_older_protocols_of_skops_are_not_read(small_file, path):
    """They have classes of their own; that for functions reads the name from elsewhere."""
    hidden = call("FunctionNode", "numpy.exp", {"module_path": "os", "function": "mkdir"})
    for protocol in (0, 1, True, "2", None):
        path.write_bytes(small_file)
        forge(path, lambda schema, protocol=protocol: {**hidden, "protocol": protocol})
        with pytest.raises(ModelFormatError, match="not one of skops"):
            load_model(path)


def test_every_loader_of_skops_has_been_thought_of():
    """A new one in a newer skops must be trusted here, or tried above, before it is used."""
    tried = {state["__loader__"] for state in CALLS.values()}
    others = {"BytearrayNode", "CachedNode", "MaskedArrayNode", "QuantileForestNode", "TreeNode"}
    others |= {"_DictWithDeprecatedKeysNode"}
    assert {name for name, _ in NODE_TYPE_MAPPING} <= LOADERS | tried | others


def test_loaders_that_are_left_out_need_trust(table, path):
    sparse = scipy.sparse.csr_matrix(np.eye(3))
    clf = FewShotClassifier().fit(table.X, table.y)
    clf.note_ = sparse
    save_model(clf, path)
    name = "scipy.sparse._csr.csr_matrix"
    with pytest.raises(ModelFormatError, match=r"trusted=\['scipy\.sparse\._csr\.csr_matrix'\]"):
        load_model(path)
    assert (load_model(path, trusted=[name]).note_ != sparse).nnz == 0


def test_references_that_branch_without_end_are_refused(small_file, path):
    """Each list holds the one before it twice: skops would visit the first 2**60 times."""
    state = {**listed(), "__id__": 1}
    for number in range(2, 62):
        state = {**listed(state, {"__id__": number - 1}), "__id__": number}
    path.write_bytes(small_file)
    pack(
        path,
        members_of(small_file) | {"schema.json": json.dumps({**state, "protocol": 2}).encode()},
    )
    with pytest.raises(ModelFormatError, match="consists of more than"):
        load_model(path)


@pytest.mark.parametrize(
    ("schema", "message"),
    [
        ({**listed({"__id__": 1}), "__id__": 1}, "refers to itself"),
        (listed({"__id__": 7}), "refers to itself, or to none"),
        (listed({**plain(1), "__id__": 7}, {**plain(2), "__id__": 7}), "have one number"),
        (listed({**plain(1), "__id__": 1.0}), "have one number"),
        (listed({**plain(1), "__id__": [1]}), "have one number"),
        (eval("{'content': [" * 40 + "]}" * 40), "not one of skops"),
    ],
)
def test_references_that_lead_nowhere_are_refused(small_file, path, schema, message):
    text = json.dumps({**schema, "protocol": 2}).encode()
    pack(path, members_of(small_file) | {"schema.json": text})
    with pytest.raises(ModelFormatError, match=message):
        load_model(path)


def test_deep_schemas_are_refused(small_file, path):
    state = listed()
    for _ in range(300):
        state = listed(state)
    for text in (json.dumps({**state, "protocol": 2}), "[" * 200_000):
        pack(path, members_of(small_file) | {"schema.json": text.encode()})
        with pytest.raises(ModelFormatError, match="RecursionError"):
            load_model(path)


def test_trees_need_trust(table, path):
    """Their indices have no bounds: scikit-learn would read anywhere in memory."""
    forest = RandomForestClassifier(2, random_state=0).fit(table.X, table.y)
    save_model(forest, path)
    with pytest.raises(ModelFormatError, match=r"trusted=\['sklearn\.tree\._tree\.Tree'\]"):
        load_model(path)
    loaded = load_model(path, trusted=["sklearn.tree._tree.Tree"])
    np.testing.assert_array_equal(loaded.predict(table.X), forest.predict(table.X))


def test_loading_executes_nothing(learner, table, path, monkeypatch):
    pipe = make_pipeline(StandardScaler(), learner.adapt(table.X_new, table.y_new))
    save_model(pipe.fit(table.X, table.y), path)
    load_model(path)  # what torch imports at first use it has imported

    def refuse(*args, **options):
        raise AssertionError(f"executed {args}")

    for module, name in (
        (pickle, "loads"),
        (pickle, "load"),
        (marshal, "loads"),
        (builtins, "eval"),
        (builtins, "exec"),
        (os, "system"),
        (torch, "load"),
    ):
        monkeypatch.setattr(module, name, refuse)
    load_model(path)


def test_loading_leaves_the_global_random_state(piped, path):
    save_model(piped, path)
    state = torch.get_rng_state()
    load_model(path)
    assert torch.equal(torch.get_rng_state(), state)


# ---------------------------------------------------------------------- many damaged files


def test_fuzzed_files_are_refused_or_load(tmp_path, count_cases):
    outcomes = Fuzzer(tmp_path, seed=0).run(N_FUZZED)
    bad = sum(outcomes[name] for name in (Outcome.LOST, Outcome.DIFFERENT, Outcome.EXECUTED))
    count_cases("damaged model files", tried=outcomes.total(), lost=bad)
    assert bad == 0
    assert outcomes[Outcome.REFUSED] > N_FUZZED / 2
