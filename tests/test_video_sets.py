"""Three sets of tracklets: round trips, splits against their oracle, whole trees by name, damage."""

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.io import savemat

from reidkit.core import ConfigError, DataError
from reidkit.data.layouts import Tracklet
from reidkit.data.synth import World, render_tracklets
from reidkit.data.table import frame_paths, missing_images, read_table, write_table
from reidkit.data.video_sets import (
    PRID_MIN_FRAMES,
    draw_split,
    parse_duke_name,
    read_duke_video,
    read_ilids_video,
    read_prid,
    read_split,
    write_duke_video,
    write_ilids_video,
    write_prid,
)

SPLITS = "train-test people splits/train_test_splits_ilidsvid.mat"


def tracklet(role: str, person: int, camera: int, number: int, frames: int = 2) -> Tracklet:
    images = [np.full((8, 4, 3), (10 * person + number) % 256, np.uint8)] * frames
    return Tracklet("train" if role == "train" else "test", role, person, camera, number, images)


PAIRS = [
    tracklet(
        role if role == "train" or camera == 0 else "gallery", person, camera, camera + 1, person % 3 + 1
    )
    for person, role in ((2, "train"), (9, "query"), (4, "train"), (11, "query"), (30, "train"))
    for camera in (0, 1)
]
SEVERAL = [
    *PAIRS,
    tracklet("gallery", 9, 0, 3, 12),
    tracklet("gallery", 77, 7, 1),
    tracklet("train", 2, 4, 3),
]


def of_tracklets(tracklets: list[Tracklet]) -> list[tuple]:
    return sorted((t.split, t.role, t.person_id, t.camera_id, len(t.images)) for t in tracklets)


def of_table(table: pd.DataFrame) -> list[tuple]:
    columns = ["split", "role", "person_id", "camera_id", "num_frames"]
    return sorted(table[columns].itertuples(index=False, name=None))


def read_prid_split(root: Path) -> pd.DataFrame:
    return read_prid(root, splits=root / "splits_prid2011.json")


LAYOUTS: dict[str, tuple[Callable, Callable, list[Tracklet]]] = {
    "duke": (write_duke_video, read_duke_video, SEVERAL),
    "ilids": (write_ilids_video, read_ilids_video, PAIRS),
    "prid": (write_prid, read_prid_split, PAIRS),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_round_trip(layout: str, tmp_path: Path) -> None:
    write, read, tracklets = LAYOUTS[layout]
    root = write(iter(tracklets), tmp_path / "tree")
    table = read(root)
    assert of_table(table) == of_tracklets(tracklets)
    assert len(missing_images(table)) == 0
    images = [path for row in table.itertuples() for path in frame_paths(row.frames_dir, row.frames)]
    assert sorted(images) == sorted(path for path in root.rglob("*") if path.suffix in (".jpg", ".png"))
    for _, part in table.groupby("split"):
        assert part["sequence_id"].tolist() == list(range(1, len(part) + 1))
    back = read_table(write_table(table, tmp_path / "index.parquet"))
    assert back["frames"].tolist() == table["frames"].tolist()
    assert {path.name for path in tmp_path.iterdir()} == {"tree", "index.parquet"}


def test_round_trip_of_the_rendered_world(tmp_path: Path) -> None:
    world = World(seed=1, num_people=4, num_cameras=2)
    options = {"frames": (1, 3), "num_distractors": 0, "num_junk": 0, "size": (64, 32)}
    tracklets = list(render_tracklets(world, num_train=2, tracklets_per_camera=1, **options))
    by_camera = [
        replace(t, role=("query", "gallery")[t.camera_id]) if t.split == "test" else t for t in tracklets
    ]
    assert of_table(read_ilids_video(write_ilids_video(tracklets, tmp_path / "a"))) == of_tracklets(by_camera)
    assert of_table(read_prid_split(write_prid(tracklets, tmp_path / "b"))) == of_tracklets(by_camera)
    assert of_table(read_duke_video(write_duke_video(tracklets, tmp_path / "c"))) == of_tracklets(tracklets)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_an_interrupted_writer_leaves_what_was_there(layout: str, tmp_path: Path) -> None:
    write, _, tracklets = LAYOUTS[layout]

    def broken() -> Iterator[Tracklet]:
        yield from tracklets[:3]
        raise RuntimeError("the renderer stopped")

    root = write(tracklets, tmp_path / "tree")
    before = sorted(root.rglob("*"))
    with pytest.raises(RuntimeError, match="stopped"):
        write(broken(), root)
    assert sorted(root.rglob("*")) == before
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"person_id": -1, "role": "junk"}, "no place for a junk tracklet of person -1"),
        ({"person_id": 0, "role": "distractor"}, "no place for a distractor tracklet of person 0"),
        ({"split": "val"}, "in the split val"),
        ({"role": "train", "split": "test"}, "a train tracklet of person"),
        ({"images": []}, "with 0 frames"),
        ({"person_id": 12345}, "no DukeMTMC-VideoReID file name|does not fit"),
        ({"camera_id": 9}, "no DukeMTMC-VideoReID file name|does not fit"),
    ],
)
def test_writers_refuse_what_a_layout_cannot_hold(
    layout: str, changes: dict, message: str, tmp_path: Path
) -> None:
    write, _, tracklets = LAYOUTS[layout]
    with pytest.raises(DataError, match=message):
        write([*tracklets[:2], replace(tracklets[2], **changes), *tracklets[3:]], tmp_path / "tree")
    assert not any(tmp_path.iterdir())


