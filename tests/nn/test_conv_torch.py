"""Convolution and pooling against PyTorch: values and gradients over strides, paddings, dilations, groups, sizes."""

from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fnn.nn import avg_pool, conv, max_pool

torch = pytest.importorskip("torch", reason="parity with PyTorch needs torch")
F = torch.nn.functional

TOLERANCE = {jnp.dtype(jnp.float32): 1e-5, jnp.dtype(jnp.float64): 1e-10}
DTYPES = [jnp.float32, jnp.float64]
SPATIAL = {1: (13,), 2: (9, 8), 3: (5, 7, 6)}


@pytest.fixture(params=DTYPES, ids=["float32", "float64"])
def dtype(request: pytest.FixtureRequest) -> Iterator[Any]:
    with jax.enable_x64(request.param == jnp.float64):
        yield request.param


def _numbers(*shape: int) -> np.ndarray:
    return np.random.default_rng(sum(shape)).normal(size=shape)


def _first(a: Any) -> Any:
    """Channels, or a kernel's outputs and inputs, in PyTorch's order."""
    return torch.tensor(np.ascontiguousarray(np.moveaxis(np.asarray(a), -1, 1)), requires_grad=True)


def _kernel(w: Any) -> Any:
    return torch.tensor(np.ascontiguousarray(np.moveaxis(np.asarray(w), (-1, -2), (0, 1))), requires_grad=True)


def _back(ty: Any, dtype: Any) -> Any:
    """A gradient of ty, on which PyTorch goes back; the same with channels last."""
    dy = torch.tensor(_numbers(*ty.shape).astype(np.dtype(dtype)))
    ty.backward(dy)
    return jnp.asarray(np.moveaxis(dy.numpy(), 1, -1))


def _both(function: Any, dy: Any, *args: Any) -> Any:
    """The value, and the gradients by each argument, in one compiled program."""

    def program(dy: Any, *args: Any) -> Any:
        y, pullback = jax.vjp(function, *args)
        return y, *pullback(dy)

    return jax.jit(program)(dy, *args)


def _close(ours: Any, theirs: Any, dtype: Any) -> None:
    tolerance = TOLERANCE[jnp.dtype(dtype)]
    scale = max(1.0, float(np.abs(theirs).max()))
    np.testing.assert_allclose(ours, theirs, rtol=tolerance, atol=tolerance * scale)


# Kernel, strides, padding, dilation, groups: every pair of two of their values is in some row.
GRID = [
    (1, 1, 0, 1, 1),
    (1, 2, 1, 2, 2),
    (2, 1, 1, 1, 4),
    (2, 2, 0, 2, 1),
    (2, 3, 2, 1, 2),
    (3, 1, 1, 1, 1),
    (3, 1, 2, 2, 2),
    (3, 2, 1, 1, 2),
    (3, 2, 0, 1, 4),
    (3, 2, 2, 2, 4),
    (3, 3, 0, 1, 1),
    (3, 3, 1, 2, 1),
    (4, 1, 2, 1, 1),
    (4, 2, 1, 1, 1),
    (5, 1, 2, 1, 2),
    (5, 2, 2, 1, 1),
]


@pytest.mark.parametrize(("axes", "grid"), [(1, GRID[1::3]), (2, GRID), (3, GRID[::3])], ids=["1d", "2d", "3d"])
def test_conv(axes: int, grid: Any, dtype: Any) -> None:
    x = jnp.asarray(_numbers(2, *SPATIAL[axes], 4), dtype)
    for kernel, strides, padding, dilation, groups in grid:
        layer = conv(8, kernel, strides=strides, padding=padding, dilation=dilation, groups=groups, lowering="cpu")
        w = _numbers(*(kernel,) * axes, 4 // groups, 8)
        params = {"w": jnp.asarray(w, dtype), "b": jnp.asarray(_numbers(8), dtype)}
        tx, tw = _first(x), _kernel(params["w"])
        tb = torch.tensor(np.asarray(params["b"]), requires_grad=True)
        function = getattr(F, f"conv{axes}d")
        ty = function(tx, tw, tb, stride=strides, padding=padding, dilation=dilation, groups=groups)
        y, d_params, dx = _both(lambda p, v, layer=layer: layer.apply(p, {}, v)[0], _back(ty, dtype), params, x)
        _close(y, np.moveaxis(ty.detach().numpy(), 1, -1), dtype)
        _close(dx, np.moveaxis(tx.grad.numpy(), 1, -1), dtype)
        _close(d_params["w"], np.moveaxis(tw.grad.numpy(), (0, 1), (-1, -2)), dtype)
        _close(d_params["b"], tb.grad.numpy(), dtype)


@pytest.mark.parametrize("axes", [1, 2, 3])
@pytest.mark.parametrize("kind", ["max", "avg", "avg without padding"])
def test_pool(kind: str, axes: int, dtype: Any) -> None:
    # Whole numbers have ties in most windows: the gradient goes to the first.
    x = jnp.asarray(np.round(_numbers(2, *SPATIAL[axes], 3)), dtype)
    for window, strides, padding in [(2, 2, 0), (2, 1, 1), (3, 3, 1), (3, 2, 0), (3, 1, 1), (2, 3, 0)]:
        tx = _first(x)
        if kind == "max":
            layer = max_pool(window, strides=strides, padding=padding)
            ty = getattr(F, f"max_pool{axes}d")(tx, window, stride=strides, padding=padding)
        else:
            counted = kind == "avg"
            layer = avg_pool(window, strides=strides, padding=padding, count_include_pad=counted)
            ty = getattr(F, f"avg_pool{axes}d")(tx, window, strides, padding, count_include_pad=counted)
        y, dx = _both(lambda v, layer=layer: layer.apply({}, {}, v)[0], _back(ty, dtype), x)
        _close(y, np.moveaxis(ty.detach().numpy(), 1, -1), dtype)
        _close(dx, np.moveaxis(tx.grad.numpy(), 1, -1), dtype)


@pytest.mark.parametrize("size", [4, 6])
def test_max_pool_that_tiles_x(size: int, dtype: Any) -> None:
    x = jnp.asarray(np.round(_numbers(3, size, 2 * size, 5)), dtype)
    tx = _first(x)
    ty = F.max_pool2d(tx, (2, 4))
    y, dx = _both(lambda v: max_pool((2, 4)).apply({}, {}, v)[0], _back(ty, dtype), x)
    _close(y, np.moveaxis(ty.detach().numpy(), 1, -1), dtype)
    _close(dx, np.moveaxis(tx.grad.numpy(), 1, -1), dtype)
