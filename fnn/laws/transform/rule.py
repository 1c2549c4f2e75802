"""A gradient transformation under examination: how it is built, and its runs over given gradients."""

import functools
import inspect
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from fnn.errors import check_choice, message
from fnn.laws.checking import Trait
from fnn.laws.statement import DoesNotApply
from fnn.laws.transform.claims import claim, root_of

LEARNING_RATE = 0.1


class Path(NamedTuple):
    """The updates of a few steps, and the state before the first and after each of them."""

    updates: list[Any]
    states: list[Any]


class Built:
    """One transformation with all its numbers, compiled.

    Attributes:
        tx: the transformation.
    """

    def __init__(self, tx: Any, extra: Mapping[str, Any]):
        self.tx = optax.with_extra_args_support(tx)
        self.extra = dict(extra)
        self.compiled_init = jax.jit(self.init)
        self.compiled = jax.jit(self.update)
        self.slope = jax.jit(jax.grad(self.summed))
        self._scan = jax.jit(self._scanned)

    def init(self, params: Any) -> Any:
        """The fresh state."""
        return self.tx.init(params)

    def update(self, gradients: Any, state: Any, params: Any) -> tuple[Any, Any]:
        """The update and the next state, not compiled."""
        return self.tx.update(gradients, state, params, **self.extra)

    def run(self, params: Any, gradients: Iterable[Any], *, state: Any = None, eager: bool = False) -> Path:
        """The path over these gradients; the parameters stay where they are."""
        if eager:  # what NumPy makes of its own arrays is another matter
            params, gradients = jax.tree.map(jnp.asarray, (params, list(gradients)))
        state = self.init(params) if state is None else state
        updates, states = [], [state]
        for g in gradients:
            u, state = (self.update if eager else self.compiled)(g, state, params)
            updates.append(u)
            states.append(state)
        return Path(updates, states)

    def summed(self, gradients: Any, params: Any) -> Any:
        """A number that depends on all updates; `slope` is its derivative with respect to the gradients, compiled."""
        state, total = self.init(params), 0.0
        for g in gradients:
            u, state = self.update(g, state, params)
            total = total + sum(jnp.sum(jnp.cos(jnp.arange(x.size)).reshape(x.shape) * x) for x in jax.tree.leaves(u))
        return total

    def scan(self, params: Any, gradients: Any) -> tuple[Any, Any]:
        """The last state and all updates of a run over stacked gradients, as one program."""
        return self._scan(params, gradients)

    def _scanned(self, params: Any, gradients: Any) -> tuple[Any, Any]:
        def step(state: Any, g: Any) -> tuple[Any, Any]:
            u, state = self.update(g, state, params)
            return state, u

        return jax.lax.scan(step, self.init(params), gradients)


