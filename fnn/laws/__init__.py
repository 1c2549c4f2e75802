"""Laws that any optimizer, loss, layer or training step must obey, and the kit that checks them."""

from fnn.laws.layer import check_layer
from fnn.laws.loss import check_loss
from fnn.laws.report import LawViolation, Report, Row
from fnn.laws.statement import Broken, DoesNotApply, Law, law
from fnn.laws.step import check_step
from fnn.laws.transform import check_transform

__all__ = [
    "Broken",
    "DoesNotApply",
    "Law",
    "LawViolation",
    "Report",
    "Row",
    "check_layer",
    "check_loss",
    "check_step",
    "check_transform",
    "law",
]
