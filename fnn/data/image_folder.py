"""A set of images from a folder that holds one folder a class."""

import os
from collections.abc import Sequence
from pathlib import Path

import jax.numpy as jnp
import numpy as np

from fnn.data.dataset import Dataset
from fnn.data.images import Picture, read_all
from fnn.errors import check_choice, message

_EXTENSIONS = frozenset({".jpg", ".jpeg", ".png"})


def image_folder(
    path: str | os.PathLike[str], size: int | tuple[int, int] | None = None, *, channels: int = 3, bad: str = "refuse"
) -> Dataset:
    """The JPEG and PNG images of a folder with one folder for each class: `path/cat/1.jpg`, `path/dog/1.jpg`.

    Classes are numbered in the sorted order of their folders' names (`class_names`), and images come in
    the sorted order of theirs. Hidden files and those with other extensions than .jpg, .jpeg and .png are
    passed over. An image is turned as its EXIF data says; what is transparent is put on white; where it
    has another shape than `size` its middle is cut out, as large as fits, and scaled with antialiasing:
    nothing is distorted.

    Args:
        path: the folder.
        size: height and width in pixels, one number for both; None keeps the files' own, one for all.
        channels: 3 (red, green, blue) or 1 (grey).
        bad: "refuse" a file that is empty, truncated or no image, or "skip" it with a warning.

    Returns:
        x uint8 (n, height, width, channels); y int32 (n,), the number of the class.

    Raises:
        ImportError: Pillow is missing.
        FileNotFoundError: there is no such folder.
        NotADirectoryError: the path is a file.
        ValueError: fewer than two class folders, one without an image, a file that cannot be read, or
            images of several sizes and no `size`.

    Example:
        >>> import tempfile
        >>> from PIL import Image
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     for colour in ("red", "blue"):
        ...         Path(folder, colour).mkdir()
        ...         Image.new("RGB", (6, 4), colour).save(Path(folder, colour, "1.png"))
        ...     x, y = image_folder(folder)
        >>> x.shape, x[:, 0, 0], y
        ((2, 4, 6, 3), Array([[  0,   0, 255], [255,   0,   0]], dtype=uint8), Array([0, 1], dtype=int32))
    """
    picture = Picture.make(size, channels)
    check_choice("bad", bad, ("refuse", "skip"))
    folders = _class_folders(path)
    files = [_images(folder) for folder in folders]
    for folder, images in zip(folders, files, strict=True):
        if not images:
            raise ValueError(message(str(folder), "no image", "files .jpg, .jpeg or .png of this class"))
    labels = np.repeat(np.arange(len(files), dtype=np.int32), [len(images) for images in files])
    x, kept = read_all([file for images in files for file in images], picture, bad)
    y = labels[kept]
    _check_left(folders, y)
    return Dataset(jnp.asarray(x), jnp.asarray(y))


def class_names(path: str | os.PathLike[str]) -> tuple[str, ...]:
    """What the classes of `image_folder(path)` are called, by number.

    Raises:
        FileNotFoundError: there is no such folder.
        NotADirectoryError: the path is a file.
        ValueError: fewer than two class folders.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     for name in ("dog", "cat"):
        ...         Path(folder, name).mkdir()
        ...     class_names(folder)
        ('cat', 'dog')
    """
    return tuple(folder.name for folder in _class_folders(path))


def _class_folders(path: str | os.PathLike[str]) -> list[Path]:
    if not isinstance(path, str | os.PathLike):
        raise TypeError(message("path", f"a {type(path).__name__}", "the folder of the class folders"))
    root = Path(path)
    if not root.exists():
        raise FileNotFoundError(message("path", root, "the folder of the class folders", "There is no such folder."))
    if not root.is_dir():
        raise NotADirectoryError(message("path", root, "a folder", "Single pictures: fnn.data.read_images."))
    folders = _folders(root)
    names = ", ".join(folder.name for folder in folders)
    if not folders:
        remedy = f"Its images have no class: move each to a folder of its class's name, {root}/cat/..."
        raise ValueError(message("path", f"{root} without class folders", "one folder for each class", remedy))
    for folder in folders:
        if folder.name == "train" and not _images(folder) and _folders(folder):
            remedy = f"One part at a time: give {folder}."
            raise ValueError(message("path", f"{root} with the folders {names}", "class folders with images", remedy))
    if len(folders) == 1:
        raise ValueError(message("path", f"{root} with one class folder, {names}", "at least two classes"))
    return folders


def _folders(root: Path) -> list[Path]:
    # __MACOSX is what an archive from a Mac leaves beside the classes.
    found = (entry for entry in root.iterdir() if not entry.name.startswith(".") and entry.name != "__MACOSX")
    return sorted((entry for entry in found if entry.is_dir()), key=lambda folder: folder.name)


def _images(folder: Path) -> list[Path]:
    with os.scandir(folder) as entries:
        names = [e.name for e in entries if not e.name.startswith(".") and not e.is_dir()]
    return [folder / name for name in sorted(names) if Path(name).suffix.lower() in _EXTENSIONS]


def _check_left(folders: Sequence[Path], y: np.ndarray) -> None:
    for number, folder in enumerate(folders):
        if number not in y:
            raise ValueError(message(str(folder), "no image that can be read", "at least one of each class"))
