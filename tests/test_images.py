"""Image files of every kind, whole and damaged, and what is cut out of them."""

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from reidkit.core import DataError, generator
from reidkit.data.images import FrameReader, crop, decode_image, load_clip, load_crops
from reidkit.data.transforms import resize


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    pixels = generator(0).integers(0, 256, (12, 8, 3), dtype=np.uint8)
    Image.fromarray(pixels).resize((80, 120)).save(tmp_path / "a.jpg")
    return tmp_path / "a.jpg"


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".tiff", ".webp"])
@pytest.mark.parametrize("mode", ["RGB", "L", "P"])
def test_formats_and_modes(tmp_path: Path, suffix: str, mode: str) -> None:
    pixels = generator(0).integers(0, 256, (20, 10, 3), dtype=np.uint8)
    image = Image.fromarray(pixels).convert(mode)
    path = tmp_path / f"a b ü{suffix}"
    image.save(path, lossless=True) if suffix == ".webp" else image.save(path)
    np.testing.assert_array_equal(decode_image(path), np.asarray(image.convert("RGB")))


def test_sixteen_bits_and_turned_images(tmp_path: Path) -> None:
    deep = (np.arange(200).reshape(20, 10) * 256).astype(np.uint16)
    Image.fromarray(deep).save(tmp_path / "deep.png")
    np.testing.assert_array_equal(decode_image(tmp_path / "deep.png")[..., 0], deep >> 8)
    image = Image.new("RGB", (10, 20))
    exif = image.getexif()
    exif[274] = 6  # the camera was held sideways
    image.save(tmp_path / "turned.jpg", exif=exif)
    turned = decode_image(tmp_path / "turned.jpg")
    assert turned.shape == (10, 20, 3) and turned.flags.c_contiguous


@pytest.mark.parametrize("content", [b"", b"hello", b"\xff\xd8", b"\x89PNG\r\n", None])
def test_damaged_images_are_named(picture: Path, content: bytes | None) -> None:
    bad = picture.with_name("bad.jpg")
    bad.write_bytes(picture.read_bytes()[:400] if content is None else content)
    with pytest.raises(DataError, match=r"bad\.jpg is damaged or no image"):
        decode_image(bad)


@given(
    st.tuples(st.floats(-50, 90), st.floats(-50, 90), st.floats(0.01, 200), st.floats(0.01, 200)),
)
def test_crops_stay_inside(box: tuple[float, float, float, float]) -> None:
    image = np.zeros((60, 40, 3), np.uint8)
    x, y, w, h = box
    try:
        part = crop(image, [x, y, x + w, y + h])
    except DataError:
        assert x + w < 1 or y + h < 1 or x >= 39 or y >= 59
    else:
        assert 1 <= part.shape[0] <= 60 and 1 <= part.shape[1] <= 40


def test_a_clip_from_boxes(picture: Path) -> None:
    clip = load_clip([picture], (64, 32), [[0, 0, 40, 60]])
    assert clip.shape == (1, 3, 64, 32) and clip.dtype == torch.uint8
    with pytest.raises(DataError, match=r"a\.jpg: The box"):
        load_clip([picture], (64, 32), [[90, 0, 140, 60]])


def test_a_suffix_decides_nothing(picture: Path) -> None:
    expected = decode_image(picture)
    for suffix in (".png", ".bmp", ""):
        other = picture.with_suffix(suffix)
        other.write_bytes(picture.read_bytes())
        np.testing.assert_array_equal(decode_image(other), expected)
    Image.fromarray(expected).save(picture, "BMP")
    np.testing.assert_array_equal(decode_image(str(picture)), expected)


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".tiff"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_orientation(tmp_path: Path, suffix: str, orientation: int) -> None:
    pixels = generator(0).integers(0, 256, (6, 4, 3), dtype=np.uint8).repeat(8, 0).repeat(8, 1)
    exif = Image.Exif()
    exif[274] = orientation
    path = tmp_path / f"a{suffix}"
    Image.fromarray(pixels).save(path, exif=exif, lossless=True)
    turned = [pixels, pixels[:, ::-1], pixels[::-1, ::-1], pixels[::-1]]
    turned += [np.rot90(image, k) for image, k in ((pixels[:, ::-1], 1), (pixels, 3))]
    turned += [np.rot90(pixels[:, ::-1], 3), np.rot90(pixels, 1)]
    found, expected = decode_image(path).astype(int), turned[orientation - 1].astype(int)
    assert found.shape == expected.shape
    assert np.abs(found - expected).mean() < (20 if suffix == ".jpg" else 0.01)


