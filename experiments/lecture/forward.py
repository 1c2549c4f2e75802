"""Forward propagation with its shapes: H = f(X W^1 + b^1), Y = H W^2 + b^2.

One example is a row, X in R^(1 x m). W^1 in R^(m x r) has a column for each of the r hidden neurons, so X W^1 is a row
of r numbers, one a neuron. Beside each other the inner sizes are equal, (1 x m)(m x r) = (1 x r); those outside remain.
With n examples X has n rows, and nothing else changes.
"""

from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

import fnn
from experiments.lecture.lesson import Picture
from fnn.plot.style import BLUE, GREEN, GREY, ORANGE, grid, styled

TITLE = "Forward propagation"
EQUATION = "Z = X W^1 + b^1,   H = f(Z),   Y = H W^2 + b^2"


class Found(NamedTuple):
    """What came out."""

    z: np.ndarray  # (1, r)
    h: np.ndarray  # (1, r)
    y: np.ndarray  # (1, outputs)
    by_net: np.ndarray  # (1, outputs), of fnn.nn.mlp
    many: np.ndarray  # (n, outputs), of n copies of x, each twice the one before
    parameters: int


# --8<-- [start:code]
x = jnp.array([[1.0, 2.0]])  # 1 x m: one example of m = 2 numbers
w_1 = jnp.array([[1.0, -2.0, 0.5], [0.5, 0.5, -1.0]])  # m x r: r = 3 neurons
b_1 = jnp.array([-0.5, 0.5, 2.0])  # r
w_2 = jnp.array([[1.0, -1.0], [2.0, 0.0], [-2.0, 4.0]])  # r x 2: two outputs
b_2 = jnp.array([1.0, -1.0])


def by_hand(x: Any) -> tuple[Any, Any, Any]:
    """Each step as on paper."""
    z = x @ w_1 + b_1  # (1 x m)(m x r) + (1 x r) = 1 x r
    h = fnn.activations.relu(z)  # 1 x r
    return z, h, h @ w_2 + b_2  # (1 x r)(r x 2) + (1 x 2) = 1 x 2


net = fnn.nn.mlp([3, 2], "relu")  # the same, as a network
params = {"dense_0": {"w": w_1, "b": b_1}, "dense_1": {"w": w_2, "b": b_2}}
y, _ = net.apply(params, {}, x)
# --8<-- [end:code]


def work() -> Found:
    """The numbers of each step, those of the network, and those of several examples at once."""
    z, h, by_steps = map(np.asarray, by_hand(x))
    rows = x * 2.0 ** jnp.arange(4)[:, None]
    many, _ = net.apply(params, {}, rows)
    return Found(z, h, by_steps, np.asarray(y), np.asarray(many), fnn.tree.size(params))


def findings(found: Found) -> list[str]:
    """What the numbers say."""
    return [
        f"X = {_row(x)} gives Z = {_row(found.z)}, H = ReLU(Z) = {_row(found.h)} and Y = {_row(found.y)};"
        f" fnn.nn.mlp gives Y = {_row(found.by_net)}.",
        f"The network has {found.parameters} parameters: 2 x 3 + 3 in the first layer and 3 x 2 + 2 in the second.",
    ]


def _row(values: Any) -> str:
    return f"[{', '.join(f'{v:g}' for v in np.asarray(values)[0])}]"


@styled
def pictures(found: Found) -> dict[str, Picture]:
    """Each layer in a row: the matrices as blocks with their numbers, and their shapes below."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.4, 4.0))
    first, second = grid(figure, 2, 2, 1)
    product = r"$\times$"
    _equation(first, [
        ("X", x, r"1 \times m", ORANGE), product, ("W^1", w_1, r"m \times r", BLUE), "+",
        ("b^1", b_1[None], r"1 \times r", GREY), "=", ("Z", found.z, r"1 \times r", GREEN), "ReLU",
        ("H", found.h, r"1 \times r", ORANGE),
    ])  # fmt: skip
    _equation(second, [
        ("H", found.h, r"1 \times r", ORANGE), product, ("W^2", w_2, r"r \times 2", BLUE), "+",
        ("b^2", b_2[None], r"1 \times 2", GREY), "=", ("Y", found.y, r"1 \times 2", GREEN),
    ])  # fmt: skip
    caption = (
        "The two layers, with m = 2 and r = 3. The size where two blocks meet is the same and vanishes: a row of m"
        " times a block of m rows and r columns is a row of r."
    )
    return {"shapes": Picture(figure, caption)}


def _equation(axes: Any, parts: list[Any]) -> None:
    """Blocks and the signs between them, from left to right around the line 0."""
    from matplotlib.patches import Rectangle

    left = 0.0
    for part in parts:
        if isinstance(part, str):
            if arrow := len(part) > 1 and part.isalpha():
                axes.annotate("", (left + 1.9, 0), (left + 0.1, 0), arrowprops={"arrowstyle": "->", "lw": 1.2})
            width = 2.0 if arrow else 1.0
            axes.text(left + width / 2, 0.35 * arrow, part, ha="center", va="center", fontsize=11)
            left += width
            continue
        name, values, shape, colour = part
        rows, columns = np.shape(values)
        for (row, column), value in np.ndenumerate(np.asarray(values)):
            corner = (left + column, rows / 2 - row - 1)
            axes.add_patch(Rectangle(corner, 1, 1, facecolor=colour, alpha=0.25, edgecolor="none"))
            axes.add_patch(Rectangle(corner, 1, 1, fill=False, edgecolor="black", linewidth=0.8))
            axes.text(corner[0] + 0.5, corner[1] + 0.5, f"{value:g}", ha="center", va="center", fontsize=9)
        axes.text(left + columns / 2, rows / 2 + 0.15, f"${name}$", ha="center", va="bottom", fontsize=12)
        axes.text(left + columns / 2, -rows / 2 - 0.15, f"${shape}$", ha="center", va="top", fontsize=10)
        left += columns
    axes.set(xlim=(-0.2, 19.2), ylim=(-2.2, 2.4), aspect="equal")
    axes.set_axis_off()
