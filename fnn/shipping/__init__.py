"""A trained network leaves the house, as files that other programs read; `fnn.export` stands at the top."""

from fnn.shipping.params import load_params, save_params

__all__ = [
    "load_params",
    "save_params",
]
