"""The command line as others script it: fixed forms, exit codes, one sentence on bad input."""

import io
import json
import re
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from types import SimpleNamespace
from unittest import mock

import cv2
import numpy as np
import pandas as pd
import pytest

from reidkit.cli import main
from reidkit.data.mars import write_mars
from reidkit.data.mot_sets import write_mot_videos
from reidkit.data.synth import World, render_tracklet, render_tracklets, render_videos
from reidkit.metrics.ranking import EmbeddingSet
from reidkit.tracking.video import VideoWriter, open_source

VERBS = ["demo", "data", "prepare-mars", "train", "embed", "evaluate", "track", "eval-mot"]


def reidkit(*arguments: object) -> SimpleNamespace:
    """The command in this process: importing torch anew for each call would take minutes."""
    output, errors, code = io.StringIO(), io.StringIO(), 0
    command = ["reidkit", *map(str, arguments)]
    with redirect_stdout(output), redirect_stderr(errors), mock.patch.object(sys, "argv", command):
        try:
            main()
        except SystemExit as stop:
            code = stop.code or 0
    return SimpleNamespace(returncode=code, stdout=output.getvalue(), stderr=errors.getvalue())


def good(*arguments: object) -> str:
    done = reidkit(*arguments)
    assert done.returncode == 0, done.stderr
    return done.stdout


def refused(*arguments: object) -> str:
    """The one sentence of a run that must fail."""
    done = reidkit(*arguments)
    assert done.returncode == 2, (done.stdout, done.stderr)
    assert "Traceback" not in done.stderr
    return done.stderr


@pytest.fixture(scope="module")
def trees(tmp_path_factory):
    """A small world as MARS and MOTChallenge trees."""
    folder = tmp_path_factory.mktemp("trees")
    world = World(seed=5, num_people=8)
    write_mars(render_tracklets(world, num_train=5, frames=(20, 45)), folder / "mars")
    videos = render_videos(world, cameras=[0, 1], num_frames=12, num_visible=3)
    write_mot_videos(videos, folder / "mot")
    return folder


@pytest.mark.parametrize("verb", VERBS)
def test_help_teaches(verb):
    text = good(verb, "--help")
    assert len(text.splitlines()) > 8


