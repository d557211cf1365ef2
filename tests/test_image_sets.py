"""Image sets: the official labels give the published counts; round trips; damaged trees name the damage."""

import logging
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.io import loadmat, savemat

from reidkit.core import DataError
from reidkit.data.image_sets import (
    CUHK03_COUNTS,
    MARKET_COUNTS,
    MSMT17_COUNTS,
    MSMT17_TEST_PEOPLE,
    parse_cuhk03_name,
    parse_duke_name,
    parse_market_name,
    parse_msmt17_name,
    read_cuhk03,
    read_duke,
    read_market,
    read_msmt17,
    write_cuhk03,
    write_duke,
    write_market,
    write_msmt17,
)
from reidkit.data.layouts import Tracklet, compare_counts
from reidkit.data.table import concatenate, missing_images, read_table, separate, write_table

WHAT = ["split", "role", "person_id", "camera_id", "num_frames"]


def is_whole(table: pd.DataFrame, published: dict[str, int]) -> bool:
    comparison = compare_counts(table, published)
    print(f"\n{comparison}")
    return (comparison["published"] == comparison["found"]).all()


# ---- the official files ------------------------------------------------------------------


def official(folder: Path, file: str, key: str) -> list[int]:
    return loadmat(folder / f"{file}.mat")[key].ravel().astype(int).tolist()


