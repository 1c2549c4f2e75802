"""A sweep in a process of its own, to be killed. It tells where it is, and at the end a digest of all bits."""

import sys
import time
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

import fnn
from fnn.checkpoint import folder as writing
from tests.train.killed import digest

HPARAMS = {"gain": jnp.linspace(1.8, 2.2, 20)}
KEYS = jax.random.split(jax.random.key(3), 4)


def train(hparams: Any, key: Any) -> dict[str, Any]:
    """Chaos in place of a training run: it amplifies rounding as training does, and compiles fast.

    So cells end in other bits, down to the first digit, where another form of the program computes them.
    """
    weights = jax.random.normal(key, (16, 16))
    state = jax.lax.fori_loop(0, 60, lambda _, x: jnp.sin(hparams["gain"] * (weights @ x)), jnp.ones(16))
    return {"loss": jnp.mean(state**2), "state": state}


class Told(fnn.train.Reporter):
    """Prints how many cells are done, so that whoever kills knows when."""

    def update(self, step: int, metrics: Mapping[str, float]) -> None:
        print("cells", step, flush=True)
        time.sleep(0.3)  # larger cells, so that checkpoints are written meanwhile


def swept(folder: str | None, **changes: Any) -> fnn.population.Results:
    """Eighty cells, eight to a call."""
    settings: dict[str, Any] = {"mode": "vmap", "chunk": 8, "progress": False, "every": 0.0, **changes}
    return fnn.sweep(train, HPARAMS, KEYS, checkpoint=folder, **settings)


def _told_seal(*arguments: Any) -> None:
    """In the middle of saving: the arrays are written, and nothing vouches for them yet."""
    print("saving", flush=True)
    time.sleep(0.1)
    seal(*arguments)


if __name__ == "__main__":
    seal, writing.seal = writing.seal, _told_seal
    print("digest", digest(swept(sys.argv[1], progress=Told())), flush=True)  # pyright: ignore[reportArgumentType]
