"""Vehicles, products, lists and folders: the real VeRi lists, round trips, damage, spaces and alphabets."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reidkit.core import ConfigError, DataError
from reidkit.data.layouts import Tracklet, compare_counts, count_table
from reidkit.data.object_sets import (
    INSHOP_COUNTS,
    VEHICLEID_COUNTS,
    VERI_COUNTS,
    draw_gallery,
    number_labels,
    parse_label_line,
    parse_veri_name,
    read_identity_folders,
    read_inshop,
    read_label_lists,
    read_sop,
    read_vehicleid,
    read_veri,
    read_veri_index,
    veri_index,
    write_identity_folders,
    write_inshop,
    write_label_lists,
    write_sop,
    write_vehicleid,
    write_veri,
)
from reidkit.data.table import frame_paths, missing_images, read_table, write_table


def tracklet(role: str, person: int, camera: int, number: int, frames: int = 1) -> Tracklet:
    images = [np.full((8, 4, 3), (10 * person + number) % 256, np.uint8)] * frames
    return Tracklet("train" if role == "train" else "test", role, person, camera, number, images)


TRACKLETS = [
    tracklet("train", 1, 0, 1, 2),
    tracklet("train", 1, 2, 2),
    tracklet("train", 12, 1, 1),
    tracklet("query", 3, 0, 1),
    tracklet("gallery", 3, 0, 2, 3),
    tracklet("gallery", 3, 1, 3),
    tracklet("query", 8, 2, 1),
    tracklet("gallery", 8, 0, 2, 2),
]


def of_table(table: pd.DataFrame, *columns: str) -> list[tuple]:
    return sorted(table[list(columns)].itertuples(index=False, name=None))


def of_images(*fields: str) -> list[tuple]:
    return sorted(tuple(getattr(t, field) for field in fields) for t in TRACKLETS for _ in t.images)


# ---- VeRi-776: the official lists -----------------------------------------------------------


@pytest.fixture(scope="module")
def veri_lists(real_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The official lists under their official names; no images."""
    source, root = real_data / "reid" / "veri776_lists", tmp_path_factory.mktemp("veri")
    named = [line.split()[0] for line in (source / "ex.txt").read_text().splitlines()]
    parts = {
        "query": [name.split("/")[1] for name in named if name.startswith("query")],
        "test": [name.split("/")[1] for name in named if name.startswith("test")],
        "train": [line.split()[0] for line in (source / "train-id-col-mod.txt").read_text().splitlines()],
    }
    for part, names in parts.items():
        (root / f"name_{part}.txt").write_text("\r\n".join(names) + "\r\n")
    for name in ("gt_index.txt", "jk_index.txt"):
        (root / name).write_bytes((source / name).read_bytes())
    return root


def test_official_veri_counts(veri_lists: Path) -> None:
    table = read_veri(veri_lists)
    counts = compare_counts(table, VERI_COUNTS)
    assert (counts["published"] == counts["found"]).all(), counts
    assert len(table) == 37778 + 1678 + 11579
    assert table["person_id"].nunique() == 776
    cameras = table.groupby("split")["camera_id"].agg(["nunique", "max"])
    assert cameras.loc["train"].tolist() == [20, 19]
    assert cameras.loc["test"].tolist() == [19, 18]
    assert (table[table["split"] == "train"]["camera_id"] == 19).sum() == 22


def test_the_rule_reproduces_both_official_index_files(veri_lists: Path) -> None:
    right, junk = veri_index(read_veri(veri_lists))
    for name, derived in (("gt", right), ("jk", junk)):
        official = read_veri_index(veri_lists / f"{name}_index.txt")
        assert len(official) == len(derived) == 1678
        assert all(np.array_equal(np.sort(one), other) for one, other in zip(official, derived, strict=True))
    assert min(map(len, right)) == 5


def test_every_official_query_is_a_test_image_and_its_own_junk(veri_lists: Path) -> None:
    table = read_veri(veri_lists)
    names = {role: [frames[0] for frames in part["frames"]] for role, part in table.groupby("role")}
    place = {name: number for number, name in enumerate(names["gallery"], start=1)}
    junk = read_veri_index(veri_lists / "jk_index.txt")
    assert all(place[name] in own for name, own in zip(names["query"], junk, strict=True))


# ---- round trips ----------------------------------------------------------------------------

