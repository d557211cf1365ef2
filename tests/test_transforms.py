"""Transforms hold for any clip: rates, ranges, consistent frames, and nothing drawn by what is off."""

import math
import pickle
from collections.abc import Callable

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torchvision.transforms.v2 import functional as vision

from reidkit.core import ConfigError, DataError, generator
from reidkit.data.transforms import (
    ClipTransform,
    colour_matrix,
    denormalise,
    draw_occlusion,
    draw_rectangle,
    eval_transform,
    hue_matrix,
    jitter_and_normalise,
    luma,
    normalise,
    pencil_sketch,
    random_erasing,
    random_flip,
    random_grey_patches,
    random_modality,
    random_occluder,
    random_rotation,
    random_shift,
    to_grey,
    train_transform,
)

EVERYTHING = {
    "rotation": 90.0,
    "occlusion": 0.5,
    "hue": 0.1,
    "local_grey": 0.35,
    "grey": 0.05,
    "grey_channels": 0.05,
    "sketch_channels": 0.05,
    "erasing_noise": 1.0,
}
sizes = st.tuples(st.integers(1, 5), st.integers(8, 48), st.integers(8, 48))


def random_clip(frames: int = 2, height: int = 24, width: int = 12, seed: int = 0) -> Tensor:
    pixels = generator(seed, "clip").integers(0, 256, (frames, 3, height, width), dtype=np.uint8)
    return torch.from_numpy(pixels)


def plain_today(clip: Tensor, size: tuple[int, int], stream: np.random.Generator) -> Tensor:
    """The chain of version 0.1 with its default settings, written out: the published figures rest on it."""
    clip = clip if tuple(clip.shape[-2:]) == size else vision.resize(clip, list(size), antialias=True)
    clip = clip.flip(-1) if stream.random() < 0.5 else clip
    down, right = stream.integers(-10, 11, 2).tolist()
    clip = vision.crop(vision.pad(clip, [10]), 10 - down, 10 - right, *size)
    b, c, s = (stream.uniform(0.8, 1.2) for _ in range(3))
    gains = stream.uniform(0.85, 1.15, 3)
    gains /= gains.mean()
    grey = torch.tensor((0.299, 0.587, 0.114))
    mean = float(clip[..., ::4, ::4].float().mean((0, 2, 3)) @ grey)
    mix = s * np.eye(3) + (1 - s) * np.array([[0.299, 0.587, 0.114]])
    matrix = torch.from_numpy((b * c * gains[:, None] * mix).astype(np.float32))
    pivot = torch.from_numpy((b * (1 - c) * gains).astype(np.float32))
    centre, scale = 255 * torch.tensor([0.485, 0.456, 0.406]), 255 * torch.tensor([0.229, 0.224, 0.225])
    pixels = clip.float().view(len(clip), 3, -1)
    matrix, pivot = matrix / scale[:, None], (pivot * mean - centre) / scale
    clip = torch.baddbmm(pivot[None, :, None], matrix.expand(len(clip), 3, 3), pixels).view(clip.shape)
    low, high = (-centre / scale).view(3, 1, 1), ((255 - centre) / scale).view(3, 1, 1)
    clip = clip.clamp(low, high)
    for frame in np.flatnonzero(stream.random(len(clip)) < 0.5):
        surface = stream.uniform(0.02, 0.4) * size[0] * size[1]
        aspect = math.exp(stream.uniform(math.log(0.3), math.log(3.3)))
        tall = min(size[0], round(math.sqrt(surface * aspect)))
        wide = min(size[1], round(math.sqrt(surface / aspect)))
        top, left = stream.integers(0, [size[0] - tall + 1, size[1] - wide + 1]).tolist()
        clip[frame, :, top : top + tall, left : left + wide] = 0
    return clip


