"""Laws of size: closed forms, limits and bounds of the rules of the lecture, in float64."""

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np

from fnn.laws.cases import Case, example, tame, wild
from fnn.laws.compare import close, numbers, show
from fnn.laws.statement import Broken, DoesNotApply, Law, law
from fnn.laws.transform.oracle import Oracle
from fnn.laws.transform.rule import Built, Rule
from fnn.laws.transform.structure import precision
from fnn.laws.transform.traits import slots

_ABOVE_EPS = 2.0**30


def _wide(built: Built, gradients: Sequence[np.ndarray], w: np.ndarray | None = None) -> np.ndarray:
    """The updates of one leaf in float64, the parameters 0."""
    with precision("float64"):
        rows = [np.asarray(g, np.float64) for g in gradients]
        return np.array([numbers(u) for u in built.run(np.zeros_like(rows[0]) if w is None else w, rows).updates])


def _number(rule: Rule, *names: str) -> float:
    """The first of these numbers that the rule has; without one it does not apply."""
    for name in names:
        if name in rule.claim.numbers:
            return float(rule.claim.numbers[name])
        if name in rule.hyperparams:
            return rule.hyperparams[name]
    raise DoesNotApply(f"it has no number called {' or '.join(names)}")


@law("learning_rate", over=tame)
def first_step(rule: Rule, case: Case) -> str:
    """Far above eps, the first step is -lr sign(g), of RMSProp -lr sign(g) / sqrt(1 - decay), of descent -lr g."""
    g = case.gradients[0]["w"].astype(np.float64) * _ABOVE_EPS
    (u,) = _wide(rule.undecayed(), [g])
    if rule.family in ("adam", "adagrad"):
        size, expected = "-lr sign(g)", -rule.rate * np.sign(g)
        form = rule.claim.convention
        if "amsgrad" in rule.claim.options and not (form and form.choices["amsgrad_corrected"]):
            raise DoesNotApply("AMSGrad may do without bias correction")
    elif rule.family == "rmsprop":
        decay = _number(rule, "decay", "rho", "alpha", "decay_rate")
        left = (1 - decay) * (decay if "centered" in rule.claim.options else 1)
        size, expected = "-lr sign(g) / sqrt(1 - decay)", -rule.rate * np.sign(g) / np.sqrt(left)
    elif rule.family == "sgd":
        size, expected = "-lr g", -rule.rate * g
    elif rule.family == "momentum":
        return _first_momentum(rule, u, g)
    else:
        raise DoesNotApply("no closed form is known for its first step")
    close(u, expected, 1e-11, "the first step", size)
    return size


def _first_momentum(rule: Rule, u: np.ndarray, g: np.ndarray) -> str:
    """Momentum's first step is -lr g times what its conventions agree to call momentum."""
    beta = _number(rule, "beta", "momentum", "decay")
    damped = 1 - rule.claim.numbers.get("dampening", 0.0)
    sizes = {"1": 1.0, "1 - beta": 1 - beta, "1 + beta": 1 + beta, "1 - beta^2": 1 - beta**2, "1 - dampening": damped}
    for name, size in sizes.items():
        if np.allclose(u, -rule.rate * size * g, rtol=1e-11, atol=0):
            return f"{name} times -lr g"
    largest = np.abs(g).argmax()
    factor = u.flat[largest] / (-rule.rate * g.flat[largest])
    raise Broken(f"the first step is {show(factor)} times -lr g, which is none of {', '.join(sizes)}")


@law("learning_rate")
def constant_gradient(rule: Rule) -> str:
    """Under a constant gradient the steps follow their closed form, and tend to their limit."""
    g, steps = np.array([3.0, -0.5]) * _ABOVE_EPS, 300
    u = _wide(rule.undecayed(), [g] * steps)
    t = np.arange(1, steps + 1)[:, None]
    if rule.family == "momentum":
        return _geometric(rule, u, g)
    if rule.family == "adam" and "amsgrad" not in rule.claim.options:
        form, size = "-lr sign(g)", np.ones_like(t)
    elif rule.family == "adagrad" and not rule.claim.numbers.get("lr_decay"):
        form, size = "-lr sign(g) / sqrt(t)", 1 / np.sqrt(t)
    elif rule.family == "rmsprop" and not rule.claim.numbers.get("momentum") and "centered" not in rule.claim.options:
        decay = _number(rule, "decay", "rho", "alpha", "decay_rate")
        form, size = "-lr sign(g) / sqrt(1 - decay^t)", 1 / np.sqrt(1 - decay**t)
    elif rule.family == "sgd":
        form, size = "-lr g", np.abs(g) * np.ones_like(t)
    else:
        raise DoesNotApply("no closed form is known for it")
    close(u, -rule.rate * np.sign(g) * size, 1e-9, "steps under a constant gradient", form)
    return form


