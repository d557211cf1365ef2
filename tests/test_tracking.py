"""tracking.motion, association and tracker: properties on random input, and floors on real sequences."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linear_sum_assignment

from reidkit.core import ConfigError, DataError, generator
from reidkit.metrics.mot import evaluate_mot
from reidkit.roi.boxes import Detections
from reidkit.tracking.association import appearance_cost, assign, fuse
from reidkit.tracking.io import read_detections, write_mot
from reidkit.tracking.motion import GATE, SHAPES, VARIANCE, BoxMotion, box_to_measurement
from reidkit.tracking.tracker import PRESETS, Tracker
from reidkit.tracking.video import open_source, track_detections

SEEDS = st.integers(0, 2**32 - 1)


def random_boxes(random: np.random.Generator, count: int) -> np.ndarray:
    corner = random.uniform(0, 500, (count, 2))
    return np.concatenate([corner, corner + random.uniform(5, 120, (count, 2))], axis=1)


class FullFilter:
    """The textbook 8×8 filter with BoxMotion's noise, one track."""

    def __init__(self, motion: BoxMotion, box: np.ndarray) -> None:
        self.motion, start = motion, motion.start(box[None])[0]
        self.mean = np.concatenate([start[0], start[1]])
        self.covariance = np.diag(np.concatenate([start[2], start[4]]))

    def noise(self, position_ratio: float, velocity_ratio: float) -> tuple[np.ndarray, np.ndarray]:
        width, height = max(self.mean[2], 1), max(self.mean[3], 1)
        first = [height] * 4 if self.motion.shape == "xyah" else [width, height] * 2
        size = np.array(first)
        position, velocity = size * self.motion.position_weight, size * self.motion.velocity_weight
        if self.motion.shape == "xyah":
            position[2], velocity[2] = position_ratio, velocity_ratio
        return position, velocity

    def predict(self) -> None:
        step = np.eye(8) + np.eye(8, k=4)
        noise = np.concatenate(self.noise(1e-2, 1e-5))
        self.mean, self.covariance = step @ self.mean, step @ self.covariance @ step.T + np.diag(noise**2)

    def innovation(self) -> np.ndarray:
        return self.covariance[:4, :4] + np.diag(self.noise(1e-1, 0)[0] ** 2)

    def update(self, box: np.ndarray) -> None:
        gain = self.covariance[:, :4] @ np.linalg.inv(self.innovation())
        self.covariance = self.covariance - gain @ self.innovation() @ gain.T
        self.mean = self.mean + gain @ (box_to_measurement(box[None], self.motion.shape)[0] - self.mean[:4])

    def distance(self, box: np.ndarray) -> float:
        surprise = box_to_measurement(box[None], self.motion.shape)[0] - self.mean[:4]
        return float(surprise @ np.linalg.inv(self.innovation()) @ surprise)


