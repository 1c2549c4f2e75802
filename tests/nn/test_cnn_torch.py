"""A whole convolutional network: same weights, same data, same order, the same losses as PyTorch."""

from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import fnn
from fnn.train import init_state, make_step, supervised

torch = pytest.importorskip("torch", reason="parity with PyTorch needs torch")

STEPS, BATCH, CLASSES = 100, 16, 4
RNG = np.random.default_rng(0)
X = RNG.normal(size=(160, 8, 8, 2)).astype(np.float32)
# Which quarter is brightest, of a blurred picture: what a convolution finds, and a line does not.
Y = np.abs(X.sum(axis=-1).reshape(-1, 2, 4, 2, 4).mean(axis=(2, 4)).reshape(-1, 4)).argmax(axis=1).astype(np.int32)


def _rows() -> Iterator[np.ndarray]:
    for step in range(STEPS):
        yield np.arange(step * BATCH, (step + 1) * BATCH) % len(X)


def _net(norm: bool) -> fnn.nn.Layer:
    nn = fnn.nn
    return nn.sequential(
        nn.conv(4, 3, w_init="he", use_bias=not norm),
        *([nn.batch_norm(momentum=0.9)] if norm else []),
        nn.activation("relu"),
        nn.max_pool(2),
        nn.conv(8, 3, w_init="he"),
        nn.activation("relu"),
        nn.flatten(),
        nn.dense(CLASSES),
    )


class InTorch(torch.nn.Module):
    """The same network; channels are put last before its dense layer, which so reads them in our order."""

    def __init__(self, params: Any, norm: bool) -> None:
        super().__init__()
        self.first = torch.nn.Conv2d(2, 4, 3, padding=1, bias=not norm)
        self.norm = torch.nn.BatchNorm2d(4, momentum=0.1) if norm else torch.nn.Identity()
        self.second = torch.nn.Conv2d(4, 8, 3, padding=1)
        self.dense = torch.nn.Linear(4 * 4 * 8, CLASSES)
        names = {"conv_0": self.first, "conv_1": self.second, "dense_0": self.dense}
        with torch.no_grad():
            for name, module in names.items():
                w = np.moveaxis(np.asarray(params[name]["w"]), (-1, -2), (0, 1))
                module.weight.copy_(torch.tensor(np.ascontiguousarray(w)))
                if "b" in params[name]:
                    module.bias.copy_(torch.tensor(np.asarray(params[name]["b"])))

    def forward(self, x: Any) -> Any:
        f = torch.nn.functional
        x = f.max_pool2d(torch.relu(self.norm(self.first(x))), 2)
        return self.dense(torch.relu(self.second(x)).permute(0, 2, 3, 1).flatten(1))


def _torch_losses(model: Any) -> list[float]:
    optimizer, losses = torch.optim.Adam(model.parameters(), lr=1e-3), []
    for rows in _rows():
        outputs = model(torch.tensor(X[rows]).permute(0, 3, 1, 2))
        loss = torch.nn.functional.cross_entropy(outputs, torch.tensor(Y[rows]).long())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    return losses


@pytest.mark.parametrize("norm", [False, True], ids=["plain", "batch_norm"])
def test_losses_and_running_statistics_over_100_adam_steps(norm: bool) -> None:
    net, tx = _net(norm), fnn.optim.adam(1e-3, convention="torch")
    step = make_step(supervised(net, fnn.losses.softmax_cross_entropy), tx)
    state = init_state(jax.random.key(0), net, tx, X)
    model = InTorch(state.params, norm)
    expected = _torch_losses(model)
    rows = np.stack(list(_rows()))
    batches = fnn.data.Dataset(jnp.asarray(X[rows]), jnp.asarray(Y[rows]))
    state, metrics = jax.jit(lambda state: jax.lax.scan(step, state, batches))(state)
    losses = np.asarray(metrics["loss"])
    assert losses[-10:].mean() < 0.8 * losses[:10].mean()
    np.testing.assert_allclose(losses, expected, rtol=1e-4)
    if norm:
        statistics = state.model_state["batch_norm_0"]
        np.testing.assert_allclose(statistics["mean"], model.norm.running_mean.numpy(), rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(statistics["var"], model.norm.running_var.numpy(), rtol=1e-4)
        # Evaluation takes them.
        model.eval()
        with torch.no_grad():
            theirs = model(torch.tensor(X[:20]).permute(0, 3, 1, 2)).numpy()
        ours, _ = net.apply(state.params, state.model_state, jnp.asarray(X[:20]))
        np.testing.assert_allclose(ours, theirs, rtol=1e-3, atol=1e-3)
