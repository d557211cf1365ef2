"""Box geometry, the detector and the feature tap against their reference implementations."""

import os
import shutil
import subprocess
import sys

import numpy as np
import pytest
import torch
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from torchvision.ops import box_iou

from reidkit.core import ConfigError, DataError, MismatchError, OfflineError
from reidkit.data.synth import World, render_frames
from reidkit.roi.boxes import Detections, Letterbox, clip, iou, xywh_to_xyxy, xyxy_to_xywh
from reidkit.roi.detector import SYNTH, YoloDetector, _quiet_ultralytics, decode, load_network, read_card
from reidkit.roi.features import roi_features
from reidkit.roi.synth_detector import detection_quality, match_detections

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
    with _quiet_ultralytics():
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


FAMILIES = ["yolov5n", "yolov8n", "yolov9t", "yolov10n", "yolo11n", "yolo12n", "yolo26n"]


@pytest.fixture(scope="module")
def detector():
    return YoloDetector("synth", device="cpu")


@pytest.fixture(scope="module")
def frames():
    world = World(seed=7011, num_cameras=2)
    return [next(iter(render_frames(world, camera, 1, num_visible=8, seed=5))) for camera in (0, 1)]


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_gives_boxes_and_features_from_one_pass(family):
    detector = YoloDetector(f"{family}.yaml", device="cpu", image_size=160, confidence=0.0)
    images = [np.random.default_rng(row).integers(0, 256, (90, 160, 3), dtype=np.uint8) for row in range(2)]
    passes = []
    hook = detector.network.model[0].register_forward_hook(lambda *_: passes.append(1))
    before = detector.detect(images)
    assert len(passes) == 1
    pairs = detector.detect_with_features(images)
    assert len(passes) == 2
    hook.remove()
    for plain, (tapped, features), again in zip(before, pairs, detector.detect(images), strict=True):
        for other in (tapped, again):
            np.testing.assert_array_equal(plain.boxes, other.boxes)
            np.testing.assert_array_equal(plain.scores, other.scores)
        assert features.shape == (len(tapped), features.shape[1], 10, 10)
        assert tapped.embeddings.shape == (len(tapped), features.shape[1])
    assert not any(module._forward_hooks for module in detector.network.modules())


def test_nothing_found_is_ordinary(frames):
    strict = YoloDetector("synth", device="cpu", confidence=0.999)
    ((found, features),) = strict.detect_with_features([frames[0].image])
    assert len(found) == 0 and found.embeddings.shape == (0, features.shape[1])
    assert features.shape[0] == 0
    assert strict.detect([]) == [] and strict.detect_with_features([]) == []


def test_a_result_does_not_depend_on_its_neighbours(detector, frames):
    crop = np.ascontiguousarray(frames[1].image[:, 100:400])
    images = [frames[0].image, crop, frames[1].image]
    for alone, together in zip(
        [detector.detect([image])[0] for image in images], detector.detect(images), strict=True
    ):
        np.testing.assert_allclose(alone.boxes, together.boxes, atol=0.05)
        np.testing.assert_allclose(alone.scores, together.scores, atol=1e-3)


def test_detections_equal_those_of_ultralytics(detector, frames):
    with _quiet_ultralytics():
        from ultralytics import YOLO

        reference = YOLO("yolo11n.yaml")
        reference.model = load_network("synth")
        for frame in frames:
            result = reference.predict(
                frame.image[..., ::-1],
                imgsz=detector.image_size,
                conf=0.25,
                iou=0.7,
                device="cpu",
                verbose=False,
                save=False,
            )[0].boxes
            found = detector.detect([frame.image])[0]
            assert len(found) >= 3
            np.testing.assert_allclose(found.boxes, result.xyxy.numpy(), atol=0.1)
            np.testing.assert_allclose(found.scores, result.conf.numpy(), atol=1e-3)


@settings(deadline=None, max_examples=30)
@given(seed=st.integers(0, 999), classes=st.integers(1, 3))
def test_decode_equals_the_nms_of_ultralytics(seed, classes):
    with _quiet_ultralytics():
        from ultralytics.utils.nms import non_max_suppression

    generator = torch.Generator().manual_seed(seed)
    boxes = torch.rand(4, 200, generator=generator) * torch.tensor([[300.0], [200.0], [60.0], [90.0]])
    prediction = torch.cat([boxes, torch.rand(classes, 200, generator=generator)])
    ours = decode(prediction, classes, confidence=0.3, overlap=0.5)
    theirs = non_max_suppression(prediction[None].clone(), 0.3, 0.5, nc=classes)[0]
    np.testing.assert_allclose(ours[0], theirs[:, :4], atol=1e-4)
    np.testing.assert_array_equal(ours[2], theirs[:, 5])


