"""IDX files: what is read, and every fault of a file with the message that names it."""

import gzip
import hashlib
import shutil
import struct
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fnn.data import mnist

Zip = Callable[[bytes], bytes]
PARTS = {"train": 5, "t10k": 3}
SIZE = (4, 6)


def _pixels(part: str, size: tuple[int, int] = SIZE) -> np.ndarray:
    return np.random.default_rng(len(part)).integers(0, 256, (PARTS[part], *size), dtype=np.uint8)


def _labels(part: str) -> np.ndarray:
    return np.array([9, 0, 3, 7, 1][: PARTS[part]], np.uint8)


def _images_file(pixels: np.ndarray) -> bytes:
    return struct.pack(">4I", 2051, *pixels.shape) + pixels.tobytes()


def _labels_file(labels: np.ndarray) -> bytes:
    return struct.pack(">2I", 2049, len(labels)) + labels.tobytes()


def _write(folder: Path, dot: str = "-", end: str = "", pack: Zip = bytes, size: tuple[int, int] = SIZE) -> Path:
    for part in PARTS:
        (folder / f"{part}-images{dot}idx3-ubyte{end}").write_bytes(pack(_images_file(_pixels(part, size))))
        (folder / f"{part}-labels{dot}idx1-ubyte{end}").write_bytes(pack(_labels_file(_labels(part))))
    return folder


@pytest.mark.parametrize("dot", ["-", "."])
@pytest.mark.parametrize(
    ("end", "pack"),
    [("", bytes), (".gz", gzip.compress), (".gz", bytes), ("", gzip.compress)],
    ids=["plain", "gzipped", "unzipped but still called .gz", "gzipped but not called so"],
)
@pytest.mark.parametrize("kind", [Path, str])
def test_the_four_files_are_read(tmp_path: Path, dot: str, end: str, pack: Zip, kind: Callable[[Path], Any]) -> None:
    splits = mnist(kind(_write(tmp_path, dot, end, pack)))
    for part, data in zip(PARTS, splits, strict=True):
        assert isinstance(data.x, jax.Array)
        assert (data.x.dtype, data.y.dtype) == (jnp.float32, jnp.int32)
        assert data.x.shape == (PARTS[part], *SIZE, 1)
        np.testing.assert_array_equal(data.x[..., 0], _pixels(part).astype(np.float32) / np.float32(255))
        np.testing.assert_array_equal(data.y, _labels(part))


def test_the_darkest_ink_is_one_and_paper_is_zero(tmp_path: Path) -> None:
    _write(tmp_path)
    (tmp_path / "t10k-images-idx3-ubyte").write_bytes(_images_file(np.full((3, *SIZE), 255, np.uint8)))
    (tmp_path / "train-images-idx3-ubyte").write_bytes(_images_file(np.zeros((5, *SIZE), np.uint8)))
    train, test = mnist(tmp_path)
    assert (test.x == 1).all()
    assert (train.x == 0).all()


def test_a_plain_file_goes_before_a_gzipped_one(tmp_path: Path) -> None:
    _write(tmp_path)
    (tmp_path / "train-labels-idx1-ubyte.gz").write_bytes(b"nothing")
    np.testing.assert_array_equal(mnist(tmp_path).train.y, _labels("train"))


def test_one_pixel_and_one_example_are_enough(tmp_path: Path) -> None:
    assert mnist(_write(tmp_path, size=(1, 1))).test.x.shape == (3, 1, 1, 1)


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize(("kind", "axes"), [("images", 3), ("labels", 1)])
def test_a_missing_file_is_named_with_the_names_looked_for(tmp_path: Path, part: str, kind: str, axes: int) -> None:
    (_write(tmp_path) / f"{part}-{kind}-idx{axes}-ubyte").unlink()
    names = ", ".join(f"{part}-{kind}{dot}idx{axes}-ubyte{end}" for end in ("", ".gz") for dot in ("-", "."))
    with pytest.raises(FileNotFoundError, match=f"{tmp_path}: got no file of {part} {kind}, expected one of {names}"):
        mnist(tmp_path)


def test_a_missing_folder_or_a_file_is_no_folder(tmp_path: Path) -> None:
    with pytest.raises(
        FileNotFoundError, match=r"path: got .*nowhere, expected the folder of the four IDX files.*no such"
    ):
        mnist(tmp_path / "nowhere")
    file = _write(tmp_path) / "train-images-idx3-ubyte"
    with pytest.raises(NotADirectoryError, match=f"path: got {file}, expected a folder. Give .*: {tmp_path}"):
        mnist(file)
    with pytest.raises(TypeError, match=r"path: got a NoneType, expected the folder"):
        mnist(None)  # pyright: ignore[reportArgumentType]


