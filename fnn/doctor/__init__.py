"""Whether this machine computes right: self-checks of the compiler and every device, and one verdict.

A check runs programs, and compares what comes out with NumPy. Most of the numbers are small integers held as floats,
which every order of summation and every precision gives exactly: what differs is wrong, not rounded.
"""

from fnn.doctor.case import Case, Check, check
from fnn.doctor.diagnosis import Diagnosis, Finding
from fnn.doctor.examine import CHECKS, examine
from fnn.doctor.facts import Facts

__all__ = [
    "CHECKS",
    "Case",
    "Check",
    "Diagnosis",
    "Facts",
    "Finding",
    "check",
    "examine",
]
