"""A folder of checkpoints, one for each step: save, restore, the latest one."""

import json
import os
import shutil
import socket
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

from fnn.checkpoint import together
from fnn.checkpoint.leaves import arrays_of, check_alike, check_held, described, key_kinds, put_back
from fnn.checkpoint.seal import Wrong, check_files, corrupt, opened, seal, to_disk
from fnn.errors import check_count, message
from fnn.keys import is_key
from fnn.tree import named_leaves

_ARRAYS, _PARTIAL, _DIGITS = "arrays", ".partial-", 10
# What threads of this process are writing. A process started anew may have the number of the one that was killed.
_writing: set[str] = set()


def save(
    directory: str | Path, step: int, tree: Any, *, keep: int | None = None, about: Mapping[str, Any] | None = None
) -> None:
    """Saves a tree as the checkpoint of a step. It is there whole or not at all.

    It is written beside the others under another name, sealed with a checksum of every file, brought to the disk,
    and renamed at last. So a save that is killed, or finds the disk full, leaves the ones before as they were, and
    what it has left goes with the next save.

    Of a run of several processes each calls it, after the same step, and writes the arrays of its own devices; it is
    there once all have written. They must share the folder.

    Args:
        directory: the folder of a run's checkpoints; it is made.
        step: the step that it is of, an integer >= 0.
        tree: arrays of any dtype and size, typed keys, Python numbers; such as a `TrainState`.
        keep: how many of the newest checkpoints stay, this one among them; None keeps all.
        about: what else to say, as JSON, NumPy's numbers too: settings, for instance. `about` reads it.

    Raises:
        ValueError: this step is saved already, or two leaves have one path; of several processes one saves another
            step or tree than the others, or arrays that it alone has.
        TypeError: a leaf that is no array of numbers and no number, or `about` is no JSON.
        OSError: the folder cannot be written to; the message says what is still there.

    Example:
        >>> import tempfile
        >>> folder = tempfile.mkdtemp()
        >>> save(folder, 100, {"w": jnp.ones(3), "key": jax.random.key(0)})
        >>> latest(folder)
        100
        >>> restore(folder, {"w": jnp.zeros(3), "key": jax.random.key(1)})["w"]
        Array([1., 1., 1.], dtype=float32)
    """
    check_count("step", step, minimum=0)
    if keep is not None:
        check_count("keep", keep)
    step, said = int(step), _as_json(about or {})
    directory, leaves = Path(directory).absolute(), described(tree)
    together.check_together(step, leaves, tree)
    target = _of(directory, step)
    if target.exists():
        remedy = "Save another step, or into another folder; delete this one if it is of no use."
        raise ValueError(message("step", f"{step}, which is saved in {directory}", "a step that is not", remedy))
    partial = together.beside(directory, step) if together.several() else _beside(directory)
    _writing.add(partial.name)
    try:
        with together.by_the_first() as first:
            if first:
                directory.mkdir(parents=True, exist_ok=True)
                _clear(directory)
                if together.several():
                    together.clear(directory)
                partial.mkdir()
        together.check_shared(partial)
        _write(partial / _ARRAYS, arrays_of(tree))
        with together.by_the_first() as first:
            if first:
                seal(partial, step, {"leaves": leaves, "keys": key_kinds(tree), "about": said})
                partial.rename(target)
                to_disk(directory)
                if keep is not None:
                    _prune(directory, keep, step)
    except jax.errors.JaxRuntimeError:
        raise  # another process is gone; the folder is not to blame
    except Exception as error:
        last = latest(directory)
        there = "No checkpoint is there yet." if last is None else f"That of step {last} is there as it was."
        raise OSError(message("directory", f"{directory}: {error}", "a folder to write to", there)) from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
        _writing.discard(partial.name)


def restore(directory: str | Path, like: Any, *, step: int | None = None) -> Any:
    """Reads a checkpoint back, after every file of it was compared with its checksum.

    Args:
        directory: the folder of checkpoints.
        like: a tree as the one that was saved: arrays, or `jax.ShapeDtypeStruct`, whose shapes, dtypes and devices
            are those of the result. Where its arrays lie on other devices than the saved ones did, they go there.
        step: which one; None is the latest.

    Returns:
        The tree, with the bits that were saved. Leaves that are NumPy arrays or Python numbers in `like` come back so.

    Raises:
        FileNotFoundError: there is no checkpoint, or none of this step.
        CorruptCheckpoint: a file is missing, cut or changed; `before` is the newest step that is whole.
        ValueError: `like` has other paths, shapes or dtypes, each one is named; or a dtype that JAX does not hold.

    Example:
        >>> restore("no/such/folder", {})
        Traceback (most recent call last):
        FileNotFoundError: directory: got no/such/folder, which holds no checkpoint, expected ...
    """
    chosen, folder = _chosen(directory, step)
    try:
        manifest = opened(folder)
        check_files(folder, manifest)
    except Wrong as wrong:
        raise corrupt(folder, chosen, wrong, _whole_before(Path(directory).absolute(), chosen)) from None
    check_alike(str(folder), manifest["leaves"], described(like))
    named = named_leaves(like)
    check_held(named)
    sizes = {name: one for name, one in manifest["leaves"].items() if 0 not in one["shape"]}
    arrays = _read(folder / _ARRAYS, {name: named[name] for name in sizes})
    return put_back(like, arrays, manifest["keys"])


