"""The check of a training step."""

from collections.abc import Iterable, Mapping
from typing import Any

from fnn.laws.checking import check_laws
from fnn.laws.report import Report
from fnn.laws.statement import Law
from fnn.laws.step import carried, learning
from fnn.laws.step.subject import Stepper

LAWS: tuple[Law, ...] = (*carried.LAWS, *learning.LAWS)


def check_step(
    step: Any,
    state: Any,
    batch: Any,
    *,
    traits: Mapping[str, bool] | None = None,
    expected: Mapping[str, str] | None = None,
    laws: Iterable[str | Law] | None = None,
) -> Report:
    """Checks a training step (state, batch) -> (state, metrics) against the laws of steps.

    The state keeps its structure and types, may be donated, saved and restored; one trace; the same numbers
    under jit, scan and vmap; noise is new each step; metrics are true, and NaN shows in them; the loss falls.

    Args:
        step: as `fnn.train.make_step` makes it, or your own, not jitted.
        state: any tree of arrays; what concerns counting, keys and gradients is checked where it is a
            NamedTuple with `step`, `params` and `key`, as `fnn.train.TrainState` is.
        batch: any tree of arrays; best a real one, on which the step can learn.
        traits: traits as you know them, by name; the others are seen.
            "noisy": it draws noise, with a typed key in the state;
            "per_example": the order of a batch does not matter; taken for granted where there is no noise;
            "descends": it lowers the loss; taken for granted;
            "fields": the state's `step`, `params` and `key` mean what they mean in a `TrainState`;
            "loss", "grad_norm", "finite": its metrics have these.
        expected: laws that are known to be broken, each with the reason; one that holds is an error.
        laws: names of the laws to check, or laws of your own made with `fnn.laws.law`; None checks all.

    Returns:
        A report with a row for each law. `print(report)` shows it; `report.raise_if_broken()` is for tests.

    Raises:
        ValueError, TypeError: not a function, no state or batch, unknown names.

    Example:
        A step whose counter becomes a float, so that scan refuses it:

        >>> import fnn
        >>> def step(state, batch):
        ...     loss = lambda w: jnp.mean((batch * w - 1) ** 2)
        ...     w = state["w"] - 0.1 * jax.grad(loss)(state["w"])
        ...     return {"w": w, "steps": state["steps"] + 1.0}, {"loss": loss(w)}
        >>> state = {"w": jnp.array(0.0), "steps": jnp.array(0)}
        >>> report = check_step(step, state, jnp.array([1.0, 2.0]), laws=["state_is_a_fixed_point", "jit_is_eager"])
        >>> for row in report.rows:
        ...     print(row.law, "|", row.verdict, "|", row.note)
        state_is_a_fixed_point | broken | after steps: () float32 weak=True, before () int32 weak=True
        jit_is_eager | held |
    """
    return check_laws(Stepper(step, state, batch, traits), LAWS, laws=laws, expected=expected, examples=1)
