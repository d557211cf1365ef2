"""The sequence table: round trips for any content, and errors that name the row and the column."""

import json
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reidkit.core import DataError
from reidkit.data.table import (
    DATASET_STEP,
    OPTIONAL_COLUMNS,
    concatenate,
    describe,
    frame_paths,
    missing_images,
    plot_table,
    read_table,
    schema,
    separate,
    validate,
    write_table,
)

ROWS = {"train": ("train", "junk"), "test": ("query", "gallery", "distractor", "junk")}
letters = st.sampled_from("aZ09 -_.,;:\"'/\\\n\r\táß中\u2028😀") | st.characters(exclude_categories=["Cs"])
names = st.text(letters.filter(lambda letter: letter != "\0"), min_size=1, max_size=12)
words = st.none() | st.sampled_from(["0001", "NA", "nan", "true", "1e3", " "]) | names
sides = st.floats(0.001, 1e4, allow_nan=False)
corners = st.floats(-1e4, 1e4, allow_nan=False)


@st.composite
def rows(draw: st.DrawFn) -> dict:
    split = draw(st.sampled_from(sorted(ROWS)))
    role = draw(st.sampled_from(ROWS[split]))
    number = draw(st.integers(1, 4))
    boxes = []
    for _ in range(number):
        x, y, w, h = draw(corners), draw(corners), draw(sides), draw(sides)
        boxes.append([x, y, x + w, y + h])
    return {
        "split": split,
        "role": role,
        "person_id": draw(st.integers(-1 if role in ("distractor", "junk") else 1, 2**62)),
        "camera_id": draw(st.integers(0, 300)),
        "sequence_id": draw(st.integers(0, 2**62)),
        "frames_dir": "/" + draw(names),
        "num_frames": number,
        "frames": draw(st.none() | st.lists(names, min_size=number, max_size=number)),
        "boxes": draw(st.none() | st.just(boxes)),
        "video_id": draw(words),
        "start": draw(st.integers(0, 10**6)),
        "tracklet_id": draw(st.integers(0, 2**62)),
        "label": draw(words),
        "dataset": draw(words),
        "weight": draw(st.integers(0, 9)),
    }


@settings(max_examples=150, deadline=None)
@given(
    st.lists(rows(), min_size=1, max_size=5),
    st.sets(st.sampled_from(OPTIONAL_COLUMNS)),
    st.sampled_from(["index.csv", "index.parquet"]),
)
def test_round_trip_is_equal(content: list[dict], dropped: set[str], name: str) -> None:
    table = validate(pd.DataFrame(content).drop(columns=list(dropped)))
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
        ("tracklet_id", -1),
        ("tracklet_id", 0.5),
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


# ---- the schema ----------------------------------------------------------------------------


def test_the_schema_is_what_is_checked(table: pd.DataFrame) -> None:
    everything = validate(table.assign(**dict.fromkeys(OPTIONAL_COLUMNS), mine="x"))
    assert list(everything) == [*schema().index, "mine"]
    numbers = schema()["dtype"] == "int64"
    assert (everything[schema().index[numbers]].dtypes == np.int64).all()
    assert everything["start"].tolist() == [0, 0]
    assert everything["tracklet_id"].tolist() == everything["sequence_id"].tolist()
    for column in ("frames", "boxes", "video_id", "label", "dataset"):
        assert everything[column].isna().all()


@pytest.mark.parametrize("number", [2**53 + 1, 2**63 - 1])
def test_large_numbers_keep_every_digit(table: pd.DataFrame, number: int, tmp_path: Path) -> None:
    for ids in (pd.Series([number, 7]), pd.Series([number, 7], dtype=object)):
        checked = validate(table.assign(person_id=ids))
        assert checked["person_id"].tolist() == [number, 7]
        assert read_table(write_table(checked, tmp_path / "t.csv"))["person_id"].tolist() == [number, 7]


@pytest.mark.parametrize("number", [2**63, 1e300, float("inf"), -(2**70)])
def test_numbers_that_int64_cannot_hold(table: pd.DataFrame, number: float) -> None:
    with pytest.raises(DataError, match=r"row 0, column person_id: .* must be a whole number"):
        validate(table.assign(person_id=pd.Series([number, 7], dtype=object)))


def test_numbers_of_nullable_columns(table: pd.DataFrame) -> None:
    starts = pd.Series([None, 3], dtype="Int64")
    assert validate(table.assign(start=starts))["start"].tolist() == [0, 3]
    with pytest.raises(DataError, match="row 0, column person_id"):
        validate(table.assign(person_id=starts))


