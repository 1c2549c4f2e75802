"""Same weights, same data, same order: the same losses as PyTorch."""

import itertools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import fnn
from fnn.train import init_state, make_step, supervised

torch = pytest.importorskip("torch", reason="parity with PyTorch needs torch")

SIZES = [20, 32, 16, 5]


def torch_losses(params: Any, x: np.ndarray, y: np.ndarray, steps: int, activation: Any) -> list[float]:
    layers: list[Any] = []
    for i, (d_in, d_out) in enumerate(itertools.pairwise(SIZES)):
        linear = torch.nn.Linear(d_in, d_out)
        with torch.no_grad():
            linear.weight.copy_(torch.tensor(np.asarray(params[f"dense_{i}"]["w"]).T))
            linear.bias.copy_(torch.tensor(np.asarray(params[f"dense_{i}"]["b"])))
        layers += [linear, activation()]
    model = torch.nn.Sequential(*layers[:-1])
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    losses = []
    for step in range(steps):
        rows = np.arange(step * 16, step * 16 + 16) % len(x)
        loss = torch.nn.functional.cross_entropy(model(torch.tensor(x[rows])), torch.tensor(y[rows]).long())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    return losses


@pytest.mark.parametrize("activation", ["relu", "tanh"])
def test_mlp_losses_over_100_adam_steps(activation: str) -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(400, 20)).astype(np.float32)
    y = x[:, :5].argmax(axis=1).astype(np.int32)
    net, tx = fnn.nn.mlp(SIZES[1:], activation), fnn.optim.adam(1e-3)
    step = jax.jit(make_step(supervised(net, fnn.losses.softmax_cross_entropy), tx))
    state = init_state(jax.random.key(0), net, tx, x)
    module = {"relu": torch.nn.ReLU, "tanh": torch.nn.Tanh}[activation]
    expected = torch_losses(state.params, x, y, 100, module)
    losses = []
    for i in range(100):
        rows = np.arange(i * 16, i * 16 + 16) % len(x)
        state, metrics = step(state, fnn.data.Dataset(jnp.asarray(x[rows]), jnp.asarray(y[rows])))
        losses.append(float(metrics["loss"]))
    assert losses[-1] < 0.9 * losses[0]
    np.testing.assert_allclose(losses, expected, rtol=1e-5)
