"""Windows, sampling, the dataset and preparation: properties, real numbers, restarts."""

import json
import pickle
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from scipy.io import savemat
from torch.utils.data import DataLoader

from reidkit.core import ConfigError, DataError, MismatchError, generator
from reidkit.data.mars import read_mars, read_mars_info
from reidkit.data.mot_sets import read_mot_tracklets
from reidkit.data.prepare import prepare_mars, validation_split
from reidkit.data.sequences import (
    SAMPLINGS,
    TAILS,
    PackedFrames,
    SequenceDataset,
    average_clips,
    collate_clips,
    count_clips,
    sample_frames,
    tail_losses,
    window_table,
    windows,
)
from reidkit.data.table import missing_images, read_table, validate
from reidkit.data.transforms import train_transform

# ---- windows and frames ------------------------------------------------------------------------


@given(st.integers(1, 300), st.integers(1, 40), st.data())
def test_windows_cover_every_frame(number: int, length: int, data: st.DataObject) -> None:
    overlap = data.draw(st.integers(0, length - 1))
    for tail in TAILS:
        found = windows(number, length, overlap, tail)
        assert all(len(window) == length and window.min() >= 0 and window.max() < number for window in found)
        if tail == "drop":
            assert all((np.diff(window) == 1).all() for window in found)
            assert len(found) == max((number - length) // (length - overlap) + 1, 0)
        else:
            assert set(np.concatenate(found).tolist()) == set(range(number))
    assert all((np.diff(window) >= 0).all() for window in windows(number, length, overlap, "pad"))


def test_window_fixtures() -> None:
    lengths = (10, 24, 25, 39, 40, 41)
    assert [len(windows(number, tail="drop")) for number in lengths] == [0, 0, 1, 1, 2, 2]
    assert [len(windows(number, tail="pad")) for number in lengths] == [1, 1, 1, 2, 2, 3]
    (window,) = windows(10)
    assert len(window) == 25 and window.max() == 9


@pytest.mark.parametrize(
    ("length", "overlap", "tail"), [(0, 0, "pad"), (25, 25, "pad"), (25, -1, "pad"), (25, 10, "loop")]
)
def test_impossible_windows(length: int, overlap: int, tail: str) -> None:
    with pytest.raises(ConfigError):
        windows(30, length, overlap, tail)


KINDS = [(kind, stride) for kind in SAMPLINGS for stride in (1, 2, 8) if stride == 1 or kind[0] in "cd"]


@given(st.integers(1, 100), st.integers(1, 30), st.sampled_from(KINDS), st.integers(0, 9), st.booleans())
def test_sampled_frames(number: int, length: int, kind: tuple[str, int], seed: int, fixed: bool) -> None:
    name, stride = kind

    def draw(clip: int = 0) -> np.ndarray:
        stream = None if fixed else generator(seed)
        return sample_frames(number, length, name, stream, stride=stride, clip=clip)

    chosen = draw()
    assert chosen.shape == (number if name == "all" else length,) and chosen.dtype.kind == "i"
    assert (np.diff(chosen) >= 0).all() and chosen.min() >= 0 and chosen.max() < number
    assert chosen.tolist() == draw().tolist()
    if name != "dense":  # no frame twice before every frame was used
        assert len(set(chosen.tolist())) == min(number, len(chosen))
        return
    clips = [draw(clip) for clip in range(count_clips(number, length, stride))]
    own = [clip[np.diff(clip, prepend=-1) > 0] for clip in clips]
    assert sorted(np.concatenate(own).tolist()) == list(range(number))
    assert all((np.diff(clip) <= stride).all() for clip in clips)
    assert len(clips) <= -(-number // length) + stride - 1


@given(st.integers(1, 200), st.integers(1, 12), st.integers(1, 9), st.integers(0, 5))
def test_a_stride_is_kept_where_it_fits(number: int, length: int, stride: int, seed: int) -> None:
    steps = np.diff(sample_frames(number, length, "consecutive", generator(seed), stride=stride))
    fits = number > (length - 1) * stride
    if fits:
        assert (steps == stride).all()
    elif number >= length > 1:
        assert (steps == (number - 1) // (length - 1)).all()


def test_consecutive_clips_start_everywhere() -> None:
    starts = {int(sample_frames(30, 4, "consecutive", generator(seed), stride=8)[0]) for seed in range(200)}
    assert starts == set(range(6))


def test_without_random_numbers() -> None:
    assert sample_frames(10, 4, "restricted").tolist() == [0, 2, 5, 7]
    assert sample_frames(10, 4, "random").tolist() == sample_frames(10, 4, "evenly").tolist()
    assert sample_frames(11, 4, "consecutive").tolist() == [3, 4, 5, 6]
    assert sample_frames(30, 4, "consecutive", stride=8).tolist() == [2, 10, 18, 26]


@pytest.mark.parametrize(
    ("kind", "length", "stride"), [("sparse", 4, 1), ("all", 4, 2), ("evenly", 4, 8), ("dense", 0, 1)]
)
def test_impossible_samplings(kind: str, length: int, stride: int) -> None:
    with pytest.raises(ConfigError):
        sample_frames(10, length, kind, stride=stride)


@pytest.mark.parametrize(("number", "clip"), [(0, 0), (20, 3), (20, -1)])
def test_clips_that_a_tracklet_lacks(number: int, clip: int) -> None:
    assert sample_frames(20, 8, "dense", clip=2).tolist() == [16, 17, 18, 19, 19, 19, 19, 19]
    with pytest.raises(ConfigError, match=rf"A sequence of {number} frames has no clip {clip}"):
        sample_frames(number, 8, "dense", clip=clip)


def test_restricted_reaches_every_frame() -> None:
    seen = {
        frame for seed in range(200) for frame in sample_frames(10, 4, "restricted", generator(seed)).tolist()
    }
    assert seen == set(range(10))


def test_real_mars_windows(real_data: Path) -> None:
    table = read_mars_info(real_data / "reid" / "mars_info")
    losses = tail_losses(table[table["split"] == "train"])
    assert losses.loc["drop", ["windows", "lost sequences", "lost identities"]].tolist() == [25228, 3077, 2]
    assert losses.loc["pad"].tolist() == [32629, 0, 0, 0]


# ---- a tiny MARS tree --------------------------------------------------------------------------


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six training people in two cameras, two test people, a distractor and junk."""
    root = tmp_path_factory.mktemp("mars")
    (root / "info").mkdir()
    train = [(f"{person:04d}", camera, 3 + 5 * person) for person in (1, 3, 5, 7, 9, 11) for camera in (1, 2)]
    test = [("00-1", 1, 2), ("0000", 2, 3), ("0002", 1, 30), ("0002", 2, 4), ("0004", 1, 6), ("0004", 3, 2)]
    for split, tracks in (("train", train), ("test", test)):
        names: list[str] = []
        rows = []
        for number, (person, camera, frames) in enumerate(tracks, start=1):
            rows.append(
                [len(names) + 1, len(names) + frames, -1 if person == "00-1" else int(person), camera]
            )
            folder = root / f"bbox_{split}" / person
            folder.mkdir(parents=True, exist_ok=True)
            for frame in range(1, frames + 1):
                names.append(f"{person}C{camera}T{number:04d}F{frame:03d}.jpg")
                Image.new("RGB", (8, 16), (20 * number % 256, 4 * frame, 90)).save(
                    folder / names[-1], quality=95
                )
        (root / "info" / f"{split}_name.txt").write_text("\n".join(names))
        savemat(root / "info" / f"tracks_{split}_info.mat", {f"track_{split}_info": np.array(rows, np.int32)})
    savemat(root / "info" / "query_IDX.mat", {"query_IDX": np.array([[3, 5]], np.uint16)})
    return root


def test_prepared_index(raw: Path, tmp_path: Path) -> None:
    path = prepare_mars(raw, tmp_path / "out", val_fraction=0.34)
    assert path == tmp_path / "out" / "index.csv"
    header = path.read_text().splitlines()[0].split(",")
    assert header[:7] == [
        "split",
        "role",
        "person_id",
        "camera_id",
        "sequence_id",
        "frames_dir",
        "num_frames",
    ]
    index = read_table(path)
    assert len(missing_images(index)) == 0
    assert index["sequence_id"].is_unique
    people = index.groupby("split")["person_id"].agg(set)
    assert len(people["val"]) == 2 and len(people["train"]) == 4 and not people["val"] & people["train"]
    train = index[index["split"] == "train"]
    assert train["num_frames"].max() == 25 and (train.groupby("tracklet_id").size() > 1).any()
    assert sorted(index.loc[index["split"] == "test", "role"]) == [
        "distractor",
        "gallery",
        "gallery",
        "junk",
        "query",
        "query",
    ]
    assert index.loc[index["split"] == "test", "num_frames"].max() == 30
    report = json.loads((tmp_path / "out" / "prepare.json").read_text())
    assert report["tails"]["drop"]["lost identities"] > 0 == report["tails"]["pad"]["lost identities"]
    assert prepare_mars(raw, tmp_path / "again", val_fraction=0.34).read_text() == path.read_text()


def test_a_processed_tree_can_move(raw: Path, tmp_path: Path) -> None:
    shutil.copytree(raw, tmp_path / "data" / "raw")
    prepare_mars(tmp_path / "data" / "raw", tmp_path / "data", val_fraction=0)
    (tmp_path / "data").rename(tmp_path / "moved")
    assert len(missing_images(read_table(tmp_path / "moved" / "index.csv"))) == 0


def test_every_split_can_be_cut(raw: Path, tmp_path: Path) -> None:
    index = read_table(prepare_mars(raw, tmp_path, 10, 5, val_fraction=0.3, splits=("train", "val", "test")))
    assert index["num_frames"].max() == 10
    whole = read_table(prepare_mars(raw, tmp_path / "b", 10, 5, "drop", val_fraction=0))
    assert set(whole.loc[whole["split"] == "train", "num_frames"]) == {10}
    assert 1 not in set(whole["person_id"])


@pytest.mark.parametrize("tail", TAILS)
def test_copies_have_the_layout_of_system_c(raw: Path, tmp_path: Path, tail: str) -> None:
    index = read_table(prepare_mars(raw, tmp_path, tail=tail, copy=True, val_fraction=0.3))
    virtual = read_table(prepare_mars(raw, tmp_path / "virtual", tail=tail, val_fraction=0.3))
    assert len(missing_images(index)) == 0 and "frames" not in index
    names = [Path(text).relative_to(tmp_path).as_posix() for text in index["frames_dir"]]
    row = index.iloc[0]
    expected = f"train/ID{row.person_id:04d}/cam{row.camera_id + 1:02d}_seq{row.sequence_id:04d}/rgb"
    assert names[0] == expected and (tmp_path / expected / "frame0001.jpg").is_file()
    assert any(name.startswith("test/ID00-1/") for name in names)
    if tail == "replicate":
        assert set(index.loc[index["split"] == "train", "num_frames"]) == {25}
    for place in (0, len(index) // 2, len(index) - 1):
        pair = [SequenceDataset(table, 5, "evenly", image_size=(16, 8))[place] for table in (index, virtual)]
        assert torch.equal(pair[0]["frames"], pair[1]["frames"]) and pair[0]["label"] == pair[1]["label"]


def test_copying_goes_on_where_it_stopped(raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    copied: list[str] = []
    original = shutil.copyfile

    def fragile(source: Path, target: Path) -> None:
        if len(copied) == 60:
            raise KeyboardInterrupt
        copied.append(str(source))
        original(source, target)

    monkeypatch.setattr(shutil, "copyfile", fragile)
    with pytest.raises(KeyboardInterrupt):
        prepare_mars(raw, tmp_path, copy=True)
    assert not (tmp_path / "index.csv").exists()
    done = len(list(tmp_path.rglob("*.jpg")))
    assert 0 < done <= 60
    monkeypatch.setattr(
        shutil, "copyfile", lambda source, target: (copied.append(source), original(source, target))
    )
    index = read_table(prepare_mars(raw, tmp_path, copy=True))
    assert len(missing_images(index)) == 0
    assert len(copied) - 60 == index["num_frames"].sum() - done
    with pytest.raises(MismatchError, match="choose another out_root"):
        prepare_mars(raw, tmp_path, sequence_len=10, overlap=0, copy=True)


def test_a_missing_image_stops_the_copy(raw: Path, tmp_path: Path) -> None:
    broken = shutil.copytree(raw, tmp_path / "raw")
    next((broken / "bbox_test" / "0004").glob("*.jpg")).unlink()
    with pytest.raises(DataError, match=r"0004C.*\.jpg does not exist"):
        prepare_mars(broken, tmp_path / "out", copy=True)
    assert not (tmp_path / "out" / "index.csv").exists()


# ---- validation people -------------------------------------------------------------------------


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.tuples(st.integers(1, 12), st.integers(0, 3)), min_size=2, max_size=40),
    st.floats(0, 0.9),
    st.integers(0, 5),
)
def test_validation_people(pairs: list, fraction: float, seed: int) -> None:
    people, cameras = np.array(pairs).T
    table = validate(
        pd.DataFrame(
            {
                "split": "train",
                "role": "train",
                "person_id": people,
                "camera_id": cameras,
                "sequence_id": np.arange(len(pairs)),
                "frames_dir": "x",
                "num_frames": 1,
            }
        )
    )
    split = validation_split(table, fraction, seed)
    val, train = split[split["split"] == "val"], split[split["split"] == "train"]
    assert len(train) > 0 and len(val) + len(train) == len(table)
    assert not set(val["person_id"]) & set(train["person_id"])
    queries, gallery = val[val["role"] == "query"], val[val["role"] == "gallery"]
    assert set(queries["person_id"]) == set(val["person_id"]) == set(gallery["person_id"])
    assert not queries.duplicated(["person_id", "camera_id"]).any()
    for person, camera in zip(queries["person_id"], queries["camera_id"], strict=True):
        assert (gallery.loc[gallery["person_id"] == person, "camera_id"] != camera).any()
    pd.testing.assert_frame_equal(validation_split(table, fraction, seed), split)


# ---- the dataset -------------------------------------------------------------------------------


def test_labels_and_masks(raw: Path, tmp_path: Path) -> None:
    index = read_table(prepare_mars(raw, tmp_path, val_fraction=0.3))
    data = SequenceDataset(index, 12, transform=train_transform((32, 16)), seed=3)
    trains = index["role"] == "train"
    assert data.num_classes == 4
    assert data.labels[~trains].tolist() == [-1] * int((~trains).sum())
    assert data.person_ids[data.labels[trains]].tolist() == index.loc[trains, "person_id"].tolist()
    for place in (0, len(data) - 1):
        item = data[place]
        assert item["frames"].shape == (12, 3, 32, 16) and item["frames"].dtype == torch.float32
        assert item["mask"].dtype == torch.bool and item["mask"].sum() == min(12, index["num_frames"][place])
        assert (item["label"], item["index"]) == (int(data.labels[place]), place)


def test_items_depend_on_seed_epoch_and_index_alone(raw: Path, tmp_path: Path) -> None:
    index = read_table(prepare_mars(raw, tmp_path))
    data = SequenceDataset(index, 4, transform=train_transform((32, 16)), seed=1)
    first = data[3]["frames"]
    data[5]
    assert torch.equal(data[3]["frames"], first)
    data.set_epoch(2)
    assert not torch.equal(data[3]["frames"], first)
    data.set_epoch(0)
    assert torch.equal(data[3]["frames"], first)
    other = SequenceDataset(index, 4, transform=train_transform((32, 16)), seed=2, cache_mb=5)
    assert not torch.equal(other[3]["frames"], first)


def test_a_running_loader_process_follows_the_epoch(raw: Path, tmp_path: Path) -> None:
    index = read_table(prepare_mars(raw, tmp_path)).head(6)
    data = SequenceDataset(index, 4, transform=train_transform((32, 16)), cache_mb=1)
    loader = DataLoader(data, batch_size=3, num_workers=1, persistent_workers=True)
    for epoch in (0, 1):
        data.set_epoch(epoch)
        loaded = torch.cat([batch["frames"] for batch in loader])
        assert torch.equal(loaded, torch.stack([data[place]["frames"] for place in range(6)]))


def test_a_spawned_process_could_take_it(raw: Path, tmp_path: Path) -> None:
    data = SequenceDataset(read_table(prepare_mars(raw, tmp_path)), 4, transform=train_transform((32, 16)))
    assert torch.equal(pickle.loads(pickle.dumps(data))[1]["frames"], data[1]["frames"])


def test_the_cache_keeps_to_its_room(raw: Path, tmp_path: Path) -> None:
    index = read_table(prepare_mars(raw, tmp_path))
    data = SequenceDataset(index, 8, image_size=(32, 16), cache_mb=3 * 32 * 16 * 10 / 1e6)
    before = [data[place]["frames"] for place in range(len(data))]
    assert len(data._read.frames) == 10
    assert all(torch.equal(data[place]["frames"], frames) for place, frames in enumerate(before))


def test_a_missing_frame_is_an_error(raw: Path, tmp_path: Path) -> None:
    broken = shutil.copytree(raw, tmp_path / "raw")
    index = read_table(prepare_mars(broken, tmp_path / "out", copy=True))
    gone = Path(index["frames_dir"][0]) / "frame0001.jpg"
    gone.unlink()
    with pytest.raises(DataError, match="num_frames"):
        SequenceDataset(index, 4)[0]
    gone.write_bytes(b"")
    with pytest.raises(DataError, match=r"frame0001\.jpg is damaged"):
        SequenceDataset(index, 4, "evenly")[0] and SequenceDataset(index, 99, "evenly")[0]


def test_unknown_sampling_fails_at_once(raw: Path, tmp_path: Path) -> None:
    table = read_table(prepare_mars(raw, tmp_path))
    with pytest.raises(ConfigError, match="use one of restricted"):
        SequenceDataset(table, sampling="sparse")
    with pytest.raises(ConfigError, match="knows no stride"):
        SequenceDataset(table, sampling="restricted", stride=2)


def test_collate_pads_with_a_mask(raw: Path, tmp_path: Path) -> None:
    index = read_table(prepare_mars(raw, tmp_path))
    data = SequenceDataset(index, sampling="all", image_size=(16, 8))
    batch = collate_clips([data[place] for place in range(4)])
    lengths = index["num_frames"].head(4).tolist()
    assert batch["frames"].shape[:2] == (4, max(lengths))
    assert batch["mask"].sum(1).tolist() == lengths
    assert batch["frames"][~batch["mask"]].abs().sum() == 0
    assert torch.equal(batch["frames"][1, : lengths[1]], data[1]["frames"])


@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize("sampling", ["restricted", "dense", "all"])
def test_batches_are_the_items(raw: Path, workers: int, sampling: str) -> None:
    data = SequenceDataset(read_mars(raw), 4, sampling, train_transform((32, 16)), seed=1)
    loader = DataLoader(data, batch_size=5, num_workers=workers, collate_fn=collate_clips)
    for number, batch in enumerate(loader):
        items = [data[place] for place in range(5 * number, min(5 * number + 5, len(data)))]
        for name, value in collate_clips(items).items():
            assert torch.equal(batch[name], value) and batch[name].dtype == value.dtype
        assert batch["frames"].is_contiguous()
        assert batch["frames"].is_shared() == (workers > 0)


def test_a_batch_made_in_place_is_not_copied(raw: Path) -> None:
    data = SequenceDataset(read_mars(raw), 4, image_size=(16, 8))
    items = data.__getitems__([3, 1, 4])
    frames = collate_clips(items)["frames"]
    assert frames.data_ptr() == items[0]["frames"].data_ptr()
    for part in (items[:2], items[::-1], [items[0], items[0], items[2]], [*items, data[5]]):
        batch = collate_clips(part)["frames"]
        assert batch.data_ptr() != frames.data_ptr()
        assert torch.equal(batch, torch.stack([item["frames"] for item in part]))


def test_windows_keep_boxes_and_places(tmp_path: Path) -> None:
    row = {
        "split": ["train"],
        "role": ["train"],
        "person_id": [1],
        "camera_id": [0],
        "sequence_id": [9],
        "frames_dir": ["x"],
        "num_frames": [7],
        "frames": [list("abcdefg")],
        "boxes": [[[place, 0, place + 1, 1] for place in range(7)]],
        "start": [100],
    }
    cut = window_table(pd.DataFrame(row), 5, 2)
    assert cut["start"].tolist() == [100, 103]
    assert cut["frames"].tolist() == [list("abcde"), list("defg")]
    assert [boxes[0][0] for boxes in cut["boxes"]] == [0, 3]
    assert cut["tracklet_id"].tolist() == [9, 9]
    replicated = window_table(pd.DataFrame(row), 5, 2, "replicate")
    assert replicated["frames"].tolist()[1] == list("defgd")
    with pytest.raises(DataError, match="use tail='pad'"):
        window_table(pd.DataFrame(row), 8, 0, "drop")


@pytest.mark.parametrize("stride", [1, 3])
def test_dense_items_are_clips(raw: Path, tmp_path: Path, stride: int) -> None:
    table = read_mars(raw)
    data = SequenceDataset(table, 4, "dense", image_size=(16, 8), stride=stride)
    whole = SequenceDataset(table, sampling="all", image_size=(16, 8))
    assert len(data) == len(data.labels) == count_clips(table["num_frames"].to_numpy(), 4, stride).sum()
    found: dict[int, list] = {row: [] for row in range(len(table))}
    for place in range(len(data)):
        item = data[place]
        assert item["clip"] == len(found[item["index"]])
        assert item["label"] == whole.labels[item["index"]]
        own = sample_frames(table["num_frames"][item["index"]], 4, "dense", stride=stride, clip=item["clip"])
        assert torch.equal(item["frames"], whole[item["index"]]["frames"][torch.from_numpy(own)])
        found[item["index"]].append(int(item["mask"].sum()))
    assert [sum(lengths) for lengths in found.values()] == table["num_frames"].tolist()
    with pytest.raises(IndexError):
        data[len(data)]
    assert torch.equal(data[-1]["frames"], data[len(data) - 1]["frames"])


def test_averages_of_clips() -> None:
    vectors, index = generator(0).normal(size=(50, 3)), generator(1).integers(0, 7, 50)
    found = average_clips(vectors, index, 8)
    for row in range(7):
        np.testing.assert_allclose(found[row], vectors[index == row].mean(0))
    assert (found[7] == 0).all()


def test_no_seed_means_no_random_frames(raw: Path) -> None:
    table = read_mars(raw)
    seen = [SequenceDataset(table, 4, "restricted", image_size=(16, 8), seed=None) for _ in range(2)]
    seen[1].set_epoch(3)
    assert torch.equal(seen[0][5]["frames"], seen[1][5]["frames"])


def test_packed_frames_are_the_table(tmp_path: Path) -> None:
    for name in ("b10.png", "b9.png"):
        Image.new("RGB", (4, 4)).save(tmp_path / name)
    table = validate(
        pd.DataFrame(
            {
                "split": "train",
                "role": "train",
                "person_id": 1,
                "camera_id": 0,
                "sequence_id": [1, 2, 3],
                "frames_dir": ["x", str(tmp_path), "x"],
                "num_frames": [3, 2, 1],
                "frames": [["a", "b ü", "c"], None, ["d"]],
                "boxes": [[[0, 0, 1, 1.5], [1, 1, 2, 2], [2, 2, 3, 3]], None, [[5, 5, 6, 6]]],
            }
        )
    )
    packed = pickle.loads(pickle.dumps(PackedFrames(table)))
    assert packed.files(0, [2, 1]) == (["x/c", "x/b ü"], [[2, 2, 3, 3], [1, 1, 2, 2]])
    assert packed.files(1, [0, 1]) == ([f"{tmp_path}/b9.png", f"{tmp_path}/b10.png"], [None, None])
    assert packed.files(2, [0]) == (["x/d"], [[5, 5, 6, 6]])


def test_rows_cost_tens_of_bytes() -> None:
    number = np.arange(20_000)
    table = pd.DataFrame(
        {
            "split": "train",
            "role": "train",
            "person_id": number // 30 + 1,
            "camera_id": 0,
            "sequence_id": number,
            "frames_dir": [f"products/{place // 30:06d}" for place in number],
            "num_frames": 1,
            "frames": [[f"{place:012d}.jpg"] for place in number],
        }
    )
    assert PackedFrames(validate(table)).nbytes < 64 * len(table)
    assert len(pickle.dumps(SequenceDataset(table))) < 200 * len(table)


def test_people_cut_out_of_real_video(real_data: Path) -> None:
    table = read_mot_tracklets(real_data / "images" / "TUD-Campus")
    data = SequenceDataset(table, 4, "evenly", image_size=(64, 32))
    batch = collate_clips([data[place] for place in range(len(data))])
    assert batch["frames"].shape == (8, 4, 3, 64, 32)
    assert batch["frames"].isfinite().all()
