"""Every float of every factory may be a tracer: jitted, vmapped and differentiated, it gives the same numbers."""

import inspect
import typing
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import fnn

KEY = jax.random.key(0)
X = jax.random.normal(KEY, (6, 3))
LABELS = jnp.array([0, 1, 2, 2, 1, 0])
PARAMS = {"w": jnp.array([1.0, -2.0]), "b": jnp.array([0.5])}
NET = fnn.nn.mlp([4, 3], "tanh")
STATE = fnn.train.init_state(KEY, NET, fnn.optim.sgd(0.1), X)

DATA = {"x", "predictions", "targets", "probabilities", "logits", "labels", "outputs", "indices"}
"""Names of arrays, not of a factory's numbers."""
NEVER_TRACED = {
    ("data.split", "test_share"): "sets the shapes of the parts",
    ("data.digits", "test_share"): "sets the shapes of the parts",
    ("fit", "l2"): "fit is the host's side, never traced; it hands the number to supervised",
    ("fit", "l1"): "as l2",
    ("fit", "clip_norm"): "as l2; to make_step",
    ("fit", "every"): "seconds between two checkpoints, on the host",
    ("sweep", "every"): "as that of fit",
    ("parallel.join", "limit"): "seconds, for the host",
    ("parallel.join", "startup"): "as limit",
    ("parallel.launch", "limit"): "seconds, in a process that computes nothing",
    ("parallel.launch", "startup"): "as limit",
    ("parallel.launch", "grace"): "as limit",
}


def _takes_a_float(annotation: Any) -> bool:
    return annotation is float or any(_takes_a_float(inner) for inner in typing.get_args(annotation))


def _public() -> Iterator[tuple[str, Any]]:
    for name in fnn.__all__:
        member = getattr(fnn, name)
        if not isinstance(member, ModuleType):
            yield name, member
        elif name not in ("typing", "errors"):
            members = vars(member).items()
            own = [n for n, v in members if n[0] != "_" and getattr(v, "__module__", None) == member.__name__]
            yield from ((f"{name}.{n}", getattr(member, n)) for n in getattr(member, "__all__", own))


def _floats() -> Iterator[tuple[str, str]]:
    for path, value in _public():
        if inspect.isroutine(value) and value.__module__.startswith("fnn."):
            parameters = inspect.signature(value).parameters.values()
            yield from ((path, p.name) for p in parameters if _takes_a_float(p.annotation) and p.name not in DATA)


def _three_updates(rule: str, **fixed: Any) -> Callable[..., Any]:
    def use(**numbers: Any) -> Any:
        tx = getattr(fnn.optim, rule)(**({"learning_rate": 0.1} | fixed | numbers))
        params, state = PARAMS, tx.init(PARAMS)
        for t in range(3):
            grads = jax.tree.map(lambda w, t=t: jnp.sin(w + t), params)
            updates, state = tx.update(grads, state, params)
            params = optax.apply_updates(params, updates)
        return params

    return use


def _averaged(**numbers: Any) -> Any:
    tx = fnn.optim.with_average(fnn.optim.sgd(0.1), **numbers)
    params, state = PARAMS, tx.init(PARAMS)
    for t in range(3):
        updates, state = tx.update(jax.tree.map(lambda w, t=t: jnp.sin(w + t), params), state, params)
        params = optax.apply_updates(params, updates)
    return fnn.optim.average_of(state, params)


def _normed(kind: str, **fixed: Any) -> Callable[..., Any]:
    def use(**numbers: Any) -> Any:
        layer = getattr(fnn.nn, kind)(**fixed, **numbers)
        params, state = layer.init(KEY, X)
        params = jax.tree.map(lambda p: p + jnp.arange(3.0), params)
        return layer.apply(params, state, X, train=True)

    return use


def _objective(**numbers: Any) -> Any:
    batch = fnn.data.Dataset(X, LABELS)
    loss_fn = fnn.train.supervised(NET, fnn.losses.softmax_cross_entropy, **numbers)
    return loss_fn(STATE.params, {}, batch, None)[0]


def _one_step(**numbers: Any) -> Any:
    loss_fn = fnn.train.supervised(NET, fnn.losses.softmax_cross_entropy)
    step = fnn.train.make_step(loss_fn, fnn.optim.sgd(0.1), **numbers)
    return step(STATE, fnn.data.Dataset(X, LABELS))[0].params


def _dropped(net: Callable[..., fnn.nn.Layer], **number: Any) -> Any:
    layer = net(**number)
    params, state = layer.init(KEY, X)
    return layer.apply(params, state, X, train=True, key=KEY)[0]


