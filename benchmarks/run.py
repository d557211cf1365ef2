"""Speed and memory on this machine, as ratios against the slow twin or the peer, in one run.

    python benchmarks/run.py                 # every benchmark
    python benchmarks/run.py ranking mot     # some of them
    python benchmarks/run.py --json out.json

CPU seconds are summed over threads: they stay meaningful on a busy machine. Memory is the growth of the
process's peak during the call.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd

from reidkit.core import generator


def measure(function: Callable[[], object], repeats: int = 3) -> tuple[float, float, object]:
    """Best CPU seconds of some calls after a warm-up, growth of the peak in MiB, and the last result."""
    result = function()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    times = []
    for _ in range(repeats):
        start = time.process_time()
        result = function()
        times.append(time.process_time() - start)
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    return min(times), grown, result


def row(
    what: str, size: str, ours: tuple, theirs: tuple | None = None, peer: str = "", note: str = ""
) -> dict:
    """One line of the table."""
    ratio = f"{theirs[0] / ours[0]:.1f}×" if theirs else ""
    return {
        "what": what,
        "size": size,
        "cpu s": round(ours[0], 4),
        "peer": peer,
        "peer cpu s": round(theirs[0], 4) if theirs else "",
        "faster": ratio,
        "note": note,
    }


def random_sets(num_people: int, per_camera: int, dimension: int = 256):
    """Queries and gallery with Market-like structure: 6 cameras, one query per person and camera."""
    from reidkit.metrics.ranking import EmbeddingSet

    random = generator(0, "benchmark")
    person = np.repeat(np.arange(1, num_people + 1), 6 * per_camera)
    camera = np.tile(np.repeat(np.arange(6), per_camera), num_people)
    vectors = random.normal(size=(num_people, dimension))[person - 1] + random.normal(
        size=(len(person), dimension)
    )
    is_query = np.arange(len(person)) % per_camera == 0
    sets = [EmbeddingSet(vectors[m].astype(np.float32), person[m], camera[m]) for m in (is_query, ~is_query)]
    return sets[0].normalised(), sets[1].normalised()


def argsort_twin(query, gallery) -> float:
    """mAP by the Market rule, the usual way: a full matrix and a full sort per query."""
    distances = -(query.embeddings @ gallery.embeddings.T)
    precision = []
    for i, values in enumerate(distances):
        order = np.argsort(values, kind="stable")
        same = gallery.person_id[order] == query.person_id[i]
        kept = ~(same & (gallery.camera_id[order] == query.camera_id[i]))
        hits = same[kept]
        if hits.any():
            precision.append((np.cumsum(hits)[hits] / (np.flatnonzero(hits) + 1)).mean())
    return float(np.mean(precision))


def ranking() -> Iterator[dict]:
    """CMC, mAP and mINP from embeddings."""
    from reidkit.metrics.ranking import evaluate

    query, gallery = random_sets(500, 4)
    ours = measure(lambda: evaluate(query, gallery, rule="market1501").mAP)
    theirs = measure(lambda: argsort_twin(query, gallery), repeats=1)
    assert abs(ours[2] - theirs[2]) < 1e-6, "the two disagree"
    yield row(
        "evaluate",
        f"{len(query)}×{len(gallery)}",
        ours,
        theirs,
        "argsort twin",
        f"equal; {ours[1]:.0f} MiB extra",
    )


def reranking() -> Iterator[dict]:
    """k-reciprocal re-ranking, dialect A."""
    from reidkit.retrieval.rerank import rerank

    query, gallery = random_sets(150, 4)
    ours = measure(lambda: rerank(query.embeddings, gallery.embeddings), repeats=2)
    yield row(
        "rerank", f"{len(query)}×{len(gallery)}", ours, note=f"{ours[1]:.0f} MiB extra with the Q×G output"
    )


def rendering() -> Iterator[dict]:
    """Frames per second of the synthetic world, one core."""
    from reidkit.data.synth import World, render_frames

    world = World(seed=0)
    ours = measure(lambda: sum(1 for _ in render_frames(world, 0, 120, num_visible=8, seed=1)), repeats=2)
    yield row(
        "render_frames", "120 at 640×360, 8 people", ours, note=f"{120 / ours[0]:.0f} frames per CPU second"
    )


def synthetic_tracks(num_frames: int = 600, num_people: int = 30) -> np.ndarray:
    """MOTChallenge rows of people who walk straight on, with gaps."""
    random = generator(1, "tracks")
    start, step = random.uniform(0, 1000, (num_people, 2)), random.normal(0, 1.5, (num_people, 2))
    rows = []
    for frame in range(1, num_frames + 1):
        corner = start + step * frame + random.normal(0, 1, (num_people, 2))
        seen = np.flatnonzero(random.random(num_people) > 0.1)
        rows += [(frame, i + 1, *corner[i], 40, 100, 1, 1, 1) for i in seen]
    return np.array(rows)


def tracking() -> Iterator[dict]:
    """The tracker's step alone."""
    from reidkit.roi.boxes import Detections
    from reidkit.tracking.tracker import Tracker

    rows = synthetic_tracks()
    frames = []
    for _, group in pd.DataFrame(rows).groupby(0):
        boxes = group[[2, 3, 4, 5]].to_numpy(np.float32, copy=True)
        boxes[:, 2:] += boxes[:, :2]
        frames.append(Detections(boxes, np.full(len(boxes), 0.9, np.float32), np.zeros(len(boxes), np.int64)))

    def run(preset: str) -> int:
        tracker = Tracker(preset=preset)
        return sum(len(tracker.update(detections).ids) for detections in frames)

    for preset in ("sort", "reidkit"):
        ours = measure(lambda preset=preset: run(preset))
        yield row(
            f"Tracker({preset})",
            "600 frames, 27 boxes",
            ours,
            note=f"{600 / ours[0]:.0f} frames per CPU second",
        )


