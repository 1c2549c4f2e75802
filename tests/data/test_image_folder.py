"""Folders of images: what is read and in which order, how a picture is made, and every fault with its message."""

import os
import re
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fnn.data import Dataset, class_names, image_folder, read_images

Image = pytest.importorskip("PIL.Image", reason="reading pictures needs Pillow")

RNG = np.random.default_rng(0)
PIXELS = RNG.integers(0, 256, (4, 5, 6, 3), dtype=np.uint8)
NAMES = ["cat/10.png", "cat/9.png", "dog/1.png", "dog/a.png"]


def _save(file: Path, pixels: np.ndarray, **kind: Any) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(file, **kind)
    return file


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    # Written in an order that no system's listing turns into the sorted one, forwards or backwards.
    for i in (1, 0, 2, 3):
        _save(tmp_path / NAMES[i], PIXELS[i])
    return tmp_path


@pytest.mark.parametrize("kind", [Path, str])
def test_classes_and_images_come_in_sorted_order(folder: Path, kind: Callable[[Path], Any]) -> None:
    data = image_folder(kind(folder))
    assert isinstance(data, Dataset)
    assert isinstance(data.x, jax.Array)
    assert (data.x.dtype, data.y.dtype) == (jnp.uint8, jnp.int32)
    np.testing.assert_array_equal(data.x, PIXELS)
    np.testing.assert_array_equal(data.y, [0, 0, 1, 1])
    assert class_names(kind(folder)) == ("cat", "dog")


def test_what_is_no_image_is_passed_over(folder: Path) -> None:
    for name in ("cat/Thumbs.db", "cat/notes.txt", "dog/.hidden.png", "dog/._1.png", "readme.txt", ".git/x.png"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(b"nothing")
    (folder / "__MACOSX").mkdir()
    (folder / "cat" / "folder.png").mkdir()
    np.testing.assert_array_equal(image_folder(folder).x, PIXELS)
    assert class_names(folder) == ("cat", "dog")


@pytest.mark.parametrize("name", ["b.JPG", "b.jpeg", "b.Jpg", "b.PNG"])
def test_extensions_in_any_case_and_formats_by_content(folder: Path, name: str) -> None:
    for kind in ("PNG", "JPEG"):
        _save(folder / "dog" / name, PIXELS[0], format=kind)
        data = image_folder(folder)
        assert data.y.tolist() == [0, 0, 1, 1, 1]
        assert np.array_equal(data.x[-1], PIXELS[0]) == (kind == "PNG")


def test_many_files_in_threads_keep_their_places(tmp_path: Path) -> None:
    # Large enough in bytes that threads are used, and more than a block of files.
    pixels = RNG.integers(0, 256, (75, 80, 80, 3), dtype=np.uint8)
    for i, image in enumerate(pixels):
        _save(tmp_path / str(i % 2) / f"{i // 2:03}.png", image)
    data = image_folder(tmp_path)
    np.testing.assert_array_equal(data.x, np.concatenate([pixels[::2], pixels[1::2]]))
    np.testing.assert_array_equal(data.y, [0] * 38 + [1] * 37)


def test_grey_is_a_channel_of_its_own(folder: Path) -> None:
    data = image_folder(folder, channels=1)
    assert data.x.shape == (4, 5, 6, 1)
    luma = PIXELS @ np.array([0.299, 0.587, 0.114])
    np.testing.assert_allclose(data.x[..., 0], luma, atol=1)


def _rgb(colour: tuple[int, ...], mode: str = "RGB") -> Any:
    return Image.new(mode, (3, 2), colour)


def _palette(transparent: bool) -> Any:
    image = Image.new("P", (3, 2), 1)
    image.putpalette([0, 0, 0, 10, 200, 30])
    if transparent:
        image.info["transparency"] = bytes([255, 0])
    return image


MODES: dict[str, tuple[Callable[[], Any], tuple[int, int, int]]] = {
    "colour": (lambda: _rgb((1, 2, 3)), (1, 2, 3)),
    "grey": (lambda: Image.new("L", (3, 2), 77), (77, 77, 77)),
    "black and white": (lambda: Image.new("1", (3, 2), 1), (255, 255, 255)),
    "16 bits of grey": (lambda: Image.fromarray(np.full((2, 3), 40_000, np.uint16)), (155, 155, 155)),
    "16 bits of white": (lambda: Image.fromarray(np.full((2, 3), 65_535, np.uint16)), (255, 255, 255)),
    "palette": (lambda: _palette(False), (10, 200, 30)),
    "transparent palette": (lambda: _palette(True), (255, 255, 255)),
    "opaque": (lambda: _rgb((1, 2, 3, 255), "RGBA"), (1, 2, 3)),
    "transparent": (lambda: _rgb((1, 2, 3, 0), "RGBA"), (255, 255, 255)),
    "half transparent": (lambda: _rgb((0, 100, 200, 51), "RGBA"), (204, 224, 244)),
    "transparent grey": (lambda: Image.new("LA", (3, 2), (0, 51)), (204, 204, 204)),
}


@pytest.mark.parametrize("mode", MODES)
def test_every_mode_becomes_colour_on_white(tmp_path: Path, mode: str) -> None:
    make, colour = MODES[mode]
    make().save(tmp_path / "x.png")
    x = np.asarray(read_images([tmp_path / "x.png"]))
    np.testing.assert_allclose(x, np.broadcast_to(colour, (1, 2, 3, 3)), atol=1)
    grey = np.asarray(read_images([tmp_path / "x.png"], channels=1))
    np.testing.assert_allclose(grey, np.full((1, 2, 3, 1), np.dot(colour, [0.299, 0.587, 0.114])), atol=1.5)


def test_a_printers_jpeg(tmp_path: Path) -> None:
    Image.new("CMYK", (8, 8), (0, 255, 255, 0)).save(tmp_path / "x.jpg")
    np.testing.assert_allclose(np.asarray(read_images([tmp_path / "x.jpg"]), int)[0, 4, 4], [255, 0, 0], atol=4)


# How a picture is stored for each orientation of EXIF, so that it is seen as it was.
STORED: dict[int, Callable[[np.ndarray], np.ndarray]] = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: np.rot90(a),
    7: lambda a: a.swapaxes(0, 1)[::-1, ::-1],
    8: lambda a: np.rot90(a, -1),
}


