"""Population-based training against NumPy: who copies whom, what is copied, what is changed, and the whole program."""

import zlib
from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import fnn
from fnn.data import Dataset
from fnn.optim import hyperparams_of
from fnn.population import exploit_and_explore, population_based_training, take
from fnn.train import TrainState, init_state, make_step, supervised

N = 10
# No gradient is zero but for rounding, which Adam would enlarge: normalized after the activation, and X not symmetric.
NET = fnn.nn.sequential(fnn.nn.dense(4), fnn.nn.activation("tanh"), fnn.nn.batch_norm(), fnn.nn.dense(1))
TX = fnn.optim.with_hyperparams(fnn.optim.adam, learning_rate=0.1, b1=0.9, weight_decay=0.01)
LOSS_FN = supervised(NET, fnn.losses.squared_error)
X = jnp.linspace(-1.0, 2.0, 16)[:, None]
DATA = Dataset(X, 2 * X)
RUN = fnn.train.run(make_step(LOSS_FN, TX), DATA, batch_size=8, epochs=1)
BOUNDS = {"learning_rate": (1e-4, 0.11), "weight_decay": (0.0, 1.0)}
NAN = float("nan")


def population(n: int = N) -> TrainState:
    """Members that differ in everything: weights, slots, step, hyperparameters."""
    states = jax.vmap(lambda key: init_state(key, NET, TX, X))(jax.random.split(jax.random.key(0), n))
    numbers = {"learning_rate": jnp.linspace(0.01, 0.1, n), "weight_decay": jnp.linspace(0.1, 0.2, n)}
    rows = jnp.arange(n)
    states = jax.tree.map(lambda a: a + rows.reshape(n, *(1,) * (a.ndim - 1)).astype(a.dtype), states._replace(key=()))
    opt_state = fnn.optim.replace_hyperparams(states.opt_state, numbers)
    return states._replace(opt_state=opt_state, key=jax.random.split(jax.random.key(1), n))


def by_hand(key: Any, scores: Any, numbers: Any, k: int, factors: Any, bounds: Any) -> tuple[list[int], Any]:
    """Truncation selection and perturbation, a member at a time; only the draws are JAX's."""
    n = len(scores)
    order = sorted(range(n), key=lambda i: (np.isnan(scores[i]), 0 if np.isnan(scores[i]) else -scores[i], i))
    pool = max(1, min(k, sum(not np.isnan(s) for s in scores)))
    key_parent, key_factor = jax.random.split(key)
    draws = jax.random.randint(key_parent, (n,), 0, pool)
    parents, new = list(range(n)), {name: np.array(values) for name, values in numbers.items()}
    for i in order[n - k :]:
        parents[i] = order[int(draws[i])]
        for name, values in numbers.items():
            new[name][i] = values[parents[i]]
            if name in bounds:
                own = jax.random.fold_in(key_factor, zlib.crc32(name.encode()))
                factor = float(jax.random.choice(own, jnp.array(factors), (n,))[i])
                new[name][i] = min(max(new[name][i] * factor, bounds[name][0]), bounds[name][1])
    return parents, new


SCORES = {
    "all differ": [0.3, 0.9, 0.1, 0.8, 0.5, 0.2, 0.7, 0.4, 0.6, 0.0],
    "ties": [0.5, 0.5, 0.5, 0.5, 0.1, 0.1, 0.1, 0.9, 0.9, 0.9],
    "NaN is worst": [NAN, 0.9, -1e9, NAN, 0.5, 0.2, 0.7, -np.inf, 0.6, NAN],
    "one number": [NAN, NAN, NAN, NAN, NAN, NAN, 0.1, NAN, NAN, NAN],
    "none": [NAN] * N,
}


