"""How long one update of 10 million parameters takes: `python -m experiments.benchmarks.optimizer_update`.

fnn and Optax are jitted with donated state and parameters; PyTorch runs its fused and its foreach update, where torch
is installed, on the same kind of device. All take turns, so that whatever else the machine does falls on all of them
alike. A rule must read the gradient, and read and write each parameter and each slot: that many bytes, over the median
time, are its GB/s, to hold against those of a negation in place.
"""

import argparse
import importlib.util
import statistics
import time
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

import fnn

SLOTS = {"momentum": 1, "rmsprop": 1, "adagrad": 1, "adam": 2}
FNN = {
    "momentum": lambda: fnn.optim.momentum(1e-3, convention="torch"),
    "rmsprop": lambda: fnn.optim.rmsprop(1e-3, momentum=None, convention="torch"),
    "adagrad": lambda: fnn.optim.adagrad(1e-3, convention="torch"),
    "adam": lambda: fnn.optim.adam(1e-3, convention="torch"),
}
OPTAX = {
    "momentum": lambda: optax.sgd(1e-3, momentum=0.9),
    "rmsprop": lambda: optax.rmsprop(1e-3, decay=0.99, eps_in_sqrt=False),
    "adagrad": lambda: optax.adagrad(1e-3),
    "adam": lambda: optax.adam(1e-3),
}
TORCH = {
    "momentum": ("SGD", {"momentum": 0.9}),
    "rmsprop": ("RMSprop", {}),
    "adagrad": ("Adagrad", {}),
    "adam": ("Adam", {}),
}

Update = Callable[[], Any]


def jitted(tx: optax.GradientTransformation, size: int, leaves: int) -> Update:
    """One update in JAX, everything but the gradients donated."""

    def step(grads: Any, state: Any, params: Any) -> Any:
        updates, state = tx.update(grads, state, params)
        return state, optax.apply_updates(params, updates)

    grads, params = ([jnp.asarray(a) for a in arrays(size, leaves)] for _ in range(2))
    program = jax.jit(step, donate_argnums=(1, 2))
    held = [tx.init(params), params]

    def update() -> None:
        held[:] = jax.block_until_ready(program(grads, *held))

    return update


def in_torch(rule: str, size: int, leaves: int, **form: bool) -> Update:
    """One update in PyTorch, on the kind of device that JAX has."""
    import torch

    name, options = TORCH[rule]
    device = "cuda" if jax.default_backend() == "gpu" else "cpu"
    params = [torch.tensor(a, device=device, requires_grad=True) for a in arrays(size, leaves)]
    for w, g in zip(params, arrays(size, leaves), strict=True):
        w.grad = torch.tensor(g, device=device)
    optimizer = getattr(torch.optim, name)(params, lr=1e-3, **options, **form)
    optimizer.step()  # only here does torch refuse a form that it lacks on this device

    def update() -> None:
        optimizer.step()
        if device == "cuda":
            torch.cuda.synchronize()

    return update


def negation(size: int, leaves: int) -> Update:
    """As many numbers read and written in place, by all cores."""
    program = jax.jit(lambda tree: jax.tree.map(jnp.negative, tree), donate_argnums=0)
    held = [[jnp.asarray(a) for a in arrays(size, leaves)]]

    def update() -> None:
        held[0] = jax.block_until_ready(program(held[0]))

    return update


def arrays(size: int, leaves: int) -> list[np.ndarray]:
    """So many normal numbers in so many arrays."""
    rng = np.random.default_rng(0)
    return [rng.normal(size=size // leaves).astype(np.float32) for _ in range(leaves)]


def contestants(rule: str, size: int, leaves: int) -> Iterator[tuple[str, Update]]:
    """Each name with its update; PyTorch's where torch has that form of the rule."""
    yield "negation", negation(size, leaves)
    yield "fnn", jitted(FNN[rule](), size, leaves)
    yield "optax", jitted(OPTAX[rule](), size, leaves)
    if importlib.util.find_spec("torch") is None:
        return
    for form in ("fused", "foreach"):
        try:
            yield f"torch {form}", in_torch(rule, size, leaves, **{form: True})
        except (TypeError, RuntimeError) as error:
            print(f"(torch {form} {rule}: {str(error).splitlines()[0]})")


def medians(rule: str, size: int, leaves: int, repeats: int) -> dict[str, float]:
    """Median seconds of an update by name, the contestants taking turns."""
    updates = dict(contestants(rule, size, leaves))
    taken: dict[str, list[float]] = {name: [] for name in updates}
    for turn in range(repeats + 2):
        for name, update in updates.items():
            begun = time.perf_counter()
            update()
            if turn >= 2:
                taken[name].append(time.perf_counter() - begun)
    return {name: statistics.median(times) for name, times in taken.items()}


def main() -> None:
    """Prints a table: milliseconds, bytes a parameter, GB/s, and the peer's time over fnn's."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=21, help="updates for each row (default: 21)")
    parser.add_argument("--rules", nargs="+", choices=SLOTS, default=["momentum", "adam"], help="which rules")
    parser.add_argument("--size", type=int, default=10_000_000, help="parameters (default: 10 million)")
    options = parser.parse_args()
    print(f"{options.size:,} parameters, float32, {jax.default_backend()}, median of {options.repeats} updates")
    print(f"{'rule':10}{'leaves':>7}  {'':14}{'ms':>8}{'bytes':>7}{'GB/s':>7}{'time / fnn':>12}")
    for rule in options.rules:
        for leaves in (1, 50):
            found = medians(rule, options.size, leaves, options.repeats)
            for name, seconds in found.items():
                moved = 8 if name == "negation" else 12 + 8 * SLOTS[rule]
                ratio = f"{seconds / found['fnn']:.2f}"
                speed = moved * options.size / seconds / 1e9
                print(f"{rule:10}{leaves:>7}  {name:14}{1e3 * seconds:>8.2f}{moved:>7}{speed:>7.1f}{ratio:>12}")


if __name__ == "__main__":
    main()
