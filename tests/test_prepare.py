"""Preparing MARS: killed runs, foreign copies, the command line, and the size of the real thing."""

import json
import logging
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from reidkit.core import MismatchError
from reidkit.data.mars import read_mars_info, write_mars
from reidkit.data.prepare import prepare_mars
from reidkit.data.synth import World, render_tracklets
from reidkit.data.table import read_table


def small_mars(root: Path, frames: tuple[int, int] = (1, 3), people: int = 6) -> Path:
    world = World(seed=0, num_people=people, num_cameras=2)
    tracklets = render_tracklets(
        world, tracklets_per_camera=1, frames=frames, num_distractors=1, num_junk=1, size=(64, 32)
    )
    return write_mars(tracklets, root)


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_mars(tmp_path_factory.mktemp("mars") / "raw")


def contents(root: Path) -> dict[str, bytes]:
    """Every file below a folder, hidden ones too, with its bytes; empty folders end with a slash."""
    found = {}
    for path in root.rglob("*"):
        name = path.relative_to(root).as_posix()
        if path.is_file():
            found[name] = path.read_bytes()
        elif not any(path.iterdir()):
            found[name + "/"] = b""
    return found


SLOW_COPY = """
import shutil, sys, time
copy = shutil.copyfile
def slow(source, target):
    copy(source, target)
    print("copied", flush=True)
    time.sleep(0.01)
shutil.copyfile = slow
from reidkit.data.prepare import prepare_mars
prepare_mars(sys.argv[1], sys.argv[2], 2, 1, copy=True)
"""