@settings(deadline=None, max_examples=40)
@given(
    height=st.integers(30, 900),
    width=st.integers(30, 900),
    stride=st.sampled_from([8, 16, 32]),
    seed=st.integers(0, 99),
)
def test_roi_align_of_a_ramp_is_its_mean(height, width, stride, seed):
    letterbox = Letterbox.fit_rectangle((height, width), 320)
    rows, columns = np.meshgrid(
        *[np.arange(side // stride) + 0.5 for side in letterbox.canvas_size], indexing="ij"
    )
    ramp = torch.tensor(np.stack([columns, rows]) * stride, dtype=torch.float32)
    boxes = random_boxes(6, height, width, seed)
    moved = letterbox.forward(boxes)
    inner = (moved >= stride / 2).all(axis=1) & (
        moved <= np.array(letterbox.canvas_size * 2)[[1, 0, 3, 2]] - stride / 2
    ).all(axis=1)
    means = roi_features(ramp, boxes, letterbox).mean(dim=(2, 3)).numpy()
    np.testing.assert_allclose(means[inner], ((moved[:, :2] + moved[:, 2:]) / 2)[inner], atol=0.01)


def test_weights_that_are_not_there_are_not_fetched(tmp_path):
    with pytest.raises(OfflineError, match="downloads nothing"):
        YoloDetector("yolo11n.pt")
    with pytest.raises(ConfigError, match=r"no \.pt"):
        YoloDetector("weights.onnx")


def test_weights_of_another_architecture_are_refused(tmp_path):
    card = read_card() | {"scale": [0.33, 0.25, 1024]}
    (tmp_path / "other.yaml").write_text(yaml.safe_dump(card))
    shutil.copy(SYNTH, tmp_path / "other.safetensors")
    with pytest.raises(MismatchError, match=r"11/yolo11\.yaml"):
        load_network(tmp_path / "other.safetensors")


@pytest.mark.parametrize("image", [np.zeros((9, 9, 3)), np.zeros((9, 9), np.uint8), "street.jpg"])
def test_what_is_no_image_is_named(detector, image):
    with pytest.raises(DataError, match="image 1 is"):
        detector.detect([np.zeros((9, 9, 3), np.uint8), image])


def test_loading_is_silent_and_leaves_no_trace(tmp_path):
    script = """
import os, socket
def refuse(*arguments, **options): raise OSError("no network here")
socket.getaddrinfo = socket.create_connection = socket.socket.connect = refuse
import cv2, numpy as np
from reidkit.roi.detector import YoloDetector
before = dict(os.environ), np.get_printoptions(), cv2.getNumThreads()
detector = YoloDetector("synth", device="cpu")
detector.detect([np.zeros((90, 160, 3), np.uint8)])
assert before == (dict(os.environ), np.get_printoptions(), cv2.getNumThreads())
"""
    environment = os.environ | {"HOME": str(tmp_path)}
    for name in [name for name in environment if name.startswith(("YOLO_", "XDG_"))]:
        del environment[name]
    done = subprocess.run(
        [sys.executable, "-c", script], env=environment, capture_output=True, text=True, cwd=tmp_path
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert not (tmp_path / ".config").exists()


@settings(deadline=None, max_examples=30)
@given(seed=st.integers(0, 999))
def test_average_precision_is_near_that_of_ultralytics(seed):
    with _quiet_ultralytics():
        from ultralytics.utils.metrics import ap_per_class

    generator = np.random.default_rng(seed)
    truth = [random_boxes(4, 90, 90, seed + row) + np.float32([0, 0, 5, 5]) for row in range(5)]
    results = []
    for boxes in truth:
        jittered = boxes + generator.normal(0, 3, boxes.shape).astype(np.float32)
        jittered[:, 2:] = np.maximum(jittered[:, 2:], jittered[:, :2])
        results.append(Detections(jittered, generator.random(4), np.zeros(4)))
    none = [np.zeros((0, 4))] * 5
    quality = detection_quality(results, truth, none)
    right = (
        np.concatenate([match_detections(*image) for image in zip(results, truth, none, strict=True)]) == 1
    )
    scores = np.concatenate([result.scores for result in results])
    reference = ap_per_class(right[:, None], scores, np.zeros(20), np.zeros(20))[5]
    assert abs(quality.average_precision - (reference[0, 0] if len(reference) else 0)) < 0.06
