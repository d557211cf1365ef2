"""What a sharded IVF-PQ index costs: seconds, bytes and recall, on one core.

    python benchmarks/shards.py                      # 500 000 crops, 512 dimensions
    python benchmarks/shards.py --crops 2000000 --lists 4096

Vectors are tight groups (ten crops of each person) around random directions, written to disk first: the
memory of the process is the index, not the data.
"""

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd

from reidkit.core import generator
from reidkit.retrieval.shards import DiskIndex, fill_shard, merge_shards, train_template


def write_vectors(path: Path, crops: int, dimension: int, noise: float = 0.7) -> np.ndarray:
    """float16 [N, d] unit vectors on disk, ten of each person, in random order."""
    vectors = np.lib.format.open_memmap(path, "w+", np.float16, (crops, dimension))
    people = generator(0, "order").permutation(np.arange(crops) // 10)
    centres = generator(0, "people").standard_normal((crops // 10 + 1, dimension), dtype=np.float32)
    draw = generator(0, "crops")
    for start in range(0, crops, 50_000):
        part = centres[people[start : start + 50_000]]
        part += noise * draw.standard_normal(part.shape, dtype=np.float32)
        vectors[start : start + len(part)] = part / np.linalg.norm(part, axis=1, keepdims=True)
    return vectors


def nearest(query: np.ndarray, vectors: np.ndarray, k: int) -> np.ndarray:
    """Exact nearest crops of each query, block by block."""
    best = np.full((len(query), k), -np.inf, np.float32)
    ids = np.zeros((len(query), k), np.int64)
    for start in range(0, len(vectors), 50_000):
        rows = query @ vectors[start : start + 50_000].astype(np.float32).T
        numbers = np.broadcast_to(np.arange(start, start + rows.shape[1]), rows.shape)
        rows, numbers = np.hstack([best, rows]), np.hstack([ids, numbers])
        chosen = np.argpartition(-rows, k - 1, axis=1)[:, :k]
        best, ids = np.take_along_axis(rows, chosen, 1), np.take_along_axis(numbers, chosen, 1)
    return ids


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--crops", type=int, default=500_000)
    parser.add_argument("--dimension", type=int, default=512)
    parser.add_argument("--lists", type=int, default=2048)
    parser.add_argument("--code-bytes", type=int, default=64)
    parser.add_argument("--queries", type=int, default=500)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        vectors = write_vectors(work / "vectors.npy", options.crops, options.dimension)
        sample = vectors[: 50 * max(options.lists, 256)].astype(np.float32)
        seconds: dict[str, float] = {}

        def timed(name: str, function, *arguments, **keywords):
            start = time.process_time()
            result = function(*arguments, **keywords)
            seconds[name] = time.process_time() - start
            return result

        index = timed("train", train_template, sample, work / "index", options.lists, options.code_bytes)
        half = options.crops // 2
        timed("fill, first half", fill_shard, index, "a", vectors[:half], 0)
        timed("fill, second half", fill_shard, index, "b", vectors[half:], half)
        merged = timed("merge", merge_shards, index, work / "merged")
        print(pd.Series(seconds, name="cpu s").round(1).to_string())
        size = sum(path.stat().st_size for path in merged.iterdir())
        print(f"{size / options.crops:.1f} bytes a crop on disk")
        disk = DiskIndex(merged)
        query = np.ascontiguousarray(vectors[: options.queries].astype(np.float32))
        exact, rows = nearest(query, vectors, 10), []
        for probes in (4, 16, 64, 256):
            for name, second in (("codes", None), ("second look", vectors)):
                start = time.process_time()
                found = disk.search(query, 10, probes, second)[1]
                spent = 1000 * (time.process_time() - start) / len(query)
                recall = np.mean([len(set(a) & set(b)) / 10 for a, b in zip(found, exact, strict=True)])
                rows.append((probes, name, round(spent, 2), round(float(recall), 3)))
        print(
            pd.DataFrame(rows, columns=["probes", "", "cpu ms a query", "recall@10"]).to_string(index=False)
        )


if __name__ == "__main__":
    main()