@pytest.fixture(scope="module")
def real_market(real_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Market-1501 with empty files: the real training names, and names made of the real test labels."""
    labels, root = real_data / "reid" / "market1501_labels", tmp_path_factory.mktemp("market")
    names = [line.split()[0] for part in ("train", "val") for line in (labels / f"{part}.txt").open()]
    for folder, people, cameras in (
        ("query", official(labels, "queryID", "queryID"), official(labels, "queryCam", "queryCAM")),
        ("bounding_box_test", official(labels, "testID", "testID"), official(labels, "testCam", "testCAM")),
    ):
        names += [
            f"{folder}/{'-1' if person < 0 else f'{person:04d}'}_c{camera}s1_{place:06d}_01.jpg"
            for place, (person, camera) in enumerate(zip(people, cameras, strict=True))
        ]
    for folder in ("bounding_box_train", "query", "bounding_box_test"):
        (root / folder).mkdir()
        (root / folder / "Thumbs.db").touch()
    for name in names:
        (root / name).touch()
    return root


def test_official_market_numbers(
    real_market: Path, real_data: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "reidkit")
    table = read_market(real_market)
    assert is_whole(table, MARKET_COUNTS)
    assert "all of Market-1501 is there" in caplog.text
    test = table[table["split"] == "test"]
    assert (test["role"] != "query").sum() == 19732
    assert test["role"].isin(["gallery", "distractor"]).sum() == 15913
    labels = real_data / "reid" / "market1501_labels"
    train = table[table["role"] == "train"]
    for column, file, key in (("person_id", "train_label", "label"), ("camera_id", "train_cam", "cam")):
        shift = 1 if column == "camera_id" else 0
        assert (np.bincount(train[column] + shift) == np.bincount(official(labels, file, key))).all()
    queries = table[table["role"] == "query"]
    assert sorted(zip(queries["person_id"], queries["camera_id"] + 1, strict=True)) == sorted(
        zip(official(labels, "queryID", "queryID"), official(labels, "queryCam", "queryCAM"), strict=True)
    )
    assert len(missing_images(table)) == 0


def test_one_lost_market_image_is_reported(real_market: Path, caplog: pytest.LogCaptureFixture) -> None:
    lost = next((real_market / "bounding_box_test").glob("1501_*"))
    lost.unlink()
    try:
        table = read_market(real_market)
    finally:
        lost.touch()
    assert len(table) == 12936 + 3368 + 19732 - 1
    assert "it has 13114 of 13115 gallery sequences." in caplog.text


@pytest.mark.parametrize("boxes", ["labeled", "detected"])
def test_official_cuhk03_numbers(real_data: Path, boxes: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "reidkit")
    table = read_cuhk03(real_data / "reid" / "cuhk03_np", boxes)
    assert is_whole(table, CUHK03_COUNTS[boxes])
    assert f"all of CUHK03 ({boxes}) is there" in caplog.text
    assert table.groupby("camera_pair")["person_id"].nunique().tolist() == [843, 440, 77, 58, 49]
    assert len(table) == {"labeled": 14096, "detected": 14097}[boxes]
    pair_of = table.groupby("person_id")["camera_pair"].nunique()
    assert (pair_of == 1).all(), "a person in two pairs of cameras: then camera_id must tell the pairs apart"
    name = table.loc[table["frames"].map(lambda names: names == ["2_084_2_07.png"]), "person_id"]
    assert name.tolist() == [927]


@pytest.mark.parametrize("release", ["lists alone", "V1", "V2"])
def test_official_msmt17_numbers(
    real_data: Path, tmp_path: Path, release: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "reidkit")
    for path in (real_data / "reid" / "msmt17_lists").glob("list_*.txt"):
        (tmp_path / path.name).symlink_to(path)
    for folder in {"V1": ("train", "test"), "V2": ("mask_train_v2", "mask_test_v2")}.get(release, ()):
        (tmp_path / folder).mkdir()
    table = read_msmt17(tmp_path)
    assert is_whole(table, MSMT17_COUNTS)
    assert "all of MSMT17 is there" in caplog.text
    counts = table["list"].value_counts().to_dict()
    assert counts == {"train": 30248, "val": 2373, "query": 11659, "gallery": 82161}
    assert table.groupby("list")["person_id"].nunique().to_dict() == {
        "train": 1041,
        "val": 1041,
        "query": 3060,
        "gallery": 3060,
    }
    assert (table["person_id"].min(), table["person_id"].max()) == (1, 3060 + MSMT17_TEST_PEOPLE)
    assert table.groupby("split")["label"].agg(lambda labels: labels.astype(int).max()).to_dict() == {
        "train": 1040,
        "test": 3059,
    }
    assert set(table["time_of_day"]) == {"morning", "noon", "afternoon"}
    assert set(table["camera_id"]) == set(range(15))
    folders = {Path(text).parent.name for text in table["frames_dir"].unique()}
    assert folders == ({"mask_train_v2", "mask_test_v2"} if release == "V2" else {"train", "test"})


def test_conreid_crops(real_data: Path, tmp_path: Path) -> None:
    """A dataset that borrowed Market-1501's names without the last number."""
    archive = real_data / "reid" / "conreid" / "conreid_train_small.zip"
    with zipfile.ZipFile(archive) as content:
        content.extractall(tmp_path)
    table = read_market(tmp_path)
    assert len(table) == 761  # 761 files are in the archive
    assert table["role"].unique().tolist() == ["train"]
    assert len(missing_images(table)) == 0
    print("\nConReID:", len(table), table["person_id"].nunique(), table["camera_id"].nunique())


def test_two_real_datasets_in_one_table(real_market: Path, real_data: Path, tmp_path: Path) -> None:
    tables = {
        "market": read_market(real_market),
        "cuhk03": read_cuhk03(real_data / "reid" / "cuhk03_np"),
    }
    both = concatenate(tables)
    assert both.loc[both["person_id"] > 0].groupby("person_id")["dataset"].nunique().max() == 1
    assert both.loc[both["person_id"] > 0, "person_id"].nunique() == 1501 + 1467
    assert both["camera_id"].nunique() == 6 + 2
    apart = separate(read_table(write_table(both, tmp_path / "both.parquet")))
    for name, table in tables.items():
        pd.testing.assert_frame_equal(apart[name][list(table)[:8]], table[list(table)[:8]])


# ---- round trips ---------------------------------------------------------------------------


def tracklet(role: str, person_id: int, camera_id: int, images: int = 1, **changes: Any) -> Tracklet:
    colour = np.full((8, 4, 3), [40 * (person_id % 6), 60 * (camera_id % 4), 90], np.uint8)
    split = changes.pop("split", "train" if role == "train" else "test")
    return Tracklet(split, role, person_id, camera_id, 1, [colour] * images)


PEOPLE = [
    tracklet("train", 1, 0, 3),
    tracklet("train", 1, 1),
    tracklet("train", 1, 0, 2),
    tracklet("train", 999, 1),
    tracklet("query", 1000, 0),
    tracklet("query", 9, 1, 2),
    tracklet("gallery", 1000, 1, 12),
    tracklet("gallery", 9, 0),
]
NOBODY = [
    tracklet("junk", -1, 0, 2),
    tracklet("junk", -1, 0),
    tracklet("distractor", 0, 1),
    tracklet("junk", -1, 0, split="train"),
]


def expected(tracklets: list[Tracklet]) -> list[tuple]:
    return sorted((t.split, t.role, t.person_id, t.camera_id, 1) for t in tracklets for _ in t.images)


@pytest.mark.parametrize(
    ("write", "read", "tracklets"),
    [
        (write_market, read_market, [*PEOPLE, *NOBODY, tracklet("train", 9999, 8)]),
        (write_duke, read_duke, [*PEOPLE, *NOBODY, tracklet("train", 9998, 8)]),
        (write_cuhk03, read_cuhk03, [*PEOPLE, tracklet("train", 8991, 1)]),
        (
            write_msmt17,
            read_msmt17,
            [
                *(t if t.split == "train" else replace(t, person_id=t.person_id + 10_000) for t in PEOPLE),
                tracklet("train", 10_000, 98),
                tracklet("gallery", 10_001, 14),
                tracklet("gallery", 20_000, 14),
            ],
        ),
    ],
    ids=["market", "duke", "cuhk03", "msmt17"],
)
def test_round_trip(write: Any, read: Any, tracklets: list[Tracklet], tmp_path: Path) -> None:
    asked = iter(tracklets)
    root = write(asked, tmp_path / "set")
    assert root == tmp_path / "set"
    table = read(str(root))
    assert sorted(table[WHAT].itertuples(index=False, name=None)) == expected(tracklets)
    assert len(missing_images(table)) == 0
    assert all(Path(text).is_absolute() for text in table["frames_dir"])
    for _, part in table.groupby("split"):
        assert part["sequence_id"].tolist() == list(range(1, len(part) + 1))
    (tmp_path / "other").mkdir()
    for name in ("t.csv", "t.parquet"):
        pd.testing.assert_frame_equal(read_table(write_table(table, tmp_path / "other" / name)), table)
    write(tracklets[:1], root)  # what was there is replaced
    assert len(read(root)) == len(tracklets[0].images)


@pytest.mark.parametrize("write", [write_market, write_duke, write_cuhk03, write_msmt17])
def test_what_cannot_be_written_leaves_nothing_behind(write: Any, tmp_path: Path) -> None:
    wrong = [
        tracklet("gallery", 5, 0, split="val"),
        tracklet("query", 0, 0),
        tracklet("gallery", -1, 0),
        tracklet("junk", 5, 0),
        tracklet("train", 0, 0),
        tracklet("train", 20_001, 0),
        tracklet("train", 5, 99),
        tracklet("train", 5, -1),
        tracklet("train", 5, 0, split="test"),
        tracklet("query", 10_005, 0, split="train"),
    ]
    write([tracklet("train", 1, 0)], tmp_path / "set")
    before = sorted(tmp_path.rglob("*"))
    for one in wrong:
        with pytest.raises(DataError):
            write([tracklet("train", 1, 0), one], tmp_path / "set")
        assert sorted(tmp_path.rglob("*")) == before, "the old tree stays as it was"


def test_too_many_images_of_a_person(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="image 100"):
        write_cuhk03([tracklet("train", 1, 0, 100)], tmp_path / "a")
    with pytest.raises(DataError, match="image 1000"):
        write_msmt17([tracklet("train", 1, 0, 500), tracklet("train", 1, 1, 500)], tmp_path / "b")


# ---- damaged trees -------------------------------------------------------------------------


def files(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (
            ("query/0001_c1s1_000001_00.jpg", "query/holiday.jpg"),
            r"query/holiday.jpg: 'holiday.jpg' is no Market",
        ),
        (
            ("query/-1_c1s1_000001_00.jpg",),
            r"query/-1_c1s1_000001_00.jpg: query holds nobody's image \(person -1\)",
        ),
        (("bounding_box_train/0000_c1s1_000001_00.jpg",), "bounding_box_train holds nobody's image"),
        (("bounding_box_test/-2_c1s1_000001_00.jpg",), "no Market-1501 file name"),
        (("query/0001_c0s1_000001_00.jpg",), "no Market-1501 file name"),
        (
            ("bounding_box_train/0007_c1s1_000001_00.jpg", "query/0007_c1s1_000001_00.jpg"),
            "person 7 is in the training and in the test rows",
        ),
        (("train/0001_c1s1_000001_00.jpg",), "holds no image of Market-1501: give the folder in which"),
        (("query/Thumbs.db",), "holds no image of Market-1501"),
    ],
)
def test_damaged_market(names: tuple[str, ...], message: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=message):
        read_market(files(tmp_path, *names))


