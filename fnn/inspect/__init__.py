"""Looking into training: back-propagation as data, gradients checked, networks in numbers, the first NaN."""

from fnn.inspect.backprop import backprop
from fnn.inspect.chain_rule import chain_rule
from fnn.inspect.event import Event
from fnn.inspect.gradients import GradientMismatch, GradientReport, LeafCheck, check_gradients
from fnn.inspect.nonfinite import first_nonfinite
from fnn.inspect.statistics import Statistics, statistics, watched
from fnn.inspect.summary import LayerSummary, Summary, summary
from fnn.inspect.trace import ByLayer, Signals, Trace

__all__ = [
    "ByLayer",
    "Event",
    "GradientMismatch",
    "GradientReport",
    "LayerSummary",
    "LeafCheck",
    "Signals",
    "Statistics",
    "Summary",
    "Trace",
    "backprop",
    "chain_rule",
    "check_gradients",
    "first_nonfinite",
    "statistics",
    "summary",
    "watched",
]
