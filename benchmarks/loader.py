"""How fast pixels on disk become batches: decoders, the loader beside torchreid's, millions of rows, boxes.

    python benchmarks/loader.py                       # everything
    python benchmarks/loader.py loader decode         # some of it: loader decode rows boxes mars
    python benchmarks/loader.py --json out.json

Every number comes from a process of its own, on one thread unless it says otherwise; of several rounds the best
counts. CPU seconds are summed over the loader processes: they stay meaningful on a busy machine. Peers take part where they are installed: torchreid
0.2.5 (with gdown, imageio and yacs; otherwise a twin of its documented behaviour) and simplejpeg.
"""

import argparse
import json
import logging
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
import torch

SIZE = (256, 128)
LENGTH, BATCH = 8, 16


def reset_peak() -> float:
    """Forget the peak so far; the memory of this process now, MiB."""
    Path("/proc/self/clear_refs").write_text("5")
    return peak_mib()


def peak_mib() -> float:
    """The largest memory of this process since the last reset, MiB."""
    return int(Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0]) / 1024


def cpu_seconds(loader: Any = None) -> float:
    """Of this process so far, and of the processes of a loader."""
    workers = getattr(getattr(loader, "_iterator", None), "_workers", ())
    spent = 0.0
    for worker in workers:
        fields = Path(f"/proc/{worker.pid}/stat").read_text().rpartition(")")[2].split()
        spent += (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return time.process_time() + spent


def best_ms(function: Callable[[Any], object], inputs: list, repeats: int) -> float:
    """CPU milliseconds per input of the fastest of several rounds."""
    rounds = []
    for _ in range(repeats):
        start = time.process_time()
        for value in inputs:
            function(value)
        rounds.append(time.process_time() - start)
    return 1000 * min(rounds) / len(inputs)


# ---- data --------------------------------------------------------------------------------------


def crops(folder: Path) -> Path:
    """A MARS tree of 414 training tracklets at 256×128, rendered once."""
    from reidkit.data.mars import write_mars
    from reidkit.data.synth import World, render_tracklets

    if not (folder / "mars").is_dir():
        tracklets = render_tracklets(
            World(seed=0, num_people=140, num_cameras=3),
            num_train=138,
            tracklets_per_camera=1,
            frames=(8, 40),
            num_distractors=0,
            num_junk=0,
            size=SIZE,
        )
        write_mars(tracklets, folder / "mars")
    return folder / "mars"


def video(folder: Path, size: tuple[int, int], frames: int = 60) -> Path:
    """A MOTChallenge sequence with about ten people, rendered once."""
    from reidkit.data.mot_sets import write_mot_videos
    from reidkit.data.synth import World, render_frames

    name = f"mot-{size[0]}"
    if not (folder / name).is_dir():
        filmed = render_frames(
            World(seed=0, num_people=24, num_cameras=2), 0, frames, num_visible=10, size=size
        )
        write_mot_videos({"synth": filmed}, folder / name)
    return folder / name


# ---- the loader beside torchreid's -------------------------------------------------------------


class TorchreidTwin(torch.utils.data.Dataset):
    """What torchreid's video dataset does, where it cannot be imported: Pillow and transforms frame by frame."""

    def __init__(self, items: list[tuple], transform: Callable, seq_len: int, sample_method: str) -> None:
        self.items, self.transform, self.seq_len, self.method = items, transform, seq_len, sample_method

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> dict[str, Any]:
        from PIL import Image

        paths, person, camera = self.items[index]
        if self.method == "random":
            short = len(paths) < self.seq_len
            places = np.sort(np.random.choice(len(paths), self.seq_len, replace=short))  # noqa: NPY002
        else:  # the middle of equal steps, a short one repeats its last frame
            step = max(len(paths) // self.seq_len, 1)
            places = np.minimum(step * np.arange(self.seq_len), len(paths) - 1)
        frames = [self.transform(Image.open(paths[place]).convert("RGB")) for place in places]
        return {"img": torch.stack(frames), "pid": person, "camid": camera}


def twin_transforms() -> tuple[Callable, Callable]:
    """torchvision's equivalents of torchreid's train and test transforms."""
    from torchvision import transforms as v1

    last = [v1.ToTensor(), v1.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))]
    enlarge = v1.RandomApply([v1.Resize((288, 144)), v1.RandomCrop(SIZE)])
    first = [v1.Resize(SIZE), v1.RandomHorizontalFlip(), enlarge, v1.ColorJitter(0.2, 0.15)]
    return v1.Compose([*first, *last, v1.RandomErasing()]), v1.Compose([v1.Resize(SIZE), *last])


