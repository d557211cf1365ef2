"""The real label structures of public test sets, with synthetic embeddings of a chosen difficulty.

Rank-1, mAP and the cost of computing them depend on who was seen where and how often, not on pixels: so the
official labels in REIDKIT_DATA (default ../shared/data) are enough to measure evaluation and re-ranking at
their real size.
"""

import os
from pathlib import Path

import numpy as np
from scipy.io import loadmat

from reidkit.core import generator
from reidkit.data.image_sets import read_msmt17
from reidkit.data.mars import read_mars_info
from reidkit.metrics.ranking import EmbeddingSet, Labels

DATA = Path(os.environ.get("REIDKIT_DATA", "../shared/data"))
NOISE = {"market": 1.65, "mars": 1.65, "msmt17": 1.8}  # mAP about .84, .84 and .65 at 512 dimensions


def _market() -> tuple[Labels, Labels]:
    folder = DATA / "reid" / "market1501_labels"
    values = [
        loadmat(folder / f"{name}.mat")[key].ravel().astype(np.int64)
        for name, key in (
            ("queryID", "queryID"),
            ("queryCam", "queryCAM"),
            ("testID", "testID"),
            ("testCam", "testCAM"),
        )
    ]
    return Labels(values[0], values[1] - 1), Labels(values[2], values[3] - 1)


def _of_table(table) -> tuple[Labels, Labels]:
    is_query = (table["role"] == "query").to_numpy()
    is_gallery = table["role"].isin(["gallery", "distractor"]).to_numpy()
    sides = [
        Labels(rows["person_id"].to_numpy(), rows["camera_id"].to_numpy(), rows["sequence_id"].to_numpy())
        for rows in (table[is_query], table[is_gallery])
    ]
    return sides[0], sides[1]


def label_structure(
    name: str,  # market (3368 × 19732, junk included), mars (1980 × 9330) or msmt17 (11659 × 82161)
) -> tuple[Labels, Labels]:  # of the queries, of the gallery
    """The official labels of a test set."""
    if name == "market":
        return _market()
    if name == "mars":
        return _of_table(read_mars_info(DATA / "reid" / "mars_info"))
    if name == "msmt17":
        return _of_table(read_msmt17(DATA / "reid" / "msmt17_lists"))
    raise SystemExit(f"no label structure named {name}: there are market, mars and msmt17")


def random_structure(
    people: int = 300, cameras: int = 6, per_camera: int = 4, seed: int = 0
) -> tuple[Labels, Labels]:
    """Labels where no official ones are at hand: one query per person and camera."""
    person = np.repeat(np.arange(1, people + 1), cameras * per_camera)
    camera = np.tile(np.repeat(np.arange(cameras), per_camera), people)
    is_query = np.arange(len(person)) % per_camera == 0
    order = generator(seed, "labels").permutation(np.flatnonzero(~is_query))
    return Labels(person[is_query], camera[is_query]), Labels(person[order], camera[order])


def embedding_sets(
    query: Labels,
    gallery: Labels,
    dimension: int = 512,
    noise: float = 1.65,  # of a row, against 1 of its person: 1.2 is easy, 2 is hard; see NOISE
    camera_shift: float = 0.6,  # of a camera, against 1 of a person
    seed: int = 0,
) -> tuple[EmbeddingSet, EmbeddingSet]:
    """Unit vectors: a person's direction, a camera's shift, noise; distractors and junk have a person each."""
    people = np.unique(np.concatenate([query.person_id, gallery.person_id]))
    centres = generator(seed, "people").standard_normal((len(people), dimension), dtype=np.float32)
    cameras = int(max(query.camera_id.max(), gallery.camera_id.max())) + 1
    shifts = generator(seed, "cameras").standard_normal((cameras, dimension), dtype=np.float32)
    sets = []
    for side, name in ((query, "query"), (gallery, "gallery")):
        draw = generator(seed, name)
        vectors = draw.standard_normal((len(side), dimension), dtype=np.float32)
        vectors *= np.float32(noise)
        vectors += np.float32(camera_shift) * shifts[side.camera_id]
        somebody = side.person_id > 0
        vectors[somebody] += centres[np.searchsorted(people, side.person_id[somebody])]
        strangers = draw.standard_normal((int((~somebody).sum()), dimension), dtype=np.float32)
        vectors[~somebody] += strangers
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        sets.append(EmbeddingSet(vectors, side.person_id, side.camera_id, side.sequence_id))
    return sets[0], sets[1]
