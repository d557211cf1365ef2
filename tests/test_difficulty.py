"""The difficulty of the synthetic world: what every factor must do, and what none may break."""

from dataclasses import fields, replace

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reidkit.core import ConfigError, generator
from reidkit.data.difficulty import (
    Difficulty,
    cut_boxes,
    difficulty_table,
    draw_cuts,
    dress_people,
    is_chosen,
    set_camera,
    truth_table,
    wear,
)
from reidkit.data.people import PATTERNS, make_people, motion_kernel
from reidkit.data.places import make_cameras
from reidkit.data.synth import (
    World,
    film_tracklet,
    make_walk,
    render_frames,
    render_tracklet,
    render_tracklets,
)

SMALL = (64, 32)
FRAME = (90, 160)
FACTORS = [each.name for each in fields(Difficulty)]
BODY = (
    "person_id", "height", "build", "skin", "hair", "hair_style", "face", "stride", "speed", "swing",
)  # fmt: skip
OUTFIT = ("upper", "lower", "shoes", "hat", "hat_colour", "bag", "bag_colour")


def same_frames(one, other):
    for a, b in zip(one, other, strict=True):
        for name in ("image", "boxes", "person_ids", "visibility", "detections"):
            np.testing.assert_array_equal(getattr(a, name), getattr(b, name), err_msg=name)


def detail(images):
    """Mean energy of what is finer than two pixels."""
    return float(np.mean([cv2.Laplacian(image, cv2.CV_32F).var() for image in images]))


# ---- the knob ----------------------------------------------------------------------------------------------


def test_levels_meet_the_default_in_the_middle_and_move_one_way():
    assert Difficulty.at(0.5) == Difficulty()
    values = np.array(
        [[getattr(Difficulty.at(level), name) for name in FACTORS] for level in np.linspace(0, 1, 9)]
    )
    steps = np.diff(values, axis=0)
    assert ((steps >= 0).all(0) | (steps <= 0).all(0)).all()
    assert (values[0] != values[-1]).all(), "a factor that the knob does not move"
    assert difficulty_table().index.tolist() == FACTORS
    assert (difficulty_table()["low"] <= difficulty_table()[["easy", "usual", "hard"]].min(axis=1)).all()
    assert (difficulty_table()["high"] >= difficulty_table()[["easy", "usual", "hard"]].max(axis=1)).all()


@pytest.mark.parametrize("name", FACTORS)
def test_out_of_range_is_refused_by_name(name):
    low, high = next(
        (each.metadata["low"], each.metadata["high"]) for each in fields(Difficulty) if each.name == name
    )
    for value in (low - 0.01, high + 0.01, float("nan"), "much", None):
        with pytest.raises(ConfigError, match=f"{name} is .*give a number from {low} to {high} "):
            Difficulty(**{name: value})
    for value in (low, high):
        assert getattr(Difficulty(**{name: value}), name) == value


@pytest.mark.parametrize("level", [-0.1, 1.1, float("nan")])
def test_levels_out_of_range_are_refused(level):
    with pytest.raises(ConfigError, match=r"from 0 \(easy\) over 0.5"):
        Difficulty.at(level)


def test_no_difficulty_is_the_default():
    plain, named = World(4, 6, 3), World(4, 6, 3, Difficulty())
    assert plain.people == named.people == make_people(6, 4)
    assert plain.cameras == named.cameras == make_cameras(3, 4)
    same_frames(render_frames(plain, 1, 4, size=FRAME), render_frames(named, 1, 4, size=FRAME))
    options = dict(frames=(1, 2), tracklets_per_camera=1, size=SMALL)
    pairs = zip(render_tracklets(plain, **options), render_tracklets(named, **options), strict=True)
    assert all((a.images == b.images).all() for a, b in pairs)


@pytest.mark.parametrize("level", [0.0, 0.3, 0.5, 0.8, 1.0])
def test_a_seed_repeats_at_every_level(level):
    worlds = [World(seed, 6, 2, Difficulty.at(level)) for seed in (2, 2, 3)]
    films = [list(render_frames(world, 0, 5, seed=1, size=FRAME)) for world in worlds]
    same_frames(films[0], films[1])
    assert any((a.image != b.image).any() for a, b in zip(films[0], films[2], strict=True))
    found = [film_tracklet(world, 3, 1, 3, seed=1, size=SMALL) for world in worlds]
    np.testing.assert_array_equal(found[0][0], found[1][0])
    assert (found[0][0] != found[2][0]).any()
    assert all((found[0][1][name] == found[1][1][name]).all() for name in found[0][1])