class Rule:
    """A gradient transformation, or the factory that builds it, with what is known of it.

    Attributes:
        name: what the report calls it.
        factory: builds it from keyword arguments, or None.
        given: the arguments that were given for it.
        hyperparams: its float arguments, defaults included.
        standard: the transformation with these arguments.
        claim: which rule, and which convention's equations, it claims to be.
        family: the rule whose laws it claims, such as "adam", or None.
    """

    def __init__(
        self,
        subject: Any,
        infer: "Mapping[str, Callable[[Rule], Trait]]",
        *,
        name: str = "",
        hyperparams: Mapping[str, Any] | None = None,
        like: Any = None,
        traits: Mapping[str, bool] | None = None,
        extra: Mapping[str, Any] | None = None,
    ):
        self.factory = None if is_transform(subject) else subject
        self.name = name or name_of(subject)
        self.extra = dict(extra or {})
        self.parameters = _parameters(self.factory)
        self.given = _with_rate(self.name, self.parameters, dict(hyperparams or {}))
        defaults = {n: p.default for n, p in self.parameters.items() if p.default is not p.empty}
        arguments = _bound(self.factory) | defaults | self.given
        self.arguments = arguments
        self.hyperparams = {n: float(v) for n, v in arguments.items() if isinstance(v, float | np.floating)}
        self.claim = claim(self.factory, arguments, like)
        self.family = self.claim.family
        self._infer, self._given_traits = infer, dict(traits or {})
        self._traits: dict[str, Trait] = {}
        self._built: dict[Any, Built] = {}
        if self.factory is None:
            self._built[()] = Built(subject, self.extra)
        self.standard = self.built()

    def takes(self, argument: str) -> bool:
        """Whether the factory has this argument."""
        return argument in self.parameters

    def built(self, **changes: Any) -> Built:
        """The transformation with some arguments changed; the same changes are built and compiled once."""
        if changes and self.factory is None:
            raise DoesNotApply("a built transformation was given: its numbers cannot be changed. Give its factory.")
        # Types are part of the key: 1, 1.0 and np.float64(1) are equal, and need not build the same.
        key = tuple((n, type(v), v) for n, v in sorted(changes.items()))
        if not all(isinstance(v, bool | int | float) or callable(v) for v in changes.values()):
            return Built(self._make(changes), self.extra)
        if key not in self._built:
            self._built[key] = Built(self._make(changes), self.extra)
        return self._built[key]

    def undecayed(self, **changes: Any) -> Built:
        """The transformation without weight decay, and with some arguments changed."""
        decays = self.factory is not None and self.hyperparams.get("weight_decay")
        return self.built(**changes, **({"weight_decay": 0.0} if decays else {}))

    def decayed(self, **changes: Any) -> Built:
        """The transformation with a strong weight decay, where it has one, and with some arguments changed."""
        return self.built(**changes, **({"weight_decay": 0.25} if "weight_decay" in self.hyperparams else {}))

    def falling(self, t: Any) -> Any:
        """A schedule that starts with the rate: rate / (1 + t)."""
        return self.rate / (1 + t)

    @property
    def rate(self) -> float:
        """The learning rate that it is built with."""
        return self.hyperparams.get("learning_rate", 1.0)

    def trait(self, name: str) -> Trait:
        """Whether it has a trait: as given, or as inferred once."""
        if name not in self._traits:
            if name in self._given_traits:
                self._traits[name] = Trait(self._given_traits[name], f"it is given as not {name.replace('_', ' ')}")
            else:
                self._traits[name] = self._infer[name](self)
        return self._traits[name]

    def _make(self, changes: Mapping[str, Any]) -> Any:
        assert self.factory is not None
        tx = self.factory(**self.given | dict(changes))
        if not is_transform(tx):
            got = f"a {type(tx).__name__}"
            raise TypeError(message(f"what {self.name} returns", got, "an Optax gradient transformation"))
        return tx


def is_transform(subject: Any) -> bool:
    """Whether it has `init` and `update`."""
    return callable(getattr(subject, "init", None)) and callable(getattr(subject, "update", None))


def name_of(subject: Any) -> str:
    """What a report calls it, such as "optax.adam"."""
    if is_transform(subject):
        return "a built transformation"
    function = root_of(subject)
    name = getattr(function, "__qualname__", type(function).__name__)
    package = getattr(function, "__module__", "") or ""
    short = {"optax": "optax.", "fnn": "fnn.optim."}.get(package.split(".")[0], "")
    return f"{short}{name}"


def _bound(factory: Any) -> dict[str, Any]:
    return dict(factory.keywords) if isinstance(factory, functools.partial) else {}


def _parameters(factory: Any) -> dict[str, inspect.Parameter]:
    if factory is None:
        return {}
    if not callable(factory):
        got = f"a {type(factory).__name__}"
        expected = "a factory such as optax.adam, or a gradient transformation"
        raise TypeError(message("factory_or_tx", got, expected))
    parameters = inspect.signature(factory).parameters
    return {n: p for n, p in parameters.items() if p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL)}


def _with_rate(name: str, parameters: Mapping[str, inspect.Parameter], given: dict[str, Any]) -> dict[str, Any]:
    """The arguments given; a learning rate that was not given, and is needed, is 0.1."""
    for argument in given:
        check_choice("hyperparams", argument, parameters)
    if "learning_rate" in given:
        if callable(given["learning_rate"]):
            remedy = "The laws make schedules of their own."
            raise ValueError(message("hyperparams, learning_rate", "a schedule", "a number", remedy))
        given["learning_rate"] = float(given["learning_rate"])
    missing = [n for n, p in parameters.items() if p.default is p.empty and n not in given]
    if "learning_rate" in missing:
        given["learning_rate"] = LEARNING_RATE
        missing.remove("learning_rate")
    elif "learning_rate" in parameters and parameters["learning_rate"].default is None and "learning_rate" not in given:
        given["learning_rate"] = LEARNING_RATE
    if missing:
        remedy = f"Give it: hyperparams={{{missing[0]!r}: ...}}."
        raise ValueError(message("hyperparams", f"none for {', '.join(missing)}", f"what {name} needs", remedy))
    return given
