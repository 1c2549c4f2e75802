"""Convolutions: both lowerings of this library against NumPy."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import jax
import numpy as np

from fnn.doctor.case import Case, check, whole
from fnn.nn import conv
from fnn.typing import Array


class _Settings(NamedTuple):
    size: int
    channels: tuple[int, int]
    kernel: int
    strides: int = 1
    dilation: int = 1
    groups: int = 1
    padding: str = "SAME"


_SETTINGS = (
    _Settings(8, (1, 4), 3),
    _Settings(9, (3, 5), 3, strides=2),
    _Settings(7, (2, 3), 5, padding="VALID"),
    _Settings(10, (4, 4), 3, dilation=2),
    _Settings(8, (4, 6), 3, groups=2),
    _Settings(9, (4, 4), 3, strides=2, groups=4),
    _Settings(5, (16, 33), 1),
)


@check
def convolutions() -> Iterator[Case]:
    """A convolution and its gradients are those of a loop in NumPy, in every lowering."""
    for settings in _SETTINGS:
        size, (c_in, c_out), kernel, *_ = settings
        x = whole(0, -3, 3, (2, size, size, c_in))
        w = whole(1, -3, 3, (kernel, kernel, c_in // settings.groups, c_out))
        windows = _windows(settings)
        y_shape = (2, *[len(windows[0])] * 2, c_out)
        dy = whole(2, -3, 3, y_shape)
        expected = _by_loop(settings, windows, *(array.astype(float) for array in (x, w, dy)))
        for lowering in ("xla", "cpu"):
            function = _with_gradients(settings, lowering)
            words = ", ".join(f"{name} {value}" for name, value in settings._asdict().items())
            yield Case(f"{words}, lowering {lowering}", function, (x, w, dy), expected)


def _with_gradients(settings: _Settings, lowering: str) -> Any:
    layer = conv(
        settings.channels[1],
        settings.kernel,
        strides=settings.strides,
        padding=settings.padding,
        dilation=settings.dilation,
        groups=settings.groups,
        use_bias=False,
        lowering=lowering,
    )

    def function(x: Array, w: Array, dy: Array) -> dict[str, Array]:
        y, pull = jax.vjp(lambda x, w: layer.apply({"w": w}, {}, x)[0], x, w)
        dx, dw = pull(dy)
        return {"y": y, "dx": dx, "dw": dw}

    return function


def _windows(settings: _Settings) -> tuple[range, int, int]:
    """Where the windows begin in the padded x, and how many zeros there are before it and in all."""
    size, span = settings.size, (settings.kernel - 1) * settings.dilation + 1
    if settings.padding == "VALID":
        return range(0, size - span + 1, settings.strides), 0, 0
    count = -(-size // settings.strides)
    zeros = max((count - 1) * settings.strides + span - size, 0)
    return range(0, count * settings.strides, settings.strides), zeros // 2, zeros


def _by_loop(settings: _Settings, windows: Any, x: np.ndarray, w: np.ndarray, dy: np.ndarray) -> dict[str, np.ndarray]:
    starts, before, zeros = windows
    ends = (before, zeros - before)
    padded = np.pad(x, ((0, 0), ends, ends, (0, 0)))
    y, dx, dw = np.zeros_like(dy), np.zeros_like(padded), np.zeros_like(w)
    c_in, c_out = (c // settings.groups for c in settings.channels)
    for i, j, g in np.ndindex(settings.kernel, settings.kernel, settings.groups):
        rows, columns = (np.array(starts) + k * settings.dilation for k in (i, j))
        inside, outside = slice(g * c_in, (g + 1) * c_in), slice(g * c_out, (g + 1) * c_out)
        place = (slice(None), rows[:, None], columns[None], inside)
        taken = padded[place]
        y[..., outside] += taken @ w[i, j, :, outside]
        dw[i, j, :, outside] = np.einsum("nhwc,nhwd->cd", taken, dy[..., outside])
        dx[place] += dy[..., outside] @ w[i, j, :, outside].T
    last = before + settings.size
    return {"y": y, "dx": dx[:, before:last, before:last], "dw": dw}


CHECKS = (convolutions,)
