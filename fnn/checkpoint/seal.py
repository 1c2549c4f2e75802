"""The seal of a checkpoint: a checksum of every file, so that no bit flips, and no file is cut or lost, unseen."""

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fnn.errors import message

FORMAT = 1
_MANIFEST, _SEAL = "manifest.json", "seal"
_AT_ONCE = 2**22  # bytes


class CorruptCheckpoint(ValueError):  # noqa: N818
    """A checkpoint is not what was saved.

    Attributes:
        step: its step.
        file: the file that is wrong.
        before: the newest step before it that is whole, or None.
    """

    def __init__(self, text: str, step: int, file: str, before: int | None = None):
        super().__init__(text)
        self.step, self.file, self.before = step, file, before


class Wrong(Exception):  # noqa: N818
    """What is wrong with a file: its name, and how."""


def seal(folder: Path, step: int, about: Mapping[str, Any]) -> None:
    """Writes what a folder holds into it, with a checksum of each file, and a checksum of that; all of it to the disk.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     seal(Path(folder), 3, {"leaves": {}})
        ...     opened(Path(folder))["step"]
        3
    """
    files = {_name(folder, path): _checksum(path) for path in sorted(folder.rglob("*")) if path.is_file()}
    content = json.dumps({"format": FORMAT, "step": step, **about, "files": files}, indent=1).encode()
    (folder / _MANIFEST).write_bytes(content)
    (folder / _SEAL).write_text(hashlib.sha256(content).hexdigest())
    for path in (folder / _MANIFEST, folder / _SEAL, *(p for p in folder.rglob("*") if p.is_dir()), folder):
        to_disk(path)


def opened(folder: Path) -> dict[str, Any]:
    """What a sealed folder says of itself.

    Raises:
        Wrong: that is not what was written.
    """
    try:
        content, mark = (folder / _MANIFEST).read_bytes(), (folder / _SEAL).read_text()
    except FileNotFoundError as error:
        raise Wrong(Path(str(error.filename)).name, "is missing") from error
    except (OSError, UnicodeDecodeError) as error:
        raise Wrong(_SEAL, f"cannot be read ({error})") from error
    if hashlib.sha256(content).hexdigest() != mark:
        raise Wrong(_MANIFEST, "is not what was sealed")
    found = json.loads(content)
    if found["format"] != FORMAT:
        raise Wrong(_MANIFEST, f"is of format {found['format']}, and this version of fnn reads {FORMAT}")
    return found


def check_files(folder: Path, manifest: Mapping[str, Any]) -> None:
    """Compares every file with its checksum.

    Raises:
        Wrong: a file is missing, cut or changed.
    """
    for name, (size, digest) in manifest["files"].items():
        path = folder / name
        if not path.is_file():
            raise Wrong(name, "is missing")
        if path.stat().st_size != size:
            raise Wrong(name, f"has {path.stat().st_size:,} bytes of {size:,}")
        if _checksum(path)[1] != digest:
            raise Wrong(name, "is not what was saved: its checksum differs")


def corrupt(folder: Path, step: int, wrong: Wrong, before: int | None) -> CorruptCheckpoint:
    """The error that names the file, and offers the checkpoint before."""
    file, how = wrong.args
    whole = (
        f"The one before, step {before}, is whole: delete this one to go on from it, or restore(..., step={before})."
    )
    remedy = "No earlier one is whole." if before is None else whole
    got = f"a checkpoint whose file {file} {how}"
    return CorruptCheckpoint(message(str(folder), got, "what was saved", remedy), step, file, before)


def to_disk(path: Path) -> None:
    """Waits until a file or folder is on the disk, so that it outlives a loss of power too."""
    file = os.open(path, os.O_RDONLY)
    try:
        os.fsync(file)
    finally:
        os.close(file)


def _checksum(path: Path) -> tuple[int, str]:
    digest, size = hashlib.sha256(), 0
    with path.open("rb") as file:
        while part := file.read(_AT_ONCE):
            digest.update(part)
            size += len(part)
        os.fsync(file.fileno())
    return size, digest.hexdigest()


def _name(folder: Path, path: Path) -> str:
    return path.relative_to(folder).as_posix()