ROUND_TRIPS: dict[str, tuple[Callable, Callable, tuple[str, ...]]] = {
    "veri": (write_veri, read_veri, ("split", "role", "person_id", "camera_id")),
    "inshop": (write_inshop, read_inshop, ("split", "role", "person_id")),
    "lists": (write_label_lists, read_label_lists, ("split", "role", "person_id", "camera_id")),
    "vehicleid": (write_vehicleid, lambda root: read_vehicleid(root, 2), ("split", "person_id")),
}


@pytest.mark.parametrize("layout", ROUND_TRIPS)
def test_round_trip(layout: str, tmp_path: Path) -> None:
    write, read, fields = ROUND_TRIPS[layout]
    root = write(iter(TRACKLETS), tmp_path / "tree")
    table = read(root)
    assert of_table(table, *fields) == of_images(*fields)
    assert (table["num_frames"] == 1).all()
    assert len(missing_images(table)) == 0
    images = {path for row in table.itertuples() for path in frame_paths(row.frames_dir, row.frames)}
    assert images == {path for path in root.rglob("*") if path.suffix == ".jpg"}
    for _, part in table.groupby("split"):
        assert part["sequence_id"].tolist() == list(range(1, len(part) + 1))
    back = read_table(write_table(table, tmp_path / "index.csv"))
    assert of_table(back, *fields) == of_images(*fields)
    assert {path.name for path in tmp_path.iterdir()} == {"tree", "index.csv"}


def test_sop_round_trip_with_two_rows_per_test_image(tmp_path: Path) -> None:
    table = read_sop(write_sop(TRACKLETS, tmp_path / "sop"))
    tests = sorted((t.person_id,) for t in TRACKLETS if t.split == "test" for _ in t.images)
    for role in ("query", "gallery"):
        assert of_table(table[table["role"] == role], "person_id") == tests
    rows = table[table["split"] == "test"].assign(
        name=[frames[0] for frames in table["frames"][table["split"] == "test"]]
    )
    assert (rows.groupby("name")["camera_id"].nunique() == 1).all()
    assert (rows.groupby("camera_id")["role"].agg(set) == {"query", "gallery"}).all()
    assert rows["camera_id"].nunique() == len(tests)


def test_identity_folders_keep_whole_tracklets(tmp_path: Path) -> None:
    table = read_identity_folders(write_identity_folders(TRACKLETS, tmp_path / "folders"))
    found = zip(*(table[name] for name in ("split", "role", "label", "camera_id", "num_frames")), strict=True)
    made = ((t.split, t.role, f"{t.person_id:04d}", t.camera_id, len(t.images)) for t in TRACKLETS)
    assert sorted(found) == sorted(made)
    assert table.groupby("label")["person_id"].unique().map(list).to_dict() == {
        "0001": [1],
        "0003": [2],
        "0008": [3],
        "0012": [4],
    }


ALL_WRITERS = [
    write_veri,
    write_vehicleid,
    write_sop,
    write_inshop,
    write_label_lists,
    write_identity_folders,
]


@pytest.mark.parametrize("write", ALL_WRITERS)
@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (replace(TRACKLETS[3], person_id=-1, role="junk"), "no place for a junk tracklet of person -1"),
        (
            replace(TRACKLETS[3], person_id=0, role="distractor"),
            "no place for a distractor tracklet of person 0",
        ),
        (replace(TRACKLETS[3], split="val"), "in the split val"),
        (replace(TRACKLETS[3], role="train"), "a train tracklet of person 3 in the split test"),
    ],
)
def test_writers_refuse_what_a_layout_cannot_hold(
    write: Callable, wrong: Tracklet, message: str, tmp_path: Path
) -> None:
    with pytest.raises(DataError, match=message):
        write([*TRACKLETS, wrong], tmp_path / "tree")
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize("write", ALL_WRITERS)
def test_an_interrupted_writer_leaves_what_was_there(write: Callable, tmp_path: Path) -> None:
    def broken() -> Iterator[Tracklet]:
        yield from TRACKLETS[:2]
        raise RuntimeError("the renderer stopped")

    root = write(TRACKLETS, tmp_path / "tree")
    before = sorted(root.rglob("*"))
    with pytest.raises(RuntimeError, match="stopped"):
        write(broken(), root)
    assert sorted(root.rglob("*")) == before
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize(
    "write", [write_veri, write_sop, write_inshop, write_label_lists, write_identity_folders]
)
def test_no_image_overwrites_another(write: Callable, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="Two images want to be"):
        write([*TRACKLETS, TRACKLETS[-1]], tmp_path / "tree")


