"""Population-based training on the 8x8 digits: learning rate and weight decay change while the networks train.

A population starts from learning rates and weight decays drawn at random. After each round the worst fifth copies
networks of the best fifth, and changes what it copied. Beside it the same networks train with the numbers that they
were given: random search. All of it, over several seeds, is one program. A table, and pictures of how the numbers and
the loss went, are written under runs/pbt_digits/.
"""

import functools
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import matplotlib as mpl
import numpy as np
from matplotlib.collections import LineCollection
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure

import fnn
from experiments.common import LOSS, METRICS, command, console, save_pictures, show
from fnn.data import Dataset
from fnn.population import Evolved, population_based_training, ranked, take
from fnn.train import TrainState

START = {"learning_rate": (1e-5, 1e-1), "weight_decay": (1e-4, 1.0)}
BOUNDS = {"learning_rate": (1e-6, 1.0), "weight_decay": (1e-5, 10.0)}


@dataclass(frozen=True)
class Options:
    """What can be chosen."""

    members: int = 20
    """Networks in a population."""
    rounds: int = 30
    """How often they train, score, and copy."""
    epochs: int = 1
    """Epochs in a round, in batches of 64."""
    share: float = 0.2
    """Share of the members that copies one of the best."""
    hidden: int = 64
    """Width of the hidden layer."""
    seed: int = 0
    """First seed; further ones count up from it."""
    seeds: int = 5
    """How many populations are trained, each from its own seed."""
    out: Path = Path("runs")
    """Folder for the pictures."""


class Found(NamedTuple):
    """The best member by the validation loss: that loss, its test accuracy, and its numbers in the last round."""

    validation_loss: jax.Array
    test_accuracy: jax.Array
    hyperparams: dict[str, jax.Array]


class Search:
    """The data, the network, and the two searches as pure functions of a seed."""

    def __init__(self, options: Options) -> None:
        splits = fnn.data.digits()
        self.options, self.test = options, splits.test
        self.train, self.validation = fnn.data.split(splits.train, test_share=0.25, seed=0)
        self.net = fnn.nn.mlp([options.hidden, 10])
        adam = functools.partial(fnn.optim.adam, decay_mask=fnn.tree.weight_mask)
        self.tx = fnn.optim.with_hyperparams(adam, learning_rate=1e-3, weight_decay=0.0)
        step = fnn.train.make_step(fnn.train.supervised(self.net, LOSS), self.tx)
        self.run = functools.partial(fnn.train.run, step, self.train, batch_size=64)
        self.evaluate = fnn.train.make_eval(self.net, {"loss": LOSS, **METRICS})

    def score(self, state: TrainState) -> jax.Array:
        """Minus the validation loss."""
        return -self.evaluate(state, self.validation)["loss"]

    def start(self, key: jax.Array) -> TrainState:
        """One member: first weights and log-uniform numbers."""
        state = fnn.train.init_state(key, self.net, self.tx, self.train.x)
        numbers = {
            name: jnp.exp(jax.random.uniform(fnn.keys.for_layer(key, name), minval=jnp.log(low), maxval=jnp.log(high)))
            for name, (low, high) in START.items()
        }
        return state._replace(opt_state=fnn.optim.replace_hyperparams(state.opt_state, numbers))

    def both(self, seed: jax.Array) -> tuple[Evolved, Found, Found]:
        """Population-based training from a seed, its best member, and the best one where nobody copies."""
        options, key = self.options, jax.random.key(seed)
        states = jax.vmap(self.start)(jax.random.split(key, options.members))
        evolve = population_based_training(
            self.run(epochs=options.epochs), self.score, rounds=options.rounds, bounds=BOUNDS, share=options.share
        )
        evolved = evolve(key, states)
        alone, _ = jax.vmap(self.run(epochs=options.epochs * options.rounds))(states)
        return evolved, self.best(evolved.states), self.best(alone)

    def best(self, states: TrainState) -> Found:
        """The member of the best score."""
        scores = jax.vmap(self.score)(states)
        state = take(states, ranked(scores)[0])
        accuracy = self.evaluate(state, Dataset(*self.test))["accuracy"]
        return Found(-jnp.nanmax(scores), accuracy, fnn.optim.hyperparams_of(state.opt_state))


