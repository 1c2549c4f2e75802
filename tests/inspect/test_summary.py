"""The table of a network: paths, shapes, parameters, operations."""

import io
from typing import Any

import jax
import jax.numpy as jnp
import pytest
from rich.console import Console

import fnn
from fnn.inspect import summary
from tests.inspect.networks import IMAGES, NETWORKS, ROWS


@pytest.mark.parametrize("name", NETWORKS)
def test_sums_are_those_of_the_network(name: str) -> None:
    case = NETWORKS[name]
    params, state = case.start
    table = summary(case.net, case.x)
    assert table.parameters == fnn.tree.size(params) == sum(row.parameters for row in table.rows)
    assert table.parameter_bytes == 4 * table.parameters
    assert table.state == fnn.tree.size(state)
    assert table.rows[-1].output == case.net.apply(params, state, case.x)[0].shape[1:]
    assert table.flops >= sum(row.flops for row in table.rows) > 0


def test_a_row() -> None:
    table = summary(fnn.nn.mlp([128, 64, 10]), jax.ShapeDtypeStruct((32, 64), jnp.float32))
    row = table["dense_0"]
    assert (row.output, row.parameters, row.parameter_bytes) == ((128,), 64 * 128 + 128, 4 * (64 * 128 + 128))
    assert row.flops == 2 * 64 * 128 + 128
    assert [row.path for row in table.rows] == ["dense_0", "relu_0", "dense_1", "relu_1", "dense_2"]


def test_a_convolution_counts_as_on_paper() -> None:
    net = fnn.nn.sequential(fnn.nn.conv(6, 3, lowering="xla"))
    table = summary(net, IMAGES)
    assert table["conv_0"].flops == 2 * 8 * 8 * 6 * 3 * 3 * 2 + 8 * 8 * 6


@pytest.mark.parametrize("lowering", ["auto", "cpu", "xla"])
@pytest.mark.parametrize("groups", [1, 2])
def test_a_convolution_counts_the_same_however_it_is_computed(lowering: str, groups: int) -> None:
    table = summary(fnn.nn.conv(6, 3, groups=groups, lowering=lowering), IMAGES)
    assert table.flops == 2 * 8 * 8 * 6 * 3 * 3 * 2 // groups + 8 * 8 * 6


@pytest.mark.parametrize("batch", [1, 3, 64])
def test_numbers_are_for_one_example(batch: int) -> None:
    at = summary(fnn.nn.mlp([7, 3]), jnp.ones((batch, 5)))
    assert (at.flops, at.activation_bytes) == (2 * (5 * 7 + 7 * 3) + 7 + 3 + 7, 4 * (7 + 7 + 3))


def test_a_large_network_costs_no_memory() -> None:
    table = summary(fnn.nn.mlp([200_000, 200_000]), jax.ShapeDtypeStruct((1, 200_000), jnp.float32))
    assert table.parameters == 2 * (200_000**2 + 200_000)


def test_shown_by_rich() -> None:
    console = Console(width=90, record=True, file=io.StringIO())
    console.print(summary(NETWORKS["resnet"].net, IMAGES))
    shown = console.export_text()
    assert "residual_1/shortcut/conv_0" in shown
    assert "resnet" in shown


def test_flax_is_one_row() -> None:
    from flax import linen

    table = summary(fnn.interop.from_linen(linen.Dense(3)), ROWS)
    assert len(table.rows) == 1
    assert table.parameters == 18


def test_a_network_of_flax_with_layers_inside_has_all_its_parameters() -> None:
    from flax import linen

    (row,) = summary(fnn.interop.from_linen(linen.Sequential([linen.Dense(4), linen.Dense(3)])), ROWS).rows
    assert (row.parameters, row.parameter_bytes) == (24 + 15, 4 * (24 + 15))


def test_a_layer_that_is_called_three_times_has_one_row() -> None:
    inner = fnn.nn.sequential(fnn.nn.dense(5), fnn.nn.activation("tanh"))

    def apply(params: Any, state: Any, x: Any, *, train: bool = False, key: Any = None) -> Any:
        for _ in range(3):
            x, state = inner.apply(params, state, x, train=train, key=key)
        return x, state

    table = summary(fnn.nn.sequential(fnn.nn.Layer("thrice", inner.init, apply), fnn.nn.dense(1)), ROWS)
    assert [row.path for row in table.rows] == ["thrice_0/dense_0", "thrice_0/tanh_0", "thrice_0", "dense_0"]
    assert table.parameters == sum(row.parameters for row in table.rows) == 30 + 6
    assert table.flops == sum(row.flops for row in table.rows) == 3 * (55 + 5) + 11


def test_a_row_that_is_not_there() -> None:
    with pytest.raises(KeyError, match=r"'dense_9': there are dense_0, relu_0, dense_1"):
        summary(fnn.nn.mlp([3, 1]), ROWS)["dense_9"]


REFUSED: dict[str, tuple[Any, type[Exception], str]] = {
    "no network": (lambda x: x, TypeError, "net: got a function, expected a network with init and apply"),
    "the wrong shape": (fnn.nn.conv(3, 3), ValueError, "x of conv: got shape"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused(name: str) -> None:
    net, kind, match = REFUSED[name]
    with pytest.raises(kind, match=match):
        summary(net, ROWS)


@pytest.mark.parametrize(
    ("x", "kind", "match"),
    [
        (jnp.ones((0, 5)), ValueError, r"x: got shape \(0, 5\), expected \(n, \.\.\.\) with at least one example"),
        (jnp.ones(()), ValueError, r"x: got shape \(\), expected \(n, \.\.\.\) with at least one example"),
        ([[1.0]], TypeError, "x: got a list of 1, expected an array"),
    ],
)
def test_a_wrong_batch(x: Any, kind: type[Exception], match: str) -> None:
    with pytest.raises(kind, match=match):
        summary(fnn.nn.activation("relu"), x)
