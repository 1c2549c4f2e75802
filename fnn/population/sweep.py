"""Many training runs as one program, or as few calls of one as memory allows."""

import time
from pathlib import Path
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from fnn import jaxlibs
from fnn.checkpoint import Saver
from fnn.errors import Interrupted, check_callable, check_choice, check_count, is_traced, message
from fnn.keys import is_key
from fnn.population.cells import Cells, Train, checked_cells
from fnn.population.memory import free_bytes
from fnn.population.pace import Known, Pace, settled
from fnn.population.program import Form, Programs, cell_of, outputs_of
from fnn.population.results import Results
from fnn.train.durable import (
    alone_in,
    fingerprint,
    interrupted_at,
    last_saved,
    read_back,
    saver_for,
    stopped_by_signals,
    warn_of_another,
)
from fnn.train.progress import Bar, Reporter, reporter_for
from fnn.tree import named_leaves
from fnn.typing import Key


def sweep(
    train: Train,
    hparams: Any,
    keys: Key,
    *,
    mode: Literal["auto", "vmap", "map"] = "auto",
    chunk: int | None = None,
    progress: bool | Reporter = True,
    checkpoint: str | Path | None = None,
    every: float = 30.0,
    keep: int | None = 3,
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
            how many to a call, on the first cells. On an accelerator it trains up to 1,024 at once, and more
            where a long sweep shows that to be faster.
        chunk: cells in one call; None takes all with "vmap", one with "map", and as memory allows with "auto".
        progress: True shows a bar where the output is a terminal; a `Reporter` is told instead.
        checkpoint: a folder. After each call the cells that are done may be saved there, and the same sweep goes on
            with the missing ones when it is called again, to end with the bits of one that was never broken off.
            With "auto" those are the bits of the forms that its own measurements chose, which are saved too. A call
            that was under way is trained again. A warning tells when `train` is another program than it was.
        every: seconds between two checkpoints, at least; 0 saves as often as it can. Each holds all cells so far.
        keep: how many of the newest stay; None keeps all.

    Returns:
        Results, whose leaves have the axes (h, k, ...).

    Raises:
        ValueError: hyperparameters of different lengths, no cells, chunk below 1, an unknown mode, a checkpoint
            of another sweep, or another process in its folder: before anything compiles.
        TypeError: keys that are not typed, a hyperparameter that decides the structure of the program, or a
            `train` that does not return arrays.
        CorruptCheckpoint: the newest checkpoint is not what was saved; the message says which one is.
        Interrupted: Ctrl-C, or SIGTERM where there is a checkpoint; a `KeyboardInterrupt`. Its `result` is what there
            was, and `result.done` says which.

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
        chunk = int(chunk)
    cells = checked_cells(hparams, keys)
    cell = cell_of(train, cells)
    outputs = outputs_of(cell, train, cells)
    reporter = reporter_for(progress)
    if isinstance(reporter, Bar):
        reporter = Bar("network", "networks")
    settings = {} if checkpoint is None else _settings(cells, mode, chunk)
    saver = saver_for(checkpoint, every, keep, settings)
    running = _Sweep(cell, cells, outputs, reporter, saver)
    with alone_in(saver, "sweep"):
        running.resume()
        if checkpoint is not None:
            # It was traced for its shapes: this is the same trace.
            program = jax.make_jaxpr(cell)(*jax.tree.map(lambda a: a[0], cells.rows(0, 1)))
            warn_of_another(saver, program, "train, or fnn itself", running.ended, stacklevel=3)
        return running.result(mode, chunk)


def _settings(cells: Cells, mode: str, chunk: int | None) -> dict[str, Any]:
    """What must be the same for a sweep to go on; arrays by a checksum."""
    numbers = {f"hparams leaf '{name}'" if name else "hparams": a for name, a in named_leaves(cells.hparams).items()}
    sums = {name: (fingerprint((a,)) or "")[:16] for name, a in (numbers | {"keys": cells.words}).items()}
    return {"mode": mode, "chunk": chunk, **sums, "kind of keys": str(jax.random.key_impl(cells.keys))}


class _Reached(NamedTuple):
    """How far a sweep is: so many cells, and what its pace has learned; None before the first start."""

    done: int = 0
    known: Known | None = None


class _Sweep:
    """The results so far, and the loop that fills them."""

    def __init__(self, cell: Any, cells: Cells, outputs: Any, reporter: Reporter, saver: Saver):
        self._cells, self._outputs, self._reporter, self._saver = cells, outputs, reporter, saver
        self._programs = Programs(cell, cells)
        self._count = int(np.prod(cells.shape))
        # Cells are filled in once, in their order: what is done is saved without a copy.
        self._values = jax.tree.map(self._empty, outputs)
        self._at = _Reached()

    @property
    def ended(self) -> bool:
        """Whether every cell is done."""
        return self._at.done == self._count

    def resume(self) -> None:
        """Goes to where the newest checkpoint is, if there is one."""
        done = last_saved(self._saver, "sweep", "settings")
        if done is None:
            return
        saved = read_back(self._saver, done, self._tree(_Reached(done)), "sweep", "train")
        self._put(0, saved["results"])
        self._at = _Reached(done, saved["pace"])

    def result(self, mode: str, chunk: int | None) -> Results:
        outcome = "interrupted"
        self._reporter.start(self._count, 1)
        with stopped_by_signals(self._saver):
            try:
                self._train(mode, chunk)
                self._saver.save(self._at.done, self._tree(self._at))
                outcome = "done"
            except KeyboardInterrupt as interrupt:
                at = self._at
                self._saver.save(at.done, self._tree(at))
                text = interrupted_at(self._saver, at.done, self._count, "networks")
                raise Interrupted(self._results() if at.done else None, text) from interrupt
            except Exception:
                self._saver.wait()  # so that the next call meets no checkpoint that is still being written
                raise
            finally:
                self._reporter.finish(outcome)
        return self._results()

    def _train(self, mode: Any, chunk: int | None) -> None:
        programs, known = self._programs, self._at.known
        if known is None and mode != "auto":
            size = chunk or (self._count if mode == "vmap" else programs.devices)
            known = settled(programs.whole(Form(mode, min(size, -(-self._count // programs.at_once)))))
        # What is free on the device is for all calls at once, and half of it stays free.
        share = free_bytes() // (2 * programs.at_once)
        fits = lambda form: programs.bytes_of(programs.whole(form)) < share  # noqa: E731
        pace = Pace(self._count, programs.at_once, chunk, fits, known)
        while (done := self._at.done) < self._count:
            compiled = programs.compile_seconds
            form = programs.whole(pace.next(done))
            last = min(done + form.chunk * programs.at_once, self._count)
            seconds = self._wave(form, done, last)
            pace.tell(form, last - done, seconds, programs.compile_seconds - compiled)
            # One assignment: a signal finds the cells and the pace of the same moment.
            self._at = _Reached(last, pace.known)
            self._told(seconds)

    def _wave(self, form: Form, first: int, last: int) -> float:
        """One call of the program, or several at the same time."""
        self._programs.compiled(form)
        begun = time.perf_counter()
        parts = self._programs.wave(form, first, last)
        for start, part in zip(range(first, last, form.chunk), parts, strict=True):
            self._put(start, part)
        return time.perf_counter() - begun

    def _put(self, first: int, part: Any) -> None:
        jax.tree.map(lambda a, new: np.copyto(a[first : first + len(new)], new), self._values, part)

    def _told(self, seconds: float) -> None:
        at, reporter = self._at, self._reporter
        reporter.compile_seconds = self._programs.compile_seconds
        reporter.train_seconds += seconds
        reporter.update(at.done, {})
        self._saver.offer(at.done, self._tree(at), copy=False)

    def _tree(self, at: _Reached) -> Any:
        """What a checkpoint holds."""
        return {"pace": at.known or Known(), "results": jax.tree.map(lambda a: a[: at.done], self._values)}

    def _empty(self, shape: jax.ShapeDtypeStruct) -> np.ndarray:
        numbers = jax.eval_shape(jax.random.key_data, shape) if is_key(shape) else shape
        return np.zeros((self._count, *numbers.shape), numbers.dtype)

    def _results(self) -> Results:
        def whole(shape: jax.ShapeDtypeStruct, a: np.ndarray) -> Any:
            values = jnp.asarray(a.reshape(*self._cells.shape, *a.shape[1:]))
            return self._cells.key_of(values) if is_key(shape) else values

        values = jax.tree.map(whole, self._outputs, self._values)
        done = jnp.arange(self._count).reshape(self._cells.shape) < self._at.done
        return Results(jax.tree.map(jnp.asarray, self._cells.hparams), self._cells.keys, values, done)
