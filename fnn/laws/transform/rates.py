"""Laws of the learning rate, of schedules, and of weight decay."""

from typing import Any

import jax
import jax.core
import jax.numpy as jnp
import numpy as np

from fnn.laws.cases import Case, example, tame
from fnn.laws.compare import at, close
from fnn.laws.statement import Broken, DoesNotApply, Law, law
from fnn.laws.transform.rule import Built, Rule


@law("learning_rate", "rate_linear", over=tame)
def rate_linear(rule: Rule, case: Case) -> None:
    """Twice the learning rate makes twice the update, with the lecture's rules to the bit; the rate 0 makes none."""
    plain, twice, none = (
        rule.decayed(learning_rate=rate).run(case.params, case.gradients).updates
        for rate in (rule.rate, 2 * rule.rate, 0.0)
    )
    tolerance = 0.0 if rule.family else 1e-6
    names = ("the update with 2 lr", "2 update")
    close(twice, jax.tree.map(lambda u: 2 * u, plain), tolerance, *names, beside=case.params)
    close(none, jax.tree.map(jnp.zeros_like, plain), tolerance, "the update with lr = 0", "0", beside=case.params)


@law("learning_rate")
def rate_types(rule: Rule) -> None:
    """The rate may be any kind of number, or a constant schedule: same updates, in the parameters' dtype."""
    kinds: dict[str, Any] = {
        "int": 1,
        "np.float32": np.float32(0.5),
        "np.float64": np.float64(0.5),
        "0-d NumPy array": np.array(0.5),
        "jnp scalar": jnp.float32(0.5),
    }
    if rule.trait("schedule").holds:
        kinds |= {"constant schedule": lambda _: 0.5, "schedule of an array": lambda _: jnp.float32(0.5)}
    for dtype, tolerance in (("float32", 1e-6), ("bfloat16", 2e-2)):
        case = example(steps=2).of(dtype)

        def updates(rate: Any, case: Case = case) -> Any:
            # Not compiled: each kind of number would be a program of its own.
            return rule.built(learning_rate=rate).run(case.params, case.gradients, eager=True).updates

        for kind, rate in kinds.items():
            there, plain = updates(rate), updates(1.0 if kind == "int" else 0.5)
            _same_dtypes(there, plain, f"with a rate of type {kind}")
            close(there, plain, tolerance, f"with a rate of type {kind}", "with a float")


def _same_dtypes(got: Any, plain: Any, what: str) -> None:
    for u, v in zip(jax.tree.leaves(got), jax.tree.leaves(plain), strict=True):
        if u.dtype != v.dtype:
            raise Broken(f"{what}, updates of {v.dtype} parameters are {u.dtype}")


@law("learning_rate", "schedule")
def schedule_from_zero(rule: Rule) -> None:
    """Update t asks the schedule for its rate at t, with t = 0, 1, 2, ... and no other."""
    asked: list[Any] = []

    def schedule(t: Any) -> Any:
        asked.append(t)
        return rule.rate

    case, built = example(steps=4), rule.built(learning_rate=schedule)
    state = built.init(case.params)
    for step, g in enumerate(case.gradients):
        asked.clear()
        _, state = built.update(g, state, case.params)
        if any(isinstance(t, jax.core.Tracer) for t in asked):
            raise DoesNotApply("it asks its schedule inside a compiled part, where the step cannot be seen")
        steps = sorted({int(t) for t in asked})
        if steps != [step]:
            raise Broken(f"update {step} asks the schedule for {steps or 'nothing'}")


@law("learning_rate", "schedule", "rate_linear")
def schedule_is_used(rule: Rule) -> None:
    """A rate of 1, 0, 1, ... times lr makes the first update of lr, and the second one smaller than lr's."""
    case = example()
    schedule = rule.built(learning_rate=lambda t: jnp.where(t % 2 == 0, rule.rate, 0.0))
    there = schedule.run(case.params, case.gradients, eager=True).updates
    plain = rule.standard.run(case.params, case.gradients, eager=True).updates
    close(there[0], plain[0], 1e-6, "the first update under the schedule", "with lr")
    pairs = [(np.asarray(a), np.asarray(b)) for a, b in zip(*map(jax.tree.leaves, (there[1], plain[1])), strict=True)]
    if any(b.any() for _, b in pairs) and all(np.array_equal(a, b) for a, b in pairs):
        raise Broken("at step 1, where the schedule is 0, the update is that of lr")


@law("learning_rate", "weight_decay", "decoupled_decay", over=tame)
def decoupled_decay(rule: Rule, case: Case) -> None:
    """Decoupled decay adds -lr weight_decay w to each update, w before the step, and nothing else."""
    decay = 0.25
    without = rule.built(weight_decay=0.0).run(case.params, case.gradients).updates
    there = rule.built(weight_decay=decay).run(case.params, case.gradients).updates
    for u, v in zip(there, without, strict=True):
        expected = {n: np.asarray(v[n]) - rule.rate * decay * case.params[n] for n in v}
        close(u, expected, 2e-6, "the update with weight_decay = 0.25", "update - lr weight_decay w")


@law("weight_decay", "elementwise", over=tame)
def no_decay(rule: Rule, case: Case) -> None:
    """With weight_decay = 0 the updates do not depend on the parameters."""
    built = rule.built(weight_decay=0.0)
    elsewhere = jax.tree.map(lambda w: w + 1, case.params)
    here = built.run(case.params, case.gradients).updates
    close(built.run(elsewhere, case.gradients).updates, here, 1e-6, "at other parameters", "here", beside=elsewhere)


def _simpler(rule: Rule) -> tuple[Built, Any, str]:
    """The rule with its memory switched off, what is left of it, and how that is called."""

    def sign(g: Any) -> Any:
        return -rule.rate * np.sign(g)

    if rule.claim.options[:1] in (("centered",), ("amsgrad",)):
        raise DoesNotApply(f"without memory there is nothing left of {rule.claim.options[0]}")
    if rule.family == "adam" and rule.takes("b1") and rule.takes("b2"):
        return rule.undecayed(b1=0.0, b2=0.0), sign, "b1 = b2 = 0"
    if rule.family == "rmsprop" and rule.takes("decay") and not rule.claim.numbers.get("momentum"):
        return rule.built(decay=0.0), sign, "decay = 0"
    if rule.claim.numbers.get("dampening"):
        raise DoesNotApply("with dampening it is not gradient descent")
    beta = next((name for name in ("beta", "momentum") if rule.takes(name)), None)
    if rule.family == "momentum" and beta:
        return rule.built(**{beta: 0.0}), lambda g: -rule.rate * g, f"{beta} = 0"
    raise DoesNotApply("it has no number that switches its memory off")


@law("learning_rate")
def degenerate(rule: Rule) -> str:
    """Without memory, momentum is gradient descent, and RMSProp and Adam step -lr sign(g), far above eps."""
    built, simple, how = _simpler(rule)
    case = example().times(2.0**14)
    updates = built.run(case.params, case.gradients, eager=True).updates
    for u, g in zip(updates, case.gradients, strict=True):
        for name in u:
            close(np.asarray(u[name]), simple(g[name]), 2e-6, f"{at(name)} with {how}", "the simpler rule")
    return how


LAWS: tuple[Law, ...] = (
    rate_linear,
    rate_types,
    schedule_from_zero,
    schedule_is_used,
    decoupled_decay,
    no_decay,
    degenerate,
)