@pytest.mark.parametrize(("mode", "suffix"), [("CMYK", ".jpg"), ("L", ".jpg"), ("LA", ".png"), ("1", ".png")])
def test_other_colours_are_as_pillow_reads_them(picture: Path, mode: str, suffix: str) -> None:
    path = picture.with_name(f"other{suffix}")
    Image.open(picture).convert(mode).save(path)
    with Image.open(path) as image:
        np.testing.assert_array_equal(decode_image(path), np.asarray(image.convert("RGB")))


def test_sixteen_bit_grey_and_colour(tmp_path: Path) -> None:
    grey = generator(0).integers(0, 65536, (20, 10), dtype=np.uint16)
    Image.fromarray(grey).save(tmp_path / "grey.tif")
    for channel in range(3):
        np.testing.assert_array_equal(decode_image(tmp_path / "grey.tif")[..., channel], grey >> 8)
    colour = generator(0).integers(0, 65536, (20, 10, 3), dtype=np.uint16)
    cv2.imwrite(str(tmp_path / "colour.png"), colour[..., ::-1])
    np.testing.assert_array_equal(decode_image(tmp_path / "colour.png"), colour >> 8)
    Image.fromarray(grey.astype(np.float32)).save(tmp_path / "float.tif")
    with pytest.raises(DataError, match=r"float\.tif is damaged or no image"):
        decode_image(tmp_path / "float.tif")


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"subsampling": 0}])
def test_no_truncated_jpeg_passes(picture: Path, options: dict) -> None:
    Image.open(picture).save(picture.with_name("b.jpg"), **options)
    content = picture.with_name("b.jpg").read_bytes()
    for length in [*range(0, len(content), 17), len(content) - 2, len(content) - 1]:
        picture.write_bytes(content[:length])
        with pytest.raises(DataError, match=r"a\.jpg"):
            decode_image(picture)


def test_folders_and_missing_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"gone\.jpg does not exist"):
        decode_image(tmp_path / "gone.jpg")
    with pytest.raises(DataError, match="cannot be read"):
        decode_image(tmp_path)


def test_crops_of_one_image_are_crops_one_by_one(picture: Path) -> None:
    boxes = [[0, 0, 40, 60], None, [-10, 30.4, 30, 500], [3, 3, 4, 4]]
    found = load_crops(picture, boxes, (64, 32))
    assert torch.equal(found, load_clip([picture] * 4, (64, 32), boxes)) and found.is_contiguous()
    image = torch.from_numpy(decode_image(picture)).permute(2, 0, 1)[None]
    assert torch.equal(found[1], resize(image, (64, 32))[0])
    assert torch.equal(found[0], resize(image[..., :60, :40], (64, 32))[0])
    assert load_crops(picture, [], (64, 32)).shape == load_clip([], (64, 32)).shape == (0, 3, 64, 32)


def test_a_reader_with_a_cache_reads_the_same(picture: Path) -> None:
    files = ([str(picture)] * 3, [None, [0, 0, 9, 9], None])
    reader = FrameReader((64, 32), cache_mb=2 * 3 * 64 * 32 / 1e6)
    for _ in range(2):
        assert torch.equal(reader(*files), FrameReader((64, 32))(*files))
    assert len(reader.frames) == 2
    picture.unlink()
    reader(*files)


@pytest.mark.parametrize("place", [33, 700, 7027, -40])
def test_one_wrong_byte_in_a_png_is_an_error_and_no_crash(tmp_path: Path, place: int) -> None:
    pixels = generator(0).integers(0, 256, (120, 80, 3), dtype=np.uint8)
    content = bytearray(cv2.imencode(".png", pixels)[1].tobytes())
    content[place] ^= 0x10
    (tmp_path / "b.png").write_bytes(content)
    with pytest.raises(DataError, match=r"b\.png is damaged"):
        decode_image(tmp_path / "b.png")


def test_what_is_no_image_never_reaches_pillow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "open", lambda *_: pytest.fail("ultralytics would install a package here"))
    for content in (b"", b"<html>404</html>"):
        (tmp_path / "a.jpg").write_bytes(content)
        with pytest.raises(DataError, match=r"a\.jpg is damaged or no image"):
            decode_image(tmp_path / "a.jpg")


@pytest.mark.parametrize(
    "box",
    [
        (-10, -10, -1, -1),
        (-10, 5, -2, 20),
        (5, -9, 9, 0),
        (40, 5, 50, 9),
        (0, 0, float("nan"), 9),
        (0, 0, float("inf"), 9),
    ],
)
def test_a_box_that_shows_nothing_is_refused(box: tuple[float, ...]) -> None:
    with pytest.raises(DataError, match="lies outside the image of 40 × 60 pixels"):
        crop(np.zeros((60, 40, 3), np.uint8), box)
