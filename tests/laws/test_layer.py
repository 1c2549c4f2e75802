"""The laws of layers: all of fnn and of Flax keeps them, and each of many planted faults breaks the law named."""

import functools
import inspect
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen, nnx

from fnn import interop, nn
from fnn.errors import is_traced
from fnn.laws import LawViolation, law
from fnn.laws.layer import LAWS, check_layer
from fnn.nn import Layer

X = jnp.asarray(np.random.default_rng(0).normal(size=(4, 3)), jnp.float32)


class Linen(linen.Module):
    """Parameters, running statistics and noise at once."""

    @linen.compact
    def __call__(self, x: jax.Array, *, train: bool = False) -> jax.Array:
        x = linen.relu(linen.Dense(8)(x))
        x = linen.BatchNorm(use_running_average=not train, momentum=0.9)(x)
        x = linen.Dropout(0.5, deterministic=not train)(x)
        return linen.Dense(2)(x)


class Nnx(nnx.Module):
    """The same."""

    def __init__(self, *, rngs: nnx.Rngs) -> None:
        self.layers = nnx.List([nnx.Linear(3, 8, rngs=rngs), nnx.Linear(8, 2, rngs=rngs)])
        self.norm = nnx.BatchNorm(8, momentum=0.9, rngs=rngs)
        self.dropout = nnx.Dropout(0.5, rngs=rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        return self.layers[1](self.dropout(self.norm(nnx.relu(self.layers[0](x)))))


def _draw(key: Any, x: Any) -> Any:
    return {"w": jax.random.normal(key, (x.shape[-1], 2), x.dtype), "b": jnp.zeros(2, x.dtype)}


def _affine(params: Any, x: Any) -> Any:
    return x @ params["w"] + params["b"]


# What is right keeps the laws ----------------------------------------------------------------------------


RIGHT: dict[str, Callable[[], Layer]] = {
    "dense": lambda: nn.dense(2),
    "dense without bias": lambda: nn.dense(2, w_init="he", use_bias=False),
    "dropout": lambda: nn.dropout(0.5),
    "relu": lambda: nn.activation("relu"),
    "softmax": lambda: nn.activation("softmax"),
    "gelu": lambda: nn.activation("gelu"),
    "mlp": lambda: nn.mlp([8, 8, 2]),
    "mlp with dropout": lambda: nn.mlp([8, 2], "tanh", dropout=0.3),
    "perceptron": lambda: nn.perceptron(2),
    "sequential": lambda: nn.sequential(nn.dense(4), nn.activation("silu"), nn.dropout(0.1), nn.dense(2)),
    "residual": lambda: nn.residual(nn.sequential(nn.dense(3), nn.activation("elu"))),
    "batch_norm": nn.batch_norm,
    "layer_norm": nn.layer_norm,
    "rms_norm": nn.rms_norm,
    "group_norm": lambda: nn.group_norm(1),
    "residual with a shortcut": lambda: nn.residual(nn.dense(2), nn.sequential(nn.dropout(0.1), nn.dense(2))),
    "mlp with batch_norm": lambda: nn.mlp([8, 2], "tanh", norm=nn.batch_norm),
    "function": lambda: interop.from_function(_affine, _draw),
    "linen": lambda: interop.from_linen(Linen()),
    "nnx": lambda: interop.from_nnx(lambda rngs: Nnx(rngs=rngs)),
}


IMAGES: dict[str, Callable[[], Layer]] = {
    "conv": lambda: nn.conv(3, 3, strides=2),
    "depthwise conv": lambda: nn.conv(4, 2, groups=2, dilation=2, lowering="cpu"),
    "max_pool": lambda: nn.max_pool(2),
    "avg_pool": lambda: nn.avg_pool(3, padding="SAME", count_include_pad=False),
    "global_avg_pool": nn.global_avg_pool,
    "flatten": nn.flatten,
    "cnn": lambda: nn.cnn([2], [4], 3, dropout=0.3),
    "cnn with batch_norm": lambda: nn.cnn([2], [], 3, activation="gelu", norm=nn.batch_norm),
    "resnet": lambda: nn.resnet([2], 1, 2),
}


@pytest.mark.parametrize("name", IMAGES)
def test_a_right_layer_of_images_keeps_every_law(name: str) -> None:
    # Many examples of so small an input find nothing that a few do not.
    report = check_layer(IMAGES[name](), jax.ShapeDtypeStruct((4, 6, 5, 2), jnp.float32), examples=3)
    report.raise_if_broken()
    assert sum(row.verdict == "held" for row in report.rows) >= 25


@pytest.mark.parametrize("name", RIGHT)
def test_a_right_layer_keeps_every_law(name: str) -> None:
    report = check_layer(RIGHT[name](), X)
    report.raise_if_broken()
    assert sum(row.verdict == "held" for row in report.rows) >= 25
    assert all(row.note for row in report.rows if row.verdict == "does not apply")


def test_noise_and_state_are_seen() -> None:
    laws = ["other_key_other_noise", "key_is_not_needed", "training_moves_state", "other_key_other_weights"]

    def held(layer: Layer) -> set[str]:
        return {row.law for row in check_layer(layer, X, laws=laws).rows if row.verdict == "held"}

    assert held(RIGHT["linen"]()) == {"other_key_other_noise", "training_moves_state", "other_key_other_weights"}
    assert held(nn.dense(2)) == {"key_is_not_needed", "other_key_other_weights"}
    assert held(nn.dropout(0.5)) == {"other_key_other_noise"}


def test_the_batch_may_be_a_shape_or_of_integers() -> None:
    check_layer(nn.dense(2), jax.ShapeDtypeStruct((32, 3), jnp.float32)).raise_if_broken()

    def init(key: Any, x: Any) -> Any:
        return {"table": jax.random.normal(key, (5, 2), jnp.float32)}, {}

    def embed(params: Any, state: Any, x: Any, *, train: bool = False, key: Any = None) -> Any:
        return jnp.asarray(params["table"])[x], state

    report = check_layer(Layer("embedding", init, embed), jnp.array([0, 4, 2]))
    report.raise_if_broken()
    assert report["gradient_is_right"].note == "its input is not of floating-point numbers"


def test_an_instance_of_nnx_draws_nothing() -> None:
    net = interop.from_nnx(nnx.Linear(3, 2, rngs=nnx.Rngs(0)))
    laws = ["other_key_other_weights"]
    assert check_layer(net, X, laws=laws).broken
    report = check_layer(net, X, laws=laws, traits={"random_init": False})
    assert report.rows[0].verdict == "does not apply"
    assert report.rows[0].note == "traits says that random_init is False"


# What is wrong is caught ---------------------------------------------------------------------------------


def _layer(function: Callable[..., Any], init: Any = None, state: Any = None) -> Layer:
    """A layer whose output is `function(params, x)`, also of `state, train, key` where it asks for them."""
    names = inspect.signature(function).parameters
    statistics = state or dict

    def apply(params: Any, state: Any, x: Any, *, train: bool = False, key: Any = None) -> Any:
        given = {"params": params, "state": state, "x": x, "train": train, "key": key}
        y = function(*(given[name] for name in names))
        return y if isinstance(y, tuple) else (y, state)

    def first(key: Any, x: Any) -> Any:
        return (_draw if init is None else init)(key, x), statistics()

    return Layer("faulty", first, apply)


RNG = np.random.default_rng(0)
DRAWN: list[Any] = []
CALLS: list[int] = []
FIXED = jax.random.key(0)


def _counted(key: Any, x: Any) -> Any:
    CALLS.append(1)
    return jax.tree.map(lambda p: p * len(CALLS), _draw(key, x))


def _masked(key: Any, x: Any) -> Any:
    return jnp.where(jax.random.bernoulli(key, 0.5, x.shape), 2 * x, 0)


def _own_random(params: Any, x: Any, train: Any) -> Any:
    if not train:
        return _affine(params, x)
    CALLS.append(1)
    return _affine(params, _masked(jax.random.key(len(CALLS)), x))


def _keeps(params: Any, x: Any) -> Any:
    DRAWN.append(x)
    return _affine(params, x)


def _statistics() -> Any:
    return {"mean": jnp.zeros(3), "count": jnp.zeros((), jnp.int32)}


def _trains(params: Any, state: Any, x: Any, *, train: bool = True, key: Any = None) -> Any:
    return x * (2 if train else 1), state


@jax.custom_vjp
def _twice(x: jax.Array) -> jax.Array:
    return 2 * x


_twice.defvjp(lambda x: (2 * x, None), lambda _, g: (g,))


def _in_place(params: Any, x: Any) -> Any:
    if isinstance(x, np.ndarray):
        x *= 2
        return x @ params["w"]
    return 2 * x @ params["w"]


def _shared(key: Any, x: Any) -> Any:
    b = jnp.zeros(2, x.dtype)
    return _draw(key, x) | {"b": b, "c": b}


def _one_key(key: Any, x: Any) -> Any:
    return {name: jax.random.normal(key, (3, 3), x.dtype) for name in ("w", "v")}


def _two(params: Any, x: Any) -> Any:
    return x @ params["w"] @ params["v"]


def _untyped(key: Any, x: Any) -> Any:
    return {"w": jax.random.normal(key, (3, 2)), "b": jnp.zeros(2)}


# Of each: the layer, and the laws that it breaks.
FAULTS: dict[str, tuple[Callable[[], Layer], set[str]]] = {
    "init counts its calls": (lambda: _layer(_affine, _counted), {"init_is_pure"}),
    "init draws with NumPy": (
        lambda: _layer(_affine, lambda _, x: {"w": jnp.asarray(RNG.normal(size=(3, 2)), x.dtype), "b": jnp.zeros(2)}),
        {"init_is_pure", "init_reads_shape_only"},
    ),
    "init looks at the key's value": (
        lambda: _layer(_affine, lambda key, x: _draw(jax.random.key(int(jax.random.key_data(key)[0])), x)),
        {"init_under_jit_and_vmap", "init_under_eval_shape"},
    ),
    "init looks at the batch": (
        lambda: _layer(_affine, lambda key, x: _draw(key, x) | {"b": jnp.ones(2, x.dtype) * x.shape[0]}),
        {"init_reads_shape_only"},
    ),
    "another shape under eval_shape": (
        lambda: _layer(
            lambda params, x: x @ params["w"][:, :2],
            lambda k, x: {"w": jnp.ones((3, 3 if is_traced(k) else 2), x.dtype)},
        ),
        {"init_under_eval_shape"},
    ),
    "the key is not used": (lambda: _layer(_affine, lambda _, x: _draw(FIXED, x)), {"other_key_other_weights"}),
    "a key is used twice": (lambda: _layer(_two, _one_key), {"leaves_are_drawn_apart"}),
    "a number as a parameter": (
        lambda: _layer(lambda params, x: params["scale"] * x, lambda _, x: {"scale": 2.0}),
        {"leaves_are_arrays"},
    ),
    "a weak type": (
        lambda: _layer(lambda params, x: params["scale"] * x, lambda _, x: {"scale": jnp.asarray(2.0)}),
        {"leaves_are_arrays"},
    ),
    "parameters in a list": (
        lambda: _layer(lambda params, x: x @ params[0], lambda key, x: [_draw(key, x)["w"]]),
        {"paths_have_names"},
    ),
    "a slash in a name": (
        lambda: _layer(lambda params, x: x @ params["a/b"], lambda key, x: {"a/b": _draw(key, x)["w"]}),
        {"paths_have_names"},
    ),
    "integer parameters": (
        lambda: _layer(lambda params, x: x * params["n"], lambda _, x: {"n": jnp.array(2, jnp.int32)}),
        {"parameters_are_trainable"},
    ),
    "one buffer twice": (
        lambda: _layer(lambda params, x: _affine(params, x) + params["c"], _shared),
        {"leaves_share_no_buffer"},
    ),
    "the default dtype": (lambda: _layer(_affine, _untyped), {"x64_keeps_float32"}),
    "training by default": (lambda: Layer("faulty", lambda key, x: ({}, {}), _trains), {"evaluation_is_the_default"}),
    "evaluation counts": (
        lambda: _layer(lambda state, x: (x, {**state, "count": state["count"] + 1}), state=_statistics),
        {"evaluation_keeps_state"},
    ),
    "noise in evaluation": (
        lambda: _layer(lambda x, key: x if key is None else _masked(key, x), lambda key, x: {}),
        {"evaluation_is_deterministic"},
    ),
    "a key of its own": (
        lambda: _layer(
            lambda x, train, key: _masked(FIXED if key is None else key, x) if train else x, lambda k, x: {}
        ),
        {"training_asks_for_its_key"},
    ),
    "an error that says nothing": (
        lambda: _layer(lambda x, train, key: _masked(_given(key, "no source"), x) if train else x, lambda k, x: {}),
        {"training_asks_for_its_key"},
    ),
    "louder with a key": (lambda: _layer(lambda x, key: x if key is None else 2 * x), {"key_is_not_needed"}),
    "noise that does not come from the key": (lambda: _layer(_own_random), {"same_key_same_result"}),
    "a state of another dtype": (
        lambda: _layer(lambda state, x: (x, {**state, "count": state["count"] + 1.0}), state=_statistics),
        {"state_is_a_fixed_point"},
    ),
    "a state that grows": (
        lambda: _layer(lambda state, x: (x, {**state, "last": x}), state=_statistics),
        {"state_is_a_fixed_point", "scan_is_loop"},
    ),
    "a state that never moves": (lambda: _layer(_affine, state=_statistics), {"training_moves_state"}),
    "writes into its input": (lambda: _layer(_in_place), {"inputs_untouched"}),
    "one row": (lambda: _layer(lambda params, x: jnp.mean(_affine(params, x), axis=0)), {"output_shape"}),
    "another shape under a trace": (
        lambda: _layer(lambda params, x: _affine(params, x)[:, : 1 if is_traced(x) else 2]),
        {"jit_is_eager"},
    ),
    "float32 whatever comes": (
        lambda: _layer(lambda params, x: _affine(params, x).astype(jnp.float32)),
        {"output_dtype"},
    ),
    "a constant in float32": (
        lambda: _layer(lambda params, x: _affine(params, x) * jnp.ones(2, jnp.float32)),
        {"output_dtype"},
    ),
    "another function under jit": (
        lambda: _layer(lambda params, x: _affine(params, x) * (2 if is_traced(x) else 1)),
        {"jit_is_eager"},
    ),
    "looks at values of parameters": (
        lambda: _layer(lambda params, x: _affine(params, x) * (1 if float(params["w"][0, 0]) > 0 else -1)),
        {"jit_is_eager", "vmap_is_loop", "one_trace"},
    ),
    "keeps a tracer": (lambda: _layer(_keeps), {"no_tracer_leaks"}),
    "normalized over the batch": (
        lambda: _layer(lambda params, x: _affine(params, x - jnp.mean(x, axis=0))),
        {"rows_stand_alone"},
    ),
    "the place of an example counts": (
        lambda: _layer(lambda params, x: _affine(params, x) + jnp.arange(len(x))[:, None]),
        {"rows_commute", "rows_stand_alone"},
    ),
    "no empty batch": (lambda: _layer(lambda params, x: _affine(params, x) - 0 * x[0, 0]), {"empty_batch"}),
    "divided by its length": (
        lambda: _layer(lambda params, x: x / jnp.sqrt(jnp.sum(x**2, axis=-1, keepdims=True))),
        {"finite_output_and_gradient"},
    ),
    "powers that overflow": (
        lambda: _layer(
            lambda params, x: jnp.exp(_affine(params, x)) / jnp.sum(jnp.exp(_affine(params, x)), -1)[:, None]
        ),
        {"finite_output_and_gradient"},
    ),
    "a tiny number that float16 lacks": (
        lambda: _layer(lambda params, x: _affine(params, 0 * x) / (jnp.sum(0 * x) + jnp.asarray(1e-8, x.dtype))),
        {"half_precision_is_finite"},
    ),
    "half the gradient": (lambda: _layer(lambda params, x: _affine(params, _twice(x))), {"gradient_is_right"}),
    "a gradient stopped": (
        lambda: _layer(lambda params, x: _affine({**params, "b": jax.lax.stop_gradient(params["b"])}, x)),
        {"gradient_is_right"},
    ),
    "a parameter without use": (
        lambda: _layer(
            lambda params, x: x @ params["w"], lambda key, x: {"w": _draw(key, x)["w"], "u": jnp.ones(2, x.dtype)}
        ),
        {"no_dead_parameter"},
    ),
    "noise under jit from one key": (
        lambda: _layer(lambda x, train, key: _masked(_frozen(key), x) if train else x, lambda k, x: {}),
        {"compiled_noise_is_fresh"},
    ),
    "one mask for all keys": (
        lambda: _layer(lambda x, train, key: _one_mask(key, x) if train else x, lambda k, x: {}),
        {"other_key_other_noise"},
    ),
}


def _given(key: Any, error: str = "key: got None") -> Any:
    if key is None:
        raise ValueError(error)
    return key


def _frozen(key: Any) -> Any:
    return FIXED if is_traced(_given(key)) else key


def _one_mask(key: Any, x: Any) -> Any:
    _given(key)
    return _masked(FIXED, x)


@pytest.mark.parametrize("name", FAULTS)
def test_a_planted_fault_breaks_its_law(name: str) -> None:
    make, caught = FAULTS[name]
    assert {row.law for row in check_layer(make(), X, laws=caught).broken} == caught


def test_every_law_is_broken_by_a_fault() -> None:
    assert {one.name for one in LAWS} == set().union(*(caught for _, caught in FAULTS.values()))


def test_a_dead_parameter_and_a_false_gradient_are_named() -> None:
    with pytest.raises(LawViolation, match="the output does not depend on u"):
        check_layer(FAULTS["a parameter without use"][0](), X, laws=["no_dead_parameter"]).raise_if_broken()
    with pytest.raises(LawViolation, match="params/b: the gradient says 0, finite differences say"):
        check_layer(FAULTS["a gradient stopped"][0](), X, laws=["gradient_is_right"]).raise_if_broken()


def test_dtypes_that_follow_x64_are_named_together_with_the_remedy() -> None:
    match = (
        r"params/b, params/w: float32 without jax_enable_x64 and float64 with it\. Make .*jnp\.zeros\(shape, x\.dtype"
    )
    with pytest.raises(LawViolation, match=match):
        check_layer(FAULTS["the default dtype"][0](), X, laws=["x64_keeps_float32"]).raise_if_broken()
    made = _layer(lambda x: jnp.zeros(x.shape), lambda key, x: {})
    with pytest.raises(LawViolation, match=r"output: float32 without jax_enable_x64 and float64 with it\. Make it in"):
        check_layer(made, X, laws=["x64_keeps_float32"]).raise_if_broken()


def test_the_counterexample_can_be_typed_in() -> None:
    layer = FAULTS["divided by its length"][0]()
    with pytest.raises(LawViolation, match="finite_output_and_gradient is broken") as caught:
        check_layer(layer, X, laws=["finite_output_and_gradient"]).raise_if_broken()
    assert caught.value.counterexample == "x=np.resize([0.0], x.shape)"


# Refusals ------------------------------------------------------------------------------------------------


def test_refusals() -> None:
    with pytest.raises(TypeError, match=r"net: got a Linen, .*from_linen"):
        check_layer(Linen(), X)
    with pytest.raises(TypeError, match=r"x: got .*, expected an array"):
        check_layer(nn.dense(2), [[1.0, 2.0]])
    with pytest.raises(ValueError, match=r"x: got shape \(\), expected a batch"):
        check_layer(nn.dense(2), jnp.array(1.0))
    with pytest.raises(ValueError, match=r"traits: got 'noise', expected one of .*Did you mean 'noisy'"):
        check_layer(nn.dense(2), X, traits={"noise": True})
    with pytest.raises(ValueError, match=r"laws: got 'init', expected one of"):
        check_layer(nn.dense(2), X, laws=["init"])
    with pytest.raises(ValueError, match=r"examples: got 0"):
        check_layer(nn.dense(2), X, examples=0)
    with pytest.raises(ValueError, match=r"x: got shape \(4, 3, 1\), expected shape \(n, d_in\) for mlp"):
        check_layer(nn.mlp([2]), X[..., None])


def test_a_law_of_ones_own() -> None:
    @law("parameters")
    def few_parameters(net: Any) -> None:
        """A layer has at most ten numbers."""
        assert sum(p.size for p in jax.tree.leaves(net.params)) <= 10

    report = functools.partial(check_layer, x=X, laws=[few_parameters])
    assert report(nn.dense(2)).rows[0].verdict == "held"
    assert report(nn.dense(9)).rows[0].verdict == "broken"
    assert report(nn.dropout(0.5)).rows[0].note == "it has no parameters"
