"""Several networks as one: weighted sums of their logits, by plain loops."""

import numpy as np
import pytest
import torch
from torch import nn

from sklearn_fewshot.nn import (
    EmbeddingModule,
    Parallel,
    PooledHead,
    PooledMember,
    PooledModule,
    Support,
)
from sklearn_fewshot.nn.backbones import Identity, Spectral
from sklearn_fewshot.nn.heads import AnchoredHead, CentroidHead, MatchingHead, PrototypicalHead

N_SHOTS = [1.0, 4.0, 16.0]
WEIGHT = torch.tensor([[1.0, 0.5, 0.0], [0.0, 2.0, 3.0]])


def make_head(n_shots=N_SHOTS, weight=WEIGHT):
    """Compare the first four columns by prototypes, the last two by attention."""
    heads = [PrototypicalHead(scale=0.3), MatchingHead()]
    head = PooledHead(heads, [(0, 4), (4, 6)], [(4,), (2,)], n_shots)
    head.weight.copy_(weight)
    return head.double()


def scored(head, support, query):
    with torch.inference_mode():
        return head.score(head.context(head.represent(support)), query)


@pytest.fixture
def query(make_query):
    return make_query()


def test_logits_are_weighted_sums(ragged, query):
    head = make_head([1.0], torch.tensor([[0.4], [1.5]]))
    first, second = (
        scored(one, ragged._replace(inputs=ragged.inputs[..., part]), query[..., part])
        for one, part in zip(head.heads, (slice(4), slice(4, 6)), strict=True)
    )
    torch.testing.assert_close(scored(head, ragged, query), 0.4 * first + 1.5 * second)


@pytest.mark.parametrize(
    ("count", "expected"),
    [
        ([1, 1], [1.0, 0.0]),
        ([4, 4], [0.5, 2.0]),
        ([2, 2], [0.75, 1.0]),  # half way in the logarithm
        ([1, 4], [0.75, 1.0]),  # whose mean is that of two
        ([8, 8], [0.25, 2.5]),
        ([100, 100], [0.0, 3.0]),
        ([4, 0], [0.5, 2.0]),  # one class only
        ([0, 0], [1.0, 0.0]),
    ],
)
def test_weights_go_by_the_number_of_examples(count, expected):
    weight = make_head().weights(torch.tensor([count], dtype=torch.float64))
    torch.testing.assert_close(weight, torch.tensor([expected], dtype=torch.float64))


def test_the_laws_of_the_members_hold(make_support, query):
    head, support = make_head(), make_support()
    expected = scored(head, support, query)
    shuffled = torch.randperm(12)
    inputs, target, weight = (value[:, shuffled] for value in support[:3])
    torch.testing.assert_close(
        scored(head, support._replace(inputs=inputs, target=target, weight=weight), query), expected
    )
    torch.testing.assert_close(scored(head, support, query[:, 1:2]), expected[:, 1:2])
    alone = support._replace(
        **{k: v[1:2] for k, v in support._asdict().items() if k != "n_classes"}
    )
    torch.testing.assert_close(scored(head, alone, query[1:2]), expected[1:2])


def test_what_the_pool_declares_is_what_all_members_can():
    class Dependent(PrototypicalHead):
        independent_queries, exact, score_shift = False, False, False

    plain, mixed = (
        PooledHead([PrototypicalHead(), other], [(0, 1), (0, 1)], [(1,), (1,)], [1.0])
        for other in (PrototypicalHead(), Dependent())
    )
    for name in ("independent_queries", "exact", "score_shift"):
        assert getattr(plain, name)
        assert not getattr(mixed, name)


def test_rows_are_prepared_for_each_head():
    """Once, though the head of the pool has them as they are."""
    rows = torch.tensor([[3.0, 4.0], [0.0, 2.0], [1.0, 0.0]])
    member = EmbeddingModule(Identity((2,)), CentroidHead(2))
    member.head.center.fill_(0.5)
    pooled = PooledModule.of((2,), [[member]], [1.0])
    support = pooled_support(rows)
    expected = member.predict(member.adapt(support), rows[None])
    torch.testing.assert_close(pooled.predict(pooled.adapt(support), rows[None]), expected)


def pooled_support(rows):
    return Support(rows[None], torch.arange(len(rows))[None], torch.ones(1, len(rows)), len(rows))


@pytest.mark.parametrize("n_heads", [1, 2])
def test_a_pool_is_built_as_it_was_made(n_heads):
    """From options that a model file can hold: the same parameters, the same function."""
    heads = [(PrototypicalHead, {"metric": "cityblock"}), (AnchoredHead, {})][:n_heads]
    members = [
        PooledMember({"backbone": "mlp"}, heads),
        PooledMember({"backbone": "identity"}, heads),
    ]
    torch.manual_seed(0)
    built = PooledModule.build((5,), members=members, n_shots=[1.0, 5.0])
    again = PooledModule.build((5,), members=members, n_shots=[1.0, 5.0])
    again.load_state_dict(built.state_dict())
    rows = torch.from_numpy(np.random.default_rng(0).normal(size=(3, 5))).float()
    with torch.inference_mode():
        expected, found = (
            module.eval().predict(module.adapt(pooled_support(rows)), rows[None])
            for module in (built, again)
        )
    torch.testing.assert_close(found, expected)
    assert len(built.head.heads) == 2 * n_heads
    assert built.embed(rows).shape == (3, 64 + 5)


def test_a_shared_frozen_backbone_is_there_once():
    member = PooledMember(
        {"backbone": nn.Linear(5, 3), "top_options": {}}, [(PrototypicalHead, {})]
    )
    options = {"members": [member, member], "n_shots": [1.0]}
    apart, shared = (
        PooledModule.build((5,), **options, share_frozen=share) for share in (False, True)
    )
    calls = []
    for module in (apart, shared):
        for part in module.modules():
            if isinstance(part, nn.Linear) and part.in_features == 5:
                part.register_forward_hook(lambda *_: calls.append(1))
    rows = torch.ones(2, 5)
    expected = apart.eval().embed(rows)
    assert len(calls) == 2
    torch.testing.assert_close(shared.eval().embed(rows), expected)
    assert len(calls) == 3


def test_series_of_any_length_go_through_backbones_that_all_take_them():
    series = Spectral((2, 30))
    assert Parallel([series, Spectral((2, 30))]).takes_any_length
    assert not Parallel([series, Identity((2, 30))]).takes_any_length