def test_the_installed_command_refuses_with_one_sentence_and_code_2(tmp_path):
    command = Path(sys.executable).with_name("reidkit")
    arguments = ["eval-mot", "--gt", str(tmp_path), "--results", str(tmp_path)]
    done = subprocess.run([command, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 2 and done.stdout == ""
    assert len(done.stderr.splitlines()) == 1 and str(tmp_path) in done.stderr


def test_version_and_overview():
    assert re.fullmatch(r"reidkit \d+\.\d+\.\d+\n", good("--version"))
    overview = good("--help")
    assert all(verb in overview for verb in VERBS)


@pytest.mark.parametrize("spelling", ["-", "_"])
def test_prepare_mars_takes_both_spellings(trees, tmp_path, spelling):
    options = {"raw-root": trees / "mars", "out-root": tmp_path / "out", "sequence-len": 25, "overlap": 10}
    arguments = [
        item for name, value in options.items() for item in (f"--{name.replace('-', spelling)}", value)
    ]
    good("prepare-mars", *arguments)
    index = pd.read_csv(tmp_path / "out" / "index.csv")
    assert {"split", "person_id", "camera_id", "sequence_id", "frames_dir", "num_frames"} <= set(
        index.columns
    )
    assert set(index["split"]) >= {"train", "test"}
    assert index.loc[index["split"] == "train", "num_frames"].max() <= 25


def test_prepare_mars_names_what_is_missing(tmp_path):
    message = refused("prepare-mars", "--raw-root", tmp_path / "no", "--out-root", tmp_path / "out")
    assert str(tmp_path / "no") in message
    assert not (tmp_path / "out" / "index.csv").exists()


@pytest.mark.parametrize("verb", ["layouts", "index", "check", "describe", "join", "render"])
def test_data_help_teaches(verb):
    assert len(good("data", verb, "--help").splitlines()) > 6


def test_data_index_and_describe(trees, tmp_path):
    printed = good("data", "index", "mars", trees / "mars", "--output", tmp_path / "mars.parquet")
    assert "train train" in printed and f"wrote {tmp_path / 'mars.parquet'}" in printed
    printed = good("data", "describe", tmp_path / "mars.parquet", "--plot", tmp_path / "mars.png")
    assert cv2.imread(str(tmp_path / "mars.png")) is not None and "test query" in printed


def test_data_check_says_by_its_exit_code_what_is_missing(trees, tmp_path):
    official = reidkit("data", "check", "mars", trees / "mars")
    assert official.returncode == 1 and "0 of" in official.stdout
    good("data", "render", "label-lists", tmp_path / "lists", "--people", 4, "--cameras", 2)
    assert "; 0 of" in good("data", "check", "label-lists", tmp_path / "lists")
    lost = next((tmp_path / "lists").rglob("*.jpg"))
    lost.unlink()
    incomplete = reidkit("data", "check", "label-lists", tmp_path / "lists")
    assert incomplete.returncode == 1 and f"missing: {lost}" in incomplete.stdout


def test_data_join_keeps_people_apart(trees, tmp_path):
    for name in ("one", "two"):
        good("data", "index", "mars", trees / "mars", "--output", tmp_path / f"{name}.csv")
    tables = [f"{name}={tmp_path / name}.csv" for name in ("one", "two")]
    good("data", "join", *tables, "--output", tmp_path / "both.csv")
    both = pd.read_csv(tmp_path / "both.csv")
    people = both[both["person_id"] > 0].groupby("dataset")["person_id"].agg(set)
    assert len(people["one"]) == len(people["two"]) == 8 and not people["one"] & people["two"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["index", "market-1501", "."], "did you mean market1501"),
        (["index", "vehicleid", ".", "-o", "test_sise=800"], "no option test_sise; it has test_size, seed"),
        (["index", "vehicleid", ".", "-o", "800"], "no key=value"),
        (["index", "vehicleid", ".", "-o", "test_size=abc"], "test_size of vehicleid cannot be 'abc'"),
        (["index", "motchallenge", ".", "-o", "classes=1"], "classes of motchallenge cannot be 1"),
        (
            ["index", "motchallenge", ".", "-o", "shared_ids=nope"],
            "shared_ids of motchallenge cannot be 'nope'",
        ),
        (["index", "motchallenge", ".", "-o", "pattern=*-FRCNN"], "."),
        (["index", "mars", "nowhere"], "nowhere does not exist: give the folder of MARS"),
        (["join", "table.csv"], "under a name of its own"),
    ],
)
def test_data_refuses_with_the_remedy(tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    assert message in refused("data", *arguments, "--output", "x.csv")
    assert not (tmp_path / "x.csv").exists()


def test_nothing_of_the_users_is_replaced(tmp_path):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "me.jpg").write_text("me")
    small = ("--people", 2, "--cameras", 1)
    assert "--overwrite" in refused("data", "render", "market1501", tmp_path / "photos", *small)
    assert (tmp_path / "photos" / "me.jpg").read_text() == "me"
    good("data", "render", "identity-folders", tmp_path / "photos", *small, "--overwrite")
    assert not (tmp_path / "photos" / "me.jpg").exists()
    listed = ("data", "index", "identity-folders", tmp_path / "photos", "--output")
    assert "is a file, not a folder" in refused(*listed, Path(__file__) / "x.csv")
    assert ".xlsx: a sequence table ends with .csv or .parquet" in refused(*listed, tmp_path / "x.xlsx")


def test_a_title_with_brackets_is_printed_as_it_is(tmp_path):
    root = tmp_path / "sp [v2] [/v2]"
    good("data", "render", "identity-folders", root, "--people", 2, "--cameras", 1)
    assert "sp [v2] [/v2]" in good("data", "index", "identity-folders", root, "--output", tmp_path / "t.csv")


@pytest.fixture(scope="module")
def run(trees):
    """A run of one epoch with system C's keys: config, checkpoint folder and index."""
    good("prepare-mars", "--raw-root", trees / "mars", "--out-root", trees / "processed")
    config = trees / "config.yaml"
    config.write_text(
        f"""
experiment: {{name: tiny, root: {trees / "runs"}}}
data: {{root: {trees / "processed"}, index_csv: {trees / "processed/index.csv"}, image_size: [64, 32], sequence_len: 25, num_workers: 0}}
model: {{backbone: vit_tiny_patch16_224, pretrained: false, embed_dim: 32, dropout: 0.1, backbone_args: {{depth: 1}}}}
train: {{epochs: 1, batch: {{P: 2, K: 2}}, optimizer: {{name: adamw, lr: 0.001, weight_decay: 0.05}}, scheduler: {{name: cosine, warmup_epochs: 0}}}}
loss: {{ce: {{label_smoothing: 0.1, weight: 1.0}}, triplet: {{margin: 0.3, weight: 1.0}}}}
eval: {{normalize_embeddings: true}}
"""
    )
    good("train", "--config", config, "-o", "train.batches_per_epoch=2", "-o", "data.num_frames=2")
    return config, trees / "runs" / "tiny" / "checkpoints"


