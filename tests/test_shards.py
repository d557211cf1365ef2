"""Sharded galleries: shards equal one index, damage is told, and what is there is kept."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from reidkit.core import ConfigError, DataError, MismatchError, generator
from reidkit.retrieval.shards import (
    DiskIndex,
    bytes_per_vector,
    export_parquet,
    fill_shard,
    merge_shards,
    open_template,
    train_template,
)

NUMBER, DIMENSION = 10_000, 8


@pytest.fixture(scope="module")
def vectors() -> np.ndarray:
    rows = generator(0, "shards").standard_normal((NUMBER, DIMENSION), dtype=np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


@pytest.fixture(scope="module")
def template(vectors: np.ndarray, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("shards") / "index"
    return train_template(vectors, folder, lists=16, code_bytes=2, model_hash="abc")


@pytest.fixture
def index(template: Path, tmp_path: Path) -> Path:
    """The trained index without a shard."""
    folder = tmp_path / "index"
    (folder / "shards").mkdir(parents=True)
    for name in ("template.faiss", "template.json"):
        (folder / name).write_bytes((template / name).read_bytes())
    return folder


def test_shards_answer_like_one_index(index: Path, vectors: np.ndarray, tmp_path: Path) -> None:
    whole, _ = open_template(index)
    whole.add(vectors)
    whole.nprobe = 4
    for name, start, stop in (("b", 7000, 10_000), ("a", 0, 10), ("c", 10, 7000)):
        fill_shard(index, name, vectors[start:stop], start)
    disk = DiskIndex(merge_shards(index, tmp_path / "merged"), model_hash="abc")
    assert len(disk) == NUMBER
    similarity, ids = disk.search(vectors[:50], 7, probes=4)
    expected = np.sort(whole.search(vectors[:50], 7)[0], axis=1)[:, ::-1]
    np.testing.assert_allclose(similarity, expected, atol=1e-6)
    again, more = disk.search(vectors[:50], 7, probes=4)
    assert (again == similarity).all() and (more == ids).all()


def test_a_second_look_at_everything_is_exact(index: Path, vectors: np.ndarray, tmp_path: Path) -> None:
    fill_shard(index, "all", vectors[:300], 0)
    disk = DiskIndex(merge_shards(index, tmp_path / "merged"))
    similarity, ids = disk.search(vectors[:20], 10, probes=99, vectors=vectors, candidates=30)
    cosine = vectors[:20] @ vectors[:300].T
    exact = np.argsort(-cosine, axis=1, kind="stable")[:, :10]
    assert (ids == exact).all()
    np.testing.assert_allclose(similarity, np.take_along_axis(cosine, exact, axis=1), atol=1e-6)


def test_fewer_results_than_asked_for(index: Path, vectors: np.ndarray, tmp_path: Path) -> None:
    fill_shard(index, "few", vectors[:20], 5)
    disk = DiskIndex(merge_shards(index, tmp_path / "merged"))
    _, ids = disk.search(vectors[:4], 20, probes=1)
    assert ids.shape == (4, 20)
    for row in ids:
        found = row[row >= 0]
        assert len(set(found)) == len(found) < 20 and set(found) <= set(range(5, 25))
        assert (row[len(found) :] == -1).all(), "what is missing comes last"
    padded = np.zeros((25, DIMENSION), np.float32)
    padded[5:] = vectors[:20]
    similarity, exact = disk.search(vectors[:4], 20, probes=1, vectors=padded)
    assert (np.isneginf(similarity) == (exact == -1)).all()


def test_vectors_may_stay_on_disk_in_half_precision(index: Path, vectors: np.ndarray, tmp_path: Path) -> None:
    np.save(tmp_path / "rows.npy", vectors[:1000].astype(np.float16))
    rows = np.load(tmp_path / "rows.npy", mmap_mode="r")
    fill_shard(index, "half", rows, 0)
    disk = DiskIndex(merge_shards(index, tmp_path / "merged"))
    _, ids = disk.search(rows[:5].astype(np.float32), 1, probes=16, vectors=rows, candidates=1000)
    assert ids.ravel().tolist() == [0, 1, 2, 3, 4]


def test_an_interrupted_shard_leaves_nothing_and_is_filled_again(index: Path, vectors: np.ndarray) -> None:
    broken = vectors[: 70_000 % NUMBER or NUMBER].copy()
    broken[-1] = np.nan
    with pytest.raises(DataError, match=f"row {len(broken) - 1} holds NaN"):
        fill_shard(index, "a", broken, 0)
    assert list((index / "shards").iterdir()) == []
    path = fill_shard(index, "a", vectors, 0)
    assert json.loads((path / "shard.json").read_text())["count"] == NUMBER


def test_a_complete_shard_is_kept_and_another_refused(index: Path, vectors: np.ndarray) -> None:
    path = fill_shard(index, "a", vectors[:100], 0) / "lists.faiss"
    before = path.stat().st_mtime_ns
    fill_shard(index, "a", vectors[:100], 0)
    assert path.stat().st_mtime_ns == before
    changed = vectors[:100].copy()
    changed[[0, 1]] = changed[[1, 0]]
    for rows, first, key in (
        (changed, 0, "checksum"),
        (vectors[:100], 7, "first_id"),
        (vectors[:99], 0, "count"),
    ):
        with pytest.raises(MismatchError, match=key):
            fill_shard(index, "a", rows, first)


def test_shards_of_another_training_are_refused(index: Path, vectors: np.ndarray, tmp_path: Path) -> None:
    fill_shard(index, "a", vectors[:100], 0)
    other = train_template(vectors, tmp_path / "other", lists=8, code_bytes=2)
    (other / "shards" / "a").mkdir()
    for name in ("lists.faiss", "shard.json"):
        (other / "shards" / "a" / name).write_bytes((index / "shards" / "a" / name).read_bytes())
    with pytest.raises(MismatchError, match="shard a was filled from another template"):
        merge_shards(other, tmp_path / "merged")


def test_overlapping_ranges_name_the_crop(index: Path, vectors: np.ndarray, tmp_path: Path) -> None:
    fill_shard(index, "a", vectors[:100], 0)
    fill_shard(index, "b", vectors[:100], 99)
    with pytest.raises(DataError, match="crop 99 is in both shards a and b"):
        merge_shards(index, tmp_path / "merged")
    assert not (tmp_path / "merged").exists()


@pytest.mark.parametrize("name", ["", "a/b", "..", ".hidden"])
def test_names_that_are_no_folder(index: Path, vectors: np.ndarray, name: str) -> None:
    with pytest.raises(ConfigError, match="cannot name a shard"):
        fill_shard(index, name, vectors[:10], 0)


def test_damage_is_told(index: Path, vectors: np.ndarray, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="holds no shard"):
        merge_shards(index, tmp_path / "merged")
    fill_shard(index, "a", vectors[:100], 0)
    merged = merge_shards(index, tmp_path / "merged")
    with pytest.raises(MismatchError, match="beyond the 3 vectors"):
        DiskIndex(merged).search(vectors[:1], vectors=vectors[:3])
    with pytest.raises(ConfigError, match="k is 0"):
        DiskIndex(merged).search(vectors[:1], k=0)
    manifest = merged / "index.json"
    manifest.write_text(manifest.read_text().replace('"version": 1', '"version": 9'))
    with pytest.raises(MismatchError, match="version 9, this reidkit reads 1"):
        DiskIndex(merged)
    manifest.write_text("{")
    with pytest.raises(DataError, match=r"index\.json is damaged"):
        DiskIndex(merged)
    template = index / "template.faiss"
    template.write_bytes(template.read_bytes()[:-1])
    with pytest.raises(DataError, match=r"template\.faiss is missing or damaged"):
        fill_shard(index, "b", vectors[:10], 100)
    with pytest.raises(DataError, match="does not exist"):
        open_template(tmp_path / "nowhere")


def test_bytes_are_those_of_the_files(index: Path, vectors: np.ndarray, tmp_path: Path) -> None:
    fill_shard(index, "a", vectors, 0)
    merged = merge_shards(index, tmp_path / "merged")
    size = (merged / "lists.ivfdata").stat().st_size
    assert size == NUMBER * bytes_per_vector("ivfpq", DIMENSION, code_bytes=2)


def test_parquet_has_lists_of_float32(vectors: np.ndarray, tmp_path: Path) -> None:
    import pyarrow.parquet as pq

    about = pd.DataFrame(
        {"path": [f"Straße {i}.jpg" for i in range(10)], "time": pd.date_range("2026", periods=10)}
    )
    folder = export_parquet(
        vectors[:10].astype(np.float16), tmp_path / "out", about, first_id=5, rows_per_file=4
    )
    assert [path.name for path in sorted(folder.iterdir())] == [f"part-0000{i}.parquet" for i in range(3)]
    assert str(pq.read_schema(folder / "part-00000.parquet").field("vector").type) == "list<element: float>"
    back = pd.read_parquet(folder)
    assert back["id"].tolist() == list(range(5, 15))
    pd.testing.assert_frame_equal(back[["path", "time"]], about, check_dtype=False)
    with pytest.raises(DataError, match="'id' is one that the export writes itself"):
        export_parquet(vectors[:10], tmp_path / "bad", about.rename(columns={"path": "id"}))
