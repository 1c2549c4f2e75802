"""All pictures: nothing is clipped or overlaps, and matplotlib stays as it was."""

import sys
from collections.abc import Callable
from itertools import combinations
from typing import Any

import numpy as np
import pytest

from fnn import plot
from fnn.data import COFFEE_DRINKS
from fnn.plot.style import percent
from tests.plot.drawing import CHANCES, HISTORY, IMAGES, KERNELS, MAPS, TRUTH, WEIGHTS, boxes, drawn, matplotlib

LONG_NAMES = ["golden retriever", "tabby", "an uncommonly long name of a class"]
ALL_RIGHT = np.eye(3)[TRUTH]
GALLERY: dict[str, Callable[[], Any]] = {
    "curves": lambda: plot.learning_curves(HISTORY),
    "one curve": lambda: plot.learning_curves({"loss": HISTORY["loss"], "val_loss": HISTORY["val_loss"]}),
    "one epoch": lambda: plot.learning_curves({name: values[:1] for name, values in HISTORY.items()}),
    "matrix": lambda: plot.confusion_matrix(np.arange(100).reshape(10, 10) * 11),
    "matrix of names": lambda: plot.confusion_matrix(np.eye(4, dtype=int), COFFEE_DRINKS),
    "matrix of many": lambda: plot.confusion_matrix(np.eye(40, dtype=int) * 12),
    "errors": lambda: plot.worst_examples(IMAGES, TRUTH, CHANCES, shape=(4, 5)),
    "errors of long names": lambda: plot.worst_examples(IMAGES, TRUTH, CHANCES, shape=(4, 5), labels=LONG_NAMES),
    "no errors": lambda: plot.worst_examples(IMAGES, TRUTH, ALL_RIGHT, shape=(4, 5)),
    "weights": lambda: plot.first_layer_weights(WEIGHTS, shape=(4, 5)),
    "one unit": lambda: plot.first_layer_weights(WEIGHTS[:, :1], shape=(4, 5)),
    "predictions": lambda: plot.predictions(IMAGES, TRUTH, CHANCES, shape=(4, 5)),
    "two predictions": lambda: plot.predictions(IMAGES, TRUTH, CHANCES, shape=(4, 5), count=2),
    "tall images": lambda: plot.predictions(IMAGES, TRUTH, CHANCES, shape=(10, 2), count=60),
    "predictions of long names": lambda: plot.predictions(IMAGES, TRUTH, CHANCES, shape=(4, 5), labels=LONG_NAMES),
    "all right": lambda: plot.predictions(IMAGES, TRUTH, ALL_RIGHT, shape=(4, 5)),
    "all wrong": lambda: plot.predictions(IMAGES, TRUTH, np.roll(ALL_RIGHT, 1, axis=1), shape=(4, 5)),
    "filters in colour": lambda: plot.filters(KERNELS),
    "filters of grey": lambda: plot.filters(KERNELS[:, :, :1]),
    "filters of many channels": lambda: plot.filters(np.tile(KERNELS, (1, 1, 4, 3))),
    "one filter": lambda: plot.filters(KERNELS[..., :1]),
    "two filters of two channels": lambda: plot.filters(KERNELS[:, :, :2, :2]),
    "maps": lambda: plot.feature_maps(MAPS),
    "maps and image": lambda: plot.feature_maps(np.maximum(MAPS, 0), image=IMAGES[0].reshape(4, 5)),
    "one map and image": lambda: plot.feature_maps(MAPS[..., :1], image=IMAGES[:12].reshape(10, 8, 3)),
    "many maps": lambda: plot.feature_maps(np.tile(MAPS, (1, 1, 6))),
}


@pytest.mark.parametrize("name", GALLERY)
def test_nothing_is_clipped_or_lies_on_something_else(name: str) -> None:
    figure = drawn(GALLERY[name]())
    found = boxes(figure)
    assert found
    whole = figure.bbox
    clipped = [t for t, b in found if b.x0 < 0 or b.y0 < 0 or b.x1 > whole.x1 or b.y1 > whole.y1]
    assert not clipped
    assert not [(t, u) for (t, b), (u, c) in combinations(found, 2) if b.overlaps(c)]
    images = [axes.get_window_extent() for axes in figure.axes if axes.images]
    assert all(image.width > 20 and image.height > 20 for image in images)
    assert not any(a.overlaps(b) for a, b in combinations(images, 2))
    inside = {text.get_text() for axes in figure.axes for text in axes.texts}
    outside = [(text, box) for text, box in boxes(figure) if text not in inside]
    assert not [text for text, box in outside for image in images if box.overlaps(image)]


@pytest.mark.parametrize("name", GALLERY)
def test_no_display_no_pyplot_and_no_settings_are_touched(name: str) -> None:
    before = dict(matplotlib.rcParams)
    loaded = "matplotlib.pyplot" in sys.modules
    assert type(GALLERY[name]()) is matplotlib.figure.Figure
    assert dict(matplotlib.rcParams) == before
    assert ("matplotlib.pyplot" in sys.modules) == loaded


def test_without_matplotlib_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(
        ImportError, match=r"fnn\.plot needs matplotlib, extra \[experiments\]: .* -e '\.\[experiments\]'"
    ):
        plot.learning_curves({"loss": [1.0]})


@pytest.mark.parametrize(("share", "words"), [(0.0, "0 %"), (0.987, "99 %"), (1.0, "100 %")])
def test_shares_in_words(share: float, words: str) -> None:
    assert percent(share) == words
