"""Averaged weights and their statistics, against PyTorch's `AveragedModel` and `update_bn`."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import fnn
from fnn.data import Dataset, epoch_order
from fnn.train import init_state, refresh_statistics

torch = pytest.importorskip("torch", reason="parity with PyTorch needs torch")


def test_stochastic_weight_averaging() -> None:
    x = jax.random.normal(jax.random.key(0), (24, 3))
    net = fnn.nn.sequential(fnn.nn.dense(4), fnn.nn.batch_norm(), fnn.nn.dense(2))
    tx = fnn.optim.with_average(fnn.optim.sgd(0.1), None, start=1, every=2)
    state = init_state(jax.random.key(1), net, tx, x)
    dense, norm = torch.nn.Linear(3, 4), torch.nn.BatchNorm1d(4)
    model = torch.nn.Sequential(dense, norm, torch.nn.Linear(4, 2))

    def load(params: Any) -> None:
        with torch.no_grad():
            for layer, name in ((model[0], "dense_0"), (model[2], "dense_1")):
                layer.weight.copy_(torch.tensor(np.array(params[name]["w"]).T))
                layer.bias.copy_(torch.tensor(np.array(params[name]["b"])))

    updates: Any
    average, params, opt_state = None, state.params, state.opt_state
    for t in range(1, 8):
        updates, opt_state = tx.update(jax.tree.map(lambda w, t=t: jnp.sin(w + t), params), opt_state, params)
        updates["batch_norm_0"] = jax.tree.map(jnp.zeros_like, updates["batch_norm_0"])
        params = optax.apply_updates(params, updates)
        load(params)
        if t > 1 and (t - 1) % 2 == 0:
            average = torch.optim.swa_utils.AveragedModel(model) if average is None else average
            average.update_parameters(model)
    assert average is not None
    averaged: Any = fnn.optim.average_of(opt_state, params)
    ours = state._replace(params=averaged | {"batch_norm_0": state.params["batch_norm_0"]})
    np.testing.assert_allclose(averaged["dense_0"]["w"], average.module[0].weight.detach().numpy().T, rtol=1e-5)

    order, _ = epoch_order(state.key, 0, 24, 8)
    torch.optim.swa_utils.update_bn([torch.tensor(np.array(x[rows])) for rows in order], average)
    got = refresh_statistics(net, Dataset(x, jnp.zeros(24, int)), batch_size=8)(ours).model_state["batch_norm_0"]
    np.testing.assert_allclose(got["mean"], average.module[1].running_mean.numpy(), rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(got["var"], average.module[1].running_var.numpy(), rtol=1e-4, atol=1e-6)
