"""Noise in a whole run: other masks in each step, layer and run, and the same again from the same key."""

import itertools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import fnn
from fnn.augment import chain, flip, shift_crop
from fnn.data import Dataset
from fnn.nn import Layer
from fnn.train import TrainState, init_state, make_step, run, supervised

STEPS, BATCH = 6, 8
# All examples are alike, so nothing but noise can tell one step, place or run from another.
IMAGE = 1 + jnp.arange(64.0).reshape(8, 8, 1)
DATA = Dataset(jnp.tile(IMAGE, (STEPS * BATCH, 1, 1, 1)), jnp.zeros(STEPS * BATCH, jnp.int32))
BATCHES = jax.tree.map(lambda a: a.reshape(STEPS, BATCH, *a.shape[1:]), DATA)


def _record() -> Layer:
    """What came in training, as state."""

    def init(key: Any, x: Any) -> tuple[Any, Any]:
        return {}, {"seen": jnp.zeros(x.shape, x.dtype)}

    def apply(params: Any, state: Any, x: Any, *, train: bool = False, key: Any = None) -> tuple[Any, Any]:
        return x, {"seen": x} if train else state

    return Layer("record", init, apply)


def _net() -> Layer:
    drop = [fnn.nn.dropout(0.5), _record()]
    ones = fnn.nn.stateless("ones", jnp.ones_like)
    inner = fnn.nn.sequential(ones, *drop)
    return fnn.nn.sequential(_record(), ones, *drop, ones, *drop, inner, fnn.nn.flatten(), fnn.nn.dense(2))


NET, TX = _net(), fnn.optim.sgd(0.1)
AUGMENT = chain(flip(), shift_crop(2))
STEP = make_step(supervised(NET, fnn.losses.softmax_cross_entropy, augment=AUGMENT), TX)


def _first(seed: int) -> TrainState:
    return init_state(jax.random.key(seed), NET, TX, DATA.x[:BATCH])


def _seen(state: TrainState) -> dict[str, jax.Array]:
    found = state.model_state
    masks = {"first": found["record_1"], "second": found["record_2"], "inner": found["sequential_0"]["record_0"]}
    return {"images": found["record_0"]["seen"]} | {name: entry["seen"] != 0 for name, entry in masks.items()}


@pytest.fixture(scope="module")
def seen() -> dict[str, np.ndarray]:
    """What was seen, (runs, steps, examples, ...): three runs, and the first one again."""

    def whole(state: TrainState) -> Any:
        def step(state: TrainState, batch: Dataset) -> Any:
            state, _ = STEP(state, batch)
            return state, _seen(state)

        return jax.lax.scan(step, state, BATCHES)[1]

    states = [_first(seed) for seed in (0, 1, 2, 0)]
    return jax.tree.map(np.asarray, jax.jit(jax.vmap(whole))(jax.tree.map(lambda *a: jnp.stack(a), *states)))


MASKS = ("first", "second", "inner")


def _half(a: np.ndarray, b: np.ndarray) -> bool:
    """Whether two masks agree as often as chance lets them, within 5 standard deviations."""
    return abs(float((a == b).mean()) - 0.5) <= 5 * 0.5 / a.size**0.5


def test_masks_of_every_step_layer_run_and_example_are_drawn_apart(seen: dict[str, np.ndarray]) -> None:
    masks = np.stack([seen[name][:3] for name in MASKS]).reshape(3 * 3 * STEPS * BATCH, -1)
    # 432 masks of 64 numbers: no two are alike, nor one the other turned round.
    assert len(np.unique(np.concatenate([masks, ~masks]), axis=0)) == 2 * len(masks)
    layers = [seen[name] for name in MASKS]
    assert all(_half(a[:3], b[:3]) for a, b in itertools.combinations(layers, 2))
    for mask in layers:
        assert all(_half(mask[i], mask[j]) for i, j in itertools.combinations(range(3), 2))
        assert all(_half(mask[:3, s], mask[:3, t]) for s, t in itertools.combinations(range(STEPS), 2))


def test_pictures_of_every_step_and_run_are_augmented_apart(seen: dict[str, np.ndarray]) -> None:
    pictures = seen["images"][:3].reshape(3 * STEPS, -1)
    assert len(np.unique(pictures, axis=0)) == 3 * STEPS
    # Also from example to example of one batch.
    assert all(len(np.unique(batch.reshape(BATCH, -1), axis=0)) > 1 for batch in seen["images"].reshape(-1, BATCH, 64))


def test_the_same_key_draws_the_same(seen: dict[str, np.ndarray]) -> None:
    for noise in seen.values():
        np.testing.assert_array_equal(noise[3], noise[0])


def test_run_and_a_resumed_loop_draw_what_the_scan_draws(seen: dict[str, np.ndarray]) -> None:
    last, _ = jax.jit(run(STEP, DATA, batch_size=BATCH, epochs=1))(_first(0))
    step = jax.jit(STEP)
    state = _first(0)._replace(step=jnp.asarray(STEPS - 2, jnp.int32))
    for _ in range(2):
        state, _ = step(state, DATA._replace(x=DATA.x[:BATCH], y=DATA.y[:BATCH]))
    for found in (last, state):
        for name, noise in _seen(found).items():
            np.testing.assert_allclose(noise, seen[name][0, -1], rtol=1e-6)