def test_two_views_hold_pairs_only(tmp_path: Path) -> None:
    for write in (write_ilids_video, write_prid):
        with pytest.raises(DataError, match="needs person 30 in both cameras"):
            write(PAIRS[:-1], tmp_path / "tree")
        with pytest.raises(DataError, match="needs person 30 in both cameras and in one split"):
            write([*PAIRS[:-1], replace(PAIRS[-1], split="test", role="gallery")], tmp_path / "tree")
        with pytest.raises(DataError, match="person 30 in camera 1 does not fit, or is there twice"):
            write([*PAIRS, PAIRS[-1]], tmp_path / "tree")
    with pytest.raises(DataError, match="people 1 to 200"):
        write_prid([replace(t, person_id=201) for t in PAIRS[:2]], tmp_path / "tree")
    with pytest.raises(DataError, match="tests half of the people, and here 2 of 2"):
        write_ilids_video([*PAIRS[2:4], *PAIRS[6:8]], tmp_path / "tree")


@pytest.mark.parametrize(
    ("read", "expects"),
    [
        (read_duke_video, "there should be train/0001/0003"),
        (read_ilids_video, "i-LIDS-VID/sequences or sequences"),
        (read_prid, "multi_shot or prid_2011/multi_shot"),
    ],
)
def test_nothing_there_says_what_was_expected(read: Callable, expects: str, tmp_path: Path) -> None:
    for root in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(DataError, match=expects):
            read(root)


# ---- DukeMTMC-VideoReID ---------------------------------------------------------------------


@given(
    st.integers(1, 9999),
    st.integers(1, 9),
    st.integers(0, 9999),
    st.integers(0, 10**6),
    st.sampled_from(["", "_"]),
)
def test_duke_names(person: int, camera: int, frame: int, video_frame: int, gap: str) -> None:
    name = gap.join([f"{person:04d}", f"C{camera}", f"F{frame:04d}", f"X{video_frame}.jpg"])
    assert parse_duke_name(name) == (person, camera, frame, video_frame)


@pytest.mark.parametrize(
    "name", ["0000_C1_F0001_X1.jpg", "0001_C0_F0001_X1.jpg", "0001_C1_F1_X1.jpg", "a.jpg", ""]
)
def test_other_names_are_not_dukes(name: str) -> None:
    with pytest.raises(DataError, match="no DukeMTMC-VideoReID file name"):
        parse_duke_name(name)


def touch(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root


def test_gaps_old_names_and_hidden_files(tmp_path: Path) -> None:
    folder = "DukeMTMC-VideoReID/train/0007/0021/"
    names = ["0007C3F0010X900.jpg", "0007C3F0002X12.jpg", "0007C3F0101X1300.jpg"]
    touch(
        tmp_path, *(folder + name for name in names), folder + "._0007C3F0010X900.jpg", folder + "Thumbs.db"
    )
    touch(tmp_path, "DukeMTMC-VideoReID/.DS_Store", "DukeMTMC-VideoReID/train/.DS_Store")
    row = read_duke_video(tmp_path).iloc[0]
    assert (row["person_id"], row["camera_id"], row["num_frames"]) == (7, 2, 3)
    assert row["frames"] == ["0007C3F0002X12.jpg", "0007C3F0010X900.jpg", "0007C3F0101X1300.jpg"]
    assert row["frames_dir"] == str(tmp_path / folder.rstrip("/"))


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (
            ["train/0001/0001/0001_C1_F0001_X1.jpg", "train/0001/0001/0001_C2_F0002_X1.jpg"],
            "mixes the tracklets",
        ),
        (["train/0001/0001/0002_C1_F0001_X1.jpg"], "lies under person 0001 and holds 0002"),
        (["train/0001/0001/frame.jpg"], r"train/0001/0001: 'frame.jpg' is no"),
        (
            ["train/0001/0001/0001_C1_F0001_X1.jpg", "train/0001/0001/0001C1F0001X1.jpg"],
            "holds the frame of .* twice",
        ),
        (["train/0001/0001/notes.txt"], "holds no image like"),
        (["train/anna/0001/0001_C1_F0001_X1.jpg"], "anna is no person's folder"),
        (
            ["train/0001/0001/0001_C1_F0001_X1.jpg", "query/0001/0001/0001_C1_F0001_X1.jpg"],
            "person 1 is in the training and in the test rows",
        ),
    ],
)
def test_damaged_duke_trees(names: list[str], message: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=message):
        read_duke_video(touch(tmp_path, *names))


