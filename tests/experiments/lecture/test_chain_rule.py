"""Each term by hand, each as the gradient of its own L_k, and their sum for any weight of any such network."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.lecture import chain_rule
from experiments.lecture.chain_rule import NET, PARAMS, TARGET, WEIGHT, Found, X
from tests.plot.drawing import drawn, said


@pytest.fixture(scope="module")
def found() -> Found:
    return chain_rule.work()


def test_terms_by_hand(found: Found) -> None:
    """2 (y - target) times the weight to y times sigmoid'(0) = 1/4 times x = 2, with y = (1.5, 0, 1)."""
    np.testing.assert_array_equal(found.factors, [[1, 2, 0.25, 2], [2, -1, 0.25, 2], [2, 3, 0.25, 2]])
    np.testing.assert_array_equal(found.terms, [1, -1, 3])


def test_a_term_is_the_gradient_of_its_own_output_s_loss(found: Found) -> None:
    def losses(w: jax.Array) -> jax.Array:
        params = {**PARAMS, "dense_0": {**PARAMS["dense_0"], "w": w}}
        return (NET.apply(params, {}, X)[0][0] - TARGET[0]) ** 2

    np.testing.assert_allclose(jax.jacobian(losses)(PARAMS["dense_0"]["w"])[:, *WEIGHT], found.terms, rtol=1e-6)


def test_the_sum_is_the_gradient_of_the_library(found: Found) -> None:
    assert len(found.by_others) == 3
    for value in found.by_others.values():
        assert value == pytest.approx(found.terms.sum(), rel=1e-6)


def test_it_holds_for_every_weight_of_a_hundred_networks() -> None:
    @jax.jit
    @jax.vmap
    def sides(key: jax.Array) -> tuple[jax.Array, jax.Array]:
        of_net, of_x, of_target = jax.random.split(key, 3)
        x, target = jax.random.normal(of_x, (1, 2)), jax.random.normal(of_target, (1, 3))
        params, _ = NET.init(of_net, x)
        summed = [[chain_rule.paths(params, x, target, i, j).prod(axis=1).sum() for j in (0, 1)] for i in (0, 1)]
        return jnp.array(summed), jnp.stack(list(chain_rule.gradients(params, x, target).values()), axis=0)

    summed, others = sides(jax.random.split(jax.random.key(0), 100))
    np.testing.assert_allclose(others, np.broadcast_to(summed[:, None], (100, 3, 2, 2)), atol=1e-6)


def test_picture_and_findings(found: Found) -> None:
    (picture,) = chain_rule.pictures(found).values()
    texts = said(drawn(picture.figure))
    assert {"1 · 2 · 0.25 · 2 = 1", "2 · (-1) · 0.25 · 2 = -1", "2 · 3 · 0.25 · 2 = 3"} <= set(texts)
    assert "dL/dw = 1 - 1 + 3 = 3" in texts
    assert "add: 1 - 1 + 3 = 3." in picture.caption
    terms, total, others = chain_rule.findings(found)
    assert "dL_1/dw = 2 · (-1) · 0.25 · 2 = -1" in terms
    assert total.endswith("= 3.")
    assert others.count(" 3") == 3
