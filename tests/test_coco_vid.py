"""CocoVID: real sequences, every kind of damage, and what the converters must keep."""

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reidkit.core import ConfigError, DataError
from reidkit.data.coco_vid import (
    ILSVRC_VID_CLASSES,
    coco_vid_from_ilsvrc,
    coco_vid_from_ilsvrc_det,
    coco_vid_from_mot,
    read_coco_vid,
    write_coco_vid,
    write_ilsvrc_vid,
)
from reidkit.data.layouts import Frame
from reidkit.data.mot_sets import read_mot_tracklets
from reidkit.data.table import missing_images, read_table, write_table


def film(numbers: list[int], ids: tuple[int, ...] = (3, 5), seen: float = 0.4) -> Iterator[Frame]:
    """Flat pictures with one moving box and one that stays."""
    for index in numbers:
        boxes = np.array([[index, 4, index + 10, 24], [20, 8, 33.25, 30]], np.float32)
        image = np.full((40, 60, 3), index % 50 * 5, np.uint8)
        yield Frame(image, boxes, np.array(ids), np.array([1, seen]), index)


def content() -> dict[str, list[dict]]:
    """Two videos with gaps, written out of order."""
    images = [
        {"id": 7, "file_name": "b/000004.png", "video_id": 9, "frame_id": 4},
        {"id": 5, "file_name": "a/000010.png", "video_id": 2, "frame_id": 10},
        {"id": 6, "file_name": "a/000003.png", "video_id": 2, "frame_id": 3},
    ]
    boxes = [(11, 7, 4, 30), (13, 5, 2, 21), (12, 6, 2, 20), (14, 6, 3, 21)]
    annotations = [
        {"id": id_, "image_id": image, "category_id": 1, "instance_id": who, "bbox": [x, 2, 5.5, 8]}
        for id_, image, who, x in boxes
    ]
    return {
        "categories": [{"id": 1, "name": "person"}, {"id": 4, "name": "bag"}],
        "videos": [{"id": 2, "name": "a"}, {"id": 9, "name": "b"}],
        "images": images,
        "annotations": annotations,
    }


def save(path: Path, what: Any) -> Path:
    path.write_text(json.dumps(what))
    return path


def test_disorder_and_gaps(tmp_path: Path) -> None:
    table = read_coco_vid(save(tmp_path / "x.json", content()), "/pictures", split="test")
    assert table["person_id"].tolist() == [2, 3, 4]
    assert table["sequence_id"].tolist() == [1, 2, 3]
    assert table["video_id"].tolist() == ["a", "a", "b"]
    assert table["camera_id"].tolist() == [0, 0, 1]
    assert table["role"].tolist() == ["gallery"] * 3
    assert table["start"].tolist() == [3, 3, 4]
    row = table.iloc[0]
    assert (row["frames_dir"], row["frames"]) == ("/pictures/a", ["000003.png", "000010.png"])
    assert row["boxes"] == [[20, 2, 25.5, 10], [21, 2, 26.5, 10]]
    pd.testing.assert_frame_equal(read_table(write_table(table, tmp_path / "t.csv")), table)


def test_images_of_one_instance_in_two_folders(tmp_path: Path) -> None:
    changed = content()
    changed["images"][1]["file_name"] = "elsewhere/000010.png"
    row = read_coco_vid(save(tmp_path / "x.json", changed)).iloc[0]
    assert (row["frames_dir"], row["frames"]) == (str(tmp_path), ["a/000003.png", "elsewhere/000010.png"])


def test_crowds_are_junk_and_zero_is_somebody(tmp_path: Path) -> None:
    changed = content()
    for entry in changed["annotations"]:
        entry["instance_id"] -= 2
    changed["annotations"][3]["iscrowd"] = 1
    table = read_coco_vid(save(tmp_path / "x.json", changed))
    assert table[["person_id", "role"]].to_numpy().tolist() == [[1, "train"], [-1, "junk"], [3, "train"]]


