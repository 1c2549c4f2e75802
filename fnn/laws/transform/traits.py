"""What is known of a rule without being told: claimed by its name, or seen on a few ordinary gradients.

A trait is seen roughly, on ordinary numbers; its law then demands it exactly, everywhere. So a rule that is odd
but for awkward numbers is broken, and one that is not odd at all makes no such claim.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from fnn.laws.cases import Case, example
from fnn.laws.checking import Trait
from fnn.laws.compare import numbers
from fnn.laws.transform.rule import Built, Path, Rule

ODD = ("sgd", "momentum", "rmsprop", "adagrad", "adam")
LINEAR = ("sgd", "momentum")
ADAPTIVE = ("rmsprop", "adagrad", "adam")
_ROUGH = 0.01


def _claims(rule: Rule, families: tuple[str, ...]) -> Trait | None:
    return Trait(True, f"it claims to be {rule.family}") if rule.family in families else None


def _updates(built: Built, case: Case) -> list[Any]:
    return built.run(case.params, case.gradients).updates


def _alike(got: Any, expected: Any, tolerance: float = _ROUGH) -> bool:
    """Whether the numbers of two trees are nearly the same."""
    if jax.tree.structure(got) != jax.tree.structure(expected):
        return False
    pairs = [
        (numbers(a).ravel(), numbers(b).ravel()) for a, b in zip(*map(jax.tree.leaves, (got, expected)), strict=True)
    ]
    if any(a.shape != b.shape for a, b in pairs):
        return False
    a, b = (np.concatenate(column) if column else np.zeros(0) for column in zip(*pairs, strict=True))
    near = np.abs(a - b) <= tolerance * np.maximum(np.abs(a), np.abs(b)) + 1e-6 * np.abs(b).max(initial=0)
    return bool(near.all())


def _seen(name: str, check: Callable[[], bool]) -> Trait:
    try:
        holds = check()
    except Exception as error:
        return Trait(False, f"whether it is {name} could not be seen: {type(error).__name__}")
    return Trait(holds, f"it is {'' if holds else 'not '}{name}, as ordinary gradients show")


def zero_params(case: Case) -> Case:
    """The case with all parameters 0."""
    return Case(jax.tree.map(np.zeros_like, case.params), case.gradients)


def negated(case: Case) -> Case:
    """The case with parameters and gradients of the other sign."""
    params, gradients = jax.tree.map(lambda x: -x, (case.params, case.gradients))
    return Case(params, gradients)


def reordered(case: Case) -> Case:
    """The case with the elements of each leaf in the opposite order."""
    params, gradients = jax.tree.map(lambda x: x.ravel()[::-1].reshape(x.shape), (case.params, case.gradients))
    return Case(params, gradients)


def _is_odd(rule: Rule) -> bool:
    case = example()
    return _alike(_updates(rule.standard, negated(case)), jax.tree.map(lambda u: -u, _updates(rule.standard, case)))


def _is_elementwise(rule: Rule) -> bool:
    """A change in one coordinate, great or small, moves no other one."""
    case = example(steps=6)

    def others(factor: float) -> Any:
        params, gradients = jax.tree.map(np.copy, (case.params, case.gradients))
        for w in (params, *gradients):
            w["w"][0, 0] *= factor
        updates = _updates(rule.standard, Case(params, gradients))
        return [(u["w"].ravel()[1:], u["b"]) for u in updates]

    return all(_alike(others(factor), others(1.0), 1e-4) for factor in (-1000.0, -0.001))


def _scaled(rule: Rule, power: float, sizes: tuple[float, ...]) -> bool:
    """Gradients four times as large make updates `power` times as large, at each of these sizes."""

    def holds(size: float) -> bool:
        case = zero_params(example()).times(size)
        expected = jax.tree.map(lambda u: u * power, _updates(rule.undecayed(), case))
        return _alike(_updates(rule.undecayed(), case.times(4.0)), expected)

    return all(map(holds, sizes))


def _is_rate_linear(rule: Rule) -> bool:
    case = example()
    once, twice = (_updates(rule.decayed(learning_rate=rate), case) for rate in (rule.rate, 2 * rule.rate))
    return _alike(twice, jax.tree.map(lambda u: 2 * u, once))


def _is_decoupled(rule: Rule) -> bool:
    """The decay adds nearly -lr weight_decay times the parameters, whatever the gradients were.

    Of a rule that claims a name it may be any multiple: which one, is for the law to say.
    """
    case, decay = example(), rule.built(weight_decay=0.5 / rule.rate)
    without = _updates(rule.built(weight_decay=0.0), case)
    parts = [jax.tree.map(lambda a, b: a - b, u, v) for u, v in zip(_updates(decay, case), without, strict=True)]
    factors = [numbers(leaf) / case.params[name] for part in parts for name, leaf in part.items()]
    spread = np.concatenate([f.ravel() for f in factors])
    multiple = spread[0] if rule.family else -0.5
    return bool(multiple) and bool((np.abs(spread - multiple) < 0.01 * abs(multiple)).all())


def _guards(rule: Rule) -> bool:
    case = example()
    bad = jax.tree.map(lambda g: np.full_like(g, np.nan), case.gradients[0])
    first, _, third = rule.standard.run(case.params, [bad, case.gradients[0], bad]).updates
    return all(bool((numbers(u) == 0).all()) for u in jax.tree.leaves((first, third)))


def _descends(rule: Rule) -> bool:
    """The first update goes downhill."""
    case = example()
    trees = _updates(rule.undecayed(), case)[0], case.gradients[0]
    u, g = (np.concatenate([numbers(x).ravel() for x in jax.tree.leaves(tree)]) for tree in trees)
    return bool(u @ g < 0)


def _schedule(rule: Rule) -> Trait:
    if not rule.takes("learning_rate"):
        return Trait(False, "it takes no learning_rate")
    if rule.parameters["learning_rate"].annotation in (float, "float"):
        return Trait(False, "its learning rate is annotated as a float, so it takes no schedule")

    def check() -> bool:
        _updates(rule.built(learning_rate=lambda _: rule.rate), example())
        return True

    return _claims(rule, ODD) or _seen("taking a schedule", check)


def counters(state: Any) -> list[int]:
    """Which leaves of a state are integer scalars."""
    leaves = [jnp.asarray(x) if isinstance(x, int | np.integer) else x for x in jax.tree.leaves(state)]
    return [i for i, x in enumerate(leaves) if x.shape == () and jnp.issubdtype(x.dtype, jnp.integer)]


def slots(path: Path) -> list[list[np.ndarray]]:
    """Of each leaf of the state that is shaped like a parameter matrix, its values after each step."""
    columns = zip(*(jax.tree.leaves(state) for state in path.states), strict=True)
    shaped = [c for c in columns if np.shape(c[0]) == (2, 3)]
    return [[numbers(x) for x in c] for c in shaped if jnp.issubdtype(c[0].dtype, jnp.floating)]


def _argument(name: str) -> Callable[[Rule], Trait]:
    def infer(rule: Rule) -> Trait:
        if rule.factory is None:
            return Trait(False, f"a built transformation was given: its {name} cannot be changed. Give its factory.")
        return Trait(rule.takes(name), f"it takes no {name}")

    return infer


def _family(name: str) -> Callable[[Rule], Trait]:
    return lambda rule: Trait(rule.family == name, f"it does not claim to be {name} (like={name!r} would)")


def _probed(name: str, check: Callable[[Rule], bool], families: tuple[str, ...] = ()) -> Callable[[Rule], Trait]:
    return lambda rule: _claims(rule, families) or _seen(name, lambda: check(rule))


def _runs(rule: Rule) -> Trait:
    try:
        _updates(rule.standard, example())
    except Exception:
        return Trait(False, "it does not run")
    return Trait(True, "it runs")


def _decay(rule: Rule) -> Trait:
    if rule.claim.convention is not None:
        holds = "decoupled" in rule.claim.options
        return Trait(holds, f"it claims {'decoupled' if holds else 'coupled'} decay")
    return _seen("of decoupled decay", lambda: _is_decoupled(rule))


INFERRED: dict[str, Callable[[Rule], Trait]] = {
    "runs": _runs,
    "factory": lambda rule: Trait(rule.factory is not None, "a built transformation was given, not its factory"),
    "learning_rate": _argument("learning_rate"),
    "weight_decay": _argument("weight_decay"),
    "centered": _argument("centered"),
    "numbers": lambda rule: Trait(
        rule.factory is not None and bool(rule.hyperparams), "there is no float argument of a factory"
    ),
    "odd": _probed("odd", _is_odd, ODD),
    "elementwise": _probed("elementwise", _is_elementwise, ODD),
    "linear": _probed("linear in the gradient", lambda rule: _scaled(rule, 4.0, (2.0**-10, 1.0, 2.0**14)), LINEAR),
    "scale_invariant": _probed(
        "indifferent to the gradient's scale", lambda rule: _scaled(rule, 1.0, (2.0**14,)), ADAPTIVE
    ),
    "rate_linear": _probed("linear in the learning rate", _is_rate_linear, ODD),
    "decoupled_decay": _decay,
    "guards": _probed("a guard against NaN", _guards),
    "descends": _probed("going downhill", _descends, ODD),
    "schedule": _schedule,
    "counter": lambda rule: Trait(
        bool(counters(rule.standard.init(example().params))), "its state has no counter of steps"
    ),
    "sees_params": lambda rule: Trait(
        any(np.shape(x) == (2, 3) for x in jax.tree.leaves(rule.standard.init(example().params))),
        "its state has nothing of the parameters' shape to compare with",
    ),
    "convention": lambda rule: Trait(
        rule.claim.convention is not None, "it claims no convention (like=fnn.optim.convention(...) would)"
    ),
    **{name: _family(name) for name in ODD},
}
"""How each trait of a rule is inferred."""
