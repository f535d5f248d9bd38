"""Damage model files in many ways and load them: ``python -m tests.stress.fuzz_models 10000``.

Whatever is done to a file, it must be refused with a ModelFormatError, or load and predict as
before. Files that are changed by someone who also writes a fitting checksum may load and predict
something else, or raise an error when they predict: they are counted apart. None may execute
anything: an audit hook of Python watches for commands, processes, pickles, connections, changes of
the file system, and the import of any module that only a hostile file speaks of.
"""

import enum
import hashlib
import io
import json
import pickle
import random
import resource
import sys
import tempfile
import time
import warnings
import zipfile
from collections import Counter
from pathlib import Path

import numpy as np
from sklearn.compose import ColumnTransformer
from sklearn.decomposition import PCA
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from skops.io._audit import NODE_TYPE_MAPPING

from sklearn_fewshot import (
    BaselineClassifier,
    FewShotClassifier,
    MatchingNetClassifier,
    ModelFormatError,
    ProtoNetClassifier,
    ZeroShotProtoNetClassifier,
    adapt,
    load_model,
    save_model,
)

SHORT = {
    "backbone": "identity",
    "n_way": 3,
    "n_query": 2,
    "episodes_per_epoch": 2,
    "max_epochs": 1,
    "refit": False,
    "random_state": 0,
}
LONGEST = 60.0  # seconds of processor time
MOST_GROWTH = 2**18  # KiB of memory; the largest of the files has less than one of 2**8
NUMBERS = [0, 1, -1, 2, 7, 2**31, 2**53, 2**63, 10**30, 1e308, -0.0, 0.5, 16, 4]
TEXTS = [
    "",
    "a",
    "part_0.npy",
    "schema.json",
    "__class__",
    "../../etc",
    "\ud800",
    "1" * 5000,
    "NaN",
]
TEXTS += ["null", "[[[]]]", "1e999", '"cosine"', "12", "-1", "1000000000000", "[" * 3000]
OTHERS = [None, True, False, [], {}, [[]], {"__id__": 1}, {"__id__": 7}, {"__id__": 10**9}]
CANARY = "never_imported_by_anything"
HARMFUL = ["os.system", "os.mkdir", "builtins.eval", "builtins.exec", "builtins.getattr"]
HARMFUL += ["subprocess.Popen", "pickle.loads", "numpy.load", "torch.load", "shutil.rmtree"]
HARMFUL += ["operator.methodcaller", "operator.attrgetter", "functools.partial", f"{CANARY}.run"]
HARMLESS = ["builtins.str", "builtins.dict", "builtins.list", "builtins.map", "numpy.ndarray"]
HARMLESS += ["numpy.void", "numpy.bytes_", "numpy.float64", "numpy.dtype", "torch.device"]
HARMLESS += ["numpy.random.mtrand.RandomState", "numpy.random._generator.Generator"]
HARMLESS += ["sklearn.pipeline.Pipeline", "sklearn.tree._tree.Tree", "collections.OrderedDict"]
HARMLESS += ["sklearn.preprocessing._data.StandardScaler", "scipy.sparse._matrix.spmatrix"]
WATCHED = ("os.system", "os.exec", "os.fork", "os.posix_spawn", "subprocess.Popen", "pickle.")
WATCHED += ("os.mkdir", "os.remove", "os.rmdir", "os.rename", "shutil.", "socket.")


class Outcome(enum.Enum):
    """What became of a file."""

    REFUSED = "refused with a ModelFormatError"
    IDENTICAL = "loaded, equal predictions"
    CHANGED = "forged consistently: loaded, other predictions"
    CHANGED_REFUSES = "forged consistently: loaded, refuses the samples with an error"
    DIFFERENT = "damaged, yet loaded with other predictions"
    EXECUTED = "something was executed"
    LOST = "another exception, or more than 60 s"


class Watch:
    """Notes what Python says that it executes, while it is on."""

    def __init__(self):
        self.on, self.seen = False, []
        sys.addaudithook(self.hook)

    def hook(self, event, args):
        is_canary = event == "import" and str(args[0]).startswith(CANARY)
        if self.on and (is_canary or event.startswith(WATCHED)):
            self.seen.append((event, str(args)[:80]))


def toy_data():
    """Return samples of six classes, and their labels."""
    rng = np.random.default_rng(0)
    codes = np.repeat(np.arange(6), 6)
    X = 3.0 * rng.normal(size=(6, 4))[codes] + rng.normal(size=(36, 4))
    return X, np.array(["a", "b", "c", "d", "e", "f"])[codes]