def test_shared_ids(tmp_path: Path) -> None:
    changed = content()
    changed["annotations"][0]["instance_id"] = 2
    with pytest.raises(DataError, match=r"annotations\[1\] \(id 13\) .* shared_ids \(2 entries"):
        read_coco_vid(save(tmp_path / "x.json", changed))
    table = read_coco_vid(tmp_path / "x.json", shared_ids=True)
    assert table[["person_id", "camera_id"]].to_numpy().tolist() == [[2, 0], [3, 0], [2, 1]]


def edit(of: str, place: int, /, **fields: Any) -> Callable[[dict], None]:
    return lambda what: what[of][place].update(fields)


def drop(name: str, place: int, key: str) -> Callable[[dict], None]:
    return lambda what: what[name][place].pop(key)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (
            edit("images", 2, video_id=3),
            "images[2] (id 6) has video_id 3, but no entry of videos has that id",
        ),
        (edit("images", 2, id=7), "images[2] (id 7) has the id of an entry above"),
        (edit("images", 2, frame_id=10), "images[2] (id 6) has the video_id and frame_id of an image above"),
        (edit("images", 0, frame_id=-1), "images[0] (id 7) has frame_id -1, not a whole number ≥ 0"),
        (edit("images", 0, file_name=""), "images[0] (id 7) has no file_name"),
        (drop("images", 1, "frame_id"), "images[1] (id 5) lacks frame_id"),
        (edit("videos", 1, name="a"), "videos[1] (id 9) has the name of a video above"),
        (edit("annotations", 1, image_id=1), "annotations[1] (id 13) has image_id 1, but no entry of images"),
        (edit("annotations", 1, category_id=2), "has category_id 2, but no entry of categories has that id"),
        (edit("annotations", 1, video_id=9), "annotations[1] (id 13) has another video_id than its image"),
        (edit("annotations", 3, instance_id=2), "annotations[3] (id 14) has the image_id and instance_id"),
        (edit("annotations", 2, category_id=4), "is of another category than its instance above"),
        (edit("annotations", 2, bbox=[1, 2, 3]), "annotations[2] (id 12) has no bbox [x, y, w, h]"),
        (edit("annotations", 2, bbox=[1, 2, "3", 4]), "annotations[2] (id 12) has no bbox [x, y, w, h]"),
        (edit("annotations", 2, bbox=[1, 2, -3, 4]), "has the bbox [1, 2, -3, 4]; w and h must be positive"),
        (edit("annotations", 2, instance_id=1.5), "annotations[2] (id 12) has instance_id 1.5, not a whole"),
        (drop("annotations", 0, "instance_id"), "annotations[0] (id 11) lacks instance_id"),
        (lambda what: what["annotations"].insert(1, "text"), "annotations[1] (id None) lacks id"),
        (lambda what: what.pop("videos"), "lacks the list videos"),
        (lambda what: what.update(annotations=[]), "has no annotation"),
    ],
)
def test_damage_is_named(tmp_path: Path, damage: Callable[[dict], None], message: str) -> None:
    changed = content()
    damage(changed)
    with pytest.raises(DataError, match=re.escape(message)) as caught:
        read_coco_vid(save(tmp_path / "x.json", changed))
    assert "x.json" in str(caught.value)


