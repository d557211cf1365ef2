"""metrics.mot against TrackEval: on the development sequences and on random small worlds full of ties."""

import contextlib
import io
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from scipy.optimize import linear_sum_assignment

from reidkit.core import ConfigError, DataError, generator
from reidkit.metrics.mot import (
    _assign,
    _numpy_sum,
    _overlaps,
    combine,
    evaluate_mot,
    evaluate_sequence,
    table,
)

trackeval = pytest.importorskip("trackeval")

COUNTS = {"TP": "CLR_TP", "FN": "CLR_FN", "FP": "CLR_FP"} | {
    key: key for key in ("IDSW", "Frag", "MT", "PT", "ML", "IDTP", "IDFN", "IDFP")
}
RATES = {"Recall": "CLR_Re", "Precision": "CLR_Pr", "F1": "CLR_F1"} | {
    key: key for key in "MOTA MOTP MODA sMOTA MTR PTR MLR IDF1 IDP IDR HOTA(0) LocA(0) HOTALocA(0)".split()
}
CURVES = "HOTA DetA AssA LocA DetRe DetPr AssRe AssPr OWTA HOTA_TP HOTA_FN HOTA_FP".split()


def reference(
    truth: dict[str, Path], results: dict[str, Path], benchmark: str, frames: dict[str, int]
) -> dict:
    """TrackEval's fields per sequence and COMBINED; `truth` and `results` are files by sequence."""
    quiet = {"PRINT_CONFIG": False}
    metrics = [trackeval.metrics.HOTA(), trackeval.metrics.CLEAR(quiet), trackeval.metrics.Identity(quiet)]
    scored: dict[str, list[dict]] = {}
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
        root = Path(folder)
        for name in truth:
            (root / "gt" / name / "gt").mkdir(parents=True)
            (root / "gt" / name / "gt" / "gt.txt").symlink_to(truth[name])
            (root / "tracker").mkdir(exist_ok=True)
            (root / "tracker" / f"{name}.txt").symlink_to(results[name])
        config = {"GT_FOLDER": str(root / "gt"), "TRACKERS_FOLDER": folder, "TRACKERS_TO_EVAL": ["tracker"]}
        config |= {
            "TRACKER_SUB_FOLDER": "",
            "SKIP_SPLIT_FOL": True,
            "SEQ_INFO": {n: frames[n] for n in truth},
        }
        config |= {"BENCHMARK": benchmark, "DO_PREPROC": benchmark != "KITTI"} | quiet
        dataset = trackeval.datasets.MotChallenge2DBox(config)
        for name in truth:
            data = dataset.get_preprocessed_seq_data(dataset.get_raw_seq_data("tracker", name), "pedestrian")
            scored[name] = [metric.eval_sequence(data) for metric in metrics]
        combined = [
            m.combine_sequences({n: parts[k] for n, parts in scored.items()}) for k, m in enumerate(metrics)
        ]
    scored["COMBINED"] = combined
    return {name: {k: v for part in parts for k, v in part.items()} for name, parts in scored.items()}


def assert_same(ours, theirs: dict) -> None:
    """Counts to 1e-9, rates to 1e-9 as well (the promise is 1e-6)."""
    for key, other in COUNTS.items():
        assert ours.counts[key] == theirs[other], (ours.name, key)
    for key, other in RATES.items():
        assert abs(ours.scores[key] - float(theirs[other])) < 1e-9, (ours.name, key)
    for key in CURVES:
        np.testing.assert_allclose(
            ours.curves[key], theirs[key], rtol=0, atol=1e-9, err_msg=f"{ours.name} {key}"
        )
        if not key.startswith("HOTA_"):
            assert abs(ours.scores[key] - theirs[key].mean()) < 1e-9, (ours.name, key)


