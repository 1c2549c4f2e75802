"""One process of a job: it joins the others, tells how far it is, and leaves at once where it cannot go on."""

import contextlib
import os
import signal
import socket
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
from jax.experimental import multihost_utils

from fnn.errors import check_count, check_scalar, message
from fnn.parallel.pulse import Pulse
from fnn.signals import handled

_HEARTBEAT = 10  # seconds after which a machine that is gone is taken for gone
# What those set that start many processes, and jax.distributed.initialize knows: Slurm, Open MPI, TPU pods, Kubernetes.
_STARTED = (
    "JAX_COORDINATOR_ADDRESS",
    "SLURM_STEP_NODELIST",
    "OMPI_MCA_orte_hnp_uri",
    "TPU_WORKER_HOSTNAMES",
    "JOB_COMPLETION_INDEX",
)


class Job:
    """This process among those of its job, as `join` gives it.

    Attributes:
        index: its number, from 0.
        count: how many processes there are.
        attempt: how often the job was started before, by `fnn.parallel.launch`.

    Example:
        >>> with join() as job:
        ...     print(job, job.index, job.count)
        Job(process 0 of 1) 0 1
    """

    def __init__(self, index: int, count: int, attempt: int, pulse: Pulse) -> None:
        self.index, self.count, self.attempt = index, count, attempt
        self._pulse = pulse
        self._asked = False

    def beat(self, step: int, after: Any = None) -> None:
        """Tells that a step is done, once `after` is computed; call it after each.

        Args:
            step: how many steps are done.
            after: arrays that the step gives, such as its metrics: JAX returns before they are computed, and a step
                that never ends must not pass for one that is done. None counts at once.

        Example:
            >>> with join() as job:
            ...     job.beat(1, {"loss": jnp.ones(())})
        """
        check_count("step", step, minimum=0)
        self._pulse.beat(int(step), after)

    def stopping(self, step: int) -> bool:
        """Whether to save and leave after this step: SIGTERM came to one of the processes. All get the same answer.

        Call it in each process after each step.

        Example:
            >>> with join() as job:
            ...     job.stopping(1)
            False
        """
        check_count("step", step, minimum=0)
        return self._asked or (self.count > 1 and multihost_utils.reached_preemption_sync_point(int(step)))

    def __repr__(self) -> str:
        return f"Job(process {self.index} of {self.count})"


@contextlib.contextmanager
def join(*, limit: float = 60.0, startup: float = 300.0, cluster: bool | None = None) -> Iterator[Job]:
    """Makes this process one of a job's, before JAX computes anything; a script that runs alone is a job of one.

    Who started it says where the others are: `fnn.parallel.launch`, or a cluster that `jax.distributed.initialize`
    knows, such as Slurm, Kubernetes or a TPU pod.

    Where there are several, none waits for one that is gone. An exception ends its process at once, after it was
    printed; and where no step is done for `limit` seconds, the process prints what it was doing and ends, which a
    heartbeat of the network does not see. Whoever started the job starts it again, from its last checkpoint.

    Args:
        limit: seconds that a step may take, checkpoint and validation included.
        startup: seconds until the first step is done: compiling.
        cluster: whether to ask `jax.distributed.initialize` for the others; None looks for what clusters set in the
            environment.

    Returns:
        A context: the `Job`.

    Raises:
        ValueError: a number of seconds not above 0.
        RuntimeError: JAX has computed before, or the others did not come.

    Example:
        >>> with join() as job:
        ...     job
        Job(process 0 of 1)
    """
    check_scalar("limit", limit, 0, open_low=True)
    check_scalar("startup", startup, 0, open_low=True)
    _initialize(limit, startup, cluster)
    index, count = _place() if jax.distributed.is_initialized() else (0, 1)
    beats = os.environ.get("FNN_BEATS")
    pulse = Pulse(None if beats is None else Path(beats) / os.environ["FNN_PROCESS"], limit, startup)
    job = Job(index, count, int(os.environ.get("FNN_ATTEMPT", 0)), pulse)
    # A script that runs alone may stand still as long as it likes: in a debugger, for instance.
    watched = pulse if count > 1 or beats is not None else contextlib.nullcontext()
    with watched, _asked_by_signal(job):
        try:
            yield job
        except BaseException as error:
            if count > 1:
                _leave(job, error)
            raise
    if count > 1:
        jax.distributed.shutdown()


def _initialize(limit: float, startup: float, cluster: bool | None) -> None:
    """Joins the others where somebody has started several."""
    options: dict[str, Any] = {
        "initialization_timeout": max(1, int(startup)),
        "shutdown_timeout_seconds": max(1, int(limit)),
        "heartbeat_timeout_seconds": _HEARTBEAT,
    }
    if "FNN_COORDINATOR" in os.environ:
        count = int(os.environ["FNN_PROCESSES"])
        if count > 1:
            jax.distributed.initialize(os.environ["FNN_COORDINATOR"], count, int(os.environ["FNN_PROCESS"]), **options)
    elif cluster or (cluster is None and any(name in os.environ for name in _STARTED)):
        jax.distributed.initialize(**options)


def _place() -> tuple[int, int]:
    """Which process this is, of how many."""
    try:
        return jax.process_index(), jax.process_count()
    except RuntimeError as error:
        if "gloo" not in str(error):
            raise
        name = socket.gethostname()
        remedy = f"Add a line such as '127.0.0.1 {name}' to /etc/hosts."
        expected = "one that the system resolves, since processes on CPUs meet by it"
        raise RuntimeError(message("join", f"a host by the name of {name!r} ({error})", expected, remedy)) from error


def _leave(job: Job, error: BaseException) -> None:
    """Ends this process without waiting for the others, as JAX does at exit."""
    if isinstance(error, SystemExit) and not error.code:
        return
    job._pulse.close()  # the supervisor counts how far it came
    print(f"process {job.index} of {job.count} ends:", file=sys.stderr)
    traceback.print_exception(error)
    sys.stdout.flush()
    sys.stderr.flush()
    code = error.code if isinstance(error, SystemExit) and isinstance(error.code, int) else 1
    os._exit(130 if isinstance(error, KeyboardInterrupt) else code)


@contextlib.contextmanager
def _asked_by_signal(job: Job) -> Iterator[None]:
    """SIGTERM asks a process that is alone to stop; where there are several, JAX listens, and tells the others."""

    def ask(number: int) -> None:
        del number
        job._asked = True

    with handled([signal.SIGTERM] if job.count == 1 else [], ask):
        yield
