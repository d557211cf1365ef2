"""tracking.io and tracking.video: files survive a round trip, other programs accept them, frames keep their number."""

import contextlib
import io

import cv2
import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from reidkit.core import DataError, generator
from reidkit.roi.boxes import Detections
from reidkit.tracking.io import read_detections, read_mot, rows_to_boxes, tracks_to_rows, write_mot
from reidkit.tracking.tracker import Tracker
from reidkit.tracking.video import VideoWriter, open_source, track_detections, track_source

NUMBER = st.floats(-1e6, 1e6, allow_nan=False)
SIZE = st.floats(0, 1e6, allow_nan=False)
ROW = st.tuples(
    st.integers(1, 10**6),
    st.integers(-1, 10**6),
    NUMBER,
    NUMBER,
    SIZE,
    SIZE,
    NUMBER,
    st.integers(-1, 99),
    NUMBER,
)
COLUMNS = ["frame", "id", "x", "y", "w", "h", "confidence", "class", "visibility"]


@given(rows=st.lists(ROW, max_size=12))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_rows_round_trip_exactly(tmp_path, rows: list[tuple]) -> None:
    whole = {"frame": np.int64, "id": np.int64, "class": np.int64}
    table = pd.DataFrame(rows, columns=COLUMNS).astype(dict.fromkeys(COLUMNS, np.float64) | whole)
    pd.testing.assert_frame_equal(read_mot(write_mot(tmp_path / "rows.txt", table)), table)


@given(
    values=st.lists(
        st.tuples(*[st.integers(-2000, 200_000)] * 2, *[st.integers(100, 200_000)] * 2),
        min_size=1,
        max_size=15,
    )
)
@settings(max_examples=40, deadline=None)
def test_boxes_of_hundredths_survive(values: list[tuple]) -> None:
    """Coordinates with two decimals, as files have them, come back from float32 boxes through a tracker."""
    rows = pd.DataFrame(np.array(values) / 100, columns=["x", "y", "w", "h"])
    boxes = rows_to_boxes(rows)
    tracks = Tracker(confirm_after=1).update(
        Detections(boxes, np.full(len(boxes), 0.9), np.zeros(len(boxes)))
    )
    back = tracks_to_rows([(1, tracks)])
    chosen = rows.iloc[tracks.detection_index]
    np.testing.assert_allclose(back[["x", "y", "w", "h"]], chosen, atol=6e-4)


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("2,1,5,5,10,abc,1", "not a list of numbers"),
        ("2,1,5,5,10,20", "6 columns where 7"),
        ("2.5,1,5,5,10,20,1", "whole number"),
        ("0,1,5,5,10,20,1", "from 1"),
        ("2,1,5,5,inf,20,1", "not finite"),
        ("2,1,5,5,10,-20,1", "negative"),
    ],
)
def test_a_broken_line_is_named(tmp_path, line: str, complaint: str) -> None:
    path = tmp_path / "det.txt"
    path.write_text(f"1,-1,5,5,10,20,1\n\n{line}\n")
    with pytest.raises(DataError, match=f"det.txt, line 3: .*{complaint}"):
        read_detections(path)


def test_dialects(tmp_path) -> None:
    for name, text in {
        "commas": "1,-1,1,1,10,20,0.5\n",
        "spaces": "1 -1 1 1 10 20 0.5\n",
        "mixed": "1, -1, 1, 1, 10, 20, 0.5, -1, -1, -1,\n",
        "windows": "1,-1,1,1,10,20,0.5\r\n",
        "world": "1,-1,1,1,10,20,0.5,3.56,-2.5,0\n",
        "many": "1,-1,1,1,10,20,0.5,-1,-1,-1,7,8,9\n",
    }.items():
        path = tmp_path / f"{name}.txt"
        path.write_text(text)
        found = read_detections(path)[1]
        assert found.boxes.tolist() == [[0, 0, 10, 20]], name
        assert found.scores.tolist() == [0.5] and found.classes.tolist() == [0], name
    (tmp_path / "classes.txt").write_text("1,-1,1,1,10,20,0.5,3,-1,-1\n")
    assert read_detections(tmp_path / "classes.txt")[1].classes.tolist() == [2]


@pytest.mark.real
def test_every_file_of_the_development_data_round_trips(real_data, tmp_path) -> None:
    files = sorted(file for pattern in ("gt/gt.txt", "det/*.txt") for file in real_data.rglob(f"*/{pattern}"))
    assert len(files) > 15
    for file in files:
        rows = read_mot(file)
        pd.testing.assert_frame_equal(read_mot(write_mot(tmp_path / "copy.txt", rows)), rows, obj=str(file))


