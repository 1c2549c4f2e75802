"""Modules of Flax and plain functions as layers: pure, equal to Flax's own, trained by the same step."""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import linen, nnx

from fnn import data, interop, keys, losses, nn, train
from fnn.tree import named_leaves
from fnn.typing import Key

KEY = jax.random.key(0)
X: Any = jax.random.normal(jax.random.key(1), (6, 3))


class Linen(linen.Module):
    """Everything at once: parameters, running statistics, random numbers."""

    rate: float = 0.5

    @linen.compact
    def __call__(self, x: jax.Array, *, train: bool = False) -> jax.Array:
        x = linen.relu(linen.Dense(16)(x))
        x = linen.BatchNorm(use_running_average=not train, momentum=0.9)(x)
        x = linen.Dropout(self.rate, deterministic=not train)(x)
        return linen.Dense(2)(x)


class NNX(nnx.Module):
    """The same, with a list, whose paths hold integers, and a table that is neither parameter nor random."""

    def __init__(self, rate: float = 0.5, *, rngs: nnx.Rngs) -> None:
        self.layers = nnx.List([nnx.Linear(3, 16, rngs=rngs), nnx.Linear(16, 2, rngs=rngs)])
        self.norm = nnx.BatchNorm(16, momentum=0.9, rngs=rngs)
        self.dropout = nnx.Dropout(rate, rngs=rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        x = self.norm(nnx.relu(self.layers[0](x)))
        return self.layers[1](self.dropout(x))


def _function() -> nn.Layer:
    def init(key: Key, x: jax.ShapeDtypeStruct) -> dict[str, Any]:
        key_v, key_w = jax.random.split(key)
        v = jax.random.normal(key_v, (x.shape[-1], 16)) / 2
        return {"v": v, "w": jax.random.normal(key_w, (16, 2)) / 4}

    def apply(params: Any, x: jax.Array, *, train: bool, key: Key | None) -> jax.Array:
        h = jax.nn.relu(x @ params["v"])
        if train and key is not None:
            h = h * jax.random.bernoulli(key, 0.5, h.shape) * 2
        return h @ params["w"]

    return interop.from_function(apply, init)


NETS: dict[str, Callable[[], nn.Layer]] = {
    "linen": lambda: interop.from_linen(Linen()),
    "nnx factory": lambda: interop.from_nnx(lambda rngs: NNX(rngs=rngs)),
    "nnx instance": lambda: interop.from_nnx(NNX(rngs=nnx.Rngs(0))),
    "function": _function,
}


@pytest.fixture(params=NETS)
def net(request: pytest.FixtureRequest) -> nn.Layer:
    return NETS[request.param]()


def _same(a: Any, b: Any) -> None:
    assert jax.tree.structure(a) == jax.tree.structure(b)
    jax.tree.map(np.testing.assert_array_equal, a, b)


def _close(a: Any, b: Any) -> None:
    assert jax.tree.structure(a) == jax.tree.structure(b)
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-5, atol=1e-6), a, b)


@pytest.mark.parametrize(
    ("kind", "params", "state"),
    [
        (
            "linen",
            {
                "BatchNorm_0/bias": (16,),
                "BatchNorm_0/scale": (16,),
                "Dense_0/bias": (16,),
                "Dense_0/kernel": (3, 16),
                "Dense_1/bias": (2,),
                "Dense_1/kernel": (16, 2),
            },
            {"batch_stats/BatchNorm_0/mean": (16,), "batch_stats/BatchNorm_0/var": (16,)},
        ),
        (
            "nnx factory",
            {
                "layers/0/bias": (16,),
                "layers/0/kernel": (3, 16),
                "layers/1/bias": (2,),
                "layers/1/kernel": (16, 2),
                "norm/bias": (16,),
                "norm/scale": (16,),
            },
            {"norm/mean": (16,), "norm/var": (16,)},
        ),
        ("function", {"v": (3, 16), "w": (16, 2)}, {}),
    ],
)
def test_parameters_and_state_are_plain_dicts_with_readable_paths(
    kind: str, params: dict[str, Any], state: dict[str, Any]
) -> None:
    first = NETS[kind]().init(KEY, X)
    for tree, expected in zip(first, (params, state), strict=True):
        assert type(tree) is dict
        assert {name: leaf.shape for name, leaf in named_leaves(tree).items()} == expected
        assert all(
            isinstance(part, str) for path, _ in jax.tree_util.tree_leaves_with_path(tree) for part in _keys(path)
        )


