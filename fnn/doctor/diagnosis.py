"""What an examination found, and the one line that it comes to."""

import textwrap
from dataclasses import asdict, dataclass
from typing import Any

from fnn import jaxlibs
from fnn.doctor.facts import Facts

_WIDTH = 100
_SHOWN = 3


@dataclass(frozen=True)
class Finding:
    """What became of one self-check.

    Attributes:
        name: the check's name.
        statement: what holds on a machine that computes right.
        cases: how many programs were run.
        differences: what came out wrong, with the numbers; empty where all was right.
        seconds: how long it took.
    """

    name: str
    statement: str
    cases: int
    differences: tuple[str, ...]
    seconds: float

    @property
    def wrong(self) -> bool:
        """Whether anything came out wrong."""
        return bool(self.differences)


@dataclass(frozen=True)
class Diagnosis:
    """What this machine computes with and whether it computes right; `print` shows it as a table.

    Attributes:
        facts: versions, devices and settings.
        findings: one for each self-check.
    """

    facts: Facts
    findings: tuple[Finding, ...]

    @property
    def wrong(self) -> tuple[Finding, ...]:
        """The checks that found wrong numbers."""
        return tuple(finding for finding in self.findings if finding.wrong)

    @property
    def healthy(self) -> bool:
        """Whether JAX starts, every check is right, and nothing bad is known of this jaxlib on this platform."""
        return not (self.wrong or self.facts.fault or self.facts.backend_error)

    @property
    def verdict(self) -> str:
        """All of it in one line."""
        known, where = self.facts.known, self.facts.settings["platform"].split(",")[0]
        if self.facts.backend_error:
            return f"NO BACKEND: JAX does not start ({self.facts.backend_error})."
        if self.healthy:
            count, devices = len(self.findings), len(self.facts.devices)
            also = f" (jaxlib {self.facts.versions['jaxlib']} is known for {known})" if known else ""
            return f"healthy: {_many(count, 'check')} right on {_many(devices, 'device')} ({where}).{also}"
        names = ", ".join(finding.name for finding in self.wrong)
        what = f"{names} on the {where} ({len(self.wrong)} of {_many(len(self.findings), 'check')})"
        if not self.wrong:
            what = f"known of jaxlib {self.facts.versions['jaxlib']} on the {where}, though no check met them here"
        return f"WRONG NUMBERS: {what}; do not train with this backend; {self._remedy()}."

    def _remedy(self) -> str:
        if self.facts.fault:
            return f"start with XLA_FLAGS={jaxlibs.MENDS} or install {jaxlibs.REMEDY}"
        flags = "try without XLA_FLAGS, or " if self.facts.settings["XLA_FLAGS"] != "none" else ""
        return f"{flags}install another jaxlib, such as {jaxlibs.REMEDY}"

    def as_dict(self) -> dict[str, Any]:
        """All of it as plain values, for JSON."""
        findings = [asdict(finding) | {"wrong": finding.wrong} for finding in self.findings]
        return {"healthy": self.healthy, "verdict": self.verdict, **self.facts._asdict(), "checks": findings}

    def __str__(self) -> str:
        """The table, and the verdict as its last line."""
        versions = ", ".join(f"{name} {number}" for name, number in self.facts.versions.items())
        rows = [("versions", versions), ("jaxlib", self.facts.known or "nothing bad is known of this release")]
        rows += [*self.facts.settings.items(), *(("device", device) for device in self.facts.devices)]
        lines = [line for name, text in rows for line in _wrapped(name, text)]
        for finding in self.findings:
            mark = "WRONG" if finding.wrong else "right"
            lines.append(f"{mark}  {finding.name:<26}{_many(finding.cases, 'program'):<13}{finding.seconds:>5.1f} s")
            lines += [f"       {difference}" for difference in finding.differences[:_SHOWN]]
            more = len(finding.differences) - _SHOWN
            lines += [f"       and {more} more"] if more > 0 else []
        return "\n".join([*lines, self.verdict])


def _many(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"


def _wrapped(name: str, text: str) -> list[str]:
    return textwrap.wrap(text, _WIDTH, initial_indent=f"{name:<12}", subsequent_indent=" " * 12, break_long_words=False)