# ---- clothes -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("level", [0.5, 1.0])
def test_look_alikes_share_the_whole_outfit_and_nothing_of_the_body(level):
    people = make_people(40, seed=2)
    dressed = dress_people(people, replace(Difficulty.at(level), lookalikes=1.0), seed=2)
    for one, two in zip(dressed[::2], dressed[1::2], strict=True):
        assert all(getattr(one, name) == getattr(two, name) for name in OUTFIT)
        assert any(
            getattr(one, name) != getattr(two, name) for name in ("skin", "hair", "hair_style", "face")
        )
    for before, after in zip(people, dressed, strict=True):
        assert all(getattr(before, name) == getattr(after, name) for name in BODY)


def test_shares_are_met_and_grow_by_adding():
    people = make_people(80)
    before: set[int] = set()
    for share in (0.1, 0.25, 0.5, 0.75, 1.0):
        dressed = dress_people(people, Difficulty(lookalikes=share))
        twins = {k for k in range(0, 80, 2) if wear(dressed[k + 1], dressed[k]) == dressed[k + 1]}
        assert abs(len(twins) - share * 40) <= 2 and before <= twins
        before = twins


def test_uniforms_are_three_and_bags_stay_their_own():
    people = make_people(40, seed=1)
    dressed = dress_people(people, Difficulty(uniforms=1.0), seed=1)
    assert len({(each.upper, each.lower, each.shoes, each.hat) for each in dressed}) == 3
    assert [each.bag for each in dressed] == [each.bag for each in people]


def test_own_colours_are_nobody_elses():
    dressed = dress_people(make_people(60), Difficulty(shared_colours=0.0))
    assert len({(each.upper.colour, each.lower.colour) for each in dressed}) == 60
    assert all(each.upper.colour == each.lower.second for each in dressed)


def test_one_sided_clothes_look_plain_from_behind():
    dressed = dress_people(make_people(40), Difficulty(one_sided=1.0))
    assert {each.upper.pattern for each in dressed} == {"print", "jacket"} <= set(PATTERNS)


def test_changed_clothes_really_change_and_the_flag_says_so():
    world = World(3, 8, 4, Difficulty(clothing_change=0.5))
    for person_id in range(1, 9):
        usual, *others = (world.person(person_id, outfit) for outfit in range(3))
        assert usual == world.people[person_id - 1]
        for other in others:
            assert other.upper != usual.upper and other.lower != usual.lower
            assert all(getattr(other, name) == getattr(usual, name) for name in (*BODY, "bag", "bag_colour"))
        assert others[0] != others[1]
    still = World(3, 8, 4)
    for person_id in range(1, 9):
        for camera_id in range(4):
            crops, truth = film_tracklet(world, person_id, camera_id, 2, seed=5, size=SMALL)
            outfit = world.outfit(person_id, camera_id, 5)
            assert (truth["outfit"] == outfit).all()
            usual_crops = render_tracklet(still, person_id, camera_id, 2, seed=5, size=SMALL)
            if outfit:
                assert (crops != usual_crops).any()
    worn = [world.outfit(k, c, s) for k in range(1, 9) for c in range(4) for s in range(20)]
    assert abs(np.mean(np.array(worn) > 0) - 0.5) < 0.08 and set(worn) == {0, 1, 2}
    assert all(still.outfit(k, 0) == 0 for k in range(1, 9))


def test_people_keep_their_outfit_through_a_video():
    world = World(0, 4, 1, replace(Difficulty(), clothing_change=1.0))
    plain = World(0, 4, 1)
    changed = list(render_frames(world, 0, 8, num_visible=3, size=FRAME))
    usual = list(render_frames(plain, 0, 8, num_visible=3, size=FRAME))
    for a, b in zip(changed, usual, strict=True):  # the same ways, other clothes
        np.testing.assert_array_equal(a.person_ids, b.person_ids)
        assert (a.image != b.image).any() or not len(a.boxes)


# ---- cameras -----------------------------------------------------------------------------------------------


