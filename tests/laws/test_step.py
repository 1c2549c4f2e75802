"""The laws of training steps: all of fnn keeps them, and each of many planted faults breaks the law named."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import linen

import fnn
from fnn import interop, losses, nn, optim
from fnn.data import Dataset
from fnn.errors import is_traced
from fnn.laws import LawViolation, law
from fnn.laws.step import LAWS, check_step
from fnn.train import TrainState, init_state, make_step, supervised

X = jnp.asarray(np.random.default_rng(0).normal(size=(8, 3)), jnp.float32)
BATCH = Dataset(X, jnp.argmax(X, axis=1))
KEY = jax.random.key(5)


class Linen(linen.Module):
    """Parameters, running statistics and noise at once."""

    @linen.compact
    def __call__(self, x: jax.Array, *, train: bool = False) -> jax.Array:
        x = linen.relu(linen.Dense(16)(x))
        x = linen.BatchNorm(use_running_average=not train, momentum=0.9)(x)
        x = linen.Dropout(0.1, deterministic=not train)(x)
        return linen.Dense(3)(x)


def _ours(tx: Any, net: Any = None, **options: Any) -> tuple[Any, Any]:
    net = nn.mlp([4, 3], "tanh") if net is None else net
    step = make_step(supervised(net, losses.softmax_cross_entropy), tx, **options)
    return step, init_state(KEY, net, tx, X)


# What is right keeps the laws ----------------------------------------------------------------------------


RIGHT: dict[str, Callable[[], tuple[Any, Any]]] = {
    "sgd": lambda: _ours(optim.sgd(0.1)),
    "momentum": lambda: _ours(optim.momentum(0.1, nesterov=True)),
    "rmsprop": lambda: _ours(optim.rmsprop(0.01, centered=True)),
    "adagrad": lambda: _ours(optim.adagrad(0.05)),
    "adam": lambda: _ours(optim.adam(0.01)),
    "accumulated": lambda: _ours(optim.sgd(0.1), accumulate=2),
    "clipped": lambda: _ours(optim.sgd(0.1), clip_norm=0.1),
    "guarded": lambda: _ours(optim.adam(0.01), guard=True),
    "bfloat16": lambda: _ours(optim.sgd(0.1), precision="bfloat16"),
    "rematerialized": lambda: _ours(optim.adam(0.01), nn.sequential(nn.remat(nn.mlp([4, 4], "tanh")), nn.dense(3))),
    "all options, guarded": lambda: _ours(
        optim.adam(0.01),
        nn.sequential(nn.remat(nn.mlp([16, 8], "tanh")), nn.layer_norm(), nn.dense(3)),
        accumulate=3,
        clip_norm=1.0,
        precision="bfloat16",
        guard=True,
    ),
    "hyperparameters": lambda: _ours(
        optim.with_hyperparams(optim.sgd, learning_rate=optax.linear_schedule(0.1, 0, 99))
    ),
    "dropout": lambda: _ours(optim.adam(0.01), nn.mlp([16, 3], "tanh", dropout=0.1)),
    "flax": lambda: _ours(optim.adam(0.01), interop.from_linen(Linen())),
    "optax": lambda: _ours(optax.chain(optax.clip(1.0), optax.lion(0.01))),
}


def _cancelling(slip: float) -> fnn.laws.Report:
    """A step whose sums come in another order once it is compiled, and whose gradients all but cancel.

    They are as small as Adam's eps, so that their last digits are a visible part of its step.
    """
    x = np.random.default_rng(1).normal(size=(64, 8))
    batch = Dataset(jnp.asarray(x - x.mean(axis=0), jnp.float32), jnp.asarray(x[:, :3], jnp.float32))

    def loss_fn(params: Any, state: Any, batch: Any, key: Any) -> Any:
        del key
        compiled = is_traced(batch.x)
        rows = batch.x[::-1] if compiled else batch.x
        fit = jnp.mean((batch.y @ params["v"] - 1) ** 2) * (1 + slip * compiled)
        return jnp.mean(rows @ params["w"]) + fit, (state, {})

    tx = optim.adam(0.01)
    params = {"w": jnp.ones(8), "v": jnp.ones(3)}
    state = TrainState(jnp.zeros((), jnp.int32), params, {}, tx.init(params), KEY)
    return check_step(make_step(loss_fn, tx), state, batch, laws=["jit_is_eager", "scan_is_loop", "vmap_is_loop"])


def test_rounding_that_the_step_itself_makes_large_is_no_fault() -> None:
    _cancelling(0.0).raise_if_broken()


def test_but_more_than_that_is() -> None:
    assert _cancelling(1e-3)["jit_is_eager"].verdict == "broken"  # the loss tells it


@pytest.mark.parametrize("name", RIGHT)
def test_a_right_step_keeps_every_law(name: str) -> None:
    report = check_step(*RIGHT[name](), BATCH)
    report.raise_if_broken()
    applies = {row.law: row.verdict == "held" for row in report.rows}
    noisy = name in ("dropout", "flax")
    assert applies["noise_is_new_each_step"] == applies["noise_follows_key"] == noisy
    assert applies["order_of_batch"] == (not noisy)
    assert applies["guard_keeps_state"] == ("guard" in name)
    assert sum(applies.values()) == len(LAWS) - (1 if noisy else 2) - ("guard" not in name)


class Plain(NamedTuple):
    """A state of one's own: no TrainState, and fields of other names."""

    weights: Any
    momentum: Any
    noise: Any