@pytest.mark.parametrize("scores", SCORES.values(), ids=SCORES)
@pytest.mark.parametrize(("share", "k"), [(0.2, 2), (0.5, 5), (0.01, 1), (0.26, 3)])
def test_by_hand(scores: list[float], share: float, k: int) -> None:
    states, key = POPULATION, jax.random.key(11)
    new, parents = TURN(key, states, jnp.array(scores), share)
    before = {name: np.asarray(values) for name, values in hyperparams_of(states.opt_state).items()}
    expected, numbers = by_hand(key, scores, before, k, (0.8, 1.2), BOUNDS)
    assert list(map(int, parents)) == expected
    for name, values in hyperparams_of(new.opt_state).items():
        np.testing.assert_allclose(values, numbers[name], rtol=1e-6)
    # All else is the parent's, bit for bit, but key and step.
    copied = take(states, parents)
    chex.assert_trees_all_equal(new.params, copied.params)
    chex.assert_trees_all_equal(new.model_state, copied.model_state)
    chex.assert_trees_all_equal(new.opt_state.inner, copied.opt_state.inner)
    np.testing.assert_array_equal(new.step, states.step)
    np.testing.assert_array_equal(jax.random.key_data(new.key), jax.random.key_data(states.key))


POPULATION = population()
TURN = jax.jit(lambda key, states, scores, share: exploit_and_explore(key, states, scores, bounds=BOUNDS, share=share))


def test_every_parent_and_every_factor_is_drawn() -> None:
    keys = jax.random.split(jax.random.key(2), 200)
    scores = jnp.array(SCORES["all differ"])
    wide = {"learning_rate": (0.0, 1.0), "weight_decay": (0.0, 1.0)}

    def turn(key: Any) -> Any:
        states, parents = exploit_and_explore(key, POPULATION, scores, bounds=wide, share=0.3, factors=(0.5, 1.0, 2.0))
        numbers, old = hyperparams_of(states.opt_state), hyperparams_of(POPULATION.opt_state)
        return parents, jnp.stack([numbers[name] / old[name][parents] for name in wide])

    parents, factors = jax.jit(jax.vmap(turn))(keys)
    worst, best = [9, 2, 5], [1, 3, 6]
    for i in range(N):
        seen = np.bincount(parents[:, i], minlength=N)
        assert set(np.flatnonzero(seen)) == (set(best) if i in worst else {i})
        if i in worst:
            assert seen[best].min() > 200 / 3 - 4 * np.sqrt(200 * 2 / 9)
            counts = [(np.abs(factors[:, 0, i] - f) < 1e-3).sum() for f in (0.5, 1.0, 2.0)]
            assert sum(counts) == 200
            assert min(counts) > 200 / 3 - 4 * np.sqrt(200 * 2 / 9)
            # The two numbers of a member have factors of their own.
            assert not np.allclose(factors[:, 0, i], factors[:, 1, i])


def score(state: TrainState) -> Any:
    outputs, _ = NET.apply(state.params, state.model_state, X)
    return -fnn.losses.squared_error(outputs, DATA.y).mean()


def fresh(n: int) -> TrainState:
    states = jax.vmap(lambda key: init_state(key, NET, TX, X))(jax.random.split(jax.random.key(4), n))
    rates = {"learning_rate": jnp.logspace(-4, -1, n), "weight_decay": jnp.linspace(0.1, 0.2, n)}
    return states._replace(opt_state=fnn.optim.replace_hyperparams(states.opt_state, rates))


def test_the_program_is_the_loop() -> None:
    """Rounds in Python, members one after the other: float32 sums differ by their order alone."""
    key, states = jax.random.key(3), fresh(5)
    settings: dict[str, Any] = {"bounds": {"learning_rate": (1e-4, 0.2)}, "share": 0.4}
    evolved = jax.jit(population_based_training(RUN, score, rounds=4, **settings))(key, states)
    train = jax.jit(lambda state: RUN(state)[0])
    turn = jax.jit(lambda key, states, scores: exploit_and_explore(key, states, scores, **settings))
    scores: Any = None
    for i in range(4):
        parents = jnp.arange(5)
        if i:
            states, parents = turn(jax.random.fold_in(key, i), states, scores)
        np.testing.assert_array_equal(evolved.parents[i], parents)
        for name, values in hyperparams_of(states.opt_state).items():
            np.testing.assert_allclose(evolved.hyperparams[name][i], values, rtol=1e-6)
        members = [train(take(states, j)) for j in range(5)]
        states = jax.tree.map(lambda *leaves: jnp.stack(leaves), *members)
        scores = jnp.stack([score(member) for member in members])
        np.testing.assert_allclose(evolved.scores[i], scores, rtol=1e-4, atol=1e-6)
    chex.assert_trees_all_close(evolved.states.params, states.params, rtol=1e-4, atol=1e-5)
    assert evolved.hyperparams["learning_rate"].shape == (4, 5)
    assert (np.asarray(evolved.parents) != np.arange(5)).sum() == 3 * 2


