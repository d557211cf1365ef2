"""The synthetic world: what every seed must keep, and the two file layouts read back byte by byte."""

import configparser
import subprocess
import sys

import cv2
import numpy as np
import pytest
import scipy.io
from hypothesis import given, settings
from hypothesis import strategies as st

from reidkit.core import ConfigError, generator
from reidkit.data.mars import write_mars
from reidkit.data.mot_sets import write_mot_videos
from reidkit.data.people import JOINTS, body_bounds, body_parts, make_people, paint_body, pose
from reidkit.data.places import make_cameras, make_stage
from reidkit.data.synth import (
    World,
    make_walk,
    render_frames,
    render_tracklet,
    render_tracklets,
    render_videos,
)

SIZE = (180, 320)
PEOPLE = make_people(60)


@pytest.fixture(scope="module")
def world():
    return World(seed=1, num_people=12, num_cameras=4)


@settings(max_examples=30, deadline=None)
@given(person=st.sampled_from(PEOPLE), camera_id=st.integers(0, 7), x=st.floats(-2, 2), z=st.floats(4.5, 11),
       heading=st.floats(-7, 7), phase=st.floats(0, 7))  # fmt: skip
def test_box_is_exactly_the_pixels_of_the_body(person, camera_id, x, z, heading, phase):
    camera = make_cameras(8)[camera_id]
    walk = make_walk(person, camera, np.array([[x, z]]), np.array([heading]), SIZE, phase)
    points = walk.points[0] + [100, 100, 0]  # room on all sides
    points[:, 2] = walk.points[0][:, 2]
    frame, owner = np.zeros((SIZE[0] + 250, SIZE[1] + 250, 3), np.uint8), np.zeros((430, 570), np.uint16)
    counts, parts = np.zeros(2, np.int64), body_parts(person)
    light = np.array([*camera.light, 1.0])
    *box, total = paint_body(
        frame, owner, counts, 1, parts, points, camera.focal * SIZE[0], walk.turn[0], light
    )
    rows, columns = np.nonzero(owner)
    assert [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1] == box
    assert counts[1] == total == len(rows)
    assert (frame[owner == 0].max(-1) < 255 * 0.51).all()  # only soft edges outside
    wide = body_bounds(parts, points, camera.focal * SIZE[0], walk.turn[0])
    assert (wide[:2] <= box[:2]).all() and (wide[2:] >= box[2:]).all()
    assert (wide[2:] - wide[:2] - np.subtract(box[2:], box[:2]) < 12).all()


@settings(max_examples=30, deadline=None)
@given(person=st.sampled_from(PEOPLE), phase=st.floats(-20, 20))
def test_a_body_stands_on_the_ground_and_keeps_its_bones(person, phase):
    body = pose(person, np.array([phase, phase + 2 * np.pi]))
    np.testing.assert_allclose(body[0], body[1], atol=1e-9)
    joints = {name: body[0, index] for index, name in enumerate(JOINTS)}
    assert 0 < body[..., 1].min() < 0.04 * person.height
    assert 0.9 < joints["crown"][1] / person.height < 1.02
    for side in ("left", "right"):
        thigh = np.linalg.norm(joints[f"{side}_hip"] - joints[f"{side}_knee"])
        np.testing.assert_allclose(thigh, 0.245 * person.height)


def test_two_hundred_people_differ_and_colours_are_shared():
    people = make_people(200)
    looks = {
        (p.upper, p.lower, p.bag, p.bag_colour, p.hair_style, p.hair, p.hat, p.skin, p.shoes) for p in people
    }
    assert len(looks) == 200 and [p.person_id for p in people] == list(range(1, 201))
    for group in range(0, 200, 4):
        assert len({frozenset((p.upper.colour, p.upper.second)) for p in people[group : group + 4]}) == 1
        assert len({p.upper.pattern for p in people[group : group + 4]}) == 4
    assert {p.bag for p in people} == {"none", "backpack", "shoulder", "hand"}
    assert make_people(8, seed=1) != people[:8]