@pytest.mark.parametrize("shape", SHAPES)
@given(seed=SEEDS)
@settings(max_examples=20, deadline=None)
def test_motion_equals_the_full_filter(shape: str, seed: int) -> None:
    random = generator(seed)
    motion = BoxMotion(shape)
    boxes = random_boxes(random, 3)
    states, filters = motion.start(boxes), [FullFilter(motion, box) for box in boxes]
    for _ in range(25):
        states = motion.predict(states)
        for full in filters:
            full.predict()
        boxes = boxes + random.normal(0, 3, (3, 1)) + random.normal(0, 0.5, boxes.shape)
        expected = [[full.distance(box) for box in boxes] for full in filters]
        np.testing.assert_allclose(motion.distance(states, boxes), expected, rtol=1e-9, atol=1e-9)
        if random.random() < 0.7:
            states = motion.update(states, boxes)
            for full, box in zip(filters, boxes, strict=True):
                full.update(box)
        mean = np.stack([full.mean for full in filters]).reshape(3, 2, 4)
        np.testing.assert_allclose(states[:, :2], mean, rtol=1e-9, atol=1e-9)
        variance = np.stack([np.diag(full.covariance)[:4] for full in filters])
        np.testing.assert_allclose(states[:, VARIANCE], variance, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("shape", SHAPES)
def test_noise_is_proportional_to_size(shape: str) -> None:
    """The whole filter scales with the picture: twice the pixels, twice the boxes."""
    random, motion = generator(0), BoxMotion(shape)
    boxes = random_boxes(random, 8) + 10
    small, large = motion.start(boxes), motion.start(2 * boxes)
    for _ in range(10):
        boxes = boxes + random.normal(0, 3, (8, 1))
        small = motion.update(motion.predict(small), boxes)
        large = motion.update(motion.predict(large), 2 * boxes)
    np.testing.assert_allclose(motion.boxes(large), 2 * motion.boxes(small), rtol=1e-9)
    np.testing.assert_allclose(motion.distance(large, 2 * boxes), motion.distance(small, boxes), rtol=1e-7)


def test_gate_holds_true_detections() -> None:
    """Constant velocity and the filter's own noise: 95 % of 10,000 true detections lie inside."""
    random, motion = generator(1), BoxMotion("xywh")
    count = 10_000
    start = np.tile([100.0, 100, 160, 250], (count, 1))
    states = motion.start(start)
    step = np.tile(random.normal(0, 2, (count, 2)), 2)
    sigma = np.array([60, 150, 60, 150]) / 20
    inside = []
    for frame in range(1, 31):
        centre = random.normal(0, sigma, (count, 4))
        half = centre[:, 2:] / 2
        boxes = start + frame * step + np.concatenate([centre[:, :2] - half, centre[:, :2] + half], axis=1)
        states = motion.predict(states)
        total = states[:, VARIANCE] + sigma**2
        distance = ((box_to_measurement(boxes) - states[:, 0]) ** 2 / total).sum(axis=1)
        inside.append((distance <= GATE).mean())
        states = motion.update(states, boxes)
    assert min(inside[10:]) >= 0.94


@given(seed=SEEDS, rows=st.integers(0, 7), columns=st.integers(0, 7), limit=st.floats(0.05, 1.2))
@settings(max_examples=150, deadline=None)
def test_assign_properties(seed: int, rows: int, columns: int, limit: float) -> None:
    random = generator(seed)
    cost = random.random((rows, columns))
    cost[random.random(cost.shape) < 0.3] = np.inf
    cost[random.random(cost.shape) < 0.1] = np.nan
    found = assign(cost, limit)
    pairs = {(int(row), int(column)) for row, column in found.pairs}
    assert all(cost[pair] < limit for pair in pairs)
    assert sorted([row for row, _ in pairs] + found.unmatched_rows.tolist()) == list(range(rows))
    assert sorted([column for _, column in pairs] + found.unmatched_columns.tolist()) == list(range(columns))
    free = [(row, column) for row in found.unmatched_rows for column in found.unmatched_columns]
    assert not any(cost[pair] < limit for pair in free)
    gain = np.where(cost < limit, limit - cost, 0)  # an independent statement of the objective
    best = gain[linear_sum_assignment(gain, maximize=True)].sum()
    assert sum(gain[pair] for pair in pairs) == pytest.approx(best, abs=1e-9)
    order, columns_order = random.permutation(rows), random.permutation(columns)
    moved = assign(cost[np.ix_(order, columns_order)], limit).pairs
    assert {(int(order[row]), int(columns_order[column])) for row, column in moved} == pairs


@given(seed=SEEDS, tracks=st.integers(0, 6), detections=st.integers(0, 6))
@settings(max_examples=60, deadline=None)
def test_fuse_never_opens_a_gate(seed: int, tracks: int, detections: int) -> None:
    random = generator(seed)
    overlap = random.random((tracks, detections))
    vectors = random.normal(size=(tracks + detections, 8))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    vectors[random.random(len(vectors)) < 0.2] = 0
    appearance = appearance_cost(vectors[:tracks], vectors[tracks:])
    fused = fuse(overlap, appearance, 0.3, 0.8, 0.5)
    assert np.isinf(fused[(overlap >= 0.8) | (appearance > 0.5)]).all()
    unknown = np.isnan(appearance) & (overlap < 0.8)
    assert (fused[unknown] == overlap[unknown]).all()


def random_video(seed: int, frames: int = 40, dimension: int | None = 8) -> list[Detections]:
    """Objects that come, go, overlap, change class and lose their embeddings."""
    random = generator(seed)
    count = int(random.integers(1, 9))
    boxes, velocity = random_boxes(random, count), random.normal(0, 4, (count, 2))
    looks, kinds = random.normal(size=(count, dimension or 1)), random.integers(0, 2, count)
    video = []
    for _ in range(frames):
        boxes = boxes + np.tile(velocity, 2) + np.tile(random.normal(0, 1, (count, 2)), 2)
        seen = random.permutation(np.flatnonzero(random.random(count) < 0.8))
        if random.random() < 0.1:
            seen = seen[:0]
        vectors = looks[seen] + random.normal(0, 0.2, (len(seen), looks.shape[1]))
        vectors[random.random(len(seen)) < 0.1] = 0
        scores = random.uniform(0, 1, len(seen))
        given_vectors = None if dimension is None or random.random() < 0.1 else vectors
        video.append(Detections(boxes[seen], scores, kinds[seen], given_vectors))
    return video


@pytest.mark.parametrize("preset", sorted(PRESETS))
@given(seed=SEEDS)
@settings(max_examples=15, deadline=None)
def test_tracker_invariants(preset: str, seed: int) -> None:
    tracker = Tracker(preset, report_after=2)
    born: dict[int, int] = {}
    gone: set[int] = set()
    for detections in random_video(seed):
        reported = tracker.update(detections)
        alive = tracker.tracks
        assert len(set(alive.ids.tolist())) == len(alive) and not gone & set(alive.ids.tolist())
        gone |= born.keys() - set(alive.ids.tolist())
        assert set(reported.ids.tolist()) <= set(alive.ids.tolist())
        rows = alive.detection_index[alive.detection_index >= 0]
        assert len(set(rows.tolist())) == len(rows) and (rows < len(detections)).all()
        matched = alive.detection_index >= 0
        assert (alive.classes[matched] == detections.classes[rows]).all()
        assert np.isfinite(alive.boxes).all() and (alive.boxes[:, :2] < alive.boxes[:, 2:]).all()
        for identity, kind in zip(alive.ids.tolist(), alive.classes.tolist(), strict=True):
            assert born.setdefault(identity, kind) == kind  # a track never changes its class


@given(seed=SEEDS)
@settings(max_examples=10, deadline=None)
def test_tracker_ignores_the_order_of_detections(seed: int) -> None:
    random = generator(seed, "order")
    first, second = Tracker(confirm_after=1), Tracker(confirm_after=1)
    renamed: dict[int, int] = {}
    for detections in random_video(seed):
        order = random.permutation(len(detections))
        a, b = first.update(detections), second.update(detections[order])
        inverse = np.append(order, -1)[b.detection_index]
        seen_a, seen_b = a.detection_index >= 0, inverse >= 0
        by_detection = dict(zip(inverse[seen_b].tolist(), b.ids[seen_b].tolist(), strict=True))
        for row, identity in zip(a.detection_index[seen_a].tolist(), a.ids[seen_a].tolist(), strict=True):
            assert renamed.setdefault(identity, by_detection[row]) == by_detection[row]


@given(seed=SEEDS, cut=st.integers(0, 39))
@settings(max_examples=10, deadline=None)
def test_tracker_resumes(seed: int, cut: int) -> None:
    video = random_video(seed)
    whole, first = Tracker(), Tracker()
    expected = [whole.update(detections) for detections in video]
    for detections in video[:cut]:
        first.update(detections)
    resumed = Tracker()
    resumed.load_state_dict(first.state_dict())
    for detections, wanted in zip(video[cut:], expected[cut:], strict=True):
        found = resumed.update(detections)
        np.testing.assert_array_equal(found.ids, wanted.ids)
        np.testing.assert_array_equal(found.boxes, wanted.boxes)


def test_two_trackers_do_not_share_anything() -> None:
    a, b = Tracker(confirm_after=1), Tracker(confirm_after=1)
    one = Detections([[0, 0, 10, 20]], [0.9], [0])
    assert a.update(one).ids.tolist() == b.update(one).ids.tolist() == [1]


def test_empty_frames_age_tracks() -> None:
    tracker = Tracker("sort", max_missed=3)
    for _ in range(3):
        tracker.update(Detections([[0, 0, 40, 100]], [0.9], [0]))
    alive = []
    for _ in range(5):
        tracker.update(Detections.empty())
        alive.append(len(tracker.tracks))
    assert alive == [1, 1, 1, 0, 0]


def test_scores_in_other_units() -> None:
    """Only thresholds look at scores; a detector whose scores go to 130 is as good as any."""
    tracker = Tracker(high_score=20, low_score=5, birth_score=20, memory_score=20, confirm_after=1)
    for score, known in ((130.0, [1]), (12.0, [1]), (3.0, [])):
        reported = tracker.update(Detections([[0, 0, 40, 100]], [score], [0]))
        assert reported.ids.tolist() == known


def test_names_that_do_not_exist() -> None:
    with pytest.raises(ConfigError, match="did you mean 'sort'"):
        Tracker("srot")
    with pytest.raises(ConfigError, match="did you mean 'high_score'"):
        Tracker(hi_score=0.4)
    with pytest.raises(ConfigError, match="Motion shape"):
        Tracker(shape="xysr")
    with pytest.raises(DataError, match="one embedder per video"):
        tracker = Tracker()
        for size in (8, 16):
            tracker.update(Detections([[0, 0, 40, 100]], [0.9], [0], np.ones((1, size))))


@pytest.mark.real
@pytest.mark.parametrize(
    ("preset", "embeddings", "floor"),
    [("sort", False, 0.545), ("reidkit", False, 0.55), ("reidkit", True, 0.66)],
)
def test_quality_on_mot17(real_data, tmp_path, preset: str, embeddings: bool, floor: float) -> None:
    """HOTA on MOT17 half-val; boxmot's ByteTrack has 0.536, the best peer with embeddings 0.617."""
    root = real_data / "mot_val"
    for name in ("MOT17-02", "MOT17-09", "MOT17-13"):
        vectors = root / name / "det/emb128_simulated.npy" if embeddings else None
        detections = read_detections(root / name / "det/det.txt", vectors)
        rows = track_detections(open_source(root / name), detections, Tracker(preset))
        write_mot(tmp_path / f"{name}.txt", rows)
    result = evaluate_mot(root, tmp_path, "MOT17")["COMBINED"]
    assert result["HOTA"] > floor
