"""Frame pairs: both forms of labels, everything that can be wrong, and pairs from videos."""

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from reidkit.core import ConfigError, DataError
from reidkit.data.frame_pairs import read_frame_pairs, write_frame_pairs
from reidkit.data.layouts import Frame
from reidkit.data.mot_sets import read_mot_ground_truth, read_mot_videos
from reidkit.data.table import missing_images, read_table, write_table


def entry(number: int, x: float = 0.5, kind: int = 0) -> dict:
    return {"id": number, "class_id": kind, "bbox": {"cx": x, "cy": 0.5, "w": 0.25, "h": 0.5}}


def save(
    root: Path, stem: str, now: object, pre: object, folder: str = "lable", suffix: str = ".png"
) -> Path:
    """A pair of grey pictures of 64 × 36 with these labels."""
    for side, content in (("now", now), ("pre", pre)):
        for name in ("pic", folder):
            (root / side / name).mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (64, 36), (120, 120, 120)).save(root / side / "pic" / f"{stem}{suffix}")
        (root / side / folder / f"{stem}.json").write_text(json.dumps(content))
    return root


def pair(*numbers: int) -> dict:
    return {"annotations": [entry(number) for number in numbers]}


@pytest.fixture
def good(tmp_path: Path) -> Path:
    """Three good pairs."""
    save(tmp_path / "set", "p10", pair(7, 4), pair(4, 2))
    save(tmp_path / "set", "p2", pair(4), pair(4))
    return save(
        tmp_path / "set",
        "p1",
        {"objects": [{"id": 0, "bbox_xyxy": [-3, 4, 20.5, 30]}]},
        pair(0),
        suffix=".jpg",
    )


def test_rows(good: Path, tmp_path: Path) -> None:
    table = read_frame_pairs(good)
    assert table["video_id"].tolist() == ["p1", "p1", "p2", "p2", "p10", "p10", "p10", "p10"]
    assert table["role"].tolist() == ["query", "gallery"] * 2 + ["query"] * 2 + ["gallery"] * 2
    assert table["camera_id"].tolist() == [1, 0, 1, 0, 1, 1, 0, 0]
    assert table["label"].tolist() == list("00447442")
    assert table["person_id"].tolist() == [1, 1, 2, 2, 5, 4, 4, 3]
    assert table["class_id"].tolist() == [-1] + [0] * 7
    assert table["sequence_id"].tolist() == list(range(1, 9))
    assert table["boxes"].iloc[0] == [[-3, 4, 20.5, 30]]
    assert table["boxes"].iloc[2] == [[24, 9, 40, 27]]
    assert table["frames"].iloc[0] == ["p1.jpg"]
    assert len(missing_images(table)) == 0
    back = read_table(write_table(table, tmp_path / "pairs.csv"))
    assert back["label"].tolist() == table["label"].tolist()


def test_the_other_spelling(tmp_path: Path) -> None:
    root = save(tmp_path, "a", pair(1), pair(1), folder="label")
    assert len(read_frame_pairs(root)) == 2
    (root / "pre" / "lable").mkdir()
    with pytest.raises(DataError, match="has both lable and label"):
        read_frame_pairs(root)


def test_no_picture_is_decoded(good: Path) -> None:
    for path in good.glob("*/pic/*"):
        path.write_bytes(path.read_bytes()[:-20])  # the header is whole, the pixels are not
    assert len(read_frame_pairs(good)) == 8


def test_pictures_that_lie_on_their_side(tmp_path: Path) -> None:
    root = save(tmp_path, "a", pair(1), pair(1), suffix=".jpg")
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (64, 36)).save(root / "now" / "pic" / "a.jpg", exif=exif)
    boxes = read_frame_pairs(root)["boxes"].tolist()
    assert boxes == [[[13.5, 16, 22.5, 48]], [[24, 9, 40, 27]]]


def remove(name: str) -> Callable[[Path], None]:
    return lambda root: (root / name).unlink()


