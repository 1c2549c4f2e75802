"""Successive halving and Hyperband against the algorithm in plain Python, which trains nets one after the other."""

import functools
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import fnn
from fnn.data import Dataset
from fnn.population import hyperband, successive_halving, take
from fnn.train import TrainState, init_state, make_step, supervised

NET, TX = fnn.nn.mlp([4, 1], "tanh"), fnn.optim.with_hyperparams(fnn.optim.sgd, learning_rate=0.0)
LOSS_FN = supervised(NET, fnn.losses.squared_error)
X = jnp.linspace(-1.0, 1.0, 16)[:, None]
DATA = Dataset(X, 2 * X)
RUN = functools.partial(fnn.train.run, make_step(LOSS_FN, TX), DATA, batch_size=8)


def score(state: TrainState) -> Any:
    return -LOSS_FN(state.params, state.model_state, DATA, None)[0]


def sample(key: Any) -> TrainState:
    """A learning rate from 0.001 to 1, log-uniform, and first weights."""
    state = init_state(key, NET, TX, X)
    rate = 10 ** jax.random.uniform(jax.random.fold_in(key, 7), minval=-3.0, maxval=0.0)
    return state._replace(opt_state=fnn.optim.replace_hyperparams(state.opt_state, {"learning_rate": rate}))


ONE_EPOCH = jax.jit(lambda state: RUN(epochs=1)(state)[0])
SCORE = jax.jit(score)