def test_a_cast_grows_with_its_strength_and_leaves_the_default_alone():
    for camera in make_cameras(8):
        assert set_camera(camera, Difficulty()) == camera
        away = [
            np.abs(np.array(set_camera(camera, Difficulty(camera_cast=strength)).colour) - np.eye(3)).max()
            for strength in (0.0, 0.5, 1.0, 2.0)
        ]
        assert away[0] == 0 and (np.diff(away) > 0).all()
        bare = set_camera(camera, Difficulty(obstacles=0.0, shade=0.0))
        assert bare.occluders == () and bare.vignette == 0
        np.testing.assert_array_equal(bare.brightness(np.linspace(-3, 3, 5), np.full(5, 8.0)), 1.0)


def test_low_resolution_takes_the_detail_away():
    worlds = [World(1, 8, 2, Difficulty(resolution=share)) for share in (1.0, 0.5, 0.25, 0.1)]
    crops = [
        detail(np.concatenate([render_tracklet(world, who, 0, 2, size=(128, 64)) for who in range(1, 7)]))
        for world in worlds
    ]
    frames = [detail([frame.image for frame in render_frames(world, 0, 3, size=FRAME)]) for world in worlds]
    assert crops == sorted(crops, reverse=True) and crops[-1] < 0.2 * crops[0]
    assert frames[0] == frames[1] > frames[2] > frames[3]  # at half and above, frames have all their cells
    heights = [film_tracklet(world, 2, 0, 1, size=(128, 64))[1]["height"][0] for world in worlds]
    assert heights == sorted(heights, reverse=True)


@settings(max_examples=60, deadline=None)
@given(dx=st.floats(-40, 40), dy=st.floats(-40, 40))
def test_a_motion_kernel_spreads_light_and_loses_none(dx, dy):
    kernel = motion_kernel(dx, dy).astype(float)
    assert kernel.shape[0] % 2 == kernel.shape[1] % 2 == 1
    assert (kernel >= 0).all() and abs(kernel.sum() - 1) < 1e-5
    rows, columns = np.indices(kernel.shape)
    for axis, way in ((columns, dx), (rows, dy)):
        away = axis - axis.mean()
        assert abs((kernel * away).sum()) < 1e-3
        variance = (kernel * away**2).sum()
        assert way**2 / 12 * 0.9 - 0.05 <= variance <= way**2 / 12 + 0.3  # a line, soft by less than a pixel


def test_blur_grows_with_the_speed_and_the_exposure():
    camera = make_cameras(1)[0]
    slow, fast = (replace(make_people(1)[0], speed=speed) for speed in (0.8, 1.6))
    ways = [
        make_walk(person, camera, np.array([[0.0, 7.0]]), np.array([np.pi / 2]), FRAME).speed[0]
        for person in (slow, fast)
    ]
    np.testing.assert_allclose(ways[1], 2 * ways[0], rtol=0.02, atol=1e-3)
    assert ways[0][0] > 0 and abs(ways[0][1]) < 0.1 * ways[0][0]  # to the right, hardly up or down
    worlds = [World(2, 8, 2, Difficulty(exposure=seconds)) for seconds in (0.0, 0.02, 0.05, 0.1)]
    blur = np.array(
        [
            [film_tracklet(world, who, 0, 1, size=SMALL)[1]["blur"][0] for who in range(1, 9)]
            for world in worlds
        ]
    )
    assert (blur[0] == 0).all()
    np.testing.assert_allclose(blur[2:], np.outer([2.5, 5.0], blur[1]), rtol=1e-4)
    sharp, _, _, smeared = (
        detail(np.concatenate([render_tracklet(world, who, 0, 1) for who in range(1, 9)])) for world in worlds
    )
    assert smeared < sharp
    shaken = Difficulty(exposure=0.05, shake=40.0)
    film = [
        detail([frame.image for frame in render_frames(World(2, 8, 1, hard), 0, 2, size=(180, 320))])
        for hard in (replace(shaken, shake=0.0), shaken)
    ]
    assert film[1] < 0.8 * film[0]


