"""The loss that is checked, and how its kind is found."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from fnn.errors import check_callable, check_choice, message
from fnn.laws.checking import Trait
from fnn.laws.loss.kinds import CLASSES, KINDS, ROWS, Case, Kind, generic
from fnn.laws.probes import refusal

_NAMES = {
    "regression": ("squared_error", "l2_loss", "absolute_error", "huber", "huber_loss", "log_cosh"),
    "binary": ("binary_cross_entropy",),
    "binary logits": ("sigmoid_binary_cross_entropy", "sigmoid_focal_loss"),
    "signs": ("hinge", "hinge_loss", "perceptron_loss"),
    "classes": ("cross_entropy",),
    "class logits": (
        "softmax_cross_entropy",
        "softmax_cross_entropy_with_integer_labels",
        "safe_softmax_cross_entropy",
        "poly_loss_cross_entropy",
    ),
    "class scores": ("multiclass_hinge", "multiclass_hinge_loss", "multiclass_perceptron_loss"),
}
_KIND_OF = {name: kind for kind, names in _NAMES.items() for name in names}
"""Kinds of the losses of fnn and Optax."""


class Loss:
    """A loss of outputs and targets, compiled once for all laws."""

    def __init__(self, loss: Callable[[Any, Any], Any], kind: str | None):
        check_callable("loss", loss, "a function (outputs, targets) -> one value per example")
        self.loss = loss
        self.name = _name(loss)
        if kind is not None:
            check_choice("kind", kind, KINDS)
        self.kind: Kind = KINDS[kind or _kind_of(loss, self.name)]
        self.takes_integers = _accepts(loss, self.kind, integers=True) or not _accepts(loss, self.kind, integers=False)
        self.takes_one_hot = "classes" in self.kind.traits and _accepts(loss, self.kind, integers=False)
        self.value: Callable[[Any, Any], jax.Array] = jax.jit(self.eager)
        self.slope: Callable[[Any, Any], jax.Array] = jax.jit(jax.grad(lambda x, y: jnp.sum(self.eager(x, y))))

    def trait(self, name: str) -> Trait:
        """Whether it is of a kind with this trait."""
        if name == "integers":
            return Trait(self.takes_integers, "it takes rows of probabilities as targets, no integers")
        if name == "one_hot":
            return Trait(self.takes_one_hot, "it takes no rows of probabilities as targets")
        if name == "mirror":
            return Trait(self.kind.mirrored is not None, f"{self.kind.name} has no opposite question")
        if name == "edgeless":
            inside = "probabilities" not in self.kind.traits
            return Trait(inside, "probabilities end at 0 and 1, where there is a slope on one side only")
        if name == "answers":
            return Trait(self.kind.name != "regression", "a number to predict can be missed by any distance")
        return Trait(name in self.kind.traits, f"its kind is {self.kind.name}")

    def eager(self, outputs: Any, targets: Any) -> Any:
        """The loss as it is, without jit."""
        return self.loss(outputs, self.given(outputs, targets))

    def given(self, outputs: Any, targets: Any) -> Any:
        """Targets as this loss takes them: integer classes as one-hot rows where it takes no integers."""
        if self.takes_integers:
            return targets
        return one_hot(outputs, targets)

    def case(self, seed: int = 0, dtype: Any = np.float32) -> Case:
        """One case of ordinary numbers."""
        return generic(self.kind, seed, dtype)


def one_hot(outputs: Any, labels: Any) -> Any:
    """Integer classes as rows of zeros and one 1, in the outputs' dtype; NumPy stays NumPy."""
    return (labels[..., None] == np.arange(CLASSES)).astype(outputs.dtype)


def _name(loss: Any) -> str:
    while isinstance(loss, functools.partial):
        loss = loss.func
    return getattr(loss, "__name__", type(loss).__name__)


def _kind_of(loss: Any, name: str) -> str:
    while isinstance(loss, functools.partial):
        loss = loss.func
    if str(getattr(loss, "__module__", "")).split(".")[0] in ("fnn", "optax") and name in _KIND_OF:
        return _KIND_OF[name]
    fitting = [kind.name for kind in KINDS.values() if _accepts(loss, kind, integers=True)]
    # A loss of single outputs may average many of them, and then takes one-hot rows too.
    fitting = fitting or [kind.name for kind in KINDS.values() if _accepts(loss, kind, integers=False)]
    if len(fitting) == 1:
        return fitting[0]
    if fitting:
        remedy = "Say what it takes. " + "; ".join(f"kind={k!r}: {KINDS[k].takes}" for k in fitting) + "."
        raise ValueError(message("kind", "None", f"one of {', '.join(fitting)}, since {name} accepts them all", remedy))
    case = generic(KINDS["regression"])
    reason = refusal(lambda: loss(jnp.asarray(case.outputs), jnp.asarray(case.targets))) or "no value per example"
    expected = "a loss that accepts outputs and targets of some kind"
    remedy = (
        f"For predictions and targets of shape ({ROWS},): {str(reason).splitlines()[0] if str(reason) else reason!r}"
    )
    raise ValueError(message("loss", name, expected, remedy))


def _accepts(loss: Any, kind: Kind, *, integers: bool) -> bool:
    """Whether the loss gives one value per example of this kind, with integer targets or with one-hot rows."""
    if not integers and "classes" not in kind.traits:
        return False
    case = generic(kind)
    targets = case.targets if integers else one_hot(case.outputs, case.targets)
    x, y = jnp.asarray(case.outputs), jnp.asarray(targets)
    return refusal(lambda: loss(x, y)) is None and np.shape(loss(x, y)) == (ROWS,)
