"""The laws of losses: all of fnn keeps them, and each of many planted faults breaks the law that is named."""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from fnn import losses
from fnn.errors import is_traced
from fnn.laws import LawViolation, law
from fnn.laws.loss import LAWS, check_loss
from fnn.laws.loss.kinds import KINDS, ROWS, generic

OURS = {
    "squared_error": "regression",
    "absolute_error": "regression",
    "huber": "regression",
    "binary_cross_entropy": "binary",
    "sigmoid_binary_cross_entropy": "binary logits",
    "cross_entropy": "classes",
    "softmax_cross_entropy": "class logits",
    "hinge": "signs",
    "multiclass_hinge": "class scores",
}
SMOOTHED = "A smoothed label is no certain answer."
Function = Callable[[Any, Any], Any]


# What is right keeps the laws ----------------------------------------------------------------------------


def test_every_loss_of_fnn_is_checked() -> None:
    public = {n for n, v in vars(losses).items() if getattr(v, "__module__", "") == "fnn.losses" and n[0] != "_"}
    assert public == set(OURS)


@pytest.mark.parametrize("name", OURS)
def test_our_losses_keep_every_law(name: str) -> None:
    report = check_loss(getattr(losses, name))
    report.raise_if_broken()
    assert report.subject == name
    held = [row for row in report.rows if row.verdict == "held"]
    assert len(held) >= 25
    assert all(row.note for row in report.rows if row.verdict == "does not apply")


def test_numbers_of_a_loss_are_bound_by_partial() -> None:
    check_loss(partial(losses.huber, delta=0.5)).raise_if_broken()
    smooth = partial(losses.softmax_cross_entropy, label_smoothing=0.1)
    expected = {"right_costs_least": SMOOTHED, "gradient_leads_to_right": SMOOTHED}
    report = check_loss(smooth, expected=expected)
    report.raise_if_broken()
    assert report["right_costs_least"].verdict == "expected"


def test_an_expectation_that_no_longer_holds_is_an_error() -> None:
    report = check_loss(losses.squared_error, expected={"finite_value": "no"}, laws=["finite_value"])
    with pytest.raises(LawViolation, match="finite_value is outdated"):
        report.raise_if_broken()


OPTAX = {
    optax.losses.squared_error: {"half_precision_is_wide"},
    optax.losses.huber_loss: {"half_precision_is_wide", "nothing_broadcasts"},
    optax.losses.hinge_loss: {"half_precision_is_wide", "nothing_broadcasts", "label_out_of_range"},
    optax.losses.softmax_cross_entropy: {"half_precision_is_wide", "nothing_broadcasts"},
    optax.losses.softmax_cross_entropy_with_integer_labels: {
        "half_precision_is_wide",
        "nothing_broadcasts",
        "label_out_of_range",
    },
}


@pytest.mark.parametrize(("loss", "broken"), OPTAX.items(), ids=[f.__name__ for f in OPTAX])
def test_losses_of_optax_break_only_the_laws_of_checks_and_precision(loss: Function, broken: set[str]) -> None:
    assert {row.law for row in check_loss(loss, examples=5).broken} == broken


# What is wrong is caught ---------------------------------------------------------------------------------


def _softplus_of_logits(x: Any, y: Any) -> Any:
    return y * jax.nn.softplus(-x) + (1 - y) * jax.nn.softplus(x)


def _log_p(x: Any, y: Any) -> Any:
    own = jnp.sum(jax.nn.one_hot(y, x.shape[-1], dtype=x.dtype) * jax.nn.log_softmax(x), axis=-1)
    return -jnp.where((y >= 0) & (y < x.shape[-1]), own, jnp.nan)


def _p(x: Any, y: Any) -> Any:
    return jnp.where(y == 1, x, 1 - x)


@jax.custom_jvp
def _size(r: Any) -> Any:
    return jnp.abs(r)


_size.defjvp(
    lambda primals, tangents: (jnp.abs(primals[0]), jnp.where(primals[0] == 0, 5, jnp.sign(primals[0])) * tangents[0])
)


@jax.custom_jvp
def _bent(r: Any) -> Any:
    return jnp.square(r)


# The root's derivative at 0 is infinite, and times 0 it is NaN.
_bent.defjvp(lambda p, t: (jnp.square(p[0]), (2 * p[0] + jnp.sqrt(0 * p[0])) * t[0]))


def _outside(x: Any, y: Any) -> Any:
    return jax.pure_callback(lambda a, b: np.square(a - b), jax.ShapeDtypeStruct(x.shape, x.dtype), x, y)


def _writes(x: Any, y: Any) -> Any:
    if isinstance(x, np.ndarray):
        x -= y
        return jnp.square(x)
    return jnp.square(x - y)


CALLS: list[int] = []
LEAKED: list[Any] = []


def _counts(x: Any, y: Any) -> Any:
    CALLS.append(1)
    return jnp.square(x - y) * len(CALLS)


def _leaks(x: Any, y: Any) -> Any:
    LEAKED.append(x)
    return jnp.square(x - y)