@pytest.mark.parametrize("kept", ["train", "query", "gallery"])
def test_one_part_is_enough_and_told(kept: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    root = write_duke_video(SEVERAL, tmp_path / "duke")
    for part in {"train", "query", "gallery"} - {kept}:
        (root / part).rename(tmp_path / part)
    assert read_duke_video(root)["role"].unique().tolist() == [kept]
    assert "is not the whole of DukeMTMC-VideoReID" in caplog.text


# ---- splits -----------------------------------------------------------------------------------


@settings(max_examples=50)
@given(number=st.integers(2, 20), split=st.integers(0, 3), seed=st.integers(0, 2**31))
def test_a_matlab_split_tests_the_first_half_of_the_places(
    number: int, split: int, seed: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    rng = np.random.default_rng(seed)
    people = [
        f"person{person:03d}" for person in np.sort(rng.choice(np.arange(1, 320), number, replace=False))
    ]
    rows = np.array([rng.permutation(number) + 1 for _ in range(4)])
    path = tmp_path_factory.mktemp("splits") / "splits.mat"
    savemat(path, {"ls_set": rows.astype(np.uint16)})
    train, test = read_split(path, people, split)
    assert test == sorted(people[place - 1] for place in rows[split][: number // 2])
    assert train == sorted(people[place - 1] for place in rows[split][number // 2 :])


@given(st.integers(2, 40), st.integers(0, 1000))
def test_a_drawn_split_halves_everybody(number: int, split: int) -> None:
    people = [f"person_{person:04d}" for person in range(1, number + 1)]
    train, test = draw_split(people, split)
    assert sorted(train + test) == people
    assert len(train) - len(test) == number % 2
    assert (train, test) == draw_split(people, split)


def test_draws_differ_and_test_everybody_at_times() -> None:
    people = [f"person_{person:04d}" for person in range(1, 21)]
    tests = [tuple(draw_split(people, split)[1]) for split in range(30)]
    assert len(set(tests)) == 30
    assert set().union(*tests) == set(people)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('[{"train": ["a"], "test": ["a", "b"]}]', "a is in the training and in the test half"),
        ('[{"train": ["a"], "test": ["c"]}]', "names c, who is not there in both cameras"),
        ('[{"train": ["a"]}]', "cannot be read as a list"),
        ('{"train": ["a"], "test": ["b"]}', "cannot be read as a list"),
        ("[", "cannot be read as a list"),
    ],
)
def test_damaged_json_splits(content: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "splits.json").write_text(content)
    with pytest.raises(DataError, match=message):
        read_split(tmp_path / "splits.json", ["a", "b"])


def test_damaged_matlab_splits(tmp_path: Path) -> None:
    path = tmp_path / "splits.mat"
    with pytest.raises(DataError, match="does not exist: give the split file"):
        read_split(path, ["a", "b"])
    path.write_bytes(b"nothing")
    with pytest.raises(DataError, match="cannot be read as a Matlab file with ls_set"):
        read_split(path, ["a", "b"])
    savemat(path, {"other": np.ones(2)})
    with pytest.raises(DataError, match="cannot be read as a Matlab file with ls_set"):
        read_split(path, ["a", "b"])
    for rows in ([[1, 1]], [[0, 1]], [[1, 2, 3]]):
        savemat(path, {"ls_set": np.array(rows)})
        with pytest.raises(DataError, match="is no order of the 2 people"):
            read_split(path, ["a", "b"])
    savemat(path, {"ls_set": np.array([[1, 2]])})
    for split in (1, -1):
        with pytest.raises(ConfigError, match=f"splits 0 to 0, not {split}"):
            read_split(path, ["a", "b"], split)


# ---- whole trees, names only ------------------------------------------------------------------


def whole(caplog: pytest.LogCaptureFixture, name: str) -> bool:
    return f"all of {name} is there" in caplog.text and "is not the whole" not in caplog.text


def test_a_whole_ilids_tree_whose_people_have_gaps(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", logger="reidkit")
    rng = np.random.default_rng(0)
    numbers = np.sort(rng.choice(np.arange(1, 320), 300, replace=False)).tolist()
    for camera in (1, 2):
        folders = (
            f"i-LIDS-VID/sequences/cam{camera}/person{n:03d}/cam{camera}_person{n:03d}" for n in numbers
        )
        touch(tmp_path, *(f"{folder}_00317.png" for folder in folders))
    rows = np.array([rng.permutation(300) + 1 for _ in range(10)])
    (tmp_path / SPLITS).parent.mkdir()
    savemat(tmp_path / SPLITS, {"ls_set": rows})
    table = read_ilids_video(tmp_path, split=9)
    assert whole(caplog, "iLIDS-VID")
    queries = table[table["role"] == "query"]
    assert sorted(queries["person_id"]) == sorted(numbers[place - 1] for place in rows[9][:150])
    assert set(queries["camera_id"]) == {0}
    assert set(table[table["role"] == "gallery"]["camera_id"]) == {1}


def prid_tree(root: Path, long: list[int], short: list[int]) -> Path:
    """Frames of PRID-2011 by name: `long` have just enough, `short` one less in camera B; A and B have namesakes."""
    for camera in "ab":
        for person in [*long, *short]:
            number = PRID_MIN_FRAMES - (person in short and camera == "b")
            names = (
                f"multi_shot/cam_{camera}/person_{person:04d}/{frame:04d}.png"
                for frame in range(1, number + 1)
            )
            touch(root, *names)
        touch(root, *(f"multi_shot/cam_{camera}/person_{person:04d}/0001.png" for person in (201, 202)))
    return touch(root, "multi_shot/cam_b/person_0749/0001.png")


def test_a_whole_prid_tree_keeps_178_people(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", logger="reidkit")
    short = list(range(5, 200, 9))[:22]
    root = prid_tree(tmp_path, [person for person in range(1, 201) if person not in short], short)
    table = read_prid(root, split=3)
    assert whole(caplog, "PRID-2011")
    assert "split 3 of a draw, 89 people for training, 89 for testing" in caplog.text
    assert not set(table["person_id"]) & {*short, 201, 202, 749}
    assert len(read_prid(root, min_frames=PRID_MIN_FRAMES - 1)) == 400


def test_prid_splits_by_name_and_by_place(tmp_path: Path) -> None:
    root = prid_tree(tmp_path, [1, 3, 4, 8], [2, 6])
    (root / "splits.json").write_text(
        json.dumps([{"train": ["person_0003", "person_0002"], "test": ["person_0001"]}])
    )
    table = read_prid(root, splits=root / "splits.json")
    assert table.groupby("role")["person_id"].agg(list).to_dict() == {
        "train": [3, 3, 2, 2],
        "query": [1],
        "gallery": [1],
    }
    savemat(
        root / "splits.mat", {"ls_set": np.array([[3, 4, 1, 2]])}
    )  # places among the four with enough frames
    table = read_prid(root, splits=root / "splits.mat")
    assert table[table["role"] == "query"]["person_id"].tolist() == [4, 8]
    with pytest.raises(DataError, match="0 people have 99 frames"):
        read_prid(root, min_frames=99)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("i-LIDS-VID/sequences/cam1/person002/cam2_person002_00009.png", "is no frame of cam1 and person002"),
        ("i-LIDS-VID/sequences/cam1/person002/cam1_person004_00009.png", "is no frame of cam1 and person002"),
        ("i-LIDS-VID/sequences/cam1/anna/cam1_anna_00009.png", "anna is no person's folder"),
        (
            "i-LIDS-VID/sequences/cam1/person005/cam1_person005_00009.png",
            "person005 is in one of cam1 and cam2",
        ),
    ],
)
def test_damaged_ilids_trees(name: str, message: str, tmp_path: Path) -> None:
    root = write_ilids_video(PAIRS, tmp_path / "ilids")
    with pytest.raises(DataError, match=message):
        read_ilids_video(touch(root, name))


def test_missing_pieces_of_two_views(tmp_path: Path) -> None:
    root = write_ilids_video(PAIRS, tmp_path / "ilids")
    (root / SPLITS).rename(tmp_path / "splits.mat")
    with pytest.raises(DataError, match=r"train_test_splits_ilidsvid.mat does not exist"):
        read_ilids_video(root)
    assert of_table(read_ilids_video(root, splits=tmp_path / "splits.mat")) == of_tracklets(PAIRS)
    (root / "i-LIDS-VID" / "sequences").rename(root / "sequences")
    assert of_table(read_ilids_video(root, splits=tmp_path / "splits.mat")) == of_tracklets(PAIRS)
    (root / "sequences" / "cam2").rename(tmp_path / "cam2")
    with pytest.raises(DataError, match="cam2 does not exist: both cameras are needed"):
        read_ilids_video(root, splits=tmp_path / "splits.mat")
