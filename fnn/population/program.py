"""One program for many cells at once, or one after another."""

import contextlib
import os
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Literal, NamedTuple

import jax
import numpy as np
from jax.sharding import Mesh, PartitionSpec

from fnn.errors import message, values_behind
from fnn.keys import is_key
from fnn.population.cells import Cells, Train
from fnn.tree import named_leaves
from fnn.typing import Array, Key


class Form(NamedTuple):
    """How cells are run: so many a call, all at once ("vmap") or one after another ("map")."""

    mode: Literal["vmap", "map"]
    chunk: int


def cell_of(train: Train, cells: Cells) -> Any:
    """`train` as a function of a row of hyperparameters and the numbers of a key; jitted, so that it is traced once.

    Example:
        >>> from fnn.population.cells import checked_cells
        >>> cells = checked_cells({"x": jnp.arange(3.0)}, jax.random.split(jax.random.key(0), 2))
        >>> cell = cell_of(lambda hparams, key: hparams["x"] ** 2, cells)
        >>> cell({"x": jnp.float32(3)}, cells.words[0])
        Array(9., dtype=float32)
    """

    def cell(row: Any, words: Array) -> Any:
        with contextlib.ExitStack() as known:
            # A number out of range is refused here, though it is traced.
            for leaf, values in zip(*map(jax.tree.leaves, (row, cells.hparams)), strict=True):
                known.enter_context(values_behind(leaf, values))
            results = train(row, cells.key_of(words))
        for leaf in jax.tree.leaves(results):
            if not isinstance(leaf, jax.Array | np.ndarray | np.generic | int | float | complex):
                raise TypeError(message("result of train", f"a {type(leaf).__name__}", "a pytree of arrays"))
        return results

    return jax.jit(cell)


def outputs_of(cell: Any, train: Train, cells: Cells) -> Any:
    """The shapes of what a cell returns; it is traced, not run.

    Raises:
        TypeError: a hyperparameter that decides the structure of the program (it is named), or no arrays.

    Example:
        >>> from fnn.population.cells import checked_cells
        >>> cells = checked_cells({"x": jnp.arange(3.0)}, jax.random.split(jax.random.key(0), 2))
        >>> train = lambda hparams, key: {"y": hparams["x"] ** 2}
        >>> outputs_of(cell_of(train, cells), train, cells)["y"].shape
        ()
    """
    row, words = jax.tree.map(lambda a: a[0], cells.rows(0, 1))
    try:
        shapes = jax.eval_shape(cell, row, words)
    except (TypeError, ValueError) as error:
        names = _structural(train, row, cells.key_of(words))
        if not names:
            raise
        where = "hparams leaf " + ", ".join(f"'{name}'" for name in names)
        remedy = (
            "The networks of a sweep share one program: mask widths, fnn.nn.mlp(..., active=[width]), or loop over "
            "such values with a sweep for each."
        )
        raise TypeError(message(where, "an array", "numbers that decide no structure", remedy)) from error
    if not jax.tree.leaves(shapes):
        raise TypeError(message("result of train", "no arrays", "a pytree of arrays", "Such as the history."))
    return shapes


def _structural(train: Train, row: Any, key: Key) -> list[str]:
    """The hyperparameters that `train` cannot take traced, though it takes them known."""
    leaves, tree = jax.tree.flatten(row)

    def fails(traced: Sequence[int]) -> bool:
        def with_traced(values: list[Array], key: Key) -> Any:
            given = iter(values)
            return train(tree.unflatten([next(given) if i in traced else a for i, a in enumerate(leaves)]), key)

        try:
            jax.eval_shape(with_traced, [leaves[i] for i in traced], key)
        except (TypeError, ValueError):
            return True
        return False

    return [] if fails(()) else [name for i, name in enumerate(named_leaves(row)) if fails((i,))]


class Programs:
    """Compiles a cell in any form, and runs calls on all devices, or on a CPU on all of its cores.

    Attributes:
        compile_seconds: time to trace and compile, all forms together.
        at_once: calls that run at the same time, each in a thread of the host.
        devices: how many devices share each call.
    """

    def __init__(self, cell: Any, cells: Cells):
        self._cell, self._cells = cell, cells
        self._devices = jax.local_devices()
        self._compiled: dict[Form, Any] = {}
        # On a CPU the third level of optimization takes twice the time to compile, and gains nothing.
        on_cpu = self._devices[0].platform == "cpu"
        self._options: dict[str, str | bool] = {"xla_backend_optimization_level": "2"} if on_cpu else {}
        self.devices = len(self._devices)
        self.compile_seconds = 0.0
        one_cpu = self.devices == 1 and on_cpu
        self.at_once = len(os.sched_getaffinity(0)) if one_cpu and hasattr(os, "sched_getaffinity") else 1

    def whole(self, form: Form) -> Form:
        """This form with as many cells to a call as the devices can share evenly."""
        return form._replace(chunk=-(-form.chunk // self.devices) * self.devices)

    def compiled(self, form: Form) -> Any:
        """The program of this form."""
        if form not in self._compiled:
            begun = time.perf_counter()
            example = self._cells.rows(0, form.chunk)
            self._compiled[form] = jax.jit(self._many(form)).lower(*example).compile(self._options)
            self.compile_seconds += time.perf_counter() - begun
        return self._compiled[form]

    def _many(self, form: Form) -> Any:
        def one(row: Any, words: Array) -> Any:
            return jax.tree.map(lambda a: jax.random.key_data(a) if is_key(a) else a, self._cell(row, words))

        many = jax.vmap(one) if form.mode == "vmap" else lambda *rows: jax.lax.map(lambda row: one(*row), rows)
        if self.devices == 1:
            return many
        mesh, spec = Mesh(np.array(self._devices), ("population",)), PartitionSpec("population")
        return jax.shard_map(many, mesh=mesh, in_specs=(spec, spec), out_specs=spec, check_vma=False)

    def bytes_of(self, form: Form) -> int:
        """The memory that a call takes, on each device: arguments, results, and what lies between."""
        memory = self.compiled(form).memory_analysis()
        return memory.argument_size_in_bytes + memory.output_size_in_bytes + memory.temp_size_in_bytes

    def wave(self, form: Form, first: int, last: int) -> list[Any]:
        """Results of the cells from first to before last, call by call, as NumPy arrays, in order."""
        program = self.compiled(form)

        def call(start: int) -> Any:
            results = jax.device_get(program(*self._cells.rows(start, form.chunk)))
            return jax.tree.map(lambda a: a[: last - start], results)

        starts = range(first, last, form.chunk)
        if len(starts) == 1:
            return [call(first)]
        with ThreadPoolExecutor(self.at_once) as threads:
            return list(threads.map(call, starts))