def _plain(state: Plain, batch: Any) -> tuple[Plain, Any]:
    """Least squares with noise in the inputs, momentum, and a key that moves on."""
    key, own = jax.random.split(state.noise)

    def loss(w: jax.Array) -> jax.Array:
        x = batch.x + 0.1 * jax.random.normal(own, batch.x.shape)
        return jnp.mean((x @ w - batch.x[:, 0]) ** 2)

    value, gradient = jax.value_and_grad(loss)(state.weights)
    v = 0.9 * state.momentum + gradient
    return Plain(state.weights - 0.05 * v, v, key), {"loss": value}


def test_a_step_and_a_state_of_ones_own() -> None:
    report = check_step(_plain, Plain(jnp.zeros(3), jnp.zeros(3), KEY), BATCH)
    report.raise_if_broken()
    why = "its state is no NamedTuple with step, params and key, as fnn.train.TrainState is"
    assert {row.law for row in report.rows if row.note == why} == {
        "steps_are_counted",
        "counter_saturates",
        "key_stays",
        "loss_is_before_update",
        "every_parameter_moves",
    }
    assert report["noise_is_new_each_step"].verdict == "held"


def test_a_state_that_is_a_dict() -> None:
    def step(w: Any, batch: Any) -> Any:
        value, gradient = jax.value_and_grad(lambda w: jnp.mean((batch @ w["w"] - 1) ** 2))(w)
        return jax.tree.map(lambda p, g: p - 0.1 * g, w, gradient), {"loss": value}

    check_step(step, {"w": jnp.zeros(3)}, X).raise_if_broken()


# What is wrong is caught ---------------------------------------------------------------------------------


NOISY = nn.mlp([4, 3], "tanh", dropout=0.3)
CALLS: list[int] = []
SEEN: list[Any] = []
MOMENTUM: list[Any] = []


def _changed(after: Callable[..., Any], net: Any = None, tx: Any = None) -> Callable[[], tuple[Any, Any]]:
    """A right step whose result is changed: `after(old state, batch, new state, metrics)`."""

    def make() -> tuple[Any, Any]:
        step, state = _ours(optim.sgd(0.1) if tx is None else tx, net)
        return lambda s, b: after(s, b, *step(s, b)), state

    return make


def _with_state(make: Callable[[TrainState], Any]) -> Callable[[], tuple[Any, Any]]:
    step, state = _ours(optim.sgd(0.1))
    return lambda: (step, make(state))


def _loss(params: Any, batch: Any, scale: Any = 1.0) -> Any:
    outputs, _ = nn.mlp([4, 3], "tanh").apply(params, {}, batch.x)
    return scale * jnp.mean(losses.softmax_cross_entropy(outputs, batch.y))


def _by_place(batch: Any) -> Any:
    return batch.y[0] + jnp.sum(jnp.arange(len(batch.x)) * batch.x[:, 0])


def _before(change: Callable[..., Any], net: Any = None) -> Callable[[], tuple[Any, Any]]:
    """A right step whose inputs are changed: `change(state, batch)`."""

    def make() -> tuple[Any, Any]:
        step, state = _ours(optim.sgd(0.1), net)
        return lambda s, b: step(*change(s, b)), state

    return make


def _counted(old: Any, batch: Any, new: Any, metrics: Any) -> Any:
    CALLS.append(1)
    return new, metrics | {"calls": jnp.float32(len(CALLS))}


def _kept(old: Any, batch: Any, new: Any, metrics: Any) -> Any:
    SEEN.append(metrics["loss"])
    return new, metrics


def _in_place(state: Any, batch: Any) -> Any:
    if isinstance(batch.x, np.ndarray):
        batch.x[...] = batch.x - batch.x.mean()
    return state, batch


def _averaged(old: Any, batch: Any, new: Any, metrics: Any) -> Any:
    return new._replace(model_state={"average": new.params, "again": new.params}), metrics


