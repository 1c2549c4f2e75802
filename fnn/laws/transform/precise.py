"""Laws of numbers: zeros, extremes, low precision, counters, derivatives."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from fnn.laws.cases import Case, example, nonzero, wild
from fnn.laws.compare import close, finite, numbers, same, show
from fnn.laws.probes import copied
from fnn.laws.statement import Broken, Law, law
from fnn.laws.transform.rule import Built, Rule
from fnn.laws.transform.structure import DTYPES, precision
from fnn.laws.transform.traits import counters, zero_params


@law()
def zero_gradient_is_finite(rule: Rule) -> None:
    """Zero gradients give finite updates and a finite state, at zero parameters too, in every precision."""
    for dtype in DTYPES:
        with precision(dtype):
            for scale in (0, 1):
                params = jax.tree.map(lambda w, scale=scale: scale * w, copied(example().of(dtype).params))
                zero = jax.tree.map(jnp.zeros_like, params)
                path = rule.standard.run(params, [zero, zero])
                finite(path.updates, f"a zero gradient's update in {dtype}")
                _stays_finite(path.states, f"the state after a zero gradient in {dtype}")


def _stays_finite(states: Any, what: str) -> None:
    """What was finite in the fresh state is finite later."""
    fresh = [np.isfinite(numbers(x)).all() for x in jax.tree.leaves(states[0])]
    for state in states[1:]:
        finite([x if ok else () for x, ok in zip(jax.tree.leaves(state), fresh, strict=True)], what)


@law("odd")
def zero_gradient_rests(rule: Rule) -> None:
    """At zero parameters, zero gradients give exactly zero updates, in every precision."""
    for dtype in DTYPES:
        with precision(dtype):
            zero = jax.tree.map(jnp.zeros_like, copied(example().of(dtype).params))
            same(
                rule.standard.run(zero, [zero, zero]).updates, [zero, zero], f"a zero gradient's update in {dtype}", "0"
            )


@law()
def extremes_are_survived(rule: Rule) -> None:
    """Gradients of 1e-30, 1e20 and 1e30 give finite updates, and leave a finite state: no weight freezes for good."""
    case = example()
    for size in (1e-30, 1e20, 1e30):
        path = rule.standard.run(case.params, [*case.times(size).gradients[:1], *case.gradients[:2]])
        finite(path.updates, f"the update at or after a gradient of {size:g}")
        _stays_finite(path.states, f"the state after a gradient of {size:g}")


@law("counter")
def counters_saturate(rule: Rule) -> None:
    """A counter of steps is int32, stays at 2^31 - 1, and the updates there are finite and those of a step before."""
    case = example(steps=4)
    path = rule.standard.run(case.params, case.gradients[:2])
    leaves, treedef = jax.tree.flatten(path.states[-1])
    places = counters(path.states[-1])
    start = jax.tree.leaves(path.states[0])
    places = [i for i in places if int(leaves[i]) == int(start[i]) + 2]
    for i in places:
        if leaves[i].dtype != jnp.int32:
            raise Broken(f"a counter is {leaves[i].dtype}")
        leaves[i] = jnp.array(2**31 - 2, jnp.int32)
    steady = [case.gradients[0]] * 4
    late = rule.standard.run(case.params, steady, state=treedef.unflatten(leaves))
    for state in late.states:
        for i in places:
            if int(jax.tree.leaves(state)[i]) < 2**31 - 2:
                raise Broken(f"after 2^31 - 1 steps a counter is {int(jax.tree.leaves(state)[i])}")
    with precision("float64"):
        wide = jax.tree.leaves(rule.standard.init(example().of(np.float64).params))
    if any(wide[i].dtype != jnp.int32 for i in places):
        raise Broken("with 64 bits a counter is int64")
    finite(late.updates, "the update after 2^31 - 1 steps")
    if rule.trait("elementwise").holds and rule.trait("odd").holds:
        close(late.updates[1:], late.updates[:-1], 0.9, "the update at the end of the counter", "the one before")


@law("odd", "elementwise", over=nonzero)
def float32_first_steps(rule: Rule, case: Case) -> None:
    """The first updates in float32 are those of float64 to 1e-6: nothing cancels."""
    case = zero_params(case)
    with precision("float64"):
        wide = case.of(np.float64)
        exact = jax.tree.map(numbers, _rounded(rule).run(wide.params, wide.gradients).updates)
    close(rule.undecayed().run(case.params, case.gradients).updates, exact, 1e-6, "in float32", "in float64")


def _rounded(rule: Rule) -> Built:
    """The rule without decay, with the numbers that float32 makes of its numbers: 0.999 is 0.99900001."""
    numbers = {} if rule.factory is None else rule.hyperparams
    return rule.undecayed(**{n: float(np.float32(v)) for n, v in numbers.items() if n != "weight_decay"})


def _long(dtype: Any, steps: int, holds: Any) -> Case:
    """Many random gradients that the narrow dtype holds exactly; a third of them are 0."""
    rng = np.random.default_rng(1)
    g = rng.normal(size=(steps, 8)) * (rng.random(size=(steps, 8)) > 1 / 3)
    g = np.asarray(jnp.asarray(g, holds).astype(jnp.float32)).astype(dtype)
    return Case({"w": np.zeros(8, dtype)}, ({"w": g},))


def _last(built: Built, case: Case) -> np.ndarray:
    (gradients,) = case.gradients
    _, updates = built.scan(case.params, gradients)
    return numbers(updates["w"])[-100:]


@law("odd", "elementwise")
def float32_stays_right(rule: Rule) -> None:
    """After 1,000 steps in float32, the last 100 updates are those of float64 to 1e-5."""
    with precision("float64"):
        exact = _last(_rounded(rule), _long(np.float64, 1000, jnp.float32))
    close(_last(rule.undecayed(), _long(np.float32, 1000, jnp.float32)), exact, 1e-5, "in float32", "in float64")


@law("odd", "elementwise")
def accumulators_are_wide(rule: Rule) -> None:
    """For float16 and bfloat16 parameters, the last 100 of 1,000 updates are those of float32, rounded once."""
    for dtype in (jnp.bfloat16, jnp.float16):
        wide = _last(rule.standard, _long(np.float32, 1000, dtype))
        narrow = _last(rule.standard, _long(dtype, 1000, dtype))
        info = jnp.finfo(dtype)
        # A number is rounded to half a unit; a product with the rate in the narrow dtype adds another half.
        apart = np.abs(narrow - wide) > float(info.eps) * np.abs(wide) + float(info.smallest_subnormal)
        if apart.any():
            place = tuple(np.argwhere(apart)[0])
            raise Broken(
                f"in {jnp.dtype(dtype).name} an update is {show(narrow[place])}, in float32 {show(wide[place])}"
            )


@law()
def differentiable(rule: Rule) -> None:
    """The updates' derivative with respect to the gradients is finite, under jax.checkpoint too."""
    case, built = example(), rule.standard
    for slope in (built.slope, jax.jit(jax.grad(jax.checkpoint(built.summed)))):
        finite(slope(case.gradients[:2], case.params), "the derivative with respect to the gradient")