def _keys(path: Any) -> list[Any]:
    return [part.key for part in path]


def test_a_shape_is_enough_to_init(net: nn.Layer) -> None:
    _same(net.init(KEY, X), net.init(KEY, jax.ShapeDtypeStruct(X.shape, X.dtype)))


def test_init_draws_from_the_key_alone(net: nn.Layer, request: pytest.FixtureRequest) -> None:
    params, _ = net.init(KEY, X)
    _same(params, net.init(jax.random.key(0), X)[0])
    other = jax.tree.leaves(net.init(jax.random.key(5), X)[0])
    differs = [bool((a != b).any()) for a, b in zip(jax.tree.leaves(params), other, strict=True)]
    # An instance brings its own parameters.
    assert any(differs) == ("instance" not in request.node.callspec.id)


def test_evaluation_needs_no_key_and_leaves_the_state_alone(net: nn.Layer) -> None:
    params, state = net.init(KEY, X)
    y, same = net.apply(params, state, X)
    assert y.shape == (6, 2)
    assert same is state
    _same(y, net.apply(params, state, X, key=jax.random.key(9))[0])


def test_apply_is_pure(net: nn.Layer) -> None:
    params, state = net.init(KEY, X)
    before = jax.tree.map(np.array, (params, state))
    first = net.apply(params, state, X, train=True, key=KEY)
    net.apply(params, state, X, train=True, key=jax.random.key(3))
    _same(first, net.apply(params, state, X, train=True, key=KEY))
    _same(jax.tree.map(np.array, (params, state)), before)
    assert jax.tree.structure(first[1]) == jax.tree.structure(state)


def test_noise_is_a_function_of_the_key(net: nn.Layer) -> None:
    params, state = net.init(KEY, X)
    drawn = [np.asarray(net.apply(params, state, X, train=True, key=keys.for_step(KEY, i))[0]) for i in range(4)]
    assert len({y.tobytes() for y in drawn}) == 4


def test_it_works_under_jit_vmap_scan_and_grad(net: nn.Layer) -> None:
    def loss(params: Any, state: Any, key: Key) -> tuple[jax.Array, Any]:
        y, state = net.apply(params, state, X, train=True, key=key)
        return jnp.sum(y**2), state

    def steps(key: Key) -> Any:
        def step(carry: Any, i: jax.Array) -> tuple[Any, jax.Array]:
            params, state = carry
            (value, state), grads = jax.value_and_grad(loss, has_aux=True)(params, state, jax.random.fold_in(key, i))
            return (jax.tree.map(lambda p, g: p - 1e-3 * g, params, grads), state), value

        return jax.lax.scan(step, net.init(key, X), jnp.arange(3))

    many = jax.random.split(KEY, 2)
    mapped, compiled = jax.jit(jax.vmap(steps))(many), jax.jit(steps)
    for i, key in enumerate(many):
        _close(jax.tree.map(lambda a, i=i: a[i], mapped), compiled(key))
    with jax.disable_jit():
        _close(jax.tree.map(lambda a: a[0], mapped), steps(many[0]))


def test_training_without_a_key_is_refused() -> None:
    for kind in ("linen", "nnx factory", "nnx instance"):
        net = NETS[kind]()
        params, state = net.init(KEY, X)
        match = (
            r"key: got None, expected one typed key: .* draws random numbers\. Give apply\(\.\.\., key=key\); for eval"
        )
        with pytest.raises(ValueError, match=match):
            net.apply(params, state, X, train=True)
        with pytest.raises(ValueError, match=match):  # While it is traced, so before it compiles.
            jax.eval_shape(lambda p, s, net=net: net.apply(p, s, X, train=True)[0], params, state)


@pytest.mark.parametrize("kind", ["linen", "nnx factory"])
def test_a_wrong_key_is_refused(kind: str) -> None:
    net = NETS[kind]()
    params, state = net.init(KEY, X)
    with pytest.raises(TypeError, match=r"key: got a legacy uint32 key"):
        net.apply(params, state, X, train=True, key=jax.random.PRNGKey(0))
    with pytest.raises(TypeError, match=r"key: got a legacy uint32 key"):
        net.init(jax.random.PRNGKey(0), X)


