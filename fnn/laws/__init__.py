"""Laws that any optimizer, loss, layer or training step must obey, and the kit that checks them."""

from fnn.laws.law import Broken, DoesNotApply, Law, law
from fnn.laws.report import LawViolation, Report, Row
from fnn.laws.transform import check_transform

__all__ = [
    "Broken",
    "DoesNotApply",
    "Law",
    "LawViolation",
    "Report",
    "Row",
    "check_transform",
    "law",
]
