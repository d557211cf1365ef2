"""Re-ranking at the real size of public test sets: CPU seconds, peak memory, and the number that comes out.

    python benchmarks/reranking.py market            # beside the published dense code (8 GiB)
    python benchmarks/reranking.py msmt17            # under RLIMIT_DATA of 4 GiB
    python benchmarks/reranking.py extend            # 1,000 items into a graph of 100,000
    python benchmarks/reranking.py million --gallery 200000 --probes 0   # exact

Every line is a process of its own, one thread, kernels compiled before the clock starts. "extra" is the peak of
resident memory over what the process held before (embeddings and labels loaded, kernels warm).
"""

import os

os.environ.update({name: "1" for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")})

import argparse
import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from labels import NOISE, embedding_sets, label_structure, random_structure

from reidkit.core import generator
from reidkit.metrics.ranking import (
    EmbeddingSet,
    Labels,
    RankSink,
    evaluate,
    evaluate_distances,
    find_matches,
    get_rule,
    summarise,
)
from reidkit.neighbors.graph import build_graph, extend
from reidkit.neighbors.grouped import build_graph_approximate
from reidkit.neighbors.stream import TopKSink, stream
from reidkit.retrieval.rerank import rerank, rerank_stream

torch.set_num_threads(1)


def rerank_dense(q_g: np.ndarray, q_q: np.ndarray, g_g: np.ndarray, k1=20, k2=6, lam=0.3) -> np.ndarray:
    """Dialect A in the published order of operations: N² memory, loops over items."""
    query_num, all_num = q_g.shape[0], q_g.shape[0] + q_g.shape[1]
    original = np.concatenate(
        [np.concatenate([q_q, q_g], axis=1), np.concatenate([q_g.T, g_g], axis=1)], axis=0
    )
    original = np.power(original, 2).astype(np.float32)
    original = np.transpose(1.0 * original / np.max(original, axis=0))
    V = np.zeros_like(original).astype(np.float32)
    initial_rank = np.argsort(original).astype(np.int32)

    def mutual(i: int, k: int) -> np.ndarray:
        forward = initial_rank[i, :k]
        return forward[np.where(initial_rank[forward, :k] == i)[0]]

    for i in range(all_num):
        base = mutual(i, k1 + 1)
        expansion = base
        for candidate in base:
            own = mutual(candidate, int(np.around(k1 / 2.0)) + 1)
            if len(np.intersect1d(own, base)) > 2.0 / 3 * len(own):
                expansion = np.append(expansion, own)
        expansion = np.unique(expansion)
        weight = np.exp(-original[i, expansion])
        V[i, expansion] = 1.0 * weight / np.sum(weight)
    original = original[:query_num,]
    V_qe = np.zeros_like(V, dtype=np.float32)
    for i in range(all_num):
        V_qe[i, :] = np.mean(V[initial_rank[i, :k2], :], axis=0)
    V = V_qe
    del V_qe
    inverted = [np.where(V[:, i] != 0)[0] for i in range(all_num)]
    jaccard = np.zeros_like(original, dtype=np.float32)
    for i in range(query_num):
        smallest = np.zeros(shape=[1, all_num], dtype=np.float32)
        for column in np.where(V[i, :] != 0)[0]:
            rows = inverted[column]
            smallest[0, rows] = smallest[0, rows] + np.minimum(V[i, column], V[rows, column])
        jaccard[i] = 1 - smallest / (2.0 - smallest)
    return (jaccard * (1 - lam) + original * lam)[:query_num, query_num:]


def squared(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return ((a * a).sum(1)[:, None] + (b * b).sum(1)[None] - 2 * a @ b.T).clip(min=0)


Sides = tuple[EmbeddingSet, EmbeddingSet]
kept: list[np.ndarray] = []  # matrices that are scored after the clock has stopped


def dense(sides: Sides, dialect: str) -> dict:
    query, gallery = (side.embeddings for side in sides)
    kept.append(rerank_dense(squared(query, gallery), squared(query, query), squared(gallery, gallery)))
    return {}


def matrix(sides: Sides, dialect: str) -> dict:
    kept.append(rerank(sides[0].embeddings, sides[1].embeddings, dialect=dialect))
    return {}


def streamed(sides: Sides, dialect: str) -> dict:
    query, gallery = (side.labels() for side in sides)
    rule = get_rule("market1501")
    matches = find_matches(query, gallery, rule)
    sink = RankSink(matches)
    rerank_stream(sides[0].embeddings, sides[1].embeddings, sink, dialect=dialect)
    return {"mAP": summarise(sink.ranks, matches, query, gallery, rule).mAP}


def graph_only(sides: Sides, precision: str) -> dict:
    build_graph(np.concatenate([side.embeddings for side in sides]), 21, precision=precision)
    return {}


def plain(sides: Sides, dialect: str) -> dict:
    return {"mAP": evaluate(*sides).mAP}


JOBS: dict[str, Callable[[Sides, str], dict]] = {
    "dense": dense, "matrix": matrix, "streamed": streamed, "graph": graph_only, "plain": plain,
}  # fmt: skip


def resident() -> float:
    """MiB held now."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


def measured(job: Callable[[], dict]) -> dict:
    before, start = resident(), time.process_time()
    result = job()
    seconds = time.process_time() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return result | {"cpu s": round(seconds, 2), "extra GiB": round((peak - before) / 1024, 3)}


def warm() -> None:
    """Compile what there is to compile."""
    tiny = embedding_sets(*random_structure(10, 3, 3), dimension=16)
    for job, option in (("matrix", "A"), ("matrix", "B"), ("streamed", "A"), ("plain", "")):
        JOBS[job](tiny, option)
    for precision in ("float32", "bfloat16"):
        JOBS["graph"](tiny, precision)
    vectors = tiny[1].embeddings
    extend(build_graph(vectors[:-3], 5), vectors[-3:])
    build_graph_approximate(vectors, 5, 2, 1)
    rerank_stream(vectors[:5], vectors[5:], TopKSink(5, len(vectors) - 5, 3))


def one(job: str, name: str, dimension: int, option: str) -> dict:
    warm()
    sides = embedding_sets(*label_structure(name), dimension=dimension, noise=NOISE[name])
    kept.clear()
    result = measured(lambda: JOBS[job](sides, option))
    return result | ({"mAP": evaluate_distances(kept[0], *sides).mAP} if kept else {})


def in_a_process(job: str, name: str, dimension: int, option: str, limit_gib: float | None = None) -> None:
    """One line of the table."""

    def limit() -> None:
        if limit_gib:
            resource.setrlimit(resource.RLIMIT_DATA, (int(limit_gib * 2**30),) * 2)

    command = [sys.executable, __file__, "one", job, name, str(dimension), option]
    done = subprocess.run(command, preexec_fn=limit, capture_output=True, text=True)
    cap = f" under {limit_gib:g} GiB" if limit_gib else ""
    label = f"{name:8s} {dimension:5d}-d  {job:9s} {option:9s}{cap:14s}"
    tail = (done.stderr.strip().splitlines() or [""])[-1]
    print(label, done.stdout.strip() or f"failed: {tail}", flush=True)


def market(dimension: int) -> None:
    in_a_process("plain", "market", dimension, "-")
    in_a_process("dense", "market", dimension, "A")
    for dialect in "ABCD":
        in_a_process("matrix", "market", dimension, dialect)
    in_a_process("streamed", "market", dimension, "A")
    for precision in ("float32", "bfloat16"):
        in_a_process("graph", "market", dimension, precision)


def msmt17(dimension: int) -> None:
    in_a_process("plain", "msmt17", dimension, "-", 4)
    in_a_process("dense", "msmt17", dimension, "A", 20)
    for dialect in "ABC":
        in_a_process("streamed", "msmt17", dimension, dialect, 4)
    for precision in ("float32", "bfloat16"):
        in_a_process("graph", "msmt17", dimension, precision, 4)


def extension(dimension: int) -> None:
    """1,000 items into a graph of 100,000, and the same built anew."""
    warm()
    _, gallery = embedding_sets(*random_structure(4300, 6, 5), dimension=dimension)
    vectors = gallery.embeddings[:101_000]
    graph = build_graph(vectors[:100_000])
    grown, whole = [], []
    added = measured(lambda: grown.append(extend(graph, vectors[100_000:])) or {})
    rebuilt = measured(lambda: whole.append(build_graph(vectors)) or {})
    same = all(
        (getattr(grown[0], name) == getattr(whole[0], name)).all()
        for name in ("neighbours", "distances", "farthest")
    )
    print("extend by 1,000", added, "rebuild", rebuilt, "equal:", same)


def million(dimension: int, num_gallery: int, num_query: int, probes: int) -> None:
    """The graph, then the top 100 of every query re-ranked; 24 rows per person, 18 of them in the gallery."""
    warm()
    people = -(-num_gallery // 18)
    query, gallery = random_structure(people, 6, 4)
    some = generator(0, "queries").permutation(len(query))[:num_query]
    query = Labels(query.person_id[some], query.camera_id[some])
    gallery = Labels(gallery.person_id[:num_gallery], gallery.camera_id[:num_gallery])
    sides = embedding_sets(query, gallery, dimension=dimension, noise=1.2)
    q, g = (side.embeddings for side in sides)

    def precision(indices: np.ndarray) -> float:
        return round(float((gallery.person_id[indices[:, :20]] == query.person_id[:, None]).mean()), 4)

    graphs, sink, plain_sink = [], TopKSink(len(q), len(g), 100), TopKSink(len(q), len(g), 100)
    together = np.concatenate([q, g])
    del q, g
    q, g = together[:num_query], together[num_query:]
    sides = None

    def build() -> dict:
        graphs.append(
            build_graph_approximate(together, 21, probes=probes) if probes else build_graph(together)
        )
        return {}

    made, how = measured(build), f"{probes} probes" if probes else "exact"
    print(f"{num_query} x {num_gallery} {dimension}-d, {how}: graph", made, flush=True)
    done = measured(lambda: rerank_stream(q, g, sink, graph=graphs[0]) or {})
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(
        "re-ranked, top 100",
        done,
        f"peak of the process {peak:.2f} GiB, recall {graphs[0].recall:.3f}",
        flush=True,
    )
    stream(q, g, plain_sink, metric="inner")
    print(
        "precision of the first 20: before", precision(plain_sink.indices), "after", precision(sink.indices)
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=["market", "msmt17", "extend", "million", "one"])
    parser.add_argument("rest", nargs="*", help=argparse.SUPPRESS)
    parser.add_argument("--dimension", type=int, default=512)
    parser.add_argument("--gallery", type=int, default=1_000_000, help="of million")
    parser.add_argument("--queries", type=int, default=10_000, help="of million")
    parser.add_argument(
        "--probes", type=int, default=16, help="of million: groups each item looks into; 0: exact"
    )
    options = parser.parse_args()
    if options.what == "one":
        job, name, dimension, option = options.rest
        print(json.dumps(one(job, name, int(dimension), option)))
    elif options.what == "million":
        million(options.dimension, options.gallery, options.queries, options.probes)
    else:
        {"market": market, "msmt17": msmt17, "extend": extension}[options.what](options.dimension)


if __name__ == "__main__":
    main()
