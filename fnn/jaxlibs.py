"""Releases of jaxlib that are known to compute wrong numbers, and the one warning about them."""

import os
import warnings
from typing import NamedTuple

import jax
import jaxlib.version


class Fault(NamedTuple):
    """What is known of a bad release.

    Attributes:
        platforms: the backends that it concerns.
        what: what it computes wrongly.
        source: where that is told.
        warns: whether the first run warns. A fault in a form that nothing of ours writes does not.
    """

    platforms: tuple[str, ...]
    what: str
    source: str
    warns: bool


REMEDY = "jaxlib 0.11 or later (it needs Python 3.12)"
# Both faults are of one library of fused operations; without it the doctor finds nothing wrong in either release.
MENDS = "--xla_cpu_experimental_ynn_fusion_type="

KNOWN = {
    "0.10.2": Fault(
        ("cpu",),
        "a vmapped matrix-vector product followed by a reduction",
        "jax issue 39103",
        warns=True,
    ),
    # The same, where nothing stands between the two: found by `python -m fnn doctor`, in 0.9.2 and 0.10.0 too.
    "0.10.1": Fault(
        ("cpu",),
        "a vmapped matrix-vector product, matrix @ row, reduced at once",
        "akin to jax issue 39103",
        warns=False,
    ),
}

_warned = False


def installed() -> str:
    """The release of jaxlib that runs.

    Example:
        >>> installed().count(".") >= 2
        True
    """
    return jaxlib.version.__version__


def fault_of(release: str) -> Fault | None:
    """What is known of this release, or None; also where XLA_FLAGS keep it from what it does wrong.

    Example:
        >>> fault_of("0.10.2").source
        'jax issue 39103'
        >>> fault_of("0.11.2")
    """
    return None if MENDS in os.environ.get("XLA_FLAGS", "").split() else KNOWN.get(release)


def warn_once() -> None:
    """Warns, once a process, where the jaxlib that runs computes wrong numbers on this backend.

    Example:
        >>> warn_once()
    """
    global _warned
    fault = None if _warned else fault_of(installed())
    # Asked in this order, a good release starts no backend.
    if fault is None or not fault.warns or jax.default_backend() not in fault.platforms:
        return
    _warned = True
    warnings.warn(
        f"jaxlib {installed()} computes wrong numbers on the {' and '.join(fault.platforms)}: {fault.what} "
        f"({fault.source}). Start with XLA_FLAGS={MENDS} or install {REMEDY}; `python -m fnn doctor` checks this "
        "machine.",
        RuntimeWarning,
        stacklevel=3,
    )
