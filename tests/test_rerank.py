"""Sparse re-ranking and the neighbour graph against dense code, on random, tied and duplicated vectors."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reidkit.core import ConfigError, DataError, MismatchError
from reidkit.metrics.ranking import EmbeddingSet, RankSink, evaluate_distances, find_matches, get_rule
from reidkit.neighbors.graph import build_graph, reciprocal
from reidkit.neighbors.stream import TopKSink
from reidkit.retrieval.rerank import DIALECTS, rerank, rerank_blocks, rerank_stream


def squared(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return ((a[:, None].astype(np.float64) - b[None]) ** 2).sum(-1).astype(np.float32)


Distances = tuple[np.ndarray, np.ndarray, np.ndarray]  # query–gallery, query–query, gallery–gallery


def joined(distances: Distances) -> np.ndarray:
    q_g, q_q, g_g = distances
    return np.concatenate([np.concatenate([q_q, q_g], axis=1), np.concatenate([q_g.T, g_g], axis=1)], axis=0)


def mutual(initial_rank: np.ndarray, i: int, k: int) -> np.ndarray:
    forward = initial_rank[i, :k]
    backward = initial_rank[forward, :k]
    return forward[np.where(backward == i)[0]]


def expanded(initial_rank: np.ndarray, i: int, k1: int, extra: int) -> np.ndarray:
    base = mutual(initial_rank, i, k1 + extra)
    expansion = base
    for candidate in base:
        own = mutual(initial_rank, candidate, int(np.around(k1 / 2)) + extra)
        if len(np.intersect1d(own, base)) > 2.0 / 3 * len(own):
            expansion = np.append(expansion, own)
    return np.unique(expansion)


def jaccard(V: np.ndarray, rows: int) -> np.ndarray:
    """The published inner loops, in the type of V."""
    number = len(V)
    inverted = [np.where(V[:, i] != 0)[0] for i in range(number)]
    result = np.zeros((rows, number), dtype=V.dtype)
    for i in range(rows):
        smallest = np.zeros(shape=[1, number], dtype=V.dtype)
        for column in np.where(V[i, :] != 0)[0]:
            items = inverted[column]
            smallest[0, items] = smallest[0, items] + np.minimum(V[i, column], V[items, column])
        result[i] = 1 - smallest / (2.0 - smallest)
    return result


def published_scaled(
    original: np.ndarray, queries: int, k1: int, k2: int, lam: float, kind: type
) -> np.ndarray:
    """Dialects A (float32) and B (float16) from the matrix they take their ranks from, with stable sorting."""
    original = np.transpose(1.0 * original / np.max(original, axis=0))
    V = np.zeros(original.shape, dtype=kind)
    initial_rank = np.argsort(original, kind="stable").astype(np.int32)
    for i in range(len(original)):
        expansion = expanded(initial_rank, i, k1, 1)
        weight = np.exp(-original[i, expansion])
        V[i, expansion] = 1.0 * weight / np.sum(weight)
    if k2 != 1:
        V_qe = np.zeros_like(V)
        for i in range(len(original)):
            V_qe[i] = np.mean(V[initial_rank[i, :k2], :], axis=0)
        V = V_qe
    final = jaccard(V, queries) * (1 - lam) + original[:queries] * lam
    return final[:, queries:]


def published_a(distances: Distances, k1: int, k2: int, lam: float) -> np.ndarray:
    """Zhong's code: squared distances are squared again."""
    original = np.power(joined(distances), 2).astype(np.float32)
    return published_scaled(original, len(distances[0]), k1, k2, lam, np.float32)


def published_b(distances: Distances, k1: int, k2: int, lam: float) -> np.ndarray:
    """strong-baseline: squared distances once, float16."""
    return published_scaled(joined(distances), len(distances[0]), k1, k2, lam, np.float16)


