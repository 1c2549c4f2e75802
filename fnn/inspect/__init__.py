"""Looking into training: where the first NaN came from."""

from fnn.inspect.event import Event
from fnn.inspect.nonfinite import first_nonfinite

__all__ = ["Event", "first_nonfinite"]
