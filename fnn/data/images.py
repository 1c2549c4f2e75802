"""Pictures from files: JPEG and PNG, each turned, flattened, cut and scaled into the same uint8 array."""

import os
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from fnn.errors import check_choice, check_count, message
from fnn.typing import Array

_FORMATS = ("JPEG", "PNG")
_BLOCK = 32
"""Files that a thread reads at a time: few enough to stop soon, so many that handing them out costs nothing."""
_SMALL = 16 * 1024
"""Bytes of a file under which the work is Python's own, and threads would only wait for each other."""
_NAMED = 5


def read_images(
    paths: Sequence[str | os.PathLike[str]], size: int | tuple[int, int] | None = None, *, channels: int = 3
) -> Array:
    """Pictures from JPEG and PNG files, as one array, in the order given.

    They are read as `image_folder` reads them, so a network sees what it was trained on.

    Args:
        paths: the files.
        size: height and width in pixels, one number for both; None keeps the files' own, one for all.
        channels: 3 (red, green, blue) or 1 (grey).

    Returns:
        uint8 (n, height, width, channels).

    Raises:
        ImportError: Pillow is missing.
        FileNotFoundError: there is no such file.
        ValueError: no paths, a file that cannot be read, or pictures of several sizes and no `size`.

    Example:
        >>> import tempfile
        >>> from PIL import Image
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     Image.new("RGB", (640, 480), "red").save(f"{folder}/red.png")
        ...     read_images([f"{folder}/red.png"], size=32)[0, 0, 0]
        Array([255,   0,   0], dtype=uint8)
    """
    if isinstance(paths, str | bytes | os.PathLike) or not isinstance(paths, Sequence):
        raise TypeError(message("paths", f"a {type(paths).__name__}", "a sequence of files", "One file: [path]."))
    if not paths:
        raise ValueError(message("paths", "none", "at least one file"))
    files = [Path(path) for path in paths]
    for file in files:
        if not file.exists():
            raise FileNotFoundError(message("paths", file, "files", "There is no such file."))
    return jnp.asarray(read_all(files, Picture.make(size, channels), "refuse")[0])


class Picture(NamedTuple):
    """What every file is made into: `size` is (height, width) or None, `channels` 1 or 3."""

    size: tuple[int, int] | None
    channels: int

    @staticmethod
    def make(size: Any, channels: Any) -> "Picture":
        """Checks the caller's wishes.

        Example:
            >>> Picture.make(32, channels=1)
            Picture(size=(32, 32), channels=1)
        """
        sides = size if isinstance(size, tuple | list) else (size, size)
        if size is not None:
            if len(sides) != 2:
                raise ValueError(message("size", size, "one number, or (height, width)"))
            for side in sides:
                check_count("size", side, remedy="It counts pixels: one number, or (height, width).")
        check_count("channels", channels)
        if channels not in (1, 3):
            raise ValueError(message("channels", channels, "3 (red, green, blue) or 1 (grey)"))
        return Picture(None if size is None else (int(sides[0]), int(sides[1])), int(channels))


def read_all(files: Sequence[Path], picture: Picture, bad: str) -> tuple[np.ndarray, list[int]]:
    """Reads files in threads into one array, filled in place.

    Args:
        files: in order.
        picture: what each becomes.
        bad: "refuse" or "skip" a file that cannot be read.

    Returns:
        uint8 (n, height, width, channels), and the numbers of the files that its rows are.

    Raises:
        ValueError: a file that cannot be read, where they are refused; pictures of several sizes; no picture.

    Example:
        >>> read_all([Path("nowhere.png")], Picture(None, 3), "refuse")
        Traceback (most recent call last):
        ValueError: nowhere.png: got no such file, expected a JPEG or PNG image. ...
    """
    check_choice("bad", bad, ("refuse", "skip"))
    decode = _decoder(picture)
    faults: dict[int, str] = {}
    x: Any = np.empty((0, 0, 0, 0), np.uint8)
    like = Path()
    with warnings.catch_warnings():
        # A camera's odd EXIF data is not the picture's fault, nor the reader's business.
        warnings.filterwarnings("ignore", module=r"PIL\.")
        for i, file in enumerate(files):
            # In this thread up to the first picture: it tells the shape, and Pillow loads its readers.
            pixels = decode(file)
            if isinstance(pixels, str):
                faults[i] = _fault(file, pixels, bad)
                continue
            x, like = np.empty((len(files), *pixels.shape), np.uint8), file
            break
        for i, outcome in _filled(x, files, len(faults), decode) if x.size else ():
            if isinstance(outcome, str):
                faults[i] = _fault(files[i], outcome, bad)
            elif outcome != x.shape[1:]:
                (h, w, _), (_, height, width, _) = outcome, x.shape
                got = f"{w}x{h} pixels, and {width}x{height} in {like}"
                raise ValueError(message(str(files[i]), got, "images of one size", "Scale: size=(height, width)."))
    kept = [i for i in range(len(files)) if i not in faults]
    if not kept:
        raise ValueError(message("images", f"{len(files)} files, none of which can be read", "at least one image"))
    if faults:
        _warn([(files[i], reason) for i, reason in faults.items()], len(files))
        for row, i in enumerate(kept):
            x[row] = x[i]
    return x[: len(kept)], kept


