"""The check of a loss."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

from fnn.errors import check_count
from fnn.laws.checking import check_laws
from fnn.laws.loss import meaning, numbers, shape
from fnn.laws.loss.kinds import Kind
from fnn.laws.loss.subject import Loss
from fnn.laws.report import Report
from fnn.laws.statement import Law

LAWS: tuple[Law, ...] = (*shape.LAWS, *numbers.LAWS, *meaning.LAWS)


def check_loss(
    loss: Any,
    *,
    kind: str | None = None,
    expected: Mapping[str, str] | None = None,
    laws: Iterable[str | Law] | None = None,
    examples: int = 20,
) -> Report:
    """Checks a loss of (outputs, targets) against the laws of losses.

    One value per example; values and gradients that are finite and right at every finite input, in every
    precision; nothing broadcasts and no label out of range passes; the right answer costs least and each
    gradient leads there; the same numbers under jit and vmap.

    Args:
        loss: (outputs, targets) to one value per example: `fnn.losses.huber`, Optax's, your own.
        kind: what it takes, n examples each:
            "regression": predictions and targets (n,), both floating;
            "binary": probabilities (n,), labels 0 and 1; "binary logits": logits (n,), the same labels;
            "signs": scores (n,), labels -1 and 1;
            "classes": probabilities (n, classes), integer labels (n,) or rows of probabilities;
            "class logits": logits instead; "class scores": scores with margins.
            None takes it from the name for fnn and Optax, else tries which kinds the loss accepts.
        expected: laws that are known to be broken, each with the reason; one that holds is an error.
        laws: names of the laws to check, or laws of your own made with `fnn.laws.law`; None checks all.
        examples: how many cases Hypothesis tries for each law that it searches.

    Returns:
        A report with a row for each law. `print(report)` shows it; `report.raise_if_broken()` is for tests.

    Raises:
        ValueError, TypeError: not a function, a loss of no kind or of several, unknown names.
        ImportError: Hypothesis is not installed.

    Example:
        >>> naive = lambda x, y: -jnp.log(jnp.where(y == 1, jax.nn.sigmoid(x), 1 - jax.nn.sigmoid(x)))
        >>> report = check_loss(naive, kind="binary logits", laws=["one_value_per_example", "finite_value"])
        >>> for row in report.rows:
        ...     print(row.law, "|", row.verdict, "|", row.note)
        one_value_per_example | held |
        finite_value | broken | output 10000., target 0.: the value is inf
    """
    check_count("examples", examples)
    subject = Loss(loss, kind)
    known: dict[Any, Law] = {law: _of_kind(law, subject.kind) for law in LAWS}
    asked = laws if laws is None or isinstance(laws, str | Law) else [known.get(law, law) for law in laws]
    return check_laws(subject, list(known.values()), laws=asked, expected=expected, examples=examples)


def _of_kind(law: Law, kind: Kind) -> Law:
    """The law, searched among cases of this kind."""
    cases: Any = law.over
    return law if cases is None else replace(law, over=partial(cases, kind))
