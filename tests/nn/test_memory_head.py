"""The head of memory-augmented networks, and its training on sequences."""

import numpy as np
import pytest
import torch

from sklearn_fewshot.nn import (
    EpisodeBatch,
    EpisodicCrossEntropy,
    SequenceModule,
    Support,
    presentation,
)
from sklearn_fewshot.nn.heads import MemoryHead

DIM = 3
SIZES = {"memory_slots": 12, "memory_width": 5, "n_reads": 2, "controller_dim": 8}


@pytest.fixture(params=[None, 5], ids=["letters", "one-hot"])
def head(request):
    return MemoryHead(DIM, n_labels=request.param, **SIZES).double().eval()


@pytest.fixture
def sequences():
    """Two sequences of seven steps, four classes."""
    target = torch.tensor([[0, 1, 2, 0, 3, 1, 2], [3, 3, 0, 1, 0, 2, 1]])
    return torch.randn(2, 7, DIM, dtype=torch.float64), target


def test_a_label_has_no_part_in_the_prediction_of_its_own_step(head, sequences):
    inputs, target = sequences
    codes = head.random_codes(2, 4)
    logits = head.read_sequence(inputs, target, codes)
    for t in range(7):
        other = target.clone()
        other[:, t] = (other[:, t] + 1) % 4
        changed = head.read_sequence(inputs, other, codes)
        assert torch.equal(changed[:, : t + 1], logits[:, : t + 1])
        assert t == 6 or (changed[:, t + 1 :] != logits[:, t + 1 :]).any()


def test_its_gradient_is_exactly_zero(head, sequences):
    """Of the output of a step by the label that the next step sees."""
    inputs, _ = sequences
    labels = torch.randn(7, 2, head.code_size, dtype=torch.float64, requires_grad=True)
    state, outputs = head.cell.initial_state(2), []
    for t in range(7):
        before = labels[t - 1] if t else torch.zeros_like(labels[0])
        output, state, _ = head.cell.step(torch.cat([inputs[:, t], before], dim=1), state)
        outputs.append(output)
    for t in range(1, 7):
        (gradient,) = torch.autograd.grad(outputs[t].sum(), labels, retain_graph=True)
        assert not gradient[t:].any()
        assert gradient[t - 1].any()


def test_codes_are_different_and_of_five_letters():
    head = MemoryHead(DIM, **SIZES)
    codes = head.random_codes(50, 30)
    assert codes.shape == (50, 30, 25)
    assert (codes.unflatten(2, (5, 5)).sum(dim=3) == 1).all()
    for episode in codes.numpy():
        assert len(np.unique(episode, axis=0)) == 30


def test_logits_of_letters_are_log_probabilities_of_the_whole_label(head):
    output, codes = torch.randn(1, 1, head.code_size), head.random_codes(1, 4).float()
    logits = head._logits(output, codes)[0, 0]
    for k in range(4):
        if head.n_labels is None:
            letters = output[0, 0].view(5, 5).log_softmax(dim=1)
            expected = (letters * codes[0, k].view(5, 5)).sum()
        else:
            expected = output[0, 0][codes[0, k].bool()].squeeze()
        torch.testing.assert_close(logits[k], expected)


def test_a_query_is_one_more_step_after_the_examples(head, sequences):
    """In the order and with the codes that follow from the examples."""
    inputs, target = sequences
    support = Support(inputs, target, torch.ones(2, 7, dtype=torch.float64), 4)
    query = torch.randn(2, 2, DIM, dtype=torch.float64)
    logits = head.score(head.context(support), query)
    axis = torch.arange(1, DIM + 1).double().cos()
    for e in range(2):
        key = (inputs[e] @ axis).numpy()
        mean = np.array([key[target[e] == k].mean() for k in range(4)])
        rank = [sorted(key[target[e] == target[e, i]]).index(key[i]) for i in range(7)]
        order = sorted(range(7), key=lambda i: (rank[i], mean[target[e, i]]))
        dealt = torch.from_numpy(mean.argsort().argsort())
        codes = head._codes(dealt).unsqueeze(0)
        for q in range(2):
            steps = torch.cat([inputs[e, order], query[e, [q]]]).unsqueeze(0)
            labels = torch.cat([target[e, order], torch.tensor([0])]).unsqueeze(0)
            expected = head.read_sequence(steps, labels, codes)[0, -1]
            torch.testing.assert_close(logits[e, q], expected)


