"""The window that convolution and pooling slide over an image: its sizes, steps and padding."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import lax

from fnn.errors import check_choice, check_count, check_floating, message
from fnn.typing import Array, Scalar

Sizes = int | Sequence[int]
Padding = str | int | Sequence[int | tuple[int, int]]
Pairs = tuple[tuple[int, int], ...]
_AXES = {1: "(n, width, channels)", 2: "(n, height, width, channels)", 3: "(n, depth, height, width, channels)"}
# Channels of grey and of coloured images, and the least size of a square image that is taken for one.
_IMAGE_CHANNELS, _IMAGE_SIDE = (1, 3), 8


class Window(NamedTuple):
    """A window on the spatial axes of x, with all that was left open settled.

    Attributes:
        size: how many elements it spans on each axis.
        strides: how far it moves at a time.
        padding: what is added before and after each axis.
        dilation: how far its elements lie apart.
    """

    size: tuple[int, ...]
    strides: tuple[int, ...]
    padding: Pairs
    dilation: tuple[int, ...]

    @property
    def reach(self) -> tuple[int, ...]:
        """From its first element to its last, both counted: `(size - 1) dilation + 1`."""
        return tuple((k - 1) * d + 1 for k, d in zip(self.size, self.dilation, strict=True))

    def counts(self, sizes: Sequence[int]) -> tuple[int, ...]:
        """At how many places it lies along axes of these sizes: `(L + pad - reach) // stride + 1`."""
        axes = zip(sizes, self.padding, self.reach, self.strides, strict=True)
        return tuple((length + sum(pad) - reach) // stride + 1 for length, pad, reach, stride in axes)


def settled(x: Any, size_name: str, size: Any, strides: Any, padding: Any, dilation: Any = 1) -> Window:
    """The window on the spatial axes of x, (n, ..., channels); refuses one that does not fit."""
    axes = x.ndim - 2
    names = {size_name: size, "strides": strides, "dilation": dilation}
    k, s, d = (_each(name, value, axes) for name, value in names.items())
    sizes = x.shape[1:-1]
    window = Window(k, s, ((0, 0),) * axes, d)
    window = window._replace(padding=_pairs(padding, sizes, window))
    for axis, count in enumerate(window.counts(sizes)):
        if count < 1:
            padded = sizes[axis] + sum(window.padding[axis])
            got = f"a window that reaches over {window.reach[axis]}"
            expected = f"at most {padded}, the padded size of axis {axis + 1} of x {tuple(x.shape)}"
            raise ValueError(message(size_name, got, expected, 'A smaller window, or padding="SAME".'))
    return window


def taps(x: Array, window: Window, fill: Scalar) -> list[Array]:
    """For each element of the window what it sees at all its places: arrays (n, places..., channels).

    Example:
        >>> x = jnp.arange(4.0).reshape(1, 4, 1)
        >>> [tap.ravel().tolist() for tap in taps(x, Window((2,), (2,), ((0, 0),), (1,)), 0)]
        [[0.0, 2.0], [1.0, 3.0]]
    """
    counts = window.counts(x.shape[1:-1])
    if any(low or high for low, high in window.padding):
        edges = [(0, 0, 0), *((low, high, 0) for low, high in window.padding), (0, 0, 0)]
        x = lax.pad(x, jnp.asarray(fill, x.dtype), edges)
    strides = (1, *window.strides, 1)
    found = []
    for place in np.ndindex(*window.size):
        start = [i * d for i, d in zip(place, window.dilation, strict=True)]
        ends = [i + (o - 1) * s + 1 for i, o, s in zip(start, counts, window.strides, strict=True)]
        found.append(lax.slice(x, (0, *start, 0), (x.shape[0], *ends, x.shape[-1]), strides))
    return found


def check_settings(size_name: str, size: Any, strides: Any, padding: Any, dilation: Any = 1) -> None:
    """Refuses what is wrong whatever x may be."""
    for name, value in {size_name: size, "strides": strides, "dilation": dilation}.items():
        values = value if isinstance(value, tuple | list) else [value]
        if not 1 <= len(values) <= 3:
            raise ValueError(message(name, value, "one integer, or one for each of 1 to 3 spatial axes"))
        for number in values:
            check_count(name, number)
    if isinstance(padding, str):
        check_choice("padding", padding, ("SAME", "VALID"))
        return
    pairs = padding if isinstance(padding, tuple | list) else [padding]
    for pair in pairs:
        ends = pair if isinstance(pair, tuple | list) and len(pair) == 2 else [pair]
        for end in ends:
            remedy = '"SAME", "VALID", one integer, or a pair (before, after) for each spatial axis.'
            check_count("padding", end, minimum=0, remedy=remedy)


def check_images(kind: str, x: Any) -> None:
    """Refuses what is not a batch (n, ..., channels) of floating-point numbers with 1 to 3 spatial axes."""
    check_floating("x", x, "Pixels become numbers in fnn.nn.standardize, or cast them: x.astype(jnp.float32).")
    if len(x.shape) - 2 not in _AXES:
        remedy = "Grey images need a channel: x[..., None]. One example is a batch of one: x[None]."
        raise ValueError(message(f"x of {kind}", f"shape {tuple(x.shape)}", " or ".join(_AXES.values()), remedy))


def check_channels_last(x: Any) -> None:
    """Refuses a batch of square images that has its channels first, as PyTorch orders them."""
    shape = tuple(x.shape)
    if len(shape) == 4 and shape[1] in _IMAGE_CHANNELS and shape[2] == shape[3] >= _IMAGE_SIDE:
        raise ValueError(
            message("x", f"shape {shape}, which looks like (n, channels, height, width)", _AXES[2], channels_last(4))
        )


def channels_last(ndim: int) -> str:
    """How to bring channels that come first to the end."""
    return f"Channels come last here: x.transpose({', '.join(map(str, (0, *range(2, ndim), 1)))})."


def _each(name: str, value: Any, axes: int) -> tuple[int, ...]:
    """One number for each spatial axis."""
    if not isinstance(value, tuple | list):
        return (int(value),) * axes
    if len(value) != axes:
        raise ValueError(message(name, tuple(value), f"one integer for each of the {axes} spatial axes of x"))
    return tuple(int(v) for v in value)


def _pairs(padding: Any, sizes: Sequence[int], window: Window) -> Pairs:
    """What is added before and after each spatial axis."""
    if isinstance(padding, str):
        return tuple((int(a), int(b)) for a, b in lax.padtype_to_pads(sizes, window.reach, window.strides, padding))
    if not isinstance(padding, tuple | list):
        return ((int(padding), int(padding)),) * len(sizes)
    if len(padding) != len(sizes):
        raise ValueError(message("padding", padding, f"a pair for each of the {len(sizes)} spatial axes of x"))
    ends = [pair if isinstance(pair, tuple | list) else (pair, pair) for pair in padding]
    return tuple((int(a), int(b)) for a, b in ends)
