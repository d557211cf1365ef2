"""Sparse re-ranking and the neighbour graph against dense code, on random, tied and duplicated vectors."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reidkit.core import ConfigError, DataError
from reidkit.metrics.ranking import EmbeddingSet, RankSink, evaluate_distances, find_matches, get_rule
from reidkit.neighbors.graph import build_graph, reciprocal
from reidkit.retrieval.rerank import rerank, rerank_blocks


def squared(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return ((a[:, None].astype(np.float64) - b[None]) ** 2).sum(-1).astype(np.float32)


def published(q_g: np.ndarray, q_q: np.ndarray, g_g: np.ndarray, k1: int, k2: int, lam: float) -> np.ndarray:
    """Dialect A as published: the order of operations of Zhong's code, with stable sorting."""
    original = np.concatenate(
        [np.concatenate([q_q, q_g], axis=1), np.concatenate([q_g.T, g_g], axis=1)], axis=0
    )
    original = np.power(original, 2).astype(np.float32)
    original = np.transpose(1.0 * original / np.max(original, axis=0))
    V = np.zeros_like(original).astype(np.float32)
    initial_rank = np.argsort(original, kind="stable").astype(np.int32)
    query_num, all_num = q_g.shape[0], len(original)
    for i in range(all_num):
        forward = initial_rank[i, : k1 + 1]
        backward = initial_rank[forward, : k1 + 1]
        k_reciprocal = forward[np.where(backward == i)[0]]
        expansion = k_reciprocal
        for candidate in k_reciprocal:
            half = int(np.around(k1 / 2.0)) + 1
            candidate_forward = initial_rank[candidate, :half]
            candidate_backward = initial_rank[candidate_forward, :half]
            candidate_reciprocal = candidate_forward[np.where(candidate_backward == candidate)[0]]
            shared = len(np.intersect1d(candidate_reciprocal, k_reciprocal))
            if shared > 2.0 / 3 * len(candidate_reciprocal):
                expansion = np.append(expansion, candidate_reciprocal)
        expansion = np.unique(expansion)
        weight = np.exp(-original[i, expansion])
        V[i, expansion] = 1.0 * weight / np.sum(weight)
    original = original[:query_num,]
    if k2 != 1:
        V = np.stack([np.mean(V[initial_rank[i, :k2], :], axis=0) for i in range(all_num)])
    inverted = [np.where(V[:, i] != 0)[0] for i in range(all_num)]
    jaccard = np.zeros_like(original, dtype=np.float32)
    for i in range(query_num):
        smallest = np.zeros(shape=[1, all_num], dtype=np.float32)
        for column in np.where(V[i, :] != 0)[0]:
            rows = inverted[column]
            smallest[0, rows] = smallest[0, rows] + np.minimum(V[i, column], V[rows, column])
        jaccard[i] = 1 - smallest / (2.0 - smallest)
    return (jaccard * (1 - lam) + original * lam)[:query_num, query_num:]


def published_from_vectors(
    query: np.ndarray, gallery: np.ndarray, k1: int, k2: int, lam: float
) -> np.ndarray:
    query, gallery = query.astype(np.float32), gallery.astype(np.float32)
    return published(squared(query, gallery), squared(query, query), squared(gallery, gallery), k1, k2, lam)


def draw_vectors(seed: int, number: int, kind: str) -> np.ndarray:
    draw = np.random.default_rng(seed)
    if kind == "tied":
        return draw.choice([-0.5, 0.5], (number, 4))
    vectors = draw.normal(size=(number, 8))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors[draw.integers(0, max(number // 3, 1), number)] if kind == "duplicates" else vectors


KINDS = ["random", "tied", "duplicates"]


@settings(max_examples=40, deadline=None, derandomize=True)
@given(
    st.integers(0, 2**32 - 1),
    st.sampled_from(KINDS),
    st.integers(4, 60),
    st.sampled_from(
        [(20, 6, 0.3), (15, 4, 0.5), (25, 6, 0.0), (7, 2, 1.0), (5, 1, 0.3), (1, 1, 0.0), (100, 80, 0.3)]
    ),
)
def test_equals_published_code(seed: int, kind: str, number: int, options: tuple[int, int, float]) -> None:
    vectors = draw_vectors(seed, number, kind)
    if len(np.unique(vectors, axis=0)) == 1:
        return  # all distances are zero: the published code divides by zero
    query, gallery = vectors[: number // 3], vectors[number // 3 :]
    expected = published_from_vectors(query, gallery, *options)
    np.testing.assert_allclose(rerank(query, gallery, *options), expected, atol=1e-5)


def test_200_items_with_the_usual_options() -> None:
    vectors = draw_vectors(1, 200, "random")
    ours = rerank(vectors[:50], vectors[50:])
    assert ours.dtype == np.float32 and ours.shape == (50, 150)
    np.testing.assert_allclose(
        ours, published_from_vectors(vectors[:50], vectors[50:], 20, 6, 0.3), atol=2e-6
    )


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
        ({"dialect": "E"}, ConfigError, "unknown dialect 'E'.*there is A"),
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