def test_labels_become_text(table: pd.DataFrame, tmp_path: Path) -> None:
    for labels, expected in (
        ([17, 18], ["17", "18"]),
        ([17.0, None], ["17", None]),
        (["", "a"], [None, "a"]),
    ):
        checked = validate(table.assign(label=labels))
        shown = [None if pd.isna(text) else text for text in checked["label"]]
        assert shown == expected
        back = read_table(write_table(checked, tmp_path / "t.csv"))["label"]
        pd.testing.assert_series_equal(back, checked["label"])
    with pytest.raises(DataError, match=r"row 1, column label: .* must be text"):
        validate(table.assign(label=pd.Series(["a", ("b", "c")], dtype=object)))


def test_a_column_that_is_there_twice(table: pd.DataFrame) -> None:
    with pytest.raises(DataError, match="two columns named camera_id"):
        validate(pd.concat([table, table[["camera_id"]]], axis=1))


def test_words_may_be_categories(table: pd.DataFrame) -> None:
    checked = validate(table.astype({"split": "category", "role": "category"}))
    pd.testing.assert_frame_equal(checked, validate(table))


@pytest.mark.parametrize(
    "boxes",
    [
        [[(0, 0, 5, 5)], [(0, 0, 5, 5), (1, 1, 2, 2)]],
        [np.array([[0, 0, 5, 5]], np.float32), np.array([[0, 0, 5, 5], [1, 1, 2, 2]], np.int64)],
        [[np.array([0, 0, 5, 5])], [[0.0, 0, 5, 5], list(np.float32([1, 1, 2, 2]))]],
        [None, np.array([np.array([0, 0, 5, 5]), np.array([1, 1, 2, 2])])],
    ],
)
@pytest.mark.parametrize("name", ["t.csv", "t.parquet"])
def test_boxes_in_any_container(table: pd.DataFrame, boxes: list, name: str, tmp_path: Path) -> None:
    checked = validate(table.assign(boxes=pd.Series(boxes, dtype=object)))
    expected = [None if boxes[0] is None else [[0, 0, 5, 5]], [[0, 0, 5, 5], [1, 1, 2, 2]]]
    assert checked["boxes"].tolist() == expected
    assert read_table(write_table(checked, tmp_path / name))["boxes"].tolist() == expected


def test_lists_are_not_shared_with_the_argument(table: pd.DataFrame) -> None:
    table["frames"] = [["a"], ["b", "c"]]
    validate(table)["frames"].iloc[0].append("d")
    assert table["frames"].iloc[0] == ["a"]


# ---- files that were damaged or made elsewhere ---------------------------------------------


@pytest.mark.parametrize(
    "texts",
    [
        ('["a"', '"b", "c"]'),  # a bracket borrowed from the next row
        ('["a', 'b", "c"]'),  # a quotation mark borrowed
        ('[["a"]', '["b", "c"]]'),
        ('["a"],\n0,["x"]', '["b"'),  # the separator itself
        ("0", '["b", "c"]'),
        ('["a"]', "{}"),
        ('["a"]', '"bc"'),
    ],
)
def test_no_row_borrows_from_its_neighbour(table: pd.DataFrame, texts: tuple, tmp_path: Path) -> None:
    table.assign(frames=texts).to_csv(tmp_path / "t.csv", index=False)
    with pytest.raises(DataError, match="column frames"):
        read_table(tmp_path / "t.csv")


@pytest.mark.parametrize(
    ("cut", "says"),
    [
        (",cloudy\n", None),
        (",cloudy", None),  # nothing is missing but the line's end
        ("", "the last row has 7 of 8 columns; the file is cut off"),
    ],
)
def test_a_last_row_that_is_cut_off(table: pd.DataFrame, cut: str, says: str | None, tmp_path: Path) -> None:
    path = write_table(
        table[["split", *table.columns.drop("split")]].assign(weather="fine"), tmp_path / "t.csv"
    )
    text = path.read_text()
    assert text.endswith(",fine\n")
    path.write_text(text.removesuffix(",fine\n") + cut)
    if says is None:
        assert read_table(path)["weather"].tolist() == ["fine", "cloudy"]
        return
    with pytest.raises(DataError, match=says):
        read_table(path)


def test_a_column_that_occurs_twice(table: pd.DataFrame, tmp_path: Path) -> None:
    path = write_table(table.assign(weather="fine", wind="none"), tmp_path / "t.csv")
    path.write_text(path.read_text().replace("wind", "weather"))
    with pytest.raises(DataError, match="has two columns named weather: rename or drop one"):
        read_table(path)


