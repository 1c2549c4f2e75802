"""Golden trajectories: each convention walks with the library that it is named after, 1,050 steps long.

50 awkward steps, then 1,000 random ones, with a constant rate and with a schedule. The peer computes in
float64, from the same float32 numbers.
"""

import os
from collections.abc import Callable
from typing import Any

os.environ.setdefault("KERAS_BACKEND", "jax")

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from fnn import optim
from fnn.optim.leafwise import bounded

LR = 0.0625
STEPS, AWKWARD = 1050, 50
W = np.linspace(-2.0, 3.0, 8)


def constant(t: Any) -> Any:
    return LR + 0.0 * t


def falling(t: Any) -> Any:
    return LR / (1 + 0.015625 * t)


@pytest.fixture(scope="module")
def golden() -> np.ndarray:
    """(1050, 8): in each column another kind of awkward gradient, then random ones."""
    rng = np.random.default_rng(0)
    t = np.arange(AWKWARD)
    columns = [
        np.ones(AWKWARD),
        np.zeros(AWKWARD),
        np.full(AWKWARD, 1e-20),
        np.where(t == 25, 1e20, 1.0),
        np.where(t % 2, -1.0, 1.0),
        np.where(t % 7 == 3, rng.normal(size=AWKWARD), 0.0),
        rng.normal(size=AWKWARD),
        np.abs(rng.normal(size=AWKWARD)) * 10.0 ** rng.uniform(-10, 10, size=AWKWARD),
    ]
    random = rng.normal(size=(STEPS - AWKWARD, len(columns)))
    return np.concatenate([np.stack(columns, axis=1), random]).astype(np.float32).astype(np.float64)


def f32(x: float) -> float:
    """The float32 nearest to x, so that both precisions and all peers see one number."""
    return float(np.float32(x))


# Peers ---------------------------------------------------------------------------------------------------

Peer = Callable[[dict[str, Any], Callable[[Any], Any], np.ndarray], np.ndarray]


def by_optax(make: Callable[..., optax.GradientTransformation]) -> Peer:
    def updates(options: dict[str, Any], rate: Callable[[Any], Any], grads: np.ndarray) -> np.ndarray:
        with jax.enable_x64(True):
            tx = make(learning_rate=rate, **options)
            return _scan(tx, jnp.asarray(grads), jnp.asarray(W))

    return updates


def by_torch(name: str) -> Peer:
    def updates(options: dict[str, Any], rate: Callable[[Any], Any], grads: np.ndarray) -> np.ndarray:
        torch = pytest.importorskip("torch", reason="golden trajectories of PyTorch need torch")
        w = torch.tensor(W, dtype=torch.float64, requires_grad=True)
        tx = getattr(torch.optim, name)([w], lr=LR, **options)
        taken = []
        for t, g in enumerate(grads):
            tx.param_groups[0]["lr"] = float(rate(t))
            w.grad = torch.tensor(g, dtype=torch.float64)
            before = _start(w.detach().numpy().copy(), options)
            w.data.copy_(torch.tensor(before))
            tx.step()
            taken.append(w.detach().numpy() - before)
        return np.array(taken)

    return updates


def by_keras(name: str) -> Peer:
    def updates(options: dict[str, Any], rate: Callable[[Any], Any], grads: np.ndarray) -> np.ndarray:
        keras = pytest.importorskip("keras", reason="golden trajectories of Keras need keras, on its JAX backend")

        class Schedule(keras.optimizers.schedules.LearningRateSchedule):
            def __call__(self, step: Any) -> Any:
                return rate(step)

        with jax.enable_x64(True):
            w = keras.Variable(W, dtype="float64")
            tx = getattr(keras.optimizers, name)(learning_rate=Schedule(), **options)
            tx.build([w])

            def step(carry: Any, g: Any) -> Any:
                before = _start(carry[0], options)
                (w,), variables = tx.stateless_apply(carry[1], [g], [before])
                return (w, variables), w - before

            start = (jnp.asarray(W), [v.value for v in tx.variables])
            return np.asarray(jax.jit(lambda grads: jax.lax.scan(step, start, grads)[1])(jnp.asarray(grads)))

    return updates