@settings(max_examples=40, deadline=None)
@given(sizes, st.sampled_from([(64, 32), (32, 16), (48, 48)]), st.integers(0, 99))
def test_the_default_chain_is_what_it_always_was(shape, size: tuple[int, int], seed: int) -> None:
    clip = random_clip(*shape, seed=seed)
    mine, theirs = generator(seed, "x"), generator(seed, "x")
    assert torch.equal(train_transform(size)(clip, mine), plain_today(clip, size, theirs))
    assert mine.bit_generator.state == theirs.bit_generator.state


@settings(max_examples=40, deadline=None)
@given(sizes, st.integers(0, 99))
def test_any_clip_through_everything(shape, seed: int) -> None:
    clip = random_clip(*shape, seed=seed)
    before = clip.clone()
    transform = train_transform((40, 24), **EVERYTHING, occluders=random_clip(3, 10, 30))
    out = transform(clip, generator(seed))
    assert out.shape == (shape[0], 3, 40, 24) and out.dtype == torch.float32
    assert torch.isfinite(out).all() and torch.equal(clip, before)
    assert torch.equal(out, pickle.loads(pickle.dumps(transform))(clip, generator(seed)))


def test_a_clip_of_equal_frames_stays_one() -> None:
    """Whatever is drawn once per clip does the same to all frames."""
    clip = random_clip(1).expand(5, -1, -1, -1).contiguous()
    once: list[Callable[[np.random.Generator], Tensor]] = [
        lambda stream: random_flip(clip, stream),
        lambda stream: random_shift(clip, stream),
        lambda stream: random_rotation(clip, stream),
        lambda stream: jitter_and_normalise(clip, stream, hue=0.2),
        lambda stream: random_modality(
            normalise(clip), stream, local_grey=0, grey=0.3, grey_channels=0.3, sketch_channels=0.4
        ),
    ]
    for step in once:
        for seed in range(30):
            frames = step(generator(seed))
            assert torch.equal(frames, frames[:1].expand_as(frames))
    for per_frame in (random_erasing, random_grey_patches):
        frames = per_frame(normalise(clip), generator(0), probability=1)
        assert not torch.equal(frames, frames[:1].expand_as(frames))


@settings(max_examples=200, deadline=None)
@given(st.integers(20, 300), st.integers(20, 300), st.integers(0, 999))
def test_rectangles_of_any_frame(height: int, width: int, seed: int) -> None:
    rows, cols = draw_rectangle(generator(seed), height, width)
    tall, wide = rows.stop - rows.start, cols.stop - cols.start
    assert 0 <= rows.start and rows.stop <= height and 0 <= cols.start and cols.stop <= width
    half_a_pixel = (tall + wide) / 2 + 0.25
    assert tall * wide <= 0.4 * height * width + half_a_pixel
    if tall < height and wide < width:
        assert tall * wide >= 0.02 * height * width - half_a_pixel
        assert (tall - 0.5) / (wide + 0.5) <= 3.3 and (tall + 0.5) / (wide - 0.5) >= 0.3


def test_row_37_erased_area_and_fill() -> None:
    """5000 frames of a person's shape: half are erased, within the area, by the mean colour."""
    blank = torch.ones(5000, 3, 64, 32)
    gone = (random_erasing(blank, generator(0)) == 0).all(1).float().mean((1, 2))
    hit = gone[gone > 0]
    assert abs(len(hit) / 5000 - 0.5) < 0.02
    assert hit.min() >= 0.02 - 12 / 2048 and hit.max() <= 0.4 + 60 / 2048
    mean_colour = denormalise(torch.zeros(1, 3, 1, 1)).flatten().tolist()
    assert mean_colour == [round(255 * value) for value in (0.485, 0.456, 0.406)]


def test_row_37_rates_of_fuse_gray() -> None:
    clip = normalise(random_clip(1, 24, 12))
    colours = 0 < (clip - to_grey(clip)).abs().sum(1)  # all of noise has colours
    stream = generator(0, "rates")
    lost = [((random_modality(clip, stream) != clip).any(1) & colours).float().mean() for _ in range(5000)]
    share = torch.stack(lost)
    assert abs((share > 0.9).float().mean() - 0.05) < 0.02
    assert abs(((share > 0) & (share < 0.9)).float().mean() - 0.35) < 0.02


