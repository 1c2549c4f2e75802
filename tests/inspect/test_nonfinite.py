"""NaN planted in each stage is found in its stage, leaf and operation; what is masked away is not to blame."""

from typing import Any

import jax
import jax.numpy as jnp
import optax
import pytest
from flax import linen

import fnn
from fnn.data import Dataset, WeightedBatch
from fnn.inspect import Event, first_nonfinite
from fnn.nn import activation, dense, remat, sequential
from fnn.train import TrainState, init_state, make_step, supervised

KEY = jax.random.key(2)
X = jax.random.normal(KEY, (4, 3))
ONE = fnn.initializers.constant(1.0)


def mean(outputs: Any, y: Any) -> Any:
    return outputs[:, 0] + y[:, 0]


def find(net: Any, *, loss: Any = mean, tx: Any = None, x: Any = X, y: Any = None, **options: Any) -> Any:
    """The event of one step from the first weights, with y = 0."""
    tx = fnn.optim.sgd(0.1) if tx is None else tx
    net = net if isinstance(net, fnn.nn.Layer) else sequential(*net)
    batch = Dataset(x, jnp.zeros((len(x), 1)) if y is None else y)
    step = make_step(supervised(net, loss), tx, **options)
    state = init_state(KEY, net, tx, x)._replace(step=jnp.int32(37))
    return first_nonfinite(step, state, batch)


def through(function: Any) -> list[fnn.nn.Layer]:
    """Two dense layers of ones and a function between them, which sees 3 x: sums of three."""
    return [dense(2, w_init=ONE), fnn.nn.stateless("f", function), dense(1, w_init=ONE)]


def test_nothing_to_find() -> None:
    assert find(fnn.nn.mlp([4, 1])) is None


def test_a_whole_event() -> None:
    event = find(through(jnp.exp), x=jnp.array([[100.0] * 3, [1.0] * 3]))
    assert event == Event(37, "forward", "f_0", "exp", "f_0", "inf", 2, 4, ", such as exp(300)")
    assert str(event) == "step 37: forward pass, f_0: exp gave inf (2 of 4 values), such as exp(300)"


FORWARD: dict[str, tuple[Any, str, str, str]] = {
    "logarithm": (through(lambda z: jnp.log(z - z)), "f_0", "log", "such as log(0)"),
    "division": (through(lambda z: 1 / (z - z)), "f_0", "div", "such as div(1, 0)"),
    "product": (
        [dense(4, w_init=fnn.initializers.constant(3e38))],
        "dense_0",
        "dot_general",
        "from inputs up to 3e+38",
    ),
    "nested": ([dense(3), fnn.nn.residual(sequential(*through(jnp.log)[1:2], dense(3)))], "residual_0/f_0", "log", ""),
    "shortcut": (
        [fnn.nn.residual(dense(2), sequential(*through(lambda z: jnp.log(z - z))[:2]))],
        "residual_0/shortcut/f_0",
        "log",
        "",
    ),
    "remat": ([remat(sequential(*through(lambda z: jnp.log(z - z))))], "sequential_0/f_0", "log", "such as log(0)"),
    "jitted": (through(jax.jit(lambda z: jnp.log(z - z))), "f_0", "log", "such as log(0)"),
    "relu": (through(lambda z: jax.nn.relu(jnp.log(z - z) * jnp.nan)), "f_0", "log", "such as log(0)"),
    "scan": (
        through(lambda z: jax.lax.scan(lambda c, _: (jnp.exp(c), c), z + 1, None, length=5)[0]),
        "f_0",
        "exp",
        "such as exp(",
    ),
    "cond": (through(lambda z: jax.lax.cond(z[0, 0] > -9, jnp.log, jnp.exp, z - z)), "f_0", "log", "such as log(0)"),
    "while": (
        through(lambda z: jax.lax.fori_loop(0, jnp.int32(z[0, 0] * 0 + 9), lambda _, c: jnp.exp(c), z)),
        "f_0",
        "while",
        "",
    ),
}


@pytest.mark.parametrize("name", FORWARD)
def test_forward(name: str) -> None:
    net, layer, operation, cause = FORWARD[name]
    # Gradients of a while loop do not exist, so that what is inside is not differentiated.
    if name == "while":
        net = [net[0], fnn.nn.stateless("f", lambda z, f=net[1]: f.apply({}, {}, jax.lax.stop_gradient(z))[0]), net[2]]
    event = find(net)
    assert (event.stage, event.leaf, event.layer, event.operation) == ("forward", layer, layer, operation)
    assert cause in str(event)


