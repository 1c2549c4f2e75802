"""Successive halving and Hyperband: many members train a little, the best of them train on."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from fnn.errors import check_callable, check_count, check_key, check_shape, message
from fnn.population.members import count, ranked, take
from fnn.train import TrainState
from fnn.typing import Array, Key

Run = Callable[..., Callable[[TrainState], tuple[TrainState, Any]]]
Score = Callable[[TrainState], Array]


class Rung(NamedTuple):
    """One rung of successive halving: who trained, and how it ended.

    Attributes:
        epochs: how many epochs each of them has trained by its end, since the start, int32.
        members: their indices in the first population, best first; as many of the first as the next rung has
            went on, the others were dropped.
        scores: their scores, in that order.
    """

    epochs: Array
    members: Array
    scores: Array


class Halved(NamedTuple):
    """What successive halving ends with.

    Attributes:
        states: the members of the last rung, best first; `rungs[-1].members` tells who they are.
        best: the one state of the highest score at the end of any rung.
        best_score: that score.
        best_member: whose it is: its index in the first population.
        rungs: each rung, the first one first.
    """

    states: TrainState
    best: TrainState
    best_score: Array
    best_member: Array
    rungs: tuple[Rung, ...]


class Hyperbanded(NamedTuple):
    """What Hyperband ends with.

    Attributes:
        best: the one state of the highest score at the end of any rung of any bracket.
        best_score: that score.
        brackets: each bracket's successive halving, that of the most members first.
    """

    best: TrainState
    best_score: Array
    brackets: tuple[Halved, ...]


def successive_halving(
    run: Run, score: Score, *, epochs: int, eta: int = 3, rungs: int | None = None
) -> Callable[[TrainState], Halved]:
    """Successive halving, `n_i = floor(n / eta^i)` members train until epoch `r_i = floor(R / eta^(s - i))`.

    After each rung i = 0, ..., s the best 1/eta of the members go on from where they stand, so that every rung
    costs about the same. Those that are dropped are left out of the program from there on: each rung trains a
    smaller stack. How many go on is known beforehand, and so the whole search is one pure function.

    Args:
        run: (epochs=k) to a function from a state to (state, anything) that trains one member for k epochs:
            `functools.partial(fnn.train.run, step, data, batch_size=64)`.
        score: of one member's state, a scalar; higher is better (give a loss its minus), NaN is worst.
        epochs: R, how long the members of the last rung have trained in the end.
        eta: a share of 1/eta goes on, at least 2.
        rungs: s + 1; None takes as many as the epochs and the members allow.

    Returns:
        search(states) to `Halved`, for a stack of states at their beginning. It does not jit itself.

    Raises:
        ValueError: numbers out of range, so many rungs that the first would train for less than one epoch, or
            too few members for them.

    Example:
        >>> net, data = fnn.nn.mlp([1]), fnn.data.Dataset(jnp.ones((4, 1)), jnp.ones((4, 1)))
        >>> tx = fnn.optim.with_hyperparams(fnn.optim.sgd, learning_rate=0.0)
        >>> loss_fn = fnn.train.supervised(net, fnn.losses.squared_error)
        >>> run = lambda epochs: fnn.train.run(fnn.train.make_step(loss_fn, tx), data, batch_size=4, epochs=epochs)
        >>> def init(rate):
        ...     state = fnn.train.init_state(jax.random.key(0), net, tx, data.x)
        ...     return state._replace(opt_state=fnn.optim.replace_hyperparams(state.opt_state, {"learning_rate": rate}))
        >>> score = lambda state: -loss_fn(state.params, state.model_state, data, None)[0]
        >>> states = jax.vmap(init)(jnp.linspace(0.0, 0.2, 9))
        >>> halved = jax.jit(successive_halving(run, score, epochs=9))(states)
        >>> [(int(rung.epochs), len(rung.members)) for rung in halved.rungs]
        [(1, 9), (3, 3), (9, 1)]

    Source: Jamieson and Talwalkar 2016, "Non-stochastic best arm identification", figure 3; in the form of Li
    et al. 2018, "Hyperband", algorithm 1, lines 4 to 9.
    """
    _check_search(run, score, epochs, eta)
    if rungs is not None:
        check_count("rungs", rungs)
        if eta ** (rungs - 1) > epochs:
            expected = f"at most {_rungs(epochs, eta)} for {epochs} epochs and eta {eta}"
            raise ValueError(message("rungs", rungs, expected, "The first rung trains for at least one epoch."))

    def search(states: TrainState) -> Halved:
        n = count("states", states)
        s = (min(_rungs(epochs, eta), _rungs(n, eta)) if rungs is None else rungs) - 1
        if n < eta**s:
            remedy = "The last rung has at least one: stack more, or take fewer rungs."
            raise ValueError(message("states", f"{n} members", f"at least {eta**s} for {s + 1} rungs", remedy))
        members, done, record = jnp.arange(n), 0, []
        best: Any = None
        for i in range(s + 1):
            until = epochs // eta ** (s - i)
            states, members = jax.tree.map(lambda a, k=n // eta**i: a[:k], (states, members))
            states, scores = _trained(run(epochs=until - done), score, states)
            order = ranked(scores)
            states, members, scores = take((states, members, scores), order)
            record.append(Rung(jnp.asarray(until, jnp.int32), members, scores))
            best, done = _better(best, take((states, scores, members), 0)), until
        return Halved(states, best[0], best[1], best[2], tuple(record))

    return search


def hyperband(
    run: Run, score: Score, sample: Callable[[Key], TrainState], *, epochs: int, eta: int = 3
) -> Callable[[Key], Hyperbanded]:
    """Hyperband: brackets of successive halving, from many members that train a little to few that train long.

    With `s_max = floor(log_eta R)`, bracket s = s_max, ..., 0 has s + 1 rungs and `n = ceil((s_max + 1) / (s + 1)
    eta^s)` members. All brackets cost about the same; between them they hedge how early a score tells the best
    member. Bracket 0 is random search. It is a program for each rung of each bracket, (s_max + 1)(s_max + 2) / 2
    trainings to compile.

    Args:
        run: as in `successive_halving`.
        score: as in `successive_halving`.
        sample: draws a member with a key: its hyperparameters and its first weights.
        epochs: R, the most epochs that any member trains.
        eta: as in `successive_halving`.

    Returns:
        search(key) to `Hyperbanded`. It does not jit itself.

    Raises:
        ValueError, TypeError: as `successive_halving`; not one typed key.

    Example:
        >>> net, data = fnn.nn.mlp([1]), fnn.data.Dataset(jnp.ones((4, 1)), jnp.ones((4, 1)))
        >>> tx = fnn.optim.with_hyperparams(fnn.optim.sgd, learning_rate=0.0)
        >>> loss_fn = fnn.train.supervised(net, fnn.losses.squared_error)
        >>> run = lambda epochs: fnn.train.run(fnn.train.make_step(loss_fn, tx), data, batch_size=4, epochs=epochs)
        >>> score = lambda state: -loss_fn(state.params, state.model_state, data, None)[0]
        >>> def sample(key):
        ...     state = fnn.train.init_state(key, net, tx, data.x)
        ...     rate = {"learning_rate": 10 ** jax.random.uniform(key, minval=-3, maxval=0)}
        ...     return state._replace(opt_state=fnn.optim.replace_hyperparams(state.opt_state, rate))
        >>> found = jax.jit(hyperband(run, score, sample, epochs=4, eta=2))(jax.random.key(0))
        >>> [[(int(rung.epochs), len(rung.members)) for rung in bracket.rungs] for bracket in found.brackets]
        [[(1, 4), (2, 2), (4, 1)], [(2, 3), (4, 1)], [(4, 3)]]

    Source: Li et al. 2018, "Hyperband: a novel bandit-based approach to hyperparameter optimization",
    algorithm 1.
    """
    _check_search(run, score, epochs, eta)
    check_callable("sample", sample, "a function of a key that draws a TrainState")
    most = _rungs(epochs, eta) - 1

    def search(key: Key) -> Hyperbanded:
        check_key("key", key)
        best: Any = None
        brackets = []
        for s in range(most, -1, -1):
            n = -(-(most + 1) * eta**s // (s + 1))
            states = jax.vmap(sample)(jax.random.split(jax.random.fold_in(key, s), n))
            halved = successive_halving(run, score, epochs=epochs, eta=eta, rungs=s + 1)(states)
            best = _better(best, (halved.best, halved.best_score))
            brackets.append(halved)
        return Hyperbanded(best[0], best[1], tuple(brackets))

    return search


def _check_search(run: Any, score: Any, epochs: Any, eta: Any) -> None:
    remedy = "Such as functools.partial(fnn.train.run, step, data, batch_size=64)."
    check_callable("run", run, "a function (epochs=k) that makes a function from a state to (state, history)", remedy)
    check_callable("score", score, "a function of one member's state")
    check_count("epochs", epochs)
    check_count("eta", eta, 2)


def _rungs(most: int, eta: int) -> int:
    """How many rungs there are from 1 to `most`: floor(log_eta most) + 1."""
    rungs = 1
    while eta**rungs <= most:
        rungs += 1
    return rungs


def _trained(train: Callable[[TrainState], tuple[TrainState, Any]], score: Score, states: Any) -> tuple[Any, Array]:
    def one(state: TrainState) -> tuple[TrainState, Array]:
        state, _ = train(state)
        value = jnp.asarray(score(state))
        check_shape("result of score", value, (), "One number a member.")
        return state, value

    return jax.vmap(one)(states)


def _better(best: Any, new: Any) -> Any:
    """Of two, (state, score, ...) each, the one of the higher score; the first one where they are equal."""
    if best is None:
        return new
    higher = (new[1] > best[1]) | (jnp.isnan(best[1]) & ~jnp.isnan(new[1]))
    return jax.tree.map(lambda a, b: jnp.where(higher, a, b), new, best)
