"""The conventions of the update rules: what each source means by a name, as data.

The recurrence of a rule is written once, in the rule's own file. A convention only answers the questions
that the sources answer differently: its `choices`, and the defaults of the rule's numbers.
"""

from types import SimpleNamespace
from typing import Any

from fnn.errors import check_choice, message
from fnn.optim.formula import Convention
from fnn.optim.table import TABLE

_BY_RULE = {row.rule: {other.name: other for other in TABLE if other.rule == row.rule} for row in TABLE}


def convention(name: str, rule: str) -> Convention:
    """The formula and the defaults of a rule as one source defines them.

    Args:
        name: "paper", "optax", "torch" or "keras"; also "lecture" for momentum and "tf1" for RMSProp.
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
    check_choice("rule", rule, _BY_RULE)
    check_choice("convention", name, _BY_RULE[rule])
    return _BY_RULE[rule][name]


def conventions(rule: str) -> tuple[str, ...]:
    """The names of all conventions of a rule.

    Example:
        >>> conventions("momentum")
        ('lecture', 'paper', 'optax', 'torch', 'keras')
    """
    check_choice("rule", rule, _BY_RULE)
    return tuple(_BY_RULE[rule])


def settle(rule: str, name: str, **arguments: Any) -> SimpleNamespace:
    """What a convention makes of a rule: its choices, and each argument with the default in place of None.

    Raises:
        ValueError: no such convention, or an argument that it does not have.

    Example:
        >>> settle("adagrad", "torch", eps=None, lr_decay=0.1)
        namespace(eps_inside=False, eps=1e-10, lr_decay=0.1)
    """
    form = convention(name, rule)
    for argument, value in arguments.items():
        if argument in form.defaults:
            arguments[argument] = form.defaults[argument] if value is None else value
        elif value is None:
            arguments[argument] = 0.0
        else:
            having = [repr(other.name) for other in _BY_RULE[rule].values() if argument in other.defaults]
            remedy = f"Give it with convention={' or '.join(having)}."
            raise ValueError(message(argument, "a value", f"None, as convention {name!r} has no {argument}", remedy))
    return SimpleNamespace(**form.choices, **arguments)
