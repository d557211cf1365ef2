"""Training as a whole: what it writes, that it learns, resumes, repeats itself, and refuses what cannot work."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from reidkit.core import ConfigError, MismatchError, ReidkitError, generator
from reidkit.data.table import write_table
from reidkit.embed.embedder import load_embedder
from reidkit.train.checkpoint import load_checkpoint
from reidkit.train.fit import (
    fit,
    split_identities,
    start_run,
    training_loader,
    training_tables,
    validate,
)
from reidkit.train.recipe import Recipe, load_recipe, packaged_recipes

PEOPLE, CAMERAS, SEQUENCES, FRAMES = 12, 2, 2, 3


def render(person: int, camera: int, sequence: int) -> np.ndarray:
    """Frames of a person who is two colours: trousers and shirt, seen in a camera's light."""
    colours = generator(0, "person", person).integers(60, 200, (2, 3))
    light = generator(0, "camera", camera).uniform(0.5, 1.4, 3)
    noise = generator(0, person, camera, sequence).normal(0, 12, (FRAMES, 32, 16, 3))
    body = np.repeat(colours, 16, axis=0)[None, :, None] * light
    return np.clip(body + noise, 0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A table of `PEOPLE` in two cameras; the last three are the val split."""
    torch.set_num_threads(1)
    root = tmp_path_factory.mktemp("people")
    rows = []
    for person in range(1, PEOPLE + 1):
        for camera in range(CAMERAS):
            for number in range(SEQUENCES):
                folder = root / f"{person:04d}" / f"{camera}_{number}"
                folder.mkdir(parents=True)
                for frame, image in enumerate(render(person, camera, number)):
                    Image.fromarray(image).save(folder / f"{frame}.png")
                split, role = ("train", "train") if person <= PEOPLE - 3 else ("val", "gallery")
                rows.append((split, role, person, camera, len(rows), str(folder), FRAMES))
    columns = ["split", "role", "person_id", "camera_id", "sequence_id", "frames_dir", "num_frames"]
    return write_table(pd.DataFrame(rows, columns=columns), root / "index.csv")


@pytest.fixture
def small(index: Path, tmp_path: Path) -> list[str]:
    """Overrides that bring the published recipe down to this size."""
    return [
        f"data.index_csv={index}",
        f"experiment.root={tmp_path}",
        "experiment.name=run",
        "data.image_size=[32, 16]",
        "data.num_frames=2",
        "data.num_workers=0",
        "data.augment.padding=1",
        "model.backbone=vit_tiny_patch16_224",
        "model.backbone_args={patch_size: 8, depth: 1, embed_dim: 32, num_heads: 2}",
        "model.pretrained=false",
        "model.embed_dim=16",
        "train.epochs=4",
        "train.batch.P=4",
        "train.batch.K=2",
        "train.batches_per_epoch=3",
        "train.optimizer.lr=3e-3",
        "train.scheduler.warmup_epochs=1",
        "train.mixed_precision=fp32",
    ]


def recipe_of(overrides: list[str], *more: str) -> Recipe:
    return load_recipe(packaged_recipes()["mars-vit"], [*overrides, *more])


def kill_after(epoch: int):
    def kill(row: dict[str, float]) -> None:
        if row["epoch"] == epoch:
            raise KeyboardInterrupt

    return kill


def test_the_published_recipe_trains_and_leaves_its_files(small: list[str]) -> None:
    recipe = recipe_of(small)
    seen: list[float] = []
    result = fit(recipe, on_epoch=lambda row: seen.append(row["epoch"]))
    assert seen == [1, 2, 3, 4]
    assert (result.best.name, result.last.name) == ("best.pth", "last.pth")
    assert load_recipe(result.run / "config_resolved.yaml") == recipe
    assert list((result.run / "tensorboard").glob("*tfevents*"))
    metrics = pd.read_csv(result.run / "metrics.csv")
    assert {"epoch", "loss", "ce", "triplet", "accuracy", "lr", "val_mAP", "val_rank1", "seconds"} <= set(
        metrics
    )
    np.testing.assert_allclose(metrics["loss"], result.history["loss"], rtol=1e-6)
    assert metrics["lr"].iloc[-1] < 0.1 * metrics["lr"].max() < 3.1e-4


def test_best_is_the_epoch_with_the_highest_validation_map(small: list[str]) -> None:
    recipe = recipe_of(small)
    result = fit(recipe)
    best = load_checkpoint(result.best)
    assert best.metric == best.best_metric == result.history["val_mAP"].max()
    assert best.epoch == 1 + result.history["val_mAP"].argmax()
    _, val = training_tables(recipe)
    assert validate(load_embedder(result.best), val, recipe).mAP == pytest.approx(best.metric, abs=1e-9)
    assert len(best.person_ids) == best.model_config["num_classes"] == PEOPLE - 3
    assert not set(best.person_ids) & set(val["person_id"])


def test_it_learns_people_it_was_not_trained_on(small: list[str]) -> None:
    recipe = recipe_of(small, "train.epochs=8", "train.batches_per_epoch=8")
    run = start_run(recipe)
    before = validate(run.embedder, run.val, recipe).mAP
    history = fit(recipe).history
    assert history["ce"].iloc[-1] < history["ce"].iloc[0] - 0.1
    assert history["val_mAP"].iloc[-1] > before + 0.2


@pytest.mark.parametrize("epoch", [1, 2, 3])
def test_killed_and_resumed_equals_uninterrupted(small: list[str], epoch: int) -> None:
    whole = fit(recipe_of(small, "experiment.name=whole", "model.dropout=0.3"))
    halves = recipe_of(small, "experiment.name=halves", "model.dropout=0.3")
    with pytest.raises(KeyboardInterrupt):
        fit(halves, on_epoch=kill_after(epoch))
    resumed = fit(halves, resume=True)
    columns = ["epoch", "loss", "ce", "triplet", "accuracy", "grad_norm", "lr", "val_mAP", "val_rank1"]
    np.testing.assert_allclose(resumed.history[columns], whole.history[columns], atol=1e-4)
    one, other = load_checkpoint(whole.last), load_checkpoint(resumed.last)
    assert one.best_metric == other.best_metric
    for name, value in one.model.items():
        torch.testing.assert_close(value, other.model[name], atol=1e-5, rtol=1e-4)


def test_killed_in_the_middle_of_an_epoch(small: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    import reidkit.train.fit as module

    whole = fit(recipe_of(small, "experiment.name=whole"))
    halves = recipe_of(small, "experiment.name=halves")
    step = module.train_step

    def dies(run, batch, number):
        if number == 7:  # epochs have three steps
            raise KeyboardInterrupt
        return step(run, batch, number)

    with monkeypatch.context() as patched:
        patched.setattr(module, "train_step", dies)
        with pytest.raises(KeyboardInterrupt):
            fit(halves)
    np.testing.assert_allclose(fit(halves, resume=True).history["loss"], whole.history["loss"], atol=1e-4)


def test_same_seed_same_numbers_whatever_the_workers(small: list[str]) -> None:
    short = [*small, "train.epochs=2"]
    runs = [fit(recipe_of(short, f"data.num_workers={workers}")).history["loss"] for workers in (0, 1)]
    other = fit(recipe_of(short, "train.seed=1")).history["loss"]
    np.testing.assert_allclose(runs[0], runs[1], atol=1e-6)
    assert (runs[0] != other).all()


def test_resume_without_a_checkpoint_begins_and_a_finished_run_is_left_alone(small: list[str]) -> None:
    recipe = recipe_of(small, "train.epochs=2")
    first = fit(recipe, resume=True)
    written = first.last.stat().st_mtime_ns
    again = fit(recipe, resume=True)
    assert again.last.stat().st_mtime_ns == written
    np.testing.assert_allclose(again.history["loss"], first.history["loss"], rtol=1e-6)


def test_a_run_is_not_resumed_under_another_recipe(small: list[str]) -> None:
    fit(recipe_of(small, "train.epochs=1"))
    with pytest.raises(MismatchError, match=r"train.epochs 1 → 4.*: restore the recipe"):
        fit(recipe_of(small), resume=True)
    fit(recipe_of(small, "train.epochs=1", "eval.batch_size=7", "data.num_workers=1"), resume=True)


def test_every_augmentation_and_sampling_option_trains(small: list[str]) -> None:
    everything = [
        "data.augment.rotation=30",
        "data.augment.occlusion=0.5",
        "data.augment.hue=0.1",
        "data.augment.local_grey=0.3",
        "data.augment.grey=0.1",
        "data.augment.grey_channels=0.1",
        "data.augment.sketch_channels=0.1",
        "data.augment.erasing_noise=1.0",
        "train.batch.camera_aware=true",
        "train.batch.weights=[[1, 2, 3.0]]",
    ]
    short = [*small, "train.epochs=1", "train.batches_per_epoch=2", *everything]
    result = fit(recipe_of(short))
    assert np.isfinite(result.history["loss"]).all()
    assert load_recipe(result.run / "config_resolved.yaml") == recipe_of(short)
    repeated = [fit(recipe_of([*short, f"data.num_workers={n}"])).history["loss"].iloc[0] for n in (0, 1)]
    assert repeated[0] == pytest.approx(repeated[1], abs=1e-6)
    assert repeated[0] == pytest.approx(result.history["loss"].iloc[0], abs=1e-6)


def test_the_sampler_follows_the_recipe(small: list[str]) -> None:
    train, _ = training_tables(recipe_of(small))
    cameras, people = train["camera_id"].to_numpy(), train["person_id"].to_numpy()
    recipe = recipe_of(
        small,
        "train.batch.camera_aware=true",
        "train.batch.weights=[[1, 2, 3.0]]",
        "train.batches_per_epoch=150",
    )
    batches = np.array(list(training_loader(train, recipe).batch_sampler))
    assert (cameras[batches].reshape(-1, 2)[:, 0] != cameras[batches].reshape(-1, 2)[:, 1]).all()
    turns = np.bincount(people[batches[:, ::2]].ravel())[1:]
    assert turns[:2].mean() / turns[2:].mean() == pytest.approx(min(3, 150 / turns[2:].mean()), rel=0.1)
    with pytest.raises(ConfigError, match="No training identity lies between 70 and 80"):
        training_loader(train, recipe_of(small, "train.batch.weights=[[70, 80, 2]]"))


def test_validation_is_rare_when_asked(small: list[str]) -> None:
    history = fit(recipe_of(small, "eval.every=3")).history
    assert history["val_mAP"].notna().tolist() == [False, False, True, True]


def test_a_loss_that_explodes_stops_the_run_and_spares_its_checkpoint(small: list[str]) -> None:
    recipe = recipe_of(
        small, "train.optimizer.lr=1e30", "train.scheduler.name=constant", "train.scheduler.warmup_epochs=0"
    )
    with pytest.raises(ReidkitError, match=r"Epoch 1: the loss is (nan|inf); lower train.optimizer.lr"):
        fit(recipe)
    assert not (Path(recipe.experiment.root) / "run" / "checkpoints").exists()


@pytest.mark.parametrize(
    ("override", "says"),
    [
        (
            "train.batch.P=10",
            "train.batch.P = 10, but .*index.csv has 9 identities to train on: set train.batch.P to 9",
        ),
        (
            "data.index_csv=nowhere.csv",
            "data.index_csv = nowhere.csv does not exist: make it with 'reidkit prepare-mars'",
        ),
        ("model.backbone=vit_tiny_patch61", "vit_tiny_patch61"),
    ],
)
def test_bad_recipes_are_refused_before_training(small: list[str], override: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        fit(recipe_of(small, override))


def test_validation_identities(index: Path) -> None:
    from reidkit.data.table import read_table

    table = read_table(index)
    without = table.assign(split="train", role="train")
    train, val = split_identities(without, fraction=0.25, seed=3)
    assert val["person_id"].nunique() == 3 and not set(train["person_id"]) & set(val["person_id"])
    pd.testing.assert_frame_equal(val, split_identities(without, fraction=0.25, seed=3)[1])
    both = pd.concat([table, table[table["person_id"] == 12].assign(split="train", role="train")])
    with pytest.raises(ConfigError, match=r"Identities \[12\] are in both train and val"):
        split_identities(both)


def test_judges_that_one_camera_saw_are_refused(index: Path, small: list[str], tmp_path: Path) -> None:
    from reidkit.data.table import read_table

    table = read_table(index)
    lonely = table[(table["split"] == "train") | (table["camera_id"] == 0)]
    path = write_table(lonely, tmp_path / "lonely.csv")
    with pytest.raises(ConfigError, match="no validation identity is seen by two cameras"):
        training_tables(recipe_of(small, f"data.index_csv={path}"))
