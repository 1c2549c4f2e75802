"""Images and labels from IDX files, the format of MNIST."""

import gzip
import math
import os
import struct
import zlib
from pathlib import Path

import jax.numpy as jnp
import numpy as np

from fnn.data.dataset import Dataset, Splits
from fnn.errors import message

# Big-endian: two zero bytes, the type (8: unsigned bytes), the number of axes.
_MAGIC = {"labels": 0x0801, "images": 0x0803}
_GZIP = b"\x1f\x8b"
_CLASSES = 10


def mnist(path: str | os.PathLike[str]) -> Splits:
    """MNIST, or any set in the same four IDX files, such as Fashion-MNIST.

    The files are `train-images-idx3-ubyte`, `train-labels-idx1-ubyte`, `t10k-images-idx3-ubyte` and
    `t10k-labels-idx1-ubyte`, gzipped (`.gz`) or not; `train-images.idx3-ubyte` is found too. A plain
    file goes before a gzipped one.

    Args:
        path: the folder that they are in.

    Returns:
        x float32 (n, height, width, 1), from 0 (paper) to 1 (ink); y int32 (n,), 0 to 9. For MNIST 60,000
        images of 28x28 pixels to train on and 10,000 to test on.

    Raises:
        FileNotFoundError: the folder or a file is missing; the names that were looked for are listed.
        NotADirectoryError: the path is a file.
        ValueError: a file is not what its name says, is truncated, too long or corrupt, or does not fit
            the others; the file is named.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     for part in ("train", "t10k"):
        ...         images = struct.pack(">4I", 0x0803, 2, 1, 1) + bytes([0, 255])
        ...         labels = struct.pack(">2I", 0x0801, 2) + bytes([3, 7])
        ...         _ = Path(folder, f"{part}-images-idx3-ubyte.gz").write_bytes(gzip.compress(images))
        ...         _ = Path(folder, f"{part}-labels-idx1-ubyte").write_bytes(labels)
        ...     train, test = mnist(folder)
        >>> train.x.shape, train.y
        ((2, 1, 1, 1), Array([3, 7], dtype=int32))

    Source: LeCun et al. 1998, "Gradient-based learning applied to document recognition"; the format at
    yann.lecun.com/exdb/mnist.
    """
    if not isinstance(path, str | os.PathLike):
        raise TypeError(message("path", f"a {type(path).__name__}", "the folder of the four IDX files"))
    folder = Path(path)
    if not folder.exists():
        raise FileNotFoundError(message("path", folder, "the folder of the four IDX files", "There is no such folder."))
    if not folder.is_dir():
        raise NotADirectoryError(message("path", folder, "a folder", f"Give the folder of the file: {folder.parent}."))
    train, test = _pair(folder, "train"), _pair(folder, "t10k")
    if train.x.shape[1:] != test.x.shape[1:]:
        got = f"images of {train.x.shape[1:3]} pixels to train on and of {test.x.shape[1:3]} to test on"
        raise ValueError(message(str(folder), got, "images of one size"))
    return Splits(train, test)


def _pair(folder: Path, part: str) -> Dataset:
    """The images and labels of one part."""
    image_file, label_file = (_find(folder, part, kind) for kind in ("images", "labels"))
    images, labels = _read(image_file, "images"), _read(label_file, "labels")
    if len(images) != len(labels):
        got = f"{len(images)} images, and {len(labels)} labels in {label_file.name}"
        raise ValueError(message(str(image_file), got, "as many labels as images", "Are both from the same set?"))
    if labels.max() >= _CLASSES:
        row = int(np.argmax(labels >= _CLASSES))
        raise ValueError(message(str(label_file), f"label {labels[row]} at row {row}", f"labels 0 to {_CLASSES - 1}"))
    x = np.divide(images[..., None], 255, dtype=np.float32)
    return Dataset(jnp.asarray(x), jnp.asarray(labels, jnp.int32))


def _find(folder: Path, part: str, kind: str) -> Path:
    stem = f"idx{_MAGIC[kind] & 0xFF}-ubyte"
    names = [f"{part}-{kind}{dot}{stem}{end}" for end in ("", ".gz") for dot in ("-", ".")]
    for name in names:
        if (folder / name).is_file():
            return folder / name
    raise FileNotFoundError(message(str(folder), f"no file of {part} {kind}", f"one of {', '.join(names)}"))


def _read(file: Path, kind: str) -> np.ndarray:
    """The unsigned bytes of one file, in the shape that its header tells."""
    raw = _unzipped(file)
    axes = _MAGIC[kind] & 0xFF
    header = 4 + 4 * axes
    if len(raw) >= 4:
        _check_magic(file, kind, int.from_bytes(raw[:4], "big"))
    if len(raw) < header:
        raise ValueError(message(str(file), f"{len(raw)} bytes", f"a header of {header}", "The file is truncated."))
    shape = struct.unpack(f">{axes}I", raw[4:header])
    size = header + math.prod(shape)
    if len(raw) != size:
        fault = "truncated: fetch it again" if len(raw) < size else "longer than its header tells"
        expected = f"{size} bytes, as its header tells {' x '.join(map(str, shape))}"
        raise ValueError(message(str(file), f"{len(raw)} bytes", expected, f"The file is {fault}."))
    if 0 in shape:
        raise ValueError(message(str(file), f"{kind} of shape {shape}", "at least one example of at least one pixel"))
    return np.frombuffer(raw, np.uint8, offset=header).reshape(shape)


def _check_magic(file: Path, kind: str, magic: int) -> None:
    if magic == _MAGIC[kind]:
        return
    others = [other for other, number in _MAGIC.items() if number == magic]
    remedy = f"These are {others[0]}, not {kind}: were two files mixed up?" if others else "Is it an IDX file?"
    raise ValueError(message(str(file), f"magic number {magic:#010x}", f"{_MAGIC[kind]:#010x} of {kind}", remedy))


def _unzipped(file: Path) -> bytes:
    """The file's bytes, unzipped if they are gzipped, whatever the file's name says."""
    raw = file.read_bytes()
    if not raw.startswith(_GZIP):
        return raw
    try:
        return gzip.decompress(raw)
    except (OSError, EOFError, zlib.error) as error:
        got = f"corrupt gzip data ({error})"
        raise ValueError(message(str(file), got, "a whole gzip file", "Fetch the file again.")) from error
