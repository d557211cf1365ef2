"""Verification and open-set identification against twins that keep every pair."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reidkit.core import ConfigError, DataError, generator
from reidkit.metrics.ranking import EmbeddingSet
from reidkit.metrics.verification import (
    BIN_WIDTH,
    NUM_BINS,
    _accepted,
    _prepare,
    choose_threshold,
    identify,
    verify,
)


def random_sets(
    seed: int, queries: int = 12, rows: int = 40, people: int = 6
) -> tuple[EmbeddingSet, EmbeddingSet]:
    """Small sets with junk, distractors and two cameras; some vectors occur twice."""
    draw = generator(seed, "verification")
    sets = []
    for number, lowest in ((queries, 1), (rows, -1)):
        person = draw.integers(lowest, people, number)
        vectors = draw.normal(size=(number, 8)).round(1)
        vectors[number // 2 :: 3] = vectors[0]
        sets.append(
            EmbeddingSet(vectors, person, draw.integers(0, 2, number), np.arange(number)).normalised()
        )
    return sets[0], sets[1]


def all_pairs(query: EmbeddingSet, gallery: EmbeddingSet) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Similarity, same person, and whether the pair counts by market1501: [Q, G] each."""
    similarity = (query.embeddings.astype(np.float64) @ gallery.embeddings.astype(np.float64).T).astype(
        np.float32
    )
    same = query.person_id[:, None] == gallery.person_id
    counts = (gallery.person_id != -1) & ~(same & (query.camera_id[:, None] == gallery.camera_id))
    return similarity, same, counts


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10_000), st.floats(-1.2, 1.2))
def test_rates_equal_those_of_all_pairs(seed: int, threshold: float) -> None:
    query, gallery = random_sets(seed)
    similarity, same, counts = all_pairs(query, gallery)
    if not (same & counts).any() or not (~same & counts).any():
        with pytest.raises(DataError, match="both are needed"):
            verify(query, gallery)
        return
    result = verify(query, gallery)
    edge = np.clip(np.ceil((threshold + 1) / BIN_WIDTH), 0, NUM_BINS) * BIN_WIDTH - 1
    for rate, kind in ((result.far(threshold), ~same), (result.tar(threshold), same)):
        values = similarity[kind & counts]
        bounds = [(values >= edge + step).mean() for step in (1e-6, -1e-6)]  # the products round differently
        assert bounds[0] - 1e-12 <= rate <= bounds[1] + 1e-12
    assert (result.num_genuine, result.num_impostors) == ((same & counts).sum(), (~same & counts).sum())


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from([0.5, 0.1, 0.01, 0.003]))
def test_the_threshold_is_the_lowest_that_keeps_the_rate(seed: int, far: float) -> None:
    query, gallery = random_sets(seed, people=4)
    result = verify(query, gallery)
    threshold = result.threshold_at(far)
    assert result.far(threshold) <= far
    assert threshold == -1 or result.far(threshold - BIN_WIDTH) > far


def test_the_block_does_not_matter() -> None:
    query, gallery = random_sets(1, 50, 300)
    for block in (1, 7, 50):
        result = verify(query, gallery, block=block)
        assert abs(result.impostors - verify(query, gallery).impostors).max() <= 2
        np.testing.assert_allclose(result.genuine, verify(query, gallery).genuine, atol=1e-6)


def test_perfect_and_hopeless_embeddings() -> None:
    person, camera = np.arange(1, 9), np.zeros(8, int)
    right = EmbeddingSet(np.eye(8), person, camera)
    result = verify(right, EmbeddingSet(np.eye(8), person, camera + 1))
    assert result.eer[0] == 0 and result.tar(result.threshold_at(0.001)) == 1
    wrong = verify(right, EmbeddingSet(np.roll(np.eye(8), 1, axis=0), person, camera + 1))
    assert wrong.tar(wrong.threshold_at(0.1)) == 0
    assert wrong.table([1e-9])["false accepts"].tolist() == [0]


def test_equal_error_rate_is_that_of_sorted_pairs() -> None:
    draw = generator(0, "eer")
    person = np.repeat(np.arange(1, 101), 3)
    centres = draw.normal(size=(100, 16))
    query, gallery = (
        EmbeddingSet(
            centres[person - 1] + 1.2 * draw.normal(size=(300, 16)), person, np.full(300, c)
        ).normalised()
        for c in (0, 1)
    )
    similarity, same, counts = all_pairs(query, gallery)
    genuine, impostors = np.sort(similarity[same & counts]), np.sort(similarity[~same & counts])
    values = np.sort(similarity.ravel())
    refused = np.searchsorted(genuine, values, "left") / len(genuine)
    accepted = 1 - np.searchsorted(impostors, values, "left") / len(impostors)
    at = np.abs(refused - accepted).argmin()
    rate, threshold = verify(query, gallery).eer
    assert abs(rate - (refused[at] + accepted[at]) / 2) < 1e-3
    assert abs(threshold - values[at]) < 2e-3


