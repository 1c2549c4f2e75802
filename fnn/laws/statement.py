"""What a law is: a statement that a function checks, and the traits without which it says nothing."""

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


class Broken(Exception):  # noqa: N818
    """A law does not hold; the message has the numbers. A law's function raises it."""


class DoesNotApply(Exception):  # noqa: N818
    """A law says nothing here; the message is the reason. A law's function raises it."""


@dataclass(frozen=True)
class Law:
    """One law; `fnn.laws.law` makes it of a function.

    Attributes:
        name: the function's name.
        statement: the function's docstring, in one line.
        check: `check(subject)`, or `check(subject, case)` of a law that is searched for a counterexample. It
            raises `Broken` or `DoesNotApply`, and may return a note for the report.
        needs: the traits without which the law does not apply.
        over: makes the Hypothesis strategy of the cases, or None.
    """

    name: str
    statement: str
    check: Callable[..., str | None]
    needs: tuple[str, ...] = ()
    over: Callable[[], Any] | None = None


def law(*needs: str, over: Callable[[], Any] | None = None) -> Callable[[Callable[..., str | None]], Law]:
    """Makes a law of a function; its docstring is the statement.

    Args:
        needs: names of traits without which the law does not apply.
        over: makes a Hypothesis strategy; each example is the function's second argument.

    Example:
        A law of one's own, for a rule whose steps shall never exceed its learning rate:

        >>> from fnn.laws import Broken, check_transform, law
        >>> @law("learning_rate")
        ... def small_steps(rule):
        ...     '''No step is longer than the learning rate.'''
        ...     gradients = [{"w": jnp.array([3.0])}] * 2
        ...     for u in rule.standard.run({"w": jnp.zeros(1)}, gradients).updates:
        ...         if abs(u["w"][0]) > rule.hyperparams["learning_rate"]:
        ...             raise Broken(f"a step of {u['w'][0]}")
        >>> print(check_transform(fnn.optim.sgd, laws=[small_steps]).rows[0].verdict)
        broken
    """

    def make(check: Callable[..., str | None]) -> Law:
        statement = " ".join(inspect.cleandoc(check.__doc__ or "").split())
        return Law(check.__name__, statement, check, needs, over)

    return make
