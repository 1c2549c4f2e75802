"""Population-based training: members copy better ones and change their hyperparameters while they train."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from fnn import keys
from fnn.errors import (
    check_callable,
    check_count,
    check_key,
    check_scalar,
    check_shape,
    check_values,
    is_traced,
    message,
)
from fnn.optim import hyperparams_of, replace_hyperparams
from fnn.population.members import count, ranked, take
from fnn.train.state import TrainState, check_state
from fnn.typing import Array, Key, Scalar

Bounds = Mapping[str, tuple[Scalar, Scalar]]


class Evolved(NamedTuple):
    """What population-based training ends with.

    Attributes:
        states: the population after the last round, as its scores found it.
        scores: (rounds, n), each member's score at the end of each round.
        hyperparams: (rounds, n) by name, the numbers that each member trained with in each round.
        parents: (rounds, n), whose state each member began the round with: its own index where it copied nobody.
    """

    states: TrainState
    scores: Array
    hyperparams: dict[str, Array]
    parents: Array


def exploit_and_explore(
    key: Key,
    states: TrainState,
    scores: Array,
    *,
    bounds: Bounds,
    share: Scalar = 0.2,
    factors: Sequence[Scalar] = (0.8, 1.2),
) -> tuple[TrainState, Array]:
    """One turn of population-based training: the worst copy one of the best, and change what they copied.

    Exploit, by truncation selection: each of the worst `k = max(1, round(share n))` members gets parameters,
    model state, optimizer state and hyperparameters of one of the k best, drawn at random; never of one whose
    score is NaN, as long as there is another. Explore: each number in `bounds` is multiplied by a factor drawn
    at random, `h <- clip(f h, low, high)`, a factor for each number of each member. Each member keeps its key
    and its step, so that order of data and noise go on as its own. The other members stay as they are.

    Args:
        key: draws who is copied, and the factors.
        states: a stack of n states whose optimizer is `fnn.optim.with_hyperparams(...)`.
        scores: (n,), higher is better, NaN is worst.
        bounds: (low, high) of each hyperparameter that is explored, by name, as in `fnn.optim.hyperparams_of`. The
            others are copied as they are.
        share: how many copy, in (0, 0.5]; it may be traced.
        factors: the factors, each as likely, > 0; they may be traced.

    Returns:
        The new states, and (n,) parents, int32: whom each member copied, its own index if nobody.

    Raises:
        ValueError: a number out of range, a hyperparameter that the optimizer does not hold, or fewer than 2 members.
        TypeError: an argument of the wrong kind.

    Example:
        >>> net, tx = fnn.nn.mlp([1]), fnn.optim.with_hyperparams(fnn.optim.sgd, learning_rate=0.1)
        >>> init = lambda key: fnn.train.init_state(key, net, tx, jnp.ones((1, 2)))
        >>> states = jax.vmap(init)(jax.random.split(jax.random.key(0), 4))
        >>> states, parents = exploit_and_explore(
        ...     jax.random.key(1), states, jnp.array([0.2, 0.9, jnp.nan, 0.5]), bounds={"learning_rate": (0.0, 1.0)})
        >>> parents
        Array([0, 1, 1, 3], dtype=int32)
        >>> fnn.optim.hyperparams_of(states.opt_state)["learning_rate"].round(3)
        Array([0.1 , 0.1 , 0.12, 0.1 ], dtype=float32)

    Source: Jaderberg et al. 2017, "Population based training of neural networks", algorithm 1 and section 4.1.1.
    """
    check_key("key", key)
    check_state(states)
    n = count("states", states)
    if n < 2:
        raise ValueError(message("states", "one member", "at least 2", "One alone has nobody to copy."))
    _check_numbers(share, factors)
    _check_bounds(bounds, hyperparams_of(states.opt_state))
    check_shape("scores", jnp.asarray(scores), (n,), "One score a member.")
    key_parent, key_factor = jax.random.split(key)
    parents = _parents(key_parent, jnp.asarray(scores), share)
    copied = take(states, parents)._replace(step=states.step, key=states.key)
    copies = parents != jnp.arange(n)
    kept, new = hyperparams_of(copied.opt_state), {}
    for name, (low, high) in bounds.items():
        drawn = jax.random.choice(keys.for_layer(key_factor, name), jnp.asarray(factors, jnp.float32), (n,))
        new[name] = jnp.where(copies, jnp.clip(kept[name] * drawn, low, high), kept[name])
    return copied._replace(opt_state=replace_hyperparams(copied.opt_state, new)), parents


def population_based_training(
    run: Callable[[TrainState], tuple[TrainState, Any]],
    score: Callable[[TrainState], Array],
    *,
    rounds: int,
    bounds: Bounds,
    share: Scalar = 0.2,
    factors: Sequence[Scalar] = (0.8, 1.2),
) -> Callable[[Key, TrainState], Evolved]:
    """Population-based training as one program: train for a while, score, exploit and explore, again and again.

    Args:
        run: trains one member for a round, as `fnn.train.run(step, data, batch_size=64, epochs=1)` does.
        score: of one member's state, a scalar; higher is better (give a loss its minus), NaN is worst.
        rounds: how often; between any two of them there is one `exploit_and_explore`.
        bounds: as in `exploit_and_explore`.
        share: as in `exploit_and_explore`.
        factors: as in `exploit_and_explore`.

    Returns:
        evolve(key, states) to `Evolved`, for a stack of states. It does not jit itself.

    Raises:
        ValueError, TypeError: as `exploit_and_explore`.

    Example:
        >>> x = jnp.linspace(-1.0, 1.0, 16)[:, None]
        >>> net, data = fnn.nn.mlp([1]), fnn.data.Dataset(x, 3 * x)
        >>> tx = fnn.optim.with_hyperparams(fnn.optim.sgd, learning_rate=1e-3)
        >>> loss_fn = fnn.train.supervised(net, fnn.losses.squared_error)
        >>> run = fnn.train.run(fnn.train.make_step(loss_fn, tx), data, batch_size=8, epochs=1)
        >>> score = lambda state: -loss_fn(state.params, state.model_state, data, None)[0]
        >>> evolve = population_based_training(run, score, rounds=30, bounds={"learning_rate": (1e-4, 0.5)})
        >>> init = lambda key: fnn.train.init_state(key, net, tx, x)
        >>> states = jax.vmap(init)(jax.random.split(jax.random.key(0), 8))
        >>> evolved = jax.jit(evolve)(jax.random.key(1), states)
        >>> evolved.scores.shape, bool(evolved.hyperparams["learning_rate"][-1].max() > 5e-3)
        ((30, 8), True)

    Source: Jaderberg et al. 2017, "Population based training of neural networks", algorithm 1.
    """
    check_callable("run", run, "a function from a state to (state, history)", "Such as fnn.train.run(step, data, ...).")
    check_callable("score", score, "a function of one member's state")
    check_count("rounds", rounds)
    _check_numbers(share, factors)

    def evolve(key: Key, states: TrainState) -> Evolved:
        check_key("key", key)
        check_state(states)
        n = count("states", states)

        def one_round(carry: tuple[TrainState, Array], i: Array) -> tuple[Any, Any]:
            states, scores = carry
            turned, parents = exploit_and_explore(
                jax.random.fold_in(key, i), states, scores, bounds=bounds, share=share, factors=factors
            )
            # Before the first round nobody has a score.
            states, parents = jax.tree.map(
                lambda new, old: jnp.where(i > 0, new, old), (turned, parents), (states, jnp.arange(n, dtype=jnp.int32))
            )
            hyperparams = hyperparams_of(states.opt_state)
            states, _ = jax.vmap(run)(states)
            scores = jax.vmap(score)(states)
            check_shape("result of score", scores, (n,), "One number a member.")
            return (states, scores.astype(jnp.float32)), (scores, hyperparams, parents)

        start = states, jnp.zeros(n, jnp.float32)
        (states, _), (scores, hyperparams, parents) = jax.lax.scan(one_round, start, jnp.arange(rounds))
        return Evolved(states, scores, hyperparams, parents)

    return evolve


def _parents(key: Key, scores: Array, share: Scalar) -> Array:
    n = len(scores)
    k = jnp.clip(jnp.round(jnp.asarray(share, jnp.float32) * n).astype(jnp.int32), 1, n // 2)
    order = ranked(scores).astype(jnp.int32)
    place = jnp.zeros(n, jnp.int32).at[order].set(jnp.arange(n, dtype=jnp.int32))
    numbers = jnp.sum(~jnp.isnan(scores)).astype(jnp.int32)
    drawn = order[jax.random.randint(key, (n,), 0, jnp.clip(numbers, 1, k))]
    return jnp.where(place >= n - k, drawn, jnp.arange(n, dtype=jnp.int32))


def _check_numbers(share: Any, factors: Any) -> None:
    remedy = "It is the share of members that copy: 0.2 lets the worst fifth copy the best fifth."
    check_scalar("share", share, 0, open_low=True, remedy=remedy)
    check_values("share", share, lambda known: known <= 0.5, "a number in (0, 0.5]", remedy)
    if not isinstance(factors, tuple | list) or not factors:
        raise TypeError(message("factors", factors, "a tuple of at least one factor", "Such as (0.8, 1.2)."))
    for position, factor in enumerate(factors):
        check_scalar(f"factors[{position}]", factor, 0, open_low=True)


def _check_bounds(bounds: Any, known: Mapping[str, Any]) -> None:
    if not isinstance(bounds, Mapping) or not bounds:
        remedy = 'Such as {"learning_rate": (1e-5, 1.0)}.'
        raise TypeError(message("bounds", bounds, "a mapping from names to (low, high), at least one", remedy))
    for name, pair in bounds.items():
        if name not in known:
            remedy = f"Make the optimizer with fnn.optim.with_hyperparams(factory, {name}=...)."
            expected = f"a hyperparameter that the optimizer's state holds ({', '.join(known) or 'none'})"
            raise ValueError(message("bounds", repr(name), expected, remedy))
        if not isinstance(pair, tuple | list) or len(pair) != 2:
            raise ValueError(message(f"bounds['{name}']", pair, "a pair (low, high)"))
        for side, number in zip(("low", "high"), pair, strict=True):
            check_scalar(f"bounds['{name}'], {side}", number)
        if not is_traced(pair) and pair[0] > pair[1]:
            raise ValueError(message(f"bounds['{name}']", tuple(pair), "low <= high"))