def text(name: str, content: str) -> Callable[[Path], object]:
    return lambda root: (root / name).write_text(content)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (remove("now/pic/p2.png"), "p2: now/pic holds no picture p2"),
        (remove("pre/pic/p2.png"), "p2: pre/pic holds no picture p2"),
        (remove("now/lable/p2.json"), "p2: now/lable holds no p2.json"),
        (remove("pre/lable/p2.json"), "p2: pre/lable holds no p2.json"),
        (text("now/pic/p2.jpg", ""), "p2: now/pic has p2.jpg and p2.png"),
        (text("now/pic/p2.png", "no picture"), "p2: now/pic/p2.png is damaged or no picture"),
        (text("now/lable/p2.json", "{"), "p2: now/lable: p2.json is no JSON file with a list"),
        (text("now/lable/p2.json", "[1]"), "p2: now/lable: p2.json is no JSON file with a list"),
        (text("now/lable/p2.json", "{}"), "p2: now/lable: p2.json is no JSON file with a list"),
        (text("now/lable/p2.json", '{"objects": []}'), "p2: now/lable: p2.json has no object"),
        (
            text("now/lable/p2.json", '{"objects": [4]}'),
            "p2: now/lable: object 0 of p2.json has no id and bbox",
        ),
        (
            text("now/lable/p2.json", '{"objects": [{"id": 4, "bbox_xyxy": [1, 2, 3]}]}'),
            "object 0 of p2.json has no id and bbox",
        ),
        (
            text("now/lable/p2.json", '{"objects": [{"id": 4, "bbox_xyxy": [1, 2, 1, 9]}]}'),
            "object 0 of p2.json has a box without an area",
        ),
        (
            text("now/lable/p2.json", '{"objects": [{"id": 4, "bbox_xyxy": [1, 2, NaN, 9]}]}'),
            "object 0 of p2.json has a box without an area",
        ),
        (
            text("now/lable/p2.json", '{"objects": [{"id": 4, "bbox_xyxy": [70, 2, 80, 9]}]}'),
            "object 0 of p2.json has a box outside the picture of 64 × 36 pixels",
        ),
        (
            text("now/lable/p2.json", '{"objects": [{"id": "4", "bbox_xyxy": [1, 2, 8, 9]}]}'),
            "object 0 of p2.json has the id '4'",
        ),
        (
            text("now/lable/p2.json", json.dumps(pair(4, 4))),
            "p2: now/lable: p2.json has the id 4 more than once",
        ),
        (text("now/lable/p2.json", json.dumps(pair(5))), "p2: now and pre have no object in common"),
        (text("now/lable/p3.json", "{}"), "p3: now/pic holds no picture p3"),
    ],
)
def test_what_can_be_wrong(good: Path, damage: Callable[[Path], object], message: str) -> None:
    damage(good)
    with pytest.raises(DataError, match=re.escape(message)) as caught:
        read_frame_pairs(good)
    stem = message[:2] if message.startswith("p") else "p2"
    assert f"leave_out=['{stem}']" in str(caught.value)
    assert "1 pairs have problems" in str(caught.value)
    left = read_frame_pairs(good, leave_out=[stem])
    assert stem not in set(left["video_id"]) and "p10" in set(left["video_id"])


def test_all_problems_at_once(good: Path) -> None:
    (good / "now" / "pic" / "p2.png").unlink()
    (good / "pre" / "lable" / "p2.json").unlink()
    (good / "now" / "lable" / "p10.json").write_text(json.dumps(pair(7, 7)))
    with pytest.raises(DataError) as caught:
        read_frame_pairs(good)
    lines = str(caught.value).splitlines()
    assert lines[1:4] == [
        "  p2: now/pic holds no picture p2",
        "  p2: pre/lable holds no p2.json",
        "  p10: now/lable: p10.json has the id 7 more than once",
    ]
    assert lines[4] == "Repair them, or read the others with leave_out=['p2', 'p10']."


def test_leave_out_means_what_it_says(good: Path) -> None:
    with pytest.raises(ConfigError, match="has no pair p7"):
        read_frame_pairs(good, leave_out=["p7"])
    with pytest.raises(ConfigError, match="nothing is left to read"):
        read_frame_pairs(good, leave_out=["p1", "p2", "p10"])


# ---- pairs from videos ---------------------------------------------------------------------


def film(numbers: list[int], people: Callable[[int], list[int]]) -> Iterator[Frame]:
    for index in numbers:
        ids = people(index)
        boxes = np.array([[4 + i, 4, 24.5 + i, 30] for i in ids], np.float32).reshape(-1, 4)
        image = np.full((40, 60, 3), index * 5, np.uint8)
        yield Frame(image, boxes, np.array(ids, np.int64), np.linspace(1, 0.2, len(ids)), index)


