"""Figures and versions in words."""

import importlib
import platform
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import jax
import numpy as np

from fnn import jaxlibs


def versions() -> dict[str, str]:
    """The versions that a result depends on, and the device.

    Example:
        >>> list(versions())[:2]
        ['python', 'fnn']
    """
    devices = jax.devices()
    machine = {"backend": devices[0].platform, "devices": f"{len(devices)} x {devices[0].device_kind}"}
    return packages() | machine


def packages() -> dict[str, str]:
    """The versions alone, of Python and of each package, which start no backend.

    Example:
        >>> list(packages())[:3]
        ['python', 'fnn', 'jax']
    """
    # The tree that runs, which need not be the one that is installed.
    found = {"python": platform.python_version(), "fnn": importlib.import_module("fnn").__version__}
    for name in ("jax", "jaxlib", "optax", "flax", "numpy"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    return found | {"jaxlib": jaxlibs.installed()}


def worded(figures: Mapping[str, Any]) -> dict[str, str]:
    """Figures in words: a number, or the mean of several seeds and their standard deviation; accuracies in percent.

    Example:
        >>> worded({"test accuracy": [0.5, 0.7], "loss": 0.25, "epochs": 1200, "data": "digits"})
        {'test accuracy': '60.00% ± 14.14%', 'loss': '0.2500', 'epochs': '1,200', 'data': 'digits'}
    """

    def text(name: str, figure: Any) -> str:
        try:
            values = np.atleast_1d(np.asarray(figure))
        except ValueError:  # lists of several lengths
            return str(figure)
        if values.dtype.kind in "iu" and values.size == 1:
            return f"{values.item():,}"
        if values.dtype.kind not in "iuf" or not values.size:
            return str(figure)
        form = ".2%" if name.endswith("accuracy") else ".4f"
        spread = f" ± {values.std(ddof=1, dtype=np.float64):{form}}" if values.size > 1 else ""
        return f"{values.mean(dtype=np.float64):{form}}{spread}"

    return {name: text(name, figure) for name, figure in figures.items()}