def test_without_random_numbers_no_key_is_needed_in_training() -> None:
    for net in (
        interop.from_linen(Linen(rate=0.0)),
        interop.from_nnx(lambda rngs: NNX(0.0, rngs=rngs)),
        interop.from_function(lambda params, x: x @ params, jnp.ones((3, 2))),
    ):
        params, state = net.init(KEY, X)
        assert net.apply(params, state, X, train=True)[0].shape == (6, 2)


# Linen against Flax itself.


def test_linen_has_flaxs_own_first_parameters() -> None:
    params, state = interop.from_linen(Linen()).init(KEY, X)
    own = Linen().init(KEY, X)
    _same({"params": params, **state}, own)


def test_linen_equals_flax_over_several_steps() -> None:
    model, net = Linen(), interop.from_linen(Linen())
    params, state = net.init(KEY, X)
    variables: Any = model.init(KEY, X)

    def own_loss(own_params: Any, stats: Any, x: jax.Array, key: Key) -> tuple[jax.Array, Any]:
        noise = {"dropout": keys.for_layer(key, "dropout")}
        both: Any = {"params": own_params, "batch_stats": stats}
        y, new = model.apply(both, x, train=True, rngs=noise, mutable=["batch_stats"])
        return jnp.mean(y**2), new["batch_stats"]

    def loss(params: Any, state: Any, x: jax.Array, key: Key) -> tuple[jax.Array, Any]:
        y, state = net.apply(params, state, x, train=True, key=key)
        return jnp.mean(y**2), state

    own_params, stats = variables["params"], variables["batch_stats"]
    for i in range(4):
        key, x = keys.for_step(KEY, i), X + i
        (_, stats), own_grads = jax.value_and_grad(own_loss, has_aux=True)(own_params, stats, x, key)
        (_, state), grads = jax.value_and_grad(loss, has_aux=True)(params, state, x, key)
        _same(grads, own_grads)
        _same(state, {"batch_stats": stats})
        params, own_params = (
            optax.apply_updates(p, jax.tree.map(lambda g: -0.1 * g, grads)) for p in (params, own_params)
        )
    own: Any = {"params": own_params, "batch_stats": stats}
    y = model.apply(own, X)
    _same(net.apply(params, state, X)[0], y)
    assert float(jnp.abs(stats["BatchNorm_0"]["mean"]).max()) > 0.1


@pytest.mark.parametrize("keyword", ["train", "training", "deterministic", "use_running_average"])
def test_linens_mode_is_found_by_its_name(keyword: str) -> None:
    net = interop.from_linen(MODULES[keyword]())
    on_training = keyword.startswith("train")
    y, _ = net.apply({}, {}, X, train=True)
    assert bool((y == X + (1 if on_training else 0)).all())
    y, _ = net.apply({}, {}, X, train=False)
    assert bool((y == X + (0 if on_training else 1)).all())


class Train(linen.Module):
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        return x + train


class Training(linen.Module):
    def __call__(self, x: jax.Array, *, training: bool) -> jax.Array:
        return x + training


class Deterministic(linen.Module):
    def __call__(self, x: jax.Array, deterministic: bool | None = None) -> jax.Array:
        assert deterministic is not None
        return x + deterministic


class Average(linen.Module):
    def __call__(self, x: jax.Array, *, use_running_average: bool) -> jax.Array:
        return x + use_running_average


MODULES: dict[str, type[linen.Module]] = {
    "train": Train,
    "training": Training,
    "deterministic": Deterministic,
    "use_running_average": Average,
}


class Noisy(linen.Module):
    """Draws from two streams, in evaluation too."""

    @linen.compact
    def __call__(self, x: jax.Array) -> tuple[jax.Array, jax.Array]:
        return jax.random.normal(self.make_rng("left"), x.shape), jax.random.normal(self.make_rng("right"), x.shape)


