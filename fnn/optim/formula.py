"""What a convention of an update rule is: equations to read, defaults, and the answers that choose a form."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any


@dataclass(frozen=True)
class Convention:
    """How one source defines one rule; `print` shows it.

    Attributes:
        name: the convention, such as "paper".
        rule: the rule, such as "adam".
        equations: the update as the source writes it, g the gradient, w the parameter, t from 1.
        defaults: what an argument left None takes; an argument without a default here is of other conventions.
        choices: the answers that select a form of the rule.
        source: where it is written.
    """

    name: str
    rule: str
    equations: tuple[str, ...]
    defaults: Mapping[str, Any]
    choices: Mapping[str, bool]
    source: str

    def __post_init__(self) -> None:
        # Nobody changes a row: it is what everybody's optimizers are made of.
        for field in ("defaults", "choices"):
            object.__setattr__(self, field, MappingProxyType(dict(getattr(self, field))))

    def __str__(self) -> str:
        """The equations, the defaults and the source, a line each."""
        numbers = ", ".join(f"{name} = {_brief(value)}" for name, value in self.defaults.items())
        lines = [f"{self.rule}, convention {self.name!r}", *(f"  {line}" for line in self.equations)]
        return "\n".join([*lines, f"  defaults: {numbers or 'none'}", f"  source: {self.source}"])


def _brief(value: Any) -> str:
    return str(value) if isinstance(value, bool) else f"{value:g}"
