"""Verification at the size of Market-1501 and MSMT17: CPU seconds and memory, beside all pairs kept and sorted.

    python benchmarks/verification.py market
    python benchmarks/verification.py msmt17      # ours only: the pairs take 12 GB

The real label structures (see labels.py) with synthetic embeddings; set OMP_NUM_THREADS=1 for one core.
"""

import resource
import sys
import time

import numpy as np
from labels import NOISE, embedding_sets, label_structure, random_structure

from reidkit.metrics.verification import choose_threshold, identify, verify
from reidkit.neighbors.stream import distance_blocks


def measure(name: str, function, *arguments, **keywords):
    """Print CPU seconds and growth of the peak; give the result."""
    before, start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
    result = function(*arguments, **keywords)
    seconds = time.process_time() - start
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    print(f"{name:42s} {seconds:7.2f} cpu s   {grown:7.0f} MiB", flush=True)
    return result


def rows_alone(query, gallery) -> None:
    """The matrix product without anything else."""
    for _ in distance_blocks(query.embeddings, gallery.embeddings, "inner"):
        pass


def all_pairs_sorted(query, gallery) -> float:
    """TAR at FAR 1e-3 the usual way: every pair kept, scikit-learn's ROC."""
    from sklearn.metrics import roc_curve

    similarity = query.embeddings @ gallery.embeddings.T
    same = query.person_id[:, None] == gallery.person_id
    kept = (gallery.person_id != -1) & ~(same & (query.camera_id[:, None] == gallery.camera_id))
    far, tar, _ = roc_curve(same[kept], similarity[kept])
    return float(tar[np.searchsorted(far, 1e-3, "right") - 1])


def main() -> None:
    name = sys.argv[1] if len(sys.argv) > 1 else "market"
    query, gallery = embedding_sets(*label_structure(name), noise=NOISE[name])
    choose_threshold(*embedding_sets(*random_structure(20)), far=0.1, repeats=2)  # compiles
    print(f"{name}: {len(query)} × {len(gallery)}")
    measure("matrix product alone", rows_alone, query, gallery)
    result = measure("verify", verify, query, gallery)
    measure("choose_threshold (FAR 1e-3, 1000 draws)", choose_threshold, query, gallery)
    measure("identify", identify, query, gallery)
    ours = result.tar(result.threshold_at(1e-3))
    if name != "msmt17":
        theirs = measure("all pairs, scikit-learn's roc_curve", all_pairs_sorted, query, gallery)
        print(f"TAR at FAR 1e-3: {ours:.6f}, all pairs {theirs:.6f}")
    print(result.table().to_string())


if __name__ == "__main__":
    main()
