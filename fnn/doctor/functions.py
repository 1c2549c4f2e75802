"""Functions of single numbers, softmax, random numbers."""

import math
from collections.abc import Iterator
from statistics import NormalDist
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from fnn.doctor.case import Case, check
from fnn.typing import Array, Key

_ULP = float(np.finfo(np.float32).eps)


@check
def elementary_functions() -> Iterator[Case]:
    """exp, log, tanh and the like are within a few roundings of float64."""
    x = np.concatenate([-np.geomspace(30, 1e-3, 500), [0], np.geomspace(1e-3, 30, 500)]).astype(np.float32)
    wide = x.astype(float)
    positive = (np.abs(x) + 1).astype(float)
    expected = {
        "exp": np.exp(wide),
        "log": np.log(positive),
        "sqrt": np.sqrt(positive),
        "rsqrt": 1 / np.sqrt(positive),
        "tanh": np.tanh(wide),
        "sigmoid": 1 / (1 + np.exp(-wide)),
        "sin": np.sin(wide),
        "erf": np.array([math.erf(value) for value in wide]),
    }
    yield Case("1001 numbers in [-30, 30]", _elementary, (x,), expected, tolerance=64 * _ULP, floor=1e-12, eager=True)


def _elementary(x: Array) -> dict[str, Array]:
    positive = jnp.abs(x) + 1
    return {
        "exp": jnp.exp(x),
        "log": jnp.log(positive),
        "sqrt": jnp.sqrt(positive),
        "rsqrt": jax.lax.rsqrt(positive),
        "tanh": jnp.tanh(x),
        "sigmoid": jax.nn.sigmoid(x),
        "sin": jnp.sin(x),
        "erf": jax.scipy.special.erf(x),
    }


@check
def nan_and_infinity() -> Iterator[Case]:
    """NaN and infinity are kept and found; fast mathematics would lose them."""
    x = np.array([1, np.nan, np.inf, -np.inf, 0, -0.0], np.float32)
    expected = {
        "isnan": np.isnan(x),
        "isfinite": np.isfinite(x),
        "max": np.float32(np.nan),
        "x - x": np.array([0, np.nan, np.nan, np.nan, 0, 0], np.float32),
        "0 x": np.array([0, np.nan, np.nan, np.nan, 0, 0], np.float32),
        "1 / x": np.array([1, np.nan, 0, 0, np.inf, -np.inf], np.float32),
    }
    yield Case("1, NaN, inf, -inf, 0, -0", _not_finite, (x,), expected, eager=True)


def _not_finite(x: Array) -> dict[str, Array]:
    return {
        "isnan": jnp.isnan(x),
        "isfinite": jnp.isfinite(x),
        "max": jnp.max(x),
        "x - x": x - x,
        "0 x": 0 * x,
        "1 / x": 1 / x,
    }


@check
def casts() -> Iterator[Case]:
    """A cast to bfloat16 or float16 rounds to the nearest, ties to even, and a cast to an integer cuts off."""
    x = np.concatenate([np.arange(256, 513), np.linspace(-3, 3, 1001), [2049, 2051]]).astype(np.float32)
    expected = {
        "bfloat16": x.astype(jnp.bfloat16).astype(np.float32),
        "float16": x.astype(np.float16).astype(np.float32),
        "int32": x.astype(np.int32),
    }
    yield Case(f"{len(x)} numbers", _casts, (x,), expected, eager=True)


def _casts(x: Array) -> dict[str, Array]:
    # Without a barrier a compiler may leave out the rounding of a cast there and back.
    halves = jax.lax.optimization_barrier({name: x.astype(name) for name in ("bfloat16", "float16")})
    return {**{name: half.astype(jnp.float32) for name, half in halves.items()}, "int32": x.astype(jnp.int32)}