def run_and_kill(raw: Path, out: Path, after: int) -> int:
    """Copy in another process, kill it after so many files, and say how it ended."""
    process = subprocess.Popen(
        [sys.executable, "-c", SLOW_COPY, str(raw), str(out)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    assert process.stdout is not None
    for _ in range(after):
        if not process.stdout.readline():
            break
    process.send_signal(signal.SIGKILL)
    return process.wait()


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs SIGKILL")
def test_killed_copies_end_as_if_nothing_had_happened(raw: Path, tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    whole = tmp_path / "a" / "out"
    prepare_mars(raw, whole, 2, 1, copy=True)
    expected = contents(whole)
    copies = sum(name.endswith(".jpg") for name in expected)
    assert copies > 20
    out = tmp_path / "b" / "out"
    ends = [run_and_kill(raw, out, after) for after in (1, 4, 5)]
    assert ends == [-signal.SIGKILL] * 3
    assert not (out / "index.csv").exists()
    left = contents(out)
    assert 0 < sum(name.endswith(".jpg") for name in left) < copies
    for name in (
        "index.csv",
        "prepare.json",
        "copies.json",
    ):  # as a kill in the middle of a write leaves them
        (out / f".{name}.killed00").mkdir()
        (out / f".{name}.killed00" / name).write_text("half")
    prepare_mars(raw, out, 2, 1, copy=True)
    assert contents(out) == expected


def test_a_copy_that_lost_a_frame_is_made_again(raw: Path, tmp_path: Path) -> None:
    prepare_mars(raw, tmp_path, 2, 1, copy=True)
    expected = contents(tmp_path)
    next(tmp_path.glob("train/*/*/rgb/frame0001.jpg")).unlink()
    prepare_mars(raw, tmp_path, 2, 1, copy=True)
    assert contents(tmp_path) == expected


def test_copies_of_another_tree_or_setting_are_refused(raw: Path, tmp_path: Path) -> None:
    prepare_mars(raw, tmp_path / "out", 2, 1, copy=True)
    before = contents(tmp_path / "out")
    other = small_mars(tmp_path / "other", people=8)
    for root, length in ((raw, 3), (other, 2)):
        with pytest.raises(MismatchError, match="choose another out_root"):
            prepare_mars(root, tmp_path / "out", length, 1, copy=True)
    assert contents(tmp_path / "out") == before
    prepare_mars(raw, tmp_path / "out", 3, 1)  # an index of other windows in the raw tree does no harm …
    with pytest.raises(MismatchError, match="choose another out_root"):  # … and hides no copies
        prepare_mars(raw, tmp_path / "out", 3, 1, copy=True)
    moved = shutil.copytree(raw, tmp_path / "moved")
    prepare_mars(moved, tmp_path / "out", 2, 1, copy=True)  # the same names from elsewhere
    assert contents(tmp_path / "out") == before


def test_copies_of_the_first_release_are_known(raw: Path, tmp_path: Path) -> None:
    prepare_mars(raw, tmp_path, 2, 1, copy=True)
    (tmp_path / "copies.json").unlink()  # 0.1 wrote none
    with pytest.raises(MismatchError):
        prepare_mars(raw, tmp_path, 3, 1, copy=True)
    prepare_mars(raw, tmp_path, 2, 1, copy=True)


MAIN = "import reidkit.cli; reidkit.cli.main()"


def test_the_command_line_as_system_c_writes_it(raw: Path, tmp_path: Path) -> None:
    for style in ("_", "-"):
        out = tmp_path / f"style{style}"
        options = {"raw_root": raw, "out_root": out, "sequence_len": 25, "overlap": 10}
        words = [
            word for name, value in options.items() for word in (f"--{name.replace('_', style)}", str(value))
        ]
        done = subprocess.run(
            [sys.executable, "-c", MAIN, "prepare-mars", *words, "--copy"],
            capture_output=True,
            text=True,
            check=True,
        )
        assert re.search(r"tail drop: .*lost identities \d", done.stdout)
        header = (out / "index.csv").read_text().splitlines()[0].split(",")
        assert {"split", "person_id", "camera_id", "sequence_id", "frames_dir", "num_frames"} <= set(header)
        assert sorted(path.name for path in out.iterdir() if path.is_dir()) == ["test", "train", "val"]
        for folder in out.glob("*/*/*/rgb"):
            assert re.fullmatch(
                r"(train|val|test)/ID(\d{4}|00-1)/cam\d\d_seq\d{4}/rgb", folder.relative_to(out).as_posix()
            )
            assert sorted(path.name for path in folder.iterdir())[0] == "frame0001.jpg"


def names_only_mars(info: Path, root: Path) -> Path:
    """The real track tables of MARS with made-up names and no image."""
    shutil.copytree(info, root / "info")
    table = read_mars_info(root / "info")
    for split in ("train", "test"):
        numbers: dict[int, int] = {}
        with (root / "info" / f"{split}_name.txt").open("w") as file:
            rows = table.loc[table["split"] == split, ["person_id", "camera_id", "num_frames"]]
            for person, camera, frames in rows.itertuples(index=False):
                number = numbers[person] = numbers.get(person, 0) + 1
                label = "00-1" if person < 0 else f"{person:04d}"
                head = f"{label}C{camera + 1}T{number:04d}"
                file.writelines(f"{head}F{frame:03d}.jpg\r\n" for frame in range(1, frames + 1))
    return root


def test_the_whole_of_mars(real_data: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    raw = names_only_mars(real_data / "reid" / "mars_info", tmp_path / "raw")
    with caplog.at_level(logging.INFO, "reidkit"):
        path = prepare_mars(raw, tmp_path / "out", val_fraction=0)
    assert "all of MARS is there" in caplog.text
    report = json.loads((tmp_path / "out" / "prepare.json").read_text())
    assert report["sequences"] == {"test": 12180, "train": 32629}
    assert report["tails"]["drop"]["windows"] == 25228 and report["tails"]["drop"]["lost identities"] == 2
    assert report["tails"]["pad"]["lost identities"] == report["tails"]["replicate"]["lost identities"] == 0
    index = read_table(path)
    assert len(index) == 44809 and index.loc[index["split"] == "test", "num_frames"].sum() == 681_089
    assert index["role"].value_counts()[["query", "distractor", "junk"]].tolist() == [1980, 3248, 870]
