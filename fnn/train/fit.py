"""The host's side of training: one compiled program, called for a while at a time."""

import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from fnn.checkpoint import Saver
from fnn.data import Dataset, check_dataset, steps_per_epoch
from fnn.errors import Interrupted, check_count, is_traced, message
from fnn.optim import hyperparams_of
from fnn.parallel.layout import Layout, check_divides, data_parallel, place, sharded
from fnn.train.chunk import Carry, first_carry, make_advance
from fnn.train.durable import (
    alone_in,
    fingerprint,
    interrupted_at,
    key_numbers,
    resumed,
    saver_for,
    stopped_by_signals,
    warn_of_another,
)
from fnn.train.failure import failure
from fnn.train.plan import Plan, on_device
from fnn.train.precision import Precision, as_precision
from fnn.train.progress import Reporter, reporter_for
from fnn.train.state import TrainState, init_state
from fnn.train.step import Step, make_step
from fnn.train.stopping import last_finite
from fnn.train.supervised import check_metrics, supervised
from fnn.train.watch import Watch, looking, watch_for
from fnn.typing import Augmentation, History, Key, Loss, Metric, Scalar

# Long enough that the host's share vanishes, short enough for a bar that moves.
_CHUNK_SECONDS = 0.2
_SEVERAL, _PATIENCE = 8, 20  # steps in a call at least, unless it takes so many times as long


class FitResult(NamedTuple):
    """What a fit ends with.

    Attributes:
        state: the last state.
        best: the state of least validation loss; the last one where there is no validation.
        history: arrays with one entry for each finished epoch: `loss`, each metric, `grad_norm`, the numbers
            of `fnn.optim.with_hyperparams`, and with validation `val_loss` and each metric as `val_...`.
    """

    state: TrainState
    best: TrainState
    history: History

    def __repr__(self) -> str:
        epochs = len(next(iter(self.history.values()), ()))
        last = ", ".join(f"{name} {float(v[-1]):.4g}" for name, v in self.history.items() if len(v))
        return f"FitResult({self.state.step} steps, {epochs} epochs{last and ': ' + last})"


