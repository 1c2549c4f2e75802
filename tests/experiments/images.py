"""What the tests of experiments on images share: tiny data sets on disk."""

import struct
from pathlib import Path

import numpy as np
from PIL import Image

SIZE = 12


def write_idx(folder: Path, examples: int = 40) -> None:
    """The four IDX files: in an image of class c lies one light square, at a place of its own."""
    rng = np.random.default_rng(0)
    for part in ("train", "t10k"):
        labels = np.arange(examples, dtype=np.uint8) % 10
        images = rng.integers(0, 40, (examples, SIZE, SIZE), dtype=np.uint8)
        for image, label in zip(images, labels, strict=True):
            row, column = divmod(int(label), 4)
            image[4 * row : 4 * row + 4, 3 * column : 3 * column + 3] = 250
        head = struct.pack(">4I", 0x0803, examples, SIZE, SIZE)
        (folder / f"{part}-images-idx3-ubyte").write_bytes(head + images.tobytes())
        (folder / f"{part}-labels-idx1-ubyte").write_bytes(struct.pack(">2I", 0x0801, examples) + labels.tobytes())


def write_picture(file: Path, label: int, *, invert: bool = False) -> None:
    """One such image as a picture of another size."""
    image = np.full((SIZE, SIZE), 20, np.uint8)
    row, column = divmod(label, 4)
    image[4 * row : 4 * row + 4, 3 * column : 3 * column + 3] = 250
    Image.fromarray(255 - image if invert else image).resize((48, 48), Image.Resampling.NEAREST).save(file)


def write_folders(folder: Path, examples: int = 12) -> None:
    """Class folders of red and of blue pictures, of several sizes, to train and to test on."""
    rng = np.random.default_rng(0)
    for part in ("train", "test"):
        for name, channel in (("apple", 0), ("plum", 2)):
            (folder / part / name).mkdir(parents=True)
            for i in range(examples):
                pixels = rng.integers(0, 90, (SIZE + i, SIZE, 3), dtype=np.uint8)
                pixels[..., channel] += 150
                Image.fromarray(pixels).save(folder / part / name / f"{i}.png")