def test_one_market_folder_is_enough(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    table = read_market(
        files(
            tmp_path,
            "query/0010_c2s3_000451_00.jpg",
            "query/0009_c1s1_1_00.png",
            "query/._0009_c1s1_1_00.png",
        )
    )
    assert table["frames"].tolist() == [["0009_c1s1_1_00.png"], ["0010_c2s3_000451_00.jpg"]]
    assert table[["video_id", "start"]].to_numpy().tolist() == [["c1s1", 1], ["c2s3", 451]]
    assert "0 of 12936 train sequences" in caplog.text


CONFIG: dict[str, Any] = {
    "filelist": np.array([["1_001_1_01.png"], ["1_002_1_01.png"], ["1_002_2_06.png"]], dtype=object),
    "labels": np.array([[1], [2], [2]], np.uint16),
    "camId": np.array([[1], [1], [2]], np.uint8),
    "train_idx": np.array([[1]], np.uint16),
    "query_idx": np.array([[2]], np.uint16),
    "gallery_idx": np.array([[3]], np.uint16),
}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({}, None),
        ({"train_idx": np.array([[0]], np.uint16)}, "names images outside 1 … 3"),
        ({"train_idx": np.array([[4]], np.uint16)}, "names images outside 1 … 3"),
        ({"train_idx": np.array([[2]], np.uint16)}, "uses 1_002_1_01.png twice"),
        (
            {"labels": np.array([[1], [1], [2]], np.uint16)},
            "person 1 is in the training and in the test rows",
        ),
        ({"camId": np.array([[1], [2], [2]], np.uint8)}, "says camera 2 of 1_002_1_01.png"),
        ({"labels": np.array([[1], [2]], np.uint16)}, "has 3 names and 2 labels"),
        ({"filelist": np.array([["a.png"]] * 3, dtype=object)}, "'a.png' is no CUHK03 file name"),
        ({"gallery_idx": None}, "is no configuration of CUHK03"),
    ],
)
def test_damaged_cuhk03(changes: dict, message: str | None, tmp_path: Path) -> None:
    content = {key: value for key, value in (CONFIG | changes).items() if value is not None}
    savemat(tmp_path / "cuhk03_new_protocol_config_detected.mat", content)
    if message is None:
        assert read_cuhk03(tmp_path)["role"].tolist() == ["train", "query", "gallery"]
        return
    with pytest.raises(DataError, match=message):
        read_cuhk03(tmp_path)