def _hidden(state: Any, batch: Any) -> tuple[Any, Any]:
    """Momentum kept outside of the state."""
    value, gradient = jax.value_and_grad(lambda w: jnp.mean((batch.x @ w - 1) ** 2))(state)
    previous = MOMENTUM[-1] if MOMENTUM else 0
    if not is_traced(gradient):
        MOMENTUM.append(gradient)
    return state - 0.1 * gradient - 0.01 * previous, {"loss": value}


def _changed_guard(after: Callable[[Any, Any], Any]) -> tuple[Any, Any]:
    """A guarded step whose new state is changed where it was not taken."""
    step, state = _ours(optim.momentum(0.1), guard=True)

    def changed(old: Any, batch: Any) -> Any:
        new, metrics = step(old, batch)
        return jax.lax.cond(metrics["finite"] > 0, lambda: new, lambda: after(old, new)), metrics

    return changed, state


def _outside(x: Any) -> Any:
    return jax.pure_callback(
        lambda a: np.float32(2 * a), jax.ShapeDtypeStruct((), jnp.float32), jax.lax.stop_gradient(x)
    )


def _host_count(x: Any) -> Any:
    def count(_: Any) -> Any:
        CALLS.append(1)
        return np.float32(len(CALLS))

    return jax.pure_callback(count, jax.ShapeDtypeStruct((), jnp.float32), jax.lax.stop_gradient(x))


