"""One set of examples cut into two."""

import math
from fractions import Fraction
from typing import Any

import numpy as np

from fnn.data.dataset import Dataset, Splits, check_dataset
from fnn.errors import check_count, check_flag, check_scalar, concrete, is_traced, message


def split(data: Dataset, *, test_share: float, seed: int, stratify: bool = True) -> Splits:
    """Cuts a set in two at random: `ceil(test_share n)` of the n examples to test on, the others to train on.

    With `stratify` each class gives its share: of a class of m examples, `test_share m` are in the test
    set, rounded down or up, so that both sets hold the classes in the same proportion. Both parts keep
    the order of the data. It is NumPy on the host; the same seed gives the same split.

    Args:
        data: the examples, of JAX or NumPy arrays; the parts are of the same kind.
        test_share: share of the examples to test on, in (0, 1).
        seed: an integer from 0.
        stratify: whether the classes are kept in proportion; then y is integers (n,).

    Raises:
        ValueError: the share is outside (0, 1), or so large that nothing is left to train on; y has
            more than one axis.
        TypeError: y is not of integers, or the share is traced.

    Example:
        >>> data = Dataset(np.arange(10.0), np.array([0, 0, 0, 0, 0, 1, 1, 1, 1, 1]))
        >>> train, test = split(data, test_share=0.4, seed=0)
        >>> train.y, test.y
        (array([0, 0, 0, 1, 1, 1]), array([0, 0, 1, 1]))
    """
    data = check_dataset(data)
    check_scalar("test_share", test_share, 0, 1, open_low=True)
    if is_traced(test_share):
        raise TypeError(message("test_share", "a traced number", "a known one: it sets the shapes of the parts"))
    check_count("seed", seed, minimum=0)
    check_flag("stratify", stratify)
    examples = len(data.x)
    # The decimal that was written, not the binary number nearest to it: 0.07 of 100 is 7, not 8.
    share = Fraction(str(test_share))
    wanted = math.ceil(examples * share)
    if wanted >= examples:
        raise ValueError(message("test_share", test_share, f"less, so that some of {examples} examples train"))
    classes = _classes(data.y) if stratify else np.zeros(examples, int)
    quota = _quotas(np.bincount(classes), share, wanted)
    in_test = _ranks_within(classes, seed) < quota[classes]
    train, test = (Dataset(data.x[part], data.y[part]) for part in (np.flatnonzero(~in_test), np.flatnonzero(in_test)))
    return Splits(train, test)


def _classes(y: Any) -> np.ndarray:
    """The class of each example, numbered from 0 without gaps."""
    remedy = "To cut without regard to classes give stratify=False."
    labels = concrete(y)
    if labels is None or labels.dtype.kind not in "iu":
        got = "traced labels" if labels is None else f"dtype {labels.dtype}"
        raise TypeError(message("data.y", got, "known integers, the classes", remedy))
    if labels.ndim != 1:
        raise ValueError(message("data.y", f"shape {labels.shape}", "shape (n,), one class an example", remedy))
    return np.unique(labels, return_inverse=True)[1]


def _quotas(counts: np.ndarray, share: Fraction, wanted: int) -> np.ndarray:
    """How many of each class are taken: its share rounded down, and one more for the largest remainders."""
    exact = [int(count) * share for count in counts]
    quota = np.array([math.floor(q) for q in exact])
    by_remainder = sorted(range(len(exact)), key=lambda c: quota[c] - exact[c])
    quota[by_remainder[: wanted - int(quota.sum())]] += 1
    return quota


def _ranks_within(classes: np.ndarray, seed: int) -> np.ndarray:
    """A random rank of each example among those of its class, from 0."""
    # Sorting plain uniform numbers, since how NumPy shuffles may change with its version.
    order = np.lexsort((np.random.default_rng(seed).random(len(classes)), classes))
    counts = np.bincount(classes)
    ranks = np.empty(len(classes), int)
    ranks[order] = np.arange(len(classes)) - np.repeat(np.cumsum(counts) - counts, counts)
    return ranks