def _filled(
    x: np.ndarray, files: Sequence[Path], first: int, decode: Callable[[Path], np.ndarray | str]
) -> Iterator[tuple[int, str | tuple[int, ...]]]:
    """Fills the rows from `first` on, and tells of each in order its picture's shape, or why it has none."""

    def fill(start: int) -> list[str | tuple[int, ...]]:
        outcomes: list[str | tuple[int, ...]] = []
        for i in range(start, min(start + _BLOCK, len(files))):
            pixels = decode(files[i])
            if not isinstance(pixels, str) and pixels.shape == x.shape[1:]:
                x[i] = pixels
            outcomes.append(pixels if isinstance(pixels, str) else pixels.shape)
        return outcomes

    with ThreadPoolExecutor(1 if files[first].stat().st_size < _SMALL else None) as pool:
        outcomes = pool.map(fill, range(first, len(files), _BLOCK))
        yield from enumerate((outcome for block in outcomes for outcome in block), first)


def _decoder(picture: Picture) -> Callable[[Path], np.ndarray | str]:
    """A function from a file to its pixels, or to the reason why there are none."""
    try:
        from PIL import Image, UnidentifiedImageError
    except ImportError as error:
        raise ImportError(
            "reading pictures needs Pillow, extra [experiments]: in the clone, pip install -e '.[experiments]'"
        ) from error

    def decode(file: Path) -> np.ndarray | str:
        try:
            with Image.open(file, formats=_FORMATS) as image:
                pixels = np.asarray(_made(image, picture))
        except UnidentifiedImageError:
            return "an empty file" if not file.stat().st_size else "something else"
        except FileNotFoundError:
            return "no such file"
        except Exception as error:  # what Pillow raises on a spoilt file has no common base
            return f"a spoilt one ({error})"
        return pixels.reshape(*pixels.shape[:2], picture.channels)

    return decode


def _made(image: Any, picture: Picture) -> Any:
    """The image upright, without transparency, in its channels and its size."""
    from PIL import Image, ImageOps

    if picture.size is not None:
        # A large JPEG is decoded at a half, a quarter or an eighth, while that leaves twice the size wanted.
        image.draft(None, (2 * max(picture.size),) * 2)
    image.load()
    image = ImageOps.exif_transpose(image)
    if image.mode.startswith("I"):
        # 16 bits of grey: Pillow's own conversion cuts at 255.
        image = Image.fromarray((np.asarray(image, np.uint32) * 255 // 65535).astype(np.uint8))
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    image = image.convert("RGB" if picture.channels == 3 else "L")
    if picture.size is None or (image.height, image.width) == picture.size:
        return image
    height, width = picture.size
    return ImageOps.fit(image, (width, height))


def _fault(file: Path, reason: str, bad: str) -> str:
    if bad == "refuse":
        remedy = 'Mend or delete it; image_folder(..., bad="skip") leaves such files out.'
        raise ValueError(message(str(file), reason, "a JPEG or PNG image", remedy))
    return reason


def _warn(faults: Sequence[tuple[Path, str]], total: int) -> None:
    named = "; ".join(f"{file}: {reason}" for file, reason in faults[:_NAMED])
    more = f"; and {len(faults) - _NAMED} more" if len(faults) > _NAMED else ""
    # The reader's line: above this, read_all and image_folder.
    warnings.warn(f"left out {len(faults)} of {total} files, not JPEG or PNG images: {named}{more}", stacklevel=4)