def test_train_leaves_what_was_promised(run):
    _, checkpoints = run
    assert (checkpoints / "best.pth").is_file() and (checkpoints / "last.pth").is_file()
    assert (checkpoints.parent / "config_resolved.yaml").is_file()
    assert (checkpoints.parent / "metrics.csv").is_file()


def test_train_refuses_an_unknown_key_with_the_nearest(run):
    config, _ = run
    message = refused("train", "--config", config, "-o", "train.epoch=3")
    assert "train.epochs" in message


@pytest.mark.parametrize("with_config", [True, False])
def test_embed_writes_a_unit_vector(run, tmp_path, with_config):
    config, checkpoints = run
    frames = tmp_path / "frames"
    frames.mkdir()
    for i, image in enumerate(render_tracklet(World(seed=5, num_people=8), 1, 0, 5)):
        cv2.imwrite(str(frames / f"frame{i:04d}.jpg"), image[..., ::-1])
    extra = ["--config", config] if with_config else []
    good(
        "embed",
        "--checkpoint",
        checkpoints / "best.pth",
        "--frames-dir",
        frames,
        "--output",
        tmp_path / "e.npy",
        *extra,
    )
    vector = np.load(tmp_path / "e.npy")
    assert vector.shape == (32,) and abs(np.linalg.norm(vector) - 1) < 1e-5


def test_embed_refuses_an_empty_folder(run, tmp_path):
    _, checkpoints = run
    (tmp_path / "empty").mkdir()
    message = refused(
        "embed",
        "--checkpoint",
        checkpoints / "best.pth",
        "--frames-dir",
        tmp_path / "empty",
        "--output",
        tmp_path / "e.npy",
    )
    assert "empty" in message and not (tmp_path / "e.npy").exists()


def test_embed_table_feeds_evaluate(run, trees, tmp_path):
    _, checkpoints = run
    for role in ("query", "gallery"):
        good(
            "embed", "--checkpoint", checkpoints / "best.pth", "--table", trees / "processed" / "index.csv",
            "--split", "test", "--role", role, "--output", tmp_path / f"{role}.npz",
        )  # fmt: skip
    text = good(
        "evaluate",
        "--query",
        tmp_path / "query.npz",
        "--gallery",
        tmp_path / "gallery.npz",
        "--rule",
        "mars-torchreid",
    )
    assert "mAP" in text