@settings(max_examples=50, deadline=None)
@given(st.integers(10, 60), st.integers(10, 60), st.integers(0, 99))
def test_row_37_grey_patches_have_equal_channels(height: int, width: int, seed: int) -> None:
    clip = jitter_and_normalise(random_clip(3, height, width, seed), generator(seed))
    patched = random_grey_patches(clip, generator(seed), probability=1)
    changed = (patched != clip).any(1)
    picture = denormalise(patched)
    assert ((picture == picture[:, :1]).all(1) | ~changed).all()
    rows = changed.any(2).sum(1)
    cols = changed.any(1).sum(1)
    assert (changed.sum((1, 2)) >= 0.95 * rows * cols).all()  # a rectangle, but for pixels that were grey


def test_after_the_whole_chain_a_grey_clip_is_grey() -> None:
    transform = train_transform((24, 12), grey=1.0, erasing=0.0)
    picture = denormalise(transform(random_clip(), generator(1)))
    assert torch.equal(picture, picture[:, :1].expand_as(picture)) and picture.float().std() > 0


def test_luma_is_torchvisions() -> None:
    clip = random_clip(3, 64, 32)
    reference = vision.rgb_to_grayscale(clip, 1)[:, 0].float()
    assert (luma(normalise(clip)) - reference).abs().max() <= 1
    other = {"mean": (0.5, 0.5, 0.5), "std": (0.5, 0.25, 0.125)}
    assert (luma(normalise(clip, **other), **other) - reference).abs().max() <= 1


def test_the_sketch_is_the_published_division() -> None:
    smooth = cv2.GaussianBlur(generator(0).integers(40, 256, (96, 64)).astype(np.uint8), (9, 9), 0)
    published = cv2.divide(smooth, 255 - cv2.GaussianBlur(255 - smooth, (27, 27), 0), scale=256)
    ours = pencil_sketch(torch.from_numpy(smooth)[None].float())[0].numpy()
    assert np.abs(ours - published).max() <= 3
    assert pencil_sketch(torch.zeros(1, 30, 30)).max() == 0
    assert pencil_sketch(torch.full((1, 30, 30), 200.0)).min() == 255


@pytest.mark.parametrize(
    ("name", "kind"), [("grey", 0), ("grey_channels", 1), ("sketch_channels", 2), ("local_grey", 3)]
)
def test_each_modality_alone(name: str, kind: int) -> None:
    clip = normalise(random_clip(2))
    off = dict.fromkeys(("local_grey", "grey", "grey_channels", "sketch_channels"), 0.0)
    outs = [random_modality(clip, generator(seed), **(off | {name: 1.0})) for seed in range(40)]
    same = sum(torch.equal(out, clip) for out in outs)
    assert same <= (3 if kind in (1, 2) else 0)  # one of 60 choices of planes is R, G, B
    if kind in (1, 2):
        assert len({tuple(out.flatten().tolist()) for out in outs}) > 20  # 60 orders of five planes
    stream = generator(3)
    assert torch.equal(random_modality(clip, stream, **off), clip)


def test_hue_against_hsv() -> None:
    """A third of the wheel: in HSV red becomes green; in the luma-keeping plane the strongest channel does."""
    for channel, turn in ((0, 1 / 3), (1, 1 / 3), (2, 1 / 3)):
        colour = np.eye(3)[channel]
        assert int(np.argmax(hue_matrix(turn) @ colour)) == (channel + 1) % 3
    drawn, _ = colour_matrix(generator(0), brightness=0, contrast=0, saturation=0, cast=0, hue=0.5)
    np.testing.assert_allclose(drawn.sum(1), 1, atol=1e-6)


