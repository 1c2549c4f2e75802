"""Back-propagation: deltas flow back through the layers, and each leaves its layer's gradient behind.

Forward, z^l = a^(l-1) W^l + b^l and a^l = f(z^l). The loss gives the last layer's delta = dL/dz. Back through a layer,
delta^l = (delta^(l+1) W^(l+1)^T) * f'(z^l), and where a delta meets what came into its layer, dW^l = a^(l-1)^T delta^l.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

import fnn
from experiments.lecture.lesson import Picture
from fnn.plot.style import figure_of, styled

TITLE = "Back-propagation"
EQUATION = "delta^l = (delta^(l+1) W^(l+1)^T) * f'(z^l),   dW^l = a^(l-1)^T delta^l"

WIDTHS = (16, 12, 10)


class Found(NamedTuple):
    """The network's parameters, the batch, and its trace from both sides."""

    params: Any
    batch: fnn.data.Dataset
    trace: fnn.inspect.Trace
    by_hand: fnn.inspect.Trace


# --8<-- [start:code]
def work() -> Found:
    """A network with its first weights, one image of each digit, and everything that back-propagation computes."""
    x, y = fnn.data.digits().train
    one_of_each = jnp.array([jnp.argmax(y == digit) for digit in range(10)])
    batch = fnn.data.Dataset(x[one_of_each], y[one_of_each])

    net, loss = fnn.nn.mlp(WIDTHS, "relu"), fnn.losses.softmax_cross_entropy
    params, state = net.init(jax.random.key(0), batch.x)

    trace = jax.jit(lambda p: fnn.inspect.backprop(net, loss, p, state, batch))(params)
    by_hand = jax.jit(lambda p: fnn.inspect.chain_rule(p, *batch, loss, "relu"))(params)
    return Found(params, batch, trace, by_hand)


def signals(trace: fnn.inspect.Trace) -> dict[str, dict[str, jax.Array]]:
    """z, a, delta and dW of each layer."""
    return {name: {"z": s.z, "a": s.a, "delta": s.delta, "dW": s.dw} for name, s in trace.items()}


def furthest_apart(found: Found) -> jax.Array:
    """The largest difference between the two traces, biases and all."""
    differences = jax.tree.map(lambda p, q: jnp.max(jnp.abs(p - q)), found.trace, found.by_hand)
    return jnp.max(jnp.stack(jax.tree.leaves(differences)))


# --8<-- [end:code]


def findings(found: Found) -> list[str]:
    """What the numbers say."""
    layers = list(found.trace.values())
    asleep = [float(np.mean(np.asarray(layer.z) < 0)) for layer in layers[:-1]]
    blank = int(np.sum(np.all(np.asarray(found.batch.x) == 0, axis=0)))
    norms = ", ".join(f"{float(fnn.tree.global_norm(layer.delta)):.2f}" for layer in reversed(layers))
    return [
        f"Backward from the loss, the norm of delta is {norms}.",
        f"ReLU stops delta where z < 0: {asleep[1]:.0%} of the second layer's entries and {asleep[0]:.0%} of the"
        " first's are exactly 0.",
        f"{blank} of the 64 pixels are blank in all ten images, so their rows of the first dW are 0.",
        f"fnn.inspect.backprop and the chain rule by hand differ by at most {float(furthest_apart(found)):.0e}.",
    ]


@styled
def pictures(found: Found) -> dict[str, Picture]:
    """A column for each layer, a row for each quantity, and delta once more, by hand."""
    figure = figure_of(3 * len(ROWS), width=2.9, height=1.65, lines=False)
    layers, by_hand = signals(found.trace), signals(found.by_hand)
    for column, name in enumerate(layers):
        shown = {**layers[name], "delta by hand": by_hand[name]["delta"]}
        d_in, units = shown["dW"].shape
        panels = figure.axes[column : 3 * len(ROWS) : 3]
        for axes, (kind, (colours, rows)) in zip(panels, ROWS.items(), strict=True):
            if kind == "a" and column == len(layers) - 1:
                axes.set_axis_off()
                axes.text(0.5, 0.5, "no activation follows:\na = z", ha="center", va="center", **of_panel(axes))
                continue
            _heat(figure, axes, np.asarray(shown[kind]), colours)
            axes.tick_params(labelbottom=axes is panels[-1])
            if column == 0:
                axes.set_ylabel(rows)
                axes.text(-0.36, 0.5, kind, weight="bold", rotation=90, ha="right", va="center", **of_panel(axes))
        panels[0].set_title(f"{name}: {d_in} inputs, {units} units", fontsize=10, pad=9)
        panels[-1].set_xlabel("unit")
    return {"flow": Picture(figure, CAPTION)}


def of_panel(axes: Any) -> dict[str, Any]:
    """A place in a panel, from 0 to 1."""
    return {"transform": axes.transAxes}


# Of each quantity its colours, and what its rows are.
ROWS = {
    "z": ("PuOr_r", "digit"),
    "a": ("PuOr_r", "digit"),
    "delta": ("RdBu_r", "digit"),
    "delta by hand": ("RdBu_r", "digit"),
    "dW": ("RdBu_r", "input"),
}
CAPTION = (
    "Read z and a from left to right, delta from right to left; each panel has a scale of its own. The last delta is"
    " the softmax less the label: blue on the diagonal, where the output of the right digit should grow. A hidden delta"
    " is white wherever a is: there ReLU is off."
)


def _heat(figure: Any, axes: Any, values: np.ndarray, colours: str) -> None:
    """Symmetric about 0, which is white."""
    limit = float(np.abs(values).max()) or 1.0
    image = axes.imshow(values, cmap=colours, vmin=-limit, vmax=limit, aspect="auto", interpolation="nearest")
    figure.colorbar(image, ax=axes, ticks=(-limit, 0, limit), format="{x:.2g}")
    for axis in (axes.xaxis, axes.yaxis):
        axis.get_major_locator().set_params(integer=True, nbins=4)
