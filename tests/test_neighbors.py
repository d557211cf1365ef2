"""Distance rows on every back end, precision and device, and the neighbour graph in all its ways."""

import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from reidkit.core import ConfigError, DataError, MismatchError
from reidkit.neighbors import screen as screens
from reidkit.neighbors.graph import KnnGraph, build_graph, build_graph_in, extend
from reidkit.neighbors.grouped import build_graph_approximate
from reidkit.neighbors.stream import (
    BACKENDS,
    METRICS,
    PRECISIONS,
    available_backends,
    distance_blocks,
    error_bound,
    pick_device,
)

needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")


def exact(query: np.ndarray, gallery: np.ndarray, metric: str) -> np.ndarray:
    a, b = query.astype(np.float64), gallery.astype(np.float64)
    if metric == "sqeuclidean":
        return ((a[:, None] - b[None]) ** 2).sum(-1)
    return (1 if metric == "cosine" else 0) - a @ b.T


def hard_vectors(seed: int, number: int, dimension: int) -> np.ndarray:
    """Values just between two bfloat16 numbers, all of one sign: roundings add up instead of cancelling."""
    draw = np.random.default_rng(seed)
    bits = draw.integers(0, 128, (number, dimension)).astype(np.uint32) << 16
    bits += np.uint32(0x3F800000) + np.uint32(0x7FFF)
    return bits.view(np.float32) * np.float32(draw.choice([0.1, 1, 7]))


@settings(max_examples=30, deadline=None)
@given(
    st.integers(0, 2**32 - 1),
    st.integers(1, 300),
    st.sampled_from(METRICS),
    st.sampled_from(PRECISIONS),
    st.booleans(),
)
def test_rows_stay_within_their_bound(
    seed: int, dimension: int, metric: str, precision: str, hard: bool
) -> None:
    draw = np.random.default_rng(seed)
    make = hard_vectors if hard else lambda s, n, d: draw.normal(size=(n, d)).astype(np.float32)
    query, gallery = make(seed, 20, dimension), make(seed + 1, 40, dimension)
    norms = (float(np.linalg.norm(side, axis=1).max()) for side in (query, gallery))
    bound = error_bound(dimension, metric, *norms, precision=precision)
    rows = next(distance_blocks(query, gallery, metric, precision=precision, device="cpu"))[2]
    assert np.abs(rows - exact(query, gallery, metric)).max() <= bound


@pytest.mark.parametrize("backend", list(BACKENDS))
@pytest.mark.parametrize("metric", METRICS)
def test_every_backend_makes_the_same_rows(backend: str, metric: str) -> None:
    draw = np.random.default_rng(0)
    query, gallery = draw.normal(size=(33, 20)), draw.normal(size=(70, 20))
    rows = np.concatenate(
        [r for *_, r in distance_blocks(query, gallery, metric, block=7, backend=backend, device="cpu")]
    )
    expected = exact(query.astype(np.float32), gallery.astype(np.float32), metric)
    np.testing.assert_allclose(rows, expected, atol=2e-5)


def test_torch_is_not_asked_when_it_may_round() -> None:
    torch.set_float32_matmul_precision("medium")
    try:
        assert available_backends() == ["numpy"]
    finally:
        torch.set_float32_matmul_precision("highest")


