"""P × K batches hold for any labels: distinct people, even turns, disjoint processes."""

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reidkit.core import ConfigError, generator
from reidkit.data.sampling import PKBatchSampler, draw_sequences

labels_of_people = st.lists(st.integers(1, 7), min_size=4, max_size=30).map(
    lambda counts: np.repeat(np.arange(len(counts)) * 3, counts)
)


@settings(max_examples=60, deadline=None)
@given(labels_of_people, st.integers(1, 4), st.integers(1, 6), st.integers(0, 5), st.randoms())
def test_batches_are_p_times_k(labels: np.ndarray, P: int, K: int, seed: int, random) -> None:
    order = list(range(len(labels)))
    random.shuffle(order)
    labels = labels[order]
    for batch in PKBatchSampler(labels, P=P, K=K, seed=seed, num_batches=10):
        grid = labels[batch].reshape(P, K)
        assert (grid == grid[:, :1]).all()
        assert len(np.unique(grid)) == P
        for person, rows in zip(grid[:, 0], np.array(batch).reshape(P, K), strict=True):
            available = int((labels == person).sum())
            assert len(set(rows.tolist())) == min(K, available)
            assert np.bincount(rows).max() <= -(-K // available)


def test_a_thousand_batches() -> None:
    labels = np.repeat(np.arange(40), generator(0, "counts").integers(1, 9, 40))
    turns = np.zeros(40)
    for batch in PKBatchSampler(labels, P=16, K=4, num_batches=1000):
        people = np.unique(labels[batch])
        assert len(people) == 16 and len(batch) == 64
        turns[people] += 1
    assert turns.max() - turns.min() <= 2


@settings(max_examples=30, deadline=None)
@given(labels_of_people, st.integers(1, 3), st.integers(0, 9))
def test_processes_share_no_person(labels: np.ndarray, world: int, epoch: int) -> None:
    samplers = [
        PKBatchSampler(labels, P=1, K=2, rank=r, world_size=world, num_batches=8) for r in range(world)
    ]
    for sampler in samplers:
        sampler.set_epoch(epoch)
    for batches in zip(*samplers, strict=True):
        people = [int(labels[row]) for batch in batches for row in set(batch)]
        assert len(set(people)) == world


def test_the_epoch_is_the_only_state() -> None:
    labels = np.repeat(np.arange(10), 5)
    sampler = PKBatchSampler(labels, P=4, K=3, seed=7)
    zero = list(sampler)
    sampler.set_epoch(3)
    three = list(sampler)
    sampler.set_epoch(0)
    assert list(sampler) == zero != three
    assert len(zero) == len(sampler) == 4
    fresh = PKBatchSampler(labels, P=4, K=3, seed=7)
    fresh.set_epoch(3)
    assert list(fresh) == three


def test_weighted_people_come_more_often() -> None:
    labels = np.repeat(np.arange(50), 4)
    sampler = PKBatchSampler(labels, P=5, K=2, num_batches=1000, weights={0: 4.0, 1: 0.5})
    turns = np.bincount([label for batch in sampler for label in labels[batch][::2]], minlength=50)
    assert turns[0] / turns[2:].mean() == pytest.approx(4, rel=0.05)
    assert turns[1] / turns[2:].mean() == pytest.approx(0.5, rel=0.05)


@pytest.mark.parametrize(
    "options",
    [
        {"P": 0},
        {"K": 0},
        {"P": 4},
        {"P": 2, "world_size": 2},
        {"P": 1, "rank": 1},
        {"P": 1, "weights": {0: 0.0}},
        {"P": 1, "weights": {-1: 1.0}},
    ],
)
def test_impossible_options(options: dict) -> None:
    with pytest.raises(ConfigError):
        PKBatchSampler([0, 1, 2, -1, -1], **options)


def test_nobody_to_draw() -> None:
    with pytest.raises(ConfigError, match="the labels hold 0"):
        PKBatchSampler([-1, -1], P=1)


def test_more_rows_than_wanted() -> None:
    assert len(draw_sequences(np.arange(300), 4, generator(0))) == 4


def test_sampling_needs_neither_torch_nor_images() -> None:
    code = (
        "import sys, reidkit.data.sampling; print([m for m in ('torch', 'cv2', 'PIL') if m in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"