def _start(w: Any, options: dict[str, Any]) -> Any:
    """Where a peer that returns only positions starts a step: at 0, to keep all digits, unless it decays w."""
    return w if options.get("weight_decay") else 0 * w


def _scan(tx: Any, grads: Any, w: Any) -> np.ndarray:
    def step(carry: Any, g: Any) -> Any:
        w, state = carry
        updates, state = tx.update(g, state, w)
        return (optax.apply_updates(w, updates), state), updates

    run = jax.jit(lambda w, grads: jax.lax.scan(step, (w, tx.init(w)), grads)[1])
    return np.asarray(run(w, grads), np.float64)


# Cases: a convention, its options, the peer and the peer's options ------------------------------------------

EPS = f32(1e-3)
DECAY, BETA = f32(0.9), f32(0.9)
BETAS = {"b1": f32(0.9), "b2": f32(0.999)}
TORCH_BETAS = {"betas": (f32(0.9), f32(0.999))}
KERAS_BETAS = {"beta_1": f32(0.9), "beta_2": f32(0.999)}
WD = 0.03125


def _amsgrad_as_published(learning_rate: Any, **options: Any) -> optax.GradientTransformation:
    scale = optax.scale_by_amsgrad(**options, bias_correction_mu=False, bias_correction_nu=False)
    return optax.chain(scale, optax.scale_by_learning_rate(learning_rate))


def _l2_adam(learning_rate: Any, weight_decay: float, **options: Any) -> optax.GradientTransformation:
    return optax.chain(optax.add_decayed_weights(weight_decay), optax.adam(learning_rate, **options))


Case = tuple[str, str, dict[str, Any], Peer, dict[str, Any]]


def _momentum_cases() -> list[Case]:
    cases: list[Case] = []
    for nesterov in (False, True):
        ours, theirs = {"beta": BETA, "nesterov": nesterov}, {"momentum": BETA, "nesterov": nesterov}
        cases += [
            ("momentum", "optax", ours, by_optax(optax.sgd), theirs),
            ("momentum", "torch", ours, by_torch("SGD"), theirs),
            ("momentum", "keras", ours, by_keras("SGD"), theirs),
            ("momentum", "paper", ours, by_keras("SGD"), theirs),
        ]
    dampened = {"beta": BETA, "dampening": 0.25}
    return [*cases, ("momentum", "torch", dampened, by_torch("SGD"), {"momentum": BETA, "dampening": 0.25})]


def _rmsprop_cases() -> list[Case]:
    cases: list[Case] = []
    for momentum in (0.0, 0.5):
        for centered in (False, True):
            shared = {"eps": EPS, "momentum": momentum, "centered": centered}
            ours, optax_s = {"decay": DECAY, **shared}, {"decay": DECAY, **shared}
            torch_s = {"alpha": DECAY, **shared}
            keras_s = {"rho": DECAY, "epsilon": EPS, "momentum": momentum, "centered": centered}
            cases += [
                ("rmsprop", "optax", ours, by_optax(optax.rmsprop), optax_s),
                ("rmsprop", "torch", ours, by_torch("RMSprop"), torch_s),
                ("rmsprop", "keras", ours, by_keras("RMSprop"), keras_s),
                ("rmsprop", "tf1", ours, by_optax(optax.rmsprop), optax_s | {"initial_scale": 1.0}),
                ("rmsprop", "paper", ours, by_optax(optax.rmsprop), optax_s | {"eps_in_sqrt": False}),
            ]
    return cases


def _adagrad_cases() -> list[Case]:
    start, ours = f32(0.1), {"eps": EPS, "initial_accumulator": f32(0.1)}
    return [
        ("adagrad", "optax", ours, by_optax(optax.adagrad), {"eps": EPS, "initial_accumulator_value": start}),
        ("adagrad", "torch", ours, by_torch("Adagrad"), {"eps": EPS, "initial_accumulator_value": start}),
        ("adagrad", "torch", {"eps": EPS, "lr_decay": 0.0625}, by_torch("Adagrad"), {"eps": EPS, "lr_decay": 0.0625}),
        ("adagrad", "keras", ours, by_keras("Adagrad"), {"epsilon": EPS, "initial_accumulator_value": start}),
        ("adagrad", "paper", {"eps": EPS}, by_torch("Adagrad"), {"eps": EPS}),
    ]


