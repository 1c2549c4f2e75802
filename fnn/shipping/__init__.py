"""A trained network leaves the house: its parameters as a file that other programs read; `fnn.export` stands at the top."""

from fnn.shipping.params import load_params, save_params

__all__ = [
    "load_params",
    "save_params",
]
