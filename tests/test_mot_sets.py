"""Tracking sets: real sequences, damaged files, and properties of the reader."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reidkit.core import ConfigError, DataError
from reidkit.data.layouts import Frame
from reidkit.data.mot_sets import (
    compare_mot_counts,
    expand_boxes,
    find_mot_sequences,
    frame_numbers,
    read_dancetrack,
    read_mot_frames,
    read_mot_ground_truth,
    read_mot_sequence,
    read_mot_tracklets,
    read_mot_videos,
    report_mot_counts,
    write_dancetrack,
    write_mot_videos,
)
from reidkit.data.sequences import window_table
from reidkit.data.table import missing_images, read_table, write_table


@pytest.mark.parametrize(
    ("sequence", "tracklets", "boxes"),
    [
        ("mot/MOT17-02", 62, 18581),
        ("mot/MOT17-09", 26, 5325),
        ("mot/MOT17-13", 110, 11642),
        ("mot/TUD-Campus", 8, 359),
        ("mot/TUD-Stadtmitte", 10, 1156),
        ("images/TUD-Campus", 8, 359),
        ("images/PETS-S3-MF1", 7, 620),
    ],
)
def test_real_mot_sequences(real_data: Path, sequence: str, tracklets: int, boxes: int) -> None:
    table = read_mot_tracklets(real_data / sequence)
    assert (len(table), table["num_frames"].sum()) == (tracklets, boxes)
    assert table["video_id"].unique().tolist() == [Path(sequence).name]
    missing = missing_images(table)
    assert len(missing) == (0 if sequence.startswith("images") else boxes)


def test_a_folder_of_real_sequences(real_data: Path, tmp_path: Path) -> None:
    table = read_mot_tracklets(real_data / "mot", pattern="MOT17-*")
    assert table["camera_id"].nunique() == 3
    assert table["person_id"].is_unique
    back = read_table(write_table(table, tmp_path / "mot.parquet"))
    assert back["boxes"].tolist() == table["boxes"].tolist()


def test_real_counts_are_the_published_ones(real_data: Path, caplog: pytest.LogCaptureFixture) -> None:
    table = read_mot_tracklets(real_data / "mot")
    counts = compare_mot_counts(table)
    there = counts[counts["tracks found"] > 0]
    assert there.index.tolist() == ["TUD-Stadtmitte", "TUD-Campus", "MOT17-02", "MOT17-09", "MOT17-13"]
    assert (there["tracks found"] == there["tracks published"]).all()
    assert (there["boxes found"] == there["boxes published"]).all()
    assert "is not the whole of MOT17: MOT17-04, MOT17-05, MOT17-10, MOT17-11 are not there." in caplog.text
    frames = {name: 0 for name in there.index}
    for row in table.itertuples():
        frames[row.video_id] = max(frames[row.video_id], int(frame_numbers(row.frames).max()))
    assert frames == {
        "MOT17-02": 600,
        "MOT17-09": 525,
        "MOT17-13": 750,
        "TUD-Campus": 71,
        "TUD-Stadtmitte": 179,
    }
    print(there)


def test_real_sequences_of_two_folders_have_the_same_video(real_data: Path) -> None:
    with pytest.raises(DataError, match="TUD-Campus are the same video, or have the same name"):
        read_mot_tracklets([real_data / "mot", real_data / "images"])


def test_real_ignored_classes(real_data: Path) -> None:
    table = read_mot_tracklets(real_data / "mot" / "MOT17-02", classes=(1, 7), with_ignored=True)
    assert table.groupby("class_id")["num_frames"].sum().to_dict() == {1: 18581, 7: 5271}
    assert len(read_mot_tracklets(real_data / "mot" / "MOT17-02", classes=(1, 7))) == 62


def test_real_boxes_grow_inside_the_image(real_data: Path) -> None:
    boxes = np.concatenate(read_mot_tracklets(real_data / "mot" / "MOT17-09", expand=1.2)["boxes"].tolist())
    assert boxes.min() == 0 and boxes[:, 2].max() == 1920 and boxes[:, 3].max() == 1080
    assert len(boxes) == 5325


def test_real_images_as_frames(real_data: Path) -> None:
    frames = list(read_mot_videos(real_data / "images", pattern="PETS*")["PETS-S3-MF1"])
    assert (len(frames), sum(len(frame.boxes) for frame in frames)) == (107, 620)
    assert frames[0].image.shape == (576, 768, 3)
    assert sum(len(frame.detections) for frame in frames) > 0


# ---- a tiny sequence -----------------------------------------------------------------------


def write_sequence(folder: Path, text: str, images: tuple[str, ...] = ()) -> Path:
    (folder / "gt").mkdir(parents=True)
    (folder / "gt" / "gt.txt").write_text(text)
    for name in images:
        (folder / "img1").mkdir(exist_ok=True)
        (folder / "img1" / name).touch()
    return folder


def test_boxes_start_at_zero_and_gaps_stay(tmp_path: Path) -> None:
    sequence = write_sequence(
        tmp_path / "a", "5,7,1,1,10,20,1,1,1\n2,7,3.5,4,10,20,1,1,0.5\n2,8,1,1,5,5,0,1,1\n"
    )
    row = read_mot_tracklets(sequence).iloc[0]
    assert row["boxes"] == [[2.5, 3, 12.5, 23], [0, 0, 10, 20]]
    assert (row["frames"], row["start"], row["num_frames"]) == (["000002.jpg", "000005.jpg"], 2, 2)
    assert (row["person_id"], row["sequence_id"], row["video_id"]) == (7, 7, "a")


def test_the_class_counts_in_nine_columns_only(tmp_path: Path) -> None:
    nine = write_sequence(tmp_path / "nine", "1,1,1,1,5,5,1,1,1\n1,2,1,1,5,5,1,7,1\n")
    ten = write_sequence(tmp_path / "ten", "1,1,1,1,5,5,1,4.4,5.5,0\n1,2,1,1,5,5,1,7.1,5.5,0\n")
    seven = write_sequence(tmp_path / "seven", "1,1,1,1,5,5,-1\n1,2,1,1,5,5,-1\n")
    assert [len(read_mot_tracklets(path)) for path in (nine, ten, seven)] == [1, 2, 2]
    assert read_mot_tracklets(nine, classes=(7,))["sequence_id"].tolist() == [2]


def test_image_names_are_found_by_number(tmp_path: Path) -> None:
    text = "1,1,1,1,5,5,1,1,1\n2,1,1,1,5,5,1,1,1\n3,1,1,1,5,5,1,1,1\n"
    sequence = write_sequence(tmp_path / "a", text, ("frame_0001.png", "frame_0002.png", "notes3.txt"))
    (sequence / "seqinfo.ini").write_text("[Sequence]\nimDir=img1\nimExt=.png\n")
    table = read_mot_tracklets(sequence)
    assert table["frames"].iloc[0] == ["frame_0001.png", "frame_0002.png", "frame_0003.png"]
    assert missing_images(table)["path"].map(lambda text: Path(text).name).tolist() == ["frame_0003.png"]


def test_several_sequences(tmp_path: Path) -> None:
    for name in ("s10", "s2"):
        write_sequence(tmp_path / "train" / name, "1,1,1,1,5,5,1,1,1\n")
    table = read_mot_tracklets(tmp_path, split="test")
    assert table["video_id"].tolist() == ["s2", "s10"]
    assert table["person_id"].tolist() == [1, 10001]
    assert table["role"].tolist() == ["gallery", "gallery"]
    assert read_mot_tracklets(tmp_path, shared_ids=True)["person_id"].tolist() == [1, 1]


def test_one_video_three_times(tmp_path: Path) -> None:
    for detector in ("DPM", "FRCNN", "SDP"):
        write_sequence(tmp_path / f"MOT17-02-{detector}", "1,1,1,1,5,5,1,1,1\n")
    with pytest.raises(DataError, match=r"are the same video: choose one with pattern="):
        read_mot_tracklets(tmp_path)
    assert read_mot_tracklets(tmp_path, pattern="*-SDP")["video_id"].tolist() == ["MOT17-02-SDP"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1,1,1,1,5,5,1,1,1\nframe,1,1,1,5,5,1,1,1\n", "line 2 .* must hold numbers"),
        ("1,1,1,1,5,-5,1,1,1\n", "line 1 .* positive width and height"),
        ("0,1,1,1,5,5,1,1,1\n", "line 1 .* whole frame ≥ 1"),
        ("1,1,1,1,5,5,1,1,1\n1,1,1,1,5,6,1,1,1\n", "line 2 .* repeats"),
        ("1,1,1,1,5,5,1,1,1\n\n2,1,1,1,5,5,1,1,1\n", "line 2 .* must hold numbers"),
        ("1 1 1 1 5 5 1\n", "has 1 columns"),
        ("1,1,1,1,5,5,1,1.5,1\n", "line 1 .* whole class"),
        ("1,1,1,1,5,5,1,1,often\n", "line 1 .* must hold numbers"),
        ("1,123456789012345678,1,1,5,5,1,1,1\n", "line 1 .* below 2"),
        ("", "no comma-separated MOT file"),
        ("1,1,1,1,5,5,0,1,1\n", "no ground-truth row"),
    ],
)
def test_bad_ground_truth(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read_mot_tracklets(write_sequence(tmp_path / "a", text))


@pytest.mark.parametrize("ends", ["", ",", "\n\n", ",\n \n"])
def test_classes_without_visibility_still_choose(tmp_path: Path, ends: str) -> None:
    text = f"1,1,10,20,30,40,1,7{ends[:1].strip()}\n1,2,10,20,30,40,1,1{ends}"
    table = read_mot_tracklets(write_sequence(tmp_path / "a", text))
    assert table["person_id"].tolist() == [2]


# ---- names and numbers --------------------------------------------------------------------


def test_frame_numbers_survive_windows_and_files(tmp_path: Path) -> None:
    kept = [1, 2, 3, 7, 8, 20, 21, 22]
    text = "".join(f"{frame},1,1,1,5,5,1,1,1\n" for frame in kept)
    table = read_mot_tracklets(write_sequence(tmp_path / "a", text))
    cut = window_table(table, length=4, overlap=1)
    back = read_table(write_table(cut, tmp_path / "cut.csv"))
    assert [frame_numbers(names).tolist() for names in back["frames"]] == [
        [1, 2, 3, 7],
        [7, 8, 20, 21],
        [21, 22],
    ]


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (("000001.jpg", "1.png"), "are both frame 1; remove one"),
        (("000001.jpg", "000001 - Copy.jpg"), "000001 - Copy.jpg does not end with a frame number"),
        (("cover.jpg",), "cover.jpg does not end with a frame number"),
    ],
)
def test_images_of_unclear_number(tmp_path: Path, names: tuple[str, ...], message: str) -> None:
    with pytest.raises(DataError, match=message):
        read_mot_sequence(write_sequence(tmp_path / "a", "1,1,1,1,5,5,1,1,1\n", names))


def test_hidden_files_are_not_images(tmp_path: Path) -> None:
    names = ("000001.jpg", "._000001.jpg", "Thumbs.db")
    sequence = read_mot_sequence(write_sequence(tmp_path / "a", "1,1,1,1,5,5,1,1,1\n", names))
    assert sequence.names == {1: "000001.jpg"}
    assert sequence.name(12) == "000012.jpg"


@pytest.mark.parametrize("text", ["imWidth=3\n", "[Sequence]\nimWidth=wide\nimHeight=3\n"])
def test_damaged_seqinfo(tmp_path: Path, text: str) -> None:
    sequence = write_sequence(tmp_path / "a", "1,1,1,1,5,5,1,1,1\n")
    (sequence / "seqinfo.ini").write_text(text)
    with pytest.raises(DataError, match=r"seqinfo\.ini cannot be read"):
        read_mot_tracklets(sequence)


def test_a_trailing_comma_makes_no_column(tmp_path: Path) -> None:
    text = "1,1,1,1,5,5,1,1,1,\n1,2,1,1,5,5,1,7,1,\n"
    assert read_mot_tracklets(write_sequence(tmp_path / "a", text))["sequence_id"].tolist() == [1]


# ---- which sequences -----------------------------------------------------------------------


def test_people_of_long_numbers_stay_apart(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_sequence(tmp_path / name, "1,3,1,1,5,5,1,1,1\n1,123456,1,1,5,5,1,1,1\n")
    assert read_mot_tracklets(tmp_path)["person_id"].tolist() == [3, 123456, 1000003, 1123456]


def test_identity_zero_is_somebody(tmp_path: Path) -> None:
    write_sequence(tmp_path / "a", "1,0,1,1,5,5,1,1,1\n1,1,1,1,5,5,1,1,1\n")
    write_sequence(tmp_path / "b", "1,1,1,1,5,5,1,1,1\n")
    table = read_mot_tracklets(tmp_path)
    assert table["person_id"].tolist() == [1, 2, 10002]
    assert table["sequence_id"].tolist() == [0, 1, 1]


def test_several_roots(tmp_path: Path) -> None:
    for name in ("one/train/s1", "one/train/s2", "two/s3"):
        write_sequence(tmp_path / name, "1,1,1,1,5,5,1,1,1\n")
    table = read_mot_tracklets([tmp_path / "two", tmp_path / "one"])
    assert table["video_id"].tolist() == ["s3", "s1", "s2"]
    assert table["person_id"].tolist() == [1, 10001, 20001]
    write_sequence(tmp_path / "two/s1", "1,1,1,1,5,5,1,1,1\n")
    with pytest.raises(DataError, match="have the same name: read one, or rename one"):
        find_mot_sequences([tmp_path / "two", tmp_path / "one"])


def test_the_videos_of_two_years(tmp_path: Path) -> None:
    for name in ("MOT16/MOT16-02", "MOT17/MOT17-02-SDP"):
        write_sequence(tmp_path / name, "1,1,1,1,5,5,1,1,1\n")
    with pytest.raises(DataError, match="are the same video"):
        read_mot_tracklets([tmp_path / "MOT16", tmp_path / "MOT17"])


def test_sequences_without_truth(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "test" / "MOT17-01-SDP" / "det").mkdir(parents=True)
    with pytest.raises(DataError, match=r"MOT17-01-SDP has no gt/gt\.txt; the ground truth of test"):
        read_mot_tracklets(tmp_path / "test")
    with pytest.raises(DataError, match=r"has no gt/gt\.txt"):
        read_mot_tracklets(tmp_path / "test" / "MOT17-01-SDP")
    write_sequence(tmp_path / "test" / "mine", "1,1,1,1,5,5,1,1,1\n")
    assert len(read_mot_tracklets(tmp_path / "test")) == 1
    assert "left out, since they have no gt/gt.txt: MOT17-01-SDP" in caplog.text


def test_a_sequence_without_people_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for name, class_id in (("people", 1), ("cars", 3)):
        (tmp_path / name / "gt").mkdir(parents=True)
        (tmp_path / name / "gt" / "gt.txt").write_text(f"1,1,1,1,9,9,1,{class_id},1\n")
    assert read_mot_tracklets(tmp_path)["video_id"].tolist() == ["people"]
    assert "cars/gt/gt.txt: none of its rows is of a class" in caplog.text
    assert "people/gt/gt.txt" not in caplog.text


def test_other_counts_are_reported(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    sequence = write_sequence(tmp_path / "TUD-Campus", "1,1,1,1,5,5,1,-1,-1,-1\n")
    table = read_mot_tracklets(sequence)
    assert "TUD-Campus has 1 of 8 tracks and 1 of 359 boxes" in caplog.text
    assert not report_mot_counts(table, "here")
    assert report_mot_counts(table.assign(video_id="mine"), "here")


# ---- which boxes ---------------------------------------------------------------------------


def test_small_and_hidden_boxes(tmp_path: Path) -> None:
    text = "1,1,1,1,5,9,1,1,0.2\n2,1,1,1,6,9,1,1,0.5\n3,1,1,1,9,4,1,1,1\n"
    sequence = write_sequence(tmp_path / "a", text)
    kept = [
        frame_numbers(read_mot_tracklets(sequence, **options)["frames"].iloc[0]).tolist()
        for options in ({}, {"min_visibility": 0.5}, {"min_size": 5}, {"min_visibility": 0.5, "min_size": 5})
    ]
    assert kept == [[1, 2, 3], [2, 3], [1, 2], [2]]
    with pytest.raises(DataError, match="no ground-truth row"):
        read_mot_tracklets(sequence, min_size=50)


def test_no_visibility_to_ask_for(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="has no column of visibilities"):
        read_mot_tracklets(write_sequence(tmp_path / "a", "1,1,1,1,5,5,1,-1,-1,-1\n"), min_visibility=0.1)


def test_expansion_leaves_out_what_is_outside(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    sequence = write_sequence(tmp_path / "a", "1,1,-99,1,50,50,1,1,1\n2,1,1,1,50,50,1,1,1\n")
    assert read_mot_tracklets(sequence, expand=1.1)["num_frames"].tolist() == [2]
    (sequence / "seqinfo.ini").write_text("[Sequence]\nimWidth=100\nimHeight=80\n")
    table = read_mot_tracklets(sequence, expand=1.1)
    assert table["boxes"].iloc[0] == [[0, 0, pytest.approx(52.5), pytest.approx(52.5)]]
    assert "1 boxes outside the image are left out" in caplog.text
    with pytest.raises(ConfigError, match="must be above 0"):
        read_mot_tracklets(sequence, expand=-1)


@given(
    st.tuples(st.floats(-50, 50), st.floats(-50, 50), st.floats(1, 60), st.floats(1, 60)),
    st.floats(0.1, 4),
)
def test_expansion_about_the_centre(box: tuple[float, float, float, float], factor: float) -> None:
    x, y, w, h = box
    (x1, y1, x2, y2) = expand_boxes(np.array([[x, y, x + w, y + h]]), factor)[0]
    assert np.allclose([x2 - x1, y2 - y1], [factor * w, factor * h])
    assert np.allclose([(x1 + x2) / 2, (y1 + y2) / 2], [x + w / 2, y + h / 2])


rows = st.lists(st.tuples(st.integers(1, 30), st.integers(1, 9)), min_size=1, max_size=60, unique=True)


@settings(max_examples=40)
@given(rows, st.randoms(use_true_random=False))
def test_every_row_is_one_frame_of_one_tracklet(tmp_path_factory, pairs: list, shuffler) -> None:
    shuffler.shuffle(pairs)
    text = "".join(f"{frame},{track},{frame},{track},5.5,{track + 1},1,1,1\n" for frame, track in pairs)
    table = read_mot_tracklets(write_sequence(tmp_path_factory.mktemp("any") / "a", text))
    back = []
    for row in table.itertuples():
        numbers = frame_numbers(row.frames).tolist()
        assert numbers == sorted(numbers) and row.start == numbers[0]
        for frame, box in zip(numbers, row.boxes, strict=True):
            assert box == [frame - 1, row.sequence_id - 1, frame + 4.5, 2 * row.sequence_id]
            back.append((frame, row.sequence_id))
    assert sorted(back) == sorted(pairs)


# ---- frames --------------------------------------------------------------------------------


def film(numbers: list[int], ids: tuple[int, ...] = (3, 5)) -> Iterator[Frame]:
    """Flat pictures with boxes that move to the right."""
    for index in numbers:
        boxes = np.array([[index, 4, index + 10, 24], [20, 8, 33.25, 30]], np.float32)
        yield Frame(
            np.full((40, 60, 3), index * 5, np.uint8), boxes, np.array(ids), np.array([1, 0.5]), index
        )


def test_frames_come_back(tmp_path: Path) -> None:
    root = write_mot_videos({"a": film([0, 1, 4])}, tmp_path / "mot")
    frames = list(read_mot_frames(root / "a"))
    assert [frame.index for frame in frames] == [0, 1, 4]
    for frame, original in zip(frames, film([0, 1, 4]), strict=True):
        assert np.allclose(frame.boxes, original.boxes, atol=0.006)
        assert frame.person_ids.tolist() == [3, 5]
        assert np.allclose(frame.visibility, [1, 0.5])
        assert np.abs(frame.image.astype(int) - original.image).max() <= 3
    assert len(next(read_mot_frames(root / "a", min_visibility=0.6)).boxes) == 1


def test_lost_and_damaged_images(tmp_path: Path) -> None:
    root = write_mot_videos({"a": film([0, 1])}, tmp_path / "mot")
    (root / "a" / "img1" / "000002.jpg").write_bytes(b"no image")
    with pytest.raises(DataError, match=r"000002.jpg is damaged"):
        list(read_mot_frames(root / "a"))
    (root / "a" / "img1" / "000002.jpg").unlink()
    with pytest.raises(DataError, match=r"000002.jpg does not exist"):
        list(read_mot_frames(root / "a"))


def test_an_interrupted_writer_leaves_nothing(tmp_path: Path) -> None:
    def breaks() -> Iterator[Frame]:
        yield from film([0])
        raise RuntimeError("power cut")

    with pytest.raises(RuntimeError):
        write_mot_videos({"a": breaks()}, tmp_path / "mot")
    assert list(tmp_path.iterdir()) == []


def test_dancetrack_round_trip(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    splits = {name: {f"dance-{name}": film([0, 1])} for name in ("train", "val", "test")}
    root = write_dancetrack(splits, tmp_path / "dance")
    assert not (root / "test" / "dance-test" / "gt").exists()
    assert (root / "val_seqmap.txt").read_text() == "name\ndance-val\n"
    table = read_dancetrack(root)
    assert table["split"].tolist() == ["train", "train", "val", "val"]
    assert table["role"].tolist() == ["train", "train", "gallery", "gallery"]
    assert table["person_id"].tolist() == [3, 5, 10003, 10005]
    assert table["frames"].iloc[0] == ["00000001.jpg", "00000002.jpg"]
    assert len(missing_images(table)) == 0
    assert "it has 1 of 40 train videos, 1 of 25 val videos" in caplog.text
    with pytest.raises(DataError, match="holds neither train nor val"):
        read_dancetrack(tmp_path)
    with pytest.raises(DataError, match="is no split of DanceTrack"):
        write_dancetrack({"dev": {}}, tmp_path / "other")


def test_truth_is_a_table_of_every_row(tmp_path: Path) -> None:
    sequence = write_sequence(tmp_path / "a", "1,1,1,1,5,5,1,1,0.5\n1,2,1,1,5,5,0,8,1\n")
    truth = read_mot_ground_truth(sequence / "gt" / "gt.txt")
    assert truth[["flag", "class_id", "visibility"]].to_numpy().tolist() == [[1, 1, 0.5], [0, 8, 1]]
