"""Ensembles: the mean of what the members of a population say, and how far they disagree."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import entr, kl_div
from jax.typing import ArrayLike

from fnn.contract import applied, initialized
from fnn.errors import check_count, check_floating, check_key, message
from fnn.nn import Layer, Shaped
from fnn.population.members import count
from fnn.targets import class_outputs
from fnn.train.state import TrainState, check_network, check_state
from fnn.typing import Array, Key, Params, State


class Uncertainty(NamedTuple):
    """How uncertain an ensemble is about each example, in nats; total = aleatoric + epistemic.

    Attributes:
        total: (n, ...), the entropy of the mean probabilities.
        aleatoric: the mean of the members' entropies: what they agree is uncertain.
        epistemic: how far the members differ from their mean: what more data could settle.
    """

    total: Array
    aleatoric: Array
    epistemic: Array


def ensemble(net: Any, members: int) -> Layer:
    """A network that averages its members' probabilities, `y = log (1/m sum_i softmax(f_i(x)))`.

    Its parameters and state are those of the members, stacked, so that a trained population is its state as it
    is: `fnn.train.make_eval(ensemble(net, m), metrics)(states, data)`. The outputs are logarithms of
    probabilities, and so logits: `softmax_cross_entropy` and `accuracy` take them. Members are best trained
    each by itself, `jax.vmap(train)(states)`; the layer trained as one network learns the loss of the mean.

    Args:
        net: the network of each member, with logits (n, ..., classes) as outputs.
        members: m, how many there are.

    Returns:
        A layer; its outputs are in the dtype of the members' outputs.

    Raises:
        ValueError: members below 1, or parameters of another number of members.
        TypeError: not a network.

    Example:
        >>> net = fnn.nn.mlp([2])
        >>> x, y = jnp.zeros((1, 3)), jnp.array([0])
        >>> init = lambda key: fnn.train.init_state(key, net, fnn.optim.sgd(0.1), x)
        >>> states = jax.vmap(init)(jax.random.split(jax.random.key(0), 5))
        >>> evaluate = fnn.train.make_eval(ensemble(net, 5), {"loss": fnn.losses.softmax_cross_entropy})
        >>> evaluate(states, fnn.data.Dataset(x, y))
        {'loss': Array(0.6931472, dtype=float32)}

    Source: Lakshminarayanan et al. 2017, "Simple and scalable predictive uncertainty estimation using deep
    ensembles", section 2.4.
    """
    check_network(net)
    check_count("members", members)

    def init(key: Key, x: Shaped) -> tuple[Params, State]:
        check_key("key", key)
        return jax.vmap(lambda k: initialized(net, k, x))(jax.random.split(key, members))

    def apply(
        params: Params, state: State, x: Array, *, train: bool = False, key: Key | None = None
    ) -> tuple[Array, State]:
        if (given := count("params", params)) != members:
            raise ValueError(message("params", f"{given} members", f"{members}, as the ensemble has"))
        noise = None if key is None else jax.random.split(key, members)

        def one(params: Params, state: State, noise: Key | None) -> tuple[Array, Array, State]:
            outputs, state = applied(net, params, state, x, train, noise)
            return outputs, jax.nn.log_softmax(class_outputs("outputs of net", outputs)), state

        outputs, logs, state = jax.vmap(one)(params, state, noise)
        mean = jax.nn.logsumexp(logs, axis=0) - jnp.log(jnp.asarray(members, logs.dtype))
        return mean.astype(outputs.dtype), state

    return Layer("ensemble", init, apply)


def member_probabilities(net: Any, states: TrainState, x: Array) -> Array:
    """What each member says, `p_i = softmax(f_i(x))`, in evaluation mode.

    Args:
        net: the network of each member, with logits (n, ..., classes) as outputs.
        states: a stack of m states.
        x: a batch of n examples.

    Returns:
        (m, n, ..., classes), float32 or wider.

    Example:
        >>> net, x = fnn.nn.mlp([2]), jnp.ones((4, 3))
        >>> init = lambda key: fnn.train.init_state(key, net, fnn.optim.sgd(0.1), x)
        >>> states = jax.vmap(init)(jax.random.split(jax.random.key(0), 5))
        >>> member_probabilities(net, states, x).shape
        (5, 4, 2)
    """
    check_network(net)
    check_state(states)
    count("states", states)

    def one(state: TrainState) -> Array:
        outputs, _ = applied(net, state.params, state.model_state, x)
        return jax.nn.softmax(class_outputs("outputs of net", outputs))

    return jax.vmap(one)(states)


def disagreement(probabilities: ArrayLike) -> Array:
    """The share of pairs of members that predict different classes, `(m^2 - sum_c m_c^2) / (m (m - 1))`.

    m_c of the m members predict class c, the one of the largest probability. 0 where all agree, 1 where no two
    do; its mean over the examples is the mean disagreement of two members.

    Args:
        probabilities: (m, n, ..., classes), or logits.

    Returns:
        (n, ...), float32.

    Raises:
        TypeError, ValueError: not floating-point numbers of that shape, or fewer than 2 members.

    Example:
        >>> disagreement(jnp.array([[[0.9, 0.1]], [[0.6, 0.4]], [[0.2, 0.8]]]))
        Array([0.6666667], dtype=float32)

    Source: Fort et al. 2019, "Deep ensembles: a loss landscape perspective", section 3.
    """
    p = _of_members(probabilities)
    m, classes = len(p), p.shape[-1]
    if m < 2:
        raise ValueError(message("probabilities", "one member", "at least 2", "One alone cannot disagree."))
    votes = jnp.sum(jax.nn.one_hot(jnp.argmax(p, axis=-1), classes, dtype=jnp.float32), axis=0)
    return (m * m - jnp.sum(jnp.square(votes), axis=-1)) / (m * (m - 1))


def uncertainty(probabilities: ArrayLike) -> Uncertainty:
    """The entropy of the mean, taken apart: `H(p) = 1/m sum_i H(p_i) + 1/m sum_i KL(p_i || p)`, `p = mean(p_i)`.

    Args:
        probabilities: p_i, (m, n, ..., classes), each row a distribution.

    Returns:
        Three arrays (n, ...) in nats, none of them negative, float32 or wider.

    Raises:
        TypeError, ValueError: not floating-point numbers of that shape.

    Example:
        >>> sure = uncertainty(jnp.array([[[0.5, 0.5], [1.0, 0.0]], [[0.5, 0.5], [0.0, 1.0]]]))
        >>> sure.aleatoric, sure.epistemic
        (Array([0.6931472, 0.       ], dtype=float32), Array([0.       , 0.6931472], dtype=float32))

    Source: Depeweg et al. 2018, "Decomposition of uncertainty in Bayesian deep learning for efficient and
    risk-sensitive learning", equation 2.
    """
    p = _of_members(probabilities)
    aleatoric = jnp.mean(jnp.sum(entr(p), axis=-1), axis=0)
    # Each term x log(x / y) - x + y is at least 0 but for rounding, and the rests add up to nothing.
    terms = jnp.maximum(kl_div(p, jnp.mean(p, axis=0)), 0)
    epistemic = jnp.mean(jnp.sum(terms, axis=-1), axis=0)
    return Uncertainty(aleatoric + epistemic, aleatoric, epistemic)


def _of_members(probabilities: Any) -> Array:
    check_floating("probabilities", probabilities)
    if np.ndim(probabilities) < 3 or np.shape(probabilities)[-1] < 2:
        got, expected = f"shape {np.shape(probabilities)}", "shape (members, n, ..., classes), at least 2 classes"
        raise ValueError(message("probabilities", got, expected, "Such as fnn.population.member_probabilities gives."))
    p = jnp.asarray(probabilities)
    return p.astype(jnp.promote_types(p.dtype, jnp.float32))
