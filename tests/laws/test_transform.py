"""The kit on update rules: all of fnn obeys it, and it is not fooled."""

import functools
from typing import Any

import optax
import pytest

import fnn
from fnn.laws import check_transform
from fnn.laws.transform import LAWS

RULES = ("momentum", "rmsprop", "adagrad", "adam")
OURS: list[tuple[str, dict[str, Any]]] = [
    ("sgd", {}),
    *((rule, {"convention": name}) for rule in RULES for name in fnn.optim.conventions(rule)),
    ("momentum", {"nesterov": True, "convention": "torch"}),
    ("momentum", {"dampening": 0.25, "convention": "torch"}),
    ("rmsprop", {"centered": True, "momentum": 0.5}),
    ("adagrad", {"lr_decay": 0.1, "convention": "torch"}),
    ("adam", {"amsgrad": True}),
    ("adam", {"amsgrad": True, "weight_decay": 0.1, "convention": "torch"}),
]


@pytest.mark.parametrize(("rule", "arguments"), OURS, ids=lambda x: x if isinstance(x, str) else str(x))
def test_all_of_fnn_obeys_the_laws(rule: str, arguments: dict[str, Any]) -> None:
    report = check_transform(getattr(fnn.optim, rule), hyperparams=arguments, examples=8)
    report.raise_if_broken()
    verdicts = {row.law: row.verdict for row in report.rows}
    assert set(verdicts.values()) == {"held", "does not apply"}
    assert verdicts["runs"] == verdicts["odd"] == verdicts["sharding_kept"] == "held"
    assert len(report.rows) == len(LAWS)
    # What a rule does not claim is said: no row is without its reason.
    assert all(row.note for row in report.rows if row.verdict == "does not apply")


def test_numbers_as_state_obey_them_too() -> None:
    tx = fnn.optim.with_hyperparams(fnn.optim.adam, learning_rate=0.1, weight_decay=0.1)
    # Three of its numbers are leaves of the state, which the law of memory counts.
    check_transform(tx, examples=5).raise_if_broken()


def test_a_chain_obeys_them() -> None:
    def clipped(learning_rate: Any) -> optax.GradientTransformation:
        return optax.chain(fnn.optim.momentum(learning_rate), optax.add_decayed_weights(0.0))

    check_transform(clipped, examples=5).raise_if_broken()


@pytest.mark.parametrize(
    ("factory", "law", "note"),
    [
        (optax.adam, "zero_gradient_is_finite", "0/b[0]: a zero gradient's update in float16 is nan"),
        (optax.adam, "rate_types", "with a rate of type np.float32, updates of bfloat16 parameters are float32"),
        (optax.adam, "differentiable_at_zero", "0/b[0]: the derivative with respect to a zero gradient is nan"),
        (optax.adagrad, "extremes_are_survived", "the state after a gradient of 1e+20 is inf"),
        (optax.contrib.madgrad, "no_aliasing", "state/1/x0/b and params/b are one buffer"),
        (optax.contrib.schedule_free_sgd, "schedule_from_zero", "update 0 asks the schedule for [0, 1]"),
    ],
)
def test_what_is_known_of_optax(factory: Any, law: str, note: str) -> None:
    row = check_transform(factory, laws=[law], examples=5)[law]
    assert row.verdict == "broken"
    assert note in row.note


def test_what_a_rule_is_given_decides() -> None:
    # A convention that it does not follow.
    torch = fnn.optim.convention("torch", "rmsprop")
    report = check_transform(optax.rmsprop, like=torch, laws=["follows_its_convention"], examples=5)
    assert report["follows_its_convention"].note.startswith("[0, ") or "rmsprop, 'torch'" in report.broken[0].note
    # A trait that is denied.
    report = check_transform(optax.sgd, traits={"odd": False}, laws=["odd"])
    assert report["odd"].note == "it is given as not odd"


def test_a_rule_that_does_not_run_breaks_one_law_alone() -> None:
    def rule(learning_rate: float) -> optax.GradientTransformation:
        def update(updates: Any, state: Any, params: Any = None) -> Any:
            raise ZeroDivisionError("division by zero")

        return optax.GradientTransformation(lambda params: (), update)

    report = check_transform(rule)
    assert [row.law for row in report.broken] == ["runs"]
    assert report["runs"].note == "raises ZeroDivisionError: division by zero"
    assert {row.note for row in report.rows if row.law != "runs"} == {"it does not run"}


def test_arguments_of_a_partial_are_known() -> None:
    factory = functools.partial(fnn.optim.momentum, convention="keras")
    report = check_transform(factory, laws=["follows_its_convention"], examples=5)
    assert report["follows_its_convention"].note == "momentum, convention 'keras'"


def test_a_built_transformation_is_checked_as_it_is() -> None:
    report = check_transform(fnn.optim.adam(0.1), examples=5)
    report.raise_if_broken()
    assert report["odd"].verdict == "held"
    assert "Give its factory" in report["rate_linear"].note


def test_further_arguments_of_update() -> None:
    report = check_transform(optax.polyak_sgd, extra={"value": 1.0}, laws=["runs", "accumulation"])
    assert [row.verdict for row in report.rows] == ["held", "does not apply"]
