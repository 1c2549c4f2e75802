"""Laws of training steps."""

from fnn.laws.step.check import LAWS, check_step

__all__ = ["LAWS", "check_step"]
