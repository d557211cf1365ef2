"""Box geometry, the detector and the feature tap against their reference implementations."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torchvision.ops import box_iou

from reidkit.core import DataError
from reidkit.roi.boxes import Detections, Letterbox, clip, iou, xywh_to_xyxy, xyxy_to_xywh

sides = st.integers(1, 3000)
canvases = st.tuples(st.integers(1, 24), st.integers(1, 24)).map(lambda pair: (pair[0] * 32, pair[1] * 32))


def random_boxes(count: int, height: float, width: float, seed: int) -> np.ndarray:
    corners = np.random.default_rng(seed).uniform(0, 1, (count, 2, 2)) * [width, height]
    return np.sort(corners, axis=1).reshape(count, 4).astype(np.float32)


@settings(deadline=None)
@given(height=sides, width=sides, canvas=canvases, seed=st.integers(0, 99))
def test_letterbox_round_trip(height, width, canvas, seed):
    boxes = random_boxes(5, height, width, seed)
    for letterbox in (Letterbox.fit((height, width), canvas), Letterbox.fit_rectangle((height, width), 640)):
        there = letterbox.forward(boxes)
        inside = np.array(letterbox.canvas_size)[[1, 0, 1, 0]]
        assert (there > -0.01).all() and (there < inside + 0.01).all()
        back = letterbox.inverse(there)
        assert np.abs(back - boxes).max() <= max(0.01, 2e-6 * max(height, width) / min(letterbox.scale))


@settings(deadline=None, max_examples=40)
@given(height=st.integers(1, 400), width=st.integers(1, 400), canvas=canvases, seed=st.integers(0, 99))
def test_letterbox_draws_what_ultralytics_draws(height, width, canvas, seed):
    from ultralytics.data.augment import LetterBox as Reference

    image = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    drawn = Letterbox.fit((height, width), canvas).apply(image)
    np.testing.assert_array_equal(drawn, Reference(canvas)(image=image))
    rectangle = Letterbox.fit_rectangle((height, width), 320).apply(image)
    np.testing.assert_array_equal(rectangle, Reference(320, auto=True)(image=image))


@given(count=st.integers(0, 7), other=st.integers(0, 7), seed=st.integers(0, 999))
def test_iou_equals_torchvision(count, other, seed):
    a, b = random_boxes(count, 300, 500, seed), random_boxes(other, 300, 500, seed + 1)
    np.testing.assert_allclose(iou(a, b), box_iou(torch.tensor(a), torch.tensor(b)), atol=1e-5)


@given(count=st.integers(0, 7), seed=st.integers(0, 999))
def test_conversions_are_inverse(count, seed):
    boxes = random_boxes(count, 300, 500, seed)
    np.testing.assert_allclose(xywh_to_xyxy(xyxy_to_xywh(boxes)), boxes, atol=1e-3)
    clipped = clip(boxes - 100, (200, 300))
    assert ((clipped >= 0) & (clipped <= [300, 200, 300, 200])).all()


@given(count=st.integers(0, 6), seed=st.integers(0, 99))
def test_detections_filter_rows_together(count, seed):
    generator = np.random.default_rng(seed)
    labels = np.arange(count)
    found = Detections(random_boxes(count, 90, 90, seed), labels / 9, labels, labels[:, None] * np.ones(3))
    mask = generator.random(count) > 0.5
    for chosen in (found[mask], found[np.flatnonzero(mask)]):
        np.testing.assert_array_equal(chosen.classes, labels[mask])
        np.testing.assert_array_equal(chosen.embeddings[:, 0], labels[mask])
        np.testing.assert_array_equal(chosen.boxes, found.boxes[mask])
    joined = Detections.concat([found[mask], Detections.empty(), found[~mask]])
    assert sorted(joined.classes) == list(labels)


@pytest.mark.parametrize(
    "boxes, scores, classes, message",
    [
        ([[0, 0, 1]], [1], [0], "shape"),
        ([[0, 0, np.nan, 1]], [1], [0], "row 0"),
        ([[5, 0, 1, 1]], [1], [0], "x1 <= x2"),
        ([[0, 0, 1, 1]], [], [0], "scores"),
        ([[0, 0, 1, 1]], [1], [0, 1], "classes"),
    ],
)
def test_detections_refuse_rows_that_do_not_fit(boxes, scores, classes, message):
    with pytest.raises(DataError, match=message):
        Detections(boxes, scores, classes)
