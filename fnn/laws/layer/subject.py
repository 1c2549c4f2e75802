"""The layer that is checked, and what is seen of it without being told."""

import contextlib
from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from fnn.contract import check_example, check_returned, initialized
from fnn.errors import check_choice, message
from fnn.laws.checking import Trait
from fnn.laws.compare import numbers
from fnn.laws.probes import Counted, overruled, quickly, refusal, to_numpy
from fnn.train.state import check_network
from fnn.tree import cast

ROWS = 4
TRAITS = ("per_example", "stateless", "noisy", "random_init", "floating")


class Net:
    """A layer with its first parameters, and its compiled forms, shared by all laws."""

    def __init__(self, layer: Any, x: Any, traits: Mapping[str, bool] | None):
        check_network(layer)
        check_example("x", x)
        if not np.shape(x):
            raise ValueError(message("x", "shape ()", "a batch, examples first", "One example is x[None]."))
        for name in traits or {}:
            check_choice("traits", name, TRAITS)
        self.layer, self.given = layer, traits
        self.name = str(getattr(layer, "name", type(layer).__name__))
        self.x = _batch(x)
        self.key = jax.random.key(7)
        self.params, self.state = initialized(layer, jax.random.key(0), self.shaped)
        self._check_results()
        self.evaluate: Callable[..., Any] = jax.jit(self.eager)
        self.traced = Counted(self.eager_train)
        self.train: Callable[..., Any] = jax.jit(self.traced)

    def _check_results(self) -> None:
        """Refuses a layer that returns anything but (y, state), which would break every law for one reason."""
        returned: list[Any] = []

        def both() -> None:
            for train, key in ((False, None), (True, self.key)):
                returned.append(self.layer.apply(self.params, self.state, self.x, train=train, key=key))

        # Traced, so that nothing is computed. What else goes wrong here is for the laws to tell.
        with contextlib.suppress(Exception):
            jax.eval_shape(both)
        for one in returned:
            check_returned(self.layer, "apply", one)

    def trait(self, name: str) -> Trait:
        """A trait as the caller knows it, else as it is seen."""
        return overruled(name, self._seen(name), self.given)

    def _seen(self, name: str) -> Trait:
        if name == "stateless":
            return Trait(not jax.tree.leaves(self.state), "it has a state, which a batch may change")
        if name == "stateful":
            return Trait(bool(jax.tree.leaves(self.state)), "it has no state")
        if name == "parameters":
            return Trait(bool(jax.tree.leaves(self.params)), "it has no parameters")
        if name == "noisy":
            return Trait(self._draws, "it draws nothing in training")
        if name == "calm":
            return Trait(not self.trait("noisy").holds, "it draws noise in training")
        if name == "random_init":
            varied = any(np.unique(numbers(leaf)).size > 3 for leaf in jax.tree.leaves(self.params))
            return Trait(varied, "all its first parameters are constant")
        if name == "floating":
            return Trait(jnp.issubdtype(self.x.dtype, jnp.floating), "its input is not of floating-point numbers")
        # Whatever a layer does not say, in evaluation no example may depend on another.
        return Trait(name == "per_example", f"it is not {name}")

    @cached_property
    def _draws(self) -> bool:
        """Whether training asks for a key, or differs from one key to another."""
        if refusal(lambda: self.eager_train(self.params, self.state, self.x, None)) is not None:
            return True
        one, other = (self.eager_train(self.params, self.state, self.x, jax.random.key(i))[0] for i in (1, 2))
        return not np.array_equal(numbers(one), numbers(other), equal_nan=True)

    @cached_property
    def slopes(self) -> Callable[..., Any]:
        """Compiled: (gradients of the mean output by parameters and x, the output), in training."""

        def mean(point: Any, state: Any) -> tuple[jax.Array, jax.Array]:
            y, _ = self.eager_train(point["params"], state, point["x"], self.key)
            return jnp.mean(y.astype(jnp.promote_types(y.dtype, jnp.float32))), y

        return quickly(jax.grad(mean, has_aux=True))

    @property
    def shaped(self) -> jax.ShapeDtypeStruct:
        """The batch's shape and dtype."""
        return jax.ShapeDtypeStruct(self.x.shape, self.x.dtype)

    def init(self, seed: int = 0) -> tuple[Any, Any]:
        """First parameters and state."""
        return self.layer.init(jax.random.key(seed), self.shaped)

    def eager(self, params: Any, state: Any, x: Any) -> tuple[Any, Any]:
        """Evaluation."""
        return self.layer.apply(params, state, x, train=False)

    def eager_train(self, params: Any, state: Any, x: Any, key: Any) -> tuple[Any, Any]:
        """Training."""
        return self.layer.apply(params, state, x, train=True, key=key)

    def modes(self) -> list[tuple[str, Callable[[Any, Any, Any], Any]]]:
        """Evaluation, and training with one key, each as a function of parameters, state and x."""
        return [("evaluation", self.evaluate), ("training", lambda p, s, x: self.train(p, s, x, self.key))]

    def generic(self, dtype: Any = np.float32) -> tuple[Any, Any, Any]:
        """Parameters, state and x, moved a little: biases of 0 stand at a kink, and examples may be equal."""
        rng = np.random.default_rng(3)
        params = jax.tree.map(lambda p: p + 0.1 * rng.normal(size=p.shape), to_numpy(self.params))
        x = self.x
        if self.trait("floating").holds:
            x = np.asarray(x, dtype) + rng.normal(size=x.shape).astype(dtype) / 2
        return cast(params, dtype), cast(to_numpy(self.state), dtype), jnp.asarray(x)


def _batch(x: Any) -> jax.Array:
    """A batch of `ROWS` different examples, those given or random ones."""
    shape = (ROWS, *np.shape(x)[1:])
    floating = jnp.issubdtype(x.dtype, jnp.floating)
    drawn = np.random.default_rng(0).normal(size=shape) if floating else np.zeros(shape)
    if not isinstance(x, jax.ShapeDtypeStruct):
        known = np.asarray(x)[:ROWS]
        drawn[: len(known)] = known
    return jnp.asarray(drawn).astype(jax.dtypes.canonicalize_dtype(x.dtype))
