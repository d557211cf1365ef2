"""P × K batches hold for any labels: distinct people, even turns, disjoint processes."""

import subprocess
import sys
from collections.abc import Iterator

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reidkit.core import ConfigError, DataError, generator
from reidkit.data.sampling import (
    PKBatchSampler,
    draw_across_cameras,
    draw_sequences,
    group_rows,
    range_weights,
)

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


@settings(max_examples=60, deadline=None)
@given(labels_of_people, st.integers(1, 4), st.integers(0, 9), st.booleans(), st.booleans())
def test_processes_share_no_person(
    labels: np.ndarray, world: int, epoch: int, weighted: bool, by_camera: bool
) -> None:
    P = len(np.unique(labels)) // world
    options = {
        "weights": {int(labels[0]): 9.0} if weighted else None,
        "cameras": np.arange(len(labels)) % 3 if by_camera else None,
    }
    samplers = [
        PKBatchSampler(labels, P=P, K=2, rank=r, world_size=world, num_batches=8, **options)
        for r in range(world)
    ]
    for sampler in samplers:
        sampler.set_epoch(epoch)
    for batches in zip(*samplers, strict=True):
        people = [set(labels[batch].tolist()) for batch in batches]
        assert all(len(own) == P for own in people)
        assert len(set.union(*people)) == P * world


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
        {"P": 1, "weights": {0: float("nan")}},
        {"P": 1, "weights": {0: float("inf")}},
        {"P": 1, "num_batches": 0},
    ],
)
def test_impossible_options(options: dict) -> None:
    with pytest.raises(ConfigError):
        PKBatchSampler([0, 1, 2, -1, -1], **options)


def slow_twin(
    labels: np.ndarray, P: int, K: int, seed: int, weights: dict, rank: int, world: int
) -> Iterator[list[int]]:
    """The sampler of version 0.1: a list of rows per identity, all clocks searched for every batch."""
    identities = np.unique(labels[labels >= 0])
    members = [np.flatnonzero(labels == identity) for identity in identities]
    wanted = np.array([weights.get(int(identity), 1.0) for identity in identities])
    stream, own = generator(seed, "identities", 0), generator(seed, "sequences", 0, rank)
    turns, due = np.zeros(len(wanted)), stream.random(len(wanted)) / wanted
    while True:
        chosen = np.argsort(due, kind="stable")[: P * world]
        yield np.concatenate([draw_sequences(members[i], K, own) for i in chosen[rank::world]]).tolist()
        turns[chosen] += 1
        due[chosen] = (turns[chosen] + stream.random(P * world)) / wanted[chosen]


@settings(max_examples=80, deadline=None)
@given(
    st.lists(st.sampled_from([-1, 0, 1, 2, 3, 70, 2**41, 2**62, 2**63 - 1]), min_size=3, max_size=60),
    st.integers(1, 3),
    st.integers(1, 3),
    st.integers(0, 9),
    st.sampled_from([0.3, 1.0, 7.0]),
)
def test_the_same_batches_as_ever(values: list[int], K: int, world: int, seed: int, weight: float) -> None:
    labels = np.array(values, dtype=np.int64)
    people = np.unique(labels[labels >= 0])
    P = len(people) // world
    if P:
        weights = {int(people[-1]): weight}
        for rank in range(world):
            sampler = PKBatchSampler(labels, P, K, seed, 40, weights=weights, rank=rank, world_size=world)
            for ours, theirs in zip(
                sampler, slow_twin(labels, P, K, seed, weights, rank, world), strict=False
            ):
                assert ours == theirs


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(0, 5), min_size=1, max_size=25), st.integers(1, 12), st.integers(0, 9))
def test_rows_are_dealt_camera_by_camera(cameras: list[int], K: int, seed: int) -> None:
    seen_by, members = np.array(cameras), 100 + np.arange(len(cameras))
    rows = draw_across_cameras(members, seen_by, K, generator(seed))
    assert len(rows) == K and set(rows) <= set(members)
    assert len(np.unique(seen_by[rows - 100])) == min(K, len(set(cameras)))
    assert len(set(rows.tolist())) == min(K, len(cameras))
    taken = np.bincount(seen_by[rows[: len(cameras)] - 100], minlength=6)
    there = np.bincount(seen_by, minlength=6)
    left = taken < there  # a camera with rows left was not passed over
    assert not left.any() or taken[left].min() >= taken.max() - 1