def test_linens_streams_are_named_and_differ() -> None:
    left, right = interop.from_linen(Noisy(), rngs=("left", "right")).apply({}, {}, X, train=True, key=KEY)[0]
    assert (left != right).all()
    with pytest.raises(ValueError, match=r"rngs: got \('left',\) \(.*right.*\), expected every stream that the module"):
        interop.from_linen(Noisy(), rngs=("left",)).apply({}, {}, X, train=True, key=KEY)
    with pytest.raises(ValueError, match=r"Noisy draws random numbers\. Give apply\(\.\.\., key=key\)\.$"):
        interop.from_linen(Noisy(), rngs=("left", "right")).apply({}, {}, X)
    with pytest.raises(TypeError, match=r"rngs: got 'dropout', expected names of streams\. Give rngs=\('dropout',\)"):
        interop.from_linen(Noisy(), rngs="dropout")


def test_linens_partitioned_parameters_come_unboxed() -> None:
    boxed = linen.Dense(2, kernel_init=linen.with_partitioning(linen.initializers.ones, (None, "model")))
    params, _ = interop.from_linen(boxed).init(KEY, X)
    assert isinstance(params["kernel"], jax.Array)


# NNX against Flax itself.


def test_nnx_has_flaxs_own_first_parameters() -> None:
    params, state = interop.from_nnx(lambda rngs: NNX(rngs=rngs)).init(KEY, X)
    model = NNX(rngs=nnx.Rngs(KEY))
    np.testing.assert_array_equal(params["layers"]["1"]["kernel"], model.layers[1].kernel[...])
    np.testing.assert_array_equal(state["norm"]["var"], model.norm.var[...])


def test_nnx_equals_flax_over_several_steps() -> None:
    model = NNX(0.0, rngs=nnx.Rngs(KEY))
    net = interop.from_nnx(lambda rngs: NNX(0.0, rngs=rngs))
    params, state = net.init(KEY, X)

    def loss(params: Any, state: Any, x: jax.Array) -> tuple[jax.Array, Any]:
        y, state = net.apply(params, state, x, train=True)
        return jnp.mean(y**2), state

    model.train()
    for i in range(4):
        x = X + i
        own = nnx.grad(lambda m, x=x: jnp.mean(m(x) ** 2))(model)
        grads, state = jax.grad(loss, has_aux=True)(params, state, x)
        for layer, name in [("0", "kernel"), ("0", "bias"), ("1", "kernel"), ("1", "bias")]:
            _close(grads["layers"][layer][name], own["layers"][int(layer)][name][...])
        _close(grads["norm"]["scale"], own["norm"]["scale"][...])
        _close(state, {"norm": {"mean": model.norm.mean[...], "var": model.norm.var[...]}})
        nnx.update(model, jax.tree.map(lambda p, g: p - 0.1 * g, nnx.state(model, nnx.Param), own))
        params = optax.apply_updates(params, jax.tree.map(lambda g: -0.1 * g, grads))
    model.eval()
    _close(net.apply(params, state, X)[0], model(X))
    assert float(jnp.abs(state["norm"]["mean"]).max()) > 0.1


def test_nnxs_dropout_is_flaxs_own_with_the_folded_key() -> None:
    net = interop.from_nnx(lambda rngs: nnx.Dropout(0.5, rngs=rngs))
    y, _ = net.apply({}, {}, X, train=True, key=KEY)
    own = nnx.Dropout(0.5, rngs=nnx.RngStream(KEY, tag="dropout"))
    assert isinstance(own.rngs, nnx.RngStream)
    own.rngs.key[...] = keys.for_layer(KEY, "rngs")
    own.rngs.count[...] = jnp.uint32(0)
    _same(y, own(X))


def test_two_dropouts_of_one_module_draw_apart() -> None:
    class Two(nnx.Module):
        def __init__(self, rngs: nnx.Rngs) -> None:
            self.a, self.b = nnx.Dropout(0.5, rngs=rngs), nnx.Dropout(0.5, rngs=rngs)

        def __call__(self, x: jax.Array) -> jax.Array:
            return self.a(x) - self.b(x)

    net = interop.from_nnx(lambda rngs: Two(rngs))
    y, _ = net.apply({}, {}, jnp.ones((50, 50)), train=True, key=KEY)
    assert float(jnp.mean(y == 0)) == pytest.approx(0.5, abs=0.05)


