"""P×K sampling at the scale of system D, beside what the field's samplers do with the same labels.

    python benchmarks/sampler.py                              # 200 000 identities, 6 000 000 rows
    python benchmarks/sampler.py --identities 20000           # a tenth
    python benchmarks/sampler.py --torchreid SAMPLER.py       # also torchreid's own file, see below

Every sampler runs in a process of its own. `build` is the constructor, `first` the time to the first batch of
an epoch, `batch` the mean over the following ones; CPU seconds. `MiB` is how much the process's peak grew over
what the labels take.

fast-reid is not on PyPI and PaddleClas needs paddle, so their rules are written down here in our own words:
`as_paddleclas` (PKSampler with id_avg_prob: every batch is a fresh weighted draw from all identities) and
`as_fastreid` (BalancedIdentitySampler: rounds through all identities, an anchor and K − 1 rows of other
cameras). torchreid can be installed without its dependencies, and its sampler's file be used by itself:

    python -m venv /tmp/peers && /tmp/peers/bin/pip install --no-deps torchreid
    ls /tmp/peers/lib/python3*/site-packages/torchreid/reid/data/sampler.py
"""

import argparse
import importlib.util
import json
import os
import resource
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path

import numpy as np
import pandas as pd

from reidkit.core import generator
from reidkit.data.sampling import PKBatchSampler

P, K, ROWS_EACH, CAMERAS = 64, 4, 30, 6
Batches = Callable[[], Iterator[list[int]]]


def world(identities: int) -> tuple[np.ndarray, np.ndarray]:
    """Labels and cameras of all rows, shuffled."""
    labels = np.repeat(np.arange(identities), ROWS_EACH)
    stream = generator(0, "benchmark")
    stream.shuffle(labels)
    return labels, stream.integers(0, CAMERAS, len(labels))


def ours(labels: np.ndarray, cameras: np.ndarray) -> Batches:
    """PKBatchSampler."""
    return PKBatchSampler(labels, P, K).__iter__


def ours_weighted(labels: np.ndarray, cameras: np.ndarray) -> Batches:
    """PKBatchSampler with a weight of 4 for every eighth identity."""
    return PKBatchSampler(labels, P, K, weights=dict.fromkeys(range(0, labels.max(), 8), 4.0)).__iter__


def ours_by_camera(labels: np.ndarray, cameras: np.ndarray) -> Batches:
    """PKBatchSampler with cameras."""
    return PKBatchSampler(labels, P, K, cameras=cameras).__iter__


def rows_of(labels: np.ndarray) -> dict[int, list[int]]:
    """A list of rows for each label, as all three peers keep it."""
    rows = defaultdict(list)
    for row, label in enumerate(labels.tolist()):
        rows[label].append(row)
    return rows


def as_paddleclas(labels: np.ndarray, cameras: np.ndarray) -> Batches:
    """Each batch draws P identities by their probabilities, and K rows of each."""
    rows = rows_of(labels)
    names, chance = list(rows), np.full(len(rows), 1 / len(rows))

    def batches() -> Iterator[list[int]]:
        random = np.random.RandomState(0)
        for _ in range(len(labels) // (P * K)):
            batch: list[int] = []
            for name in random.choice(names, P, replace=False, p=chance):
                batch.extend(random.choice(rows[name], K, replace=len(rows[name]) < K))
            yield batch

    return batches


def as_fastreid(labels: np.ndarray, cameras: np.ndarray) -> Batches:
    """Round after round through all identities; an anchor, then rows that other cameras took."""
    rows, seen = rows_of(labels), {}
    for name, own in rows.items():
        seen[name] = [int(cameras[row]) for row in own]
    names = sorted(rows)

    def batches() -> Iterator[list[int]]:
        random = np.random.RandomState(0)
        while True:
            order = random.permutation(len(names))
            for start in range(0, len(order) - P + 1, P):
                batch: list[int] = []
                for name in (names[place] for place in order[start : start + P]):
                    own, where = rows[name], seen[name]
                    anchor = random.randint(len(own))
                    others = [i for i, camera in enumerate(where) if camera != where[anchor]]
                    others = others or [i for i in range(len(own)) if i != anchor] or [anchor]
                    more = random.choice(others, K - 1, replace=len(others) < K)
                    batch += [own[anchor], *(own[i] for i in more)]
                yield batch

    return batches


def torchreid(source: list[tuple[str, int, int]]) -> Batches:
    """torchreid's RandomIdentitySampler; it makes the whole epoch before its first row."""
    spec = importlib.util.spec_from_file_location("torchreid_sampler", os.environ["TORCHREID_SAMPLER"])
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    sampler = module.RandomIdentitySampler(source, P * K, K)

    def batches() -> Iterator[list[int]]:
        flat = iter(sampler)
        while batch := list(islice(flat, P * K)):
            yield batch

    return batches


SAMPLERS: dict[str, Callable[..., Batches]] = {
    f.__name__: f for f in (ours, ours_weighted, ours_by_camera, as_paddleclas, as_fastreid, torchreid)
}


def measure(name: str, identities: int, number: int = 200) -> dict:
    """Build one sampler, take some batches, and check that they are P×K."""
    labels, cameras = world(identities)
    given: tuple = (labels, cameras)
    if name == "torchreid":  # it samples from its dataset, a list with a tuple per row
        given = ([("", *row) for row in zip(labels.tolist(), cameras.tolist(), strict=True)],)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.process_time()
    make = SAMPLERS[name](*given)
    built = time.process_time()
    batches = make()
    next(batches)
    first = time.process_time()
    drawn = [next(batches) for _ in range(min(number, len(labels) // (P * K) - 1))]
    each = (time.process_time() - first) / len(drawn)
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    grids = labels[np.array(drawn)].reshape(len(drawn), P, K)
    assert (grids == grids[..., :1]).all() and all(len(set(grid[:, 0])) == P for grid in grids)
    seen = np.sort(cameras[np.array(drawn)].reshape(-1, K), axis=1)
    return {
        "sampler": name,
        "rows": len(labels),
        "build s": round(built - start, 2),
        "first s": round(first - built, 2),
        "batch ms": round(1000 * each, 3),
        "batches/s": round(1 / each),
        "MiB": round(grown),
        "cameras of 4": round(1 + (np.diff(seen, axis=1) != 0).sum(1).mean(), 2),
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", help=f"of: {', '.join(SAMPLERS)}; none: all but torchreid")
    parser.add_argument("--identities", type=int, default=200_000, help=f"each with {ROWS_EACH} rows")
    parser.add_argument("--torchreid", type=Path, help="torchreid's file sampler.py")
    parser.add_argument("--only-one", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if unknown := set(arguments.names) - set(SAMPLERS):
        parser.error(f"no sampler named {', '.join(sorted(unknown))}; there are {', '.join(SAMPLERS)}")
    if "torchreid" in arguments.names and not (arguments.torchreid or arguments.only_one):
        parser.error("torchreid needs --torchreid SAMPLER.py")
    if arguments.only_one:
        print(json.dumps(measure(arguments.names[0], arguments.identities)))
        return
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "TORCHREID_SAMPLER": str(arguments.torchreid or "")}
    rows = []
    for name in arguments.names or [name for name in SAMPLERS if name != "torchreid" or arguments.torchreid]:
        command = [sys.executable, __file__, name, "--only-one", "--identities", str(arguments.identities)]
        output = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
        if output.returncode:
            raise SystemExit(f"{name}: {output.stderr[-2000:]}")
        rows.append(json.loads(output.stdout.splitlines()[-1]))
    print(pd.DataFrame(rows).to_string(index=False))


if __name__ == "__main__":
    main()
