"""Many devices: the same step on a mesh, in one process or in many that are started, watched and started again."""

from fnn.parallel.crew import Attempt
from fnn.parallel.job import Job, join
from fnn.parallel.launch import Launched, launch
from fnn.parallel.layout import Layout, data_parallel, fsdp, make_mesh, place, sharded, shardings, spread
from fnn.parallel.stream import stream

__all__ = [
    "Attempt",
    "Job",
    "Launched",
    "Layout",
    "data_parallel",
    "fsdp",
    "join",
    "launch",
    "make_mesh",
    "place",
    "sharded",
    "shardings",
    "spread",
    "stream",
]