def models():
    """Return small models of many kinds."""
    X, y = toy_data()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of few classes
        learner = ProtoNetClassifier(**SHORT).fit(X, y)
        pipe = make_pipeline(StandardScaler(), PCA(3), ProtoNetClassifier(**SHORT)).fit(X, y)
        words = OneHotEncoder(max_categories=4, sparse_output=False)
        columns = [("words", words, [0]), ("numbers", PCA(2), [1, 2, 3])]
        mixed = make_pipeline(ColumnTransformer(columns), ProtoNetClassifier(**SHORT)).fit(X, y)
        described = ZeroShotProtoNetClassifier(**SHORT).fit(
            X, y, class_attributes=dict(zip("abcdef", np.eye(6), strict=True))
        )
        quick = BaselineClassifier(readout="anchored", batch_size=8, **SHORT)
        quick.set_params(validation_fraction=0.0, calibrate=False)
        marked = np.where(np.arange(36) % 3, y, "?")
        return [
            FewShotClassifier().fit(X, y),
            learner,
            learner.adapt(X, marked, unlabelled="?"),
            adapt(pipe, X[:12], y[:12]),
            mixed,
            described,
            MatchingNetClassifier(fce=True, **SHORT).fit(X, y).adapt(X[:12], y[:12]),
            quick.fit(X, y).adapt(X[:12], y[:12]),
            ProtoNetClassifier(**SHORT | {"backbone": "spectral", "input_shape": (1, 4)}).fit(X, y),
        ]


def written_out(tree, known):
    """Return a schema with every value in full wherever it occurs, and no numbers."""
    if isinstance(tree, list):
        return [written_out(part, known) for part in tree]
    if not isinstance(tree, dict):
        return tree
    if type(tree.get("__id__")) is int and "__loader__" not in tree:
        return json.loads(json.dumps(known.get(tree["__id__"])))
    full = {key: written_out(part, known) for key, part in tree.items() if key != "__id__"}
    if type(tree.get("__id__")) is int:
        known[tree["__id__"]] = full
    return full


def answers(model, X):
    """Return what a model says of samples, by several methods."""
    found = [model.predict(X), model.predict_proba(X), model.score_samples(X)]
    last = model[-1] if hasattr(model, "steps") else model
    if isinstance(last, FewShotClassifier) and last._network.calibration is not None:
        found.append(last.rejection_threshold(0.1))
    return found


