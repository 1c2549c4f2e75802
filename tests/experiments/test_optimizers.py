"""The race: every rule gets down every surface, and off the saddle; of runs that diverge none is the best."""

import jax.numpy as jnp
import numpy as np
import pytest

from experiments.optimizers import RATES, RULES, SURFACES, Surface, best, descend


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("surface", SURFACES, ids=lambda surface: surface.name.partition(":")[0])
def test_every_rule_gets_down(rule: str, surface: Surface) -> None:
    run = descend(surface, RULES[rule], 100)
    assert run.trace.shape == (101, 2)
    np.testing.assert_array_equal(run.trace[0], np.asarray(surface.start, np.float32))
    assert run.values[-1] < 0.2 * run.values[0]


def test_the_best_stayed_finite() -> None:
    values = jnp.full((len(RATES), 3), jnp.nan).at[3].set(2.0).at[4].set(1.0)
    assert best(values, values).rate == pytest.approx(float(RATES[4]))