def test_veri_names_hold_what_they_hold(tmp_path: Path) -> None:
    for wrong in (
        tracklet("train", 10000, 0, 1),
        tracklet("train", 1, 999, 1),
        tracklet("train", 1, 0, 1, 1000),
    ):
        with pytest.raises(DataError, match="no VeRi-776 file name"):
            write_veri([wrong], tmp_path / "tree")
    for name in ("0000_c001_00016450_0.jpg", "0001_c000_00016450_0.jpg", "0001_c001_00016450_0.png", "x"):
        with pytest.raises(DataError, match="no VeRi-776 file name"):
            parse_veri_name(name)


# ---- parts and nothing ----------------------------------------------------------------------


def test_veri_reads_folders_without_lists_and_lists_without_folders(tmp_path: Path) -> None:
    root = write_veri(TRACKLETS, tmp_path / "veri")
    whole = read_veri(root)
    for path in root.glob("name_*.txt"):
        path.unlink()
    (root / "image_train" / ".DS_Store").touch()
    (root / "image_train" / "Thumbs.db").touch()
    pd.testing.assert_frame_equal(read_veri(root), whole)
    (root / "image_query" / "car.jpg").touch()
    with pytest.raises(DataError, match=r"image_query: 'car.jpg' is no VeRi-776 file name"):
        read_veri(root)