class Fuzzer:
    """Damages files of small models.

    Parameters
    ----------
    folder : path-like
        Where files are written.
    seed : int
        Equal seeds damage equally.
    """

    def __init__(self, folder, seed=0):
        self.path = Path(folder) / "model.skops"
        self.random = random.Random(seed)
        self.X, _ = toy_data()
        self.originals = []
        for model in models():
            save_model(model, self.path)
            self.originals.append((self.path.read_bytes(), answers(model, self.X)))
        self.ways = {
            self.cut: False,
            self.bits: False,
            self.overwritten: False,
            self.moved: False,
            self.directory: False,
            self.foreign: False,
            self.member: False,
            self.forged_bytes: True,
            self.forged_text: True,
            self.forged_text_twice: True,
            self.forged_state: True,
        }
        self.slowest, self.lost, self.watch = 0.0, [], Watch()

    def run(self, n_files):
        """Damage files and load them; returns how often which outcome occurred."""
        outcomes = Counter()
        for number in range(n_files):
            way, is_forged = self.random.choice(list(self.ways.items()))
            content, expected = self.random.choice(self.originals)
            damaged = way(content)
            self.path.write_bytes(damaged)
            start = time.process_time()
            self.watch.on, name = True, f"{number}, {way.__name__}"
            outcome = self.outcome(expected, is_forged, name)
            self.watch.on = False
            seconds = time.process_time() - start
            if self.watch.seen:
                outcome = Outcome.EXECUTED
                self.lost.append((name, RuntimeError(self.watch.seen.pop(0))))
                self.watch.seen.clear()
            elif seconds > LONGEST:
                outcome = self.is_lost(name, TimeoutError(f"{seconds:.0f} s"))
            self.slowest = max(self.slowest, seconds)
            outcomes[outcome] += 1
        return outcomes

    def outcome(self, expected, is_forged, name):
        """Load the file and predict."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of absurd numbers in forged files
            try:
                loaded = load_model(self.path)
            except ModelFormatError:
                return Outcome.REFUSED
            except Exception as error:
                return self.is_lost(name, error)
            try:
                found = answers(loaded, self.X)
            except MemoryError as error:
                return self.is_lost(name, error)
            except Exception as error:
                return Outcome.CHANGED_REFUSES if is_forged else self.is_lost(name, error)
        if len(found) == len(expected) and all(map(np.array_equal, found, expected)):
            return Outcome.IDENTICAL
        return Outcome.CHANGED if is_forged else Outcome.DIFFERENT

    def is_lost(self, name, error):
        """Remember an exception that should not have been."""
        self.lost.append((name, error))
        return Outcome.LOST

    # ------------------------------------------------------------------ damage

    def cut(self, content):
        return content[: self.random.randrange(len(content))]

    def bits(self, content):
        damaged = bytearray(content)
        for _ in range(self.random.choice([1, 1, 1, 2, 8])):
            damaged[self.random.randrange(len(damaged))] ^= 1 << self.random.randrange(8)
        return bytes(damaged)

    def overwritten(self, content):
        start, length = self.random.randrange(len(content)), self.random.choice([1, 4, 64, 512])
        filling = self.random.choice([b"\x00" * length, b"\xff" * length, self.noise(length)])
        return (content[:start] + filling + content[start + length :])[: len(content)]

    def moved(self, content):
        start, stop = sorted(self.random.randrange(len(content)) for _ in range(2))
        part = content[start:stop]
        return self.random.choice(
            [
                content[:start] + content[stop:],
                content[:stop] + part + content[stop:],
                part + content,
                content + part,
                content[stop:] + content[:stop],
            ]
        )

    def directory(self, content):
        """Change a field of what the archive says of its members."""
        damaged = bytearray(content)
        marks = [i for i in range(len(content) - 30) if content[i : i + 2] == b"PK"]
        place = self.random.choice(marks) + self.random.randrange(4, 28)
        number = self.random.choice([0, 1, 8, 255, 2**16 - 1, 2**31, 2**32 - 1, len(content)])
        damaged[place : place + 4] = number.to_bytes(4, "little")
        return bytes(damaged)

    def foreign(self, content):
        buffer = io.BytesIO()
        kind = self.random.randrange(5)
        if kind == 0:
            np.savez(buffer, X=self.X, y=np.array([{}], dtype=object))
        elif kind == 1:
            np.save(buffer, np.array([[], 1], dtype=object))
        elif kind == 2:
            pickle.dump({"a": self.X}, buffer)
        elif kind == 3:
            with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
                archive.writestr("schema.json", b"[" * self.random.randrange(10**6))
        else:
            buffer.write(self.noise(self.random.randrange(2000)))
        return buffer.getvalue()

    def member(self, content):
        """Damage a member of a valid archive."""
        members = self.members(content)
        name = self.random.choice(list(members))
        members[name] = self.bits(members[name] or b"x")
        return self.packed(members)

    # ------------------------------------------------------------------ forgery

    def forged_bytes(self, content):
        """Damage a member and write a checksum that fits."""
        members = self.members(content)
        name = self.random.choice([name for name in members if name != "checksum.txt"])
        damage = self.random.choice([self.bits, self.overwritten, self.cut])
        head, body = members[name][:128], members[name][128:]
        if not body or self.random.random() < 0.3:
            members[name] = damage(head) + body
        else:
            members[name] = head + damage(body)
        return self.packed(members, signed=True)

    def forged_text(self, content):
        """Change a value of the schema and write a checksum that fits."""
        return self.with_schema(content, self.change)

    def forged_text_twice(self, content):
        return self.forged_text(self.forged_text(content))

    def forged_state(self, content):
        """Put a value of another type into the schema, often a hostile one."""
        return self.with_schema(content, self.exchange)

    def with_schema(self, content, change):
        members = self.members(content)
        tree = json.loads(members["schema.json"])
        if self.random.random() < 0.7:  # else references make most changes invalid
            tree = written_out(tree, {})
        change(tree)
        members["schema.json"] = json.dumps(tree).encode()
        return self.packed(members, signed=True)

    def change(self, tree):
        """Replace, remove, double or move one of the values of a tree."""
        places = list(self.places(tree))
        if self.random.random() < 0.7:  # parameters and attributes
            places = [place for place in places if place[1] == "content"] or places
        holder, key = self.random.choice(places)
        way = self.random.randrange(6)
        if way == 0:
            del holder[key]
        elif way == 1:
            other, other_key = self.random.choice(places)
            holder[key] = json.loads(json.dumps(other[other_key]))
        elif way == 2 and isinstance(holder, list):
            holder.insert(key, holder[key])
        elif way == 3:
            holder[key] = self.any_state()
        elif way == 4:
            holder[key] = [holder[key]]
        else:
            holder[key] = self.any_value()

    def exchange(self, tree):
        """Put a state in the place of another, change its type or the class that reads it."""
        states = [
            (holder, key)
            for holder, key in self.places(tree)
            if isinstance(holder[key], dict) and ("__loader__" in holder[key])
        ]
        holder, key = self.random.choice(states)
        state = holder[key]
        way = self.random.randrange(4)
        if way == 0:
            holder[key] = self.any_state()
        elif way == 1:
            state["__module__"], _, state["__class__"] = self.any_type().rpartition(".")
        elif way == 2:
            state["__loader__"] = self.any_loader()
        else:
            holder[key] = self.any_state(state)

    def any_state(self, inner=None):
        """Make up a value: a call, an object, or a collection, of any type, around another one."""
        module, _, name = self.any_type().rpartition(".")
        inner = inner or self.json_state()
        listed = {"__class__": "tuple", "__module__": "builtins", "__loader__": "TupleNode"}
        arguments = {**listed, "content": [inner] * self.random.randrange(3)}
        content = self.random.choice([arguments, [inner], inner, {"a": inner}, {}])
        if self.random.random() < 0.2:
            content = {"func": self.random.choice([inner, "run"]), "args": arguments}
            content |= {"kwds": inner, "namespace": inner, "obj": inner}
        state = {"__class__": name, "__module__": module, "__loader__": self.any_loader()}
        state |= {"content": content, "attrs": arguments, "type": "json", "file": "part_0.npy"}
        return state | {
            "key_types": arguments,
            "shape": arguments,
            "__reduce__": {"args": arguments},
        }

    def json_state(self):
        kind = {"__class__": "str", "__module__": "builtins", "__loader__": "JsonNode"}
        value = self.any_value()
        return {**kind, "content": value if isinstance(value, str) else json.dumps(value)}

    def any_type(self):
        return self.random.choice(self.random.choice([HARMFUL, HARMLESS]))

    def any_loader(self):
        return self.random.choice(sorted({name for name, _ in NODE_TYPE_MAPPING}))

    def places(self, tree):
        """Yield all places of a tree, as what holds a value and its key there."""
        keys = tree if isinstance(tree, dict) else range(len(tree)) if type(tree) is list else ()
        for key in list(keys):
            yield tree, key
            yield from self.places(tree[key])

    def any_value(self):
        return self.random.choice(self.random.choice([NUMBERS, TEXTS, OTHERS]))

    # ------------------------------------------------------------------ parts

    def noise(self, length):
        return self.random.randbytes(length)

    def members(self, content):
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            return {name: archive.read(name) for name in archive.namelist()}

    def packed(self, members, signed=False):
        if signed:
            checksum = hashlib.blake2b(digest_size=32)
            for name, data in members.items():
                if name != "checksum.txt":
                    checksum.update(f"{name} {len(data)}\n".encode() + data)
            members["checksum.txt"] = checksum.hexdigest().encode()
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as archive:
            for name, data in members.items():
                archive.writestr(name, data)
        return buffer.getvalue()


def main(n_files=10_000, seed=0):
    """Print what became of the files; returns 0 if all is well."""
    with tempfile.TemporaryDirectory() as folder:
        fuzzer = Fuzzer(folder, seed)
        for content, _ in fuzzer.originals:  # what is imported at first use has been
            fuzzer.path.write_bytes(content)
            load_model(fuzzer.path)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        outcomes = fuzzer.run(n_files)
        grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    print(f"{n_files} files, seed {seed}")
    for outcome in Outcome:
        print(f"{outcomes[outcome]:8d}  {outcome.value}")
    print(f"slowest {fuzzer.slowest:.2f} s of processor time")
    print(f"peak memory grew by {grown / 1024:.0f} MiB")
    for name, error in fuzzer.lost[:20]:
        print(f"lost: {name}: {type(error).__name__}: {error}")
    bad = (Outcome.LOST, Outcome.DIFFERENT, Outcome.EXECUTED)
    return sum(outcomes[outcome] for outcome in bad) + (grown > MOST_GROWTH)


if __name__ == "__main__":
    sys.exit(bool(main(*(int(arg) for arg in sys.argv[1:]))))