def write(path: Path, rows: np.ndarray) -> Path:
    """Rows as a MOTChallenge file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(",".join(f"{value:.17g}" for value in row) + "\n" for row in rows))
    return path


def disturbed(truth: np.ndarray, seed: int) -> np.ndarray:
    """Results made from ground truth: noise, gaps, false alarms, exchanged ids, tracked distractors."""
    random = generator(seed, "disturbed")
    rows = truth[random.random(len(truth)) > 0.2, :6]
    rows[:, 2:6] *= random.normal(1, 0.04, (len(rows), 4))
    rows[:, 1] = rows[:, 1] + 1000 * (rows[:, 0] // random.integers(20, 90))
    false = rows[random.random(len(rows)) < 0.1] + [0, 500_000, 40, 10, 0, 0]
    rows = np.concatenate([rows, false])
    return np.column_stack([rows, np.ones(len(rows)), np.full((len(rows), 3), -1)])


def numbered(detections: np.ndarray, overlap: float = 0.4) -> np.ndarray:
    """Detections with naive identities: the detection of the last frame that comes first and overlaps."""
    rows, before, count = detections[np.argsort(detections[:, 0], kind="stable")].copy(), None, 0
    for frame in np.unique(rows[:, 0]):
        now = rows[:, 0] == frame
        boxes, ids = rows[now, 2:6], np.zeros(now.sum())
        taken: set[float] = set()
        for k, box in enumerate(boxes):
            near = [] if before is None else before[1][_overlaps(box[None], before[0])[0] > overlap]
            free = [i for i in near if i not in taken]
            count += not free
            ids[k] = free[0] if free else count
            taken.add(ids[k])
        rows[now, 1] = ids
        before = boxes, ids
    return rows


def rows_of(path: Path) -> np.ndarray:
    return np.loadtxt(path, delimiter=",", ndmin=2)


def compare(truth: dict[str, Path], results: dict[str, Path], benchmark: str, frames: dict[str, int]) -> dict:
    """Score by both, assert equality per sequence and combined, return ours."""
    ours = {n: evaluate_sequence(truth[n], results[n], benchmark, frames[n], n) for n in truth}
    ours["COMBINED"] = combine(list(ours.values()))
    theirs = reference(truth, results, benchmark, frames)
    for name, result in ours.items():
        assert_same(result, theirs[name])
    return ours


MOT17 = ("MOT17-02", "MOT17-09", "MOT17-13")
LENGTHS = {"MOT17-02": 600, "MOT17-09": 525, "MOT17-13": 750, "TUD-Campus": 71, "TUD-Stadtmitte": 179}


@pytest.mark.real
def test_results_of_others(real_data):
    root = real_data / "mot"
    truth = {name: root / name / "gt" / "gt.txt" for name in LENGTHS}
    lif_t = {name: root / "refresults" / "Lif_T" / f"{name}-SDP.txt" for name in MOT17}
    ours = compare({n: truth[n] for n in MOT17}, lif_t, "MOT17", LENGTHS)
    assert ours["COMBINED"]["removed"] > 0
    names = ("TUD-Campus", "TUD-Stadtmitte")
    campus = {name: root / "refresults" / "motmetrics" / f"{name}.txt" for name in names}
    compare({n: truth[n] for n in campus}, campus, "MOT15", LENGTHS)


@pytest.mark.real
@pytest.mark.parametrize("benchmark", ["MOT15", "MOT16", "MOT17", "MOT20", "DanceTrack", "KITTI"])
def test_disturbed_ground_truth(real_data, tmp_path, benchmark):
    names = ("TUD-Campus", "TUD-Stadtmitte", "MOT17-09") if benchmark in ("MOT15", "KITTI") else ("MOT17-09",)
    truth = {name: real_data / "mot" / name / "gt" / "gt.txt" for name in names}
    results = {n: write(tmp_path / f"{n}.txt", disturbed(rows_of(path), len(n))) for n, path in truth.items()}
    compare(truth, results, benchmark, LENGTHS)


@pytest.mark.real
def test_detections_with_naive_identities(real_data, tmp_path):
    root = real_data / "mot_val"
    truth = {name: root / name / "gt" / "gt.txt" for name in MOT17}
    found = {n: numbered(rows_of(root / n / "det" / "det.txt")) for n in MOT17}
    results = {n: write(tmp_path / f"{n}.txt", rows) for n, rows in found.items()}
    compare(truth, results, "MOT17", {"MOT17-02": 299, "MOT17-09": 262, "MOT17-13": 374})
    images = real_data / "images" / "PETS-S3-MF1"
    pets = {"PETS": write(tmp_path / "pets" / "PETS.txt", numbered(rows_of(images / "det" / "det.txt")))}
    compare({"PETS": images / "gt" / "gt.txt"}, pets, "MOT15", {"PETS": 107})


@pytest.mark.real
def test_folder_reads_seqinfo(real_data, tmp_path):
    root = real_data / "mot_val"
    for name in MOT17:
        write(tmp_path / f"{name}.txt", disturbed(rows_of(root / name / "gt" / "gt.txt"), 1))
    scored = evaluate_mot(root, tmp_path, "MOT17")
    assert [result["frames"] for result in scored.values()] == [299, 262, 374, 935]
    assert list(table(scored).index) == [*MOT17, "COMBINED"]
    (tmp_path / "MOT17-09.txt").unlink()
    with pytest.raises(DataError, match=r"MOT17-09\.txt is missing"):
        evaluate_mot(root, tmp_path, "MOT17")


@st.composite
def worlds(draw):
    """A few frames on a coarse grid: equal boxes, ties, empty frames, distractors, flags, no area."""
    num_frames = draw(st.integers(1, 7))
    coordinate, size = st.integers(0, 6), st.sampled_from([0, 2, 3, 4])
    classes = st.sampled_from([1, 1, 1, 1, 2, 6, 7, 8, 12, 3])

    def side(ids, extras):
        box = st.tuples(coordinate, coordinate, size, size)
        rows = []
        for frame in range(1, num_frames + 1):
            for identity in draw(st.lists(st.sampled_from(ids), unique=True, max_size=len(ids))):
                rows.append([frame, identity, *draw(box), *draw(extras)])  # noqa: PERF401
        return np.array(rows, float).reshape(len(rows), -1) if rows else np.zeros((0, 9))

    truth = side([0, 1, 2, 5, 9, 11], st.tuples(st.sampled_from([1, 1, 1, 0]), classes, st.just(1)))
    found = side([1, 2, 3, 7, 40, 41], st.tuples(st.sampled_from([1, 0.3]), st.just(-1), st.just(-1)))
    return num_frames, truth, found


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(worlds(), worlds(), st.sampled_from(["MOT15", "MOT16", "MOT17", "MOT20", "DanceTrack", "KITTI"]))
def test_random_worlds(tmp_path_factory, first, second, benchmark):
    folder = tmp_path_factory.mktemp("worlds")
    truth, results, frames = {}, {}, {}
    for name, (num_frames, gt, found) in {"a": first, "b": second}.items():
        truth[name], results[name] = (
            write(folder / "gt" / f"{name}.txt", gt),
            write(folder / f"{name}.txt", found),
        )
        frames[name] = num_frames
    compare(truth, results, benchmark, frames)


@settings(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.integers(0, 10**6), st.integers(1, 40), st.booleans())
def test_crowded_worlds(tmp_path_factory, seed, people, grid):
    """Many boxes per frame (sums longer than numpy's unrolled ones), crossings, doubled boxes."""
    random = generator(seed, "crowd")
    frame, person = (axis.ravel() for axis in np.mgrid[1:9, :people])
    corner = (
        random.uniform(0, 200, (people, 2))[person]
        + random.normal(0, 8, (people, 2))[person] * frame[:, None]
    )
    boxes = np.column_stack([corner, random.uniform(20, 60, (people, 2))[person]])
    boxes = boxes.round(-1) if grid else boxes
    ones = np.ones(len(frame))
    truth = np.column_stack(
        [frame, person, boxes, ones, random.choice([1, 1, 1, 7, 8], people)[person], ones]
    )
    found = np.column_stack([frame, (person + frame // 4) % people, boxes, ones, -ones, -ones])
    found = found[random.random(len(found)) > 0.15]
    twins = found[random.random(len(found)) < 0.3] + [0, 1000, 0, 0, 0, 0, 0, 0, 0]
    found = random.permutation(np.concatenate([found, twins]))
    assume(len(found))
    folder = tmp_path_factory.mktemp("crowd")
    paths = write(folder / "gt" / "a.txt", truth), write(folder / "a.txt", found)
    compare({"a": paths[0]}, {"a": paths[1]}, "MOT17", {"a": 8})


def test_last_bit_decides(tmp_path):
    """One world in 3000 of this kind is scored otherwise when sums are not added in numpy's order."""
    random, people = np.random.default_rng(1200), 12
    assert random.integers(9, 14) == people
    frame, person = (axis.ravel() for axis in np.mgrid[1:5, :people])
    ones = np.ones(len(frame))
    sides = []
    for _ in range(2):
        boxes = np.column_stack([random.integers(0, 4, (len(frame), 2)), np.full((len(frame), 2), 4)])
        sides.append(np.column_stack([frame, person, boxes, ones, ones, ones]))
    paths = write(tmp_path / "gt" / "a.txt", sides[0]), write(tmp_path / "a.txt", sides[1])
    compare({"a": paths[0]}, {"a": paths[1]}, "MOT17", {"a": 4})


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 12), st.integers(1, 12), st.booleans())
def test_assignment_is_scipys(seed, rows, columns, integral):
    random = generator(seed, "matrix")
    score = (
        random.integers(0, 3, (rows, columns)).astype(float) if integral else random.random((rows, columns))
    )
    expected = np.full(rows, -1)
    i, j = linear_sum_assignment(-score)
    expected[i] = j
    np.testing.assert_array_equal(_assign(score), expected)


def test_sum_is_numpys():
    for size in [*range(1, 40), 127, 128, 129, 136, 255, 256, 257, 1000]:
        values = generator(size, "sum").random(size)
        assert _numpy_sum(values) == values.sum() == np.stack([values, values]).sum(1)[0]


ONE = np.array([[1, 1, 0, 0, 4, 4, 1, 1, 1], [2, 1, 0, 0, 4, 4, 1, 1, 1]], float)


@pytest.mark.parametrize(
    ("truth", "results", "message"),
    [
        (ONE, np.repeat(ONE, 2, 0), "results, row 2: id 1 appears twice in frame 1"),
        (np.repeat(ONE, 2, 0), ONE, "ground truth, row 2: id 1 appears twice"),
        (ONE, ONE + np.eye(9)[0], "results, row 2: its frame lies outside 1…2"),
        (ONE, ONE - 2 * np.eye(9)[1], "results, row 1: a track id is 0 or larger"),
        (ONE, ONE + np.eye(9)[1] / 2, "must be whole numbers"),
        (ONE, ONE * [1, 1, np.nan, 1, 1, 1, 1, 1, 1], "must be finite"),
        (ONE, ONE[:, :5], "has 5 columns"),
        (ONE, ONE[0], "has shape"),
        (ONE, ONE + np.eye(9)[7], "only pedestrians"),
        (ONE[:, :7], ONE, "needs frame, id, x, y, width, height, flag, class"),
        (ONE - 2 * np.eye(9)[7], ONE, "classes are 1…13"),
    ],
)
def test_bad_rows(truth, results, message):
    with pytest.raises(DataError, match=message):
        evaluate_sequence(truth, results)


def test_duplicates_are_refused_by_both(tmp_path):
    paths = (
        {"a": write(tmp_path / "gt" / "a.txt", ONE)},
        {"a": write(tmp_path / "a.txt", np.repeat(ONE, 2, 0))},
    )
    with pytest.raises(DataError, match="twice"):
        evaluate_sequence(paths[0]["a"], paths[1]["a"], num_frames=2)
    with pytest.raises(trackeval.utils.TrackEvalException):
        reference(*paths, "MOT17", {"a": 2})


def test_unknown_benchmark_and_broken_seqinfo(tmp_path):
    with pytest.raises(ConfigError, match="choose one of"):
        evaluate_sequence(ONE, ONE, "MOT18")
    gt = write(tmp_path / "s" / "gt" / "gt.txt", ONE)
    (tmp_path / "s" / "seqinfo.ini").write_text("[Sequence]\nname=s\n")
    with pytest.raises(DataError, match="has no line seqLength"):
        evaluate_sequence(gt, ONE)


def test_order_of_rows_and_relabelling_do_not_matter():
    random = generator(3, "order")
    frame, person = (axis.ravel() for axis in np.mgrid[1:21, 1:9])
    ones = np.ones(len(frame))
    truth = np.column_stack(
        [frame, person, random.uniform(0, 60, (len(frame), 2)), 20 * ones, 40 * ones, ones, ones, ones]
    )
    found = truth[random.random(len(truth)) > 0.2] + [0, 0, 1.5, 2, 0, 0, 0, 0, 0]
    once = evaluate_sequence(truth, found).to_dict()
    found[:, 1] = 100 - found[:, 1]
    again = evaluate_sequence(random.permutation(truth), random.permutation(found)).to_dict()
    assert once.keys() == again.keys()
    for key, value in once.items():
        assert value == pytest.approx(again[key], abs=1e-12), key


def test_perfect_tracks_score_one():
    result = evaluate_sequence(ONE, ONE)
    for key in ("HOTA", "DetA", "AssA", "LocA", "MOTA", "MOTP", "IDF1"):
        assert result[key] == 1