def test_every_camera_and_row_has_its_chance() -> None:
    members, seen_by = np.arange(8), np.array([0, 0, 0, 0, 0, 1, 1, 2])
    stream = generator(0)
    first = [int(draw_across_cameras(members, seen_by, 2, stream)[0]) for _ in range(6000)]
    share = np.bincount(first, minlength=8) / 6000
    np.testing.assert_allclose(share, [1 / 15] * 5 + [1 / 6] * 2 + [1 / 3], atol=0.02)


def test_camera_aware_batches_of_the_sampler() -> None:
    labels = np.repeat(np.arange(30), 8)
    cameras = np.tile([0, 0, 0, 0, 0, 1, 2, 3], 30)
    for batch in PKBatchSampler(labels, P=8, K=4, num_batches=20, cameras=cameras):
        grid = cameras[batch].reshape(8, 4)
        assert (np.sort(grid, axis=1) == np.arange(4)).all()
    with pytest.raises(DataError, match="There are 3 cameras for 240 labels"):
        PKBatchSampler(labels, P=8, cameras=[0, 1, 2])


@pytest.mark.parametrize("kind", ["list", "int32", "uint8", "series", "nullable"])
def test_labels_of_any_kind(kind: str) -> None:
    values = [3, 3, 9, 9, 9, 0]
    labels = {
        "list": values,
        "int32": np.array(values, np.int32),
        "uint8": np.array(values, np.uint8),
        "series": pd.Series(values, index=range(50, 56)),
        "nullable": pd.Series(values, dtype="Int64"),
    }[kind]
    assert list(PKBatchSampler(labels, P=2, K=2)) == list(PKBatchSampler(np.array(values), P=2, K=2))


@pytest.mark.parametrize(
    "labels",
    [
        [0.0, 1.0],
        ["a", "b"],
        [[0, 1]],
        np.array([1, 2**64 - 1], np.uint64),
        pd.Series([1, None], dtype="Int64"),
    ],
)
def test_labels_that_are_none(labels) -> None:
    with pytest.raises(DataError, match=r"labels .*relabel them"):
        PKBatchSampler(labels, P=1)


def test_two_hundred_thousand_people() -> None:
    labels = np.repeat(np.arange(200_000), 5)
    generator(0, "scale").shuffle(labels)
    identities, rows, offsets = group_rows(labels)
    assert len(identities) == 200_000 and (np.diff(offsets) == 5).all()
    assert (labels[rows] == np.repeat(identities, 5)).all()
    turns = np.zeros(200_000)
    for batch in PKBatchSampler(labels, P=500, K=1, num_batches=800, weights={7: 3.0}):
        turns[labels[batch]] += 1
    assert turns[7] in (5, 6, 7) and set(np.delete(turns, 7)) <= {1, 2, 3}


def test_ranges_of_weights() -> None:
    identities = np.array([2, 5, 9, 50, 60])
    assert range_weights(identities, [(5, 50, 4.0)]) == {1: 4.0, 2: 4.0, 3: 4.0}
    assert range_weights(identities, [(5, 50, 4.0), (50, 99, 0.5)]) == {1: 4.0, 2: 4.0, 3: 2.0, 4: 0.5}
    assert range_weights(identities, []) == {}
    with pytest.raises(ConfigError, match=r"between 10 and 40.*there are 5 from 2 to 60"):
        range_weights(identities, [(10, 40, 2.0)])


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
