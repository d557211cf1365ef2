"""MARS: the official files (numbers only, no images) and trees that are damaged on purpose."""

from pathlib import Path

import numpy as np
import pytest
from scipy.io import savemat

from reidkit.core import DataError
from reidkit.data.mars import mars_counts, parse_mars_name, read_mars, read_mars_info
from reidkit.data.table import missing_images


def test_official_mars_numbers(real_data: Path) -> None:
    table = read_mars_info(real_data / "reid" / "mars_info")
    assert mars_counts(table) == {
        "train tracklets": 8298,
        "train identities": 625,
        "test tracklets": 12180,
        "junk": 870,
        "distractors": 3248,
        "queries": 1980,
        "gallery, official": 11310,
        "gallery, torchreid": 9330,
        "queries without a match, torchreid": 140,
    }
    frames = table.groupby("split")["num_frames"]
    assert frames.sum().to_dict() == {"train": 509914, "test": 681089}
    assert (frames.min().to_dict(), frames.max().to_dict()) == (
        {"train": 5, "test": 2},
        {"train": 900, "test": 920},
    )
    cameras = table[table["role"] == "query"].groupby("camera_id").size()
    assert cameras.to_dict() == dict(enumerate([524, 456, 319, 191, 384, 106]))
    train = table[table["split"] == "train"]
    assert (train["num_frames"] < 25).sum() == 3077
    assert set(table["camera_id"]) == set(range(6))


# ---- a tiny MARS tree, names only --------------------------------------------------------

TRAIN = [("0001", 1, 3), ("0001", 2, 2), ("0003", 1, 4)]
TEST = [("00-1", 1, 2), ("0000", 3, 3), ("0002", 1, 2), ("0002", 2, 5), ("0004", 6, 1)]


def write_tree(root: Path, train: list = TRAIN, test: list = TEST, queries: tuple = (3, 5)) -> Path:
    (root / "info").mkdir(parents=True, exist_ok=True)
    for split, tracks in (("train", train), ("test", test)):
        names: list[str] = []
        rows = []
        for number, (person, camera, frames) in enumerate(tracks, start=1):
            rows.append(
                [len(names) + 1, len(names) + frames, -1 if person == "00-1" else int(person), camera]
            )
            names += [f"{person}C{camera}T{number:04d}F{frame:03d}.jpg" for frame in range(1, frames + 1)]
        (root / "info" / f"{split}_name.txt").write_bytes("".join(name + "\r\n" for name in names).encode())
        key = f"track_{split}_info"
        savemat(root / "info" / f"tracks_{split}_info.mat", {key: np.array(rows, np.int32)})
    savemat(root / "info" / "query_IDX.mat", {"query_IDX": np.array([queries], np.uint16)})
    return root


def test_roles_and_names(tmp_path: Path) -> None:
    table = read_mars(write_tree(tmp_path))
    assert table["role"].tolist() == ["train"] * 3 + ["junk", "distractor", "query", "gallery", "query"]
    assert table["person_id"].tolist() == [1, 1, 3, -1, 0, 2, 2, 4]
    assert table["camera_id"].tolist() == [0, 1, 0, 0, 2, 0, 1, 5]
    assert table["frames"].iloc[1] == ["0001C2T0002F001.jpg", "0001C2T0002F002.jpg"]
    assert Path(table["frames_dir"].iloc[3]) == tmp_path / "bbox_test" / "00-1"
    assert not any("\r" in name for names in table["frames"] for name in names)
    assert len(missing_images(table)) == table["num_frames"].sum()
    assert mars_counts(table)["queries without a match, torchreid"] == 1


def test_query_rows_beyond_255(tmp_path: Path) -> None:
    people = [(f"{2 * number:04d}", 1 + number % 6, 1) for number in range(1, 401)]
    table = read_mars(write_tree(tmp_path, test=people, queries=(400, 300)))
    assert table.index[table["role"] == "query"].tolist() == [3 + 299, 3 + 399]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"test": [*TEST, ("0003", 1, 2)]}, "person 3 is in the training and in the test rows"),
        ({"train": [*TRAIN, ("00-1", 1, 2)]}, r"tracks_train_info.mat, row 4: junk has no place"),
        ({"queries": (9,)}, r"query_IDX.mat names rows outside 1 … 5"),
        ({"queries": (0,)}, r"query_IDX.mat names rows outside 1 … 5"),
        ({"queries": (2,)}, r"makes a query of row 2, which is junk or a distractor"),
    ],
)
def test_damaged_info(tmp_path: Path, options: dict, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read_mars(write_tree(tmp_path, **options))


def test_row_of_another_person(tmp_path: Path) -> None:
    write_tree(tmp_path)
    rows = np.array([[1, 3, 1, 1], [4, 5, 1, 1], [6, 9, 3, 1]], np.int32)
    savemat(tmp_path / "info" / "tracks_train_info.mat", {"track_train_info": rows})
    with pytest.raises(
        DataError, match="row 2 says person 1, camera 1, but its first name is 0001C2T0002F001"
    ):
        read_mars(tmp_path)


@pytest.mark.parametrize(
    "name", ["tracks_train_info.mat", "tracks_test_info.mat", "query_IDX.mat", "test_name.txt"]
)
def test_missing_files_are_named(tmp_path: Path, name: str) -> None:
    write_tree(tmp_path)
    (tmp_path / "info" / name).unlink()
    with pytest.raises(DataError, match=f"{name} does not exist"):
        read_mars(tmp_path)


def test_unreadable_matlab_file(tmp_path: Path) -> None:
    write_tree(tmp_path)
    (tmp_path / "info" / "query_IDX.mat").write_bytes(b"not matlab")
    with pytest.raises(DataError, match="cannot be read as a Matlab file"):
        read_mars(tmp_path)
    savemat(tmp_path / "info" / "query_IDX.mat", {"other": np.zeros(1)})
    with pytest.raises(DataError, match="no variable named query_IDX"):
        read_mars(tmp_path)


@pytest.mark.parametrize(
    "name", ["1C1T0001F001.jpg", "0001C1T0001F001.png", "0001C1T0001F01.jpg", "-001C1T0001F001.jpg", ""]
)
def test_other_names_are_refused(name: str) -> None:
    with pytest.raises(DataError):
        parse_mars_name(name)