def test_weighted_rates_equal_repeated_people() -> None:
    """Drawing a person twice is the same as having that person twice, as two people."""
    query, gallery = random_sets(3, people=5)
    accepted = _accepted(query, gallery, _prepare(query, gallery, "market1501"), 0.2)
    similarity, same, counts = all_pairs(query, gallery)
    clusters = np.unique(
        np.concatenate(
            [
                query.person_id,
                np.where(gallery.person_id > 0, gallery.person_id, -2 - np.arange(len(gallery))),
            ]
        )
    )
    weights = generator(0, "weights").integers(0, 3, len(clusters))
    asked = weights[np.searchsorted(clusters, query.person_id)]
    rows = weights[
        np.searchsorted(
            clusters, np.where(gallery.person_id > 0, gallery.person_id, -2 - np.arange(len(gallery)))
        )
    ]
    pair = np.where(same, asked[:, None], asked[:, None] * rows)
    near = similarity >= np.float32(0.2)
    rates = accepted.rates(weights[None])[0]
    impostors, genuine = ~same & counts, same & counts
    # the product of weights counts a person's own removed pairs out, like the pairs of one person
    assert rates[0] == pytest.approx((pair * (near & impostors)).sum() / (pair * impostors).sum())
    assert rates[1] == pytest.approx((pair * (near & genuine)).sum() / (pair * genuine).sum())


def test_threshold_choice_is_repeatable_and_ordered() -> None:
    query, gallery = random_sets(5, 60, 200, 12)
    first, again = (choose_threshold(query, gallery, far=0.05, repeats=120) for _ in range(2))
    assert first == again
    assert first.far_interval[0] <= first.far <= first.far_interval[1] and first.far <= 0.05
    assert first.tar_interval[0] <= first.tar <= first.tar_interval[1]
    result = verify(query, gallery)
    assert first.far == pytest.approx(result.far(first.threshold), abs=1e-3)
    assert first.tar == pytest.approx(result.tar(first.threshold), abs=1e-3)
    wide = choose_threshold(query, gallery, far=0.05, confidence=0.99, repeats=400)
    assert wide.far_interval[1] - wide.far_interval[0] >= first.far_interval[1] - first.far_interval[0]


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.floats(-1, 1))
def test_identification_equals_a_loop(seed: int, threshold: float) -> None:
    query, gallery = random_sets(seed)
    unknown = [2, 4]
    similarity, same, counts = all_pairs(query, gallery)
    counts &= ~np.isin(gallery.person_id, unknown)
    known, found, strangers, returned = 0, 0, 0, 0
    for q in range(len(query)):
        own = similarity[q, counts[q] & same[q]].max(initial=-np.inf)
        other = similarity[q, counts[q] & ~same[q]].max(initial=-np.inf)
        if np.isfinite(own):
            known, found = known + 1, found + (own >= threshold and own > other + 1e-6)
        else:
            strangers, returned = strangers + 1, returned + (other >= threshold)
    if not known or not strangers:
        with pytest.raises(DataError, match="both known people and strangers are needed"):
            identify(query, gallery, unknown=unknown)
        return
    result = identify(query, gallery, unknown=unknown)
    assert (len(result.own), len(result.stranger)) == (known, strangers)
    near = min(np.abs(np.concatenate([result.own, result.stranger]) - threshold).min(), 1)
    ties = np.abs(result.own - result.other).min()
    if near > 1e-6 and ties > 1e-6:
        assert result.fpir(threshold) == pytest.approx(returned / strangers)
        assert result.fnir(threshold) == pytest.approx(1 - found / known)


def test_thresholds_of_identification() -> None:
    query, gallery = random_sets(8, 80, 300, 20)
    result = identify(query, gallery, unknown=0.5)
    for fpir in (0.0, 0.03, 0.5):
        threshold = result.threshold_at(fpir)
        assert result.fpir(threshold) <= fpir
        assert result.fpir(np.nextafter(np.float32(threshold), np.float32(-2))) > fpir
    same = identify(query, gallery, unknown=0.5)
    assert (same.own == result.own).all()
    assert len(identify(query, gallery, unknown=0.5, seed=1).own) > 0


def test_json_holds_the_curve() -> None:
    result = verify(*random_sets(2, 30, 200))
    values = json.loads(json.dumps(result.to_dict()))
    assert values["num_genuine"] == result.num_genuine
    assert values["table"][0]["TAR"] == pytest.approx(result.tar(result.threshold_at(0.1)), abs=1e-9)
    assert len(values["curve"]) == 200


def test_bad_arguments_are_told() -> None:
    query, gallery = random_sets(2, 30, 200)
    with pytest.raises(ConfigError, match="the false-accept rate is 1"):
        verify(query, gallery).threshold_at(1)
    with pytest.raises(ConfigError, match="confidence is 1"):
        choose_threshold(query, gallery, confidence=1)
    with pytest.raises(ConfigError, match="unknown rule 'x'"):
        verify(query, gallery, rule="x")
    with pytest.raises(DataError, match="query row 0 has length"):
        verify(EmbeddingSet(2 * query.embeddings, query.person_id, query.camera_id), gallery)
    with pytest.raises(DataError, match="nobody is left"):
        identify(query, EmbeddingSet(gallery.embeddings[:1], [1], [0]), unknown=[1])
