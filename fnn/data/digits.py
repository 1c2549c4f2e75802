"""The 8x8 handwritten digits that come with scikit-learn."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from fnn.data.dataset import Dataset, Splits
from fnn.data.split import split


def digits(*, test_share: float = 0.2, seed: int = 0) -> Splits:
    """Optical recognition of handwritten digits: 1,797 grey images of 8x8 pixels, no file needed.

    Args:
        test_share: share of each digit's images to test on, in (0, 1).
        seed: which of the possible splits.

    Returns:
        x float32 (n, 64), rows of the image one after another, from 0 (paper) to 1 (ink); y int32 (n,),
        0 to 9. By default 1,437 to train on and 360 to test on.

    Raises:
        ImportError: scikit-learn is missing.
        ValueError: as `split`.

    Example:
        >>> train, test = digits()
        >>> train.x.shape, test.x.shape
        ((1437, 64), (360, 64))

    Source: Alpaydin and Kaynak 1998, "Cascading classifiers", Kybernetika 34(4); the test set of the
    UCI data set 80.
    """
    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        raise ImportError(
            "fnn.data.digits needs scikit-learn, extra [experiments]: in the clone, pip install -e '.[experiments]'"
        ) from error
    x: Any
    y: Any
    x, y = load_digits(return_X_y=True)
    data = Dataset(x.astype(np.float32) / np.float32(16), y.astype(np.int32))
    return jax.tree.map(jnp.asarray, split(data, test_share=test_share, seed=seed))
