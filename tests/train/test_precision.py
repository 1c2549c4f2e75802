"""Mixed precision: who sees which dtype, what is kept in float32, and how near the loss stays."""

import itertools
from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import fnn
from fnn.data import Dataset
from fnn.nn import Layer, batch_norm, dense, dropout, sequential
from fnn.train import Precision, TrainState, init_state, make_step, run, supervised

KEY = jax.random.key(6)
X = jax.random.normal(KEY, (12, 5))
DATA = Dataset(X, jnp.argmax(X[:, :3], axis=1))
LOSS = fnn.losses.softmax_cross_entropy
BF16 = 2.0**-8
"""Half the distance of neighbours in bfloat16: what rounding changes, relative."""


def spy(seen: list[Any]) -> Layer:
    """A layer with a parameter and a state, which tells the dtypes that it sees."""

    def init(key: Any, x: Any) -> Any:
        return {"w": jnp.ones((), x.dtype)}, {"s": jnp.zeros((), jnp.float32)}

    def apply(params: Any, state: Any, x: Any, *, train: bool = False, key: Any = None) -> Any:
        seen.append(tuple(str(a.dtype) for a in (params["w"], x, state["s"])))
        return x * params["w"], {"s": state["s"] + 1}

    return Layer("spy", init, apply)


def test_what_the_network_the_loss_and_the_optimizer_see() -> None:
    seen: list[Any] = []
    net, tx = sequential(spy(seen), dense(3)), fnn.optim.adam(0.01)

    def loss(outputs: Any, y: Any) -> Any:
        seen.append((str(outputs.dtype), str(y.dtype)))
        return LOSS(outputs, y)

    step = make_step(supervised(net, loss, metrics={"first": lambda o, y: o[:, 0]}), tx, precision="bfloat16")
    state = init_state(KEY, net, tx, X)
    seen.clear()
    after, metrics = step(state, DATA)
    assert seen == [("bfloat16", "bfloat16", "float32"), ("float32", "int32")]
    assert {str(leaf.dtype) for leaf in jax.tree.leaves((after.params, after.model_state, metrics))} == {"float32"}
    assert [leaf.dtype for leaf in jax.tree.leaves(after)] == [leaf.dtype for leaf in jax.tree.leaves(state)]


def test_targets_and_weights_stay_as_they_are() -> None:
    """A target of 1.001 is 1 in bfloat16."""
    net, tx = fnn.nn.dense(1, w_init="zeros"), fnn.optim.sgd(0.1)
    step = make_step(supervised(net, lambda outputs, y: outputs[:, 0] + y), tx, precision="bfloat16")
    batch = fnn.data.WeightedBatch(X, jnp.full(12, 1.001), jnp.full(12, 1.003))
    _, metrics = step(init_state(KEY, net, tx, X), batch)
    np.testing.assert_allclose(metrics["loss"], 1.001, rtol=1e-6)


NETS = {
    "mlp": fnn.nn.mlp([8, 3], "tanh"),
    "batch_norm": sequential(dense(8), batch_norm(), fnn.nn.activation("tanh"), dense(3)),
    "dropout": sequential(dense(8), dropout(0.5), dense(3)),
    "conv": sequential(
        fnn.nn.stateless("image", lambda x: x[..., None]), fnn.nn.conv(4, 3), fnn.nn.flatten(), dense(3)
    ),
}


@pytest.mark.parametrize("name", NETS)
def test_the_loss_is_near_the_one_in_float32(name: str) -> None:
    """Weights and inputs are rounded, products summed in float32 and rounded, twice: 6 roundings of |z| <= 4."""
    net, tx = NETS[name], fnn.optim.sgd(0.1)
    state = init_state(KEY, net, tx, X)
    exact, near = (
        make_step(supervised(net, LOSS), tx, precision=precision)(state, DATA)[1] for precision in (None, "bfloat16")
    )
    assert float(near["loss"]) != float(exact["loss"])
    np.testing.assert_allclose(near["loss"], exact["loss"], atol=6 * 4 * BF16)
    np.testing.assert_allclose(near["grad_norm"], exact["grad_norm"], rtol=0.1)


def test_small_updates_are_not_lost() -> None:
    """w = 1 and updates of 1e-4: in bfloat16, where 1 and 0.9961 are neighbours, it would never move."""
    net, tx = fnn.nn.dense(1, w_init=fnn.initializers.constant(1.0), use_bias=False), fnn.optim.sgd(1e-4)
    step = jax.jit(make_step(supervised(net, lambda outputs, y: outputs[:, 0]), tx, precision="bfloat16"))
    batch = Dataset(jnp.ones((2, 1)), jnp.zeros(2))
    state = init_state(KEY, net, tx, batch.x)
    for _ in range(100):
        state, _ = step(state, batch)
    np.testing.assert_allclose(state.params["w"], 0.99, rtol=1e-5)


def test_float32_by_name_changes_nothing() -> None:
    net, tx = NETS["mlp"], fnn.optim.adam(0.01)
    states = [
        make_step(supervised(net, LOSS), tx, precision=p)(init_state(KEY, net, tx, X), DATA)[0].params
        for p in (None, "float32", Precision())
    ]
    chex.assert_trees_all_equal(*states)