def published_c(distances: Distances, k1: int, k2: int, lam: float) -> np.ndarray:
    """SpCL's compute_jaccard_distance, then the mix of fast-reid's evaluator (metric cosine)."""
    squares, queries = joined(distances), len(distances[0])
    initial_rank = np.argsort(squares, axis=1, kind="stable")[:, :k1]  # faiss returns k1
    V = np.zeros_like(squares)
    for i in range(len(squares)):
        k_reciprocal = expanded(initial_rank, i, k1, 0)
        weight = np.exp(-squares[i, k_reciprocal])
        V[i, k_reciprocal] = weight / np.sum(weight)
    if k2 != 1:
        V = np.stack([np.mean(V[initial_rank[i, :k2], :], axis=0) for i in range(len(squares))])
    distance = jaccard(V, queries)
    distance[distance < 0] = 0
    return (distance * (1 - lam) + squares[:queries] / 2 * lam)[:, queries:]


def published_d(distances: Distances, k1: int, k2: int, lam: float) -> np.ndarray:
    """layumi: from cosines; the first k1 + 1 sorted by partition."""
    cosines, queries = 1 - joined(distances) / 2, len(distances[0])
    original = np.power(2.0 - 2 * cosines, 2).astype(np.float32)
    return published_scaled(original, queries, k1, k2, lam, np.float32)


PUBLISHED = {"A": published_a, "B": published_b, "C": published_c, "D": published_d}


def published_from_vectors(
    query: np.ndarray, gallery: np.ndarray, k1: int, k2: int, lam: float, dialect: str = "A"
) -> np.ndarray:
    query, gallery = query.astype(np.float32), gallery.astype(np.float32)
    distances = squared(query, gallery), squared(query, query), squared(gallery, gallery)
    return PUBLISHED[dialect](distances, k1, k2, lam)