@law()
def differentiable_at_zero(rule: Rule) -> None:
    """That derivative is finite at a zero gradient too, as learning to learn needs it."""
    case = example()
    zero = jax.tree.map(np.zeros_like, case.gradients[:2])
    for params in (case.params, zero[0]):
        finite(rule.standard.slope(zero, params), "the derivative with respect to a zero gradient")


@law("learning_rate", "rate_linear")
def rate_derivative(rule: Rule) -> None:
    """The updates' derivative with respect to the learning rate is update / rate."""
    case, rate = example(), jnp.float32(rule.rate)

    def updates(rate: Any) -> Any:
        built = rule.built(learning_rate=rate)
        return built.update(case.gradients[0], built.init(case.params), case.params)[0]

    u, slope = jax.jit(lambda rate: jax.jvp(updates, (rate,), (jnp.ones_like(rate),)))(rate)
    beside = jax.tree.map(lambda w: w / rate, case.params)
    close(slope, jax.tree.map(lambda x: x / rate, u), 1e-5, "d update / d rate", "update / rate", beside=beside)


@law("centered")
def centered_variance(rule: Rule) -> None:
    """A constant gradient, whose variance is 0, gives finite updates with centered=True, compiled or not."""
    built, g = rule.built(centered=True), np.logspace(-3, 3, 512, dtype=np.float32)
    _, compiled = built.scan({"w": np.zeros_like(g)}, {"w": np.tile(g, (1000, 1))})
    # A compiler may fuse a product and a sum, and so round differently from step by step.
    eager = built.run({"w": np.zeros_like(g)}, [{"w": g}] * 200, eager=True).updates
    for updates in (numbers(compiled["w"]), np.array([numbers(u["w"]) for u in eager])):
        bad = np.argwhere(~np.isfinite(updates))
        if len(bad):
            step, i = bad[0]
            raise Broken(f"a constant gradient of {show(g[i])} gives {show(updates[step, i])} at step {step}")


@law(over=wild)
def updates_are_finite(rule: Rule, case: Case) -> None:
    """Gradients from 1e-30 to 1e18, in any order, give finite updates."""
    finite(rule.standard.run(case.params, case.gradients).updates, "the update")


LAWS: tuple[Law, ...] = (
    zero_gradient_is_finite,
    zero_gradient_rests,
    updates_are_finite,
    extremes_are_survived,
    counters_saturate,
    float32_first_steps,
    float32_stays_right,
    accumulators_are_wide,
    differentiable,
    differentiable_at_zero,
    rate_derivative,
    centered_variance,
)
