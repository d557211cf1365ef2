"""Embedders: what must hold for any batch, any chunk and any file."""

import time
from pathlib import Path

import cv2
import huggingface_hub
import numpy as np
import pandas as pd
import pytest
import timm
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from reidkit.core import ConfigError, DataError, MismatchError, OfflineError
from reidkit.embed.backbones import create_backbone, feature_size, load_weights, resample_position_table
from reidkit.embed.baselines import clip_histogram, colour_histogram, random_embeddings
from reidkit.embed.embedder import ViTEmbedder, embed_folder, embed_frames, embed_table, load_embedder
from reidkit.embed.heads import EmbeddingHead
from reidkit.embed.pooling import masked_mean, pool_central, pool_frames, unit

SMALL = {"depth": 1, "embed_dim": 48, "num_heads": 3, "patch_size": 16}
VIT = "vit_tiny_patch16_224"
quick = settings(max_examples=25, deadline=None)


def make_model(**kwargs) -> ViTEmbedder:
    torch.manual_seed(0)
    return ViTEmbedder(
        **({"backbone": VIT, "image_size": (64, 32), "embed_dim": 24, "backbone_args": SMALL} | kwargs)
    )


@pytest.fixture(scope="module")
def model() -> ViTEmbedder:
    """A small embedder whose neck has seen a batch, in evaluation mode."""
    model = make_model(num_classes=5)
    with torch.no_grad():
        model(torch.randn(8, 4, 3, 64, 32))
    return model.eval()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Seven numbered images of one sequence, and a text file that is none."""
    random = np.random.default_rng(0)
    for index in range(7):
        cv2.imwrite(str(tmp_path / f"frame{index}.png"), random.integers(0, 255, (70, 40, 3), dtype=np.uint8))
    (tmp_path / "notes.txt").write_text("not an image")
    return tmp_path


# pooling


@quick
@given(st.integers(1, 4), st.integers(1, 9), st.integers(0, 10_000), st.booleans())
def test_pooling_ignores_order_and_padding(batch, length, seed, frame_norm):
    random = torch.Generator().manual_seed(seed)
    frames = torch.randn(batch, length, 6, generator=random)
    mask = torch.rand(batch, length, generator=random) < 0.7
    order = torch.randperm(length, generator=random)
    for pool in (lambda f, m: pool_frames(f, m, frame_norm), pool_central, masked_mean):
        pooled = pool(frames, mask)
        torch.testing.assert_close(pool(frames[:, order], mask[:, order]), pooled)
        torch.testing.assert_close(pool(frames.masked_fill(~mask[..., None], float("nan")), mask), pooled)
        assert (pooled[~mask.any(1)] == 0).all()
        for row in range(batch):
            if mask[row].any():
                alone = pool(frames[row : row + 1, mask[row]], None)
                torch.testing.assert_close(alone[0], pooled[row])
    lengths = pool_frames(frames, mask, frame_norm).norm(dim=1)
    torch.testing.assert_close(lengths, mask.any(1).float())


def test_unit_gradient_at_zero_is_tame():
    zero = torch.zeros(2, 3, requires_grad=True)
    unit(zero).sum().backward()
    assert unit(zero).abs().sum() == 0 and zero.grad.abs().max() <= 1


def test_central_pooling_resists_intruders():
    random = torch.Generator().manual_seed(0)
    truth, intruder = unit(torch.randn(2, 64, generator=random))
    frames = torch.cat([truth.expand(60, -1), intruder.expand(40, -1)])[None]
    frames = frames + 0.1 * torch.randn(frames.shape, generator=random)
    assert pool_frames(frames)[0] @ truth <= 0.86 < 0.9 <= pool_central(frames)[0] @ truth


# backbones


@pytest.mark.parametrize("size", [(256, 128), (384, 192)])
def test_square_weights_fit_other_sizes(size, tmp_path):
    torch.manual_seed(0)
    state = timm.create_model(VIT, **SMALL).state_dict()
    torch.save({"state_dict": state}, tmp_path / "square.pth")
    network = create_backbone(VIT, size, tmp_path / "square.pth", SMALL)
    table = resample_position_table(state["pos_embed"], (14, 14), (size[0] // 16, size[1] // 16))
    torch.testing.assert_close(network.pos_embed.detach(), table)
    torch.testing.assert_close(network.blocks[0].attn.qkv.weight.detach(), state["blocks.0.attn.qkv.weight"])
    with torch.inference_mode():
        assert network.eval()(torch.rand(1, 3, *size)).isfinite().all()


def test_weights_that_do_not_fit_are_refused(tmp_path):
    backbone = create_backbone(VIT, (64, 32), backbone_args=SMALL)
    state = backbone.state_dict()
    with pytest.raises(MismatchError, match="lacks 1 of the"):
        load_weights(backbone, {key: value for key, value in state.items() if key != "norm.weight"})
    with pytest.raises(MismatchError, match="size mismatch"):
        load_weights(backbone, {**state, "norm.weight": torch.zeros(7)})
    with pytest.raises(DataError, match="no weights file"):
        load_weights(backbone, tmp_path / "absent.pth")
    (tmp_path / "text.pth").write_text("hello")
    with pytest.raises(DataError, match="no readable weights"):
        load_weights(backbone, tmp_path / "text.pth")


def test_offline_is_an_answer_within_seconds(monkeypatch, tmp_path):
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", "http://127.0.0.1:9")  # nobody listens there
    start = time.perf_counter()
    with pytest.raises(OfflineError, match="set pretrained: false"):
        create_backbone("vit_tiny_patch16_224", pretrained=True)
    assert time.perf_counter() - start < 30  # timm alone retries for longer


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"backbone": "vit_tiny_patch16_225"}, "vit_tiny_patch16_224"),
        ({"image_size": (60, 32)}, "multiple of the 16×16"),
        ({"backbone_args": {"dept": 3}}, "dept"),
        ({"backbone_args": {"embed_dim": 50, "num_heads": 3}}, "rejects"),
        ({"embed_dim": 0}, "embed_dim 0"),
        ({"dropout": 1.5}, "dropout 1.5"),
    ],
)
def test_wrong_options_are_named(arguments, message):
    with pytest.raises(ConfigError, match=message):
        make_model(**arguments)


# head


def test_neck_bias_stays_zero_in_training():
    head = EmbeddingHead(16, 8, num_classes=3)
    optimiser = torch.optim.SGD([p for p in head.parameters() if p.requires_grad], lr=0.5, weight_decay=0.1)
    for step in range(10):
        optimiser.zero_grad()
        _, after = head(torch.randn(12, 16, generator=torch.Generator().manual_seed(step)) + 3)
        torch.nn.functional.cross_entropy(head.classifier(after), torch.arange(12) % 3).backward()
        optimiser.step()
    assert not head.neck.bias.requires_grad and head.neck.bias.abs().max() == 0
    assert head.classifier.bias is None


# embedder


@quick
@given(st.integers(1, 3), st.integers(1, 6), st.integers(0, 10_000))
def test_embedding_of_any_batch(model, batch, length, seed):
    random = torch.Generator().manual_seed(seed)
    frames = torch.randn(batch, length, 3, 64, 32, generator=random)
    mask = torch.rand(batch, length, generator=random) < 0.7
    with torch.inference_mode():
        output = model(frames, mask)
        order = torch.randperm(length, generator=random)
        shuffled = model(frames[:, order], mask[:, order])
        rows = [model(frames[i : i + 1, mask[i]]) for i in range(batch) if mask[i].any()]
    assert output.logits is None and output.embedding.dtype == torch.float32
    torch.testing.assert_close(output.embedding.norm(dim=1), mask.any(1).float(), atol=1e-5, rtol=0)
    torch.testing.assert_close(shuffled.embedding, output.embedding, atol=1e-5, rtol=0)
    for name in ("embedding", "features"):
        alone = [getattr(row, name) for row in rows]
        if alone:
            found = getattr(output, name)[mask.any(1)]
            torch.testing.assert_close(torch.cat(alone), found, atol=1e-5, rtol=1e-4)


def test_training_output_and_gradients():
    model = make_model(num_classes=5, dropout=0.1)
    output = model(torch.randn(4, 3, 3, 64, 32), torch.tensor([[True, True, False]] * 4))
    assert [tuple(part.shape) for part in output] == [(4, 24), (4, 24), (4, 5)]
    (output.logits.square().sum() + output.features.square().sum()).backward()
    without = [name for name, p in model.named_parameters() if p.requires_grad and p.grad is None]
    assert without == []


def test_one_sequence_of_one_frame_can_be_trained_on():
    output = make_model(num_classes=2)(torch.randn(1, 1, 3, 64, 32))
    assert output.logits.isfinite().all() and output.embedding.norm().item() == pytest.approx(1, abs=1e-5)


@quick
@given(st.integers(1, 40), st.integers(0, 1000))
def test_stream_is_independent_of_chunk_and_order(model, chunk, seed):
    random = torch.Generator().manual_seed(3)
    lengths = [5, 0, 1, 9]
    clips = [torch.randn(length, 3, 64, 32, generator=random) for length in lengths]
    stream = [(row, frame) for row, clip in enumerate(clips) for frame in clip]
    order = torch.randperm(len(stream), generator=torch.Generator().manual_seed(seed))
    found = embed_frames(model, [stream[int(i)] for i in order], len(lengths), chunk)
    with torch.inference_mode():
        expected = [model(clip[None]).embedding[0].numpy() if len(clip) else np.zeros(24) for clip in clips]
    np.testing.assert_allclose(found, np.stack(expected), atol=1e-5)


def test_half_precision_gives_unit_float32(model):
    with torch.inference_mode(), torch.autocast("cpu", dtype=torch.bfloat16):
        output = model(torch.randn(2, 3, 3, 64, 32))
    assert output.embedding.dtype == output.features.dtype == torch.float32
    torch.testing.assert_close(output.embedding.norm(dim=1), torch.ones(2), atol=1e-5, rtol=0)


def test_same_seed_same_model():
    first, second = make_model().state_dict(), make_model().state_dict()
    assert all(torch.equal(first[key], second[key]) for key in first)


def test_pretrained_rescales_its_input(tmp_path):
    state = timm.create_model(VIT, **SMALL).state_dict()
    torch.save(state, tmp_path / "weights.pth")
    model = make_model(pretrained=tmp_path / "weights.pth")
    black = -torch.tensor([0.485, 0.456, 0.406]) / torch.tensor([0.229, 0.224, 0.225])
    scaled = black[:, None, None] * model.input_scale + model.input_shift
    torch.testing.assert_close(
        scaled.flatten(), torch.full((3,), -1.0), atol=1e-5, rtol=0
    )  # ½, ½ for this ViT
    assert make_model().input_scale.flatten().tolist() == [1, 1, 1]
    assert "pretrained" not in model.config


# files


def row_of(folder: Path, **more) -> dict:
    row = {"split": "val", "role": "query", "person_id": 1, "camera_id": 0, "sequence_id": 0}
    return row | {"frames_dir": str(folder), "num_frames": 7} | more


def test_folder_and_table_agree(model, folder):
    one = embed_folder(model, folder, chunk=3)
    names = [f"frame{index}.png" for index in range(7)]
    boxes = [[0, 0, 40, 70]] * 7
    rows = [{}, {"frames": names, "boxes": boxes}, {"frames": names[:1], "num_frames": 1}]
    table = pd.DataFrame([row_of(folder, **({"frames": None, "boxes": None} | row)) for row in rows])
    for chunk in (1, 4, 64):
        many = embed_table(model, table, chunk=chunk)
        assert many.dtype == np.float32 and many.shape == (3, 24)
        np.testing.assert_allclose(many[:2], np.stack([one, one]), atol=1e-5)
        assert np.abs(many[2] - one).max() > 1e-3


def test_folder_errors(model, folder, tmp_path_factory):
    with pytest.raises(DataError, match="holds no image"):
        embed_folder(model, tmp_path_factory.mktemp("empty"))
    with pytest.raises(DataError, match="not a folder"):
        embed_folder(model, folder / "absent")
    table = pd.DataFrame([row_of(folder, boxes=[[0, 0, 9, 9]] * 3)])
    with pytest.raises(DataError, match=r"boxes.*as many entries as num_frames"):
        embed_table(model, table)
    (folder / "frame3.png").write_bytes(b"broken")
    with pytest.raises(DataError, match=r"frame3\.png"):
        embed_folder(model, folder)


def test_frames_are_counted(model, tmp_path):
    folder = tmp_path / "two"
    folder.mkdir()
    for index in range(2):
        cv2.imwrite(str(folder / f"{index}.png"), np.zeros((64, 32, 3), np.uint8))
    with pytest.raises(DataError, match=r"row 0 .* has 2 images where num_frames says 7: correct it"):
        embed_table(model, pd.DataFrame([row_of(folder)]))


def test_empty_table(model):
    columns = list(row_of(Path()))
    assert embed_table(model, pd.DataFrame(columns=columns)).shape == (0, 24)


def save(path: Path, model: ViTEmbedder, **changes) -> Path:
    torch.save({"version": 1, "model": model.state_dict(), "model_config": model.config} | changes, path)
    return path


def test_checkpoint_round_trip(model, tmp_path):
    again = load_embedder(save(tmp_path / "best.pth", model))
    frames = torch.randn(2, 3, 3, 64, 32)
    with torch.inference_mode():
        assert torch.equal(again(frames).embedding, model(frames).embedding)
    recipe = tmp_path / "config.yaml"
    recipe.write_text(
        f"data: {{image_size: [64, 32]}}\nmodel: {{backbone: {VIT}, pretrained: true, embed_dim: 24}}\n"
    )
    assert not load_embedder(tmp_path / "best.pth", recipe).training


def test_checkpoint_refusals(model, tmp_path):
    best = save(tmp_path / "best.pth", model)
    recipe = tmp_path / "config.yaml"
    recipe.write_text("data: {image_size: [128, 64]}\n")
    with pytest.raises(MismatchError, match=r"image_size \[128, 64\]"):
        load_embedder(best, recipe)
    with pytest.raises(MismatchError, match="layout 2"):
        load_embedder(save(tmp_path / "new.pth", model, version=2))
    with pytest.raises(MismatchError, match="does not fit"):
        load_embedder(save(tmp_path / "wide.pth", model, model_config=model.config | {"embed_dim": 25}))
    with pytest.raises(MismatchError, match="no embedder checkpoint"):
        torch.save(model.state_dict(), tmp_path / "bare.pth")
        load_embedder(tmp_path / "bare.pth")
    torch.save({"version": 1, "model": pd.DataFrame(), "model_config": {}}, tmp_path / "unsafe.pth")
    (tmp_path / "short.pth").write_bytes(best.read_bytes()[:1000])
    for name in ("unsafe.pth", "short.pth"):
        with pytest.raises(DataError, match=name):
            load_embedder(tmp_path / name)
    with pytest.raises(DataError, match="There is no checkpoint"):
        load_embedder(tmp_path / "absent.pth")


# baselines


def test_colour_histogram_is_a_unit_vector_of_colours(folder):
    random = np.random.default_rng(0)
    clip = random.integers(0, 255, (3, 40, 20, 3), dtype=np.uint8)
    vector = colour_histogram(clip)
    assert vector.dtype == np.float32 and np.linalg.norm(vector) == pytest.approx(1, abs=1e-5)
    np.testing.assert_allclose(clip_histogram(clip[::-1, :, ::-1]), vector, atol=1e-5)  # order and mirror
    table = pd.DataFrame([row_of(folder), row_of(folder)])
    np.testing.assert_array_equal(colour_histogram(table), np.stack([colour_histogram(folder)] * 2))
    assert np.isfinite(clip_histogram(np.zeros((1, 8, 8, 3), np.uint8))).all()


def test_random_embeddings_are_chance():
    vectors = random_embeddings(400, 64, seed=1)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    assert abs(float((vectors @ vectors.T)[np.triu_indices(400, 1)].mean())) < 0.005
    np.testing.assert_array_equal(vectors, random_embeddings(400, 64, seed=1))
    assert not np.array_equal(vectors, random_embeddings(400, 64, seed=2))


def test_backbone_with_a_square_patch_as_one_number():
    """XCiT keeps `patch_size` as an int, ViT as a pair; both check the image size."""
    backbone = create_backbone("xcit_nano_12_p16_224", (64, 32), backbone_args={"depth": 1})
    assert backbone(torch.zeros(1, 3, 64, 32)).shape == (1, feature_size(backbone))
    with pytest.raises(ConfigError, match="patch_size"):
        create_backbone("xcit_nano_12_p16_224", (60, 32), backbone_args={"depth": 1})