@pytest.mark.parametrize(
    ("changes", "error", "match"),
    [
        ({"key": 0}, TypeError, r"^key: got 0, expected one typed key"),
        ({"states": {}}, TypeError, r"^state: got a dict, expected a TrainState"),
        ({"states": population(1), "scores": jnp.ones(1)}, ValueError, r"^states: got one member, expected at least 2"),
        ({"scores": jnp.ones(3)}, ValueError, r"^scores: got shape \(3,\), expected shape \(10,\)\. One score"),
        ({"scores": jnp.ones(N, int)}, TypeError, r"^scores: got dtype int32"),
        ({"share": 0.0}, ValueError, r"^share: got 0\.0, expected a finite number > 0\. It is the share"),
        ({"share": 0.6}, ValueError, r"^share: got 0\.6.*expected a number in \(0, 0\.5\]"),
        ({"factors": ()}, TypeError, r"^factors: got \(\), expected a tuple of at least one factor"),
        ({"factors": (0.8, -1.2)}, ValueError, r"^factors\[1\]: got -1\.2, expected a finite number > 0"),
        ({"bounds": None}, TypeError, r"^bounds: got None, expected a mapping from names to \(low, high\)"),
        ({"bounds": {}}, TypeError, r"^bounds: got \{\}, expected a mapping"),
        (
            {"bounds": {"rate": (0, 1)}},
            ValueError,
            r"^bounds: got 'rate', expected a hyperparameter .*weight_decay\)\.",
        ),
        ({"bounds": {"b1": 1}}, ValueError, r"^bounds\['b1'\]: got 1, expected a pair \(low, high\)"),
        ({"bounds": {"b1": (0, NAN)}}, ValueError, r"^bounds\['b1'\], high: got nan, expected a finite number"),
        ({"bounds": {"b1": (0.9, 0.1)}}, ValueError, r"^bounds\['b1'\]: got \(0\.9, 0\.1\), expected low <= high"),
    ],
)
def test_wrong_calls(changes: dict[str, Any], error: type[Exception], match: str) -> None:
    given: dict[str, Any] = {
        "key": jax.random.key(0), "states": POPULATION, "scores": jnp.ones(N), "bounds": BOUNDS
    } | changes  # fmt: skip
    with pytest.raises(error, match=match):
        exploit_and_explore(given.pop("key"), given.pop("states"), given.pop("scores"), **given)


def test_wrong_programs() -> None:
    make: Any = population_based_training
    with pytest.raises(TypeError, match=r"^run: got 1, expected a function from a state"):
        make(1, score, rounds=2, bounds=BOUNDS)
    with pytest.raises(TypeError, match=r"^score: got 1, expected a function of one member's state"):
        make(RUN, 1, rounds=2, bounds=BOUNDS)
    with pytest.raises(ValueError, match=r"^rounds: got 0"):
        make(RUN, score, rounds=0, bounds=BOUNDS)
    with pytest.raises(ValueError, match=r"^share: got -0\.1"):
        make(RUN, score, rounds=2, bounds=BOUNDS, share=-0.1)
    with pytest.raises(ValueError, match=r"^result of score: got shape \(10, 2\), expected shape \(10,\)"):
        make(lambda state: (state, None), lambda state: jnp.ones(2), rounds=2, bounds=BOUNDS)(
            jax.random.key(0), POPULATION
        )
