"""Modules as values: equal ones are stored alike, and come back as they were."""

import copy
import pickle
import subprocess
import sys

import joblib
import pytest
import torch
from torch import nn

from sklearn_fewshot.nn._stored import StoredModule


class Tied(nn.Module):
    """One weight in two places, a plain tensor, an integer buffer, and half precision."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(4, 4), nn.Linear(4, 4)
        self.second.weight = self.first.weight
        self.first.bias.requires_grad_(False)
        self.shift = torch.arange(4.0)
        self.register_buffer("order", torch.tensor([2, 0, 1, 3]), persistent=False)
        self.short = nn.Linear(4, 4).bfloat16()

    def forward(self, x):
        x = self.second(self.first(x))[:, self.order] + self.shift
        return self.short(x.bfloat16())


class Last(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.LSTM(4, 5, batch_first=True)

    def forward(self, x):
        return self.body(x[:, None])[0][:, 0]


MAKERS = {
    "tied": Tied,
    "lstm": Last,
    "batch norm": lambda: nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3)),
    "transformer": lambda: nn.TransformerEncoderLayer(4, 2, batch_first=True),
    "traced": lambda: torch.fx.symbolic_trace(nn.Sequential(nn.Linear(4, 3), nn.ReLU())),
}


@pytest.fixture(params=MAKERS.values(), ids=MAKERS)
def module(request):
    return request.param().eval()


def test_what_was_stored_computes_the_same(module):
    x = torch.randn(3, 4)
    loaded = pickle.loads(pickle.dumps(StoredModule(module))).module()
    assert torch.equal(loaded(x), module(x))
    assert not {id(p) for p in loaded.parameters()} & {id(p) for p in module.parameters()}
    assert [p.requires_grad for p in loaded.parameters()] == [
        p.requires_grad for p in module.parameters()
    ]


def test_equal_modules_have_equal_hashes(module):
    expected = joblib.hash(StoredModule(module))
    assert joblib.hash(StoredModule(copy.deepcopy(module))) == expected
    assert joblib.hash(StoredModule(pickle.loads(pickle.dumps(StoredModule(module))).module())) == (
        expected
    )
    with torch.no_grad():
        next(module.parameters()).view(-1)[0] += 1
    assert joblib.hash(StoredModule(module)) != expected


def test_hashes_are_those_of_another_process():
    code = (
        "import joblib, torch; from torch import nn; torch.manual_seed(3);"
        "from sklearn_fewshot.nn._stored import StoredModule;"
        "print(joblib.hash(StoredModule(nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3)))))"
    )
    command = [sys.executable, "-c", code]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    torch.manual_seed(3)
    module = nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3))
    assert printed.strip() == joblib.hash(StoredModule(module))


def test_what_is_tied_stays_tied():
    loaded = StoredModule(Tied()).module()
    assert loaded.first.weight is loaded.second.weight


def test_no_tensor_is_left():
    pickled = pickle.dumps(StoredModule(Tied()))
    assert b"_rebuild_tensor" not in pickled
    assert b"_rebuild_parameter" not in pickled