@pytest.mark.parametrize("kept", ["train", "query", "test"])
def test_one_part_of_veri_is_enough_and_told(
    kept: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    root = write_veri(TRACKLETS, tmp_path / "veri")
    for path in [*root.glob("name_*.txt"), *root.glob("image_*/*")]:
        if kept not in str(path.relative_to(root)):
            path.unlink()
    for part in ("train", "query", "test"):
        if part != kept:
            (root / f"image_{part}").rmdir()
    table = read_veri(root)
    assert table["role"].unique().tolist() == [{"test": "gallery"}.get(kept, kept)]
    assert "is not the whole of VeRi-776" in caplog.text


@pytest.mark.parametrize(
    ("read", "expects"),
    [
        (read_veri, "there should be image_train"),
        (read_vehicleid, "train_test_split/train_list.txt"),
        (read_sop, "Ebay_train.txt"),
        (read_inshop, "list_eval_partition.txt does not exist"),
        (read_label_lists, "train_list.txt"),
        (read_identity_folders, "one folder of images per identity"),
    ],
)
def test_nothing_there_says_what_was_expected(read: Callable, expects: str, tmp_path: Path) -> None:
    for root in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(DataError, match=expects):
            read(root)


def test_vehicleid_parts(tmp_path: Path) -> None:
    root = write_vehicleid(TRACKLETS, tmp_path / "vehicleid")
    lists = root / "train_test_split"
    with pytest.raises(DataError, match=r"test_list_800.txt does not exist.*one of test_list_2.txt"):
        read_vehicleid(root)
    (lists / "test_list_2.txt").rename(tmp_path / "kept.txt")
    assert read_vehicleid(root)["role"].unique().tolist() == ["train"]
    (tmp_path / "kept.txt").rename(lists / "test_list_2.txt")
    (lists / "train_list.txt").unlink()
    assert set(read_vehicleid(root, 2)["role"]) == {"query", "gallery"}


def test_a_tree_of_training_vehicles_alone(tmp_path: Path) -> None:
    root = write_vehicleid(TRACKLETS[:3], tmp_path / "vehicleid")
    assert read_vehicleid(root, test_size=0)["role"].unique().tolist() == ["train"]


def test_vehicle_zero_is_no_distractor(tmp_path: Path) -> None:
    lists = tmp_path / "train_test_split"
    lists.mkdir()
    (lists / "train_list.txt").write_text("0000001 0\n0000002 0\n")
    table = read_vehicleid(tmp_path)
    assert table["person_id"].tolist() == [1, 1]
    assert table["label"].tolist() == ["0", "0"]


# ---- damage -----------------------------------------------------------------------------------


def damage(path: Path, line: int, text: str) -> None:
    """Replace a line, counted from 1."""
    lines = path.read_text().split("\n")
    lines[line - 1] = text
    path.write_text("\n".join(lines))


@pytest.mark.parametrize(
    ("layout", "file", "line", "text", "message"),
    [
        ("veri", "name_train.txt", 2, "0001_c01_00016450_0.jpg", "line 2: .*no VeRi-776 file name"),
        ("vehicleid", "train_test_split/train_list.txt", 3, "0000003", "line 3: '0000003' is no"),
        ("vehicleid", "train_test_split/test_list_2.txt", 2, "0000005 x", "line 2: '0000005 x' is no"),
        ("inshop", "Eval/list_eval_partition.txt", 4, "img/a.jpg id_00000001 val", "line 4: .* is no image"),
        (
            "inshop",
            "Eval/list_eval_partition.txt",
            4,
            "img/a.jpg id_00000000 train",
            "line 4: .* is no image",
        ),
        ("inshop", "Eval/list_eval_partition.txt", 4, "", "promises 12 images and lists 11"),
        ("inshop", "Eval/list_eval_partition.txt", 1, "many", "must start with the number of images"),
        (
            "inshop",
            "Eval/list_eval_partition.txt",
            2,
            "image item status",
            "must start with the number of images",
        ),
        ("lists", "query_list.txt", 2, "a.jpg 7 1", r"query_list.txt, line 2: .*name the delimiter"),
        ("lists", "query_list.txt", 2, "a.jpg\t7", r"query_list.txt, line 2 lacks the third column"),
        ("lists", "query_list.txt", 2, "a.jpg\t7\t-1", r"query_list.txt, line 2: "),
    ],
)
def test_damaged_lines_are_named(
    layout: str, file: str, line: int, text: str, message: str, tmp_path: Path
) -> None:
    write, read, _ = ROUND_TRIPS[layout]
    root = write(TRACKLETS, tmp_path / "tree")
    damage(root / file, line, text)
    with pytest.raises(DataError, match=message):
        read(root)


@pytest.mark.parametrize(
    ("line", "text", "message"),
    [
        (1, "id class super path", "must start with the line"),
        (3, "2 0 1 a.JPG", "Ebay_train.txt, line 3"),
        (3, "2 1 a.JPG", "Ebay_train.txt, line 3"),
        (3, "1 1 1 synth_final/000001000001_0.JPG", "line 3: .* is listed twice"),
    ],
)
def test_damaged_sop_lists(line: int, text: str, message: str, tmp_path: Path) -> None:
    root = write_sop(TRACKLETS, tmp_path / "sop")
    damage(root / "Ebay_train.txt", line, text)
    with pytest.raises(DataError, match=message):
        read_sop(root)


def test_repeated_images_are_named(tmp_path: Path) -> None:
    for layout, file in (
        ("veri", "name_test.txt"),
        ("vehicleid", "train_test_split/train_list.txt"),
        ("inshop", "Eval/list_eval_partition.txt"),
    ):
        write, read, _ = ROUND_TRIPS[layout]
        path = write(TRACKLETS, tmp_path / layout) / file
        lines = path.read_text().split("\n")
        damage(path, 4, lines[2])
        with pytest.raises(DataError, match=r"line 4: .* is listed twice"):
            read(tmp_path / layout)


@pytest.mark.parametrize(
    ("write", "read"),
    [
        (write_veri, read_veri),
        (write_vehicleid, lambda root: read_vehicleid(root, 2)),
        (write_sop, read_sop),
        (write_inshop, read_inshop),
    ],
)
def test_nobody_is_trained_on_and_tested_on(write: Callable, read: Callable, tmp_path: Path) -> None:
    root = write([*TRACKLETS, tracklet("train", 3, 0, 9)], tmp_path / "tree")
    with pytest.raises(DataError, match="is in the training and in the test rows"):
        read(root)


def test_index_files_are_checked(tmp_path: Path) -> None:
    path = tmp_path / "gt_index.txt"
    path.write_bytes(b"1 2 3 \r\n\r\n7 \r\n")
    assert [list(own) for own in read_veri_index(path)] == [[1, 2, 3], [], [7]]
    for text in ("1 2\n3 x\n", "1 2\n0\n", "1 2\n-1\n"):
        path.write_text(text)
        with pytest.raises(DataError, match="line 2 does not list positions"):
            read_veri_index(path)
    with pytest.raises(DataError, match="does not exist"):
        read_veri_index(tmp_path / "jk_index.txt")


# ---- spaces, alphabets, line ends -------------------------------------------------------------

WORDS = st.text(
    st.characters(codec="utf-8", exclude_characters="\t\r\n\\", exclude_categories=["Cs", "Cc"]),
    min_size=1,
    max_size=12,
).filter(lambda text: text.strip())
PATHS = st.builds(
    lambda parts, suffix: "/".join(parts) + suffix,
    st.lists(WORDS, min_size=1, max_size=3),
    st.sampled_from([".jpg", ".PNG", ".jpeg"]),
)


@given(PATHS, WORDS, st.none() | st.integers(0, 10**6))
def test_tab_lists_hold_any_path_and_label(path: str, label: str, shot: int | None) -> None:
    line = "\t".join([path, label] + ([] if shot is None else [str(shot)]))
    parsed = parse_label_line(line)
    assert (parsed.path, parsed.shot) == (path.removeprefix("./"), shot)
    assert parsed.label == parse_label_line(f"{path}\t{parsed.label}").label  # one spelling stays


@given(
    PATHS, st.integers(0, 10**6), st.none() | st.integers(0, 10**6), st.sampled_from([" ", ",", ";", " | "])
)
def test_other_delimiters_hold_any_path(path: str, label: int, shot: int | None, delimiter: str) -> None:
    line = delimiter.join([path, str(label)] + ([] if shot is None else [str(shot)]))
    assert parse_label_line(line, delimiter) == (path.removeprefix("./"), str(label), shot)


@settings(max_examples=40)
@given(
    rows=st.lists(
        st.tuples(PATHS, WORDS), min_size=1, max_size=8, unique_by=lambda row: row[0].removeprefix("./")
    )
)
def test_a_list_with_windows_ends_and_a_mark_reads_alike(
    rows: list, tmp_path_factory: pytest.TempPathFactory
) -> None:
    root = tmp_path_factory.mktemp("lists")
    (root / "train_list.txt").write_bytes("".join(f"{path}\t{label}\n" for path, label in rows).encode())
    table = read_label_lists(root)
    windows = "\r\n\r\n".join(f"{path}\t{label}" for path, label in rows)
    (root / "train_list.txt").write_bytes(b"\xef\xbb\xbf" + windows.encode())
    pd.testing.assert_frame_equal(read_label_lists(root), table)
    paths = [str(path) for row in table.itertuples() for path in frame_paths(row.frames_dir, row.frames)]
    assert [Path(path) for path in paths] == [root / path for path, _ in rows]
    assert (table.groupby("person_id")["label"].nunique() == 1).all()


@given(st.lists(st.integers(0, 50).map(str) | WORDS, min_size=1, max_size=20))
def test_label_numbers_are_one_to_one_and_do_not_depend_on_order(labels: list[str]) -> None:
    numbers = number_labels(labels)
    assert numbers.min() >= 1
    by_label: dict[str, set] = {}
    for label, number in zip(labels, numbers, strict=True):
        by_label.setdefault(label, set()).add(int(number))
    assert all(len(own) == 1 for own in by_label.values())
    if not all(label.isdecimal() and label.isascii() for label in labels):
        assert len(set.union(*by_label.values())) == len(by_label)
    backwards = number_labels(labels[::-1])[::-1]
    assert np.array_equal(numbers, backwards)


def test_mixed_labels_are_reported(caplog: pytest.LogCaptureFixture) -> None:
    assert number_labels(["7", "x", "12"]).tolist() == [1, 3, 2]
    assert "2 are numbers and 1 are not, 'x' for one" in caplog.text
    caplog.clear()
    number_labels(["7", "12"])
    number_labels(["a", "b"])
    assert not caplog.text


def test_products_keep_spaces_in_paths(tmp_path: Path) -> None:
    (tmp_path / "Ebay_train.txt").write_text(
        "image_id class_id super_class_id path\n1 5 2 coffee maker_final/été 1.JPG\n"
    )
    row = read_sop(tmp_path).iloc[0]
    assert (row["frames"], row["person_id"], row["super_class_id"]) == (["été 1.JPG"], 5, 2)
    assert row["frames_dir"] == str(tmp_path / "coffee maker_final")
    (tmp_path / "Eval").mkdir()
    (tmp_path / "Img" / "img").mkdir(parents=True)
    text = "1\nimage_name item_id evaluation_status\nimg/MEN/Tees Tanks/id_00000007/01 1.jpg      id_00000007 query   \n"
    (tmp_path / "Eval" / "list_eval_partition.txt").write_text(text)
    row = read_inshop(tmp_path).iloc[0]
    assert row["frames_dir"] == str(tmp_path / "Img" / "img" / "MEN" / "Tees Tanks" / "id_00000007")
    assert (row["frames"], row["person_id"], row["label"]) == (["01 1.jpg"], 7, "id_00000007")


def test_a_list_in_another_encoding_is_named(tmp_path: Path) -> None:
    (tmp_path / "train_list.txt").write_bytes("a.jpg\t1\né.jpg\t2\n".encode("latin-1"))
    with pytest.raises(DataError, match=r"train_list.txt, line 2 is not UTF-8"):
        read_label_lists(tmp_path)


# ---- label lists ------------------------------------------------------------------------------


def test_lists_of_paddleclas(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Space-delimited, a unique id in the third column of the list that is both query and gallery."""
    (tmp_path / "train_list.txt").write_text("train/99/a.jpg 99\ntrain/99/b.jpg 99\n")
    (tmp_path / "test_list.txt").write_text("test/200/c.jpg 200 1\ntest/200/d.jpg 200 6\n")
    lists = {"train": "train_list.txt", "query": "test_list.txt", "gallery": "test_list.txt"}
    table = read_label_lists(tmp_path, lists, delimiter=" ")
    assert table["person_id"].tolist() == [100, 100, 201, 201, 201, 201]
    assert table["camera_id"].tolist()[2:] == [1, 6, 1, 6]
    assert table["label"].tolist() == ["99", "99", "200", "200", "200", "200"]
    assert not caplog.text
    with pytest.raises(DataError, match="name the delimiter"):
        read_label_lists(tmp_path, lists)


def test_a_shared_label_is_reported_and_a_half_third_column_refused(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for name, text in (("train", "a.jpg\t4\n"), ("query", "b.jpg\t4\t0\n"), ("gallery", "c.jpg\t4\n")):
        (tmp_path / f"{name}_list.txt").write_text(text)
    with pytest.raises(DataError, match="must both have a third column"):
        read_label_lists(tmp_path)
    (tmp_path / "gallery_list.txt").write_text("c.jpg\t4\t1\n")
    assert read_label_lists(tmp_path)["person_id"].tolist() == [5, 5, 5]
    assert "1 identities, '4' for one, are trained on and tested on" in caplog.text


def test_one_image_has_one_label_across_lists(tmp_path: Path) -> None:
    (tmp_path / "query_list.txt").write_text("b.jpg\t1\na.jpg\t4\n")
    (tmp_path / "gallery_list.txt").write_text("a.jpg\t5\n")
    with pytest.raises(
        DataError, match=r"gallery_list.txt, line 1: 'a.jpg' is labelled '5' here and '4' elsewhere"
    ):
        read_label_lists(tmp_path)


def test_a_named_list_must_exist_and_roles_are_known(tmp_path: Path) -> None:
    (tmp_path / "train_list.txt").write_text("a.jpg\t4\n")
    with pytest.raises(DataError, match=r"query.txt does not exist"):
        read_label_lists(tmp_path, {"train": "train_list.txt", "query": "query.txt"})
    with pytest.raises(ConfigError, match="train, query, gallery"):
        read_label_lists(tmp_path, {"test": "train_list.txt"})
    with pytest.raises(ConfigError, match="delimiter"):
        read_label_lists(tmp_path, delimiter="")


# ---- VehicleID's draw -------------------------------------------------------------------------


@given(st.lists(st.integers(1, 9), min_size=1, max_size=60), st.integers(0, 2**31))
def test_the_draw_takes_one_image_of_everybody(people: list[int], seed: int) -> None:
    chosen = draw_gallery(people, seed)
    assert sorted(np.array(people)[chosen]) == sorted(set(people))
    assert np.array_equal(chosen, draw_gallery(np.array(people), seed))


def test_every_image_is_equally_likely_to_be_drawn() -> None:
    drawn = sum(draw_gallery([1, 2, 1, 2, 1, 1], seed).astype(int) for seed in range(2000))
    assert np.all(np.abs(drawn[[0, 2, 4, 5]] - 500) < 5 * np.sqrt(2000 * 0.25 * 0.75))
    assert np.all(np.abs(drawn[[1, 3]] - 1000) < 5 * np.sqrt(2000 * 0.5 * 0.5))


def test_published_counts_add_up() -> None:
    assert sum(INSHOP_COUNTS[f"{role} sequences"] for role in ("train", "query", "gallery")) == 52712
    assert INSHOP_COUNTS["train identities"] + INSHOP_COUNTS["query identities"] == 7982
    sizes = {size: counts["query sequences"] + size for size, counts in VEHICLEID_COUNTS.items()}
    assert sizes == {800: 6493, 1600: 13377, 2400: 19777}


# ---- one folder per identity --------------------------------------------------------------------


def touch(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root


@pytest.mark.parametrize(
    ("split", "roles"),
    [
        ("train", {"train"}),
        ("query", {"query"}),
        ("gallery", {"gallery"}),
        ("val", {"query", "gallery"}),
        ("test", {"query", "gallery"}),
    ],
)
def test_a_tree_without_splits_is_what_one_says(split: str, roles: set, tmp_path: Path) -> None:
    table = read_identity_folders(touch(tmp_path, "anna/1.jpg", "anna/2.jpg", "bob/x.webp"), split)
    assert set(table["role"]) == roles
    assert len(table) == 3 * len(roles)
    assert (table.groupby(["label", "camera_id"]).size() == len(roles)).all()
    moved = touch(tmp_path / "tree", f"{split}/anna/1.jpg", f"{split}/anna/2.jpg", f"{split}/bob/x.webp")
    columns = ["split", "role", "person_id", "camera_id", "label"]
    pd.testing.assert_frame_equal(read_identity_folders(moved)[columns], table[columns])


def test_cameras_are_numbered_by_their_numbers(tmp_path: Path) -> None:
    names = (
        "a/cam10/1.jpg",
        "a/Cam_2/1.jpg",
        "b/camera 2/1.jpg",
        "b/c03/s/1.jpg",
        "b/2.jpg",
        "c/cam10/1.jpg",
        "c/cam10/2.jpg",
    )
    table = read_identity_folders(touch(tmp_path, *names))
    found = {
        f"{Path(row.frames_dir).relative_to(tmp_path)}/{row.frames[0]}": row.camera_id
        for row in table.itertuples()
    }
    assert found == dict(zip(names, [2, 0, 0, 1, found["b/2.jpg"], 2, 2], strict=True))
    assert found["b/2.jpg"] > 2


def test_names_that_sort_alike_keep_one_order(tmp_path: Path) -> None:
    table = read_identity_folders(touch(tmp_path, "01/a.jpg", "1/a.jpg", "001/a.jpg", "10/a.jpg", "2/a.jpg"))
    assert table["label"].tolist() == ["001", "01", "1", "2", "10"]
    assert table["person_id"].tolist() == [1, 2, 3, 4, 5]


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["a/1.jpg", "stray.jpg"], r"stray.jpg lies outside the identities' folders"),
        (["train/a/1.jpg", "train/stray.jpg"], r"train/stray.jpg lies outside"),
        (["train/a/1.jpg", "b/1.jpg"], "holds train beside b"),
        (["query/a/1.jpg", "Test/a/1.jpg"], "holds Test beside query or gallery"),
        (["a/1.jpg", "a/2.heic"], r"a/2.heic is no image"),
        (["a/walk/1.jpg", "a/walk/notes.txt"], r"a/walk/notes.txt is no image"),
        (["a/cam1/walk/far/1.jpg"], r"a/cam1/walk/far lies too deep"),
        (["a/walk/cam1/1.jpg"], r"a/walk/cam1 lies too deep"),
        (["a/1.jpg", "b/.hidden"], "b is empty"),
        (["a/cam1/walk/Thumbs.db"], r"a/cam1/walk is empty"),
        (["readme.txt"], "holds no identity"),
    ],
)
def test_what_does_not_fit_is_named(names: list[str], message: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=message):
        read_identity_folders(touch(tmp_path, *names))


def test_closed_sets_are_reported(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    table = read_identity_folders(touch(tmp_path, "train/Zoe\u0308/1.jpg", "val/Zoë/1.jpg"))
    assert table["person_id"].unique().tolist() == [1]
    assert "'Zoë' for one, are trained on and tested on" in caplog.text
    assert count_table(table)["identities"] == 1
    with pytest.raises(ConfigError, match="none of train, query"):
        read_identity_folders(tmp_path, "all")


def test_labels_that_are_one_number_are_told_apart_or_refused() -> None:
    with pytest.raises(DataError, match=r"The labels 007 and 7 are the same number|The labels 7 and 007"):
        number_labels(["7", "007", "8"])
    with pytest.raises(DataError, match="too large"):
        number_labels(["1", "9" * 21])
