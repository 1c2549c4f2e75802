"""The 8x8 digits of scikit-learn."""

import sys
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fnn.data import digits

datasets = pytest.importorskip("sklearn.datasets")


def _rows(x: Any) -> set[bytes]:
    return {row.tobytes() for row in np.asarray(x)}


def test_shapes_dtypes_and_range() -> None:
    train, test = digits()
    assert (train.x.shape, train.y.shape, test.x.shape, test.y.shape) == ((1437, 64), (1437,), (360, 64), (360,))
    for part in (train, test):
        assert isinstance(part.x, jax.Array)
        assert (part.x.dtype, part.y.dtype) == (jnp.float32, jnp.int32)
        assert (float(part.x.min()), float(part.x.max())) == (0.0, 1.0)
        assert set(np.asarray(part.y).tolist()) == set(range(10))


def test_the_parts_together_are_scikit_learns_set() -> None:
    raw = datasets.load_digits()
    train, test = digits(test_share=0.3, seed=4)
    both = sorted(
        (y, row.tobytes()) for part in (train, test) for row, y in zip(np.asarray(part.x), part.y.tolist(), strict=True)
    )
    rows = (raw.data / 16).astype(np.float32)
    assert both == sorted((int(y), row.tobytes()) for row, y in zip(rows, raw.target, strict=True))


def test_each_digit_gives_its_share() -> None:
    train, test = digits()
    whole = np.bincount(train.y) + np.bincount(test.y)
    assert (np.abs(np.bincount(test.y) - 0.2 * whole) < 1).all()


def test_the_seed_fixes_the_split() -> None:
    default, again, other = digits(), digits(seed=0), digits(seed=1)
    np.testing.assert_array_equal(default.test.x, again.test.x)
    assert _rows(default.test.x) != _rows(other.test.x)
    assert digits(test_share=0.5).test.x.shape == (899, 64)


def test_a_wrong_share_is_refused() -> None:
    with pytest.raises(ValueError, match=r"test_share: got 1\.0, expected a number in \(0, 1\)"):
        digits(test_share=1.0)


def test_without_scikit_learn_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    with pytest.raises(
        ImportError,
        match=r"fnn\.data\.digits needs scikit-learn, extra \[experiments\]: .* pip install -e '\.\[experi",
    ):
        digits()