def test_gap_and_stride(tmp_path: Path) -> None:
    root = write_frame_pairs(
        {"v": film(list(range(10)), lambda _: [1, 2])}, tmp_path / "set", gap=3, stride=2, suffix=".png"
    )
    table = read_frame_pairs(root)
    assert table["video_id"].unique().tolist() == [f"v_{index:06d}" for index in (3, 5, 7, 9)]
    for row in table.itertuples():
        image = np.array(Image.open(Path(row.frames_dir) / row.frames[0]))
        now = int(row.video_id[-6:])
        assert (image == (now if row.role == "query" else now - 3) * 5).all()
        assert np.allclose(row.boxes, [[4 + int(row.label), 4, 24.5 + int(row.label), 30]], atol=1e-4)


def test_holes_do_not_change_the_gap(tmp_path: Path) -> None:
    root = write_frame_pairs(
        {"v": film([0, 1, 2, 5, 6, 7], lambda _: [1])}, tmp_path / "set", gap=2, stride=1
    )
    assert read_frame_pairs(root)["video_id"].unique().tolist() == ["v_000002", "v_000007"]


def test_pairs_without_a_common_object(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    changing = film(list(range(6)), lambda index: [1] if index < 3 else [2])
    root = write_frame_pairs({"v": changing}, tmp_path / "set", gap=1)
    assert read_frame_pairs(root)["video_id"].unique().tolist() == [
        f"v_{index:06d}" for index in (1, 2, 4, 5)
    ]
    assert "1 pairs had no object in common; 4 are there" in caplog.text
    with pytest.raises(DataError, match="No pair of frames 9 apart has an object in common"):
        write_frame_pairs({"v": film(list(range(6)), lambda _: [1])}, tmp_path / "other", gap=9)
    assert not (tmp_path / "other").exists()


def test_hidden_objects_are_not_labelled(tmp_path: Path) -> None:
    root = write_frame_pairs(
        {"v": film([0, 1], lambda _: [1, 2])}, tmp_path / "set", gap=1, min_visibility=0.5
    )
    assert read_frame_pairs(root)["label"].tolist() == ["1", "1"]


@pytest.mark.parametrize("options", [{"gap": 0}, {"stride": 0}])
def test_impossible_gaps(tmp_path: Path, options: dict) -> None:
    with pytest.raises(ConfigError, match="must be at least 1"):
        write_frame_pairs({"v": film([0, 1], lambda _: [1])}, tmp_path / "set", **options)


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.integers(0, 30), min_size=2, max_size=12, unique=True).map(sorted),
    st.integers(1, 6),
    st.integers(1, 6),
)
def test_every_pair_has_the_gap(
    tmp_path_factory: pytest.TempPathFactory, numbers: list[int], gap: int, stride: int
) -> None:
    expected, due = [], 0
    for number in numbers:
        if number - gap in numbers and number >= due:
            expected.append(f"v_{number:06d}")
            due = number + stride
    root = tmp_path_factory.mktemp("any") / "set"
    if not expected:
        with pytest.raises(DataError):
            write_frame_pairs({"v": film(numbers, lambda _: [1])}, root, gap, stride)
        return
    table = read_frame_pairs(write_frame_pairs({"v": film(numbers, lambda _: [1])}, root, gap, stride))
    assert table["video_id"].unique().tolist() == expected


def test_real_pairs(real_data: Path, tmp_path: Path) -> None:
    videos = read_mot_videos(real_data / "images")
    table = read_frame_pairs(write_frame_pairs(videos, tmp_path / "set", gap=25, stride=10))
    queries = table[table["role"] == "query"]
    partners = set(table.loc[table["role"] == "gallery", "person_id"])
    valid = int(queries["person_id"].isin(partners).sum())
    print(table["video_id"].nunique(), "pairs,", len(queries), "queries,", valid, "valid")
    assert (table["video_id"].nunique(), len(queries), valid) == (14, 84, 67)  # 5 and 9 pairs
    there = {
        name: read_mot_ground_truth(real_data / "images" / name / "gt" / "gt.txt")
        .groupby("frame")["id"]
        .agg(set)
        for name in ("TUD-Campus", "PETS-S3-MF1")
    }
    names = [(stem[:-7], int(stem[-6:]) + 1) for stem in queries["video_id"].unique()]
    assert sum(len(there[name][frame]) for name, frame in names) == 84
    assert sum(len(there[name][frame] & there[name][frame - 25]) for name, frame in names) == 67
