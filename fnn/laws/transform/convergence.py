"""Laws of convergence: what an optimizer must minimize, and the example on which Adam is known to fail."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from fnn.laws.statement import Broken, DoesNotApply, Law, law
from fnn.laws.transform.rule import Rule

RATES = (1.0, 0.3, 0.1, 0.03, 0.01, 0.003)


def _descends(rule: Rule, loss: Callable[[Any], Any], w: Any, target: float, steps: int) -> str:
    """Some constant rate brings the loss below the target at some step; tells which."""
    reached = {}
    for rate in RATES:
        built = rule.undecayed(learning_rate=rate)

        def step(carry: Any, _: Any, built: Any = built) -> Any:
            w, state = carry
            value, g = jax.value_and_grad(loss)(w)
            u, state = built.update(g, state, w)
            return (jax.tree.map(jnp.add, w, u), state), value

        losses = jax.jit(lambda w, built=built, step=step: jax.lax.scan(step, (w, built.init(w)), None, steps)[1])(w)
        reached[rate] = float(np.nanmin(np.asarray(losses)))
        if reached[rate] <= target:
            return f"with lr = {rate:g}"
    best = min(reached, key=lambda rate: reached[rate])
    raise Broken(
        f"the loss comes to {reached[best]:.3g} at best (lr = {best:g}), not to {target:.3g}, in {steps} steps"
    )


@law("learning_rate", "descends")
def minimizes_a_quadratic(rule: Rule) -> str:
    """A quadratic of condition number 20 falls to a thousandth in 2,000 steps, with some learning rate."""
    a = jnp.linspace(0.05, 1.0, 6).reshape(2, 3)
    w = {"w": jnp.array([[1.0, -1.0, 0.5], [-0.5, 1.0, -1.0]])}

    def loss(w: Any) -> Any:
        return jnp.sum(a * jnp.square(w["w"])) / 2

    return _descends(rule, loss, w, float(loss(w)) / 1000, 2000)


@law("learning_rate", "descends")
def minimizes_logistic_regression(rule: Rule) -> str:
    """Logistic regression comes within a thousandth of its least loss in 2,000 steps, with some learning rate."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(60, 3))
    y = (x @ [1.0, -2.0, 0.5] + rng.logistic(size=60) > 0).astype(np.float64)
    best, start = _least_logistic(x, y), np.log(2.0)
    features, labels = jnp.asarray(x, jnp.float32), jnp.asarray(y, jnp.float32)

    def loss(w: Any) -> Any:
        z = features @ w["w"][:, 0]
        return jnp.mean(jax.nn.softplus(z) - labels * z)

    w = {"w": jnp.zeros((3, 1))}
    return _descends(rule, loss, w, best + (start - best) / 1000, 2000)


def _least_logistic(x: np.ndarray, y: np.ndarray) -> float:
    """The least mean loss, by Newton's method."""
    w = np.zeros(x.shape[1])
    for _ in range(50):
        p = 1 / (1 + np.exp(-x @ w))
        w -= np.linalg.solve(x.T @ (x * (p * (1 - p))[:, None]), x.T @ (p - y))
    z = x @ w
    return float(np.mean(np.logaddexp(0, z) - y * z))


@law("learning_rate", "adam")
def counterexample_of_reddi(rule: Rule) -> str:
    """On f_t(x) = 3 x if t mod 3 = 1, else -x, Adam without memory of m ends at the worst x = 1, AMSGrad at -1."""
    if not (rule.takes("b1") and rule.takes("b2")):
        raise DoesNotApply("it takes no b1 and b2")
    c = 3.0
    built = rule.undecayed(learning_rate=lambda t: 0.5 / jnp.sqrt(t + 1.0), b1=0.0, b2=1 / (1 + c**2))

    def step(carry: Any, t: Any) -> Any:
        x, state = carry
        u, state = built.update(jnp.where(t % 3 == 0, c, -1.0), state, x)
        return (jnp.clip(x + u, -1.0, 1.0), state), None

    start = jnp.array(0.0)
    (x, _), _ = jax.jit(lambda: jax.lax.scan(step, (start, built.init(start)), jnp.arange(6000)))()
    amsgrad = "amsgrad" in rule.claim.options
    if abs(float(x) - (-1.0 if amsgrad else 1.0)) > 0.05:
        raise Broken(f"{'AMSGrad' if amsgrad else 'Adam'} ends at {float(x):.3f}")
    return f"it ends at {float(x):.3f}"


LAWS: tuple[Law, ...] = (minimizes_a_quadratic, minimizes_logistic_regression, counterexample_of_reddi)