@pytest.mark.parametrize(
    "options", [{"accumulate": 2}, {"guard": True}, {"clip_norm": 1.0}, {"precision": "bfloat16"}], ids=str
)
def test_forward_with_every_option(options: dict[str, Any]) -> None:
    event = find(through(lambda z: jnp.log(z - z)), **options)
    assert (event.stage, event.leaf, event.operation) == ("forward", "f_0", "log")


def test_an_infinity_that_is_masked_is_not_to_blame() -> None:
    def masked(z: Any) -> Any:
        return jax.nn.softmax(jnp.where(jnp.arange(2) == 0, -jnp.inf, z))

    assert find(through(masked)) is None
    event = find(through(lambda z: jnp.log(masked(z) * 0)))
    assert (event.leaf, event.operation) == ("f_0", "log")


def test_of_a_choice_only_what_was_chosen_is_to_blame() -> None:
    def choice(z: Any) -> Any:
        passed_by, taken = jnp.log(z - z), jnp.sqrt(z - z - 1)
        return jnp.where(z - z == 0, taken, passed_by)

    assert find(through(choice)).operation == "sqrt"


def test_of_two_the_first_is_told() -> None:
    event = find([*through(lambda z: jnp.log(z - z))[:2], fnn.nn.stateless("g", lambda z: z + jnp.sqrt(-jnp.ones(2)))])
    assert (event.leaf, event.operation) == ("f_0", "log")


def test_loss() -> None:
    event = find(fnn.nn.mlp([4, 1]), loss=lambda outputs, y: jnp.log(y[:, 0]) + outputs[:, 0])
    assert str(event) == "step 37: loss: log gave -inf (4 of 4 values), such as log(0)"


def test_data() -> None:
    event = find(fnn.nn.mlp([4, 1]), x=X.at[2, 1].set(jnp.nan))
    assert str(event) == "step 37: data, x: it holds NaN (1 of 12 values), first in row 2"
    event = find(fnn.nn.mlp([4, 1]), y=jnp.ones((4, 1)).at[3].set(-jnp.inf))
    assert (event.stage, event.leaf, event.value) == ("data", "y", "-inf")
    weighted = WeightedBatch(X.at[1].set(jnp.inf), jnp.zeros((4, 1)), jnp.array([1.0, 0, 1, 1]))
    net, tx = fnn.nn.mlp([1]), fnn.optim.sgd(0.1)
    step = make_step(supervised(net, fnn.losses.squared_error), tx)
    event = first_nonfinite(step, init_state(KEY, net, tx, X), tuple(weighted))
    assert event is not None
    assert (event.stage, event.leaf) == ("data", "x")


def test_gradient_only() -> None:
    """sqrt has no derivative at 0: the loss is finite, and the backward pass comes to dense_0 last."""
    event = find([dense(2, w_init=ONE), *through(lambda z: jnp.sqrt(z - z))])
    assert (event.stage, event.leaf, event.operation, event.layer) == ("gradient", "dense_1/b", "div", "f_0")
    assert "gradient, dense_1/b: div in f_0 gave inf (8 of 8 values), such as div(0.5, 0)" in str(event)


def test_a_norm_that_overflows() -> None:
    event = find([dense(1)], loss=lambda outputs, y: outputs[:, 0], x=jnp.full((4, 3), 1e20))
    assert (event.stage, event.leaf, event.operation) == ("gradient", "grad_norm", "square")


def test_update_of_a_parameter() -> None:
    event = find([dense(1)], tx=fnn.optim.sgd(3e38), loss=lambda outputs, y: 9 * outputs[:, 0])
    assert (event.stage, event.leaf, event.operation) == ("update", "params/dense_0/b", "mul")


def test_update_of_the_optimizers_state() -> None:
    """A sum of squares overflows; the parameters move by 0."""

    def update(updates: Any, state: Any, params: Any = None) -> Any:
        return jax.tree.map(jnp.zeros_like, updates), {"sum": state["sum"] + 1e38}

    tx = optax.GradientTransformation(lambda params: {"sum": jnp.array(3.4e38)}, update)
    event = find([dense(1)], tx=tx)
    assert (event.stage, event.leaf, event.operation) == ("update", "opt_state/sum", "add")


