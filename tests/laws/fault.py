"""A planted fault: where, what is wrong, and the laws that must break."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from fnn.laws import Report, check_transform
from fnn.optim import convention
from tests.laws import rules


@dataclass(frozen=True)
class Fault:
    """One fault of one rule.

    Attributes:
        rule: the rule of `tests/laws/rules.py` that it is planted in.
        name: what plants it, `rule(..., fault=name)`; "" plants none.
        what: what is wrong, and where it really happened.
        caught_by: the laws that must break, the most telling first, in one string.
        options: further arguments of the rule.
        convention: the convention that it claims to follow; "" claims the rule alone, by its name.
        traits: traits that are known of it.
    """

    rule: str
    name: str
    what: str
    caught_by: str
    options: Mapping[str, Any] = field(default_factory=dict)
    convention: str = ""
    traits: Mapping[str, bool] = field(default_factory=dict)

    @property
    def laws(self) -> list[str]:
        """The names of the laws that must break."""
        return self.caught_by.split()

    def check(self, **arguments: Any) -> Report:
        """The law kit's report on it."""
        factory = partial(getattr(rules, self.rule), **self.options, fault=self.name)
        like = convention(self.convention, self.rule) if self.convention else None
        return check_transform(factory, like=like, traits=self.traits, **arguments)

    def __str__(self) -> str:
        """As `adam-no_correction`."""
        return f"{self.rule}-{self.name}" if self.name else "-".join([self.rule, *self.options])
