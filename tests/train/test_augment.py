"""Augmentation inside the step: what the loss and the metrics see, and keys in every kind of program."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import fnn
from fnn import keys
from fnn.augment import chain, flip, mix_up, shift_crop
from fnn.data import Dataset, WeightedBatch
from fnn.train import init_state, make_eval, make_step, run, supervised

KEY = jax.random.key(5)
CLASSES = 3
X = jnp.asarray(np.random.default_rng(0).integers(0, 256, (22, 6, 6, 1), dtype=np.uint8))
DATA = Dataset(X, jnp.arange(22) % CLASSES)
LOSS = fnn.losses.softmax_cross_entropy
TX = fnn.optim.sgd(0.1)
AUGMENT = chain(shift_crop(1), mix_up(CLASSES))


def _flat(params: Any, state: Any, x: jax.Array, *, train: bool = False, key: Any = None) -> tuple[jax.Array, Any]:
    del train, key
    return x.reshape(len(x), -1) @ params["w"], state


def _net(*noise: fnn.nn.Layer) -> fnn.nn.Layer:
    def init(key: Any, x: Any) -> tuple[Any, Any]:
        return {"w": 0.1 * jax.random.normal(key, (x.shape[1] * x.shape[2] * x.shape[3], CLASSES))}, {}

    return fnn.nn.sequential(fnn.nn.standardize(0.5, 0.3), *noise, fnn.nn.Layer("flat", init, _flat))


NET = _net()
STATE = init_state(KEY, NET, TX, X[:1])


def _seen(batch: Any, key: Any) -> Any:
    """The batch that the loss is taken on."""
    seen = []

    def spy(key: Any, batch: Any) -> Any:
        seen.append(AUGMENT(key, batch))
        return seen[-1]

    supervised(NET, LOSS, augment=spy)(STATE.params, {}, batch, key)
    return seen[0]


@pytest.mark.parametrize("weight", [None, jnp.arange(22.0)])
def test_the_loss_is_that_of_the_augmented_batch(weight: Any) -> None:
    batch = DATA if weight is None else WeightedBatch(*DATA, weight)
    loss = supervised(NET, LOSS, augment=AUGMENT)(STATE.params, {}, batch, KEY)[0]
    by_hand = AUGMENT(keys.for_layer(KEY, "augment"), batch)
    np.testing.assert_array_equal(loss, supervised(NET, LOSS)(STATE.params, {}, by_hand, None)[0])
    assert float(loss) != float(supervised(NET, LOSS)(STATE.params, {}, batch, None)[0])


def test_metrics_see_the_targets_as_they_came() -> None:
    targets = []

    def accuracy(outputs: jax.Array, y: jax.Array) -> jax.Array:
        targets.append(y)
        return fnn.metrics.accuracy(outputs, y)

    supervised(NET, LOSS, metrics={"accuracy": accuracy}, augment=AUGMENT)(STATE.params, {}, DATA, KEY)
    assert targets == [DATA.y]


def test_what_augment_draws_is_independent_of_the_networks_noise() -> None:
    seen = _seen(DATA, KEY)
    assert _same(seen, _seen(DATA, KEY))
    assert not _same(seen, _seen(DATA, jax.random.key(6)))
    mask = supervised(_net(fnn.nn.dropout(0.5)), LOSS)
    plain = mask(STATE.params, {}, DATA, KEY)[0]
    identity = supervised(_net(fnn.nn.dropout(0.5)), LOSS, augment=lambda key, batch: batch)
    np.testing.assert_array_equal(identity(STATE.params, {}, DATA, KEY)[0], plain)


def _same(a: Any, b: Any) -> bool:
    return all(np.array_equal(p, q) for p, q in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True))


def _step(**kind: Any) -> Any:
    return make_step(supervised(NET, LOSS, metrics={"accuracy": fnn.metrics.accuracy}, augment=AUGMENT), TX, **kind)


def test_host_loop_run_vmap_and_fit_are_one() -> None:
    # 22 examples in batches of 4: in the host loop the last is short, in the run it is filled up.
    loop, jitted = STATE, jax.jit(_step())
    for epoch in range(2):
        for batch in fnn.data.batches(DATA, 4, key=STATE.key, epoch=epoch):
            loop, _ = jitted(loop, batch)
    train = run(_step(), DATA, batch_size=4, epochs=2)
    by_run, history = jax.jit(train)(STATE)
    many = jax.tree.map(lambda a, b: jnp.stack([a, b]), STATE, init_state(jax.random.key(1), NET, TX, X[:1]))
    by_vmap, _ = jax.jit(jax.vmap(train))(many)
    fitted = fnn.fit(
        NET, LOSS, TX, DATA, key=KEY, epochs=2, batch_size=4, metrics={"accuracy": fnn.metrics.accuracy},
        augment=AUGMENT, progress=False,
    )  # fmt: skip
    for other in (by_run, jax.tree.map(lambda a: a[0], by_vmap), fitted.state):
        for a, b in zip(jax.tree.leaves(other.params), jax.tree.leaves(loop.params), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(fitted.history["loss"], history["loss"], rtol=1e-5)


def test_each_step_draws_its_own_and_a_resumed_run_the_same() -> None:
    recorded = make_step(supervised(NET, lambda o, y: LOSS(o, y), augment=AUGMENT), fnn.optim.sgd(0.0))
    once = jax.jit(lambda state: jax.lax.scan(lambda s, _: recorded(s, DATA), state, None, length=6))
    _, metrics = once(STATE)
    assert len(set(np.asarray(metrics["loss"]).tolist())) == 6, "the weights stay, so only the draws differ"
    half = jax.jit(lambda state: jax.lax.scan(lambda s, _: recorded(s, DATA), state, None, length=3))
    state, first = half(STATE)
    _, second = half(state)
    np.testing.assert_array_equal(jnp.concatenate([first["loss"], second["loss"]]), metrics["loss"])


def test_accumulate_draws_for_each_micro_batch() -> None:
    # Both halves are the same examples: only their draws can make them differ.
    twice = Dataset(jnp.concatenate([X[:6], X[:6]]), jnp.concatenate([DATA.y[:6], DATA.y[:6]]))
    state, metrics = _step(accumulate=2)(STATE, twice)
    noise = keys.for_step(STATE.key, STATE.step)
    losses = []
    for number in range(2):
        part = WeightedBatch(X[:6], DATA.y[:6], jnp.ones(6))
        loss_fn = supervised(NET, LOSS, augment=AUGMENT)
        losses.append(float(loss_fn(STATE.params, {}, part, jax.random.fold_in(noise, number))[0]))
    assert losses[0] != losses[1]
    np.testing.assert_allclose(metrics["loss"], np.mean(losses), rtol=1e-6)
    assert int(state.step) == 1


def test_evaluation_and_validation_never_augment() -> None:
    def blank(key: Any, batch: Any) -> Any:
        return batch._replace(x=jnp.zeros_like(batch.x))

    result = fnn.fit(
        NET, LOSS, fnn.optim.sgd(0.0), DATA, key=KEY, epochs=1, batch_size=11, validation=DATA, augment=blank,
        progress=False,
    )  # fmt: skip
    truth = make_eval(NET, {"loss": LOSS})(STATE, DATA)["loss"]
    np.testing.assert_allclose(result.history["val_loss"], [truth], rtol=1e-5)
    assert abs(float(result.history["loss"][0]) - float(truth)) > 1e-3


def test_labels_are_checked_before_anything_compiles() -> None:
    for augment in (flip(), mix_up(CLASSES)):
        with pytest.raises(ValueError, match=r"labels: got 7 at row 0 .* integer labels in \[0, 3\)"):
            fnn.fit(
                NET, LOSS, TX, Dataset(X, DATA.y.at[0].set(7)), key=KEY, epochs=1, batch_size=11, augment=augment,
                progress=False,
            )  # fmt: skip


@pytest.mark.parametrize(
    ("augment", "error", "match"),
    [
        (
            lambda key, batch: batch._replace(x=batch.x[:3], y=batch.y[:3]),
            ValueError,
            r"result of augment: got 3 exampl",
        ),
        (lambda key, batch: batch._replace(y=batch.y[:3]), ValueError, r"batch: got shapes \(22, 6, 6, 1\), \(3,\)"),
        (lambda key, batch: batch.x, TypeError, r"result of augment: got a ArrayImpl, expected a batch of 2 arrays"),
        (lambda key, batch: (batch.x,), TypeError, r"result of augment: got a tuple of 1, expected a batch of 2"),
        (lambda key, batch: (*batch, batch.y), TypeError, r"result of augment: got a tuple of 3, .*batch\._replace"),
    ],
)
def test_what_augment_returns_is_checked(augment: Any, error: type[Exception], match: str) -> None:
    with pytest.raises(error, match=f"^{match}"):
        supervised(NET, LOSS, augment=augment)(STATE.params, {}, DATA, KEY)


def test_augment_needs_a_key_and_is_a_function() -> None:
    with pytest.raises(ValueError, match=r"^key: got None, expected one typed key: augment draws with it\."):
        supervised(NET, LOSS, augment=flip())(STATE.params, {}, DATA, None)
    with pytest.raises(TypeError, match=r"^key: got a legacy uint32 key"):
        supervised(NET, LOSS, augment=flip())(STATE.params, {}, DATA, jax.random.key_data(KEY))
    for function in (
        supervised,
        lambda net, loss, **kind: fnn.fit(net, loss, TX, DATA, key=KEY, epochs=1, batch_size=2, **kind),
    ):
        with pytest.raises(TypeError, match=r"^augment: got 'flip', expected a function \(key, batch\) -> batch"):
            function(NET, LOSS, augment="flip")  # pyright: ignore[reportArgumentType]