@pytest.mark.parametrize("orientation", STORED)
@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_pictures_stand_upright(tmp_path: Path, orientation: int, kind: str) -> None:
    upright = np.zeros((16, 32, 3), np.uint8)
    upright[:8, :16] = 255, 0, 0
    exif = Image.Exif()
    exif[0x0112] = orientation
    _save(tmp_path / "x.png", np.ascontiguousarray(STORED[orientation](upright)), format=kind, exif=exif)
    x = np.asarray(read_images([tmp_path / "x.png"]), int)
    assert x.shape == (1, 16, 32, 3)
    assert abs(x[0, :7, :15] - upright[:7, :15]).mean() < 12
    assert abs(x[0] - upright).mean() < 12


def test_the_middle_is_cut_out_and_nothing_is_distorted(tmp_path: Path) -> None:
    wide = np.zeros((40, 100, 3), np.uint8)
    wide[:, 30:70] = 255
    files = [_save(tmp_path / "wide.png", wide), _save(tmp_path / "high.png", wide.swapaxes(0, 1))]
    # At the border it takes in a little of what lies beyond, as the whole picture scaled would.
    np.testing.assert_array_equal(np.asarray(read_images(files, size=8))[:, 1:-1, 1:-1], 255)
    # A disc stays one: as wide as it is high.
    rows, columns = np.mgrid[:120, :200]
    disc = (((rows - 60) ** 2 + (columns - 100) ** 2) < 40**2).astype(np.uint8)[..., None] * np.full(3, 255, np.uint8)
    small = np.asarray(read_images([_save(tmp_path / "disc.png", disc)], size=(30, 30)))[0, ..., 0] > 127
    assert abs(int(small.any(axis=0).sum()) - int(small.any(axis=1).sum())) <= 1
    assert read_images(files, size=(8, 20)).shape == (2, 8, 20, 3)


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_small_ones_are_antialiased_means(tmp_path: Path, kind: str) -> None:
    # A fine chessboard: every eighth pixel of it would be black, its mean is grey.
    board = ((np.indices((256, 256)).sum(axis=0) % 2) * 255).astype(np.uint8)[..., None].repeat(3, axis=-1)
    x = np.asarray(read_images([_save(tmp_path / "x.png", board, format=kind)], size=16))
    np.testing.assert_allclose(x, 127, atol=4)


def test_large_photographs_keep_their_look(tmp_path: Path) -> None:
    # Decoded at a part of its size, a JPEG gives nearly what the whole gives.
    ramp = np.stack(np.meshgrid(np.arange(1024), np.arange(512)), axis=-1) // 4
    pixels = np.concatenate([ramp, 255 - ramp[..., :1]], axis=-1).astype(np.uint8)
    file = _save(tmp_path / "x.jpg", pixels, quality=95)
    _save(tmp_path / "x.png", np.asarray(Image.open(file)))
    x = np.asarray(read_images([file, tmp_path / "x.png"], size=(32, 64)), int)
    assert abs(x[0] - x[1]).max() <= 3


def test_a_picture_of_the_size_is_not_touched(folder: Path) -> None:
    np.testing.assert_array_equal(image_folder(folder, (5, 6)).x, PIXELS)
    assert image_folder(folder, 12).x.shape == (4, 12, 12, 3)