def _geometric(rule: Rule, u: np.ndarray, g: np.ndarray) -> str:
    """Momentum's steps come nearer to their limit by the factor beta, to lr g / (1 - beta) or lr g."""
    beta = _number(rule, "beta", "momentum", "decay")
    change = np.diff(u[:60], axis=0)
    if beta and not change.any() and rule.claim.numbers.get("dampening", 0.0) != beta:
        raise Broken(f"with beta = {show(beta)} all steps are the same")
    if beta and np.abs(change).max():
        # The first change may be another, of a buffer that starts with the gradient, or of a look-ahead.
        close(change[2:], beta * change[1:-1], 1e-6, "the change of the step", "beta times the one before")
    limits = {"lr g / (1 - beta)": 1 / (1 - beta), "lr g": 1.0}
    limits["lr (1 - dampening) g / (1 - beta)"] = (1 - rule.claim.numbers.get("dampening", 0.0)) / (1 - beta)
    for name, size in limits.items():
        if np.allclose(u[-1], -rule.rate * size * g, rtol=1e-9):
            return f"the limit is {name}"
    raise Broken(f"the limit is {show(u[-1, 0] / (-rule.rate * g[0]))} lr g, not {' or '.join(limits)}")


@law("learning_rate", "adam", over=wild)
def step_bound(rule: Rule, case: Case) -> None:
    """Adam's step is at most lr (1-b1)/sqrt(1-b2) sqrt((1-r^t)/(1-r)) sqrt(1-b2^t)/(1-b1^t), r = b1^2/b2."""
    if "amsgrad" in rule.claim.options:
        raise DoesNotApply("the bound is that of Adam without AMSGrad")
    b1, b2 = (_number(rule, name) for name in ("b1", "b2"))
    r, t = b1**2 / b2, np.arange(1, 121)
    with np.errstate(all="ignore"):
        bound = (1 - b1) / np.sqrt(1 - b2) * np.sqrt((1 - r**t) / (1 - r)) * np.sqrt(1 - b2**t) / (1 - b1**t)
    # The worst case grows by b2/b1 a step. In the silence after it, m must fade sooner than the root of v.
    growing = [np.full(6, (b2 / b1) ** k) for k in range(70)] if b1 else []
    gradients = [*(g["w"].ravel() for g in case.gradients), *growing, *[np.zeros(6)] * 40]
    steps = np.abs(_wide(rule.undecayed(), gradients)) / rule.rate
    excess = steps.max(axis=1) / bound[: len(steps)]
    if excess.max() > 1 + 1e-9:
        worst = int(excess.argmax())
        raise Broken(f"step {worst + 1} is {show(steps[worst].max())} lr, {excess[worst]:.6g} of the bound")


@law("learning_rate", "adagrad", over=tame)
def adagrad_bounds(rule: Rule, case: Case) -> None:
    """AdaGrad's accumulator never falls, no step exceeds lr, and sum |g u| / lr <= 2 sqrt(sum g^2)."""
    path = rule.standard.run(case.params, case.gradients)
    for slot in slots(path):
        if any((later < before).any() for before, later in itertools.pairwise(slot)):
            raise Broken(f"the accumulator falls from {show(slot[-2].max())} to {show(slot[-1].max())}")
    g = np.array([step["w"] for step in case.gradients], np.float64)
    u = np.array([numbers(step["w"]) for step in path.updates])
    if (np.abs(u) > rule.rate * (1 + 1e-6)).any():
        raise Broken(f"a step of {show(np.abs(u).max() / rule.rate)} lr")
    regret, bound = np.abs(g * u).sum(axis=0) / rule.rate, 2 * np.sqrt((g**2).sum(axis=0))
    if (regret > bound * (1 + 1e-6)).any():
        raise Broken(f"sum |g u| / lr = {show(regret.max())}, 2 sqrt(sum g^2) = {show(bound[regret.argmax()])}")


@law("convention", over=wild)
def follows_its_convention(rule: Rule, case: Case) -> str:
    """In float64 the parameters go where the convention's printed equations lead, under a falling rate too."""
    form, numbers_ = rule.claim.convention, dict(rule.claim.numbers)
    assert form is not None
    oracle = Oracle(form.equations, rule.claim.options)
    rates = [rule.rate, rule.falling] if rule.trait("schedule").holds else [rule.rate]
    gradients = [np.asarray(g["w"].ravel(), np.float64) for g in (*case.gradients, *example(steps=4).gradients)]
    start = np.asarray(case.params["w"].ravel(), np.float64)
    for rate in rates:
        built = rule.built(learning_rate=rate) if rule.factory is not None else rule.standard
        at: Any = rate if callable(rate) else lambda _: rule.rate
        with np.errstate(all="ignore"):
            expected = oracle.run(numbers_, gradients, at, start)
        close(_trajectory(built, start, gradients), expected, 1e-12, "the parameters", f"{form.rule}, {form.name!r}")
    return f"{form.rule}, convention {form.name!r}"


def _trajectory(built: Built, w: np.ndarray, gradients: Sequence[np.ndarray]) -> np.ndarray:
    with precision("float64"):
        state, path = built.init(w), []
        for g in gradients:
            u, state = built.compiled(g, state, w)
            w = w + numbers(u)
            path.append(w)
        return np.array(path)


LAWS: tuple[Law, ...] = (
    first_step,
    constant_gradient,
    step_bound,
    adagrad_bounds,
    follows_its_convention,
)
