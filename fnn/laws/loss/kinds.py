"""Kinds of losses: what outputs and targets each takes, which answers are right, and which mean nothing."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from fnn.laws.checking import import_hypothesis

ROWS, CLASSES = 6, 3
_CERTAIN = 100.0
"""A logit or score of an answer that has no doubt."""
_AWKWARD = (1e4, -1e4, 50.0, -50.0, -3.999999, 3.999999, 1e-4, 1e-30)


@dataclass(frozen=True)
class Kind:
    """One kind of loss.

    Attributes:
        name: what `check_loss` calls it.
        takes: its arguments, in words.
        outputs: from numbers (n, CLASSES) to outputs.
        targets: from numbers (n,) and labels (n,), at least 0, to targets.
        right: from targets to outputs that are right beyond doubt.
        other: from targets to other ones.
        mirrored: from outputs and targets to those of the opposite question, or None.
        nonsense: targets that mean nothing.
        traits: what laws ask for: "classes", "labels", "probabilities", "shift".
    """

    name: str
    takes: str
    outputs: Callable[[np.ndarray], np.ndarray]
    targets: Callable[[np.ndarray, np.ndarray], np.ndarray]
    right: Callable[[np.ndarray], np.ndarray]
    other: Callable[[np.ndarray], np.ndarray]
    mirrored: Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]] | None = None
    nonsense: tuple[int, ...] = ()
    traits: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Case:
    """Outputs and targets of a few examples, as NumPy arrays."""

    outputs: np.ndarray
    targets: np.ndarray

    def __str__(self) -> str:
        """Short enough to type in."""
        return f"outputs={digits(self.outputs)}, targets={digits(self.targets)}"

    def of(self, dtype: Any) -> "Case":
        """The same numbers in another dtype; integer targets stay as they are."""
        floating = np.issubdtype(self.targets.dtype, np.floating)
        return Case(self.outputs.astype(dtype), self.targets.astype(dtype) if floating else self.targets)

    def rows(self, index: Any) -> "Case":
        """Some of the examples."""
        return Case(self.outputs[index], self.targets[index])


def digits(x: Any) -> str:
    """An array in one line."""
    return np.array2string(np.asarray(x), separator=", ", max_line_width=10_000, floatmode="maxprec").replace("\n", "")


def _first(raw: np.ndarray) -> np.ndarray:
    return raw[:, 0]


def _chance(raw: np.ndarray) -> np.ndarray:
    """Numbers from -4 to 4 as probabilities; beyond, they are exactly 0 and 1."""
    return np.clip((raw + 4) / 8, 0, 1)


def _chances(raw: np.ndarray) -> np.ndarray:
    p = _chance(raw)
    total = p.sum(axis=1, keepdims=True)
    return np.where(total > 0, p / np.where(total > 0, total, 1), 1 / CLASSES)


def _binary(_: np.ndarray, labels: np.ndarray) -> np.ndarray:
    return (labels % 2).astype(np.float32)


def _signed(_: np.ndarray, labels: np.ndarray) -> np.ndarray:
    return (2 * (labels % 2) - 1).astype(np.float32)


def _class(_: np.ndarray, labels: np.ndarray) -> np.ndarray:
    return (labels % CLASSES).astype(np.int32)


def _one_hot(labels: np.ndarray) -> np.ndarray:
    return np.eye(CLASSES, dtype=np.float32)[labels]


def _next(labels: np.ndarray) -> np.ndarray:
    return (labels + 1) % CLASSES


_OF_CLASSES: dict[str, Any] = {"targets": _class, "other": _next, "nonsense": (CLASSES, -1)}

KINDS = {
    kind.name: kind
    for kind in (
        Kind(
            "regression",
            "predictions and targets, both floating",
            _first,
            lambda raw, _: raw,
            right=lambda y: y,
            other=lambda y: y + 1,
        ),
        Kind(
            "binary",
            "probabilities of the positive class, and labels 0 and 1",
            lambda raw: _chance(raw[:, 0]),
            _binary,
            right=lambda y: y,
            other=lambda y: 1 - y,
            mirrored=lambda p, y: (1 - p, 1 - y),
            nonsense=(2, -1),
            traits=frozenset({"labels", "probabilities"}),
        ),
        Kind(
            "binary logits",
            "logits of the positive class, and labels 0 and 1",
            _first,
            _binary,
            right=lambda y: _CERTAIN * (2 * y - 1),
            other=lambda y: 1 - y,
            mirrored=lambda x, y: (-x, 1 - y),
            nonsense=(2, -1),
            traits=frozenset({"labels"}),
        ),
        Kind(
            "signs",
            "scores, and labels -1 and 1",
            _first,
            _signed,
            right=lambda y: _CERTAIN * y,
            other=lambda y: -y,
            mirrored=lambda f, y: (-f, -y),
            nonsense=(0, 2),
            traits=frozenset({"labels"}),
        ),
        Kind(
            "classes",
            "probabilities of the classes, and integer labels",
            _chances,
            right=_one_hot,
            traits=frozenset({"labels", "classes", "probabilities"}),
            **_OF_CLASSES,
        ),
        Kind(
            "class logits",
            "logits of the classes, and integer labels",
            lambda raw: raw,
            right=lambda y: _CERTAIN * _one_hot(y),
            traits=frozenset({"labels", "classes", "shift"}),
            **_OF_CLASSES,
        ),
        Kind(
            "class scores",
            "scores of the classes with margins between them, and integer labels",
            lambda raw: raw,
            right=lambda y: _CERTAIN * _one_hot(y),
            traits=frozenset({"labels", "classes", "shift"}),
            **_OF_CLASSES,
        ),
    )
}
"""Every kind by name."""
_DEFAULT = KINDS["regression"]


def made(kind: Kind, raw: Any, targets: Any, labels: Any, dtype: Any = np.float32) -> Case:
    """A case from plain numbers: outputs and targets of this kind."""
    raw, targets = np.asarray(raw, dtype).reshape(-1, CLASSES), np.asarray(targets, dtype)
    return Case(kind.outputs(raw), kind.targets(targets, np.asarray(labels))).of(dtype)


def generic(kind: Kind, seed: int = 0, dtype: Any = np.float32) -> Case:
    """One case of ordinary numbers, at no edge."""
    rng = np.random.default_rng(seed)
    raw, targets = rng.uniform(-3.5, 3.5, (ROWS, CLASSES)), rng.uniform(-3.5, 3.5, ROWS)
    return made(kind, raw, targets, np.arange(ROWS) + seed, dtype)


def _cases(kind: Kind, element: Any, st: Any) -> Any:
    numbers = st.lists(element, min_size=ROWS * CLASSES, max_size=ROWS * CLASSES)
    targets = st.lists(element, min_size=ROWS, max_size=ROWS)
    labels = st.lists(st.integers(0, 2 * CLASSES - 1), min_size=ROWS, max_size=ROWS)
    return st.builds(lambda *parts: made(kind, *parts), numbers, targets, labels)


def tame(kind: Kind = _DEFAULT) -> Any:
    """Multiples of 1/8 between -4 and 4: they meet every kink at a round number."""
    import_hypothesis()
    from hypothesis import strategies as st

    return _cases(kind, st.integers(-32, 32).map(lambda i: i / 8), st)


def wild(kind: Kind = _DEFAULT) -> Any:
    """Tame numbers among huge and tiny ones; probabilities are often exactly 0 or 1."""
    import_hypothesis()
    from hypothesis import strategies as st

    return _cases(kind, st.one_of(st.integers(-32, 32).map(lambda i: i / 8), st.sampled_from(_AWKWARD)), st)