def test_queries_are_read_some_at_a_time(head, sequences, monkeypatch):
    inputs, target = sequences
    support = Support(inputs, target, torch.ones(2, 7, dtype=torch.float64), 4)
    state, query = head.context(support), torch.randn(2, 9, DIM, dtype=torch.float64)
    expected = head.score(state, query)
    monkeypatch.setattr("sklearn_fewshot.nn.heads._memory.MEMORY_VALUES", 300)
    torch.testing.assert_close(head.score(state, query), expected)


def test_moments_follow_the_embeddings_in_training():
    head = MemoryHead(DIM, **SIZES)
    rows = 5.0 + 2.0 * torch.randn(4, 50, DIM)
    target = torch.zeros(4, 50, dtype=torch.int64)
    head.train().read_sequence(rows, target, head.random_codes(4, 2))
    torch.testing.assert_close(head.mean, rows.mean(dim=(0, 1)))
    assert abs(float(head.size) - 2.0) < 0.2
    before = head.mean.clone()
    head.eval().read_sequence(rows + 1.0, target, head.random_codes(4, 2))
    assert torch.equal(head.mean, before)


@pytest.fixture
def batch():
    """Two episodes, the second with fewer queries."""
    return EpisodeBatch(
        inputs=torch.randn(12, DIM),
        support=torch.tensor([[0, 1, 2, 3], [4, 5, 0, 0]]),
        support_target=torch.tensor([[0, 1, 2, 0], [1, 0, 0, 0]]),
        weight=torch.tensor([[1.0, 1, 1, 1], [1, 1, 0, 0]]),
        query=torch.tensor([[6, 7, 8], [9, 10, 0]]),
        target=torch.tensor([[0, 1, 2], [1, 0, -1]]),
        n_classes=3,
    )


def test_sequences_hold_every_sample_of_an_episode_once(batch):
    module = SequenceModule.build((DIM,), backbone="identity", head=MemoryHead).eval()
    seen = []

    def take(index):
        seen.append(index)
        return batch.inputs[index]

    logits, target = module.predict_sequences(batch, take)
    (rows,) = seen
    labels = {0: 0, 1: 1, 2: 2, 3: 0, 4: 1, 5: 0, 6: 0, 7: 1, 8: 2, 9: 1, 10: 0}
    for e, wanted in enumerate(({0, 1, 2, 3, 6, 7, 8}, {4, 5, 9, 10})):
        real = target[e] >= 0
        assert sorted(rows[e][real].tolist()) == sorted(wanted)
        assert [labels[row] for row in rows[e][real].tolist()] == target[e][real].tolist()
        assert real.tolist() == sorted(real.tolist(), reverse=True)  # padding comes last
    assert logits[1, :, 2].eq(-torch.inf).all()  # a class that the episode does not have
    assert logits[0].isfinite().all()


def test_training_leaves_samples_out_and_reaches_the_backbone(batch):
    module = SequenceModule.build((DIM,), backbone="mlp", head=MemoryHead)
    seen = []
    _, target = module.train().predict_sequences(
        batch, lambda index: (seen.append(index), torch.randn(*index.shape, 64))[1]
    )
    assert target.shape == seen[0].shape == (2, 5)  # two thirds of seven
    assert (target >= 0).sum(dim=1).tolist() == [5, 3]  # and of four
    module.training_loss(batch, EpisodicCrossEntropy()).backward()
    assert all(p.grad is not None and p.grad.any() for p in module.backbone.parameters())


def test_presentations_are_counted_by_class():
    rng = np.random.default_rng(0)
    target = torch.from_numpy(rng.integers(-1, 4, size=(6, 20)))
    expected = np.full((6, 20), -1)
    for e in range(6):
        count = {}
        for t in range(20):
            label = int(target[e, t])
            if label >= 0:
                expected[e, t] = count.get(label, 0)
                count[label] = expected[e, t] + 1
    np.testing.assert_array_equal(presentation(target, 4), expected)