@pytest.mark.parametrize("content", [b"", b"\n", b"\xef\xbb\xbf", b"split"])
def test_a_file_without_a_table(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_bytes(content)
    with pytest.raises(DataError, match=r"cannot be read as CSV: No columns|lacks the column|is empty"):
        read_table(tmp_path / "t.csv")


def test_pretty_json_is_read(table: pd.DataFrame, tmp_path: Path) -> None:
    frames = [["a b,c\n"], ["é", "d"]]
    texts = [json.dumps(names, indent=1, ensure_ascii=False) for names in frames]
    table.assign(frames=texts).to_csv(tmp_path / "t.csv", index=False)
    assert read_table(tmp_path / "t.csv")["frames"].tolist() == frames


def test_folders_are_what_pathlib_makes_of_them(table: pd.DataFrame, tmp_path: Path) -> None:
    inside = ["a", "a/b", ".", "a//b", "./a", "a/", "a/../b", "a\\b", "C:\\a", "..", "a/./b", "é/ 中"]
    outside = ["/", "/x", "//x", "/x/../y", "/x//y/", str(tmp_path) + "2", str(tmp_path.parent)]
    folders = [str(tmp_path / text) if text != "." else str(tmp_path) for text in inside]
    folders += [f"{tmp_path}/{text}" for text in inside] + outside + inside
    many = pd.concat([table[:1]] * len(folders), ignore_index=True).assign(frames_dir=folders)
    back = read_table(write_table(many, tmp_path / "t.csv"))
    assert back["frames_dir"].tolist() == [str(Path(text).absolute()) for text in folders]
    stored = pd.read_csv(tmp_path / "t.csv", dtype=str)["frames_dir"].tolist()
    assert stored[:4] == ["a", "a/b", ".", "a/b"]
    assert stored[2 * len(inside) : 2 * len(inside) + 2] == ["/", "/x"]


def test_names_that_are_no_unicode(table: pd.DataFrame, tmp_path: Path) -> None:
    for name in ("t.csv", "t.parquet"):
        with pytest.raises(DataError, match="no valid Unicode"):
            write_table(table.assign(frames_dir=pd.Series(["a", "caf\udce9"], dtype=object)), tmp_path / name)
        assert not (tmp_path / name).exists()


def test_parquet_of_others(table: pd.DataFrame, tmp_path: Path) -> None:
    """Boxes of the wrong width, whole numbers, and a column of nothing at all."""
    table.assign(boxes=[[[0, 0, 5]], [[0, 0, 5, 5]] * 2]).to_parquet(tmp_path / "t.parquet")
    with pytest.raises(DataError, match="row 0, column boxes"):
        read_table(tmp_path / "t.parquet")
    table.assign(boxes=[[[0, 0, 5, 5]], None], frames=None).to_parquet(tmp_path / "t.parquet")
    back = read_table(tmp_path / "t.parquet")
    assert back["boxes"].tolist() == [[[0, 0, 5, 5]], None]
    assert back["frames"].tolist() == [None, None]


# ---- what is on the disk ---------------------------------------------------------------------


def test_images_below_the_folder_are_found(table: pd.DataFrame, tmp_path: Path) -> None:
    (tmp_path / "a" / "sub").mkdir(parents=True)
    (tmp_path / "a" / "sub" / "1.jpg").touch()
    (tmp_path / "a" / "2.JPG").touch()
    rows = table.assign(
        frames_dir=str(tmp_path / "a"), frames=[["sub/1.jpg"], ["2.JPG", "sub/3.jpg"]], num_frames=[1, 2]
    )
    assert missing_images(validate(rows))["path"].tolist() == [str(tmp_path / "a" / "sub" / "3.jpg")]
    (tmp_path / "a" / "sub" / "3.jpg").symlink_to(tmp_path / "nowhere.jpg")
    assert missing_images(validate(rows))["path"].tolist() == [str(tmp_path / "a" / "sub" / "3.jpg")]
    whole = table.assign(frames_dir=str(tmp_path / "a"), num_frames=[1, 2])
    assert missing_images(whole)["row"].tolist() == [1]
    assert len(missing_images(table.assign(frames_dir=str(tmp_path / "a" / "2.JPG")))) == 2


# ---- several datasets -------------------------------------------------------------------------


@st.composite
def datasets(draw: st.DrawFn) -> dict[str, pd.DataFrame]:
    counted = st.integers(0, DATASET_STEP - 1)
    tables = {}
    for name in draw(st.lists(names, min_size=1, max_size=4, unique=True)):
        number = draw(st.integers(0, 5))
        several = {
            column: draw(st.lists(values, min_size=number, max_size=number))
            for column, values in {
                "person_id": st.sampled_from([-1, 0, 1, 7]) | counted,
                "camera_id": st.integers(0, 3) | counted,
                "sequence_id": st.integers(0, 3) | counted,
                "tracklet_id": counted,
                "video_id": words,
            }.items()
        }
        table = pd.DataFrame(several).assign(split="test", frames_dir="/x", num_frames=1)
        table["role"] = np.where(table["person_id"] < 1, "junk", "gallery")
        tables[name] = validate(
            table.drop(columns=list(draw(st.sets(st.sampled_from(["tracklet_id", "video_id"])))))
        )
    return tables


@settings(max_examples=100, deadline=None)
@given(datasets())
def test_datasets_never_share_a_number(tables: dict[str, pd.DataFrame]) -> None:
    both = concatenate(tables)
    assert both["dataset"].tolist() == [name for name, table in tables.items() for _ in range(len(table))]
    for column, kept in (("person_id", both["person_id"] > 0), ("camera_id", True), ("sequence_id", True)):
        owners = both[kept | (both["split"] == "")].groupby(column)["dataset"].nunique()
        assert (owners == 1).all()
    originals = [number for table in tables.values() for number in table["person_id"]]
    assert [number for number in both["person_id"] if number <= 0] == [n for n in originals if n <= 0]
    apart = separate(both)
    assert list(apart) == [name for name, table in tables.items() if len(table)]
    for name, part in apart.items():
        pd.testing.assert_frame_equal(part[list(tables[name])], tables[name])


def test_a_concatenated_table_survives_a_file(table: pd.DataFrame, tmp_path: Path) -> None:
    both = concatenate(
        {"001": table, "b": table.assign(label=["x", "y"], frames=[["1.jpg"], ["2.jpg", "3.jpg"]])}
    )
    both["frames_dir"] = [str(Path(text).absolute()) for text in both["frames_dir"]]
    for name in ("t.csv", "t.parquet"):
        pd.testing.assert_frame_equal(read_table(write_table(both, tmp_path / name)), both)


@pytest.mark.parametrize(
    ("tables", "message"),
    [
        ({}, "no table to concatenate"),
        ({"": None}, "is no name for a dataset"),
        ({"a": {"camera_id": [0, DATASET_STEP]}}, "a, row 1, column camera_id: .* must be below"),
        ({"a": {"role": ["train", "query"]}}, "a, row 1, column role"),
    ],
)
def test_what_cannot_be_concatenated(table: pd.DataFrame, tables: dict, message: str) -> None:
    with pytest.raises(DataError, match=message):
        concatenate({name: table.assign(**(changes or {})) for name, changes in tables.items()})


def test_only_concatenated_tables_can_be_separated(table: pd.DataFrame) -> None:
    with pytest.raises(DataError, match="no column dataset"):
        separate(table)
    with pytest.raises(DataError, match="row 1, column dataset"):
        separate(table.assign(dataset=["a", None]))


def test_a_picture_of_one_row_and_of_many(table: pd.DataFrame) -> None:
    for rows in (table[:1], table, table.assign(num_frames=[1, 10**6])):
        figure = plot_table(validate(rows))
        assert [axis.get_title() for axis in figure.axes[:4]] == [
            "identities",
            "cameras",
            "sequences",
            "frames",
        ]
        assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == ["train"]
        figure.canvas.draw()


@pytest.mark.parametrize(("role", "person"), [("query", -1), ("gallery", 0)])
def test_nobody_is_neither_query_nor_gallery(table: pd.DataFrame, role: str, person: int) -> None:
    bad = table.assign(split="test", role=role, person_id=[5, person])
    with pytest.raises(DataError, match=r"row 1, column person_id: .* is nobody"):
        validate(bad)


def test_a_folder_is_never_replaced_by_a_table(table: pd.DataFrame, tmp_path: Path) -> None:
    (tmp_path / "index.csv").mkdir()
    (tmp_path / "index.csv" / "thesis.txt").write_text("two years of work")
    with pytest.raises(DataError, match=r"index\.csv is a folder: give the name of a file"):
        write_table(table, tmp_path / "index.csv")
    assert (tmp_path / "index.csv" / "thesis.txt").read_text() == "two years of work"
    with pytest.raises(DataError, match=r"thesis\.txt is a file, not a folder"):
        write_table(table, tmp_path / "index.csv" / "thesis.txt" / "index.csv")