WHOLE = _images_file(_pixels("train"))
LABELS = _labels_file(_labels("train"))
# What is written in place of one file, and the message after the file's name.
FAULTS: dict[str, tuple[str, bytes, str]] = {
    "labels given as images": (
        "images",
        LABELS,
        r"got magic number 0x00000801, expected 0x00000803 of images\. These are labels, not images",
    ),
    "images given as labels": (
        "labels",
        WHOLE,
        r"got magic number 0x00000803, expected 0x00000801 of labels\. These are images, not labels",
    ),
    "a web page": ("images", b"<!DOCTYPE html>", r"got magic number 0x3c21444f, .* Is it an IDX file\?"),
    "floats": ("images", struct.pack(">4I", 0x0D03, 1, 1, 1), r"got magic number 0x00000d03"),
    "little-endian": ("labels", struct.pack("<2I", 2049, 0), r"got magic number 0x01080000"),
    "empty": ("labels", b"", r"got 0 bytes, expected a header of 8\. The file is truncated"),
    "a cut header": ("images", WHOLE[:15], r"got 15 bytes, expected a header of 16\. The file is truncated"),
    "one byte short": (
        "images",
        WHOLE[:-1],
        r"got 135 bytes, expected 136 bytes, as its header tells 5 x 4 x 6.*truncated",
    ),
    "one byte long": ("labels", LABELS + b"\0", r"got 14 bytes, expected 13 bytes, as its header tells 5\..*longer"),
    "a header that promises too much": (
        "images",
        struct.pack(">4I", 2051, *[2**32 - 1] * 3),
        r"got 16 bytes.*truncated",
    ),
    "no pixels": (
        "images",
        struct.pack(">4I", 2051, 5, 0, 6),
        r"got images of shape \(5, 0, 6\), expected at least one",
    ),
    "no examples": ("labels", struct.pack(">2I", 2049, 0), r"got labels of shape \(0,\), expected at least one"),
    "a cut gzip file": (
        "images",
        gzip.compress(WHOLE)[:-12],
        r"got corrupt gzip data \(.*\), expected a whole gzip file",
    ),
    "only the start of a gzip file": ("labels", b"\x1f\x8b", r"got corrupt gzip data"),
    "a wrong checksum": ("labels", gzip.compress(LABELS)[:-8] + b"\0" * 8, r"got corrupt gzip data \(CRC check failed"),
    "spoilt gzip data": ("images", gzip.compress(WHOLE)[:10] + b"\xff" * 99, r"got corrupt gzip data"),
    "fewer images": (
        "images",
        _images_file(_pixels("train")[:4]),
        r"got 4 images, and 5 labels in .*-ubyte, expected as many",
    ),
    "label 10": (
        "labels",
        _labels_file(np.array([1, 2, 10, 9, 0], np.uint8)),
        r"got label 10 at row 2, expected labels 0 to 9",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_faulty_file_is_named_with_its_fault(tmp_path: Path, fault: str) -> None:
    kind, content, match = FAULTS[fault]
    file = _write(tmp_path) / f"train-{kind}-idx{3 if kind == 'images' else 1}-ubyte"
    file.write_bytes(content)
    with pytest.raises(ValueError, match=f"^{file}: {match}"):
        mnist(tmp_path)


def test_both_parts_have_images_of_one_size(tmp_path: Path) -> None:
    _write(tmp_path)
    (tmp_path / "t10k-images-idx3-ubyte").write_bytes(_images_file(_pixels("t10k", (5, 5))))
    match = (
        rf"^{tmp_path}: got images of \(4, 6\) pixels to train on and of \(5, 5\) to test on, expected images of one"
    )
    with pytest.raises(ValueError, match=match):
        mnist(tmp_path)


# Of the unzipped files, as the set was published.
MD5 = {
    "train-images-idx3-ubyte": "6bbc9ace898e44ae57da46a324031adb",
    "train-labels-idx1-ubyte": "a25bea736e30d166cdddb491f175f624",
    "t10k-images-idx3-ubyte": "2646ac647ad5339dbf082846283269ea",
    "t10k-labels-idx1-ubyte": "27ae3e4e09519cfbb04c329615203637",
}


def test_real_mnist_is_read_bit_for_bit(mnist_path: Path) -> None:
    start = time.perf_counter()
    train, test = jax.block_until_ready(mnist(mnist_path))
    assert time.perf_counter() - start < 10, "60,000 images take about half a second"
    assert (train.x.shape, test.x.shape) == ((60_000, 28, 28, 1), (10_000, 28, 28, 1))
    assert train.y[:5].tolist() == [5, 0, 4, 1, 9]
    files = [
        struct.pack(">4I", 2051, *train.x.shape[:3]) + np.rint(np.asarray(train.x) * 255).astype(np.uint8).tobytes(),
        struct.pack(">2I", 2049, len(train.y)) + np.asarray(train.y, np.uint8).tobytes(),
        struct.pack(">4I", 2051, *test.x.shape[:3]) + np.rint(np.asarray(test.x) * 255).astype(np.uint8).tobytes(),
        struct.pack(">2I", 2049, len(test.y)) + np.asarray(test.y, np.uint8).tobytes(),
    ]
    read = {name: hashlib.md5(file, usedforsecurity=False).hexdigest() for name, file in zip(MD5, files, strict=True)}
    assert read == MD5


def test_a_real_file_cut_short_is_found(mnist_path: Path, tmp_path: Path) -> None:
    for file in mnist_path.iterdir():
        if "ubyte" in file.name:
            shutil.copyfile(file, tmp_path / file.name)
    [images] = tmp_path.glob("train-images*")
    images.write_bytes(images.read_bytes()[:-100_000])
    with pytest.raises(ValueError, match=f"^{images}: got"):
        mnist(tmp_path)
