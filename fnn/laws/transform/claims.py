"""What a factory claims to be: a rule of the lecture, and perhaps one convention of it, by name or as told."""

import functools
from collections.abc import Mapping
from typing import Any, NamedTuple

from fnn.errors import check_choice, message
from fnn.optim import Convention, convention

FAMILIES = ("sgd", "momentum", "rmsprop", "adagrad", "adam")
_OPTAX = {
    "sgd": "momentum", "adam": "adam", "adamw": "adam", "amsgrad": "adam", "rmsprop": "rmsprop", "adagrad": "adagrad",
}  # fmt: skip
# What Optax calls the numbers of our equations.
_ALIASES = {"beta": ("momentum",), "initial_accumulator": ("initial_scale", "initial_accumulator_value")}
# Options that make another rule of it, whatever its name.
_OTHER_RULES = ("eps_root", "bias_correction", "mu_dtype")


class Claim(NamedTuple):
    """What a rule says of itself.

    Attributes:
        family: the rule whose laws it claims, or None.
        convention: the convention whose equations it claims, or None.
        numbers: the numbers of those equations.
        options: which of the convention's prefixed equations are meant.
    """

    family: str | None = None
    convention: Convention | None = None
    numbers: Mapping[str, float] = {}
    options: tuple[str, ...] = ()


def root_of(factory: Any) -> Any:
    """The function inside `functools.partial`s and wrappers."""
    while isinstance(factory, functools.partial):
        factory = factory.func
    return factory


def claim(factory: Any, arguments: Mapping[str, Any], like: Any) -> Claim:
    """The claim of a factory with these arguments; `like` overrules its name."""
    function = root_of(factory)
    name, package = getattr(function, "__name__", ""), (getattr(function, "__module__", "") or "").split(".")[0]
    if like is not None:
        return _told(like, arguments)
    if package == "fnn" and name in FAMILIES:
        return _of(name, convention(arguments["convention"], name) if "convention" in arguments else None, arguments)
    if package == "optax" and name in _OPTAX:
        return _of_optax(name, dict(arguments))
    if package not in ("optax", "fnn") and name.lower() in FAMILIES:
        return _of(name.lower(), None, arguments)
    return Claim()


def _told(like: Any, arguments: Mapping[str, Any]) -> Claim:
    if isinstance(like, Convention):
        return _of(like.rule, like, arguments)
    if not isinstance(like, str):
        expected = f"one of {', '.join(FAMILIES)}, or a fnn.optim.Convention"
        raise TypeError(message("like", f"a {type(like).__name__}", expected))
    check_choice("like", like, FAMILIES)
    return _of(like, None, arguments)


def _of_optax(name: str, arguments: dict[str, Any]) -> Claim:
    rule = _OPTAX[name]
    other = any(arguments.get(option) for option in _OTHER_RULES)
    if other or (rule in ("adam", "rmsprop") and arguments.get("nesterov")):
        return Claim()
    if name == "sgd" and arguments.get("momentum") is None:
        return Claim("sgd")
    return _of(rule, convention("optax", rule), arguments | {"amsgrad": name == "amsgrad"})


def _of(family: str, form: Convention | None, arguments: Mapping[str, Any]) -> Claim:
    """The claim with the numbers and the options that the arguments give it."""
    defaults = {} if form is None else form.defaults
    numbers = {n: float(v) for n, v in defaults.items() if not isinstance(v, bool)}
    for letter in ("beta", "dampening", "decay", "eps", "momentum", "initial_accumulator", "lr_decay", "b1", "b2"):
        for argument in (*_ALIASES.get(letter, ()), letter):
            if isinstance(arguments.get(argument), float | int) and not isinstance(arguments[argument], bool):
                numbers[letter] = float(arguments[argument])
    numbers["weight_decay"] = float(arguments.get("weight_decay") or 0.0)
    numbers.setdefault("momentum", 0.0)
    options = [option for option in ("nesterov", "centered", "amsgrad") if arguments.get(option)]
    if form is not None:
        decoupled = arguments.get("decoupled")
        decoupled = defaults.get("decoupled", True) if decoupled is None else decoupled
        options.append("decoupled" if decoupled else "coupled")
    return Claim(family, form, numbers, tuple(options))