@pytest.mark.real
def test_image_sequences_with_their_embeddings(real_data, tmp_path) -> None:
    """As folder, as image folder and as a video: the same frames, and the same tracks."""
    folder = real_data / "images/TUD-Campus"
    features = folder / "feat_osnet_x0_25_512.npy"
    detections = read_detections(folder / "det/det.txt", features)
    assert detections[1].embeddings is not None and detections[1].embeddings.shape[1] == 512
    assert read_detections(features)[1].boxes == pytest.approx(detections[1].boxes, abs=1e-3)
    sequence, images = open_source(folder), open_source(folder / "img1")
    assert (sequence.kind, images.kind) == ("sequence", "images")
    assert sequence.size == images.size == (480, 640) and len(sequence) == len(images) == 71
    with VideoWriter(tmp_path / "campus.webm") as video:
        for _, image in sequence:
            video.write(image)
    film = open_source(tmp_path / "campus.webm")
    assert (film.size, len(film)) == (sequence.size, 71)
    rows = [track_detections(source, detections, Tracker()) for source in (sequence, images, film)]
    assert len(rows[0]) > 200 and rows[0].equals(rows[1]) and rows[0].equals(rows[2])


def test_every_frame_keeps_its_number(tmp_path) -> None:
    """Frames carry a bar code of their number; it is read back beside the number the source gives."""
    with VideoWriter(tmp_path / "stamped.webm", fps=10) as video:
        for number in range(1, 31):
            bits = np.array([number >> bit & 1 for bit in range(8)], np.uint8) * 255
            video.write(np.broadcast_to(np.repeat(bits, 16)[None, :, None], (64, 128, 3)).copy())
    source = open_source(tmp_path / "stamped.webm")
    assert (source.fps, source.num_frames, source.size) == (10, 30, (64, 128))

    def stamp(image: np.ndarray) -> int:
        return sum(1 << bit for bit in range(8) if image[:, bit * 16 + 8].mean() > 128)

    assert [(number, stamp(image)) for number, image in source] == [(n, n) for n in range(1, 31)]
    seen = track_source(source, lambda number, image: Detections.empty(), Tracker())
    assert [(current.frame, stamp(current.image)) for current in seen] == [(n, n) for n in range(1, 31)]


def test_images_are_rgb_and_in_natural_order(tmp_path) -> None:
    for number in (10, 9, 1, 100):
        image = np.zeros((8, 8, 3), np.uint8)
        image[..., 2] = number  # OpenCV writes BGR: this is red
        cv2.imwrite(str(tmp_path / f"a{number}.png"), image)
    assert [image[0, 0].tolist() for _, image in open_source(tmp_path)] == [
        [n, 0, 0] for n in (1, 9, 10, 100)
    ]


def test_an_incomplete_sequence_is_refused(tmp_path) -> None:
    (tmp_path / "img1").mkdir()
    cv2.imwrite(str(tmp_path / "img1/000001.jpg"), np.zeros((8, 8, 3), np.uint8))
    info = "[Sequence]\nname=a\nframeRate=30\nseqLength=3\nimWidth=8\nimHeight=8\n"
    (tmp_path / "seqinfo.ini").write_text(info)
    with pytest.raises(DataError, match=r"holds 1 images, seqinfo\.ini says 3"):
        open_source(tmp_path)


def test_trackeval_accepts_the_files(tmp_path) -> None:
    """A perfect detector's tracks, evaluated by TrackEval: everything found, nothing swapped."""
    trackeval = pytest.importorskip("trackeval")
    random = generator(3)
    start = np.array([[50.0, 40], [250, 60], [450, 80]])
    truth = [
        (frame, person + 1, *(start[person] + frame * np.array([2.0, 1.0 - person])), 40, 100, 1, 1, 1)
        for frame in range(1, 31)
        for person in range(3)
    ]
    table = pd.DataFrame(truth, columns=COLUMNS).astype({"class": np.int64})
    write_mot(tmp_path / "gt/a/gt/gt.txt", table)
    det = table.assign(id=-1, **{"class": -1}).iloc[random.permutation(len(table))]
    detections = read_detections(write_mot(tmp_path / "det.txt", det))
    rows = track_detections(30, detections, Tracker(confirm_after=1))
    write_mot(tmp_path / "results/t/data/a.txt", rows)
    with contextlib.redirect_stdout(io.StringIO()):
        dataset = trackeval.datasets.MotChallenge2DBox(
            {"GT_FOLDER": str(tmp_path / "gt"), "TRACKERS_FOLDER": str(tmp_path / "results")}
            | {"SKIP_SPLIT_FOL": True, "SEQ_INFO": {"a": 30}, "PRINT_CONFIG": False, "BENCHMARK": "MOT17"}
        )
        data = dataset.get_preprocessed_seq_data(dataset.get_raw_seq_data("t", "a"), "pedestrian")
        counts = trackeval.metrics.CLEAR({"PRINT_CONFIG": False}).eval_sequence(data)
    assert (counts["CLR_TP"], counts["CLR_FN"], counts["CLR_FP"], counts["IDSW"]) == (90, 0, 0, 0)