def test_state_of_the_network() -> None:
    """A running mean that overflows while the loss does not see it."""

    def apply(params: Any, state: Any, x: Any, *, train: bool = False, key: Any = None) -> Any:
        return x, {"sum": state["sum"] * 2}

    layer = fnn.nn.Layer("count", lambda key, x: ({}, {"sum": jnp.full((), 3e38)}), apply)
    event = find([layer, dense(1)])
    assert (event.stage, event.leaf, event.operation) == ("forward", "count_0", "mul")


def test_a_state_that_was_not_finite_before() -> None:
    net, tx = fnn.nn.mlp([1]), fnn.optim.sgd(0.1)
    step = make_step(supervised(net, fnn.losses.squared_error), tx)
    state = init_state(KEY, net, tx, X)
    bad = state._replace(params={"dense_0": {**state.params["dense_0"], "b": jnp.array([jnp.nan])}})
    event = first_nonfinite(step, bad, Dataset(X, X[:, :1]))
    assert str(event) == "step 0: the state before it, params/dense_0/b: it holds NaN (1 of 1 values), first in row 0"


def test_an_infinity_that_an_optimizer_holds_from_the_start() -> None:
    tx = optax.chain(optax.sgd(0.1), optax.contrib.reduce_on_plateau())
    net = sequential(*through(jnp.log))

    def loss(params: Any, state: Any, batch: Any, key: Any) -> Any:
        return jnp.mean(net.apply(params, {}, batch[0])[0]), (state, {})

    def step(state: TrainState, batch: Any) -> Any:
        (value, _), grads = jax.value_and_grad(loss, has_aux=True)(state.params, {}, batch, None)
        updates, opt_state = tx.update(grads, state.opt_state, state.params, value=value)
        return state._replace(params=optax.apply_updates(state.params, updates), opt_state=opt_state), {"loss": value}

    params, _ = net.init(KEY, X)
    state = TrainState(jnp.int32(3), params, {}, tx.init(params), KEY)
    assert first_nonfinite(step, state, (jnp.abs(X) + 1, X)) is None
    event = first_nonfinite(step, state, (X * 0, X))
    assert event is not None
    assert (event.stage, event.leaf, event.operation, event.cause) == ("forward", "f_0", "log", ", such as log(0)")


def test_a_step_of_ones_own_without_names() -> None:
    def step(state: Any, batch: Any) -> Any:
        loss, g = jax.value_and_grad(lambda w: jnp.mean(jnp.sqrt(w * batch)))(state)
        return state - g, {"loss": loss}

    event = first_nonfinite(step, jnp.array(0.0), jnp.ones(2))
    assert event is not None
    assert (event.step, event.stage, event.operation) == (0, "update", "div")
    event = first_nonfinite(step, jnp.array(-1.0), jnp.ones(2))
    assert event is not None
    assert (event.stage, event.leaf, event.operation) == ("forward", "", "sqrt")


def test_flax_names_its_layers() -> None:
    class Net(linen.Module):
        @linen.compact
        def __call__(self, x: jax.Array) -> jax.Array:
            return linen.Dense(1)(jnp.exp(1e3 + linen.Dense(4, name="inner")(x)))

    net = fnn.interop.from_linen(Net())
    event = find(net)
    assert (event.stage, event.leaf, event.operation) == ("forward", "Net", "exp")
    event = find(net, x=jnp.full((4, 3), 3e38))
    assert event.leaf == "Net/inner"


def test_refusals() -> None:
    wrong: Any = 3
    with pytest.raises(TypeError, match=r"^step: got 3, expected a function \(state, batch\)"):
        first_nonfinite(wrong, X, X)
    with pytest.raises(TypeError, match=r"^first_nonfinite: got a trace around it, expected a call from the host\."):
        jax.jit(lambda x: first_nonfinite(lambda s, b: (s, {}), x, x) or x)(X)


def test_where_nan_is_hunted_by_jax_too() -> None:
    with jax.debug_nans(True):
        assert find(through(lambda z: jnp.log(z - z))).operation == "log"


def test_activation_by_name_keeps_its_layer() -> None:
    event = find([dense(2), activation(lambda z: jnp.exp(z * 1e30)), dense(1)])
    assert event.leaf.startswith("activation_0")