def _batch_normed(x: Any, y: Any) -> Any:
    return jnp.square(x - y) / (1e-6 + jnp.mean(jnp.square(x - y)))


def _under_jit(x: Any, y: Any) -> Any:
    return jnp.square(x - y) * (2 if is_traced(x) else 1)


def _by_place(x: Any, y: Any) -> Any:
    return jnp.square(x - y) * (1 + jnp.arange(len(x)))


FAULTS: dict[str, tuple[Function, str, set[str]]] = {
    "the mean instead of values": (lambda x, y: jnp.mean((x - y) ** 2), "regression", {"one_value_per_example"}),
    "a value per output, kept as a column": (
        lambda x, y: ((x - y) ** 2)[:, None],
        "regression",
        {"one_value_per_example"},
    ),
    "divided by the batch's mean": (_batch_normed, "regression", {"rows_stand_alone"}),
    "weighted by place": (_by_place, "regression", {"rows_commute", "rows_stand_alone"}),
    "shapes broadcast": (lambda x, y: (x - y) ** 2, "regression", {"nothing_broadcasts"}),
    "a negative loss": (lambda x, y: -jnp.square(x - y), "regression", {"never_negative", "right_costs_least"}),
    "half the gradient": (
        lambda x, y: jnp.square((x + jax.lax.stop_gradient(x)) / 2 - y),
        "regression",
        {"gradient_is_right"},
    ),
    "the gradient upwards": (
        lambda x, y: jnp.square(2 * jax.lax.stop_gradient(x) - x - y),
        "regression",
        {"step_goes_down", "gradient_leads_to_right"},
    ),
    "root of the square": (lambda x, y: jnp.sqrt(jnp.square(x - y)), "regression", {"finite_gradient"}),
    "a false slope at the kink": (lambda x, y: _size(x - y), "regression", {"slope_at_kinks"}),
    "NaN replaced by 0": (lambda x, y: jnp.nan_to_num(jnp.square(x - y)), "regression", {"nan_is_seen"}),
    "computed in float16": (
        lambda x, y: jnp.square(x.astype(jnp.float16) - y.astype(jnp.float16)).astype(x.dtype),
        "regression",
        {"float32_is_float64", "finite_value"},
    ),
    "always float32": (lambda x, y: jnp.square(x - y).astype(jnp.float32), "regression", {"keeps_dtype"}),
    "writes into its inputs": (_writes, "regression", {"inputs_untouched"}),
    "counts its calls": (_counts, "regression", {"deterministic"}),
    "keeps a tracer": (_leaks, "regression", {"no_tracer_leaks"}),
    "another loss under jit": (_under_jit, "regression", {"jit_is_eager"}),
    "no empty batch": (lambda x, y: jnp.square(x - y) + 0 * x[0], "regression", {"empty_batch"}),
    "a loss of the wrong shape for two outputs": (
        lambda x, y: jnp.square(x - y).reshape(len(x), -1).max(axis=1),
        "regression",
        {"averages_outputs"},
    ),
    "a sigmoid, then its logarithm": (
        lambda x, y: -jnp.log(_p(jax.nn.sigmoid(x), y)),
        "binary logits",
        {"finite_value", "finite_gradient"},
    ),
    "clipped probabilities": (
        lambda x, y: -jnp.log(_p(jnp.clip(x, 1e-3, 1 - 1e-3), y)),
        "binary",
        {"wrong_is_pulled_back"},
    ),
    "a small number in the logarithm": (lambda x, y: -jnp.log(_p(x, y) + 1e-5), "binary", {"never_negative"}),
    "labels the wrong way round": (lambda x, y: _softplus_of_logits(x, 1 - y), "binary logits", {"right_costs_least"}),
    "a positive counts twice": (lambda x, y: (1 + y) * _softplus_of_logits(x, y), "binary logits", {"sides_are_alike"}),
    "labels out of range pass": (_softplus_of_logits, "binary logits", {"label_out_of_range"}),
    "probabilities out of range pass": (
        lambda x, y: -jnp.log(jnp.maximum(_p(jnp.clip(x, 0, 1), y), 1e-12)),
        "binary",
        {"probability_out_of_range"},
    ),
    "signs in the dtype of the labels": (
        lambda x, y: jnp.log1p(jnp.exp(-jnp.abs(x))) + jax.nn.relu(-x * (2 * y - y.dtype.type(1))),
        "binary logits",
        {"label_dtype"},
    ),
    "the logarithm of a sum of powers": (
        lambda x, y: jnp.log(jnp.sum(jnp.exp(x), -1)) - jnp.take_along_axis(x, y[:, None], -1)[:, 0],
        "class logits",
        {"finite_value"},
    ),
    "scores squared": (
        lambda x, y: _log_p(x, y) + 1e-2 * jnp.sum(x**2, -1),
        "class logits",
        {"shift_invariant"},
    ),
    "class 0 counts twice": (
        lambda x, y: _log_p(x, y) * jnp.where(y == 0, 2, 1),
        "class logits",
        {"classes_are_alike"},
    ),
    "negative labels count from the end": (
        lambda x, y: -jnp.take_along_axis(jax.nn.log_softmax(x), y[:, None], axis=-1)[:, 0],
        "class logits",
        {"label_out_of_range"},
    ),
    "another formula for one-hot rows": (
        lambda x, y: losses.softmax_cross_entropy(x, y) * (2 if y.dtype == x.dtype else 1),
        "class logits",
        {"one_hot_is_integer"},
    ),
    "powers that overflow in float16": (
        lambda x, y: jnp.log1p(jnp.exp(jnp.minimum((1 - 2 * y) * x, 80))),
        "binary logits",
        {"half_precision_is_finite", "wrong_is_pulled_back"},
    ),
    "means in float16": (lambda x, y: jnp.abs(x - y), "regression", {"half_precision_is_wide"}),
    "a slope that cannot be differentiated": (lambda x, y: _bent(x - y), "regression", {"second_derivative_is_finite"}),
    "computed outside of JAX": (_outside, "regression", {"vmap_is_loop", "finite_gradient"}),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_planted_fault_breaks_its_law(name: str) -> None:
    loss, kind, caught = FAULTS[name]
    assert {row.law for row in check_loss(loss, kind=kind, laws=caught).broken} == caught


def test_every_law_is_broken_by_a_fault() -> None:
    assert {one.name for one in LAWS} == set().union(*(caught for _, _, caught in FAULTS.values()))


def test_the_counterexample_is_small_and_can_be_typed_in() -> None:
    naive = FAULTS["a sigmoid, then its logarithm"][0]
    with pytest.raises(LawViolation, match="finite_value is broken") as caught:
        check_loss(naive, kind="binary logits", laws=["finite_value"]).raise_if_broken()
    given = eval(f"dict({caught.value.counterexample})")
    x, y = (np.array(given[part], np.float32) for part in ("outputs", "targets"))
    values = naive(jnp.asarray(x), jnp.asarray(y))
    # One example is enough; the others are as plain as can be.
    assert np.isinf(values).sum() == 1
    assert np.count_nonzero(x) == 1


# Kinds and refusals --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["binary_cross_entropy", "cross_entropy", "hinge"])
def test_the_kind_is_found_by_trying(name: str) -> None:
    # A function of another module, whose name says nothing.
    report = check_loss(lambda x, y: getattr(losses, name)(x, y), laws=["label_out_of_range", "classes_are_alike"])
    assert report["label_out_of_range"].verdict == "held"
    assert report["classes_are_alike"].note in ("", f"its kind is {OURS[name]}")


def test_a_loss_of_several_kinds_asks_for_one() -> None:
    with pytest.raises(
        ValueError, match=r"kind: got None, expected one of regression, binary.*kind='binary logits': logits"
    ):
        check_loss(lambda x, y: jnp.square(x - y))


def test_a_loss_of_no_kind_is_refused() -> None:
    with pytest.raises(ValueError, match=r"loss: got <lambda>, expected a loss that accepts.*no value per example"):
        check_loss(lambda x, y: jnp.float32(0))
    with pytest.raises(ValueError, match=r"For predictions and targets of shape \(6,\)"):
        check_loss(lambda x, y: x @ jnp.ones((9, 9)) + y)


def test_refusals() -> None:
    with pytest.raises(ValueError, match=r"kind: got 'logits', expected one of .*Did you mean"):
        check_loss(losses.hinge, kind="logits")
    with pytest.raises(TypeError, match="loss: got 3, expected a function"):
        check_loss(3)
    with pytest.raises(ValueError, match="laws: got 'finite', expected one of"):
        check_loss(losses.hinge, laws=["finite"])
    with pytest.raises(ValueError, match="expected: got 'finite', expected one of"):
        check_loss(losses.hinge, expected={"finite": "so"})
    with pytest.raises(TypeError, match=r"laws: got 'finite_value', expected a list.*Give \['finite_value'\]"):
        check_loss(losses.hinge, laws="finite_value")
    with pytest.raises(ValueError, match="examples: got 0"):
        check_loss(losses.hinge, examples=0)


def test_kinds_make_what_they_say() -> None:
    for kind in KINDS.values():
        case = generic(kind)
        assert len(case.outputs) == len(case.targets) == ROWS
        assert (case.outputs.ndim == 2) == ("classes" in kind.traits)
        if "probabilities" in kind.traits:
            assert ((case.outputs > 0) & (case.outputs < 1)).all()
        if "classes" in kind.traits:
            assert case.targets.dtype == np.int32


def test_laws_of_ones_own_and_laws_as_objects() -> None:
    @law()
    def zero_at_target(loss: Any) -> None:
        """A prediction that is right costs nothing."""
        y = loss.case().targets
        assert (loss.value(y, y) == 0).all()

    finite_value = next(one for one in LAWS if one.name == "finite_value")
    report = check_loss(losses.hinge, laws=[finite_value])
    assert report["finite_value"].verdict == "held"
    assert check_loss(losses.huber, laws=[zero_at_target]).rows[0].verdict == "held"
