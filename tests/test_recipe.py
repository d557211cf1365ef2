"""Recipes as others will use them: the published file to the letter, every slip named with its place."""

from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from reidkit.core import ConfigError
from reidkit.train.recipe import (
    Recipe,
    load_recipe,
    nearest_key,
    packaged_recipes,
    recipe_changes,
    recipe_keys,
    recipe_yaml,
    write_recipe,
)

KEYS = [key for key, _, _ in recipe_keys()]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "config.yaml"
    path.write_text(packaged_recipes()["mars-vit"].read_text())
    return path


@pytest.mark.parametrize("name", sorted(packaged_recipes()))
def test_packaged_recipes_load_and_come_back(name: str, tmp_path: Path) -> None:
    recipe = load_recipe(packaged_recipes()[name])
    assert load_recipe(write_recipe(recipe, tmp_path / "again.yaml")) == recipe


def test_every_key_of_the_published_file_arrives(file: Path) -> None:
    recipe = load_recipe(file).model_dump(mode="json")

    def check(written: dict, got: dict) -> int:
        return sum(
            check(value, got[key]) if isinstance(value, dict) else int(got[key] == value)
            for key, value in written.items()
        )

    assert check(yaml.safe_load(file.read_text()), recipe) == 23


@given(st.sampled_from(KEYS), st.integers(0, 30), st.sampled_from("abcxyz_"))
def test_one_wrong_letter_is_understood(key: str, position: int, letter: str) -> None:
    section, _, word = key.rpartition(".")
    slip = word[: position % len(word)] + letter + word[position % len(word) :]
    if len(word) > 3 and slip != word:
        assert nearest_key(f"{section}.{slip}") == key


@given(
    st.integers(1, 500),
    st.floats(1e-7, 1, allow_nan=False),
    st.tuples(st.integers(1, 999), st.integers(1, 999)),
    st.booleans(),
)
def test_overrides_are_yaml_and_reach_their_leaf(
    epochs: int, lr: float, size: tuple[int, int], flag: bool
) -> None:
    overrides = [
        f"train.epochs={epochs}",
        f"train.optimizer.lr={lr}",
        f"data.image_size={list(size)}",
        f"model.pretrained={flag}",
        "data.cache_mb=1",
    ]
    recipe = load_recipe(packaged_recipes()["mars-vit"], overrides)
    assert (recipe.train.epochs, recipe.data.image_size, recipe.model.pretrained) == (epochs, size, flag)
    assert recipe.train.optimizer.lr == pytest.approx(lr, rel=1e-12)
    assert Recipe.model_validate(yaml.safe_load(recipe_yaml(recipe))) == recipe
    touched = {override.split("=")[0] for override in overrides}
    assert set(recipe_changes(load_recipe(packaged_recipes()["mars-vit"]), recipe)) <= touched


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("train: {epoch: 3}", "line 1: unknown key 'train.epoch'; did you mean 'train.epochs'?"),
        ("a:\n  b: 1", "line 1: unknown key 'a'; a recipe has experiment, data, model, train, loss, eval."),
        (
            "train:\n  batch:\n    P: 1",
            "line 3: 'train.batch.P' = 1: input should be greater than or equal to 2.",
        ),
        ("train:\n  epochs: 3\n  epochs: 4", "line 3: 'train.epochs' was given on line 2 already; keep one."),
        ("train: 5", "line 1: 'train' = 5:"),
        ("loss: {ce: {weight: 0}, triplet: {weight: 0}}", "both 0: nothing would be learnt"),
        ("eval: {normalize_embeddings: maybe}", "'eval.normalize_embeddings' = 'maybe'"),
        ("train: {optimizer: {lr: .nan}}", "'train.optimizer.lr' = nan: input should be a finite number"),
        ("data: {stride: 4}", "stride 4 needs frame_sampling: consecutive, not restricted"),
        ("- 1", "is a list; a recipe maps sections to settings"),
        ("", "is empty; a recipe maps sections to settings"),
        ("train: [", "not valid YAML"),
        ("experiment: {name: ../up}", "'experiment.name' = '../up'"),
        ("experiment: !!python/object/apply:os.system ['true']", "not valid YAML"),
    ],
)
def test_bad_files_say_what_and_where(tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError) as error:
        load_recipe(path)
    assert says in str(error.value)
    assert "bad.yaml" in str(error.value)


@pytest.mark.parametrize(
    ("override", "says"),
    [
        ("train.epochs", "not of the form section.key=value"),
        ("train..epochs=1", "not of the form section.key=value"),
        ("train.epochs=[", "is not valid YAML"),
        ("train.epochs=__import__('os').getpid()", "input should be a valid integer"),
        ("train.optimiser.lr=1", "unknown key 'train.optimiser'; did you mean 'train.optimizer'?"),
        ("train.epochs.x=1", "'train.epochs'"),
    ],
)
def test_bad_overrides_say_what_and_where(file: Path, override: str, says: str) -> None:
    with pytest.raises(ConfigError, match=r"[Oo]verride") as error:
        load_recipe(file, [override])
    assert says in str(error.value)


def test_missing_file_names_the_packaged_ones() -> None:
    with pytest.raises(ConfigError, match=r"There is no recipe nowhere.yaml; packaged ones: .*mars-vit"):
        load_recipe("nowhere.yaml")


def test_later_override_wins_and_empty_sections_are_fine(tmp_path: Path) -> None:
    path = tmp_path / "thin.yaml"
    path.write_text("train:\ndata:\n  root: here\n")
    recipe = load_recipe(path, ["train.epochs=1", "train.epochs=2"])
    assert recipe.train.epochs == 2
    assert recipe.data.index_csv == "here/index.csv"
