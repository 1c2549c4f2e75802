"""The experiments' own networks: what a mirrored one says, and that it learns as it is."""

import jax
import jax.numpy as jnp
import numpy as np

from experiments.networks import fast_resnet, mirrored

KEY = jax.random.key(0)
X = jax.random.normal(KEY, (4, 12, 12, 3))
NET = fast_resnet((3, 4, 5), 2, activation="relu", dropout=0.0, w_init=None)


def test_evaluation_knows_no_left_and_right() -> None:
    params, state = NET.init(KEY, X)
    one, both = (jax.jit(lambda x, n=n: n.apply(params, state, x)[0]) for n in (NET, mirrored(NET)))
    mirror = X[:, :, ::-1]
    assert float(jnp.abs(one(X) - one(mirror)).max()) > 1e-3
    np.testing.assert_allclose(both(X), both(mirror), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(both(X), (one(X) + one(mirror)) / 2, rtol=1e-5, atol=1e-6)


def test_training_is_that_of_the_network() -> None:
    params, state = NET.init(KEY, X)
    found = [jax.jit(lambda x, n=n: n.apply(params, state, x, train=True, key=KEY))(X) for n in (NET, mirrored(NET))]
    jax.tree.map(np.testing.assert_array_equal, *found)


def test_paths_of_the_parameters() -> None:
    params, _ = NET.init(KEY, X)
    names = {"dense_0", "residual_0", *(f"{kind}_{i}" for kind in ("conv", "batch_norm") for i in range(3))}
    assert set(params) == names