def peer_dataset(table: pd.DataFrame, job: str) -> tuple[Any, str]:
    """torchreid's own dataset class and transforms on the same tracklets, or the twin."""
    from reidkit.data.table import frame_paths

    items = [
        ([str(path) for path in frame_paths(row.frames_dir, row.frames)], row.person_id, row.camera_id)
        for row in table.itertuples()
    ]
    method = "random" if job == "train" else "evenly"
    try:
        from torchreid.reid.data.datasets.dataset import VideoDataset
        from torchreid.reid.data.transforms import build_transforms
    except ImportError:
        return TorchreidTwin(items, twin_transforms()[job != "train"], LENGTH, method), "twin of torchreid"
    augmentation = ["random_flip", "random_crop", "color_jitter", "random_erase"]
    transform = build_transforms(*SIZE, transforms=augmentation)[job != "train"]
    dataset = VideoDataset(
        items, items, items, seq_len=LENGTH, sample_method=method, transform=transform, verbose=False
    )
    return dataset, "torchreid 0.2.5"


def own_dataset(table: pd.DataFrame, job: str) -> tuple[Any, str]:
    """reidkit's dataset for the same job."""
    from reidkit.data.sequences import SequenceDataset
    from reidkit.data.transforms import eval_transform, train_transform

    transform = train_transform(SIZE) if job == "train" else eval_transform(SIZE)
    kind = "restricted" if job == "train" else "evenly"
    return SequenceDataset(table, LENGTH, kind, transform), "reidkit"


def one_loader(folder: Path, who: str, job: str, workers: int) -> dict[str, Any]:
    """Epochs in random order through a loader: clips/s, CPU ms per clip, peak memory."""
    from reidkit.data.mars import read_mars
    from reidkit.data.sequences import collate_clips

    table = read_mars(crops(folder))
    table = table[table["split"] == "train"]
    dataset, name = (own_dataset if who == "ours" else peer_dataset)(table, job)
    loader = torch.utils.data.DataLoader(
        dataset,
        BATCH,
        shuffle=True,
        drop_last=True,
        num_workers=workers,
        collate_fn=collate_clips if who == "ours" else None,
        persistent_workers=workers > 0,
        generator=torch.Generator().manual_seed(0),
    )
    walls, spent = [], []
    for _ in range(5):
        start, before = time.perf_counter(), cpu_seconds(loader)
        shapes = [tuple(batch["frames" if who == "ours" else "img"].shape) for batch in loader]
        walls.append(time.perf_counter() - start)
        spent.append(cpu_seconds(loader) - before)
    assert set(shapes) == {(BATCH, LENGTH, 3, *SIZE)}
    clips = len(shapes) * BATCH
    del loader  # ends the loader processes, so that their memory is known
    return {
        "loader": name,
        "job": job,
        "workers": workers,
        "clips/s": round(clips / min(walls[1:]), 1),
        "cpu ms/clip": round(1000 * min(spent[1:]) / clips, 2),  # the first epoch starts the processes
        "peak MiB": round(peak_mib()),
        "of a worker": resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss // 1024 if workers else 0,
    }


# ---- decoders ----------------------------------------------------------------------------------