def test_an_nnx_instance_is_taken_as_it_is_and_never_changes() -> None:
    model = NNX(rngs=nnx.Rngs(3))
    model.eval()
    before = jax.tree.map(np.array, nnx.to_pure_dict(nnx.state(model, nnx.Param, nnx.BatchStat)[0]))
    net = interop.from_nnx(model)
    params, state = net.init(KEY, X)
    np.testing.assert_array_equal(params["layers"]["0"]["kernel"], model.layers[0].kernel[...])
    net.apply(params, state, X, train=True, key=KEY)
    _same(jax.tree.map(np.array, nnx.to_pure_dict(nnx.state(model, nnx.Param, nnx.BatchStat)[0])), before)
    assert model.dropout.deterministic
    _same(net.apply(params, state, X)[0], model(X))


def test_nnx_takes_a_mode_keyword_and_drops_sown_values() -> None:
    class Sower(nnx.Module):
        def __init__(self, rngs: nnx.Rngs) -> None:
            self.linear = nnx.Linear(3, 2, rngs=rngs)
            self.calls = nnx.Variable(jnp.zeros((), jnp.int32))

        def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
            self.extra = nnx.Intermediate(x)
            self.calls[...] += 1
            return self.linear(x) + 100 * train

    net = interop.from_nnx(lambda rngs: Sower(rngs))
    params, state = net.init(KEY, X)
    y, new = net.apply(params, state, X, train=True)
    assert float(y.min()) > 50
    assert float(net.apply(params, state, X)[0].max()) < 50
    _same(new, {"calls": jnp.array(1)})


def test_nnx_layers_mapped_over_keys_draw_apart() -> None:
    class Mapped(nnx.Module):
        def __init__(self, rngs: nnx.Rngs) -> None:
            self.dropout = nnx.Dropout(0.5, rngs=rngs)
            self.dropout.rngs = self.dropout.rngs.split(4) if self.dropout.rngs else None

        def __call__(self, x: jax.Array) -> jax.Array:
            return nnx.vmap(lambda layer, row: layer(row))(self.dropout, x)

    net = interop.from_nnx(lambda rngs: Mapped(rngs))
    y, _ = net.apply({}, {}, jnp.ones((4, 40)), train=True, key=KEY)
    assert len({row.tobytes() for row in np.asarray(y)}) == 4


# Functions.


def test_a_function_is_given_only_what_it_takes() -> None:
    seen: dict[str, Any] = {}

    def both(params: Any, x: jax.Array, train: bool = False, *, key: Key | None = None) -> jax.Array:
        seen.update(train=train, key=key)
        return x * params

    net = interop.from_function(both, jnp.float32(2))
    net.apply(jnp.float32(2), {}, X, train=True, key=KEY)
    assert seen == {"train": True, "key": KEY}
    net.apply(jnp.float32(2), {}, X)
    assert seen == {"train": False, "key": None}
    plain = interop.from_function(jnp.multiply, jnp.float32(2))
    _same(plain.apply(jnp.float32(2), {}, X, train=True, key=KEY)[0], 2 * X)


def test_a_function_that_needs_a_key_is_not_trained_without_one() -> None:
    def noisy(params: Any, x: jax.Array, key: Key | None) -> jax.Array:
        return x

    net = interop.from_function(noisy, {"w": jnp.ones(1)}, name="noisy")
    with pytest.raises(ValueError, match=r"key: got None, expected one typed key: noisy draws random numbers"):
        net.apply({}, {}, X, train=True)
    assert net.apply({}, {}, X)[0] is X


def test_given_parameters_become_arrays() -> None:
    params, state = interop.from_function(lambda p, x: x @ p["w"], {"w": np.ones((3, 2), np.float32)}).init(KEY, X)
    assert isinstance(params["w"], jax.Array)
    assert state == {}


def test_inits_function_is_given_a_shape() -> None:
    net = interop.from_function(lambda p, x: x @ p, lambda key, x: jax.random.normal(key, (x.shape[-1], 2), x.dtype))
    _same(net.init(KEY, X)[0], jax.random.normal(KEY, (3, 2)))