def test_a_walker_is_seen_at_the_speed_of_the_frames():
    """The speed that blurs is the speed at which boxes move."""
    frames = list(render_frames(World(5, 1, 1), 0, 60, people=[1], size=(180, 320)))
    place = {frame.index: frame.boxes[0, [0, 2]].mean() for frame in frames if len(frame.boxes)}
    assert len(place) > 20
    camera = World(5, 1, 1).camera(0)
    person = World(5, 1, 1).person(1)
    steps = np.arange(40)[:, None] * person.speed / 15
    walk = make_walk(
        person, camera, np.array([[-1.0, 8.0]]) + steps * [0.6, 0.8], np.full(40, 0.6435), (180, 320)
    )
    moved = np.gradient(walk.ground[:, 0]) * 15
    np.testing.assert_allclose(walk.speed[1:-1, 0], moved[1:-1], rtol=0.15, atol=1.0)


# ---- boxes -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("change", [dict(exposure=0.08), dict(exposure=0.05, shake=30.0), dict(resolution=0.1),
                                    dict(jitter=0.2), dict(cut=1.0)])  # fmt: skip
def test_the_truth_stays_exact_whatever_the_camera_and_the_detector_do(change):
    sharp, hard = World(6, 10, 1), World(6, 10, 1, Difficulty(**change))
    for a, b in zip(
        render_frames(sharp, 0, 6, seed=2, size=FRAME),
        render_frames(hard, 0, 6, seed=2, size=FRAME),
        strict=True,
    ):
        np.testing.assert_array_equal(a.boxes, b.boxes)
        np.testing.assert_array_equal(a.visibility, b.visibility)
        np.testing.assert_array_equal(a.person_ids, b.person_ids)


def test_without_jitter_crops_hold_the_whole_body():
    calm = Difficulty(jitter=0.0, neighbours=0.0, obstacles=0.0)
    for who in range(1, 7):
        _, truth = film_tracklet(World(1, 6, 2, calm), who, 0, 4, size=SMALL)
        assert truth["visible"].min() > 0.97
        _, lost = film_tracklet(World(1, 6, 2, replace(calm, cut=1.0)), who, 0, 4, size=SMALL)
        assert lost["visible"].max() < 0.97


@settings(max_examples=30, deadline=None)
@given(share=st.floats(0, 1), num=st.integers(0, 40), seed=st.integers(0, 99))
def test_cuts_take_the_head_or_the_feet_and_leave_a_box(share, num, seed):
    lost = draw_cuts(num, share, generator(seed, "cuts"))
    assert lost.shape == (num, 2) and (lost >= 0).all() and (lost <= 0.35).all()
    assert ((lost > 0).sum(1) <= 1).all()
    boxes = np.tile([10.0, 20, 30, 80], (num, 1))
    cut = cut_boxes(boxes, lost)
    assert (cut[:, [0, 2]] == boxes[:, [0, 2]]).all() and (cut[:, 3] - cut[:, 1] >= 0.64 * 60).all()


def test_more_neighbours_hide_more():
    def seen(neighbours):
        world = World(0, 20, 4, Difficulty(neighbours=neighbours, obstacles=0.0, jitter=0.0))
        found = [
            film_tracklet(world, who, c, 1, size=SMALL)[1]["visible"]
            for who in range(1, 21)
            for c in range(4)
        ]
        return float(np.mean(found))

    alone, usual, crowd = seen(0.0), seen(0.65), seen(4.0)
    assert alone > 0.98 and alone > usual > crowd

    def video(neighbours):
        world = World(0, 30, 2, Difficulty(neighbours=neighbours, obstacles=0.0))
        frames = [f for c in range(2) for f in render_frames(world, c, 90, seed=1, size=FRAME)]
        return float(np.mean(np.concatenate([f.visibility for f in frames]))), np.mean(
            [len(f.boxes) for f in frames]
        )

    (free, few), (full, many) = video(0.65), video(4.0)
    assert (
        full < free and many > 0.75 * few
    )  # groups hide each other; there are not just more or fewer people


def test_views_stay_in_their_range():
    for view_range in (20.0, 60.0, 120.0):
        world = World(0, 20, 6, Difficulty(view_range=view_range))
        views = [
            film_tracklet(world, who, c, 1, size=SMALL)[1]["view"][0]
            for who in range(1, 21)
            for c in range(6)
        ]
        assert max(views) < view_range + 25  # the way bends a little
    free = [
        film_tracklet(World(0, 20, 4), who, c, 1, size=SMALL)[1]["view"][0]
        for who in range(1, 21)
        for c in range(4)
    ]
    assert max(free) > 150 and min(free) < 30