def _adam_cases() -> list[Case]:
    ours = {**BETAS, "eps": EPS}
    of_torch, of_keras = {**TORCH_BETAS, "eps": EPS}, {**KERAS_BETAS, "epsilon": EPS}
    cases: list[Case] = [
        ("adam", "paper", ours, by_optax(optax.adam), ours),
        ("adam", "paper", ours | {"amsgrad": True}, by_optax(_amsgrad_as_published), ours),
        ("adam", "paper", ours | {"weight_decay": WD}, by_optax(optax.adamw), ours | {"weight_decay": WD}),
        ("adam", "optax", ours, by_optax(optax.adam), ours),
        ("adam", "optax", ours | {"amsgrad": True}, by_optax(optax.amsgrad), ours),
        ("adam", "optax", ours | {"weight_decay": WD}, by_optax(optax.adamw), ours | {"weight_decay": WD}),
        (
            "adam",
            "optax",
            ours | {"weight_decay": WD, "decoupled": False},
            by_optax(_l2_adam),
            ours | {"weight_decay": WD},
        ),
    ]
    for amsgrad in (False, True):
        for decay in (0.0, WD):
            more = {"amsgrad": amsgrad, "weight_decay": decay}
            cases += [
                ("adam", "torch", ours | more, by_torch("Adam"), of_torch | more),
                ("adam", "torch", ours | more | {"decoupled": True}, by_torch("AdamW"), of_torch | more),
                ("adam", "keras", ours | more, by_keras("Adam"), of_keras | more),
            ]
    return cases


CASES = [*_momentum_cases(), *_rmsprop_cases(), *_adagrad_cases(), *_adam_cases()]


def _id(case: Case) -> str:
    rule, convention, options, *_ = case
    on = [f"{k}={v}" if isinstance(v, float) else k for k, v in options.items() if k not in ("eps", "b1", "b2") and v]
    return "-".join([rule, convention, *on])


@pytest.mark.parametrize("rate", [constant, falling], ids=lambda f: f.__name__)
@pytest.mark.parametrize("case", CASES, ids=_id)
def test_a_convention_walks_with_its_source(case: Case, rate: Callable[[Any], Any], golden: np.ndarray) -> None:
    rule, convention, options, peer, of_peer = case
    # The peers' v - m^2 cancels where a gradient hardly varies: there they have no digits to compare with.
    grads = golden[:, [4, 6] * 4] if options.get("centered") else golden
    tx = getattr(optim, rule)(rate, **options, convention=convention)
    with jax.enable_x64(True):
        wide = _scan(tx, jnp.asarray(grads), jnp.asarray(W))
    narrow = _scan(tx, jnp.asarray(grads, jnp.float32), jnp.asarray(W, jnp.float32))
    if rule == "momentum":
        expected = held = peer(of_peer, rate, grads)
        # Rounding is relative to the terms of a sum, which may cancel.
        size = np.abs(peer(of_peer, rate, np.abs(grads)))
    else:
        expected = peer(of_peer, rate, grads)
        # 1e20 has no square in float32, and is taken as the largest number that has one (`bounded`).
        held = peer(of_peer, rate, np.minimum(grads, float(bounded(jnp.float32(1e30)))))
        size = np.full(grads.shape, LR)
    _check("float64", wide, expected, size, 1e-12)
    _check("float32", narrow, held, size, 1e-6)


def _check(name: str, got: np.ndarray, expected: np.ndarray, size: np.ndarray, tolerance: float) -> None:
    error = np.abs(got - expected) / np.maximum(np.maximum(np.abs(expected), size), np.finfo(np.float32).tiny)
    worst = np.unravel_index(np.argmax(error), error.shape)
    assert error[worst] <= tolerance, f"{name}: {error[worst]:.1e} at {worst}: {got[worst]} for {expected[worst]}"