def test_float64_where_it_is_on() -> None:
    with jax.enable_x64(True):
        net, tx = fnn.nn.mlp([3]), fnn.optim.sgd(0.1)
        policy = Precision(params=jnp.float64, compute=jnp.float32, output=jnp.float64)
        data = Dataset(jnp.asarray(np.asarray(X, np.float64)), DATA.y)
        state, metrics = make_step(supervised(net, LOSS), tx, precision=policy)(init_state(KEY, net, tx, data.x), data)
        assert {leaf.dtype for leaf in jax.tree.leaves((state.params, metrics["loss"]))} == {jnp.dtype(jnp.float64)}


OPTIONS: dict[str, tuple[Any, ...]] = {
    "accumulate": (1, 5),
    "clip_norm": (None, 0.1),
    "precision": (None, "bfloat16"),
    "guard": (False, True),
}


@pytest.mark.parametrize("values", list(itertools.product(*OPTIONS.values())), ids=str)
def test_micro_batches_equal_one_batch_with_each_option(values: tuple[Any, ...]) -> None:
    """12 examples in 5 parts, the last one of 2, against the same step on the whole batch."""
    options = dict(zip(OPTIONS, values, strict=True))
    net, tx = sequential(fnn.nn.remat(fnn.nn.mlp([8, 8], "tanh")), fnn.nn.layer_norm(), dense(3)), fnn.optim.sgd(0.1)
    state = init_state(KEY, net, tx, X)
    step, whole = (make_step(supervised(net, LOSS), tx, **o) for o in (options, {**options, "accumulate": 1}))
    (after, metrics), (expected, told) = jax.jit(step)(state, DATA), jax.jit(whole)(state, DATA)
    tolerance = 1e-5 if options["precision"] is None else 4 * BF16
    chex.assert_trees_all_close((after.params, metrics), (expected.params, told), rtol=tolerance, atol=tolerance / 10)


def test_batch_norm_is_the_exception_of_accumulation() -> None:
    """Statistics are each micro-batch's own, so the gradient is another one, and the state moves once for each."""
    net, tx = NETS["batch_norm"], fnn.optim.sgd(0.1)
    state = init_state(KEY, net, tx, X)
    whole, cut = (make_step(supervised(net, LOSS), tx, accumulate=k)(state, DATA) for k in (1, 2))
    assert abs(float(whole[1]["loss"] - cut[1]["loss"])) > 1e-3
    # A running mean that keeps 0.9 of itself twice has moved to 0.19 of the mean of x, not to 0.1.
    a, b = (s.model_state["batch_norm_0"]["mean"] for s, _ in (whole, cut))
    assert 1.7 < float(jnp.linalg.norm(b) / jnp.linalg.norm(a)) < 2.1


def test_in_a_run_of_many() -> None:
    net, tx = sequential(dense(3), dropout(0.5)), fnn.optim.sgd(0.1)
    step = make_step(supervised(net, LOSS), tx, precision="bfloat16", accumulate=2, clip_norm=1.0)
    train = run(step, DATA, batch_size=6, epochs=3)

    def trained(key: jax.Array) -> TrainState:
        return train(init_state(key, net, tx, X))[0]

    keys = jax.random.split(KEY, 2)
    many, one = jax.jit(jax.vmap(trained))(keys), jax.jit(trained)(keys[1])
    chex.assert_trees_all_close(jax.tree.map(lambda a: a[1], many.params), one.params, rtol=4 * BF16, atol=4 * BF16)
    assert int(one.step) == 6


def test_fit_takes_it() -> None:
    result = fnn.fit(NETS["mlp"], LOSS, fnn.optim.adam(0.05), DATA, key=KEY, epochs=30, batch_size=6,
                     progress=False, precision="bfloat16")  # fmt: skip
    assert {str(leaf.dtype) for leaf in jax.tree.leaves(result.state.params)} == {"float32"}
    assert result.history["loss"][-1] < 0.5 * result.history["loss"][0]


@pytest.mark.parametrize(
    ("precision", "error", "match"),
    [
        (
            "float16",
            ValueError,
            r"precision\.compute: got float16, expected bfloat16, .* Its gradients underflow .* loss",
        ),
        ("half", ValueError, r"precision: got 'half', expected one of bfloat16, float32"),
        (jnp.bfloat16, TypeError, r'precision: got a .*, expected a Precision or its name\. Give "bfloat16"'),
        (Precision(compute=jnp.float16), ValueError, r"precision\.compute: got float16"),
        (Precision(params=jnp.bfloat16), ValueError, r"precision\.params: got bfloat16, expected float32 or float64"),
        (Precision(output=jnp.bfloat16), ValueError, r"precision\.output: got bfloat16, expected float32 or float64"),
        (Precision(compute=jnp.int32), ValueError, r"precision\.compute: got int32, expected bfloat16, float32"),
    ],
)
def test_refusals(precision: Any, error: type[Exception], match: str) -> None:
    with pytest.raises(error, match=f"^{match}"):
        make_step(supervised(NETS["mlp"], LOSS), fnn.optim.sgd(0.1), precision=precision)


def test_parameters_of_another_dtype() -> None:
    net, tx = NETS["mlp"], fnn.optim.sgd(0.1)
    step = make_step(supervised(net, LOSS), tx, precision="bfloat16")
    state = init_state(KEY, net, tx, X.astype(jnp.bfloat16))
    match = r"^params leaf 'dense_0/b': got dtype bfloat16, expected float32, as precision\.params is\. Initialize with"
    with pytest.raises(TypeError, match=match):
        step(state, DATA)