@settings(max_examples=100, deadline=None)
@given(st.integers(1, 12), st.integers(8, 300), st.integers(8, 200), st.integers(0, 99))
def test_occlusions_fit(frames: int, height: int, width: int, seed: int) -> None:
    drawn = draw_occlusion(generator(seed), 5, frames, (height, width))
    assert 0 <= drawn.start < drawn.stop <= frames and 0 <= drawn.picture < 5
    assert 0.15 * height - 0.5 <= height - drawn.top <= 0.5 * height + 0.5
    clip = torch.zeros(frames, 3, height, width, dtype=torch.uint8)
    bank = torch.full((5, 3, height, width), 9, dtype=torch.uint8)
    covered = (random_occluder(clip, generator(seed), occluders=bank, probability=1) > 0).all(1)
    share = covered.float().mean((1, 2))
    assert 1 <= (share > 0).sum() <= frames and share.max() <= 0.5 + 1 / height
    assert not clip.any()


def test_rotation_is_torchvisions() -> None:
    clip = random_clip(2, 32, 32)
    stream = generator(0)
    stream.random()
    angle = float(stream.uniform(-90, 90))
    reference = vision.rotate(clip, angle, interpolation=vision.InterpolationMode.BILINEAR)
    assert torch.equal(random_rotation(clip, generator(0), probability=1), reference)


def test_noise_fills_alike_and_in_place_is_the_same() -> None:
    clip = normalise(random_clip(64, 64, 32))
    blank, noisy = (random_erasing(clip, generator(5), probability=1, noise=noise) for noise in (0, 2))
    first = blank[0] == 0
    assert abs(noisy[0][first].std() - 2) < 0.2 and not (noisy == 0).any()
    own = clip.clone()
    assert random_erasing(own, generator(5), probability=1, inplace=True) is own
    assert torch.equal(own, blank)


@pytest.mark.parametrize(
    ("options", "error", "says"),
    [
        ({"occlusion": 0.1}, ConfigError, "needs occluders: a tensor uint8"),
        ({"occlusion": 0.1, "occluders": torch.zeros(2, 3, 8, 8)}, ConfigError, "must be uint8 .*float32"),
        ({"occlusion": 0.1, "occluders": random_clip(0, 8, 8)}, ConfigError, "with M ≥ 1"),
        ({"flip": 1.5}, ConfigError, "flip = 1.5 must be 0 … 1"),
        ({"brightness": -0.1}, ConfigError, r"brightness = -0.1 must be 0 … 1"),
        ({"cast": math.nan}, ConfigError, "cast = nan must be 0 … 1"),
        ({"hue": 0.6}, ConfigError, r"hue = 0.6 must be 0 … 0\.5"),
        ({"padding": -1}, ConfigError, "padding = -1 must be 0 or more"),
        ({"grey": 0.7, "grey_channels": 0.4}, ConfigError, "must be at most 1: they exclude each other"),
    ],
)
def test_impossible_options(options: dict, error: type[Exception], says: str) -> None:
    with pytest.raises(error, match=says):
        train_transform(**options)


@pytest.mark.parametrize("clip", [torch.zeros(3, 8, 8, dtype=torch.uint8), torch.zeros(1, 3, 8, 8)])
def test_no_clip(clip: Tensor) -> None:
    for transform in (train_transform((8, 8)), eval_transform((8, 8)), ClipTransform((8, 8), [])):
        with pytest.raises(DataError, match=r"A clip is uint8 \[T, 3, H, W\]"):
            transform(clip)


@pytest.mark.parametrize("padding", [0, 9, 25, 5000])
def test_a_shift_may_be_larger_than_the_image(padding: int) -> None:
    clip = torch.arange(1, 1 + 2 * 3 * 16 * 8, dtype=torch.float32).reshape(2, 3, 16, 8)
    for seed in range(30):
        moved = random_shift(clip, generator(seed), padding)
        assert moved.shape == clip.shape and set(moved.unique().tolist()) <= {0, *clip.flatten().tolist()}