def decoders() -> dict[str, Callable[[Path], np.ndarray]]:
    """Ways to read a JPEG as uint8 [H, W, 3] RGB."""
    from PIL import Image
    from torchvision.io import ImageReadMode, decode_image

    from reidkit.data.images import decode_image as ours

    def torchvision(path: Path) -> np.ndarray:
        return decode_image(str(path), ImageReadMode.RGB).permute(1, 2, 0).numpy()

    found = {
        "reidkit.decode_image": ours,
        "torchvision": torchvision,
        "OpenCV": lambda path: cv2.imread(str(path), cv2.IMREAD_COLOR_RGB),
        "Pillow": lambda path: np.asarray(Image.open(path).convert("RGB")),
        "read bytes alone": lambda path: np.fromfile(path, np.uint8),
        "OpenCV, half size": lambda path: cv2.imread(str(path), cv2.IMREAD_REDUCED_COLOR_2),
    }
    try:
        import simplejpeg
    except ImportError:
        return found
    return found | {"simplejpeg": lambda path: simplejpeg.decode_jpeg(path.read_bytes())}


def one_decoder(folder: Path, name: str) -> dict[str, Any]:
    """A decoder on crops and on 1920×1080 frames: CPU time, memory, and its distance from Pillow."""
    read, pillow = decoders()[name], decoders()["Pillow"]
    small = sorted(crops(folder).rglob("*.jpg"))[::40]
    large = sorted(video(folder, (1080, 1920), 12).rglob("*.jpg"))
    read(small[0])
    before = reset_peak()
    row = {"decoder": name, "crop ms": round(best_ms(read, small, 5), 3)}
    row["frame ms"] = round(best_ms(read, large, 4), 2)
    row["peak MiB above start"] = round(peak_mib() - before, 1)
    if read(small[0]).shape == pillow(small[0]).shape:
        apart = [np.abs(read(p).astype(int) - pillow(p)).max() for p in (*small[:20], *large[:4])]
        row["largest difference"] = int(max(apart))
    return row


# ---- millions of rows --------------------------------------------------------------------------


def image_table(rows: int) -> pd.DataFrame:
    """A product set: one image per row, 30 rows per product."""
    number = np.arange(rows)
    return pd.DataFrame(
        {
            "split": "train",
            "role": "train",
            "person_id": 1 + number // 30,
            "camera_id": 0,
            "sequence_id": number,
            "frames_dir": [f"/data/products/{place // 30:06d}" for place in range(rows)],
            "num_frames": 1,
            "frames": [[f"{place:012d}.jpg"] for place in range(rows)],
        }
    )


def one_table(folder: Path, rows: int) -> dict[str, Any]:
    """What it costs to make a dataset of so many rows, and what it keeps."""
    from reidkit.data.sequences import SequenceDataset

    table = image_table(rows)
    before, start = reset_peak(), time.process_time()
    dataset = SequenceDataset(table, 1)
    spent, peak = time.process_time() - start, peak_mib()
    return {
        "rows": len(dataset),
        "cpu s": round(spent, 1),
        "kept MiB": round(reset_peak() - before),
        "peak MiB above the table": round(peak - before),
    }


# ---- boxes in shared frames --------------------------------------------------------------------


def one_boxes(folder: Path, source: str) -> dict[str, Any]:
    """Reading a tracking table for `embed_table`: every frame decoded once, beside once for each box."""
    from reidkit.data.mot_sets import read_mot_tracklets
    from reidkit.embed import embedder

    places = {"tud": Path(os.environ.get("REIDKIT_DATA", "../shared/data")) / "images" / "TUD-Campus"}
    root = places.get(source) or video(folder, (360, 640) if source == "world360" else (1080, 1920))
    if not root.is_dir():
        return {"frames": source, "note": f"{root} is not there"}
    table = read_mot_tracklets(root)
    torch.manual_seed(0)
    model = embedder.ViTEmbedder("mobilenetv3_small_050", (128, 64), embed_dim=64).eval()
    single = [(path, [row], [box]) for row, path, box in embedder.image_jobs(table)]
    frames = len({path for path, *_ in single})
    ways = {"per box": lambda: iter(single), "per image": lambda: embedder._image_groups(table)}
    row: dict[str, Any] = {"frames": f"{source}: {frames} frames, {len(single)} boxes"}
    vectors = {}
    for name, groups in ways.items():
        start = cpu_seconds()
        for _ in embedder._read_ahead(groups(), model, 64):
            pass
        row[f"read {name}, cpu s"] = round(cpu_seconds() - start, 2)
        vectors[name] = embedder.embed_frames(model, embedder._read_ahead(groups(), model, 64), len(table))
    row["faster"] = round(row["read per box, cpu s"] / row["read per image, cpu s"], 1)
    row["largest difference"] = float(np.abs(vectors["per box"] - vectors["per image"]).max())
    return row