@pytest.mark.parametrize("camera_id", range(4))
def test_frames_are_true_and_repeatable(world, camera_id):
    film = list(render_frames(world, camera_id, 12, num_visible=6, seed=3, size=SIZE))
    again = list(render_frames(world, camera_id, 12, num_visible=6, seed=3, size=SIZE))
    other = list(render_frames(world, camera_id, 12, num_visible=6, seed=4, size=SIZE))
    assert [frame.index for frame in film] == list(range(12))
    assert any(
        len(a.boxes) != len(b.boxes) or (a.boxes != b.boxes).any() for a, b in zip(film, other, strict=True)
    )
    for frame, twin in zip(film, again, strict=True):
        np.testing.assert_array_equal(frame.image, twin.image)
        np.testing.assert_array_equal(frame.boxes, twin.boxes)
        assert frame.image.shape == (*SIZE, 3) and frame.image.dtype == np.uint8
        assert frame.boxes.dtype == np.float32 and frame.boxes.shape == (len(frame.person_ids), 4)
        assert frame.person_ids.dtype == np.int64 and len(set(frame.person_ids)) == len(frame.person_ids) <= 6
        assert (frame.boxes >= 0).all() and (frame.boxes <= [SIZE[1], SIZE[0]] * 2).all()
        assert (frame.boxes[:, 2:] > frame.boxes[:, :2]).all()
        assert (
            frame.visibility.dtype == np.float32 and ((frame.visibility >= 0) & (frame.visibility <= 1)).all()
        )


def test_people_can_be_chosen_and_places_can_be_empty(world):
    seen = [frame.person_ids for frame in render_frames(world, 0, 20, people=[2, 5], size=SIZE)]
    assert set(np.concatenate(seen)) <= {2, 5} and max(map(len, seen)) >= 1
    empty = next(render_frames(world, 0, 1, num_visible=0, size=SIZE))
    assert empty.boxes.shape == (0, 4) and empty.person_ids.shape == empty.visibility.shape == (0,)


def test_people_move_smoothly_and_feet_do_not_slide():
    camera, person = make_cameras(1)[0], PEOPLE[0]
    steps = np.arange(30)[:, None] * person.speed / 15
    walk = make_walk(person, camera, np.array([[-1.5, 7.0]]) + steps * [1, 0], np.full(30, np.pi / 2), SIZE)
    foot = walk.points[:, JOINTS.index("left_ankle"), 0]
    middle = walk.ground[:, 0]
    assert np.ptp(np.diff(middle)) < 0.1  # even pace
    assert np.diff(foot).min() < 0.25 * np.diff(middle).mean()  # a foot rests while the body goes on


def test_tracklets_repeat_and_differ(world):
    crops = render_tracklet(world, 3, 1, 5, seed=8, size=(64, 32))
    assert crops.shape == (5, 64, 32, 3) and crops.dtype == np.uint8
    np.testing.assert_array_equal(crops, render_tracklet(world, 3, 1, 5, seed=8, size=(64, 32)))
    assert (crops != render_tracklet(world, 3, 1, 5, seed=9, size=(64, 32))).any()
    assert (
        len(render_tracklet(world, 3, 1, 200, size=(32, 16))) == 200
    )  # longer than any way through the view


def test_light_differs_between_cameras():
    stages = [make_stage(camera, SIZE).background for camera in make_cameras(6)]
    assert len({stage.tobytes() for stage in stages}) == 6


def test_errors_name_what_there_is(world):
    with pytest.raises(ConfigError, match="its ids are 1 to 12"):
        render_tracklet(world, 13, 0, 4)
    with pytest.raises(ConfigError, match="its ids are 0 to 3"):
        next(render_frames(world, -1, 4))
    with pytest.raises(ConfigError, match="people and cameras"):
        World(num_cameras=0)


@pytest.fixture(scope="module")
def mars(tmp_path_factory):
    small = World(seed=2, num_people=7, num_cameras=3)
    options = dict(
        num_train=4, tracklets_per_camera=2, frames=(2, 5), num_distractors=5, num_junk=3, size=(64, 32)
    )
    first = write_mars(render_tracklets(small, **options), tmp_path_factory.mktemp("mars") / "tree")
    second = write_mars(render_tracklets(small, **options), tmp_path_factory.mktemp("mars") / "tree")
    return first, second