@check
def softmax() -> Iterator[Case]:
    """softmax, logsumexp and their gradient are finite and right, at logits of 10,000 too."""
    for n, classes in [(1, 2), (1000, 10), (3, 32769)]:
        x = (3 * np.random.default_rng(n).normal(size=(n, classes))).astype(np.float32)
        x[0, :2] = 1e4, 1e4 - 2
        wide = x.astype(float)
        top = wide.max(axis=1, keepdims=True)
        total = np.exp(wide - top).sum(axis=1, keepdims=True)
        p = np.exp(wide - top) / total
        expected = {"softmax": p, "logsumexp": (top + np.log(total))[:, 0], "gradient": p}
        yield Case(f"({n}, {classes})", _softmax, (x,), expected, tolerance=64 * _ULP, floor=1e-6)


def _softmax(x: Array) -> dict[str, Array]:
    def logsumexp(x: Array) -> Array:
        return jax.scipy.special.logsumexp(x, axis=1)

    return {
        "softmax": jax.nn.softmax(x),
        "logsumexp": logsumexp(x),
        "gradient": jax.grad(lambda x: logsumexp(x).sum())(x),
    }


@check
def random_numbers() -> Iterator[Case]:
    """A key gives the bits of Threefry-2x32, and the numbers that follow from them.

    The first of them are the known answers that its authors publish.

    Source: Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3"; kat_vectors of Random123.
    """
    known = np.array([0x6B200159, 0x99BA4EFE], np.uint32)
    yield Case("the known answer of Random123", _folded, (np.zeros(2, np.uint32), np.uint32(0)), known)
    words = np.array([0x13198A2E, 0x03707344], np.uint32)
    for n in (1, 1000, 4099):
        pair = threefry(words, np.zeros(n, np.uint32), np.arange(n, dtype=np.uint32))
        bits = pair[0] ^ pair[1]
        uniform = (bits >> 9 | 0x3F800000).view(np.float32) - np.float32(1)
        low = np.nextafter(np.float32(-1), np.float32(0))
        normal = [NormalDist().inv_cdf((1 + float(u)) / 2) for u in np.maximum(low, uniform * (1 - low) + low)]
        expected = {"split": np.stack(pair, axis=1), "bits": bits, "uniform": uniform, "normal": np.array(normal)}
        yield Case(f"{n} numbers", lambda words, n=n: _drawn(words, n), (words,), expected, tolerance=1e-4, floor=0.1)


def threefry(words: np.ndarray, high: np.ndarray, low: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Threefry-2x32 with twenty rounds, in NumPy.

    Example:
        >>> [hex(word[0]) for word in threefry(np.zeros(2, np.uint32), *np.zeros((2, 1), np.uint32))]
        ['0x6b200159', '0x99ba4efe']
    """
    keys = [*words, words[0] ^ words[1] ^ np.uint32(0x1BD11BDA)]
    a, b = high + keys[0], low + keys[1]
    for group in range(5):
        for turn in ((13, 15, 26, 6), (17, 29, 16, 24))[group % 2]:
            a = a + b
            b = (b << np.uint32(turn) | b >> np.uint32(32 - turn)) ^ a
        a, b = a + keys[(group + 1) % 3], b + keys[(group + 2) % 3] + np.uint32(group + 1)
    return a, b


def _key(words: Array) -> Key:
    return jax.random.wrap_key_data(words, impl="threefry2x32")


def _folded(words: Array, number: Array) -> Array:
    return jax.random.key_data(jax.random.fold_in(_key(words), number))


def _drawn(words: Array, n: int) -> dict[str, Any]:
    with jax.threefry_partitionable(True):  # how the bits of many numbers are laid out, the default
        return {
            "split": jax.random.key_data(jax.random.split(_key(words), n)),
            "bits": jax.random.bits(_key(words), (n,), jnp.uint32),
            "uniform": jax.random.uniform(_key(words), (n,), jnp.float32),
            "normal": jax.random.normal(_key(words), (n,), jnp.float32),
        }


CHECKS = (nan_and_infinity, casts, elementary_functions, softmax, random_numbers)
