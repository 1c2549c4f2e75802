"""What the tests of pictures share: numbers to draw, and what a drawn figure says."""

import io
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

matplotlib = pytest.importorskip("matplotlib")

RNG = np.random.default_rng(0)
_EPOCHS = 12
HISTORY = {
    "accuracy": np.linspace(0.3, 0.99, _EPOCHS),
    "grad_norm": np.geomspace(3, 0.1, _EPOCHS),
    "loss": np.geomspace(2.3, 0.02, _EPOCHS),
    "val_accuracy": np.linspace(0.3, 0.95, _EPOCHS),
    "val_loss": np.r_[np.geomspace(2.3, 0.1, _EPOCHS - 3), 0.15, 0.2, 0.3],
}
IMAGES = RNG.random((30, 20))
TRUTH = np.arange(30) % 3
CHANCES = RNG.dirichlet(np.ones(3), 30)
WEIGHTS = RNG.normal(size=(20, 12))
KERNELS = RNG.normal(size=(3, 3, 3, 10))
MAPS = RNG.normal(size=(6, 5, 7))


def drawn(figure: Any) -> Any:
    """The figure after it is laid out, as saving it does; every warning is an error here."""
    figure.savefig(io.BytesIO(), format="png")
    return figure


def texts(figure: Any) -> Iterator[Any]:
    """All visible texts but the ticks outside of the view."""
    for text in figure.findobj(matplotlib.text.Text):
        if text.get_visible() and text.get_text().strip():
            yield text


def said(figure: Any) -> list[str]:
    """What the texts say."""
    return [text.get_text() for text in texts(figure)]


def boxes(figure: Any) -> list[tuple[str, Any]]:
    """The boxes that texts fill, in pixels, but for tick labels, which matplotlib keeps beyond the view too."""
    ticks = [axis.get_ticklabels(which="both") for axes in figure.axes for axis in (axes.xaxis, axes.yaxis)]
    hidden = {id(text) for labels in ticks for text in labels}
    shown = [text for text in texts(figure) if id(text) not in hidden]
    return [(text.get_text(), text.get_window_extent()) for text in shown]
