"""Losses: fixtures of the specification, parity with torch, and properties on random batches."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from reidkit.core import DataError
from reidkit.losses.classification import smoothed_cross_entropy, smoothed_targets
from reidkit.losses.metric import batch_hard_triplet, hardest_pairs

quick = settings(max_examples=40, deadline=None)


def slow_triplet(embeddings: torch.Tensor, labels: list[int], margin: float) -> list[float | None]:
    """One loss for each anchor by loops, None where it has no positive or no negative."""
    losses: list[float | None] = []
    for anchor, label in enumerate(labels):
        distance = [math.dist(embeddings[anchor].tolist(), row.tolist()) for row in embeddings]
        same = [d for i, d in enumerate(distance) if labels[i] == label and i != anchor]
        other = [d for i, d in enumerate(distance) if labels[i] != label]
        losses.append(max(0.0, margin + max(same) - min(other)) if same and other else None)
    return losses


@st.composite
def batches(draw):
    labels = draw(st.lists(st.integers(-1, 4), min_size=1, max_size=14))
    seed, dim = draw(st.integers(0, 10_000)), draw(st.integers(1, 8))
    embeddings = torch.randn(len(labels), dim, generator=torch.Generator().manual_seed(seed))
    return embeddings.double(), labels, draw(st.floats(0, 2))


def test_cross_entropy_fixtures():
    logits, label = torch.tensor([[2.0, 0.0, 0.0]]), torch.tensor([0])
    assert smoothed_cross_entropy(logits, label, smoothing=0).item() == pytest.approx(0.239545, abs=1e-6)
    assert smoothed_cross_entropy(logits, label, smoothing=0.1).item() == pytest.approx(0.372878, abs=1e-6)


@quick
@given(st.integers(0, 10_000), st.integers(1, 9), st.integers(1, 12), st.floats(0, 1))
def test_cross_entropy_equals_torch(seed, rows, classes, smoothing):
    random = torch.Generator().manual_seed(seed)
    logits = (5 * torch.randn(rows, classes, generator=random)).double().requires_grad_()
    labels = torch.randint(0, classes, (rows,), generator=random)
    ours = smoothed_cross_entropy(logits, labels, smoothing=smoothing)
    torchs = functional.cross_entropy(logits, labels, label_smoothing=smoothing)
    assert ours.item() == pytest.approx(torchs.item(), abs=1e-10)
    gradients = [torch.autograd.grad(loss, logits)[0] for loss in (ours, torchs)]
    torch.testing.assert_close(*gradients)
    soft = functional.cross_entropy(logits, smoothed_targets(labels, classes, smoothing).double())
    assert ours.item() == pytest.approx(soft.item(), abs=1e-5)


def test_cross_entropy_weights_repeat_rows():
    logits, labels = torch.randn(4, 7), torch.tensor([0, 6, 3, 3])
    repeated = smoothed_cross_entropy(logits[[0, 2, 2, 2]], labels[[0, 2, 2, 2]])
    weighted = smoothed_cross_entropy(logits, labels, weights=torch.tensor([1.0, 0.0, 3.0, 0.0]))
    torch.testing.assert_close(repeated, weighted)
    assert smoothed_cross_entropy(logits, labels, weights=torch.zeros(4)).item() == 0


def test_cross_entropy_of_nothing_is_zero():
    logits = torch.zeros(0, 5, requires_grad=True)
    loss = smoothed_cross_entropy(logits, torch.zeros(0, dtype=torch.long))
    loss.backward()
    assert loss.item() == 0


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_losses_are_finite_in_half_precision(dtype):
    torch.manual_seed(0)
    features = (100 * torch.randn(12, 16)).to(dtype)
    features[3] = features[0]  # two equal rows of one person
    features.requires_grad_()
    labels = torch.tensor([0, 1, 2] * 4)
    loss = batch_hard_triplet(features, labels) + smoothed_cross_entropy(features, labels)
    loss.backward()
    assert loss.dtype == torch.float32
    assert features.grad is not None and bool(features.grad.isfinite().all())


@pytest.mark.parametrize(
    ("logits", "labels", "message"),
    [
        (torch.zeros(2, 3), torch.tensor([0, 3]), "label 3 in row 1 is outside 0..2"),
        (torch.zeros(2, 3), torch.tensor([-1, 0]), "label -1 in row 0"),
        (torch.zeros(2, 3), torch.zeros(3, dtype=torch.long), "one integer label"),
        (torch.zeros(3, 3), torch.ones(3), "integer class indices"),
    ],
)
def test_cross_entropy_refuses(logits, labels, message):
    with pytest.raises(DataError, match=message):
        smoothed_cross_entropy(logits, labels)


def test_triplet_fixture():
    points, labels = torch.tensor([[0.0], [1.0], [1.5], [3.0]]), torch.tensor([0, 0, 1, 1])
    assert slow_triplet(points, labels.tolist(), 0.3) == pytest.approx([0, 0.8, 1.3, 0], abs=1e-6)
    assert batch_hard_triplet(points, labels, margin=0.3).item() == pytest.approx(0.525, abs=1e-6)


@quick
@given(batches())
def test_triplet_equals_loops(batch):
    embeddings, labels, margin = batch
    expected = [value for value in slow_triplet(embeddings, labels, margin) if value is not None]
    loss = batch_hard_triplet(embeddings, torch.tensor(labels), margin=margin)
    assert loss.item() == pytest.approx(sum(expected) / max(len(expected), 1), abs=1e-9)
    assert int(hardest_pairs(embeddings, torch.tensor(labels)).valid.sum()) == len(expected)


@quick
@given(batches(), st.integers(0, 10_000))
def test_triplet_ignores_order_labels_and_place(batch, seed):
    embeddings, labels, margin = batch
    names = torch.tensor(labels)
    loss = batch_hard_triplet(embeddings, names, margin=margin)
    order = torch.randperm(len(names), generator=torch.Generator().manual_seed(seed))
    torch.testing.assert_close(batch_hard_triplet(embeddings[order], names[order], margin=margin), loss)
    torch.testing.assert_close(batch_hard_triplet(embeddings, 1000 - 7 * names, margin=margin), loss)
    torch.testing.assert_close(batch_hard_triplet(embeddings + 50, names, margin=margin), loss)


def test_triplet_gradient_is_right():
    torch.manual_seed(0)
    embeddings = torch.randn(8, 3, dtype=torch.float64, requires_grad=True)
    labels, weights = torch.tensor([0, 0, 0, 1, 1, 2, 2, 3]), torch.rand(8, dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda e: batch_hard_triplet(e, labels, weights=weights), (embeddings,))


def test_triplet_at_zero_distance_and_without_partners():
    same = torch.ones(6, 4, requires_grad=True)
    loss = batch_hard_triplet(same, torch.tensor([0, 0, 1, 1, 2, 2]))
    loss.backward()
    assert loss.item() == pytest.approx(0.3) and same.grad.abs().sum() == 0
    for labels in ([0, 1, 2, 3, 4, 5], [9] * 6, []):
        lonely = torch.randn(len(labels), 4, requires_grad=True)
        loss = batch_hard_triplet(lonely, torch.tensor(labels, dtype=torch.long))
        loss.backward()
        assert loss.item() == 0 and lonely.grad.abs().sum() == 0


def test_triplet_mines_in_float32_under_autocast():
    torch.manual_seed(0)
    embeddings, labels = torch.randn(64, 32), torch.arange(16).repeat_interleave(4)
    outside = hardest_pairs(embeddings, labels)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = hardest_pairs(embeddings, labels)
    assert torch.equal(outside.negative, inside.negative) and torch.equal(outside.positive, inside.positive)


def test_triplet_equals_pytorch_metric_learning():
    losses = pytest.importorskip("pytorch_metric_learning.losses")
    miners = pytest.importorskip("pytorch_metric_learning.miners")
    distances = pytest.importorskip("pytorch_metric_learning.distances")
    reducers = pytest.importorskip("pytorch_metric_learning.reducers")
    torch.manual_seed(0)
    embeddings, labels = torch.randn(24, 8), torch.arange(6).repeat_interleave(4)
    distance = distances.LpDistance(normalize_embeddings=False)
    peer = losses.TripletMarginLoss(margin=0.3, distance=distance, reducer=reducers.MeanReducer())
    mined = miners.BatchHardMiner(distance=distance)(embeddings, labels)
    torch.testing.assert_close(peer(embeddings, labels, mined), batch_hard_triplet(embeddings, labels))
