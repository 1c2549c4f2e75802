"""Laws of evaluation and training: what a key and a state are for, and what may not change."""

import jax
import numpy as np

from fnn.laws.compare import abstract, close, numbers, same
from fnn.laws.layer.subject import Net
from fnn.laws.probes import refusal, to_numpy
from fnn.laws.statement import Broken, DoesNotApply, Law, law


@law()
def evaluation_is_the_default(net: Net) -> None:
    """Without `train` and `key` a layer evaluates, and needs no key."""
    got, _ = net.layer.apply(net.params, net.state, net.x)
    same(got, net.eager(net.params, net.state, net.x)[0], "without train", "with train=False")


@law()
def evaluation_keeps_state(net: Net) -> None:
    """Evaluation returns the state as it was."""
    same(net.eager(net.params, net.state, net.x)[1], net.state, "the state after evaluation", "before")


@law()
def evaluation_is_deterministic(net: Net) -> None:
    """Evaluation gives the same output to the bit each time, whatever key it is given and whatever ran before."""
    first = net.eager(net.params, net.state, net.x)[0]
    net.eager_train(net.params, net.state, net.x, net.key)
    for key in (None, net.key, jax.random.key(3)):
        again, _ = net.layer.apply(net.params, net.state, net.x, train=False, key=key)
        same(again, first, "evaluated again" if key is None else "with a key", "the first time")


@law("noisy")
def training_asks_for_its_key(net: Net) -> None:
    """Training that draws noise without a key is refused, by an error that speaks of the key."""
    error = refusal(lambda: net.eager_train(net.params, net.state, net.x, None))
    if error is None:
        raise Broken("it trains without a key, so each step would draw the same")
    if "key" not in str(error).lower():
        raise Broken(f"{type(error).__name__} does not say key: {str(error)[:150]}")


@law()
def same_key_same_result(net: Net) -> None:
    """Training with the same key gives the same output and state to the bit."""
    first = net.eager_train(net.params, net.state, net.x, net.key)
    net.eager_train(net.params, net.state, net.x, jax.random.key(3))
    same(net.eager_train(net.params, net.state, net.x, net.key), first, "the second time", "the first")


@law("noisy")
def other_key_other_noise(net: Net) -> None:
    """Training with another key draws other noise."""
    generic = net.generic()
    outputs = [numbers(net.train(*generic, jax.random.key(i))[0]) for i in range(5)]
    if all(np.array_equal(y, outputs[0], equal_nan=True) for y in outputs):
        raise Broken("five keys give one output")


@law("noisy")
def compiled_noise_is_fresh(net: Net) -> None:
    """Compiled training draws with the key that it is given, not with the one that it was traced with."""
    for i in (1, 2):
        key = jax.random.key(i)
        eager = net.eager_train(net.params, net.state, net.x, key)[0]
        close(net.train(net.params, net.state, net.x, key)[0], eager, 1e-5, f"compiled, key {i}", "eager")


@law("calm")
def key_is_not_needed(net: Net) -> None:
    """Training that draws nothing needs no key, and one makes no difference."""
    without = net.eager_train(net.params, net.state, net.x, None)[0]
    same(net.eager_train(net.params, net.state, net.x, net.key)[0], without, "with a key", "without")


@law()
def state_is_a_fixed_point(net: Net) -> None:
    """The state keeps its structure, shapes, dtypes and weak types in training, so that scan accepts it."""
    before = (net.params, net.state)
    after = net.eager_train(*before, net.x, net.key)[1]
    if jax.tree.structure(after) != jax.tree.structure(net.state):
        raise Broken(f"after training {jax.tree.structure(after)}, before {jax.tree.structure(net.state)}")
    shapes = jax.eval_shape(lambda p, s: net.eager_train(p, s, net.x, net.key)[1], *before)
    for a, b in zip(abstract(shapes), abstract(net.state), strict=True):
        if a != b:
            raise Broken(f"after training {a}, before {b}")


@law("stateful")
def training_moves_state(net: Net) -> None:
    """Training on a batch changes the state, or what is it for?"""
    after = net.train(net.params, net.state, net.x + 1, net.key)[1]
    moved = {
        np.array_equal(numbers(a), numbers(b)) for a, b in zip(*map(jax.tree.leaves, (after, net.state)), strict=True)
    }
    if moved == {True}:
        raise Broken("no leaf of the state changes")


@law()
def inputs_untouched(net: Net) -> None:
    """Parameters, state and x that come as NumPy arrays are the same afterwards."""
    given = to_numpy((net.params, net.state, net.x))
    before = to_numpy(given)
    params, state, x = given
    refused = [
        refusal(lambda: net.eager(params, state, x)),
        refusal(lambda: net.eager_train(params, state, x, net.key)),
    ]
    same(given, before, "an input afterwards", "before")
    for error in refused:
        if error is not None:
            raise DoesNotApply(f"it takes no NumPy arrays: {error}"[:100])


LAWS: tuple[Law, ...] = (
    evaluation_is_the_default,
    evaluation_keeps_state,
    evaluation_is_deterministic,
    training_asks_for_its_key,
    same_key_same_result,
    other_key_other_noise,
    compiled_noise_is_fresh,
    key_is_not_needed,
    state_is_a_fixed_point,
    training_moves_state,
    inputs_untouched,
)