def picture(evolved: Evolved, epochs: int) -> Any:
    """Learning rate, weight decay and validation loss over the epochs, coloured by the loss: one line a member.

    A line comes from the member that was copied.
    """
    losses = -np.asarray(evolved.scores)
    known = losses[np.isfinite(losses)]
    norm = LogNorm(known.min(), max(np.quantile(known, 0.9), known.min() * 1.01), clip=True)
    panels = {name.replace("_", " "): np.asarray(v) for name, v in evolved.hyperparams.items()}
    with mpl.rc_context({"axes.spines.right": False, "axes.spines.top": False, "figure.constrained_layout.use": True}):
        figure = Figure(figsize=(14, 4.4))
        row = figure.subplots(1, len(panels) + 1)
        lines: Any = None
        for axes, (name, values) in zip(row, (panels | {"validation loss": losses}).items(), strict=True):
            lines = paths(axes, values, losses, np.asarray(evolved.parents), epochs, norm)
            axes.set(title=name, xlabel="epoch", yscale="log")
            axes.grid(alpha=0.25)
        bar = figure.colorbar(lines, ax=row, label="validation loss")
        for which in (bar.ax.yaxis.set_major_formatter, bar.ax.yaxis.set_minor_formatter):
            which("{x:g}")
    return figure


def paths(axes: Any, values: Any, losses: Any, parents: Any, epochs: int, norm: Any) -> LineCollection:
    """From round to round a piece of line for each member, in the colour of its loss."""
    rounds, members = values.shape
    x = epochs * (1 + np.arange(rounds))
    before = np.take_along_axis(values[:-1], parents[1:], axis=1)
    ends = np.stack([np.broadcast_to(x[1:, None], (rounds - 1, members)), values[1:]], axis=-1)
    begins = np.stack([np.broadcast_to(x[:-1, None], (rounds - 1, members)), before], axis=-1)
    pieces = np.stack([begins, ends], axis=2).reshape(-1, 2, 2)
    # The best ones lie on top.
    order = np.argsort(-losses[1:].ravel())
    lines = LineCollection(list(pieces[order]), cmap="viridis", norm=norm, linewidths=1.2, alpha=0.8)
    lines.set_array(losses[1:].ravel()[order])
    axes.add_collection(lines)
    axes.scatter(np.full(members, x[0]), values[0], c=losses[0], cmap="viridis", norm=norm, s=12)
    return lines


def spread(values: Any, form: str) -> str:
    """Mean and standard deviation over the seeds."""
    values = np.asarray(values, np.float64)
    deviation = f" ± {values.std(ddof=1):{form}}" if len(values) > 1 else ""
    return f"{values.mean():{form}}{deviation}"


def main(options: Options) -> None:
    """Searches, prints the table, writes the picture."""
    for name in ("rounds", "members"):
        fnn.errors.check_count(name, getattr(options, name), minimum=2)
    for name in ("epochs", "hidden", "seeds"):
        fnn.errors.check_count(name, getattr(options, name))
    fnn.errors.check_count("seed", options.seed, minimum=0)
    search, seeds = Search(options), options.seed + jnp.arange(options.seeds)
    begun = time.perf_counter()
    program = jax.jit(jax.vmap(search.both)).lower(seeds).compile()
    compiled = time.perf_counter()
    networks, epochs = 2 * options.seeds * options.members, options.rounds * options.epochs
    console.print(f"Compiled in {compiled - begun:.1f} s; training {networks} networks for {epochs} epochs ...")
    evolved, by_pbt, alone = jax.block_until_ready(program(seeds))
    console.print(f"Trained in {time.perf_counter() - compiled:.1f} s")
    columns = ["", "population-based training", "random search"]
    rows = [
        ["validation loss", *(spread(found.validation_loss, ".4f") for found in (by_pbt, alone))],
        ["test accuracy", *(spread(found.test_accuracy, ".2%") for found in (by_pbt, alone))],
    ]
    for name in START:
        geometric = [np.exp(np.log(np.asarray(found.hyperparams[name])).mean()) for found in (by_pbt, alone)]
        rows.append([f"{name.replace('_', ' ')} at the end", *(f"{value:.2g}" for value in geometric)])
    show(f"Best of {options.members} members, mean of {options.seeds} seeds", columns, rows)
    save_pictures(options.out / "pbt_digits", paths=picture(jax.tree.map(lambda a: a[0], evolved), options.epochs))
    console.print(f"The picture is {options.out / 'pbt_digits' / 'paths.png'}")


if __name__ == "__main__":
    command(main, Options, prog="python -m experiments.pbt_digits", description=__doc__)