# ---- MARS at its true size ---------------------------------------------------------------------


def one_mars(folder: Path, what: str) -> dict[str, Any]:
    """`read_mars` and `prepare_mars` on the real info files with made-up names."""
    from reidkit.data.mars import read_mars, read_mars_info
    from reidkit.data.prepare import prepare_mars

    info = Path(os.environ.get("REIDKIT_DATA", "../shared/data")) / "reid" / "mars_info"
    if not info.is_dir():
        return {"what": what, "note": f"{info} is not there"}
    root = folder / "mars-names"
    (root / "info").mkdir(parents=True, exist_ok=True)
    for path in info.rglob("*.mat"):
        (root / "info" / path.name).write_bytes(path.read_bytes())
    table = read_mars_info(root / "info")
    for split, part in table.groupby("split"):
        names = []
        for row in part.itertuples():
            label = "00-1" if row.person_id < 0 else f"{row.person_id:04d}"
            head = f"{label}C{row.camera_id + 1}T{row.sequence_id % 10000:04d}"
            names += [f"{head}F{frame:03d}.jpg\r\n" for frame in range(1, row.num_frames + 1)]
        (root / "info" / f"{split}_name.txt").write_text("".join(names))
        del names
    before, start = reset_peak(), time.process_time()
    if what == "read_mars":
        read_mars(root)
    else:
        prepare_mars(root, folder / "mars-index")
    return {
        "what": what,
        "cpu s": round(time.process_time() - start, 1),
        "peak MiB above start": round(peak_mib() - before),
    }


# ---- running -----------------------------------------------------------------------------------

PARTS: dict[str, tuple[Callable[..., dict], list[tuple]]] = {
    "loader": (
        one_loader,
        [(who, job, n) for job in ("train", "eval") for n in (0, 1, 2) for who in ("ours", "torchreid")],
    ),
    "decode": (one_decoder, [(name,) for name in decoders()]),
    "rows": (one_table, [(1_000_000,)]),
    "boxes": (one_boxes, [("world360",), ("world1080",), ("tud",)]),
    "mars": (one_mars, [("read_mars",), ("prepare_mars",)]),
}


def alone(folder: Path, part: str, arguments: tuple) -> dict[str, Any]:
    """One measurement in a fresh process."""
    command = [sys.executable, __file__, "--folder", str(folder), "--one", json.dumps([part, *arguments])]
    done = subprocess.run(
        command, stdout=subprocess.PIPE, text=True, check=True, env=os.environ | {"OMP_NUM_THREADS": "1"}
    )
    return json.loads(done.stdout.strip().splitlines()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("parts", nargs="*", metavar="PART", help=", ".join(PARTS))
    parser.add_argument("--folder", type=Path, help="keeps what is rendered; a temporary one by default")
    parser.add_argument("--json", type=Path, help="also write the rows there")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    logging.getLogger("reidkit").setLevel(logging.ERROR)  # the small tree is not the whole of MARS
    if arguments.one:
        torch.set_num_threads(1)
        cv2.setNumThreads(1)
        part, *rest = json.loads(arguments.one)
        print(json.dumps(PARTS[part][0](arguments.folder, *rest)))
        return
    results = {}
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        for part in arguments.parts or PARTS:
            if part not in PARTS:
                parser.error(f"{part!r} is no part; use {', '.join(PARTS)}.")
            results[part] = [alone(folder, part, values) for values in PARTS[part][1]]
            print(f"\n{part}\n{pd.DataFrame(results[part]).to_string(index=False)}", flush=True)
    if arguments.json:
        arguments.json.write_text(json.dumps(results, indent=2))


if __name__ == "__main__":
    main()
