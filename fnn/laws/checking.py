"""Checks laws one after another, and searches the smallest counterexample of each."""

import time
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from fnn.errors import check_choice, message
from fnn.laws.report import Report, Row
from fnn.laws.statement import Broken, DoesNotApply, Law


@dataclass(frozen=True)
class Trait:
    """Whether something is so, and how that is known: "claimed by its name", "seen on three gradients"."""

    holds: bool
    why: str


@runtime_checkable
class Subject(Protocol):
    """What laws are checked of."""

    @property
    def name(self) -> str:
        """What the report calls it."""
        ...

    def trait(self, name: str) -> Trait:
        """Whether it has this trait."""
        ...


def check_laws(
    subject: Subject,
    known: Sequence[Law],
    *,
    laws: Iterable[str | Law] | None,
    expected: Mapping[str, str] | None,
    examples: int,
) -> Report:
    """Checks the laws asked for, all `known` ones unless some are named."""
    asked, expected = _selected(known, laws), dict(expected or {})
    for name in expected:
        check_choice("expected", name, [law.name for law in asked])
    return Report(subject.name, tuple(_row(subject, law, expected.get(law.name), examples) for law in asked))


def _selected(known: Sequence[Law], laws: Iterable[str | Law] | None) -> list[Law]:
    by_name = {law.name: law for law in known}
    if laws is None:
        return list(known)
    if isinstance(laws, str | Law):
        raise TypeError(message("laws", repr(laws), "a list of names or laws", f"Give [{laws!r}]."))
    chosen = []
    for law in laws:
        if not isinstance(law, Law):
            check_choice("laws", law, by_name)
        chosen.append(law if isinstance(law, Law) else by_name[law])
    return chosen


def _row(subject: Subject, law: Law, expected: str | None, examples: int) -> Row:
    start = time.perf_counter()

    def row(verdict: Any, note: str = "", counterexample: str = "") -> Row:
        return Row(law.name, law.statement, verdict, note, counterexample, time.perf_counter() - start)

    try:
        for trait in (subject.trait(name) for name in law.needs):
            if not trait.holds:
                raise DoesNotApply(trait.why)
        note = _checked(subject, law, examples) or ""
    except DoesNotApply as reason:
        return row("does not apply", str(reason))
    except _Found as found:
        if expected is not None:
            return row("expected", f"{expected} ({found.note})", found.counterexample)
        return row("broken", found.note, found.counterexample)
    if expected is not None:
        return row("outdated", f"It holds; take it out of expected, which says: {expected}")
    return row("held", note)


class _Found(Exception):  # noqa: N818
    def __init__(self, note: str, counterexample: str = ""):
        super().__init__(note)
        self.note, self.counterexample = note, counterexample


def _checked(subject: Subject, law: Law, examples: int) -> str | None:
    if law.over is None:
        return _tried(lambda: law.check(subject))
    return _search(subject, law, law.over(), examples)


def _tried(check: Callable[[], str | None]) -> str | None:
    """The law's note; whatever it raises, other than that it does not apply, is a violation."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return check()
    except (DoesNotApply, KeyboardInterrupt, MemoryError):
        raise
    except Broken as broken:
        raise _Found(str(broken)) from broken
    except Exception as error:
        first = (str(error).strip().splitlines() or [""])[0]
        raise _Found(f"raises {type(error).__name__}: {first}"[:300]) from error


def _search(subject: Subject, law: Law, cases: Any, examples: int) -> str | None:
    """Hypothesis looks for a case that breaks the law, then for the smallest one."""
    hypothesis = import_hypothesis()
    notes: list[str | None] = []
    smallest: list[_Found] = []
    reasons: list[DoesNotApply] = []

    def trial(case: Any) -> None:
        if reasons:
            return
        try:
            notes.append(_tried(lambda: law.check(subject, case)))
        except _Found as found:
            smallest.append(_Found(found.note, str(case)))
            raise
        except DoesNotApply as reason:
            reasons.append(reason)

    settings = hypothesis.settings(
        max_examples=examples,
        deadline=None,
        database=None,
        derandomize=True,
        report_multiple_bugs=False,
        print_blob=False,
        verbosity=hypothesis.Verbosity.quiet,
        suppress_health_check=list(hypothesis.HealthCheck),
        phases=(hypothesis.Phase.generate, hypothesis.Phase.shrink),
    )
    try:
        settings(hypothesis.given(cases)(trial))()
    except _Found:
        # Hypothesis ends with the smallest case.
        raise smallest[-1] from None
    if reasons:
        raise reasons[0]
    return notes[-1] if notes else None


def import_hypothesis() -> Any:
    """Hypothesis, which only the laws need."""
    try:
        import hypothesis
    except ImportError as error:
        raise ImportError(
            "fnn.laws searches counterexamples with Hypothesis, extra [laws]: in the clone, pip install -e '.[laws]'"
        ) from error
    return hypothesis
