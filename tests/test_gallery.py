"""The gallery against brute force through random operations, and on disk."""

import json

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reidkit.core import DataError, MismatchError
from reidkit.retrieval.gallery import Gallery, read_manifest


def unit(draw: np.random.Generator, number: int, dimension: int = 6) -> np.ndarray:
    vectors = draw.normal(size=(number, dimension))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


@settings(max_examples=25, deadline=None, derandomize=True)
@given(st.integers(0, 2**32 - 1), st.integers(1, 40))
def test_random_operations_equal_brute_force(seed: int, operations: int) -> None:
    draw = np.random.default_rng(seed)
    gallery, truth = Gallery(6), {}
    for _ in range(operations):
        if draw.random() < 0.6 or not truth:
            vectors = unit(draw, int(draw.integers(1, 5)))
            names = [f"Zoë {draw.integers(1000)}" for _ in vectors]
            ids = gallery.add(vectors, pd.DataFrame({"name": names}))
            assert not set(ids) & set(truth)
            truth |= {i: (v, n) for i, v, n in zip(ids.tolist(), vectors, names, strict=True)}
        else:
            gone = draw.choice(list(truth), size=int(draw.integers(1, min(4, len(truth)) + 1)), replace=False)
            assert gallery.remove(gone) == len(gone)
            for i in gone.tolist():
                del truth[i]
        assert len(gallery) == len(truth)
        if truth:
            query = unit(draw, 2)
            found = gallery.search(query, k=3)
            ids = np.array(list(truth))
            products = query @ np.stack([truth[i][0] for i in ids.tolist()]).T
            best = ids[np.argsort(-products, axis=1, kind="stable")[:, :3]]
            assert found.id.to_numpy().reshape(2, -1).tolist() == best.tolist()
            assert [truth[i][1] for i in found.id.tolist()] == found.name.tolist()


def test_equal_vectors_rank_in_order_of_arrival() -> None:
    gallery = Gallery(4)
    gallery.add(np.repeat(np.eye(4), 3, axis=0))
    assert gallery.search(np.eye(4)[1], k=3).id.tolist() == [3, 4, 5]


def test_round_trip_keeps_types_ids_and_results(tmp_path) -> None:
    draw = np.random.default_rng(0)
    gallery = Gallery(6, model_hash="abc")
    about = pd.DataFrame(
        {
            "person_id": [3, 3, -1, 7],
            "place": ["Tür 1", "a b", "", "c,d"],
            "score": [0.5, 1.0, np.nan, 2.0],
            "seen": pd.to_datetime(["2026-01-02"] * 4),
        }
    )
    gallery.add(unit(draw, 4), about)
    gallery.remove([1])
    loaded = Gallery.load(gallery.save(tmp_path / "my gallery"), dimension=6, model_hash="abc")
    pd.testing.assert_frame_equal(loaded.metadata, gallery.metadata)
    assert (loaded.index.vectors == gallery.index.vectors).all()
    assert loaded.add(unit(draw, 1), about[:1]).tolist() == [4]
    assert sorted(p.name for p in (tmp_path / "my gallery").iterdir()) == [
        "manifest.json",
        "metadata.parquet",
        "vectors.npy",
    ]
    assert [p.name for p in tmp_path.iterdir()] == ["my gallery"]


def test_empty_gallery_round_trip(tmp_path) -> None:
    loaded = Gallery.load(Gallery(5).save(tmp_path / "empty"))
    assert len(loaded) == 0 and loaded.index.dimension == 5
    assert loaded.add(np.eye(5), pd.DataFrame({"a": range(5)})).tolist() == [0, 1, 2, 3, 4]


def test_emptied_gallery_goes_on(tmp_path) -> None:
    gallery = Gallery(3)
    gallery.add(np.eye(3), pd.DataFrame({"a": [1, 2, 3]}))
    gallery.remove([0, 1, 2])
    loaded = Gallery.load(gallery.save(tmp_path / "g"))
    assert loaded.add(np.eye(3)[:1], pd.DataFrame({"a": [9]})).tolist() == [3]
    assert loaded.search(np.eye(3)[0]).a.tolist() == [9]


def test_failed_save_leaves_the_old_gallery(tmp_path) -> None:
    gallery = Gallery(3)
    gallery.add(np.eye(3), pd.DataFrame({"a": [1, 2, 3]}))
    gallery.save(tmp_path / "g")
    bad = Gallery(3)
    bad.add(np.eye(3), pd.DataFrame({"a": [1, "two", object()]}))
    with pytest.raises(DataError, match="does not fit into Parquet"):
        bad.save(tmp_path / "g")
    assert Gallery.load(tmp_path / "g").metadata.a.tolist() == [1, 2, 3]


def test_failed_add_changes_nothing() -> None:
    gallery = Gallery(3)
    gallery.add(np.eye(3), pd.DataFrame({"a": [1, 2, 3]}))
    for vectors, about in (
        (np.eye(3), None),
        (np.eye(3) * 2, pd.DataFrame({"a": [1, 2, 3]})),
        (np.eye(3), pd.DataFrame({"b": [1, 2, 3]})),
    ):
        with pytest.raises(DataError):
            gallery.add(vectors, about)
    with pytest.raises(MismatchError):
        gallery.add(np.eye(4), pd.DataFrame({"a": range(4)}))
    assert len(gallery) == len(gallery.metadata) == gallery.next_id == 3


def test_refuses_other_models_and_damage(tmp_path) -> None:
    gallery = Gallery(3, model_hash="one")
    gallery.add(np.eye(3))
    folder = gallery.save(tmp_path / "g")
    with pytest.raises(MismatchError, match="model_hash one, the model has two: load the model"):
        Gallery.load(folder, model_hash="two")
    with pytest.raises(MismatchError, match="dimension 3, the model has 4"):
        Gallery.load(folder, dimension=4)
    manifest = read_manifest(folder)
    (folder / "manifest.json").write_text(json.dumps(manifest | {"count": 2}))
    with pytest.raises(DataError, match="does not add up"):
        Gallery.load(folder)
    (folder / "manifest.json").write_text("{")
    with pytest.raises(DataError, match=r"manifest.json is damaged"):
        Gallery.load(folder)
    (folder / "manifest.json").write_text("[]")
    with pytest.raises(DataError, match="does not describe"):
        Gallery.load(folder)