def by_hand(states: list[TrainState], r: list[int], eta: int) -> tuple[list[tuple[int, list[int], list[float]]], Any]:
    """Algorithm 1 of Hyperband, lines 4 to 9, a net at a time; and the best score with its member."""
    going, done, record = list(enumerate(states)), 0, []
    best = (-math.inf, -1)
    for i, until in enumerate(r):
        trained = []
        for member, state in going:
            for _ in range(until - done):
                state = ONE_EPOCH(state)
            trained.append((float(SCORE(state)), member, state))
        trained.sort(key=lambda row: -row[0])
        record.append((until, [m for _, m, _ in trained], [value for value, _, _ in trained]))
        best = max(best, trained[0][:2], key=lambda pair: pair[0])
        going = [(m, state) for _, m, state in trained[: len(states) // eta ** (i + 1)]]
        done = until
    return record, best


def check(halved: Any, states: Any, r: list[int], eta: int) -> None:
    n = len(states.step)
    record, (best_score, best_member) = by_hand([take(states, i) for i in range(n)], r, eta)
    assert [int(rung.epochs) for rung in halved.rungs] == r
    for rung, (_, members, scores) in zip(halved.rungs, record, strict=True):
        assert list(map(int, rung.members)) == members
        np.testing.assert_allclose(rung.scores, scores, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(halved.best_score, best_score, rtol=1e-4, atol=1e-6)
    assert int(halved.best_member) == best_member
    np.testing.assert_allclose(SCORE(halved.best), best_score, rtol=1e-4, atol=1e-6)


def test_halving_by_hand() -> None:
    states = jax.vmap(sample)(jax.random.split(jax.random.key(0), 9))
    halved = jax.jit(successive_halving(RUN, score, epochs=9, eta=3))(states)
    check(halved, states, [1, 3, 9], 3)
    assert int(halved.states.step[0]) == 9 * 2
    # The survivor has the key and the learning rate of the member that it is.
    member = halved.rungs[-1].members[0]
    assert bool(halved.states.key[0] == states.key[member])
    rates = fnn.optim.hyperparams_of(halved.states.opt_state), fnn.optim.hyperparams_of(states.opt_state)
    assert float(rates[0]["learning_rate"][0]) == float(rates[1]["learning_rate"][member])


def test_hyperband_by_hand() -> None:
    key = jax.random.key(5)
    found = jax.jit(hyperband(RUN, score, sample, epochs=4, eta=2))(key)
    # R = 4, eta = 2: s_max = 2, n = ceil(3 / (s + 1) 2^s) = 4, 3, 3.
    for s, n, bracket in zip((2, 1, 0), (4, 3, 3), found.brackets, strict=True):
        states = jax.vmap(sample)(jax.random.split(jax.random.fold_in(key, s), n))
        check(bracket, states, [4 // 2 ** (s - i) for i in range(s + 1)], 2)
    assert float(found.best_score) == max(float(bracket.best_score) for bracket in found.brackets)
    np.testing.assert_allclose(SCORE(found.best), found.best_score, rtol=1e-4, atol=1e-6)


def counting(state: Any) -> Any:
    """A stand-in for training: the parameter is a table of the scores to come, by epoch."""
    return state["table"][state["epoch"] - 1]


def table(*rows: list[float]) -> Any:
    return {"table": jnp.array(rows), "epoch": jnp.zeros(len(rows), jnp.int32)}


def counted(*rows: list[float], **settings: Any) -> Any:
    """Successive halving of such a table."""
    return successive_halving(count_on, counting, **{"eta": 2, **settings})(table(*rows))


def count_on(epochs: int) -> Any:
    return lambda state: ({**state, "epoch": state["epoch"] + epochs}, None)


def test_ties_nan_and_the_best_that_was_dropped() -> None:
    nan = math.nan
    rows = [0.5, 9.0], [nan, 9.0], [0.5, 0.1], [0.7, nan], [-math.inf, 9.0], [nan, 9.0]
    halved = counted(*rows, epochs=2, rungs=2)
    assert list(map(int, halved.rungs[0].members)) == [3, 0, 2, 4, 1, 5]
    # Three of six go on; the best one of before is NaN by then.
    assert list(map(int, halved.rungs[1].members)) == [0, 2, 3]
    assert (float(halved.best_score), int(halved.best_member)) == (9.0, 0)
    worse = counted([0.9, 0.2], [0.1, 0.3], epochs=2)
    assert float(worse.best_score) == pytest.approx(0.9)
    assert int(worse.best["epoch"]) == 1
    all_nan = counted([nan, 0.2], [nan, 0.3], epochs=2)
    assert float(all_nan.best_score) == pytest.approx(0.2)


def test_how_many_rungs_there_are() -> None:
    rows = [[0.1 * i] * 81 for i in range(10)]
    for epochs, eta, rungs in ((81, 3, [9, 27, 81]), (80, 3, [8, 26, 80]), (2, 3, [2]), (20, 10, [2, 20])):
        halved = counted(*rows, epochs=epochs, eta=eta)
        assert [int(rung.epochs) for rung in halved.rungs] == rungs
        assert [len(rung.members) for rung in halved.rungs] == [10 // eta**i for i in range(len(rungs))]
        np.testing.assert_allclose(halved.states["table"][0], rows[9], rtol=1e-6)


@pytest.mark.parametrize(
    ("changes", "error", "match"),
    [
        ({"run": 1}, TypeError, r"^run: got 1, expected a function \(epochs=k\)"),
        ({"score": None}, TypeError, r"^score: got None"),
        ({"epochs": 0}, ValueError, r"^epochs: got 0"),
        ({"eta": 1}, ValueError, r"^eta: got 1, expected an integer >= 2"),
        ({"eta": 3.0}, TypeError, r"^eta: got 3\.0"),
        ({"rungs": 0}, ValueError, r"^rungs: got 0"),
        ({"rungs": 4}, ValueError, r"^rungs: got 4, expected at most 3 for 9 epochs and eta 3\. The first rung"),
        ({"score": lambda state: state["table"]}, ValueError, r"^result of score: got shape \(9,\), expected shape"),
    ],
)
def test_wrong_calls(changes: dict[str, Any], error: type[Exception], match: str) -> None:
    settings: dict[str, Any] = {"run": count_on, "score": counting, "epochs": 9, "eta": 3} | changes
    with pytest.raises(error, match=match):
        successive_halving(settings.pop("run"), settings.pop("score"), **settings)(table([0.0] * 9))


def test_too_few_members_and_wrong_draws() -> None:
    with pytest.raises(ValueError, match=r"^states: got 2 members, expected at least 3 for 2 rungs\. The last rung"):
        successive_halving(count_on, counting, epochs=9, rungs=2)(table([0.0] * 9, [0.0] * 9))
    with pytest.raises(TypeError, match=r"^sample: got 0, expected a function of a key"):
        hyperband(RUN, score, 0, epochs=4)  # pyright: ignore[reportArgumentType]
    with pytest.raises(TypeError, match=r"^key: got 0, expected one typed key"):
        hyperband(RUN, score, sample, epochs=4)(0)  # pyright: ignore[reportArgumentType]