def fit(
    net: Any,
    loss: Loss,
    tx: optax.GradientTransformation,
    data: Dataset,
    *,
    key: Key,
    epochs: int,
    batch_size: int,
    validation: Dataset | None = None,
    metrics: Mapping[str, Metric] | None = None,
    patience: int | None = None,
    progress: bool | Reporter = True,
    watch: Watch | None = None,
    checkpoint: str | Path | None = None,
    every: float = 30.0,
    keep: int | None = 3,
    l2: Scalar = 0.0,
    l1: Scalar = 0.0,
    clip_norm: Scalar | None = None,
    accumulate: int = 1,
    augment: Augmentation | None = None,
    precision: Precision | str | None = None,
    layout: Layout | None = None,
) -> FitResult:
    """Trains a network on data: progress, validation, early stopping and history around compiled steps.

    The whole of it, validation and stopping included, is one program that is traced once; the host calls
    it for a fraction of a second at a time and shows where it is. Its parameters are those of
    `fnn.train.run` with the same key.

    Args:
        net: a network with `init` and `apply`, such as `fnn.nn.mlp([128, 10])`.
        loss: (outputs, targets) to one value per example, such as those of `fnn.losses`.
        tx: an Optax gradient transformation, such as `fnn.optim.adam(1e-3)`.
        data: the examples to train on.
        key: the run's typed key: first weights, order and noise follow from it.
        epochs: how often each example is used, at most.
        batch_size: examples in a batch; the last batch of an epoch may hold fewer.
        validation: examples to measure on after each epoch.
        metrics: more functions like `loss`, by name.
        patience: stop after so many epochs without a lower validation loss; None never stops early.
        progress: True shows a bar where the output is a terminal; a `Reporter` is told instead.
        watch: a `Watch` looks at every layer's signals now and then, and holds what it saw.
        checkpoint: a folder. The fit saves itself there, and goes on from there when it is called again, to end
            with the bits of one that was never broken off. SIGTERM and Ctrl-C save too. A warning tells when it goes
            on in another way: with another learning rate, loss, penalty, precision or number of devices.
        every: seconds between two checkpoints, at least; 0 saves as often as it can.
        keep: how many of the newest stay; None keeps all.
        l2: weight of the sum of squared weights in the loss.
        l1: weight of the sum of their magnitudes.
        clip_norm: the gradient's largest global norm.
        accumulate: micro-batches that each batch is cut into.
        augment: changes each batch at random in training, such as `fnn.augment.flip()`; validation sees the
            examples as they are.
        precision: of the training steps, as `make_step` takes it: "bfloat16" computes the network in that.
        layout: trains on many devices, such as `fnn.parallel.data_parallel()` or `fsdp()`; None takes one.

    Returns:
        The last state, the best one, and the history.

    Raises:
        ValueError: bad data, numbers out of range, labels that the loss refuses, a checkpoint of another fit, or
            another process in its folder: before anything compiles.
        TypeError: an argument of the wrong kind.
        CorruptCheckpoint: the newest checkpoint is not what was saved; the message says which one is.
        NonFiniteError: the loss, the gradient, the state or the validation loss became NaN or infinite. Its
            `result` holds the last finite state, its `batch` the batch of the step that failed, and its
            `event` says which operation of which layer made the first such number.
        Interrupted: Ctrl-C, or SIGTERM where there is a checkpoint; a `KeyboardInterrupt`. Its `result` is what
            there was.

    Example:
        >>> x = jnp.linspace(-1.0, 1.0, 64)[:, None]
        >>> result = fit(fnn.nn.mlp([16, 1], "tanh"), fnn.losses.squared_error, fnn.optim.adam(1e-2),
        ...     fnn.data.Dataset(x, x**2), key=jax.random.key(0), epochs=200, batch_size=16)
        >>> result.history["loss"].shape, bool(result.history["loss"][-1] < 1e-3)
        ((200,), True)
    """
    if is_traced((key, data, validation, jnp.zeros(()))):
        remedy = "Inside jit, vmap or grad use fnn.train.run, which is pure."
        raise TypeError(message("fit", "a trace around it", "a call from the host", remedy))
    if jax.process_count() > 1:
        remedy = "Loop over fnn.parallel.stream with a sharded step, as docs/tutorials/processes.md shows."
        raise ValueError(message("fit", f"{jax.process_count()} processes", "one", remedy))
    check_count("epochs", epochs)
    if patience is not None:
        check_count("patience", patience)
        if validation is None:
            raise ValueError(
                message("patience", patience, "a validation set with it", "Give validation=..., or no patience.")
            )
    if layout is not None:
        check_divides("batch_size", batch_size, layout)
    data = on_device(check_dataset(data))
    validation = None if validation is None else on_device(check_dataset(validation, "validation"))
    metrics, watch = check_metrics(metrics), watch_for(watch)
    plan = Plan(len(data.x), batch_size, steps_per_epoch(len(data.x), batch_size), weighted=True)
    loss_fn = supervised(net, loss, metrics=metrics, l2=l2, l1=l1, augment=augment)
    step = make_step(loss_fn, tx, accumulate=accumulate, clip_norm=clip_norm, precision=precision)
    state = init_state(key, net, tx, data.x[:batch_size])
    if layout is not None:
        step, state = sharded(step, layout), place(state, layout)
        data, validation = place((data, validation), data_parallel(layout.mesh))
    measured = None if validation is None else {"loss": loss, **metrics}
    reported = ["loss", *metrics, "grad_norm", *hyperparams_of(state.opt_state)]
    carry = _beside_state(first_carry(state, epochs, reported, [] if measured is None else list(measured)), layout)
    advance = make_advance(step, net, measured, plan.suited(state), data, validation, patience)
    watch.begin(epochs * plan.steps, looking(step, net, loss, data, plan.suited(state)))
    settings = {"epochs": epochs, "batch_size": batch_size, "patience": patience, "key": key_numbers(key)}
    settings |= {} if checkpoint is None else {"data": fingerprint(data), "validation": fingerprint(validation)}
    numbers = {"l2": l2, "l1": l1, "clip_norm": clip_norm, "accumulate": accumulate}
    how = {name: np.asarray(number).item() for name, number in numbers.items()} | _on(precision, layout)
    saver = saver_for(checkpoint, every, keep, {**settings, "how": how})
    run = _Run(step, data, validation, plan, epochs, reporter_for(progress), watch, saver, layout)
    with alone_in(saver, "fit"):
        return _drive(advance, resumed(saver, carry), run)


def _on(precision: Precision | str | None, layout: Layout | None) -> dict[str, Any]:
    """In which dtypes, and on how many devices, in words that can be written down."""
    dtypes = () if precision is None else as_precision(precision)
    names = ", ".join(jnp.dtype(dtype).name for dtype in dtypes)
    return {"precision": names or None, "devices": 1 if layout is None else layout.mesh.size}