def _augmented(name: str, *fixed: int) -> Callable[..., Any]:
    images = jnp.abs(jnp.sin(jnp.arange(6 * 5 * 5.0))).reshape(6, 5, 5, 1)
    return lambda **number: getattr(fnn.augment, name)(*fixed, **number)(KEY, (images, LABELS))


def _standardized(**number: Any) -> Any:
    return fnn.nn.standardize(**number).apply({}, {}, X)[0]


def _mlp(dropout: Any) -> fnn.nn.Layer:
    return fnn.nn.mlp([4, 3], "tanh", dropout=dropout)


def _cnn(**number: Any) -> Any:
    # All numbers are positive: none is a small difference of large ones, which rounding would show.
    images = jnp.abs(jnp.sin(jnp.arange(6 * 4 * 4.0))).reshape(6, 4, 4, 1)
    net = fnn.nn.cnn([2], [4], 3, w_init=fnn.initializers.constant(0.1), **number)
    params, state = net.init(KEY, images)
    return net.apply(params, state, images, train=True, key=KEY)[0]


def _turned(number: Callable[[Any], dict[str, Any]], *, program: bool = False) -> Callable[..., Any]:
    tx = fnn.optim.with_hyperparams(fnn.optim.sgd, learning_rate=0.1)
    states = jax.vmap(lambda key: fnn.train.init_state(key, NET, tx, X))(jax.random.split(KEY, 10))

    def score(state: Any) -> Any:
        return jnp.sum(state.params["dense_0"]["w"])

    def use(**given: Any) -> Any:
        numbers: dict[str, Any] = {"bounds": {"learning_rate": (0.0, 1.0)}} | number(*given.values())
        if program:
            evolve = fnn.population.population_based_training(lambda s: (s, None), score, rounds=2, **numbers)
            return evolve(KEY, states).hyperparams
        turned, _ = fnn.population.exploit_and_explore(KEY, states, jax.vmap(score)(states), **numbers)
        return fnn.optim.hyperparams_of(turned.opt_state)

    return use