@jax.tree_util.register_dataclass
@dataclasses.dataclass
class Line:
    """A tree of parameters that can be called, as a module of Equinox is."""

    w: Any

    def __call__(self, x: Any) -> Any:
        return x @ self.w


def test_parameters_that_can_be_called_are_no_function_that_draws_them() -> None:
    net = interop.from_function(lambda line, x: line(x), Line(jnp.ones((3, 2))))
    params, state = net.init(KEY, X)
    assert isinstance(params, Line)
    _same(net.apply(params, state, X)[0], X @ jnp.ones((3, 2)))


def test_a_partial_function_draws_them() -> None:
    for part in (functools.partial, jax.tree_util.Partial):
        net = interop.from_function(jnp.multiply, part(lambda scale, key, x: scale * jnp.ones(x.shape[-1]), 2.0))
        _same(net.init(KEY, X)[0], jnp.full(3, 2.0))


# Names and refusals.


@pytest.mark.parametrize(
    ("net", "name"),
    [
        (lambda: interop.from_linen(Linen()), "linen"),
        (lambda: interop.from_nnx(lambda rngs: NNX(rngs=rngs)), "nnx"),
        (lambda: interop.from_function(jnp.multiply, jnp.ones(1)), "function"),
        (lambda: interop.from_linen(Linen(), name="body"), "body"),
        (lambda: interop.from_nnx(NNX(rngs=nnx.Rngs(0)), name="body"), "body"),
        (lambda: interop.from_function(jnp.multiply, jnp.ones(1), name="body"), "body"),
    ],
)
def test_a_layers_name_is_its_parameters_path(net: Callable[[], nn.Layer], name: str) -> None:
    params, _ = nn.sequential(net(), nn.activation("tanh")).init(KEY, X[:, :1] if name == "function" else X)
    assert list(params) == [f"{name}_0"]


def _identity(params: Any, x: jax.Array) -> jax.Array:
    return x


def _pair(params: Any, x: jax.Array) -> Any:
    return x, {}


def _integers(*_: Any) -> dict[str, jax.Array]:
    return {"n": jnp.arange(2)}


def _bad(init: Any) -> Callable[[], Any]:
    return lambda: interop.from_function(_identity, init).init(KEY, X)


class Counter(linen.Module):
    @linen.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        return x + self.param("n", lambda *_: jnp.arange(2))[0]


class CounterNNX(nnx.Module):
    def __init__(self) -> None:
        self.n = nnx.Param(jnp.arange(2))

    def __call__(self, x: jax.Array) -> jax.Array:
        return x


