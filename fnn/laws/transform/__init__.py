"""Laws of gradient transformations."""

from fnn.laws.transform.check import LAWS, check_transform

__all__ = ["LAWS", "check_transform"]
