"""Ranking metrics against brute force: random and tied inputs, and the real label structures."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reidkit.core import DataError
from reidkit.metrics.ranking import (
    RULES,
    EmbeddingSet,
    Labels,
    RankingResult,
    Rule,
    average_precision,
    evaluate,
    evaluate_distances,
    inverse_negative_penalty,
)
from reidkit.neighbors.stream import DenseSink, TopKSink, distance_blocks, stream


def by_sorting(distances: np.ndarray, query: Labels, gallery: Labels, rule: Rule) -> dict[str, object]:
    """The metrics as everybody first writes them: stable argsort, delete, look up."""
    first, precisions, penalties = [], [], []
    for q in range(len(query)):
        order = np.argsort(distances[q], kind="stable")
        person, camera = gallery.person_id[order], gallery.camera_id[order]
        keep = np.ones(len(order), bool)
        if rule.drop_junk:
            keep &= person != -1
        if rule.drop_queries and query.sequence_id is not None and gallery.sequence_id is not None:
            names = set(zip(query.person_id, query.camera_id, query.sequence_id, strict=True))
            rows = zip(person, camera, gallery.sequence_id[order], strict=True)
            keep &= np.array([row not in names for row in rows])
        if rule.drop_same_camera:
            keep &= (person != query.person_id[q]) | (camera != query.camera_id[q])
        ranks = np.flatnonzero(person[keep] == query.person_id[q]) + 1
        if len(ranks):
            first.append(ranks[0])
            precisions.append(average_precision(ranks, rule.average_precision))
            penalties.append(inverse_negative_penalty(ranks))
    divisor = max(len(first), 1) if rule.skip_unmatched else len(query)
    cmc = np.array([sum(rank <= k for rank in first) / divisor for k in range(1, 51)])
    return {
        "cmc": cmc,
        "mAP": sum(precisions) / divisor,
        "mINP": sum(penalties) / divisor,
        "valid": len(first),
    }


def assert_equal(result: RankingResult, expected: dict[str, object], tolerance: float = 1e-12) -> None:
    assert result.num_valid == expected["valid"]
    np.testing.assert_allclose(result.cmc, expected["cmc"], atol=tolerance)
    np.testing.assert_allclose([result.mAP, result.mINP], [expected["mAP"], expected["mINP"]], atol=tolerance)
    assert result.rank1 == result.cmc[0] and result.rank5 == result.cmc[4] and result.rank10 == result.cmc[9]


def draw_labels(draw: np.random.Generator, rows: int, lowest: int) -> Labels:
    return Labels(draw.integers(lowest, 6, rows), draw.integers(0, 3, rows), draw.integers(0, 8, rows))


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 2**32 - 1),
    st.sampled_from(sorted(RULES)),
    st.integers(1, 12),
    st.integers(1, 60),
    st.booleans(),
)
def test_distances_equal_sorting(seed: int, rule: str, queries: int, rows: int, tied: bool) -> None:
    draw = np.random.default_rng(seed)
    query, gallery = draw_labels(draw, queries, 1), draw_labels(draw, rows, -1)
    distances = draw.random((queries, rows), dtype=np.float32)
    if tied:
        distances = np.round(distances, 1)
    expected = by_sorting(distances, query, gallery, RULES[rule])
    if expected["valid"] == 0:
        with pytest.raises(DataError, match="no query has a match"):
            evaluate_distances(distances, query, gallery, rule)
    else:
        assert_equal(evaluate_distances(distances, query, gallery, rule), expected)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from(sorted(RULES)), st.integers(1, 40))
def test_embeddings_with_ties_equal_sorting_for_any_block(seed: int, rule: str, block: int) -> None:
    draw = np.random.default_rng(seed)
    sides = []
    for labels in (draw_labels(draw, 30, 1), draw_labels(draw, 80, -1)):
        vectors = draw.choice([-0.25, 0.25], (len(labels), 16))  # exact products, 17 different values
        sides.append(EmbeddingSet(vectors, labels.person_id, labels.camera_id, labels.sequence_id))
    query, gallery = sides
    expected = by_sorting(-(query.embeddings @ gallery.embeddings.T), query, gallery, RULES[rule])
    assert_equal(evaluate(query, gallery, rule, block=block), expected)


def test_duplicated_vectors_tie_although_a_float32_product_separates_them() -> None:
    draw = np.random.default_rng(0)
    half = draw.normal(size=(531, 333))
    gallery = EmbeddingSet(
        np.concatenate([half, half]), draw.integers(1, 20, 1062), draw.integers(0, 4, 1062)
    ).normalised()
    query = EmbeddingSet(
        draw.normal(size=(65, 333)), draw.integers(1, 20, 65), draw.integers(0, 4, 65)
    ).normalised()
    once = -(query.embeddings.astype(float) @ gallery.embeddings[:531].astype(float).T)
    expected = by_sorting(np.concatenate([once, once], axis=1), query, gallery, RULES["market1501"])
    for block in (1, 13, 64, None):
        assert_equal(evaluate(query, gallery, block=block), expected)


def test_result_is_json_and_names_its_protocol() -> None:
    query = EmbeddingSet(np.eye(4), [1, 2, 3, 4], [0, 0, 0, 0])
    gallery = EmbeddingSet(np.eye(4)[[0, 1, 2, 0, 3]], [1, 2, 3, 0, -1], [1, 1, 1, 1, 1])
    values = json.loads(json.dumps(evaluate(query, gallery).to_dict()))
    assert {"rank1", "rank5", "rank10", "mAP", "mINP", "rule", "protocol"} <= set(values)
    assert (values["num_queries"], values["num_valid"], values["num_gallery"]) == (4, 3, 4)
    assert (values["num_junk"], values["num_distractors"]) == (1, 1)
    assert values["rank1"] == values["mAP"] == 1.0
    assert "3 of 4 queries have a match" in values["protocol"]


def test_official_divides_by_all_queries_and_torchreid_by_the_valid() -> None:
    query = EmbeddingSet(np.eye(2), [1, 2], [0, 0])
    gallery = EmbeddingSet(np.eye(2), [1, 3], [1, 1])
    assert evaluate(query, gallery, "mars-official").rank1 == 0.5
    assert evaluate(query, gallery, "mars-torchreid").rank1 == 1.0


def test_zero_vectors_are_ordinary() -> None:
    query = EmbeddingSet(np.eye(3), [1, 2, 3], [0, 0, 0])
    gallery = EmbeddingSet(np.concatenate([np.zeros((1, 3)), np.eye(3)]), [1, 1, 2, 3], [1, 1, 1, 1])
    assert evaluate(query, gallery).rank1 == 1.0


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 30), st.integers(1, 200), st.integers(1, 40), st.booleans())
def test_top_k_equals_stable_argsort(seed: int, queries: int, rows: int, k: int, tied: bool) -> None:
    distances = np.random.default_rng(seed).random((queries, rows), dtype=np.float32)
    if tied:
        distances = np.round(distances, 1)
    sink = TopKSink(queries, rows, k)
    sink.consume(0, queries, distances)
    assert (sink.indices == np.argsort(distances, axis=1, kind="stable")[:, :k]).all()


@pytest.mark.parametrize("metric", ["inner", "cosine", "sqeuclidean"])
def test_sinks_see_every_row_once(metric: str) -> None:
    draw = np.random.default_rng(1)
    query, gallery = draw.normal(size=(37, 9)), draw.normal(size=(50, 9))
    dense = DenseSink(37, 50)
    stream(query, gallery, dense, metric=metric, block=8)
    blocks = np.concatenate([rows for *_, rows in distance_blocks(query, gallery, metric)])
    np.testing.assert_allclose(dense.distances, blocks, atol=1e-5)


def matlab(path: object) -> np.ndarray:
    from scipy.io import loadmat

    return next(value for name, value in loadmat(path).items() if not name.startswith("_"))


def pretend_vectors(person: np.ndarray, seed: int) -> np.ndarray:
    """Directions around one centre per person."""
    centres = np.random.default_rng(9).normal(size=(1600, 64))
    vectors = centres[person] + 1.2 * np.random.default_rng(seed).normal(size=(len(person), 64))
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


@pytest.mark.real
def test_market_labels(real_data) -> None:
    folder = real_data / "reid" / "market1501_labels"
    person, camera, rows_person, rows_camera = (
        matlab(folder / f"{name}.mat").ravel().astype(np.int64)
        for name in ("queryID", "queryCam", "testID", "testCam")
    )
    query = EmbeddingSet(pretend_vectors(person, 1), person, camera)
    gallery = EmbeddingSet(pretend_vectors(rows_person, 2), rows_person, rows_camera)
    result = evaluate(query, gallery)
    assert (result.num_valid, result.num_gallery, result.num_junk, result.num_distractors) == (
        3368,
        15913,
        3819,
        2798,
    )
    some = np.arange(0, 3368, 16)  # the twin sorts, so it gets a sixteenth
    part = EmbeddingSet(query.embeddings[some], person[some], camera[some])
    distances = -(part.embeddings.astype(float) @ gallery.embeddings.astype(float).T)
    assert_equal(evaluate(part, gallery), by_sorting(distances, part, gallery, RULES["market1501"]))
    np.testing.assert_allclose(
        result.queries.ap.to_numpy()[some].mean(),
        evaluate_distances(distances, part, gallery).mAP,
        atol=1e-12,
    )


@pytest.mark.real
@pytest.mark.parametrize(
    ("rule", "valid", "rows", "positives"),
    [("mars-official", 1980, 11310, 11.02), ("mars-torchreid", 1840, 9330, 8.47)],
)
def test_mars_labels(real_data, rule: str, valid: int, rows: int, positives: float) -> None:
    tracks = matlab(real_data / "reid" / "mars_info" / "tracks_test_info.mat").astype(np.int64)
    index = matlab(real_data / "reid" / "mars_info" / "query_IDX.mat").ravel().astype(np.int64) - 1
    person, camera = tracks[:, 2], tracks[:, 3]
    gallery = EmbeddingSet(pretend_vectors(np.abs(person), 3), person, camera, np.arange(len(person)))
    query = EmbeddingSet(gallery.embeddings[index], person[index], camera[index], index)
    result = evaluate(query, gallery, rule)
    assert (result.num_valid, result.num_gallery, result.num_distractors) == (valid, rows, 3248)
    assert round(result.queries.num_matches.mean(), 2) == positives
    if rule == "mars-official":  # the torchreid rule needs all queries to know what to drop
        some = np.arange(0, 1980, 12)
        query = EmbeddingSet(query.embeddings[some], person[index][some], camera[index][some], index[some])
        distances = -(query.embeddings.astype(float) @ gallery.embeddings.astype(float).T)
        assert_equal(evaluate(query, gallery, rule), by_sorting(distances, query, gallery, RULES[rule]))