def test_read_images_keeps_the_order_given(folder: Path) -> None:
    files = [str(folder / name) for name in NAMES]
    np.testing.assert_array_equal(read_images(files[::-1]), PIXELS[::-1])
    np.testing.assert_array_equal(read_images(tuple(map(Path, files)), size=4), image_folder(folder, 4).x)


JPEG = b"\xff\xd8\xff\xe0"


def _cut(kind: str, share: float) -> Callable[[Path], None]:
    def write(file: Path) -> None:
        whole = _save(file, RNG.integers(0, 256, (50, 60, 3), dtype=np.uint8), format=kind).read_bytes()
        file.write_bytes(whole[: int(len(whole) * share)])

    return write


BAD: dict[str, tuple[Callable[[Path], Any], str]] = {
    "empty": (lambda file: file.write_bytes(b""), r"got an empty file"),
    "a web page": (lambda file: file.write_text("<!DOCTYPE html>"), r"got something else"),
    "a GIF": (lambda file: _save(file, PIXELS[0], format="GIF"), r"got something else"),
    "the start of a JPEG": (lambda file: file.write_bytes(JPEG), r"got (something else|a spoilt one)"),
    "a truncated JPEG": (_cut("JPEG", 0.6), r"got a spoilt one \(.*truncated"),
    "a truncated PNG": (_cut("PNG", 0.6), r"got a spoilt one \("),
    "a PNG cut in its header": (_cut("PNG", 0.002), r"got (something else|a spoilt one)"),
    "a link to nowhere": (lambda file: file.symlink_to(file.parent / "gone.png"), r"got no such file"),
}


@pytest.mark.parametrize("fault", BAD)
@pytest.mark.parametrize("name", ["cat/0.png", "cat/99.png", "dog/z.jpg"])
def test_a_bad_file_is_named_or_skipped(folder: Path, fault: str, name: str) -> None:
    write, match = BAD[fault]
    write(folder / name)
    file = re.escape(str(folder / name))
    with pytest.raises(ValueError, match=rf'^{file}: {match}.*, expected a JPEG or PNG image\. .*bad="skip"'):
        image_folder(folder)
    error = FileNotFoundError if "no such file" in match else ValueError
    with pytest.raises(error, match=r"^paths: got" if error is FileNotFoundError else rf"^{file}: {match}"):
        read_images([folder / name])
    with pytest.warns(UserWarning, match=rf"^left out 1 of 5 files, not JPEG or PNG images: {file}: {match[4:]}"):
        data = image_folder(folder, bad="skip")
    np.testing.assert_array_equal(data.x, PIXELS)
    np.testing.assert_array_equal(data.y, [0, 0, 1, 1])


def test_many_bad_files_are_counted_in_one_warning(folder: Path) -> None:
    for i in range(9):
        (folder / "cat" / f"{i}{i}.png").write_bytes(b"no" * i)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        image_folder(folder, bad="skip")
    assert len(caught) == 1
    assert caught[0].filename == __file__, "the warning points to the caller's line"
    text = str(caught[0].message)
    assert text.startswith("left out 9 of 13 files")
    assert f"{folder}/cat/00.png: an empty file; " in text
    assert text.endswith("; and 4 more")


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read every file")
def test_a_file_that_may_not_be_read(folder: Path) -> None:
    (folder / NAMES[1]).chmod(0)
    with pytest.raises(ValueError, match=rf"{NAMES[1]}: got a spoilt one \(.*Permission denied"):
        image_folder(folder)


def test_mixed_sizes_name_two_files(folder: Path) -> None:
    _save(folder / "dog" / "0.png", np.zeros((7, 8, 3), np.uint8))
    first, odd = re.escape(str(folder / NAMES[0])), re.escape(str(folder / "dog" / "0.png"))
    match = rf"^{odd}: got 8x7 pixels, and 6x5 in {first}, expected images of one size\. Scale: size=\(height, width"
    for bad in ("refuse", "skip"):
        with pytest.raises(ValueError, match=match):
            image_folder(folder, bad=bad)
    assert image_folder(folder, size=3).x.shape == (5, 3, 3, 3)


def _files(root: Path, *names: str) -> Path:
    for name in names:
        _save(root / name, PIXELS[0]) if name.endswith(".png") else (root / name).mkdir(parents=True)
    return root


