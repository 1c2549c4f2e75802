"""The training step that is checked, and what is seen of it without being told."""

from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from fnn.errors import check_callable, check_choice, message
from fnn.laws.checking import Trait
from fnn.laws.compare import close, numbers
from fnn.laws.probes import Counted, is_key, overruled
from fnn.laws.statement import Broken
from fnn.typing import Batch, Metrics

TRAITS = ("noisy", "per_example", "descends", "fields", "loss", "grad_norm", "finite")
_ROUNDING = 1e-5
_NUDGES, _TIMES = 4, 8.0


class Stepper:
    """A step with a state to start from and a batch, compiled once for all laws."""

    def __init__(self, step: Callable[[Any, Batch], Any], state: Any, batch: Batch, traits: Mapping[str, bool] | None):
        check_callable("step", step, "a function (state, batch) -> (state, metrics)", "Make one: fnn.train.make_step.")
        for argument, tree in (("state", state), ("batch", batch)):
            if not jax.tree.leaves(tree):
                raise ValueError(message(argument, "a tree without leaves", "a tree of arrays"))
        for name in traits or {}:
            check_choice("traits", name, TRAITS)
        self.step, self.state, self.batch, self.given = step, state, batch, traits
        self.name = getattr(step, "__name__", type(step).__name__)
        self.traced = Counted(step)
        self.compiled: Callable[[Any, Batch], tuple[Any, Metrics]] = jax.jit(self.traced)

    def trait(self, name: str) -> Trait:
        """A trait as the caller knows it, else as it is seen."""
        return overruled(name, self._seen(name), self.given)

    def _seen(self, name: str) -> Trait:
        if name == "fields":
            why = "its state is no NamedTuple with step, params and key, as fnn.train.TrainState is"
            return Trait({"step", "params", "key"} <= set(getattr(self.state, "_fields", ())), why)
        if name in ("loss", "grad_norm", "finite"):
            metrics = self.first[1]
            return Trait(isinstance(metrics, dict) and name in metrics, f"its metrics have no {name}")
        if name == "noisy":
            return Trait(self._draws, "another key in its state changes nothing")
        if name == "per_example":
            rows = {np.shape(leaf)[:1] for leaf in jax.tree.leaves(self.batch)}
            alike = len(rows) == 1 and rows != {()}
            noise = self.trait("noisy").holds
            why = "noise falls on places in the batch" if noise else "the batch has no one axis of examples"
            return Trait(alike and not noise, why)
        if name == "keyed":
            return Trait(any(map(is_key, jax.tree.leaves(self.state))), "its state holds no typed key")
        # A step trains unless one says that it does not.
        return Trait(name == "descends", f"it is not {name}")

    @cached_property
    def first(self) -> tuple[Any, Metrics]:
        """The state after one compiled step, and its metrics."""
        return self.compiled(self.state, self.batch)

    def rounding(self, least: float) -> float:
        """How far two results may lie apart, relative: this, or some roundings of the narrowest numbers within."""
        return max(least, 4 * self._coarsest)

    def agree(
        self, got: Any, reference: Callable[[Any, Batch], Any], what: str, other: str, *, expected: Any = None
    ) -> None:
        """A result is that of `reference(state, batch)`, up to rounding and what the step makes of rounding.

        Where a gradient is as small as Adam's eps, its last digit is a visible part of a step. So numbers that
        lie further apart are compared with how far they move where the last digits of state and batch do. `expected`
        is what the reference gives, if that is known.
        """
        expected, least = reference(self.state, self.batch) if expected is None else expected, self.rounding(_ROUNDING)
        try:
            close(got, expected, least, what, other)
        except Broken:
            close(got, expected, least, what, other, give=self._moved(reference, expected))

    def _moved(self, reference: Callable[[Any, Batch], Any], expected: Any) -> Any:
        """How far each number of a result moves, some times over, where the last digits of state and batch do."""
        draw = np.random.default_rng(0)

        def nudged(leaf: Any) -> Any:
            if not jnp.issubdtype(leaf.dtype, jnp.floating):
                return leaf
            last = float(jnp.finfo(leaf.dtype).eps) * draw.integers(-1, 2, leaf.shape)
            return jnp.asarray(leaf * (1 + last), leaf.dtype)

        def apart(a: Any, b: Any) -> Any:
            if not jnp.issubdtype(jnp.result_type(b), jnp.floating):
                return 0.0
            return np.nan_to_num(np.abs(numbers(a) - numbers(b)), nan=0.0, posinf=0.0)

        results = [reference(*jax.tree.map(nudged, (self.state, self.batch))) for _ in range(_NUDGES)]
        moves = [jax.tree.map(apart, result, expected) for result in results]
        return jax.tree.map(lambda *each: _TIMES * np.max(each, axis=0), *moves)

    @cached_property
    def _coarsest(self) -> float:
        program = str(jax.make_jaxpr(self.step)(self.state, self.batch))
        # As a program is printed: bf16[8,4] is an array of that dtype.
        narrow = {"bf16[": jnp.bfloat16, "f16[": jnp.float16}
        return max((float(jnp.finfo(dtype).eps) for name, dtype in narrow.items() if name in program), default=0.0)

    @cached_property
    def eager(self) -> tuple[Any, Metrics]:
        """The same without jit."""
        return self.step(self.state, self.batch)

    @cached_property
    def _draws(self) -> bool:
        """Whether another key in the state changes anything but keys."""
        if not any(map(is_key, jax.tree.leaves(self.state))):
            return False
        other = self.compiled(jax.tree.map(other_key, self.state), self.batch)
        pairs = zip(*(jax.tree.leaves(result) for result in (self.first, other)), strict=True)
        return any(not is_key(a) and not np.array_equal(numbers(a), numbers(b), equal_nan=True) for a, b in pairs)

    def loop(self, steps: int, state: Any = None, batch: Batch = None) -> tuple[Any, list[Metrics]]:
        """The state after some compiled steps on the one batch, and the metrics of each; from the first state on."""
        state, batch = self.state if state is None else state, self.batch if batch is None else batch
        metrics = []
        for _ in range(steps):
            state, seen = self.compiled(state, batch)
            metrics.append(seen)
        return state, metrics

    def with_field(self, **fields: Any) -> Any:
        """The state with other fields; only where it has the trait "fields"."""
        return self.state._replace(**fields)


def other_key(leaf: Any) -> Any:
    """Another key in the place of a key."""
    if not is_key(leaf):
        return leaf
    return jax.random.wrap_key_data(jax.random.key_data(leaf) ^ jnp.uint32(1), impl=jax.random.key_impl(leaf))
