"""Random forms of the update rules, hyperparameters, trees of parameters and gradients, for Hypothesis.

Trees come from a few templates with a few shapes, so that compiled operations are used again; their dtypes and
numbers, and all hyperparameters, are free.
"""

import functools
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any, NamedTuple

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from fnn import optim
from fnn.typing import Array, Params

# Curried, which a type checker takes for no function.
variants: Any = chex.variants
# All but pmap, on whose programs the CPU compiler of jaxlib 0.11.2 crashes.
all_variants: Any = chex.variants(with_jit=True, without_jit=True, with_device=True, without_device=True)

# Forms ----------------------------------------------------------------------------------------------------


class Form(NamedTuple):
    """One form of a rule: its convention and choices, and the names of its numbers."""

    rule: str
    options: tuple[tuple[str, Any], ...]
    names: tuple[str, ...]

    @property
    def factory(self) -> Any:
        """The rule in this form, a function of its numbers."""
        return functools.partial(getattr(optim, self.rule), **dict(self.options))

    @property
    def convention(self) -> str:
        return dict(self.options).get("convention", "")

    def has(self, option: str) -> bool:
        return bool(dict(self.options).get(option))

    def choice(self, name: str) -> bool:
        """How the convention answers a question, such as eps_inside."""
        return optim.convention(self.convention, self.rule).choices[name]


def _form(rule: str, convention: str, names: Sequence[str], **options: Any) -> Form:
    return Form(rule, (("convention", convention), *options.items()), ("learning_rate", *names))


FORMS: dict[str, list[Form]] = {
    "sgd": [Form("sgd", (), ("learning_rate",))],
    "momentum": [
        _form(
            "momentum", name, ["beta", *(["dampening"] if name == "torch" and not nesterov else [])], nesterov=nesterov
        )
        for name in optim.conventions("momentum")
        for nesterov in (False, True)
    ],
    "rmsprop": [
        _form("rmsprop", name, ["decay", "eps", "initial_accumulator", *velocity], centered=centered, **off)
        for name in optim.conventions("rmsprop")
        for centered in (False, True)
        for velocity, off in ((["momentum"], {}), ([], {"momentum": None}))
    ],
    "adagrad": [
        _form("adagrad", name, ["eps", "initial_accumulator", *(["lr_decay"] if name == "torch" else [])])
        for name in optim.conventions("adagrad")
    ],
    "adam": [
        _form("adam", name, ["b1", "b2", "eps", "weight_decay"], amsgrad=amsgrad, decoupled=decoupled)
        for name in optim.conventions("adam")
        for amsgrad in (False, True)
        for decoupled in (False, True)
    ],
}
EVERY = [form for forms in FORMS.values() for form in forms]

RANGES: dict[str, tuple[float, float]] = {
    "learning_rate": (0.0, 1.0),
    "beta": (0.0, 0.999),
    "dampening": (0.0, 0.9),
    "decay": (0.0, 0.999),
    "momentum": (0.0, 0.99),
    "eps": (1e-12, 1.0),
    "initial_accumulator": (0.0, 10.0),
    "lr_decay": (0.0, 1.0),
    "b1": (0.0, 0.999),
    "b2": (0.0, 0.999),
    "weight_decay": (0.0, 0.5),
}
# Where nothing cancels and no quotient is steep, so that two ways of rounding stay near each other.
TAME: dict[str, tuple[float, float]] = {
    "learning_rate": (1e-3, 1.0),
    "decay": (0.5, 0.99),
    "b1": (0.0, 0.99),
    "b2": (0.5, 0.99),
    "eps": (1e-6, 1.0),
}
# A decay of parameters is no part of a statement about gradients alone.
NO_DECAY: dict[str, tuple[float, float]] = {"weight_decay": (0.0, 0.0)}


def reals(low: float, high: float) -> st.SearchStrategy[float]:
    """Numbers that float32 holds exactly, so that every type of number carries the same one."""
    low, high = float(np.float32(low)), float(np.float32(high))
    return st.floats(low, high, width=32, allow_subnormal=False)


def numbers(form: Form, ranges: dict[str, tuple[float, float]] | None = None) -> st.SearchStrategy[dict[str, float]]:
    """A value for each number of the form."""
    limits = RANGES | (ranges or {})
    return st.fixed_dictionaries({name: reals(*limits[name]) for name in form.names})


# Trees ----------------------------------------------------------------------------------------------------


class Layer(NamedTuple):
    w: Any
    b: Any


W, B, ONE, EMPTY = np.zeros((2, 3)), np.zeros(3), np.zeros(()), np.zeros((0, 2))
TEMPLATES: list[Any] = [
    ONE,
    B,
    {},
    {"w": W, "b": B},
    {"dense_0": {"w": W, "b": B}, "scale": ONE},
    [B, ONE, None],
    (W, {"a": None, "b": ONE}),
    {"empty": EMPTY, "w": B},
    {"deep": {"deeper": {"deepest": [B]}}},
    Layer(W, B),
    {"a/b": B, "a": {"b": W}},
    [{"w": W}, {"w": W}, ((), B)],
    {"none": None, "dict": {}, "list": [], "w": EMPTY},
]
LOW = ("bfloat16", "float16", "float32", "complex64")
HIGH = ("float32", "float64", "complex128")

