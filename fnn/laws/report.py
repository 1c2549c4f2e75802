"""What a check found: a row for each law."""

import textwrap
from collections import Counter
from dataclasses import dataclass
from typing import Literal

Verdict = Literal["held", "broken", "does not apply", "expected", "outdated"]
_ORDER: tuple[Verdict, ...] = ("broken", "outdated", "expected", "held", "does not apply")
_WIDTH = 84


class LawViolation(AssertionError):  # noqa: N818
    """A law is broken.

    Attributes:
        law: the law's name.
        counterexample: the smallest one found, as text; "" where a law has a single case.
        report: the whole report.
    """

    def __init__(self, message: str, law: str, counterexample: str, report: "Report"):
        super().__init__(message)
        self.law = law
        self.counterexample = counterexample
        self.report = report


@dataclass(frozen=True)
class Row:
    """What became of one law.

    Attributes:
        law: its name.
        statement: what it says.
        verdict: "held", "broken", "does not apply"; "expected" where it broke as `expected` said, and
            "outdated" where it was expected to break and held.
        note: the numbers of a violation, or why the law does not apply, or what was seen.
        counterexample: the smallest one found, as text.
        seconds: how long the check took.
    """

    law: str
    statement: str
    verdict: Verdict
    note: str = ""
    counterexample: str = ""
    seconds: float = 0.0


@dataclass(frozen=True)
class Report:
    """A row for each law; `print` shows it as a table.

    Attributes:
        subject: the name of what was checked.
        rows: one for each law, in the order of the laws.
    """

    subject: str
    rows: tuple[Row, ...]

    def __getitem__(self, law: str) -> Row:
        """The row of a law, by its name."""
        for row in self.rows:
            if row.law == law:
                return row
        raise KeyError(law)

    @property
    def broken(self) -> tuple[Row, ...]:
        """The rows that make `raise_if_broken` raise: broken laws, and expectations that are outdated."""
        return tuple(row for row in self.rows if row.verdict in ("broken", "outdated"))

    def raise_if_broken(self) -> None:
        """Raises `LawViolation` with the first broken law, its smallest counterexample and the numbers.

        Raises:
            LawViolation: a law is broken, or holds although `expected` says that it does not.
        """
        if not self.broken:
            return
        first, *others = self.broken
        lines = [f"{self.subject}: {first.law} is {first.verdict}.", f"  law: {first.statement}", f"  {first.note}"]
        lines += [f"  smallest counterexample: {first.counterexample}"] if first.counterexample else []
        lines += [f"  also: {', '.join(row.law for row in others)}"] if others else []
        raise LawViolation("\n".join(lines), first.law, first.counterexample, self)

    def __str__(self) -> str:
        """The table: broken laws first, with their numbers."""
        counts = Counter(row.verdict for row in self.rows)
        seconds = sum(row.seconds for row in self.rows)
        shown = ", ".join(f"{counts[verdict]} {verdict}" for verdict in _ORDER if counts[verdict])
        rows = sorted(self.rows, key=lambda row: _ORDER.index(row.verdict))
        return "\n".join([f"{self.subject}: {shown} ({seconds:.0f} s)", "", *(_lines(row) for row in rows)])


def _lines(row: Row) -> str:
    """A row: the law and its note; where it broke also what it says, and the smallest counterexample."""
    head = f"  {row.verdict:<16}{row.law}"
    if row.verdict in ("held", "does not apply"):
        text = head + (f": {row.note}" if row.note else "")
        return "\n".join(textwrap.wrap(text, _WIDTH, subsequent_indent=" " * 20))
    parts = [row.statement, row.note, f"smallest: {row.counterexample}" if row.counterexample else ""]
    wrapped = [line for part in parts if part for line in textwrap.wrap(part, _WIDTH - 6)]
    return "\n".join([head, *(f"      {line}" for line in wrapped)])