RATES = (0.1, 0.3)
SHARES = (0.5, 0.75)
CASES: dict[tuple[str, str], tuple[Callable[..., Any], tuple[float, float]]] = {
    ("activations.leaky_relu", "slope"): (lambda **n: fnn.activations.leaky_relu(X, **n), RATES),
    ("activations.elu", "alpha"): (lambda **n: fnn.activations.elu(X, **n), RATES),
    ("augment.flip", "chance"): (_augmented("flip"), (0.2, 0.7)),
    ("augment.cutout", "chance"): (_augmented("cutout", 3), (0.2, 0.7)),
    ("augment.mix_up", "alpha"): (_augmented("mix_up", 3), SHARES),
    ("initializers.constant", "c"): (lambda **n: fnn.initializers.constant(**n)(KEY, (3, 2)), RATES),
    ("initializers.gaussian", "stddev"): (lambda **n: fnn.initializers.gaussian(**n)(KEY, (3, 2)), RATES),
    ("losses.huber", "delta"): (lambda **n: fnn.losses.huber(3 * X, jnp.zeros((6, 3)), **n), SHARES),
    ("losses.softmax_cross_entropy", "label_smoothing"): (
        lambda **n: fnn.losses.softmax_cross_entropy(X, LABELS, **n),
        RATES,
    ),
    ("metrics.accuracy", "threshold"): (lambda **n: fnn.metrics.accuracy(X[:, 0], LABELS // 2, **n), (-5.0, 5.0)),
    ("nn.batch_norm", "momentum"): (_normed("batch_norm"), SHARES),
    ("nn.batch_norm", "eps"): (_normed("batch_norm"), RATES),
    ("nn.group_norm", "eps"): (_normed("group_norm", groups=1), RATES),
    ("nn.layer_norm", "eps"): (_normed("layer_norm"), RATES),
    ("nn.rms_norm", "eps"): (_normed("rms_norm"), RATES),
    ("nn.dropout", "rate"): (lambda **n: _dropped(fnn.nn.dropout, **n), SHARES),
    ("nn.standardize", "mean"): (_standardized, SHARES),
    ("nn.standardize", "stddev"): (_standardized, SHARES),
    ("nn.cnn", "dropout"): (_cnn, SHARES),
    ("nn.keep_units", "count"): (lambda **n: fnn.nn.keep_units(**n).apply({}, {}, X)[0], (1.0, 2.0)),
    ("nn.mlp", "active"): (lambda active: fnn.nn.mlp([4, 3], active=[active]).init(KEY, X)[0], (1.0, 2.0)),
    ("nn.mlp", "dropout"): (lambda **n: _dropped(_mlp, **n), SHARES),
    ("optim.sgd", "learning_rate"): (_three_updates("sgd"), RATES),
    ("optim.momentum", "learning_rate"): (_three_updates("momentum"), RATES),
    ("optim.momentum", "beta"): (_three_updates("momentum", nesterov=True, convention="paper"), SHARES),
    ("optim.momentum", "dampening"): (_three_updates("momentum", convention="torch"), RATES),
    ("optim.rmsprop", "learning_rate"): (_three_updates("rmsprop", centered=True), RATES),
    ("optim.rmsprop", "decay"): (_three_updates("rmsprop", centered=True), SHARES),
    ("optim.rmsprop", "eps"): (_three_updates("rmsprop"), RATES),
    ("optim.rmsprop", "momentum"): (_three_updates("rmsprop"), SHARES),
    ("optim.rmsprop", "initial_accumulator"): (_three_updates("rmsprop", convention="tf1"), RATES),
    ("optim.adagrad", "learning_rate"): (_three_updates("adagrad"), RATES),
    ("optim.adagrad", "eps"): (_three_updates("adagrad"), RATES),
    ("optim.adagrad", "initial_accumulator"): (_three_updates("adagrad"), RATES),
    ("optim.adagrad", "lr_decay"): (_three_updates("adagrad", convention="torch"), RATES),
    ("optim.adam", "learning_rate"): (_three_updates("adam"), RATES),
    ("optim.adam", "b1"): (_three_updates("adam"), SHARES),
    ("optim.adam", "b2"): (_three_updates("adam"), SHARES),
    ("optim.adam", "eps"): (_three_updates("adam"), RATES),
    ("optim.adam", "weight_decay"): (_three_updates("adam"), RATES),
    ("optim.with_average", "decay"): (_averaged, SHARES),
    ("population.uniform", "low"): (lambda low: fnn.population.uniform(low, 1.0)(KEY, 3), RATES),
    ("population.uniform", "high"): (lambda high: fnn.population.uniform(0.0, high)(KEY, 3), RATES),
    ("population.log_uniform", "low"): (lambda low: fnn.population.log_uniform(low, 1.0)(KEY, 3), RATES),
    ("population.log_uniform", "high"): (lambda high: fnn.population.log_uniform(0.01, high)(KEY, 3), RATES),
    ("train.supervised", "l2"): (_objective, RATES),
    ("train.supervised", "l1"): (_objective, RATES),
    ("train.make_step", "clip_norm"): (_one_step, (0.01, 0.1)),
}
for name, case in {
    "share": (lambda n: {"share": n}, RATES),
    "factors": (lambda n: {"factors": (n, n)}, SHARES),
    "bounds": (lambda n: {"bounds": {"learning_rate": (n, 1.0)}}, SHARES),
}.items():
    CASES["population.exploit_and_explore", name] = _turned(case[0]), case[1]
    CASES["population.population_based_training", name] = _turned(case[0], program=True), case[1]


def test_every_float_has_its_case() -> None:
    assert set(_floats()) == set(CASES) | set(NEVER_TRACED)


@pytest.mark.parametrize("case", CASES, ids=".".join)
def test_a_tracer_gives_what_a_float_gives(case: tuple[str, str]) -> None:
    use, values = CASES[case]

    def of(value: Any) -> Any:
        return use(**{case[1]: value})

    plain = [of(value) for value in values]
    assert not all(np.array_equal(a, b) for a, b in zip(*map(jax.tree.leaves, plain), strict=True)), "it is not used"
    # Compiled code rounds an operation or two otherwise.
    jitted = [jax.jit(of)(value) for value in values]
    chex.assert_trees_all_close(jitted, plain, rtol=2e-6, atol=1e-7)
    together = jax.vmap(of)(jnp.array(values))
    chex.assert_trees_all_close(together, jax.tree.map(lambda *a: jnp.stack(a), *plain), rtol=2e-6, atol=1e-7)


@pytest.mark.parametrize("case", [case for case in CASES if case[0] != "metrics.accuracy"], ids=".".join)
def test_a_float_has_a_derivative(case: tuple[str, str]) -> None:
    use, values = CASES[case]

    def total(value: Any) -> Any:
        return sum(jnp.sum(leaf) for leaf in jax.tree.leaves(use(**{case[1]: value})))

    slope, h = jax.grad(total)(values[1]), 1e-2
    # The masks of dropout jump with the rate; only their scale has a derivative. So do choices with their chance,
    # and units with their number.
    if "dropout" in case[0] or case[1] in ("dropout", "chance", "count"):
        assert bool(jnp.isfinite(slope))
    else:
        finite = (total(values[1] + h) - total(values[1] - h)) / (2 * h)
        np.testing.assert_allclose(slope, finite, rtol=2e-2, atol=1e-3)
