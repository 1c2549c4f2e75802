"""Where the first NaN or infinity of a training step came from."""

from collections.abc import Callable, Iterable
from typing import Any

import jax
import numpy as np

from fnn.errors import check_callable, is_traced, message
from fnn.inspect.equations import layers_of
from fnn.inspect.event import Event, of_input, of_result
from fnn.inspect.replay import Operation, Replay, Value
from fnn.tree import named_leaves
from fnn.typing import Batch


def first_nonfinite(step: Callable[[Any, Batch], Any], state: Any, batch: Batch) -> Event | None:
    """Which operation of a step made the first number that is not finite, in which layer and stage.

    It takes the step once more on the host, operation by operation, and goes back from a result that is not
    finite to the operation all of whose inputs were: an infinity that is masked away later is not to blame.
    Stages are looked at in order, so a gradient is only told of where the loss is finite. Layers and gradients
    have names in steps of `fnn.train.make_step` with networks of `fnn.nn` or Flax Linen; operations always
    have. It takes seconds, not microseconds: give it the state and batch that a guard has stopped at.

    Args:
        step: (state, batch) to (state, metrics), not jitted; of a guarded one, the step inside it is taken.
        state: the state before the step, such as a guarded run returns, or `error.result.state` of a fit.
        batch: the batch that it saw: `fnn.train.next_batch`, or `error.batch`.

    Returns:
        The event, or None where loss, gradient norm and new state are finite.

    Raises:
        TypeError: not a function, or called under a trace.

    Example:
        >>> half = fnn.nn.dense(3, w_init=fnn.initializers.constant(0.5))
        >>> net = fnn.nn.sequential(half, fnn.nn.activation(jnp.exp), fnn.nn.dense(1))
        >>> tx = fnn.optim.sgd(0.1)
        >>> step = fnn.train.make_step(fnn.train.supervised(net, fnn.losses.squared_error), tx)
        >>> batch = fnn.data.Dataset(jnp.full((2, 4), 60.0), jnp.zeros((2, 1)))
        >>> state = fnn.train.init_state(jax.random.key(0), net, tx, batch.x)
        >>> print(first_nonfinite(step, state, batch))
        step 0: forward pass, exp_0: exp gave inf (6 of 6 values), such as exp(120)
    """
    check_callable("step", step, "a function (state, batch) -> (state, metrics)", "Make one: fnn.train.make_step.")
    if is_traced((state, batch)):
        raise TypeError(
            message("first_nonfinite", "a trace around it", "a call from the host", "Call it after the run.")
        )
    plain = getattr(step, "unguarded", step)
    number = int(getattr(state, "step", 0))
    with jax.debug_nans(False), jax.debug_infs(False):
        replay = Replay()
        new, metrics, given = _replayed(replay, plain, state, batch)
    told = [metrics[name] for name in ("loss", "grad_norm") if name in metrics]
    spoiled = {n: v for n, v in new.items() if not v.finite and (n not in given or (v.bad & ~given[n].bad).any())}
    if all(value.finite for value in told) and not spoiled:
        return None
    stage, leaf, value = _first(metrics, replay.tags, spoiled)
    operation, value = _origin(value)
    if operation is None:
        return of_input(number, value)
    layer = "/".join(layers_of(operation.scope))
    if stage == "forward":
        stage, leaf = ("loss", "loss") if "loss" in layer.split("/") else (stage, layer or leaf)
    return of_result(number, stage, leaf, layer, operation, value)


def _replayed(replay: Replay, step: Any, state: Any, batch: Batch) -> tuple[dict[str, Value], ...]:
    """New state, metrics and old state by name."""
    jaxpr, shapes = jax.make_jaxpr(step, return_shape=True)(state, batch)
    given = {name: Value(leaf, name=name, kind="state") for name, leaf in named_leaves(state).items()}
    fed = [Value(leaf, name=name, kind="data") for name, leaf in _named_batch(batch)]
    results = replay.run(jaxpr.jaxpr, jaxpr.consts, [*given.values(), *fed])
    new, metrics = jax.tree.unflatten(jax.tree.structure(shapes), results)
    return named_leaves(new), named_leaves(metrics), given


def _named_batch(batch: Batch) -> Iterable[tuple[str, Any]]:
    if type(batch) is not tuple or len(batch) not in (2, 3):
        return named_leaves(batch).items()
    parts = zip(("x", "y", "weight"), batch, strict=False)
    return [("/".join(filter(None, (part, n))), leaf) for part, tree in parts for n, leaf in named_leaves(tree).items()]


def _first(
    metrics: dict[str, Value], tags: list[tuple[str, Value]], spoiled: dict[str, Value]
) -> tuple[str, str, Value]:
    """The earliest stage with a result that is not finite; the result's name, and the result."""
    if "loss" in metrics and not metrics["loss"].finite:
        return "forward", "", metrics["loss"]
    gradients = {name.removeprefix("gradient/"): value for name, value in tags if name.startswith("gradient/")}
    stage, bad = "gradient", {name: value for name, value in gradients.items() if not value.finite}
    if not bad and "grad_norm" in metrics and not metrics["grad_norm"].finite:
        bad = {"grad_norm": metrics["grad_norm"]}
    if not bad:
        stage, bad = "update", spoiled
    # The backward pass comes to the last layer first.
    leaf, value = min(bad.items(), key=lambda named: named[1].source.number if named[1].source else -1)
    return "forward" if leaf.startswith("model_state/") and stage == "update" else stage, leaf, value


def _origin(value: Value) -> tuple[Operation | None, Value]:
    """The first operation that leads to this value and got only finite numbers; or an input that was not finite."""
    found: list[tuple[int, int, Operation | None, Value]] = []
    seen, ahead = set(), [value]
    while ahead:
        value = ahead.pop()
        if id(value) in seen:
            continue
        seen.add(id(value))
        operation = value.source
        if operation is None:
            found += [(0, 0, None, value)] if value.kind else []
            continue
        behind = [v for v in _read(operation, value) if not v.finite]
        ahead += behind
        # A constant that is infinite is to blame only where nothing else is.
        if not any(v.source or v.kind for v in behind):
            found.append((2 if behind else 1, operation.number, operation, value))
    _, _, operation, result = min(found, key=lambda one: one[:2])
    return operation, result


def _read(operation: Operation, result: Value) -> list[Value]:
    """The inputs that reach a result where it is not finite: of a choice, only what was chosen."""
    if operation.name != "select_n":
        return list(operation.inputs)
    which, *cases = operation.inputs
    chosen = np.asarray(which.array).astype(int)
    return [case for i, case in enumerate(cases) if (result.bad & case.bad & (chosen == i)).any()]