FAULTS: dict[str, tuple[Callable[[], tuple[Any, Any]], set[str]]] = {
    "a Python number in the state": (
        _with_state(lambda state: state._replace(model_state={"rate": 0.5})),
        {"state_is_arrays", "state_is_a_fixed_point"},
    ),
    "a counter that becomes a float": (
        _changed(lambda old, b, new, m: (new._replace(step=old.step + 1.0), m)),
        {"state_is_a_fixed_point", "one_trace", "scan_is_loop", "steps_are_counted"},
    ),
    "a weak type at the start": (
        _with_state(lambda state: state._replace(step=jnp.asarray(0))),
        {"state_is_a_fixed_point"},
    ),
    "parameters in another dtype": (
        _changed(lambda old, b, new, m: (new._replace(params=fnn.tree.cast(new.params, jnp.bfloat16)), m)),
        {"state_is_a_fixed_point", "donation_is_used"},
    ),
    "a state that grows": (
        _changed(lambda old, b, new, m: (new._replace(model_state={"last": m["loss"]}), m)),
        {"state_is_a_fixed_point", "scan_is_loop", "one_trace"},
    ),
    "keeps a tracer": (_changed(_kept), {"no_tracer_leaks"}),
    "another update under jit": (
        _changed(lambda old, b, new, m: (new if is_traced(new) else old, m)),
        {"jit_is_eager"},
    ),
    "looks at the values": (
        _changed(lambda old, b, new, m: (new, m) if float(m["loss"]) > 0 else (old, m)),
        {"jit_is_eager", "vmap_is_loop", "scan_is_loop"},
    ),
    "computed outside of JAX": (
        _changed(lambda old, b, new, m: (new, m | {"twice": _outside(m["loss"])})),
        {"vmap_is_loop"},
    ),
    "an average that is the parameters": (_changed(_averaged), {"new_state_can_be_donated"}),
    "counts its calls": (_changed(_counted), {"deterministic"}),
    "momentum outside of the state": (lambda: (_hidden, jnp.ones(3)), {"deterministic"}),
    "writes into the batch": (_before(_in_place), {"inputs_untouched"}),
    "counts on the host": (
        _changed(lambda old, b, new, m: (new, m | {"calls": _host_count(m["loss"])})),
        {"survives_serialization", "deterministic"},
    ),
    "counts twice": (_changed(lambda old, b, new, m: (new._replace(step=old.step + 2), m)), {"steps_are_counted"}),
    "a counter that wraps": (
        _changed(lambda old, b, new, m: (new._replace(step=old.step + 1), m)),
        {"counter_saturates"},
    ),
    "splits the run's key": (
        _changed(lambda old, b, new, m: (new._replace(key=jax.random.split(old.key)[0]), m)),
        {"key_stays"},
    ),
    "the same mask each step": (
        _before(lambda s, b: (s._replace(step=jnp.int32(0)), b), NOISY),
        {"noise_is_new_each_step", "steps_are_counted"},
    ),
    "noise from nowhere": (_before(lambda s, b: (s._replace(key=KEY), b), NOISY), {"noise_follows_key"}),
    "metrics of each example": (
        _changed(lambda old, b, new, m: (new, m | {"all": b.x[:, 0]})),
        {"metrics_are_scalars"},
    ),
    "a metric that is a Python number": (
        _changed(lambda old, b, new, m: (new, m | {"rate": 0.1})),
        {"metrics_are_scalars"},
    ),
    "metrics in float16": (
        _changed(lambda old, b, new, m: (new, m | {"loss": m["loss"].astype(jnp.float16)})),
        {"metrics_are_scalars"},
    ),
    "the loss after the update": (
        _changed(lambda old, b, new, m: (new, m | {"loss": _loss(new.params, b)})),
        {"loss_is_before_update"},
    ),
    "the norm of another gradient": (
        _changed(lambda old, b, new, m: (new, m | {"grad_norm": m["grad_norm"] / 2})),
        {"loss_is_before_update"},
    ),
    "uphill": (lambda: _ours(optax.sgd(-0.1)), {"loss_falls"}),
    "a rate far too high": (lambda: _ours(optim.sgd(1e3)), {"loss_falls"}),
    "no update": (
        _changed(lambda old, b, new, m: (new._replace(params=old.params), m)),
        {"every_parameter_moves", "loss_falls"},
    ),
    "a layer that is frozen": (
        _changed(lambda old, b, new, m: (new._replace(params=new.params | {"dense_0": old.params["dense_0"]}), m)),
        {"every_parameter_moves"},
    ),
    "the first example counts": (
        _changed(lambda old, b, new, m: (new, m | {"first": _by_place(b)})),
        {"order_of_batch"},
    ),
    "a step that counts although it is not finite": (
        lambda: _changed_guard(lambda old, new: new._replace(step=old.step + 1)),
        {"guard_keeps_state"},
    ),
    "a guard that forgets the optimizer": (
        lambda: _changed_guard(lambda old, new: new._replace(opt_state=jax.tree.map(lambda a: a + 1, new.opt_state))),
        {"guard_keeps_state"},
    ),
    "NaN replaced by 0": (
        _changed(lambda old, b, new, m: (new, jax.tree.map(jnp.nan_to_num, m))),
        {"nan_is_seen"},
    ),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_planted_fault_breaks_its_law(name: str) -> None:
    make, caught = FAULTS[name]
    step, state = make()
    # Noise that no key changes cannot be seen: it is told.
    traits = {"noisy": True} if name == "noise from nowhere" else None
    assert {row.law for row in check_step(step, state, BATCH, laws=caught, traits=traits).broken} == caught


def test_every_law_is_broken_by_a_fault() -> None:
    assert {one.name for one in LAWS} == set().union(*(caught for _, caught in FAULTS.values()))


def test_the_leaf_is_named() -> None:
    step, state = FAULTS["a layer that is frozen"][0]()
    with pytest.raises(LawViolation, match="unchanged: dense_0/b, dense_0/w"):
        check_step(step, state, BATCH, laws=["every_parameter_moves"]).raise_if_broken()
    step, state = FAULTS["a counter that becomes a float"][0]()
    with pytest.raises(LawViolation, match=r"after step: .* float32 weak=True, before .* int32 weak=False"):
        check_step(step, state, BATCH, laws=["state_is_a_fixed_point"]).raise_if_broken()


def test_a_known_exception_and_traits_as_the_user_knows_them() -> None:
    step, state = FAULTS["uphill"][0]()
    expected = {"loss_falls": "It looks for a maximum."}
    assert check_step(step, state, BATCH, laws=["loss_falls"], expected=expected).rows[0].verdict == "expected"
    report = check_step(step, state, BATCH, laws=["loss_falls"], traits={"descends": False})
    assert report.rows[0].note == "traits says that descends is False"
    step, state = FAULTS["the first example counts"][0]()
    with pytest.raises(LawViolation, match="order_of_batch"):
        check_step(step, state, BATCH, traits={"per_example": True}, laws=["order_of_batch"]).raise_if_broken()


# Refusals ------------------------------------------------------------------------------------------------


def test_refusals() -> None:
    step, state = RIGHT["sgd"]()
    with pytest.raises(TypeError, match="step: got 3, expected a function"):
        check_step(3, state, BATCH)
    with pytest.raises(ValueError, match="state: got a tree without leaves"):
        check_step(step, {}, BATCH)
    with pytest.raises(ValueError, match="batch: got a tree without leaves"):
        check_step(step, state, ())
    with pytest.raises(ValueError, match="traits: got 'noise', expected one of"):
        check_step(step, state, BATCH, traits={"noise": True})
    with pytest.raises(ValueError, match="laws: got 'donation', expected one of"):
        check_step(step, state, BATCH, laws=["donation"])


def test_a_law_of_ones_own() -> None:
    @law("fields")
    def two_layers(stepper: Any) -> None:
        """There are two layers."""
        assert len(stepper.state.params) == 2

    assert check_step(*RIGHT["sgd"](), BATCH, laws=[two_layers]).rows[0].verdict == "held"
