"""Laws of symmetry: what a change of the gradients does to the updates."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from fnn.laws.cases import Case, example, nonzero, tame, wild
from fnn.laws.compare import close, same
from fnn.laws.statement import Broken, DoesNotApply, Law, law
from fnn.laws.transform.rule import Rule
from fnn.laws.transform.traits import negated, reordered, zero_params


@law("odd", over=wild)
def odd(rule: Rule, case: Case) -> None:
    """With gradients and parameters of the other sign, the updates are those of the other sign, to the bit."""
    here = rule.standard.run(case.params, case.gradients).updates
    mirrored = negated(case)
    there = rule.standard.run(mirrored.params, mirrored.gradients).updates
    same(there, jax.tree.map(lambda u: -u, here), "update(-g)", "-update(g)")


@law("elementwise", "odd", over=tame)
def permutation(rule: Rule, case: Case) -> None:
    """The order of the elements in a leaf does not matter."""
    here = rule.standard.run(case.params, case.gradients).updates
    other = reordered(case)
    there = rule.standard.run(other.params, other.gradients).updates
    back = [jax.tree.map(lambda x: np.asarray(x).ravel()[::-1].reshape(x.shape), u) for u in there]
    close(back, here, 1e-6, "in the opposite order", "in order", beside=case.params)


@law("elementwise", "odd", over=tame)
def split_leaves(rule: Rule, case: Case) -> None:
    """Six numbers have the same updates as one leaf, as a matrix, and as two leaves."""
    whole = rule.standard.run(case.params, case.gradients).updates
    expected = [np.asarray(u["w"]).ravel() for u in whole]

    def flat(w: Any) -> Any:
        return w["w"].ravel()

    def two(w: Any) -> Any:
        return [flat(w)[:2], flat(w)[2:]]

    rows = rule.standard.run(flat(case.params), [flat(g) for g in case.gradients]).updates
    close([np.asarray(u) for u in rows], expected, 1e-6, "as a vector", "as a matrix", beside=case.params)
    pieces = rule.standard.run(two(case.params), [two(g) for g in case.gradients]).updates
    close([np.concatenate(u) for u in pieces], expected, 1e-6, "as two leaves", "as one", beside=case.params)


@law("elementwise", over=tame)
def isolation(rule: Rule, case: Case) -> None:
    """A NaN or an overflow in one coordinate changes no other coordinate."""
    if rule.trait("guards").holds:
        raise DoesNotApply("a guard against NaN drops the whole update")
    clean = rule.standard.run(case.params, case.gradients).updates
    for bad in (np.nan, np.inf, 1e30):
        spoilt = jax.tree.map(np.copy, case.gradients)
        for g in spoilt:
            g["w"][0, 0] = bad
        there = rule.standard.run(case.params, spoilt).updates
        others, alone = ([(u["b"], np.asarray(u["w"]).ravel()[1:]) for u in path] for path in (there, clean))
        same(others, alone, f"beside a gradient of {bad:g}", "beside an ordinary one")


@law("linear", over=tame)
def gradient_scale_linear(rule: Rule, case: Case) -> None:
    """At parameters 0, a gradient 2^k times as large makes updates 2^k times as large, to the bit."""
    case = zero_params(case)
    plain = rule.standard.run(case.params, case.gradients).updates
    for power in (2.0**10, 2.0**-10):
        larger = rule.standard.run(case.params, case.times(power).gradients).updates
        expected = jax.tree.map(lambda u, power=power: np.asarray(u) * np.float32(power), plain)
        same(larger, expected, f"update({power:g} g)", f"{power:g} update(g)")


@law("scale_invariant", over=nonzero)
def gradient_scale_invariant(rule: Rule, case: Case) -> None:
    """At parameters 0, and far above eps, a gradient 2^k times as large makes the same updates."""
    case = zero_params(case).times(2.0**14)
    plain = rule.standard.run(case.params, case.gradients).updates
    larger = rule.standard.run(case.params, case.times(2.0**10).gradients).updates
    close(larger, plain, 2e-6, "update(1024 g)", "update(g)")


@law("odd")
def complex_parameters(rule: Rule) -> str:
    """Complex parameters move as pairs of reals, or by the modulus (a turn of g turns the update), or are refused."""
    g = [np.array(row, np.complex64) for row in ([3 + 4j, -1 + 1j, 2j], [1 - 1j, -2, 0.5 + 2j])]
    w = np.zeros(3, np.complex64)
    try:
        here = rule.standard.run(w, g).updates
    except (TypeError, ValueError):
        return "refused"
    turned = rule.standard.run(w, [x * np.complex64(0.6 + 0.8j) for x in g]).updates
    parts = [np.stack([np.real(x), np.imag(x)], axis=-1) for x in g]
    pairs = rule.standard.run(np.zeros((3, 2), np.float32), parts).updates
    ways = {
        "by the modulus": (turned, [np.asarray(u) * np.complex64(0.6 + 0.8j) for u in here]),
        "as pairs of reals": ([np.stack([np.real(u), np.imag(u)], axis=-1) for u in map(np.asarray, here)], pairs),
    }
    for way, (got, expected) in ways.items():
        try:
            close(got, expected, 1e-4)
        except Broken:
            continue
        return way
    raise Broken(f"for g = {g[0][0]} the update is {here[0][0]}, neither the modulus rule's nor the pair's")


@law("guards")
def guard(rule: Rule) -> None:
    """A guarded NaN never happened: no update, and all goes on as without it, to the bit."""
    case = example()
    bad = jax.tree.map(lambda g: np.full_like(g, np.nan), case.gradients[0])
    first, *rest = case.gradients
    plain = rule.standard.run(case.params, case.gradients)
    guarded = rule.standard.run(case.params, [first, bad, *rest])
    same(guarded.updates[1], jax.tree.map(jnp.zeros_like, case.params), "the update of a NaN", "none")
    same(guarded.updates[2:], plain.updates[1:], "updates after a NaN", "updates without it")


LAWS: tuple[Law, ...] = (
    odd,
    permutation,
    split_leaves,
    isolation,
    gradient_scale_linear,
    gradient_scale_invariant,
    complex_parameters,
    guard,
)