@pytest.mark.parametrize(
    ("names", "match"),
    [
        ((), r"path: got {root} without class folders, expected one folder for each class"),
        (("1.png", "2.png"), r"path: got {root} without class folders, .*move each to a folder of its class's name"),
        (("cat/1.png",), r"path: got {root} with one class folder, cat, expected at least two classes"),
        (("cat/1.png", "dog"), r"{root}/dog: got no image, expected files \.jpg, \.jpeg or \.png of this class"),
        (("cat/1.png", "dog/old/1.png"), r"{root}/dog: got no image"),
        (
            ("train/cat/1.png", "train/dog/1.png", "test/cat/1.png", "test/dog/1.png"),
            r"path: got {root} with the folders test, train, expected class folders .* give {root}/train\.",
        ),
        (("train/cat/1.png", "train/dog/1.png"), r"path: got {root} with the folders train, .* give {root}/train\."),
    ],
)
def test_folders_that_are_no_set(tmp_path: Path, names: tuple[str, ...], match: str) -> None:
    with pytest.raises(ValueError, match="^" + match.format(root=re.escape(str(tmp_path)))):
        image_folder(_files(tmp_path, *names))


def test_a_class_may_be_called_train(tmp_path: Path) -> None:
    assert class_names(_files(tmp_path, "train/1.png", "bus/1.png")) == ("bus", "train")
    assert image_folder(tmp_path).x.shape == (2, 5, 6, 3)


def test_nothing_left(tmp_path: Path) -> None:
    _files(tmp_path, "cat/1.png", "dog")
    (tmp_path / "dog" / "1.png").write_bytes(b"")
    with (
        pytest.warns(UserWarning, match="left out 1 of 2"),
        pytest.raises(ValueError, match=r"dog: got no image that can be read, expected at least one of each class"),
    ):
        image_folder(tmp_path, bad="skip")
    (tmp_path / "cat" / "1.png").write_bytes(b"")
    with pytest.raises(ValueError, match=r"^images: got 2 files, none of which can be read, expected at least one"):
        image_folder(tmp_path, bad="skip")


@pytest.mark.parametrize("function", [image_folder, class_names])
def test_paths_that_are_no_folder(folder: Path, function: Callable[[Any], Any]) -> None:
    with pytest.raises(
        FileNotFoundError, match=r"^path: got .*nowhere, expected the folder .* There is no such folder"
    ):
        function(folder / "nowhere")
    with pytest.raises(NotADirectoryError, match=r"^path: got .*10\.png, expected a folder\. .*fnn\.data\.read_images"):
        function(folder / NAMES[0])
    with pytest.raises(TypeError, match=r"^path: got a NoneType, expected the folder"):
        function(None)


@pytest.mark.parametrize(
    ("arguments", "error", "match"),
    [
        ({"size": 0}, ValueError, r"size: got 0, expected an integer >= 1\. It counts pixels"),
        ({"size": 3.5}, TypeError, r"size: got 3\.5, expected an integer"),
        ({"size": (3, 0)}, ValueError, r"size: got 0"),
        ({"size": (3, 3, 3)}, ValueError, r"size: got \(3, 3, 3\), expected one number, or \(height, width\)"),
        ({"size": "32"}, TypeError, r"size: got '32'"),
        ({"channels": 4}, ValueError, r"channels: got 4, expected 3 \(red, green, blue\) or 1 \(grey\)"),
        ({"channels": "rgb"}, TypeError, r"channels: got 'rgb'"),
        ({"bad": "ignore"}, ValueError, r"bad: got 'ignore', expected one of refuse, skip"),
    ],
)
def test_wrong_arguments(folder: Path, arguments: dict[str, Any], error: type[Exception], match: str) -> None:
    with pytest.raises(error, match=f"^{match}"):
        image_folder(folder, **arguments)


def test_paths_that_are_no_files(folder: Path) -> None:
    with pytest.raises(TypeError, match=r"^paths: got a str, expected a sequence of files\. One file: \[path\]"):
        read_images(str(folder / NAMES[0]))
    with pytest.raises(ValueError, match=r"^paths: got none, expected at least one file"):
        read_images([])
    with pytest.raises(FileNotFoundError, match=r"^paths: got .*gone\.png, expected files\. There is no such file"):
        read_images([folder / NAMES[0], folder / "gone.png"])


def test_without_pillow(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "PIL", None)
    with pytest.raises(
        ImportError, match=r"needs Pillow, extra \[experiments\]: .* pip install -e '\.\[experiments\]'"
    ):
        image_folder(folder)


def test_a_set_of_small_ones_is_read_soon(tmp_path: Path) -> None:
    # Measured: 0.2 ms a picture of 32x32.
    whole = _save(tmp_path / "cat" / "0.jpg", PIXELS[0].repeat(6, axis=0)).read_bytes()
    for name in ("cat", "dog"):
        (tmp_path / name).mkdir(exist_ok=True)
        for i in range(500):
            (tmp_path / name / f"{i}.jpg").write_bytes(whole)
    start = time.perf_counter()
    assert len(jax.block_until_ready(image_folder(tmp_path)).x) == 1000
    assert time.perf_counter() - start < 10
