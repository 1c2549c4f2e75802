"""A thousand networks on the 8x8 digits: learning rate, width, dropout and seed, in one program.

Learning rate, width and dropout are drawn at random, and each combination trains from several seeds. A table of the
best, and two pictures of what matters, are written under runs/sweep_digits/.
"""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import jax
import jax.numpy as jnp

import fnn
from experiments.common import LOSS, METRICS, chosen, command, console, save_pictures, tell_report
from fnn.data import Dataset, Splits
from fnn.population import Results
from fnn.typing import Array, Key


@dataclass(frozen=True)
class Options:
    """What can be chosen."""

    combinations: int = 250
    """How many combinations of learning rate, width and dropout are drawn."""
    seeds: int = 4
    """From how many seeds each of them trains."""
    epochs: int = 30
    """How often each training example is used, in batches of 64."""
    widest: int = 64
    """The largest width of the hidden layer; the others are 1/2, 1/4 and 1/8 of it."""
    mode: Literal["auto", "vmap", "map"] = "auto"
    """How the networks share the program."""
    seed: int = 0
    """What is drawn at random follows from it."""
    out: Path = Path("runs")
    """Folder for the table and the pictures."""
    progress: bool = True
    """Show a progress bar where the output is a terminal."""


class Digits:
    """The data, and the run of one network as a pure function of its hyperparameters and key."""

    def __init__(self, options: Options) -> None:
        self.options = options
        splits = fnn.data.digits()
        self.test = splits.test
        # The test set is kept for the winner: what chooses is a part of the training set.
        self.data = Splits(*fnn.data.split(splits.train, test_share=0.25, seed=0))

    def network(self, hparams: dict[str, Array]) -> fnn.nn.Layer:
        """All networks have the widest hidden layer, and hold units beyond their own width at zero."""
        active = [hparams["width"]]
        return fnn.nn.mlp([self.options.widest, 10], dropout=hparams["dropout"], active=active)

    def train(self, hparams: dict[str, Array], key: Key) -> dict[str, Any]:
        """One run: its validation loss and accuracy, and its accuracy on the test set."""
        net, tx = self.network(hparams), fnn.optim.adam(hparams["learning_rate"])
        step = fnn.train.make_step(fnn.train.supervised(net, LOSS), tx)
        state = fnn.train.init_state(key, net, tx, self.data.train.x)
        state, _ = fnn.train.run(step, self.data.train, batch_size=64, epochs=self.options.epochs)(state)
        evaluate = fnn.train.make_eval(net, {"loss": LOSS, **METRICS})
        validation = {f"val_{name}": value for name, value in evaluate(state, self.data.test).items()}
        return {**validation, "test_accuracy": evaluate(state, Dataset(*self.test))["accuracy"]}


def hyperparameters(options: Options) -> dict[str, Array]:
    """The combinations."""
    return fnn.population.sample(
        jax.random.key(options.seed),
        options.combinations,
        learning_rate=fnn.population.log_uniform(1e-4, 1e-1),
        width=fnn.population.choice([max(1, options.widest // d) for d in (8, 4, 2, 1)]),
        dropout=fnn.population.uniform(0.0, 0.6),
    )


def pictures(results: Results) -> dict[str, Any]:
    """Of what matters."""
    return {
        "learning_rate_and_width": fnn.plot.heat_map(results, "learning_rate", "width"),
        "learning_rate_and_dropout": fnn.plot.heat_map(results, "learning_rate", "dropout"),
        "all_combinations": fnn.plot.parallel_coordinates(results),
    }


def main(options: Options) -> None:
    """Trains them all, prints the table, writes table and pictures."""
    for name in ("combinations", "seeds", "epochs", "widest"):
        fnn.errors.check_count(name, getattr(options, name))
    fnn.errors.check_count("seed", options.seed, minimum=0)
    keys = jax.random.split(jax.random.key(options.seed), options.seeds)
    hparams, begun = hyperparameters(options), time.perf_counter()
    digits = Digits(options)
    results = fnn.sweep(digits.train, hparams, keys, mode=options.mode, progress=options.progress)
    seconds = time.perf_counter() - begun
    networks, best = options.combinations * options.seeds, results.best()
    table = results.table(rows=10)
    console.print(table, highlight=False)
    accuracy = jnp.mean(best.values["test_accuracy"])
    console.print(f"{networks:,} networks in {seconds:.1f} s, {networks / seconds:,.0f} a second, compiling included")
    console.print(f"The best combination's test accuracy, mean of {options.seeds} seeds: {accuracy:.2%}")
    folder = options.out / "sweep_digits"
    save_pictures(folder, **pictures(results))
    found = {"networks": networks, "time": f"{seconds:.1f} s", "best test accuracy": best.values["test_accuracy"]}
    title = f"{options.combinations:,} combinations on the 8x8 digits, {options.seeds} seeds each"
    net = fnn.inspect.summary(digits.network(best.hparams), digits.test.x[:1])
    fnn.record.save(folder, title=title, figures=found, settings=chosen(options), network=net, sweep=results)
    (folder / "table.txt").write_text(results.table(rows=None) + "\n", encoding="utf-8")
    console.print(f"Table, pictures and the record of the run are in {folder}/", soft_wrap=True)
    tell_report(folder)


if __name__ == "__main__":
    command(main, Options, prog="python -m experiments.sweep_digits", description=__doc__)
