"""The check of a gradient transformation."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from fnn.errors import check_choice, check_count
from fnn.laws.checking import check_laws
from fnn.laws.report import Report
from fnn.laws.statement import Law
from fnn.laws.transform import bounds, convergence, precise, purity, rates, structure, symmetry
from fnn.laws.transform.rule import Rule
from fnn.laws.transform.traits import INFERRED
from fnn.optim import Convention

_OTHERS = (structure, purity, precise, symmetry, rates, bounds, convergence)
# Of a rule that does not run, the other laws say nothing.
LAWS: tuple[Law, ...] = (
    structure.runs,
    *(replace(law, needs=("runs", *law.needs)) for module in _OTHERS for law in module.LAWS),
)


def check_transform(
    factory_or_tx: Any,
    *,
    hyperparams: Mapping[str, Any] | None = None,
    like: str | Convention | None = None,
    traits: Mapping[str, bool] | None = None,
    expected: Mapping[str, str] | None = None,
    laws: Iterable[str | Law] | None = None,
    examples: int = 20,
    name: str = "",
    extra: Mapping[str, Any] | None = None,
) -> Report:
    """Checks a gradient transformation against the laws of update rules.

    Give the factory rather than what it returns: its learning rate and other numbers are then varied too.
    What a rule is, which decides the laws that apply to it, is inferred: from its name where it is one of the
    lecture's (`optax.adam`, `my_module.rmsprop`), else from how it acts on a few ordinary gradients. `like`
    and `traits` overrule that.

    Args:
        factory_or_tx: such as `optax.adam`, or a built `optax.GradientTransformation`.
        hyperparams: the factory's arguments; a learning rate that it needs and is not given is 0.1.
        like: the rule that it claims to be, "sgd", "momentum", "rmsprop", "adagrad" or "adam"; or a convention,
            `fnn.optim.convention("torch", "adam")`, whose equations it must then follow.
        traits: traits as you know them, by name: `{"odd": False}`.
        expected: laws that are known to be broken, each with the reason; one that holds is an error.
        laws: names of the laws to check, or laws of your own made with `fnn.laws.law`; None checks all.
        examples: how many cases Hypothesis tries for each law that it searches.
        name: what the report calls it.
        extra: further keyword arguments of `update`, such as `{"value": 1.0}`.

    Returns:
        A report with a row for each law. `print(report)` shows it; `report.raise_if_broken()` is for tests.

    Raises:
        ValueError, TypeError: not a transformation, arguments that it does not have or lacks, unknown names.
        ImportError: Hypothesis is not installed.

    Example:
        >>> import fnn
        >>> report = check_transform(fnn.optim.sgd, laws=["odd", "rate_linear", "decoupled_decay"])
        >>> for row in report.rows:
        ...     print(row.law, "|", row.verdict, "|", row.note)
        odd | held |
        rate_linear | held |
        decoupled_decay | does not apply | it takes no weight_decay
    """
    check_count("examples", examples)
    for trait in traits or {}:
        check_choice("traits", trait, INFERRED)
    rule = Rule(factory_or_tx, INFERRED, name=name, hyperparams=hyperparams, like=like, traits=traits, extra=extra)
    return check_laws(rule, LAWS, laws=laws, expected=expected, examples=examples)
