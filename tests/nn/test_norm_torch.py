"""The normalization layers against PyTorch's: output, gradients and running statistics."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fnn.nn import Layer, batch_norm, group_norm, layer_norm, rms_norm

torch = pytest.importorskip("torch", reason="parity with PyTorch needs torch")

RNG = np.random.default_rng(0)
# No space, one axis of it, two and three; odd sizes.
SHAPES = [(5, 12), (4, 9, 12), (3, 5, 7, 12), (2, 3, 4, 5, 12)]
TOLERANCE = {np.float32: 1e-5, np.float64: 1e-10}
functional = torch.nn.functional


def _moved(x: Any) -> Any:
    """Channels first, as PyTorch has them."""
    return torch.movedim(x, -1, 1)


def _grouped(groups: int) -> Callable[..., Any]:
    return lambda x, gamma, beta: torch.movedim(functional.group_norm(_moved(x), groups, gamma, beta, 1e-5), 1, -1)


def _batch_norm(x: Any, gamma: Any, beta: Any) -> Any:
    return torch.movedim(functional.batch_norm(_moved(x), None, None, gamma, beta, training=True, eps=1e-5), 1, -1)


def _batch_norm_evaluated(x: Any, gamma: Any, beta: Any) -> Any:
    mean, var = (torch.tensor(s).to(x.dtype) for s in (STATE["mean"], STATE["var"]))
    return torch.movedim(functional.batch_norm(_moved(x), mean, var, gamma, beta, eps=1e-5), 1, -1)


STATE = {"mean": np.linspace(-1, 1, 12), "var": np.linspace(0.5, 3, 12)}
CASES: dict[str, tuple[Layer, Callable[..., Any], dict[str, Any]]] = {
    "batch_norm": (batch_norm(), _batch_norm, {"train": True}),
    "batch_norm evaluated": (batch_norm(), _batch_norm_evaluated, {}),
    "layer_norm": (layer_norm(), lambda x, gamma, beta: functional.layer_norm(x, (12,), gamma, beta, 1e-5), {}),
    "rms_norm": (rms_norm(), lambda x, gamma: functional.rms_norm(x, (12,), gamma, 1e-6), {}),
    **{f"group_norm {n}": (group_norm(n), _grouped(n), {}) for n in (1, 3, 12)},
}


# A group of one number is 0 over sqrt(eps): there PyTorch's float32 has lost 5 of its digits.
GRID = [(name, shape) for name in CASES for shape in SHAPES if (name, len(shape)) != ("group_norm 12", 2)]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("name", "shape"), GRID)
def test_output_and_gradients(name: str, shape: tuple[int, ...], dtype: Any) -> None:
    layer, peer, mode = CASES[name]
    names = ("gamma",) if name == "rms_norm" else ("gamma", "beta")
    x, d = RNG.normal(1, 2, shape).astype(dtype), RNG.normal(size=shape).astype(dtype)
    params = {name: RNG.normal(1, 0.5, 12).astype(dtype) for name in names}
    leaves = [torch.tensor(value, requires_grad=True) for value in (x, *params.values())]
    expected = peer(*leaves)
    expected.backward(torch.tensor(d))
    with jax.enable_x64(dtype == np.float64):
        state = jax.tree.map(lambda s: jnp.asarray(s, dtype), STATE if name.startswith("batch") else {})

        @jax.jit
        def forward_and_backward(params: Any, x: Any) -> Any:
            y, pullback = jax.vjp(lambda params, x: layer.apply(params, state, x, **mode)[0], params, x)
            return y, pullback(jnp.asarray(d))

        y, (d_params, d_x) = forward_and_backward(params, x)
    pairs = [(y, expected.detach()), (d_x, leaves[0].grad)]
    pairs += [(d_params[name], leaf.grad) for name, leaf in zip(names, leaves[1:], strict=True)]
    tolerance = TOLERANCE[dtype]
    for got, want in pairs:
        assert got.dtype == dtype
        size = max(1.0, float(want.abs().max()))
        np.testing.assert_allclose(got, want.numpy(), rtol=tolerance, atol=tolerance * size)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shape", SHAPES)
def test_running_statistics_over_20_steps(shape: tuple[int, ...], dtype: Any) -> None:
    batches = RNG.normal(3, 2, (20, *shape)).astype(dtype)
    mean, var = torch.zeros(12, dtype=torch.tensor(batches).dtype), torch.ones(12, dtype=torch.tensor(batches).dtype)
    with jax.enable_x64(dtype == np.float64):
        # PyTorch's momentum is the share that is new.
        layer = batch_norm(momentum=1 - 0.1)
        params, state = layer.init(jax.random.key(0), jnp.asarray(batches[0]))
        train = jax.jit(lambda state, x: layer.apply(params, state, x, train=True)[1])
        for x in batches:
            state = train(state, x)
            functional.batch_norm(_moved(torch.tensor(x)), mean, var, training=True, momentum=0.1)
            for got, want in ((state["mean"], mean), (state["var"], var)):
                np.testing.assert_allclose(got, want.numpy(), rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype])
