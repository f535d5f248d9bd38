"""Change model files as someone would who also writes a checksum that fits."""

import io
import json
import warnings
import zipfile

from sklearn_fewshot.persistence import _archive
from tests.stress.fuzz_models import written_out


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