def test_auto_device_imports_nothing() -> None:
    code = (
        "import sys, numpy; from reidkit.neighbors.stream import distance_blocks;"
        "next(distance_blocks(numpy.eye(3), numpy.eye(3))); assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    assert pick_device("cpu") == "cpu"
    with pytest.raises(ConfigError):
        pick_device("tpu")


@needs_cuda
@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("precision", PRECISIONS)
def test_cuda_rows_stay_within_their_bound(metric: str, precision: str) -> None:
    draw = np.random.default_rng(4)
    query, gallery = (draw.normal(size=(n, 512)).astype(np.float32) for n in (100, 3000))
    norms = (float(np.linalg.norm(side, axis=1).max()) for side in (query, gallery))
    bound = error_bound(512, metric, *norms, precision=precision)
    torch.backends.cuda.matmul.allow_tf32 = True
    try:
        rows = np.concatenate(
            [r for *_, r in distance_blocks(query, gallery, metric, 33, precision=precision, device="cuda")]
        )
        assert torch.backends.cuda.matmul.allow_tf32
    finally:
        torch.backends.cuda.matmul.allow_tf32 = False
    assert np.abs(rows - exact(query, gallery, metric)).max() <= bound


def draw_vectors(seed: int, number: int, kind: str, dimension: int = 8) -> np.ndarray:
    draw = np.random.default_rng(seed)
    if kind == "tied":
        return draw.choice([-0.5, 0.5], (number, 4)).astype(np.float32)
    vectors = draw.normal(size=(number, dimension)).astype(np.float32)
    if kind == "duplicates":
        vectors = vectors[draw.integers(0, max(number // 20, 1), number)]
    if kind == "positive":  # like the output of a ReLU: a crowded far end, lengths of 1 to 40
        vectors = np.maximum(vectors, 0) * draw.uniform(1, 40, (number, 1)).astype(np.float32)
    return vectors


KINDS = ["random", "tied", "duplicates", "positive"]


def by_definition(vectors: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    distances = np.round(exact(vectors, vectors, "sqeuclidean"), 12)
    return np.argsort(distances, axis=1, kind="stable")[:, :k], distances.max(axis=1)


def assert_equal(graph: KnnGraph, neighbours: np.ndarray, farthest: np.ndarray) -> None:
    assert (graph.neighbours == neighbours).all()
    np.testing.assert_allclose(graph.farthest, farthest, rtol=1e-6, atol=1e-6)


def fields(graph: KnnGraph) -> list[np.ndarray]:
    return [graph.vectors, graph.neighbours, graph.distances, graph.farthest]


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 2**32 - 1),
    st.sampled_from(KINDS),
    st.integers(1, 500),
    st.integers(1, 90),
    st.sampled_from(PRECISIONS),
    st.sampled_from([7, 64, 2048]),
)
def test_every_screen_gives_the_exact_graph(
    seed: int, kind: str, number: int, k: int, precision: str, tile: int
) -> None:
    vectors = draw_vectors(seed, number, kind)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(screens, "TILE", max(tile, number // 12))
        graph = build_graph(vectors, k, precision=precision, device="cpu")
    assert_equal(graph, *by_definition(vectors, k))


def test_crowded_buffers_fall_back() -> None:
    vectors = np.repeat(draw_vectors(0, 4, "random"), 300, axis=0)
    screen = screens.make_screen(vectors, "bfloat16", device="cpu")
    assert screens.screen_all(screen, 21).lost.all()
    assert_equal(build_graph(vectors, 21, precision="bfloat16"), *by_definition(vectors, 21))


@settings(max_examples=40, deadline=None)
@given(
    st.integers(0, 2**32 - 1),
    st.sampled_from(KINDS),
    st.integers(2, 400),
    st.integers(1, 200),
    st.integers(1, 30),
)
def test_extending_equals_rebuilding(seed: int, kind: str, number: int, more: int, k: int) -> None:
    k = min(k, number)
    vectors = draw_vectors(seed, number + more, kind)
    whole = build_graph(vectors, k)
    grown = extend(build_graph(vectors[:number], k), vectors[number:])
    assert all((a == b).all() for a, b in zip(fields(whole), fields(grown), strict=True))


def test_a_saved_graph_is_the_same_and_damage_is_named(tmp_path: Path) -> None:
    graph = build_graph(draw_vectors(1, 50, "random"), 7)
    graph.recall = 0.75
    again = KnnGraph.load(graph.save(tmp_path / "a graph"))
    assert again.recall == 0.75
    assert all((a == b).all() for a, b in zip(fields(graph), fields(again), strict=True))
    (tmp_path / "a graph" / "vectors.npy").write_bytes(b"short")
    with pytest.raises(DataError, match="damaged graph"):
        KnnGraph.load(tmp_path / "a graph")
    (tmp_path / "a graph" / "manifest.json").write_text('{"format": "something"}')
    with pytest.raises(MismatchError, match="not a reidkit-graph"):
        KnnGraph.load(tmp_path / "a graph")


def test_a_killed_build_goes_on_where_it_was(tmp_path: Path) -> None:
    vectors = draw_vectors(3, 3000, "random", 64)
    np.save(tmp_path / "vectors.npy", vectors)
    code = (
        "import sys, time, numpy; from reidkit.neighbors import graph as g; finish = g._finish\n"
        "def slow(*a):\n    time.sleep(0.3)\n    return finish(*a)\n"
        "g._finish = slow\n"
        f"g.build_graph_in({str(tmp_path / 'parts')!r}, numpy.load({str(tmp_path / 'vectors.npy')!r}), 9, rows=250)"
    )
    finished: list[int] = []
    for _ in range(3):
        process = subprocess.Popen([sys.executable, "-c", code])
        deadline = time.monotonic() + 120
        known = len(list(tmp_path.glob("parts/*.npz")))
        while len(list(tmp_path.glob("parts/*.npz"))) < known + 2 and time.monotonic() < deadline:
            time.sleep(0.02)
        process.kill()
        process.wait()
        finished.append(len(list(tmp_path.glob("parts/0*.npz"))))
    assert 2 <= finished[0] < finished[1] < finished[2] < 12
    before = {path: path.stat().st_mtime_ns for path in tmp_path.glob("parts/0*.npz")}
    graph = build_graph_in(tmp_path / "parts", vectors, 9, rows=250)
    assert all(path.stat().st_mtime_ns == when for path, when in before.items())
    assert all((a == b).all() for a, b in zip(fields(graph), fields(build_graph(vectors, 9)), strict=True))
    with pytest.raises(MismatchError, match="another graph"):
        build_graph_in(tmp_path / "parts", vectors, 8, rows=250)


@needs_cuda
@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("kind", KINDS)
def test_a_graph_made_on_cuda_is_the_same(precision: str, kind: str) -> None:
    vectors = draw_vectors(5, 5000, kind, 256)
    there = build_graph(vectors, 21, precision=precision, device="cuda")
    here = build_graph(vectors, 21, precision="float32", device="cpu")
    assert all((a == b).all() for a, b in zip(fields(there), fields(here), strict=True))


@settings(max_examples=25, deadline=None)
@given(
    st.integers(0, 2**32 - 1),
    st.sampled_from(KINDS),
    st.integers(40, 500),
    st.integers(1, 40),
    st.sampled_from(PRECISIONS),
)
def test_an_approximate_graph_holds_real_distances_and_all_groups_make_it_exact(
    seed: int, kind: str, number: int, k: int, precision: str
) -> None:
    vectors = draw_vectors(seed, number, kind)
    groups = max(1, number // 50)
    graph = build_graph_approximate(vectors, k, groups, probes=1, precision=precision)
    plain = build_graph_approximate(vectors, k, groups, probes=1, rounds=0, precision=precision)
    assert (graph.distances <= plain.distances).all()  # friends of friends only improve a list
    true = exact(vectors, vectors, "sqeuclidean")
    listed = np.take_along_axis(true, graph.neighbours.astype(np.int64), axis=1)
    np.testing.assert_allclose(graph.distances, listed, rtol=1e-6, atol=1e-6)
    assert all(len(set(row)) == graph.k for row in graph.neighbours.tolist())
    assert 0 < graph.recall <= 1
    full = build_graph_approximate(vectors, k, groups, probes=groups, precision=precision)
    assert full.recall == 1 and (full.neighbours == by_definition(vectors, k)[0]).all()
    with pytest.raises(ConfigError, match="approximate"):
        graph.recall = 0.5
        extend(graph, vectors[:1])
