"""Expansion, camera bias, sparse Jaccard and graph convolution against dense code."""

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.cluster import DBSCAN
from test_rerank import KINDS, draw_vectors, expanded, jaccard, squared

from reidkit.core import DataError
from reidkit.metrics.ranking import EmbeddingSet, evaluate
from reidkit.neighbors.graph import build_graph
from reidkit.retrieval.expansion import (
    CameraBias,
    augment,
    convolution_blocks,
    convolve,
    expand_queries,
    jaccard_distances,
)


def spcl(vectors: np.ndarray, k1: int, k2: int) -> np.ndarray:
    """SpCL's compute_jaccard_distance, dense."""
    squares = squared(vectors.astype(np.float32), vectors.astype(np.float32))
    rank = np.argsort(squares, axis=1, kind="stable")[:, :k1]
    V = np.zeros_like(squares)
    for i in range(len(squares)):
        chosen = expanded(rank, i, k1, 0)
        weight = np.exp(-squares[i, chosen])
        V[i, chosen] = weight / np.sum(weight)
    if k2 != 1:
        V = np.stack([np.mean(V[rank[i, :k2], :], axis=0) for i in range(len(squares))])
    return np.maximum(jaccard(V, len(V)), 0)


@settings(max_examples=40, deadline=None)
@given(
    st.integers(0, 2**32 - 1),
    st.sampled_from(KINDS),
    st.integers(2, 80),
    st.sampled_from([(20, 6), (7, 2), (5, 1), (100, 80)]),
    st.sampled_from([1.0, 0.6]),
)
def test_sparse_jaccard_equals_the_dense_matrix(
    seed: int, kind: str, number: int, ks: tuple[int, int], limit: float
) -> None:
    vectors = draw_vectors(seed, number, kind)
    dense = spcl(vectors, *ks)
    sparse = jaccard_distances(build_graph(vectors, max(ks)), *ks, limit=limit).tocoo()
    np.testing.assert_allclose(
        sparse.data[sparse.row != sparse.col],
        dense[sparse.row, sparse.col][sparse.row != sparse.col],
        atol=1e-6,
    )
    missing = np.ones_like(dense, dtype=bool)
    missing[sparse.row, sparse.col] = False
    np.fill_diagonal(missing, False)
    assert (dense[missing] > limit - 1e-6).all()


def test_dbscan_takes_the_sparse_matrix_and_finds_the_same_clusters() -> None:
    draw = np.random.default_rng(0)
    vectors = np.repeat(draw.normal(size=(30, 32)), 12, axis=0) + 0.7 * draw.normal(size=(360, 32))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    dense = spcl(vectors, 20, 6)
    np.fill_diagonal(dense, 0)
    graph = build_graph(vectors, 21)
    cluster = DBSCAN(eps=0.5, min_samples=4, metric="precomputed")
    for limit in (1.0, 0.55):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            labels = cluster.fit_predict(jaccard_distances(graph, limit=limit))
        assert labels.max() > 10
        assert (labels == cluster.fit_predict(dense.astype(np.float64))).all()


def test_zero_vectors_stay_zero_or_are_pulled_nowhere() -> None:
    gallery = np.eye(4, dtype=np.float32)
    out = expand_queries(np.zeros((1, 4)), gallery, k=2)
    assert (out == 0).all()  # no similarity, no weight
    assert np.allclose(np.linalg.norm(augment(build_graph(gallery, 4), k=2), axis=1), 1)


def test_expansion_is_independent_of_the_other_queries() -> None:
    vectors = draw_vectors(1, 100, "random").astype(np.float32)
    alone = expand_queries(vectors[:1], vectors[20:], 5)
    together = expand_queries(vectors[:20], vectors[20:], 5)
    np.testing.assert_allclose(alone[0], together[0], atol=1e-6)


def test_camera_bias_fitted_on_the_gallery_ignores_the_queries_and_raises_rank_1() -> None:
    draw = np.random.default_rng(2)
    people, cameras = draw.normal(size=(40, 32)), 1.5 * draw.normal(size=(4, 32))

    def sighting(rows: int) -> EmbeddingSet:
        person, camera = draw.integers(0, 40, rows), draw.integers(0, 4, rows)
        vectors = people[person] + cameras[camera] + 0.6 * draw.normal(size=(rows, 32))
        return EmbeddingSet(vectors, person + 1, camera).normalised()

    query, gallery = sighting(100), sighting(1500)
    for ridge in (None, 0.05):
        bias = CameraBias.fit(gallery.embeddings, gallery.camera_id, ridge)
        centred = bias.centre(gallery.embeddings, gallery.camera_id)
        for camera in range(4):
            assert np.abs(centred[gallery.camera_id == camera].mean(axis=0)).max() < 1e-5
        sides = [
            EmbeddingSet(bias.remove(s.embeddings, s.camera_id), s.person_id, s.camera_id)
            for s in (query, gallery)
        ]
        assert evaluate(sides[0], sides[1]).rank1 > evaluate(query, gallery).rank1 + 0.2
        one = bias.remove(query.embeddings[:1], query.camera_id[:1])
        np.testing.assert_allclose(one[0], sides[0].embeddings[0], atol=1e-6)
    with pytest.raises(DataError, match="camera 9"):
        bias.remove(query.embeddings[:1], np.array([9]))


@pytest.mark.parametrize("k2", [1, 3])
def test_convolution_blocks_are_one_minus_the_products(k2: int) -> None:
    vectors = draw_vectors(3, 120, "random").astype(np.float32)
    graph = build_graph(vectors, 12)
    rows = convolve(graph, 10, k2).toarray()
    blocks = np.concatenate([b for *_, b in convolution_blocks(graph, 30, 10, k2)])
    np.testing.assert_allclose(blocks, 1 - rows[:30] @ rows[30:].T, atol=1e-5)