def test_no_json(tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text("{")
    with pytest.raises(DataError, match="is no JSON file"):
        read_coco_vid(tmp_path / "x.json")
    with pytest.raises(DataError, match="cannot be read"):
        read_coco_vid(tmp_path / "y.json")


# ---- writing -------------------------------------------------------------------------------


def test_write_and_read(tmp_path: Path) -> None:
    root = write_coco_vid({"x": film([0, 1, 5]), "y": film([2, 3])}, tmp_path / "coco")
    table = read_coco_vid(root / "annotations.json")
    assert table["person_id"].tolist() == [1, 2, 3, 4]
    assert table["num_frames"].tolist() == [3, 3, 2, 2]
    assert table["start"].tolist() == [0, 0, 2, 2]
    assert table["boxes"].iloc[1] == [[20, 8, 33.25, 30]] * 3
    assert len(missing_images(table)) == 0
    entries = json.loads((root / "annotations.json").read_text())
    assert [entry["occluded"] for entry in entries["annotations"][:2]] == [False, True]
    again = write_coco_vid({"x": film([0]), "y": film([0])}, tmp_path / "coco", shared_ids=True)
    assert read_coco_vid(again / "annotations.json", shared_ids=True)["person_id"].tolist() == [3, 5, 3, 5]


@pytest.mark.parametrize(("name", "numbers"), [("a/b", [0]), ("..", [0]), ("x", [])])
def test_nothing_half_written(tmp_path: Path, name: str, numbers: list[int]) -> None:
    with pytest.raises(DataError):
        write_coco_vid({name: film(numbers)}, tmp_path / "coco")
    assert list(tmp_path.iterdir()) == []


@settings(max_examples=20, deadline=None)
@given(st.lists(st.lists(st.integers(0, 60), min_size=1, max_size=8, unique=True), min_size=1, max_size=3))
def test_any_frames_come_back(tmp_path_factory: pytest.TempPathFactory, videos: list[list[int]]) -> None:
    films = {f"v{place}": film(sorted(numbers)) for place, numbers in enumerate(videos)}
    root = write_coco_vid(films, tmp_path_factory.mktemp("any") / "coco")
    table = read_coco_vid(root / "annotations.json")
    assert table["person_id"].is_unique
    for numbers, (_, rows) in zip(videos, table.groupby("camera_id"), strict=True):
        assert rows["frames"].tolist() == [[f"{number:06d}.jpg" for number in sorted(numbers)]] * 2


# ---- from MOTChallenge ---------------------------------------------------------------------


def assert_same(root: Path, path: Path, **options: Any) -> pd.DataFrame:
    direct = read_mot_tracklets(root, **options)
    around = read_coco_vid(coco_vid_from_mot(root, path, **options), root)
    kept = [column for column in direct if column not in ("sequence_id", "start", "boxes", "class_id")]
    pd.testing.assert_frame_equal(around[kept], direct[kept])
    assert (around["start"] + 1 == direct["start"]).all()
    flat = [np.concatenate(table["boxes"].tolist()) for table in (around, direct)]
    assert np.abs(flat[0] - flat[1]).max() < 2e-4
    return around


@pytest.mark.parametrize("sequence", ["mot/MOT17-09", "images/TUD-Campus", "images/PETS-S3-MF1"])
def test_real_sequences_lead_to_the_same_table(real_data: Path, tmp_path: Path, sequence: str) -> None:
    table = assert_same(real_data / sequence, tmp_path / "mot.json")
    entries = json.loads((tmp_path / "mot.json").read_text())
    print(sequence, {key: len(value) for key, value in entries.items()})
    assert len(entries["annotations"]) == table["num_frames"].sum()


def test_a_real_folder_leads_to_the_same_table(real_data: Path, tmp_path: Path) -> None:
    options = {"pattern": "MOT17-*", "min_visibility": 0.25}
    table = assert_same(real_data / "mot", tmp_path / "mot.json", **options)
    assert table["class_name"].unique().tolist() == ["pedestrian"]
    entries = json.loads((tmp_path / "mot.json").read_text())
    assert len(entries["images"]) == 600 + 525 + 750
    assert {(image["width"], image["height"]) for image in entries["images"]} == {(1920, 1080)}


def test_unknown_image_size(tmp_path: Path) -> None:
    (tmp_path / "a" / "gt").mkdir(parents=True)
    (tmp_path / "a" / "gt" / "gt.txt").write_text("1,1,1,1,5,5,1,1,1\n")
    with pytest.raises(DataError, match="the image size is unknown"):
        coco_vid_from_mot(tmp_path, tmp_path / "mot.json")
    assert not (tmp_path / "mot.json").exists()


# ---- from ILSVRC ---------------------------------------------------------------------------


def test_ilsvrc_from_disk(tmp_path: Path) -> None:
    root = write_ilsvrc_vid(
        {"train": {"x": film(list(range(40))), "y": film([0, 1])}, "val": {"z": film([0])}},
        tmp_path / "vid",
        "n02958343",
    )
    table = read_coco_vid(coco_vid_from_ilsvrc(root, tmp_path / "t.json"), root / "Data" / "VID")
    assert table["num_frames"].tolist() == [40, 40, 2, 2]
    assert table["person_id"].tolist() == [1, 2, 3, 4]
    assert table["class_name"].unique().tolist() == ["car"]
    assert table["boxes"].iloc[1][0] == [20, 8, 33, 30]
    assert len(missing_images(table)) == 0
    videos = json.loads((tmp_path / "t.json").read_text())["videos"]
    assert [len(video["vid_train_frames"]) for video in videos] == [15, 2]
    assert videos[0]["vid_train_frames"][0] == 0 and videos[0]["vid_train_frames"][-1] == 39
    val = read_coco_vid(
        coco_vid_from_ilsvrc(root, tmp_path / "v.json", "val"), root / "Data" / "VID", split="val"
    )
    assert val["video_id"].tolist() == ["val/z", "val/z"]
    assert [entry["name"] for entry in json.loads((tmp_path / "v.json").read_text())["categories"]] == list(
        ILSVRC_VID_CLASSES.values()
    )


@pytest.mark.parametrize(
    ("file", "old", "new", "message"),
    [
        (
            "Annotations/VID/train/x/000001.xml",
            "n02084071",
            "n00000001",
            "'n00000001' with track 3 is no object",
        ),
        ("Annotations/VID/train/x/000001.xml", "<trackid>3</trackid>", "", "with track None is no object"),
        ("Annotations/VID/train/x/000001.xml", "</annotation>", "", "000001.xml is damaged"),
        ("Annotations/VID/train/x/000001.xml", "<xmax>11<", "<xmax>1<", "object 1 has the box [1, 4, 1, 24]"),
        ("Annotations/VID/train/x/000001.xml", "<xmax>11<", "<xmax>x<", "missing or no whole number"),
        ("ImageSets/VID/VID_train_15frames.txt", "train/x 2 2 3", "train/x 2 4 3", "line 2: 'train/x 2 4 3'"),
        ("ImageSets/VID/VID_train_15frames.txt", "train/x 2 2 3", "train/x 2 2 4", "does not fit 3 frames"),
        (
            "ImageSets/VID/VID_train_15frames.txt",
            "train/x 2 2 3",
            "train/x two",
            "is not video, index, frame",
        ),
    ],
)
def test_damaged_ilsvrc(tmp_path: Path, file: str, old: str, new: str, message: str) -> None:
    root = write_ilsvrc_vid({"train": {"x": film([0, 1, 2])}}, tmp_path / "vid")
    text = (root / file).read_text()
    assert old in text
    (root / file).write_text(text.replace(old, new, 1))
    with pytest.raises(DataError, match=re.escape(message)):
        coco_vid_from_ilsvrc(root, tmp_path / "t.json")
    assert not (tmp_path / "t.json").exists()


def test_what_ilsvrc_cannot_hold(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="VID has no gaps"):
        write_ilsvrc_vid({"train": {"x": film([0, 2])}}, tmp_path / "vid")
    with pytest.raises(ConfigError, match="must be a class of VID"):
        write_ilsvrc_vid({"train": {}}, tmp_path / "vid", "person")
    with pytest.raises(ConfigError, match="use train or val"):
        coco_vid_from_ilsvrc(tmp_path, tmp_path / "t.json", "test")
    with pytest.raises(DataError, match=r"has no VID_val_videos\.txt in ImageSets/VID, ImageSets, Lists"):
        coco_vid_from_ilsvrc(tmp_path, tmp_path / "t.json", "val")


def test_a_listed_still_image_must_be_there(tmp_path: Path) -> None:
    (tmp_path / "Lists").mkdir()
    (tmp_path / "Lists" / "DET_train_30classes.txt").write_text("train/x/one 1\n")
    with pytest.raises(DataError, match=r"one\.xml does not exist, but DET_train_30classes\.txt names it"):
        coco_vid_from_ilsvrc_det(tmp_path, tmp_path / "det.json")