@pytest.mark.parametrize("part", ["train", "test"])
def test_mars_layout(mars, part):
    root = mars[0]
    names = (root / "info" / f"{part}_name.txt").read_bytes().decode().split("\r\n")[:-1]
    rows = scipy.io.loadmat(root / "info" / f"tracks_{part}_info.mat")[f"track_{part}_info"].astype(int)
    assert rows[0, 0] == 1 and rows[-1, 1] == len(names) and (rows[1:, 0] == rows[:-1, 1] + 1).all()
    on_disk = sorted(path.name for path in (root / f"bbox_{part}").glob("*/*.jpg"))
    assert sorted(names) == on_disk and len(set(names)) == len(names)
    numbers: dict[int, list[int]] = {}
    for start, end, person_id, camera_id in rows:
        group = names[start - 1 : end]
        assert all((-1 if name[:4] == "00-1" else int(name[:4])) == person_id for name in group)
        assert all(name[4] == "C" and int(name[5]) == camera_id for name in group)
        assert len({name[6:11] for name in group}) == 1
        assert [int(name[12:15]) for name in group] == list(range(1, end - start + 2))
        numbers.setdefault(person_id, []).append(int(group[0][7:11]))
    for found in numbers.values():  # tracklets are counted per identity
        assert sorted(found) == list(range(1, len(found) + 1))
    expected = {1, 2, 3, 4} if part == "train" else {-1, 0, 5, 6, 7}
    assert set(rows[:, 2]) == expected
    image = cv2.imread(str(root / f"bbox_{part}" / names[-1][:4] / names[-1]))
    assert image.shape == (64, 32, 3)


def test_mars_queries(mars):
    rows = scipy.io.loadmat(mars[0] / "info/tracks_test_info.mat")["track_test_info"].astype(int)
    queries = scipy.io.loadmat(mars[0] / "info/query_IDX.mat")["query_IDX"]
    assert queries.dtype == np.uint16 and queries.shape == (1, 9)
    asked = rows[queries[0].astype(int) - 1, 2:]
    assert len({tuple(row) for row in asked}) == 9 and (asked[:, 0] > 0).all()


def test_mars_is_the_same_whichever_thread_is_first(mars):
    files = [sorted(path.relative_to(root) for path in root.rglob("*.jpg")) for root in mars]
    assert files[0] == files[1]
    assert all((mars[0] / path).read_bytes() == (mars[1] / path).read_bytes() for path in files[0])


def test_a_failed_write_leaves_the_old_tree(mars, monkeypatch):
    before = sorted(mars[1].rglob("*"))
    monkeypatch.setattr("reidkit.data.mars.savemat", lambda *_: (_ for _ in ()).throw(OSError("disk full")))
    few = World(num_people=2, num_cameras=1)
    with pytest.raises(OSError, match="disk full"):
        write_mars(render_tracklets(few, frames=(1, 2), num_distractors=0, num_junk=0), mars[1])
    assert sorted(mars[1].rglob("*")) == before


def test_mot_layout(world, tmp_path):
    videos = render_videos(world, cameras=[0, 2], num_frames=6, num_visible=4, seed=5, size=SIZE)
    root = write_mot_videos(videos, tmp_path / "mot")
    assert sorted(path.name for path in root.iterdir()) == ["synth-C1", "synth-C3"]
    for camera_id, name in ((0, "synth-C1"), (2, "synth-C3")):
        settings_ = configparser.ConfigParser()
        settings_.read(root / name / "seqinfo.ini")
        info = settings_["Sequence"]
        assert (info["name"], info["imDir"], info["imExt"]) == (name, "img1", ".jpg")
        assert (info.getint("seqLength"), info.getint("imWidth"), info.getint("imHeight")) == (6, 320, 180)
        truth = np.loadtxt(root / name / "gt/gt.txt", delimiter=",", ndmin=2)
        found = np.loadtxt(root / name / "det/det.txt", delimiter=",", ndmin=2)
        assert truth.shape[1] == 9 and found.shape[1] == 10 and (found[:, 1] == -1).all()
        assert (truth[:, 6:8] == 1).all() and ((found[:, 6] > 0) & (found[:, 6] < 1)).all()
        film = render_frames(world, camera_id, 6, num_visible=4, seed=5, size=SIZE)
        for frame in film:
            rows = truth[truth[:, 0] == frame.index + 1]
            assert rows[:, 1].tolist() == frame.person_ids.tolist()
            np.testing.assert_allclose(rows[:, 2:4] - 1, frame.boxes[:, :2], atol=0.01)
            np.testing.assert_allclose(rows[:, 2:4] - 1 + rows[:, 4:6], frame.boxes[:, 2:], atol=0.02)
            np.testing.assert_allclose(rows[:, 8], frame.visibility, rtol=1e-3, atol=1e-4)
            assert cv2.imread(str(root / name / f"img1/{frame.index + 1:06d}.jpg")).shape == (180, 320, 3)


def test_no_torch_needed():
    code = "import sys, reidkit.data.synth; print('torch' in sys.modules)"
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "False"


def test_streams_of_different_purposes_are_unrelated():
    assert generator(0, "people", 1).random() != generator(0, "people", 2).random()
