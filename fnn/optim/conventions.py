"""The conventions of the update rules: what each source means by a name, as data.

The recurrence of a rule is written once, in the rule's own file. A convention only answers the questions
that the sources answer differently: its `choices`, and the defaults of the rule's numbers.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from fnn.errors import check_choice


@dataclass(frozen=True)
class Convention:
    """How one source defines one rule; `print` shows it.

    Attributes:
        name: the convention, such as "paper".
        rule: the rule, such as "adam".
        equations: the update as the source writes it, g the gradient, w the parameter, t from 1.
        defaults: the numbers that an argument left None takes.
        choices: the answers that select a form of the rule.
        source: where it is written.
    """

    name: str
    rule: str
    equations: tuple[str, ...]
    defaults: Mapping[str, float]
    choices: Mapping[str, bool]
    source: str

    def __str__(self) -> str:
        """The equations, the defaults and the source, a line each."""
        numbers = ", ".join(f"{name} = {value:g}" for name, value in self.defaults.items())
        lines = [f"{self.rule}, convention {self.name!r}", *(f"  {line}" for line in self.equations)]
        return "\n".join([*lines, f"  defaults: {numbers or 'none'}", f"  source: {self.source}"])


def convention(name: str, rule: str) -> Convention:
    """The formula and the defaults of a rule as one source defines them.

    Args:
        name: "lecture" (momentum only) or "paper".
        rule: "momentum", "rmsprop", "adagrad" or "adam".

    Raises:
        ValueError: no such rule, or no such convention of it; the nearest names are listed.

    Example:
        >>> print(convention("lecture", "momentum"))
        momentum, convention 'lecture'
          v <- beta v + (1 - beta) g
          w <- w - lr v
          nesterov: w <- w - lr (beta v + (1 - beta) g)
          defaults: none
          source: the lecture; an exponential moving average of the gradient
    """
    check_choice("rule", rule, _TABLE)
    check_choice("convention", name, _TABLE[rule])
    return _TABLE[rule][name]


def conventions(rule: str) -> tuple[str, ...]:
    """The names of all conventions of a rule.

    Example:
        >>> conventions("momentum")
        ('lecture', 'paper')
    """
    check_choice("rule", rule, _TABLE)
    return tuple(_TABLE[rule])


def _table(*rows: Convention) -> Mapping[str, Mapping[str, Convention]]:
    table: dict[str, dict[str, Convention]] = {}
    for row in rows:
        frozen = Convention(
            row.name, row.rule, row.equations, MappingProxyType(row.defaults), MappingProxyType(row.choices), row.source
        )
        table.setdefault(row.rule, {})[row.name] = frozen
    return table


_TABLE = _table(
    Convention(
        name="lecture",
        rule="momentum",
        equations=(
            "v <- beta v + (1 - beta) g",
            "w <- w - lr v",
            "nesterov: w <- w - lr (beta v + (1 - beta) g)",
        ),
        defaults={},
        choices={"average": True, "rate_inside": False},
        source="the lecture; an exponential moving average of the gradient",
    ),
    Convention(
        name="paper",
        rule="momentum",
        equations=("v <- beta v - lr g", "w <- w + v", "nesterov: w <- w + beta v - lr g"),
        defaults={},
        choices={"average": False, "rate_inside": True},
        source="Sutskever et al. 2013, equations 1 to 4 (Nesterov's at the look-ahead point, Bengio et al. 2013)",
    ),
    Convention(
        name="paper",
        rule="rmsprop",
        equations=(
            "v <- decay v + (1 - decay) g^2",
            "centered: m <- decay m + (1 - decay) g, and v - m^2 in place of v below",
            "u <- momentum u + lr g / (sqrt(v) + eps)",
            "w <- w - u",
        ),
        defaults={"decay": 0.9, "eps": 1e-8},
        choices={},
        source="Tieleman and Hinton 2012, lecture 6.5; centered and momentum: Graves 2013, equations 38 to 45",
    ),
    Convention(
        name="paper",
        rule="adagrad",
        equations=("G <- G + g^2, from initial_accumulator", "w <- w - lr g / (sqrt(G) + eps)"),
        defaults={"eps": 1e-8, "initial_accumulator": 0.0},
        choices={},
        source="Duchi et al. 2011, section 1.2, diagonal form",
    ),
    Convention(
        name="paper",
        rule="adam",
        equations=(
            "m <- b1 m + (1 - b1) g",
            "v <- b2 v + (1 - b2) g^2",
            "w <- w - lr ((m / (1 - b1^t)) / (sqrt(v / (1 - b2^t)) + eps) + weight_decay w)",
        ),
        defaults={"eps": 1e-8},
        choices={},
        source="Kingma and Ba 2015, algorithm 1; the decay: Loshchilov and Hutter 2019, algorithm 2",
    ),
)