MILD = st.floats(-4, 4, width=32, allow_subnormal=False)
AWKWARD = MILD | st.sampled_from([0.0, 1.0, -1.0, 1e-30, -1e-30, 1e18, -1e18])


def arrays(shape: Any, dtype: Any, elements: st.SearchStrategy[float] = MILD) -> st.SearchStrategy[np.ndarray]:
    """NumPy arrays of a dtype of JAX; what float16 does not hold is cut."""
    limit = 1e4 if dtype == "float16" else np.inf
    real = hnp.arrays(np.float64, shape, elements=elements).map(lambda x: np.clip(x, -limit, limit))
    if np.issubdtype(jnp.dtype(dtype), np.complexfloating):
        return st.tuples(real, real).map(lambda z: np.asarray(z[0] + 1j * z[1]).astype(jnp.dtype(dtype)))
    return real.map(lambda x: np.asarray(x).astype(jnp.dtype(dtype)))


@st.composite
def trees(draw: st.DrawFn, dtypes: Sequence[str] = LOW) -> Params:
    """Parameters: each leaf has a dtype of its own."""
    leaves, treedef = jax.tree.flatten(draw(st.sampled_from(TEMPLATES)))
    return treedef.unflatten([draw(arrays(x.shape, draw(st.sampled_from(dtypes)))) for x in leaves])


@st.composite
def gradients(draw: st.DrawFn, params: Params, elements: st.SearchStrategy[float] = AWKWARD) -> Params:
    """A tree like the parameters."""
    return jax.tree.map(lambda w: draw(arrays(w.shape, w.dtype.name, elements)), params)


# Both together --------------------------------------------------------------------------------------------


class Case(NamedTuple):
    """A form with its numbers, parameters, and the gradients of a few steps."""

    form: Form
    numbers: dict[str, float]
    params: Params
    grads: list[Params]
    wide: bool

    def world(self) -> AbstractContextManager[Any]:
        """Where float64 is what the case needs."""
        return jax.enable_x64(self.wide)

    def tx(self, values: Any = None) -> Any:
        return self.form.factory(**(self.numbers if values is None else values))

    def init(self, values: Any, w: Params) -> Any:
        """The first state, as a function of the numbers too."""
        return self.tx(values).init(w)

    def update(self, values: Any, g: Params, state: Any, w: Params) -> Any:
        """One update, as a function of the numbers too."""
        return self.tx(values).update(g, state, w)

    def walk(self, update: Callable[..., Any], grads: Sequence[Params], w: Params) -> list[Any]:
        """(updates, state) after each gradient, from a fresh state, with the parameters held."""
        state, path = self.init(self.numbers, w), []
        for g in grads:
            updates, state = update(self.numbers, g, state, w)
            path.append((updates, state))
        return path

    def run(self, values: Any, grads: Sequence[Params], w: Params) -> list[Any]:
        """The same as a function of the numbers."""
        return self._replace(numbers=values).walk(self.update, grads, w)


@st.composite
def cases(
    draw: st.DrawFn,
    rule: str,
    steps: int = 2,
    elements: st.SearchStrategy[float] = AWKWARD,
    dtypes: Sequence[str] | None = None,
    ranges: dict[str, tuple[float, float]] | None = None,
) -> Case:
    """A case of one rule; its dtypes are those below float64 or those from float32 up."""
    form = draw(st.sampled_from(FORMS[rule]))
    wide = dtypes is None and draw(st.booleans())
    params = draw(trees(dtypes or (HIGH if wide else LOW)))
    grads = [draw(gradients(params, elements)) for _ in range(steps)]
    return Case(form, draw(numbers(form, ranges)), params, grads, wide)


@functools.cache
def flat_run(form: Form) -> Any:
    """(numbers, gradients (steps, size), w) to all (updates, states): compiled once for each form and shape."""

    def run(values: Any, grads: Array, w: Array) -> Any:
        tx = form.factory(**values)

        def step(carry: tuple[Array, Any], g: Array) -> Any:
            w, state = carry
            updates, state = tx.update(g, state, w)
            return (optax.apply_updates(w, updates), state), (updates, state)

        return jax.lax.scan(step, (w, tx.init(w)), grads)[1]

    return jax.jit(run)


@functools.cache
def one_update(form: Form) -> Any:
    """(numbers, gradient, state, w) to (updates, state), compiled once for each form and shape."""
    return jax.jit(lambda values, g, state, w: form.factory(**values).update(g, state, w))


def tolerance(dtype: Any) -> float:
    """16 roundings of the accumulator, or one of a narrower result."""
    info, wide = jnp.finfo(dtype), jnp.finfo(jnp.promote_types(dtype, jnp.float32))
    return max(16 * float(wide.eps), float(info.eps) if info.bits < 32 else 0.0)
