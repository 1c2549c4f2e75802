"""The law kit on every public Optax factory: which of Optax's rules break which laws.

The reports go to runs/laws_of_optax/, one file a factory, and a table of which factories break each law. It takes
about 20 minutes on two cores.
"""

import inspect
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# Read when JAX starts its backend: the laws of sharding need more than one device.
os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count=8".strip()

import jax
import jax.numpy as jnp
import optax
import optax.contrib

import fnn
from experiments.common import command, console
from fnn.laws import Report, check_transform


@dataclass(frozen=True)
class Options:
    """What can be chosen."""

    only: tuple[str, ...] = ()
    """Names of factories, such as adam or contrib.muon; none means all."""
    examples: int = 10
    """How many cases Hypothesis tries for a law."""
    out: Path = Path("runs")
    """Folder for the reports."""


# What wrappers wrap: a rule that breaks no law, so that what breaks is their own.
SOUND = fnn.optim.adam(0.0625)


def _inner(**numbers: Any) -> dict[str, Any]:
    return {"inner": SOUND, **numbers}


# What a factory needs besides a learning rate.
ARGUMENTS: dict[str, dict[str, Any]] = {
    "adaptive_grad_clip": {"clipping": 0.5},
    "add_decayed_weights": {"weight_decay": 0.25},
    "add_noise": {"eta": 0.5, "gamma": 0.5, "key": jax.random.key(0)},
    "apply_if_finite": _inner(max_consecutive_errors=5),
    "clip": {"max_delta": 1.0},
    "clip_by_block_rms": {"threshold": 1.0},
    "clip_by_global_norm": {"max_norm": 1.0},
    "conditionally_mask": _inner(should_transform_fn=lambda step: step >= 0),
    "conditionally_transform": _inner(should_transform_fn=lambda step: step >= 0),
    "ema": {"decay": 0.5},
    "flatten": _inner(),
    "freeze": {"mask": False},
    "masked": _inner(mask=True),
    "scale": {"step_size": 0.5},
    "scale_by_learning_rate": {"learning_rate": 0.0625},
    "scale_by_schedule": {"step_size_fn": lambda t: 0.5 / (1.0 + t)},
    "scale_by_rprop": {"learning_rate": 0.0625},
    "scale_by_trust_ratio": {},
    "selective_transform": {"optimizer": SOUND, "freeze_mask": False},
    "stateless": {"f": lambda updates, _: jax.tree.map(jnp.sign, updates)},
    "stateless_with_tree_map": {"f": lambda g, _: jnp.sign(g)},
    "trace": {"decay": 0.5},
    "with_extra_args_support": {"tx": SOUND},
    "noisy_sgd": {"key": 0},
    "lbfgs": {"learning_rate": 0.0625, "linesearch": None},
    "contrib.madgrad": {"learning_rate": 0.0625},
    "contrib.schedule_free": {"base_optimizer": fnn.optim.sgd(0.0625), "learning_rate": 0.0625},
    "contrib.mechanize": {"base_optimizer": fnn.optim.sgd(0.0625)},
    "contrib.split_real_and_imaginary": _inner(),
    "multi_transform": {"transforms": {"a": SOUND}, "param_labels": "a"},
    "partition": {"transforms": {"a": SOUND}, "param_labels": "a"},
}
# What update takes besides gradients, state and parameters.
EXTRA: dict[str, dict[str, Any]] = {
    name: {"value": jnp.float32(1.0)}
    for name in ("polyak_sgd", "scale_by_polyak", "contrib.momo", "contrib.momo_adam", "contrib.reduce_on_plateau")
} | {"contrib.sophia": {"obj_fn": lambda w: sum(jnp.sum(x**2) for x in jax.tree.leaves(w))}}
# What a few ordinary gradients do not show.
# They learn one scale for all leaves, which is a millionth at first.
TRAITS = {f"contrib.{name}": {"elementwise": False} for name in ("dadapt_adamw", "mechanize", "prodigy")}
# What is no rule of (gradients, state, parameters), and why.
NO_RULES = {
    "chain": "a law of its own checks it",
    "inject_hyperparams": "it makes a factory of a factory",
    "inject_stateful_hyperparams": "it makes a factory of a factory",
    "lookahead": "its parameters are pairs of fast and slow ones",
    "measure_with_ema": "it only looks",
    "snapshot": "it only looks",
    "contrib.scale_by_muon": "it takes matrices alone",
    "named_chain": "it takes pairs of names and rules",
    "scale_by_backtracking_linesearch": "it asks for the loss function",
    "scale_by_zoom_linesearch": "it asks for the loss function",
    "contrib.differentially_private_aggregate": "it takes a gradient for each example",
    "contrib.dpsgd": "it takes a gradient for each example",
    "contrib.sam": "it takes two optimizers that move in turn",
    "contrib.galore": "it takes dimension labels for each leaf",
    "contrib.scale_by_galore": "it takes dimension labels for each leaf",
}


def factories() -> dict[str, Callable[..., Any]]:
    """Every public function of optax and optax.contrib whose annotation says that it returns a transformation."""
    found = {}
    for prefix, module in (("", optax), ("contrib.", optax.contrib)):
        for name, value in sorted(vars(module).items()):
            if inspect.isfunction(value) and not name.startswith("_"):
                returns = str(inspect.signature(value).return_annotation)
                if "GradientTransformation" in returns:
                    found[prefix + name] = value
    return found


def check(name: str, factory: Callable[..., Any], examples: int) -> Report:
    """The kit's report on one factory."""
    numbers: Mapping[str, Any] = ARGUMENTS.get(name, {})
    return check_transform(
        factory,
        hyperparams=numbers,
        extra=EXTRA.get(name),
        traits=TRAITS.get(name),
        examples=examples,
        name=f"optax.{name}",
    )


def table(broken: Mapping[str, list[str]]) -> str:
    """Markdown: which factories break each law, the most broken law first, and which break none."""
    by_law: dict[str, list[str]] = {}
    for name, laws in broken.items():
        for law in laws:
            by_law.setdefault(law, []).append(f"`{name}`")
    rows = sorted(by_law.items(), key=lambda row: -len(row[1]))
    clean = [f"`{name}`" for name, laws in broken.items() if not laws]
    lines = ["| Law | Broken by | Factories |", "| --- | ---: | --- |"]
    lines += [f"| `{law}` | {len(names)} | {', '.join(names)} |" for law, names in rows]
    return "\n".join([*lines, "", f"{len(clean)} of {len(broken)} break none: {', '.join(clean)}.", ""])


def main(options: Options) -> None:
    """Checks them one after another; each report is written as soon as it is there."""
    folder = options.out / "laws_of_optax"
    folder.mkdir(parents=True, exist_ok=True)
    broken: dict[str, list[str]] = {}
    for name, factory in factories().items():
        if name in NO_RULES or (options.only and name not in options.only):
            continue
        report = check(name, factory, options.examples)
        (folder / f"{name}.txt").write_text(f"{report}\n", encoding="utf-8")
        broken[name] = [row.law for row in report.broken]
        console.print(f"{name}: {len(broken[name])} broken {', '.join(broken[name])}")
        (folder / "table.md").write_text(table(broken), encoding="utf-8")
    for name, reason in NO_RULES.items():
        console.print(f"not checked: {name}, for {reason}")


if __name__ == "__main__":
    command(main, Options, prog="python -m experiments.laws_of_optax", description=__doc__)
