"""Laws of losses."""

from fnn.laws.loss.check import LAWS, check_loss

__all__ = ["LAWS", "check_loss"]