NUMBER: Any = 3
ROWS: Any = [[1.0]]
WRONG: dict[str, tuple[Callable[[], Any], type[Exception], str]] = {
    "a function to linen": (
        lambda: interop.from_linen(lambda x: x),
        TypeError,
        r"module: got a function, expected an instance of flax\.linen\.Module\. Give an instance",
    ),
    "a class to linen": (lambda: interop.from_linen(Linen), TypeError, r"module: got the class Linen, .* Give an inst"),
    "nnx to linen": (
        lambda: interop.from_linen(NNX(rngs=nnx.Rngs(0))),
        TypeError,
        r"module: got a NNX, .* Wrap NNX modules with fnn\.interop\.from_nnx",
    ),
    "an nnx class to linen": (lambda: interop.from_linen(NNX), TypeError, r"got the class NNX, .*from_nnx"),
    "linen to nnx": (
        lambda: interop.from_nnx(Linen()),
        TypeError,
        r"module: got a Linen, expected a factory lambda rngs: .* Wrap Linen modules with fnn\.interop\.from_linen",
    ),
    "a linen class to nnx": (lambda: interop.from_nnx(Linen), TypeError, r"got the class Linen, .*from_linen"),
    "a class to nnx": (lambda: interop.from_nnx(NNX), TypeError, r"got the class NNX, .* Give lambda rngs: Model"),
    "a number to nnx": (lambda: interop.from_nnx(3), TypeError, r"module: got 3, expected a factory"),
    "a factory of something else": (
        lambda: interop.from_nnx(lambda _: Linen()),
        TypeError,
        r"result of the factory: got a Linen, expected a flax\.nnx\.Module",
    ),
    "no function": (
        lambda: interop.from_function(NUMBER, {}),
        TypeError,
        r"apply: got 3, expected a function \(params, x\)",
    ),
    "integer parameters": (
        lambda: interop.from_function(_identity, _integers()),
        TypeError,
        r"params leaf 'n': got dtype int32, expected floating-point",
    ),
    "numbers as parameters": (_bad({"a": {"w": 1.0}}), TypeError, r"params leaf 'a/w': got 1\.0, expected an array"),
    "integers drawn": (_bad(_integers), TypeError, r"params leaf 'n': got dtype int32"),
    "integers of linen": (
        lambda: interop.from_linen(Counter()).init(KEY, X),
        TypeError,
        r"params leaf 'n': got dtype int32",
    ),
    "integers of nnx": (
        lambda: interop.from_nnx(CounterNNX()).init(KEY, X),
        TypeError,
        r"params leaf 'n': got dtype int32",
    ),
    "a pair as output": (
        lambda: interop.from_function(_pair, {}).apply({}, {}, X),
        TypeError,
        r"output of function: got a tuple of 2, expected an array",
    ),
    "a list as x": (lambda: NETS["linen"]().init(KEY, ROWS), TypeError, r"x: got a list of 1, expected an array"),
    "a name with a slash": (
        lambda: interop.from_linen(Linen(), name="a/b"),
        ValueError,
        r"name: got 'a/b', expected a name without '/'",
    ),
    "an empty name": (lambda: interop.from_function(jnp.multiply, {}, name=""), ValueError, r"name: got ''"),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_arguments_are_refused(case: str) -> None:
    call, error, match = WRONG[case]
    with pytest.raises(error, match=match):
        call()


# Training.


def _halves() -> data.Dataset:
    """Points of a cube on this or that side of a plane."""
    x = jax.random.uniform(jax.random.key(2), (203, 3), minval=-1, maxval=1)
    return data.Dataset(x, (x @ jnp.array([1.0, -2.0, 0.5]) > 0).astype(jnp.int32))


@pytest.mark.parametrize("kind", NETS)
def test_all_train_with_the_same_step(kind: str) -> None:
    net, tx, halves = NETS[kind](), optax.adam(0.02), _halves()
    step = train.make_step(train.supervised(net, losses.softmax_cross_entropy), tx)
    first = train.init_state(KEY, net, tx, halves.x)
    # 203 examples in batches of 20: the last one is filled up.
    last, history = jax.jit(train.run(step, halves, batch_size=20, epochs=30))(first)
    assert history["loss"].shape == (30,)

    def loss(state: train.TrainState) -> float:
        y, _ = net.apply(state.params, state.model_state, halves.x)
        return float(losses.softmax_cross_entropy(y, halves.y).mean())

    assert loss(first) > 0.5
    assert loss(last) < 0.1


@pytest.mark.parametrize("kind", ["linen", "nnx factory", "function"])
def test_a_host_loop_and_a_population_give_the_same_as_one_program(kind: str) -> None:
    net, tx, halves = NETS[kind](), optax.sgd(0.05), jax.tree.map(lambda a: a[:60], _halves())
    step = train.make_step(train.supervised(net, losses.softmax_cross_entropy), tx)
    many = jax.random.split(KEY, 2)
    run = train.run(step, halves, batch_size=20, epochs=2)
    population, _ = jax.jit(jax.vmap(lambda key: run(train.init_state(key, net, tx, halves.x))))(many)
    state, compiled = train.init_state(many[1], net, tx, halves.x), jax.jit(step)
    for epoch in range(2):
        for batch in data.batches(halves, 20, key=many[1], epoch=epoch):
            state, _ = compiled(state, batch)
    _close(jax.tree.map(lambda a: a[1], population.params), state.params)
    _close(jax.tree.map(lambda a: a[1], population.model_state), state.model_state)


def test_nnx_writes_no_statistics_into_numpy_arrays() -> None:
    net = interop.from_nnx(lambda rngs: NNX(rngs=rngs))
    params, state = jax.tree.map(np.array, net.init(KEY, X))
    before = jax.tree.map(np.copy, state)
    net.apply(params, state, X, train=True, key=KEY)
    jax.tree.map(np.testing.assert_array_equal, state, before)