def test_a_file_that_is_not_matlab(tmp_path: Path) -> None:
    (tmp_path / "cuhk03_new_protocol_config_labeled.mat").write_bytes(b"no")
    with pytest.raises(DataError, match=r"is no configuration of CUHK03 .*: download it again"):
        read_cuhk03(tmp_path, "labeled")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (
            "0001/0001_000_01_0303morning_0015_0.jpg 1\n \n0002\n",
            "line 3: '0002' is not 'person/name person'",
        ),
        ("0001/0001_000_01_0303morning_0015_0.jpg,1\n", "line 1: .* is not 'person/name person'"),
        ("0001_000_01_0303morning_0015_0.jpg 1\n", "line 1: .* is not 'person/name person'"),
        ("0001/0001_000_00_0303morning_0015_0.jpg 1\n", "line 1: .* is not 'person/name person'"),
        ("0002/0001_000_01_0303morning_0015_0.jpg 1\n", "line 1: .* names two people"),
        ("", "holds no list of MSMT17 with an image in it"),
    ],
)
def test_damaged_msmt17(line: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "list_query.txt").write_text(line)
    with pytest.raises(DataError, match=message):
        read_msmt17(tmp_path)


def test_msmt17_lists_of_windows(tmp_path: Path) -> None:
    (tmp_path / "list_query.txt").write_bytes(b"0000/0000_000_01_0303noon_0015_0_ex.jpg 0\r\n")
    row = read_msmt17(tmp_path).iloc[0]
    assert (row["person_id"], row["label"], row["camera_id"], row["time_of_day"]) == (10001, "0", 0, "noon")


@pytest.mark.parametrize(
    ("parse", "name"),
    [
        (parse_market_name, "0002_c1s1_000451_03.jpg.txt.jpg"),
        (parse_market_name, " 0002_c1s1_000451_03.jpg"),
        (parse_market_name, "0002_c1_f0046985.jpg"),
        (parse_duke_name, "0002_c1s1_000451_03.jpg"),
        (parse_cuhk03_name, "1_001_3_01.png"),
        (parse_cuhk03_name, "0_001_1_01.png"),
        (parse_msmt17_name, "0000_000_01_0303night_0015_0.jpg"),
        (parse_msmt17_name, "0000_000_00_0303noon_0015_0.jpg"),
    ],
)
def test_names_of_other_layouts(parse: Any, name: str) -> None:
    with pytest.raises(DataError, match="file name; one looks like"):
        parse(name)
