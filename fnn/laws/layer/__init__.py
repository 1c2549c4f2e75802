"""Laws of layers."""

from fnn.laws.layer.check import LAWS, check_layer

__all__ = ["LAWS", "check_layer"]
