"""What a factory claims to be, by its name or as told."""

import functools
from typing import Any

import optax
import pytest

import fnn
from fnn.laws.transform.rule import Rule
from fnn.laws.transform.traits import INFERRED


def _rule(factory: Any, **options: Any) -> Rule:
    return Rule(factory, INFERRED, **options)


def adam(learning_rate: float) -> optax.GradientTransformation:
    return optax.adam(learning_rate)


def my_rule(learning_rate: float) -> optax.GradientTransformation:
    return optax.adam(learning_rate)


@pytest.mark.parametrize(
    ("factory", "hyperparams", "family", "form", "options"),
    [
        (fnn.optim.sgd, {}, "sgd", None, ()),
        (fnn.optim.momentum, {}, "momentum", "lecture", ("decoupled",)),
        (fnn.optim.momentum, {"convention": "torch", "nesterov": True}, "momentum", "torch", ("nesterov", "decoupled")),
        (fnn.optim.rmsprop, {"centered": True}, "rmsprop", "paper", ("centered", "decoupled")),
        (fnn.optim.adam, {"amsgrad": True, "convention": "keras"}, "adam", "keras", ("amsgrad", "decoupled")),
        (fnn.optim.adam, {"convention": "torch"}, "adam", "torch", ("coupled",)),
        (optax.sgd, {}, "sgd", None, ()),
        (optax.sgd, {"momentum": 0.9}, "momentum", "optax", ("decoupled",)),
        (optax.adamw, {}, "adam", "optax", ("decoupled",)),
        (optax.amsgrad, {}, "adam", "optax", ("amsgrad", "decoupled")),
        (functools.partial(optax.rmsprop, centered=True), {}, "rmsprop", "optax", ("centered", "decoupled")),
        (optax.adam, {"nesterov": True}, None, None, ()),
        (optax.adam, {"eps_root": 0.1}, None, None, ()),
        (optax.rmsprop, {"bias_correction": True}, None, None, ()),
        (optax.lion, {}, None, None, ()),
        (adam, {}, "adam", None, ()),
        (my_rule, {}, None, None, ()),
    ],
)
def test_claims_by_name(factory: Any, hyperparams: Any, family: str | None, form: str | None, options: Any) -> None:
    claim = _rule(factory, hyperparams=hyperparams).claim
    assert claim.family == family
    assert (claim.convention.name if claim.convention else None) == form
    assert tuple(claim.options) == options


def test_the_numbers_of_a_claim() -> None:
    numbers = _rule(optax.sgd, hyperparams={"momentum": 0.75}).claim.numbers
    assert numbers["beta"] == 0.75
    numbers = _rule(optax.rmsprop, hyperparams={"initial_scale": 2.0}).claim.numbers
    assert (numbers["initial_accumulator"], numbers["decay"], numbers["eps"]) == (2.0, 0.9, 1e-8)
    numbers = _rule(fnn.optim.adagrad, hyperparams={"eps": 0.5, "convention": "torch"}).claim.numbers
    assert (numbers["eps"], numbers["lr_decay"]) == (0.5, 0.0)


def test_being_told() -> None:
    assert _rule(my_rule, like="adam").family == "adam"
    told = _rule(my_rule, like=fnn.optim.convention("torch", "adam"))
    assert told.family == "adam"
    assert told.trait("convention").holds


@pytest.mark.parametrize(
    ("factory", "holding", "lacking"),
    [
        (optax.lion, ["odd", "elementwise", "rate_linear", "scale_invariant", "counter"], ["linear", "adam", "guards"]),
        (optax.sgd, ["odd", "linear", "sgd", "rate_linear"], ["scale_invariant", "counter", "sees_params", "centered"]),
        (optax.adamw, ["decoupled_decay", "weight_decay", "sees_params"], ["guards", "adagrad"]),
        (optax.lamb, ["odd", "learning_rate"], ["elementwise", "decoupled_decay"]),
        (optax.rmsprop, ["centered", "numbers", "convention"], ["linear"]),
    ],
)
def test_traits_are_seen(factory: Any, holding: list[str], lacking: list[str]) -> None:
    rule = _rule(factory)
    assert not [name for name in holding if not rule.trait(name).holds]
    assert not [name for name in lacking if rule.trait(name).holds]


def test_given_traits_win() -> None:
    rule = _rule(optax.lion, traits={"odd": False, "linear": True})
    assert not rule.trait("odd").holds
    assert rule.trait("odd").why == "it is given as not odd"
    assert rule.trait("linear").holds


def test_a_built_transformation_has_no_numbers_to_vary() -> None:
    rule = _rule(optax.adam(0.1))
    assert rule.name == "a built transformation"
    for trait in ("factory", "learning_rate", "weight_decay", "numbers"):
        assert not rule.trait(trait).holds
        assert "a built transformation was given" in rule.trait(trait).why or trait == "numbers"
    assert rule.trait("odd").holds


def test_every_trait_is_told_of_every_rule() -> None:
    rule = _rule(optax.clip, hyperparams={"max_delta": 1.0})
    for name in INFERRED:
        trait = rule.trait(name)
        assert trait.holds or trait.why
