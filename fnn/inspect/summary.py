"""What a network consists of, as a table."""

from collections import Counter
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp

from fnn.contract import applied, check_example, initialized
from fnn.errors import message
from fnn.inspect.flops import flops_of
from fnn.inspect.tap import Forward
from fnn.inspect.trace import own_leaves
from fnn.tree import size
from fnn.typing import Array, Params, Shape, State

_COLUMNS = ("layer", "output", "parameters", "bytes", "FLOPs")


@dataclass(frozen=True)
class LayerSummary:
    """One layer, for one example.

    Attributes:
        path: the layer's path, "residual_0/conv_0".
        output: the shape of what it gives, without the axis of examples.
        parameters: how many numbers its own parameters hold.
        parameter_bytes: and in how many bytes.
        flops: floating-point operations forward, a multiply-add as two.
    """

    path: str
    output: Shape
    parameters: int
    parameter_bytes: int
    flops: int


@dataclass(frozen=True)
class Summary:
    """A row for each layer, in the order of the forward pass; `print` shows a table, and so does `rich.print`.

    Attributes:
        name: of the network.
        rows: its layers.
        parameters: how many numbers all parameters hold.
        parameter_bytes: and in how many bytes.
        state: how many numbers its state holds.
        flops: floating-point operations of one example forward; back takes about twice as many.
        activation_bytes: all outputs of layers together, for one example: what a backward pass has to keep.
    """

    name: str
    rows: tuple[LayerSummary, ...]
    parameters: int
    parameter_bytes: int
    state: int
    flops: int
    activation_bytes: int

    def __getitem__(self, path: str) -> LayerSummary:
        """The row of a layer, by its path."""
        found = {row.path: row for row in self.rows}
        if path not in found:
            raise KeyError(f"{path!r}: there are {', '.join(found)}")
        return found[path]

    def cells(self) -> list[tuple[str, ...]]:
        """The table's rows as text: the layers, then their sum."""
        told = [(row.path, row.output, row.parameters, row.parameter_bytes, row.flops) for row in self.rows]
        last = (self.name, self.rows[-1].output, self.parameters, self.parameter_bytes, self.flops)
        return [(path, str(output), *(f"{n:,}" for n in numbers)) for path, output, *numbers in [*told, last]]

    def __str__(self) -> str:
        cells = [_COLUMNS, *self.cells()]
        widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
        lines = [_line(row, widths) for row in cells]
        rule = "-" * len(lines[0])
        return "\n".join([lines[0], rule, *lines[1:-1], rule, lines[-1], self.caption()])

    def caption(self) -> str:
        """What the numbers mean."""
        state = f", {self.state:,} numbers of state" if self.state else ""
        return f"for one example; its activations take {self.activation_bytes:,} bytes{state}"

    def __rich__(self) -> Any:
        """The table as `rich.print` draws it."""
        from rich.table import Table

        table = Table(title=self.name, caption=self.caption())
        for column in _COLUMNS:
            table.add_column(column, justify="left" if column in ("layer", "output") else "right")
        *rows, last = self.cells()
        for row in rows:
            table.add_row(*row)
        table.add_section()
        table.add_row(*last, style="bold")
        return table


def summary(net: Any, x: Array | jax.ShapeDtypeStruct) -> Summary:
    """A table of a network: for each layer its path, output, parameters, their bytes, and operations.

    Nothing is computed: shapes are traced. Operations are counted as on paper, and divided by the examples of x; a
    layer that is called several times has one row, with those of all its calls.

    Args:
        net: a network, an `fnn.nn.Layer` or anything with such an `init` and `apply`.
        x: a batch, or its `jax.ShapeDtypeStruct`.

    Raises:
        TypeError: not a network; an x that is no array.
        ValueError: an x without examples; what `init` refuses, such as an x of the wrong shape.

    Example:
        >>> print(summary(fnn.nn.mlp([3, 1]), jnp.ones((8, 4))))
        layer    output  parameters  bytes  FLOPs
        -----------------------------------------
        dense_0  (3,)            15     60     27
        relu_0   (3,)             0      0      3
        dense_1  (1,)             4     16      7
        -----------------------------------------
        mlp      (1,)            19     76     37
        for one example; its activations take 28 bytes
    """
    if not (callable(getattr(net, "init", None)) and callable(getattr(net, "apply", None))):
        remedy = "Make one: fnn.nn.mlp; wrap a Flax module: fnn.interop.from_linen."
        raise TypeError(message("net", f"a {type(net).__name__}", "a network with init and apply", remedy))
    check_example("x", x)
    if not x.shape or not x.shape[0]:
        raise ValueError(message("x", f"shape {x.shape}", "(n, ...) with at least one example"))
    x = jax.ShapeDtypeStruct(x.shape, x.dtype)
    params, state = jax.eval_shape(lambda x: initialized(net, jax.random.key(0), x), x)

    def forward(params: Params, state: State, x: Array) -> Array:
        return applied(net, params, state, x)[0]

    name = getattr(net, "name", type(net).__name__)
    program, examples = Forward(forward, params, state, x), x.shape[0]
    counted: Counter[str] = Counter()
    for scope, flops in flops_of(program.jaxpr).items():
        counted[program.path(scope)] += flops
    outputs = {site.path: site.shape.shape[1:] for site in reversed(program.sites)}
    own = {path: own_leaves(params, path or name, outputs) for path in outputs}
    rows = [
        LayerSummary(path or name, outputs[path], size(own[path]), _bytes(own[path]), counted[path] // examples)
        for path in dict.fromkeys(site.path for site in program.sites)
    ]
    kept = sum(_bytes(site.shape) for site in program.sites) // examples
    flops = counted.total() // examples
    return Summary(name, tuple(rows), size(params), _bytes(params), size(state), flops, kept)


def _bytes(tree: Any) -> int:
    return sum(leaf.size * jnp.dtype(leaf.dtype).itemsize for leaf in jax.tree.leaves(tree))


def _line(cells: tuple[str, ...], widths: list[int]) -> str:
    left, right = cells[:2], cells[2:]
    told = [*map(str.ljust, left, widths[:2]), *map(str.rjust, right, widths[2:])]
    return "  ".join(told)
