"""What a run consists of once it is over."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from fnn.population import Results


class Examples(NamedTuple):
    """Examples, and what a network says of them.

    Attributes:
        x: the inputs; images where their shape is (n, height, width) or (n, height, width, channels).
        y: the true classes, integers (n,).
        probabilities: of the classes, (n, classes).
        labels: the classes' names; None numbers them.
    """

    x: Any
    y: Any
    probabilities: Any
    labels: Sequence[str] | None = None


class Record(NamedTuple):
    """What a folder tells of a run; what it does not hold is empty or None.

    Attributes:
        title: what the run is about.
        written: when it was saved.
        figures: what came out, by name, such as "test accuracy": a number, or one for each seed.
        settings: what was chosen, by name.
        network: its layers, as text.
        versions: of the packages, and the device.
        history: arrays with one entry an epoch, as `fnn.fit` returns them.
        layers: arrays with one entry a look, as `fnn.train.Watch` holds them.
        examples: what the network says of some examples.
        sweep: the results of `fnn.sweep`, the leaves of its trees by their paths.
        pictures: the folder's PNG files, by name.
    """

    title: str
    written: str
    figures: dict[str, Any]
    settings: dict[str, Any]
    network: str
    versions: dict[str, str]
    history: dict[str, np.ndarray]
    layers: dict[str, np.ndarray]
    examples: Examples | None
    sweep: Results | None
    pictures: dict[str, bytes]