@pytest.fixture(scope="module")
def sets(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sets")
    random = np.random.default_rng(0)
    person = np.repeat(np.arange(1, 21), 6)
    camera = np.tile(np.arange(6), 20)
    vectors = random.normal(size=(20, 16))[person - 1] + random.normal(size=(120, 16))
    for name, mask in {"q": camera == 0, "g": camera > 0}.items():
        np.savez(
            folder / f"{name}.npz", embeddings=vectors[mask], person_id=person[mask], camera_id=camera[mask]
        )
    return folder


@pytest.mark.parametrize("rule", ["market1501", "mars-official", "mars-torchreid", "none"])
def test_evaluate_writes_fractions_and_the_protocol(sets, tmp_path, rule):
    text = good(
        "evaluate",
        "--query",
        sets / "q.npz",
        "--gallery",
        sets / "g.npz",
        "--rule",
        rule,
        "--json",
        tmp_path / "r.json",
    )
    report = json.loads((tmp_path / "r.json").read_text())
    assert all(0 < report[key] <= 1 for key in ("rank1", "rank5", "rank10", "mAP", "mINP"))
    assert report["protocol"] and report["num_queries"] == 20 and report["num_gallery"] == 100
    assert report["rule"] == rule and "mAP" in text


def test_evaluate_with_reranking_says_so(sets, tmp_path):
    arguments = ["evaluate", "--query", sets / "q.npz", "--gallery", sets / "g.npz", "--rule", "market1501"]
    arguments += ["--rerank", "--k1", "20", "--k2", "6", "--lam", "0.3", "--json", tmp_path / "r.json"]
    good(*arguments)
    report = json.loads((tmp_path / "r.json").read_text())
    assert "transductive" in report["rerank"]
    assert report["mAP"] != report["without_rerank"]["mAP"]


def test_evaluate_names_the_missing_key(sets, tmp_path):
    np.savez(tmp_path / "bad.npz", embeddings=np.eye(3), person_id=np.arange(3))
    message = refused("evaluate", "--query", tmp_path / "bad.npz", "--gallery", sets / "g.npz")
    assert "camera_id" in message and "bad.npz" in message


def test_evaluate_names_the_missing_file(sets, tmp_path):
    assert "nowhere.npz" in refused(
        "evaluate", "--query", tmp_path / "nowhere.npz", "--gallery", sets / "g.npz"
    )


def test_track_and_score_a_sequence_folder_without_images(trees, tmp_path):
    import shutil

    for sequence in sorted((trees / "mot").iterdir()):
        bare = tmp_path / "gt" / sequence.name
        shutil.copytree(sequence, bare, ignore=shutil.ignore_patterns("img1"))
        text = good(
            "track", bare, "--detections", bare / "det" / "det.txt", "--preset", "sort",
            "--output", tmp_path / "results" / f"{sequence.name}.txt",
        )  # fmt: skip
        assert "tracks" in text
        rows = np.loadtxt(tmp_path / "results" / f"{sequence.name}.txt", delimiter=",", ndmin=2)
        assert rows.shape[1] == 10 and rows[:, 0].min() >= 1 and rows[:, 1].min() >= 1
    good(
        "eval-mot", "--gt", tmp_path / "gt", "--results", tmp_path / "results", "--benchmark", "MOT17",
        "--json", tmp_path / "scores.json",
    )  # fmt: skip
    scores = json.loads((tmp_path / "scores.json").read_text())
    assert set(scores) == {"synth-C1", "synth-C2", "COMBINED"}
    for key in ("HOTA", "DetA", "AssA", "LocA", "MOTA", "MOTP", "IDF1"):
        assert -1 <= scores["COMBINED"][key] <= 1
    for key in ("IDSW", "FP", "FN", "Frag"):
        assert scores["COMBINED"][key] == int(scores["COMBINED"][key]) >= 0


def test_track_without_images_needs_detections(trees, tmp_path):
    sequence = tmp_path / "S"
    sequence.mkdir()
    (sequence / "seqinfo.ini").write_text(
        "[Sequence]\nname=S\nseqLength=5\nimWidth=10\nimHeight=10\nframeRate=30\n"
    )
    message = refused("track", sequence, "--output", tmp_path / "t.txt")
    assert "--detections" in message or "detections" in message
    assert not (tmp_path / "t.txt").exists()


def test_track_detects_on_images(trees, tmp_path):
    images = trees / "mot" / "synth-C1" / "img1"
    text = good("track", images, "--output", tmp_path / "t.txt", "--video", tmp_path / "t.webm")
    assert "12 frames" in text and (tmp_path / "t.webm").stat().st_size > 1000


def test_track_refuses_an_unknown_preset(trees, tmp_path):
    sequence = trees / "mot" / "synth-C1"
    message = refused(
        "track",
        sequence,
        "--detections",
        sequence / "det/det.txt",
        "--preset",
        "sorts",
        "--output",
        tmp_path / "t.txt",
    )
    assert "sort" in message and "reidkit" in message


def test_eval_mot_names_the_missing_result(trees, tmp_path):
    (tmp_path / "results").mkdir()
    assert "synth-C1.txt" in refused("eval-mot", "--gt", trees / "mot", "--results", tmp_path / "results")


def test_sets_survive_a_round_trip(tmp_path):
    vectors = np.eye(4, dtype=np.float32)
    EmbeddingSet(vectors, np.arange(4), np.zeros(4, int)).save(tmp_path / "s.npz")
    assert np.array_equal(EmbeddingSet.load(tmp_path / "s.npz").embeddings, vectors)


@pytest.mark.real
def test_track_and_score_real_sequences(real_data, tmp_path):
    """Folders of images with given detections, and the same through a video file."""
    for name in ("TUD-Campus", "PETS-S3-MF1"):
        sequence = real_data / "images" / name
        detections = sequence / "det" / "det.txt"
        good("track", sequence, "--detections", detections, "--output", tmp_path / "tracks" / f"{name}.txt")
    arguments = ["--results", tmp_path / "tracks", "--benchmark", "MOT15", "--json", tmp_path / "s.json"]
    good("eval-mot", "--gt", real_data / "images", *arguments)
    scores = json.loads((tmp_path / "s.json").read_text())
    assert scores["COMBINED"]["HOTA"] > 0.45
    source = open_source(real_data / "images" / "TUD-Campus")
    with VideoWriter(tmp_path / "campus.webm", fps=source.fps) as video:
        for _, image in source:
            video.write(image)
    detections = real_data / "images" / "TUD-Campus" / "det" / "det.txt"
    good("track", tmp_path / "campus.webm", "--detections", detections, "--output", tmp_path / "video.txt")
    assert (tmp_path / "video.txt").read_text() == (tmp_path / "tracks" / "TUD-Campus.txt").read_text()
