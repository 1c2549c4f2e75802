"""The law kit breaks on every planted fault, and accuses no correct rule."""

from collections import Counter

import pytest

from fnn.laws.transform import LAWS, convergence
from tests.laws.fault import Fault
from tests.laws.mutants import CORRECT, FAULTS

NAMES = {law.name for law in LAWS}
# Laws that no planted fault breaks, each with the reason.
UNBROKEN: dict[str, str] = {}


@pytest.mark.parametrize("rule", CORRECT, ids=str)
def test_a_correct_rule_is_not_accused(rule: Fault) -> None:
    # The searches of the variants are those of the plain rules.
    rule.check(examples=5 if rule.options else 20).raise_if_broken()


@pytest.mark.parametrize("fault", FAULTS, ids=str)
def test_a_fault_is_caught(fault: Fault) -> None:
    report = fault.check(laws=fault.laws)
    assert not [row for row in report.rows if row.verdict != "broken"]


def test_there_are_enough_faults() -> None:
    assert len(FAULTS) >= 60
    assert not [name for name, times in Counter(map(str, FAULTS)).items() if times > 1]
    assert all(fault.what and fault.laws for fault in FAULTS)


def test_at_most_one_fault_is_left_to_convergence() -> None:
    last = {law.name for law in convergence.LAWS}
    assert len([fault for fault in FAULTS if set(fault.laws) <= last]) <= 1


def test_every_law_is_broken_by_some_fault() -> None:
    broken = {law for fault in FAULTS for law in fault.laws}
    assert broken <= NAMES
    assert NAMES - broken == set(UNBROKEN)
