"""The sequence table: round trips for any content, and errors that name the row and the column."""

import string
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reidkit.core import DataError
from reidkit.data.table import describe, frame_paths, missing_images, read_table, validate, write_table

ROWS = {"train": ("train", "junk"), "test": ("query", "gallery", "distractor", "junk")}
names = st.text(string.ascii_letters + string.digits + " -_.,;\"'áß中", min_size=1, max_size=12)
sides = st.floats(0.001, 1e4, allow_nan=False)
corners = st.floats(-1e4, 1e4, allow_nan=False)


@st.composite
def rows(draw: st.DrawFn) -> dict:
    split = draw(st.sampled_from(sorted(ROWS)))
    number = draw(st.integers(1, 4))
    boxes = []
    for _ in range(number):
        x, y, w, h = draw(corners), draw(corners), draw(sides), draw(sides)
        boxes.append([x, y, x + w, y + h])
    return {
        "split": split,
        "role": draw(st.sampled_from(ROWS[split])),
        "person_id": draw(st.integers(-1, 2**40)),
        "camera_id": draw(st.integers(0, 300)),
        "sequence_id": draw(st.integers(0, 2**40)),
        "frames_dir": "/" + draw(names).strip(". ") + "/x",
        "num_frames": number,
        "frames": draw(st.none() | st.lists(names, min_size=number, max_size=number)),
        "boxes": draw(st.none() | st.just(boxes)),
        "video_id": draw(st.sampled_from(["0001", "NA", "MOT17-02", "true"])),
        "start": draw(st.integers(0, 10**6)),
        "weight": draw(st.integers(0, 9)),
    }


@settings(max_examples=60, deadline=None)
@given(st.lists(rows(), min_size=1, max_size=5), st.sampled_from(["index.csv", "index.parquet"]))
def test_round_trip_is_equal(content: list[dict], name: str) -> None:
    table = validate(pd.DataFrame(content))
    with tempfile.TemporaryDirectory() as folder:
        back = read_table(write_table(table, Path(folder) / name))
    table["frames_dir"] = [str(Path(text)) for text in table["frames_dir"]]
    pd.testing.assert_frame_equal(back, table)


@pytest.fixture
def table() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "split": "train",
            "role": "train",
            "person_id": [3, 4],
            "camera_id": [0, 1],
            "sequence_id": [1, 2],
            "frames_dir": ["a", "b"],
            "num_frames": [1, 2],
        }
    )


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("split", "dev"),
        ("role", "query"),
        ("person_id", -2),
        ("person_id", 1.5),
        ("person_id", None),
        ("camera_id", "c1"),
        ("num_frames", 0),
        ("frames_dir", ""),
        ("frames", ["only one"]),
        ("frames", ["ok", 3]),
        ("boxes", [[0, 0, 5, 5]]),
        ("boxes", [[0, 0, 5, 5], [0, 0, 0, 5]]),
        ("boxes", [[0, 0, 5, 5], [0, 0, 5, float("nan")]]),
        ("boxes", ["x", "y"]),
        ("start", -1),
    ],
)
@pytest.mark.parametrize("suffix", ["csv", "parquet", "memory"])
def test_bad_cells_are_named(
    table: pd.DataFrame, column: str, value: object, suffix: str, tmp_path: Path
) -> None:
    table[column] = pd.Series(table[column] if column in table else [None, None], dtype=object)
    table.at[1, column] = value
    if suffix == "csv":
        for name in {"frames", "boxes"} & set(table):
            texts = [None if item is None else pd.io.json.ujson_dumps(item) for item in table[name]]
            table[name] = pd.Series(texts, dtype=object)
        table.to_csv(tmp_path / "t.csv", index=False)
    with pytest.raises(DataError, match=f"row 1, column {column}"):
        if suffix == "memory":
            validate(table, "t")
        elif suffix == "csv":
            read_table(tmp_path / "t.csv")
        else:
            try:
                table.to_parquet(tmp_path / "t.parquet")
            except Exception:
                pytest.skip("Parquet itself refuses mixed types")
            read_table(tmp_path / "t.parquet")


def test_broken_json_names_the_row(table: pd.DataFrame, tmp_path: Path) -> None:
    table.assign(frames=["", '["a", ']).to_csv(tmp_path / "t.csv", index=False)
    with pytest.raises(DataError, match="row 1, column frames"):
        read_table(tmp_path / "t.csv")


def test_files_that_are_no_tables(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="does not exist"):
        read_table(tmp_path / "none.csv")
    with pytest.raises(DataError, match=r"\.csv or \.parquet"):
        read_table(tmp_path / "none.json")
    (tmp_path / "bad.parquet").write_bytes(b"no")
    with pytest.raises(DataError, match="cannot be read as PARQUET"):
        read_table(tmp_path / "bad.parquet")


def test_concatenated_tables_stay_valid(table: pd.DataFrame) -> None:
    other = table.assign(frames=[["x"], ["y", "z"]], start=[4, 5])
    both = validate(pd.concat([table, other]))
    assert both["frames"].tolist() == [None, None, ["x"], ["y", "z"]]
    assert both["start"].tolist() == [0, 0, 4, 5]


def test_an_empty_table_is_ordinary(table: pd.DataFrame, tmp_path: Path) -> None:
    empty = validate(table.iloc[:0])
    assert len(read_table(write_table(empty, tmp_path / "t.csv"))) == 0
    assert len(describe(empty)) == 0
    assert len(missing_images(empty)) == 0


def test_validate_leaves_its_argument_alone(table: pd.DataFrame) -> None:
    table["boxes"] = [np.array([[0, 0, 1, 1]]), None]
    before = table.copy(deep=True)
    validate(table)
    pd.testing.assert_frame_equal(table, before)


def test_empty_folder(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="holds no image"):
        frame_paths(tmp_path)
