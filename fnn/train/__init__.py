"""Training: the state, the step, the whole run, and the host's side of it."""

from fnn.train.evaluate import make_eval
from fnn.train.fit import FitResult
from fnn.train.precision import Precision
from fnn.train.progress import Bar, Reporter
from fnn.train.run import run
from fnn.train.state import TrainState, init_state
from fnn.train.statistics import refresh_statistics
from fnn.train.step import Step, make_step
from fnn.train.stopping import next_batch
from fnn.train.supervised import supervised, takes_weights
from fnn.train.watch import Watch

__all__ = [
    "Bar",
    "FitResult",
    "Precision",
    "Reporter",
    "Step",
    "TrainState",
    "Watch",
    "init_state",
    "make_eval",
    "make_step",
    "next_batch",
    "refresh_statistics",
    "run",
    "supervised",
    "takes_weights",
]