# ---- data sets ---------------------------------------------------------------------------------------------


def test_distractors_and_junk_come_in_the_numbers_asked_for():
    hard = Difficulty(distractors=5, junk=3, lookalikes=1.0)
    options = dict(frames=(1, 1), tracklets_per_camera=1, size=SMALL)

    def count(**change):
        roles = [each.role for each in render_tracklets(World(0, 4, 2, hard), **options, **change)]
        return roles.count("distractor"), roles.count("junk")

    assert count() == (5, 3)
    assert count(num_distractors=0, num_junk=1) == (0, 1)
    assert count(num_distractors=2) == (2, 3)


def test_truth_belongs_to_every_image_and_sums_up_in_a_table():
    tracklets = list(
        render_tracklets(
            World(1, 6, 2, Difficulty.at(1)), frames=(1, 3), num_distractors=8, num_junk=2, size=SMALL
        )
    )
    for each in tracklets:
        if each.truth is not None:
            assert set(each.truth) == {"view", "visible", "height", "blur", "outfit"}
            assert all(len(values) == len(each.images) for values in each.truth.values())
    empty = [each for each in tracklets if each.truth is None]
    assert len(empty) == 2 and all(each.role == "distractor" for each in empty)
    table = truth_table(tracklets)
    assert (
        table["view"].isin(["front", "side", "back", "nobody"]).all()
        and (table["view"] == "nobody").sum() == 2
    )
    known = table[table["view"] != "nobody"]
    assert known["visible"].between(0, 1).all() and (known["height"] > 0).all() and (known["blur"] > 0).all()


@st.composite
def difficulties(draw):
    table = difficulty_table()
    some = draw(st.sets(st.sampled_from(FACTORS), max_size=8))
    values = {
        name: draw(st.floats(float(table.loc[name, "low"]), float(min(table.loc[name, "high"], 60))))
        for name in some
    }
    for name in ("distractors", "junk"):
        values[name] = draw(st.integers(0, 3))
    values["view_range"] = values.get("view_range", 180.0) if values.get("view_range", 180.0) > 10 else 180.0
    return Difficulty(**values)


@settings(max_examples=25, deadline=None)
@given(hard=difficulties(), seed=st.integers(0, 50), num_people=st.integers(2, 7))
def test_nothing_breaks_at_any_difficulty(hard, seed, num_people):
    world = World(seed, num_people, 2, hard)
    assert [person.person_id for person in world.people] == list(range(1, num_people + 1))
    for frame in render_frames(world, seed % 2, 3, num_visible=4, seed=seed, size=FRAME):
        assert frame.image.shape == (*FRAME, 3) and frame.image.dtype == np.uint8
        assert len(set(frame.person_ids.tolist())) == len(frame.boxes) and set(frame.person_ids) <= set(
            range(1, 8)
        )
        assert (frame.boxes >= 0).all() and (frame.boxes <= [FRAME[1], FRAME[0]] * 2).all()
        assert (frame.boxes[:, 2:] > frame.boxes[:, :2]).all()
        assert ((frame.visibility >= 0) & (frame.visibility <= 1)).all()
        assert (frame.detections[:, 2:4] >= frame.detections[:, :2]).all()
    tracklets = list(render_tracklets(world, num_train=1, tracklets_per_camera=1, frames=(1, 2), size=SMALL))
    assert len(tracklets) == 2 * num_people + int(hard.distractors) + int(hard.junk)
    for each in tracklets:
        assert each.images.shape[1:] == (*SMALL, 3) and each.images.dtype == np.uint8
        if each.truth is not None:
            assert ((each.truth["visible"] >= 0) & (each.truth["visible"] <= 1)).all()
            assert ((each.truth["view"] >= 0) & (each.truth["view"] <= 180)).all()
            assert set(each.truth["outfit"]) <= {0, 1, 2}


def test_chosen_are_a_fixed_share_of_any_number():
    for share in (0.0, 0.2, 0.7, 1.0):
        for num in (5, 21, 200):
            chosen = sum(is_chosen(index, share, 9, "test") for index in range(num))
            assert abs(chosen - share * num) <= 2
