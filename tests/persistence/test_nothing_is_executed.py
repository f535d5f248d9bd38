"""Model files that would have something executed, or never end: refused."""

import builtins
import json
import marshal
import os
import pickle
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse
import skops.io
import torch
from sklearn.decomposition import TruncatedSVD
from sklearn.ensemble import RandomForestClassifier
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from skops.io._audit import NODE_TYPE_MAPPING

from sklearn_fewshot import (
    FewShotClassifier,
    ModelFormatError,
    load_model,
    save_model,
)
from sklearn_fewshot.persistence._trusted import LOADERS
from tests.persistence.forgery import (
    arguments,
    attribute,
    call,
    forge,
    listed,
    members_of,
    pack,
    plain,
)
from tests.stress.fuzz_models import Watch

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


@pytest.mark.parametrize("options", [{}, {"max_categories": 3}, {"drop": "first"}])
def test_columns_of_encoders_are_within_bounds(path, options):
    """scikit-learn would write a dense matrix wherever they say: the process crashes."""
    encoder = OneHotEncoder(sparse_output=False, **options).set_output(transform="pandas")
    X = [[word] for word in "aabbccddddeeee"]
    save_model(encoder.fit(X), path)
    np.testing.assert_array_equal(load_model(path).transform(X), encoder.transform(X))

    def change(schema):
        holder, key = attribute(schema, "_n_features_outs")
        holder[key] = listed(1)

    forge(path, change)
    with pytest.raises(ModelFormatError, match=r"ind(ices|ex values) must be < 1"):
        load_model(path)


@pytest.mark.parametrize("number", [4, -1, 2**44 + 1])
def test_columns_of_rare_categories_are_within_bounds(path, number):
    """2**44 + 1 is 1 as a column of a sparse matrix, and far away in a dense one."""
    encoder = OneHotEncoder(sparse_output=False, max_categories=3)
    save_model(encoder.fit([[word] for word in "aabbccddddeeee"]), path)
    members = members_of(path.read_bytes())
    for name, data in members.items():
        if name.endswith(".npy") and b"(5,)" in data and b"i8" in data:
            members[name] = data[:-8] + number.to_bytes(8, "little", signed=True)
    pack(path, members)
    with pytest.raises(
        ModelFormatError, match=r"ind(ices|ex values) must be|is too large|negative column index"
    ):
        load_model(path)


def test_categories_of_numbers_are_sorted(path):
    """They are looked up by bisection, which may lead beyond the last."""
    save_model(OneHotEncoder(sparse_output=False).fit([[1.0], [2.0], [3.0]]), path)
    members = members_of(path.read_bytes())
    name = next(name for name in members if name.endswith(".npy"))
    members[name] = members[name][:-8] + np.float64(0.5).tobytes()
    pack(path, members)
    with pytest.raises(ModelFormatError, match="not sorted"):
        load_model(path)


def test_columns_of_vectorizers_are_within_bounds(path):
    pipe = make_pipeline(CountVectorizer(), TruncatedSVD(1)).fit(["a cat sat", "a dog ran"])
    save_model(pipe, path)

    def change(schema):
        holder, _ = attribute(schema, "cat")
        holder["cat"] = plain(10**9)

    forge(path, change)
    with pytest.raises(ModelFormatError, match=r"vocabulary_ .* does not number its entries"):
        load_model(path)


def test_what_is_no_part_of_a_pipeline_needs_trust(table, path):
    save_model(KNeighborsClassifier(algorithm="brute").fit(table.X, table.y), path)
    with pytest.raises(ModelFormatError, match=r"trusted=\['sklearn\..*\.KNeighborsClassifier'\]"):
        load_model(path)


def test_trees_need_trust(table, path):
    """Their indices have no bounds: scikit-learn would read anywhere in memory."""
    forest = RandomForestClassifier(2, random_state=0).fit(table.X, table.y)
    save_model(forest, path)
    with pytest.raises(ModelFormatError, match=r"trusted=\[.*'sklearn\.tree\._tree\.Tree'\]"):
        load_model(path)
    names = skops.io.get_untrusted_types(file=path)
    assert names == ["sklearn.tree._tree.Tree"]
    names += ["sklearn.ensemble._forest.RandomForestClassifier"]
    names += ["sklearn.tree._classes.DecisionTreeClassifier"]
    loaded = load_model(path, trusted=names)
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