class _Run(NamedTuple):
    """What stays the same through a fit, and who is told of it."""

    step: Step
    data: Dataset
    validation: Dataset | None
    plan: Plan
    epochs: int
    reporter: Reporter
    watch: Watch
    saver: Saver
    layout: Layout | None

    @property
    def total(self) -> int:
        return self.epochs * self.plan.steps


def _beside_state(carry: Carry, layout: Layout | None) -> Carry:
    """What a carry holds beside its states, on the same devices."""
    if layout is None:
        return carry
    rest = {name: value for name, value in carry._asdict().items() if name not in ("state", "best")}
    return carry._replace(**place(rest, data_parallel(layout.mesh)))


Program = Callable[[Carry, int], Carry]
"""(carry, stop) to the carry at that step, or where training ended by itself."""


def _drive(advance: Callable[..., Carry], carry: Carry, run: _Run) -> FitResult:
    before, good, outcome = carry, carry, "interrupted"
    run.reporter.start(run.epochs, run.plan.steps)
    with stopped_by_signals(run.saver):
        try:
            program = _compiled(advance, carry, run)
            run.watch.look(carry.state)
            for after in _calls(program, carry, run):
                before, carry = carry, after
            failed = int(carry.broken) >= 0
            good = last_finite(lambda stop: program(before, stop), before, carry) if failed else carry
            run.saver.save(int(good.state.step), good)
            outcome = "failed" if failed else "stopped early" if bool(carry.stopped) else "done"
        except KeyboardInterrupt as interrupt:
            good = before if int(carry.broken) >= 0 else carry
            run.saver.save(int(good.state.step), good)
            text = interrupted_at(run.saver, int(good.state.step), run.total)
            raise Interrupted(_reached(good, run.plan), text) from interrupt
        except Exception:
            run.saver.wait()  # so that the next call meets no checkpoint that is still being written
            raise
        finally:
            run.reporter.finish(outcome)
    if outcome != "failed":
        return _reached(carry, run.plan)
    run.watch.look(good.state, ended=True)
    raise failure(run.step, run.data, run.plan, good, carry, lambda reached: _reached(reached, run.plan))


def _compiled(advance: Callable[..., Carry], carry: Carry, run: _Run) -> Program:
    begun = time.perf_counter()
    # Nothing is donated: where a call fails, or is broken off, the state before it is still there.
    # On a mesh the carry must lie as before, so that the program can take it again.
    lies = {} if run.layout is None else {"out_shardings": jax.tree.map(lambda leaf: leaf.sharding, carry)}
    traced = jax.jit(advance, **lies).trace(carry, run.data, run.validation, jnp.int32(0))
    ended = _ended(carry) or int(carry.state.step) >= run.total
    warn_of_another(run.saver, traced.jaxpr, "network, loss, optimizer, augmentation, or fnn itself", ended)
    if ended:
        return lambda carry, _: carry
    program = traced.lower().compile()
    run.reporter.compile_seconds = time.perf_counter() - begun
    return lambda carry, stop: program(carry, run.data, run.validation, jnp.int32(stop))


def _calls(program: Program, carry: Carry, run: _Run) -> Iterator[Carry]:
    """The carry after each call of the program, as long as training goes on."""
    done, chunk = int(carry.state.step), 1
    while done < run.total and not _ended(carry):
        begun, since = time.perf_counter(), done
        carry = program(carry, run.watch.due(done, min(done + chunk, run.total)))
        done = int(carry.state.step)
        seconds = time.perf_counter() - begun
        yield carry
        run.reporter.train_seconds += seconds
        run.reporter.update(done, carry.latest(done // run.plan.steps))
        if int(carry.broken) < 0:
            run.watch.look(carry.state, ended=bool(carry.stopped))
            run.saver.offer(done, carry, copy=False)
        chunk = _next_chunk(done - since, seconds)


def _ended(carry: Carry) -> bool:
    return bool(carry.stopped) or int(carry.broken) >= 0


def _next_chunk(steps: int, seconds: float) -> int:
    def within(limit: float) -> int:
        return int(steps * limit / max(seconds, 1e-9))

    # A call copies the state: the long steps of a large network come in several all the same.
    wanted = max(within(_CHUNK_SECONDS), min(_SEVERAL, within(_PATIENCE * _CHUNK_SECONDS)))
    # At most four times as many: the first call is slower than the rest.
    return max(1, min(4 * steps, wanted))


def _reached(carry: Carry, plan: Plan) -> FitResult:
    epochs = int(carry.state.step) // plan.steps
    history = {name: jnp.asarray(np.asarray(values)[:epochs]) for name, values in carry.history.items()}
    return FitResult(carry.state, carry.state if carry.best is None else carry.best, history)
