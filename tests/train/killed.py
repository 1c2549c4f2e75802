"""A fit in a process of its own, to be killed. It prints each step, and at the end a digest of all bits."""

import hashlib
import sys
import time
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import fnn


class Told(fnn.train.Reporter):
    """Prints each step, so that whoever kills knows when."""

    def update(self, step: int, metrics: Mapping[str, float]) -> None:
        print("step", step, flush=True)
        time.sleep(0.02)  # a larger network's step, so that checkpoints are written meanwhile


def digest(result: fnn.train.FitResult) -> str:
    """Of every bit of a result."""
    parts = hashlib.sha256()
    for leaf in jax.tree.leaves(result):
        typed = jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)
        parts.update(np.asarray(jax.random.key_data(leaf) if typed else leaf).tobytes())
    return parts.hexdigest()


def trained(folder: str | None, **changes: Any) -> fnn.train.FitResult:
    """Dropout, augmentation, batch normalization, a schedule and early stopping, on data that follow from a key."""
    import optax

    x = jax.random.normal(jax.random.key(1), (230, 6, 6, 1))
    data = fnn.data.Dataset(x, (x.mean(axis=(1, 2, 3)) > 0).astype(jnp.int32))
    net = fnn.nn.sequential(
        fnn.nn.conv(4, 3), fnn.nn.batch_norm(), fnn.nn.activation("relu"), fnn.nn.flatten(), fnn.nn.dropout(0.2),
        fnn.nn.dense(2),
    )  # fmt: skip
    settings: dict[str, Any] = {
        "key": jax.random.key(2),
        "epochs": 60,
        "batch_size": 32,
        "validation": fnn.data.Dataset(data.x[:50], data.y[:50]),
        "metrics": {"accuracy": fnn.metrics.accuracy},
        "patience": 50,
        "augment": fnn.augment.flip(),
        "progress": Told(),
        "every": 0.0,
        **changes,
    }
    tx = fnn.optim.adam(optax.cosine_decay_schedule(1e-2, 480))
    return fnn.fit(net, fnn.losses.softmax_cross_entropy, tx, data, checkpoint=folder, **settings)


if __name__ == "__main__":
    # Small calls, so that there is much to interrupt.
    sys.modules["fnn.train.fit"]._next_chunk = lambda steps, seconds: 3  # pyright: ignore[reportAttributeAccessIssue]
    print("digest", digest(trained(sys.argv[1])), flush=True)
