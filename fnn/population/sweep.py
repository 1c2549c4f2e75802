"""Many training runs as one program, or as few calls of one as memory allows."""

import time
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np

from fnn import jaxlibs
from fnn.errors import Interrupted, check_callable, check_choice, check_count, is_traced, message
from fnn.population.cells import Cells, Train, checked_cells
from fnn.population.memory import free_bytes
from fnn.population.pace import Pace
from fnn.population.program import Form, Programs, cell_of, is_key, outputs_of
from fnn.population.results import Results
from fnn.train.progress import Bar, Reporter, reporter_for
from fnn.typing import Key


def sweep(
    train: Train,
    hparams: Any,
    keys: Key,
    *,
    mode: Literal["auto", "vmap", "map"] = "auto",
    chunk: int | None = None,
    progress: bool | Reporter = True,
) -> Results:
    """Trains one network for every combination of hyperparameters and every key: `train(hparams_i, key_j)`.

    `train` builds its network and optimizer itself, from numbers that are traced, and is traced once. All
    cells share one compiled program; the calls of it are spread over all devices, or over the cores of a
    CPU. Each cell is what `train` gives alone, but for the rounding of batched products: about 1e-6 of a
    parameter after one step, and as much as training itself amplifies it later.

    Args:
        train: (hparams, key) to any pytree of arrays. hparams has the structure of a row of `hparams`.
        hparams: a pytree of arrays with one leading axis (h,), such as `grid(...)` or `sample(...)` make.
        keys: typed keys (k,), one a seed: `jax.random.split(key, k)`.
        mode: "vmap" trains the cells of a call at once, "map" one after another; "auto" measures both, and
            how many to a call, on the first cells.
        chunk: cells in one call; None takes all with "vmap", one with "map", and as memory allows with "auto".
        progress: True shows a bar where the output is a terminal; a `Reporter` is told instead.

    Returns:
        Results, whose leaves have the axes (h, k, ...).

    Raises:
        ValueError: hyperparameters of different lengths, no cells, chunk below 1, an unknown mode.
        TypeError: keys that are not typed, a hyperparameter that decides the structure of the program, or a
            `train` that does not return arrays.
        Interrupted: Ctrl-C, a `KeyboardInterrupt`; its `result` is what there was, and `result.done` says which.

    Example:
        >>> x = jnp.linspace(-1.0, 1.0, 8)[:, None]
        >>> data, net = fnn.data.Dataset(x, 2 * x), fnn.nn.mlp([1])
        >>> def train(hparams, key):
        ...     tx = fnn.optim.sgd(hparams["learning_rate"])
        ...     step = fnn.train.make_step(fnn.train.supervised(net, fnn.losses.squared_error), tx)
        ...     state = fnn.train.init_state(key, net, tx, x)
        ...     return fnn.train.run(step, data, batch_size=8, epochs=20)(state)[1]
        >>> hparams = fnn.population.grid(learning_rate=[0.01, 0.1, 1.0])
        >>> results = sweep(train, hparams, jax.random.split(jax.random.key(0), 4))
        >>> results["loss"].shape, float(results.best().hparams["learning_rate"])
        ((3, 4, 20), 1.0)

    Source: one program for a population: Bradbury et al. 2018, JAX, `vmap`.
    """
    if is_traced((hparams, keys, jnp.zeros(()))):
        remedy = "Inside a trace use jax.vmap(train) or jax.lax.map."
        raise TypeError(message("sweep", "a trace around it", "a call from the host", remedy))
    jaxlibs.warn_once()
    check_callable("train", train, "a function (hparams, key) -> pytree of arrays")
    check_choice("mode", mode, ("auto", "vmap", "map"))
    if chunk is not None:
        check_count("chunk", chunk)
    cells = checked_cells(hparams, keys)
    cell = cell_of(train, cells)
    outputs = outputs_of(cell, train, cells)
    reporter = reporter_for(progress)
    if isinstance(reporter, Bar):
        reporter = Bar("network", "networks")
    return _Sweep(cell, cells, outputs, reporter).result(mode, chunk)


class _Sweep:
    """The results so far, and the loop that fills them."""

    def __init__(self, cell: Any, cells: Cells, outputs: Any, reporter: Reporter):
        self._cells, self._outputs, self._reporter = cells, outputs, reporter
        self._programs = Programs(cell, cells)
        self._count = int(np.prod(cells.shape))
        self._parts: list[Any] = []
        self._done = 0

    def result(self, mode: str, chunk: int | None) -> Results:
        outcome = "interrupted"
        self._reporter.start(self._count, 1)
        try:
            self._measured(chunk) if mode == "auto" else self._fixed(mode, chunk)
            outcome = "done"
        except KeyboardInterrupt as interrupt:
            raise Interrupted(self._results() if self._done else None) from interrupt
        finally:
            self._reporter.finish(outcome)
        return self._results()

    def _fixed(self, mode: Any, chunk: int | None) -> None:
        size = chunk or (self._count if mode == "vmap" else self._programs.devices)
        form = self._programs.whole(Form(mode, min(size, -(-self._count // self._programs.at_once))))
        while self._done < self._count:
            self._wave(form)

    def _measured(self, chunk: int | None) -> None:
        programs = self._programs
        # What is free on the device is for all calls at once, and half of it stays free.
        share = free_bytes() // (2 * programs.at_once)
        pace = Pace(self._count, programs.lanes, chunk, lambda form: programs.bytes_of(programs.whole(form)) < share)
        while self._done < self._count:
            compiled, before = programs.compile_seconds, self._done
            form = programs.whole(pace.next(self._done))
            seconds = self._wave(form)
            pace.tell(form, self._done - before, seconds, programs.compile_seconds - compiled)

    def _wave(self, form: Form) -> float:
        """One call of the program, or several at the same time."""
        last = min(self._done + form.chunk * self._programs.at_once, self._count)
        self._programs.compiled(form)
        begun = time.perf_counter()
        self._parts += self._programs.wave(form, self._done, last)
        seconds = time.perf_counter() - begun
        self._done = last
        self._reporter.compile_seconds = self._programs.compile_seconds
        self._reporter.train_seconds += seconds
        self._reporter.update(self._done, {})
        return seconds

    def _results(self) -> Results:
        missing = self._count - self._done

        def whole(shape: jax.ShapeDtypeStruct, *parts: np.ndarray) -> Any:
            rest = np.zeros((missing, *parts[0].shape[1:]), parts[0].dtype)
            values = jnp.asarray(np.concatenate([*parts, rest]).reshape(*self._cells.shape, *parts[0].shape[1:]))
            return self._cells.key_of(values) if is_key(shape) else values

        values = jax.tree.map(whole, self._outputs, *self._parts)
        done = jnp.arange(self._count).reshape(self._cells.shape) < self._done
        return Results(jax.tree.map(jnp.asarray, self._cells.hparams), self._cells.keys, values, done)