def about(directory: str | Path, *, step: int | None = None) -> dict[str, Any]:
    """What `save(about=...)` has said of a checkpoint.

    Args:
        directory: the folder of checkpoints.
        step: which one; None is the latest.

    Raises:
        FileNotFoundError: there is none.
        CorruptCheckpoint: it is not what was saved.

    Example:
        >>> import tempfile
        >>> folder = tempfile.mkdtemp()
        >>> save(folder, 0, {}, about={"batch_size": 64})
        >>> about(folder)
        {'batch_size': 64}
    """
    chosen, folder = _chosen(directory, step)
    try:
        return opened(folder)["about"]
    except Wrong as wrong:
        raise corrupt(folder, chosen, wrong, _whole_before(Path(directory).absolute(), chosen)) from None


def steps(directory: str | Path) -> list[int]:
    """The steps of which there is a checkpoint, in order; what a killed save has left does not count.

    Example:
        >>> steps("no/such/folder")
        []
    """
    folder = Path(directory)
    names = [path.name for path in folder.iterdir() if path.is_dir()] if folder.is_dir() else []
    return sorted(int(name) for name in names if name.isdecimal() and len(name) >= _DIGITS)


def latest(directory: str | Path) -> int | None:
    """The newest step of which there is a checkpoint; None without one.

    Example:
        >>> latest("no/such/folder") is None
        True
    """
    return max(steps(directory), default=None)


def _of(directory: Path, step: int) -> Path:
    return directory / f"{step:0{_DIGITS}d}"


def _chosen(directory: str | Path, step: int | None) -> tuple[int, Path]:
    known = steps(directory)
    if not known:
        remedy = "fnn.checkpoint.save writes them."
        raise FileNotFoundError(
            message("directory", f"{directory}, which holds no checkpoint", "one that does", remedy)
        )
    chosen = known[-1] if step is None else step
    if chosen not in known:
        raise FileNotFoundError(message("step", chosen, f"one of {', '.join(map(str, known))}, or None for the latest"))
    return chosen, _of(Path(directory).absolute(), chosen)


def _whole_before(directory: Path, step: int) -> int | None:
    """The newest step before this one whose checkpoint is whole."""
    for earlier in [s for s in steps(directory) if s < step][::-1]:
        try:
            check_files(_of(directory, earlier), opened(_of(directory, earlier)))
        except Wrong:
            continue
        return earlier
    return None


def _clear(directory: Path) -> None:
    """Removes what saves have left that were killed: those of processes of this machine that live no more."""
    for left in directory.glob(f"{_PARTIAL}{socket.gethostname()}-*"):
        owner = left.name.removeprefix(f"{_PARTIAL}{socket.gethostname()}-").split("-")[0]
        if owner.isdecimal() and left.name not in _writing and not _lives(int(owner)):
            shutil.rmtree(left, ignore_errors=True)


def _lives(process: int) -> bool:
    """Whether another process of this number is running."""
    if process == os.getpid():
        return False
    if os.name != "posix":
        return True  # os.kill would end it
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        pass
    return True


def _prune(directory: Path, keep: int, step: int) -> None:
    """Removes all but the newest; each is renamed first, so that none that is half removed passes for a checkpoint."""
    others = [other for other in steps(directory) if other != step]
    for old in others[: max(len(others) + 1 - keep, 0)]:
        gone = _beside(directory)
        try:
            _of(directory, old).rename(gone)
        except OSError:
            continue  # another process was faster, or the folder is read-only by now
        shutil.rmtree(gone, ignore_errors=True)


def _beside(directory: Path) -> Path:
    return directory / f"{_PARTIAL}{socket.gethostname()}-{os.getpid()}-{uuid.uuid4().hex}"


def _as_json(about: Mapping[str, Any]) -> Any:
    try:
        return json.loads(json.dumps(dict(about), default=_listed))
    except (TypeError, ValueError) as error:
        remedy = "Such as {'batch_size': 64}."
        raise TypeError(
            message("about", f"what JSON does not know ({error})", "names, numbers and texts", remedy)
        ) from error


def _listed(value: Any) -> Any:
    if isinstance(value, np.ndarray | np.generic | jax.Array) and not is_key(value):
        return np.asarray(value).tolist()
    raise TypeError(f"a {type(value).__name__}")


def _write(folder: Path, arrays: Mapping[str, Any]) -> None:
    if arrays:
        from orbax import checkpoint as ocp

        with ocp.PyTreeCheckpointer() as checkpointer:
            checkpointer.save(folder, dict(arrays))


def _read(folder: Path, like: Mapping[str, Any]) -> dict[str, Any]:
    if not like:
        return {}
    from orbax import checkpoint as ocp

    def how(leaf: Any) -> Any:
        placed = getattr(leaf, "sharding", None)
        if is_key(leaf) or not hasattr(leaf, "dtype") or isinstance(leaf, np.ndarray | np.generic):
            return ocp.RestoreArgs(restore_type=np.ndarray)
        if placed is None:
            placed = jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
        return ocp.ArrayRestoreArgs(sharding=placed, global_shape=leaf.shape, dtype=leaf.dtype)

    with ocp.PyTreeCheckpointer() as checkpointer:
        return checkpointer.restore(folder, restore_args={name: how(leaf) for name, leaf in like.items()})