def draw_vectors(seed: int, number: int, kind: str) -> np.ndarray:
    draw = np.random.default_rng(seed)
    if kind == "tied":
        return draw.choice([-0.5, 0.5], (number, 4))
    vectors = draw.normal(size=(number, 8))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors[draw.integers(0, max(number // 3, 1), number)] if kind == "duplicates" else vectors


KINDS = ["random", "tied", "duplicates"]


@settings(max_examples=120, deadline=None, derandomize=True)
@given(
    st.sampled_from(list(DIALECTS)),
    st.integers(0, 2**32 - 1),
    st.sampled_from(KINDS),
    st.integers(4, 60),
    st.sampled_from(
        [(20, 6, 0.3), (15, 4, 0.5), (25, 6, 0.0), (7, 2, 1.0), (5, 1, 0.3), (1, 1, 0.0), (100, 80, 0.3)]
    ),
)
def test_equals_published_code(
    dialect: str, seed: int, kind: str, number: int, options: tuple[int, int, float]
) -> None:
    vectors = draw_vectors(seed, number, kind)
    if len(np.unique(vectors, axis=0)) == 1:
        return  # all distances are zero: the published code divides by zero
    query, gallery = vectors[: number // 3], vectors[number // 3 :]
    expected = published_from_vectors(query, gallery, *options, dialect)
    difference = np.abs(rerank(query, gallery, *options, dialect) - expected)
    if dialect == "B":  # a weight on the border between two float16 numbers may fall on either side
        assert (difference > 1e-6).mean() < 0.02 and difference.max() < 2e-3
    else:
        assert difference.max() < 1e-6


def test_200_items_with_the_usual_options() -> None:
    vectors = draw_vectors(1, 200, "random")
    for dialect in "ACD":
        ours = rerank(vectors[:50], vectors[50:], dialect=dialect)
        assert ours.dtype == np.float32 and ours.shape == (50, 150)
        expected = published_from_vectors(vectors[:50], vectors[50:], 20, 6, 0.3, dialect)
        np.testing.assert_allclose(ours, expected, atol=1e-6, rtol=0)


def test_a_ready_graph_gives_the_same_and_a_wrong_one_is_refused() -> None:
    vectors = draw_vectors(1, 200, "random").astype(np.float32)
    graph = build_graph(vectors, 30)
    for options in ({}, {"k1": 10, "k2": 3, "dialect": "C"}, {"dialect": "B"}):
        assert (
            rerank(vectors[:50], vectors[50:], **options)
            == rerank(vectors[:50], vectors[50:], graph=graph, **options)
        ).all()
    with pytest.raises(MismatchError, match="other vectors"):
        rerank(vectors[:50], vectors[60:], graph=graph)
    with pytest.raises(ConfigError, match="30 neighbours per item: build it with k = 41"):
        rerank(vectors[:50], vectors[50:], k1=40, graph=graph)


def test_top_k_is_the_head_of_the_sorted_rows() -> None:
    vectors = draw_vectors(1, 200, "duplicates")
    whole, best = rerank(vectors[:50], vectors[50:]), TopKSink(50, 150, 10)
    rerank_stream(vectors[:50], vectors[50:], best)
    assert (best.indices == np.argsort(whole, axis=1, kind="stable")[:, :10]).all()


def test_dialect_d_asks_for_unit_vectors() -> None:
    with pytest.raises(DataError, match="query row 0 has length 2"):
        rerank(2 * np.eye(3), np.eye(3), dialect="D")


def test_lambda_one_keeps_the_order() -> None:
    vectors = draw_vectors(2, 150, "random")
    order = np.argsort(squared(vectors[:30], vectors[30:]), axis=1, kind="stable")
    assert (
        np.argsort(rerank(vectors[:30], vectors[30:], lam=1.0), axis=1, kind="stable") == order
    ).mean() > 0.999


def test_identical_vectors_give_finite_distances() -> None:
    assert np.isfinite(rerank(np.ones((3, 4)) / 2, np.ones((9, 4)) / 2)).all()


def test_blocks_and_a_sink_never_hold_the_matrix() -> None:
    draw = np.random.default_rng(3)
    query, gallery = (
        EmbeddingSet(draw_vectors(seed, rows, "random"), draw.integers(1, 9, rows), draw.integers(0, 3, rows))
        for seed, rows in ((1, 40), (2, 200))
    )
    whole = rerank(query.embeddings, gallery.embeddings)
    sink = RankSink(find_matches(query.labels(), gallery.labels(), get_rule("market1501")))
    for start, stop, rows in rerank_blocks(query.embeddings, gallery.embeddings, block=7):
        np.testing.assert_allclose(rows, whole[start:stop], atol=1e-6)
        sink.consume(start, stop, np.ascontiguousarray(whole[start:stop]))
    ranks = sink.ranks[sink.matches.offsets[:-1][np.diff(sink.matches.offsets) > 0]]
    assert (ranks == 1).mean() == pytest.approx(evaluate_distances(whole, query, gallery).rank1)


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"dialect": "E"}, ConfigError, "unknown dialect 'E'.*choose one of A, B, C, D"),
        ({"k1": 0}, ConfigError, "k1 is 0"),
        ({"lam": -0.1}, ConfigError, "lam is -0.1"),
    ],
)
def test_bad_options_are_named(options: dict, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        rerank(np.eye(3), np.eye(3), **options)


def test_bad_vectors_are_named() -> None:
    broken = np.eye(3)
    broken[1, 1] = np.inf
    with pytest.raises(DataError, match="gallery row 1"):
        rerank(np.eye(3), broken)
    with pytest.raises(DataError, match="3 dimensions and gallery 4"):
        rerank(np.eye(3), np.eye(4))


@settings(max_examples=40, deadline=None)
@given(
    st.integers(0, 2**32 - 1),
    st.sampled_from(KINDS),
    st.integers(1, 80),
    st.integers(1, 90),
    st.integers(1, 40),
)
def test_graph_equals_sorting_for_any_block(seed: int, kind: str, number: int, k: int, block: int) -> None:
    vectors = draw_vectors(seed, number, kind).astype(np.float32)
    distances = ((vectors[:, None].astype(np.float64) - vectors[None]) ** 2).sum(-1)
    distances = np.round(distances, 12)  # the twin's own last bits are not what is tested
    graph = build_graph(vectors, k, block=block)
    assert (graph.neighbours == np.argsort(distances, axis=1, kind="stable")[:, :k]).all()
    np.testing.assert_allclose(graph.farthest, distances.max(axis=1), atol=1e-6)
    mutual = reciprocal(graph, k)
    for i, row in enumerate(graph.neighbours):
        assert [i in graph.neighbours[j] for j in row] == mutual[i].tolist()


def test_a_poor_graph_is_warned_of() -> None:
    vectors = draw_vectors(4, 60, "random").astype(np.float32)
    graph = build_graph(vectors, 21)
    graph.recall = 0.3
    with pytest.warns(UserWarning, match="30% of the true neighbours"):
        rerank(vectors[:10], vectors[10:], graph=graph)
