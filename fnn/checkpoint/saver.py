"""Saving beside the training: one checkpoint after another from a thread, while the steps go on."""

import threading
import time
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

from fnn.checkpoint.folder import save, steps
from fnn.checkpoint.leaves import described
from fnn.checkpoint.together import several
from fnn.errors import check_count, check_scalar, message


class Saver:
    """Saves states now and then, from a thread of its own.

    A save that fails, since the disk is full for instance, is a warning: training goes on, the checkpoints before
    are as they were, and the next one is tried again. A step that is there already is not saved twice.

    Args:
        directory: the folder of checkpoints; a relative one is taken from the working directory of now.
        every: seconds between two of them, at least; none is begun while one is being written.
        keep: how many of the newest stay; None keeps all.
        about: what to say of each, as `save` takes it.

    Raises:
        ValueError: `every` below 0, or `keep` below 1.

    Example:
        >>> import tempfile
        >>> folder = tempfile.mkdtemp()
        >>> with Saver(folder, every=0.0, keep=2) as saver:
        ...     for step in range(3):
        ...         saver.offer(step, {"w": jnp.ones(3)})
        ...     saver.save(3, {"w": jnp.ones(3)})
        >>> fnn.checkpoint.latest(folder)
        3
    """

    def __init__(
        self,
        directory: str | Path,
        *,
        every: float = 30.0,
        keep: int | None = 3,
        about: Mapping[str, Any] | None = None,
    ) -> None:
        check_scalar("every", every, 0)
        if keep is not None:
            check_count("keep", keep)
        self.directory, self.every, self.keep, self.about = Path(directory).absolute(), every, keep, about
        self._thread: threading.Thread | None = None
        self._begun = time.monotonic()

    def offer(self, step: int, tree: Any, *, copy: bool = True) -> None:
        """Saves a state from the thread, if it is time for one and the thread is free.

        It is copied first, since the caller may donate it to the next step; one who does not needs no copy.

        Raises:
            TypeError: a leaf that cannot be saved, when it is time.
            ValueError: two leaves have one path, likewise; or this process is one of several.
        """
        if several():
            remedy = "Call fnn.checkpoint.save after steps that they agree on; seconds pass differently for each."
            raise ValueError(message("Saver", f"{jax.process_count()} processes", "one", remedy))
        if time.monotonic() - self._begun < self.every or (self._thread is not None and self._thread.is_alive()):
            return
        self._begun = time.monotonic()
        described(tree)
        tree = jax.tree.map(_copied, tree) if copy else tree
        self._thread = threading.Thread(target=self._save, args=(step, tree), name="fnn.checkpoint", daemon=True)
        self._thread.start()

    def save(self, step: int, tree: Any) -> None:
        """Saves a state now, unless it is saved already, after the one that is being written."""
        self.wait()
        described(tree)
        self._save(step, tree)

    def wait(self) -> None:
        """Waits until nothing is being written."""
        if self._thread is not None:
            self._thread.join()

    def __enter__(self) -> "Saver":
        return self

    def __exit__(self, *error: object) -> None:
        self.wait()

    def _save(self, step: int, tree: Any) -> None:
        if step in steps(self.directory):
            return
        try:
            save(self.directory, step, tree, keep=self.keep, about=self.about)
        except (OSError, ValueError) as error:  # a ValueError: another process has just saved this step
            warnings.warn(f"no checkpoint of step {step}: {error}", RuntimeWarning, stacklevel=2)


def _copied(leaf: Any) -> Any:
    return leaf.copy() if isinstance(leaf, jax.Array | np.ndarray) else leaf