def mot() -> Iterator[dict]:
    """HOTA, CLEAR and Identity against TrackEval, as whole calls on files."""
    from reidkit.metrics.mot import evaluate_sequence

    rows = synthetic_tracks()
    found = rows.copy()
    found[:, 2:6] += generator(2, "found").normal(0, 3, (len(rows), 4))
    with tempfile.TemporaryDirectory() as folder:
        truth_file, found_file = Path(folder) / "gt.txt", Path(folder) / "S.txt"
        np.savetxt(truth_file, rows, fmt="%g", delimiter=",")
        np.savetxt(found_file, found[:, :9], fmt="%g", delimiter=",")
        ours = measure(lambda: evaluate_sequence(truth_file, found_file, "MOT17")["HOTA"])
        theirs = measure(lambda: trackeval_hota(Path(folder), truth_file, found_file), repeats=1)
    assert abs(ours[2] - theirs[2]) < 1e-6, (ours[2], theirs[2])
    yield row("evaluate_sequence", f"{len(rows)} boxes", ours, theirs, "TrackEval", "equal")


def trackeval_hota(folder: Path, truth: Path, found: Path) -> float:
    """TrackEval's HOTA of one sequence."""
    import trackeval

    (folder / "gt" / "S" / "gt").mkdir(parents=True, exist_ok=True)
    (folder / "res" / "data").mkdir(parents=True, exist_ok=True)
    (folder / "gt" / "S" / "gt" / "gt.txt").write_bytes(truth.read_bytes())
    (folder / "res" / "data" / "S.txt").write_bytes(found.read_bytes())
    settings = {
        "GT_FOLDER": str(folder / "gt"),
        "TRACKERS_FOLDER": str(folder),
        "TRACKERS_TO_EVAL": ["res"],
        "SEQ_INFO": {"S": 600},
        "SKIP_SPLIT_FOL": True,
        "BENCHMARK": "MOT17",
        "PRINT_CONFIG": False,
    }
    dataset = trackeval.datasets.MotChallenge2DBox(settings)
    data = dataset.get_preprocessed_seq_data(dataset.get_raw_seq_data("res", "S"), "pedestrian")
    hota = trackeval.metrics.HOTA().eval_sequence(data)["HOTA"].mean()
    trackeval.metrics.CLEAR({"PRINT_CONFIG": False}).eval_sequence(data)
    trackeval.metrics.Identity({"PRINT_CONFIG": False}).eval_sequence(data)
    return float(hota)


BENCHMARKS = {f.__name__: f for f in (rendering, ranking, reranking, tracking, mot)}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", help=f"of: {', '.join(BENCHMARKS)}; none: all")
    parser.add_argument("--only-one", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--json", type=Path, help="write the rows to this file")
    arguments = parser.parse_args()
    if unknown := set(arguments.names) - set(BENCHMARKS):
        parser.error(f"no benchmark named {', '.join(sorted(unknown))}; there are {', '.join(BENCHMARKS)}")
    if arguments.only_one:
        print(json.dumps(list(BENCHMARKS[arguments.names[0]]())))
        return
    rows = []
    for name in arguments.names or BENCHMARKS:  # each in a process of its own: peaks must not mix
        command = [sys.executable, __file__, name, "--only-one"]
        environment = {**os.environ, "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", "1")}
        output = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
        if output.returncode:
            raise SystemExit(f"{name}: {output.stderr[-2000:]}")
        rows += json.loads(output.stdout.splitlines()[-1])
    print(pd.DataFrame(rows).to_string(index=False))
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=2))


if __name__ == "__main__":
    main()
