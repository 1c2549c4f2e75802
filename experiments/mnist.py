"""An MLP on MNIST, or on Fashion-MNIST: `python -m experiments.mnist --data FOLDER`.

FOLDER holds the four IDX files, gzipped or plain. One network is trained from each seed; pictures, the history
and the parameters of the first are written under runs/mnist/.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

import fnn
from experiments.common import (
    Options,
    check,
    classes,
    command,
    console,
    figures,
    fit_one,
    measured,
    measures,
    network,
    pictures,
    save_run,
    show_runs,
)
from fnn.data import Dataset, Splits


@dataclass(frozen=True, kw_only=True)
class MnistOptions(Options):
    """The options of any run, and where the data is."""

    data: Path
    """Folder of the four IDX files, gzipped or plain."""
    hidden: tuple[int, ...] = (512, 512)
    learning_rate: float = 1e-3
    batch_size: int = 128
    epochs: int = 20
    dropout: float = 0.2
    seeds: int = 3


def flat(data: Dataset) -> Dataset:
    """Each image as one row of numbers, as an MLP takes it."""
    return Dataset(data.x.reshape(len(data.x), -1), data.y)


def main(options: MnistOptions) -> None:
    """Trains a network from each seed, prints a column for each and their mean, writes everything under runs/mnist/."""
    check(options)
    images = fnn.data.mnist(options.data)
    splits, folder = Splits(flat(images.train), flat(images.test)), options.out / "mnist"
    examples, (_, height, width, *_) = len(splits.train.x), images.train.x.shape
    runs, found = {}, []
    for seed in range(options.seed, options.seed + options.seeds):
        result, reporter = fit_one(options, seed, splits)
        found.append(measures(network(options, classes(splits)), result.state, splits))
        times = reporter.compile_seconds, reporter.train_seconds
        runs[f"seed {seed}"] = figures(options, found[-1], *times, examples)
        if seed == options.seed:
            pictures(options, folder, result, splits, shape=(height, width))
            save_run(folder, options, result.state, result.history, {k: float(v) for k, v in found[-1].items()})
    by_seed = {name: np.array([float(one[name]) for one in found]) for name in found[0]}
    runs[f"{options.seeds} seeds"] = measured(by_seed)
    show_runs(f"{options.data.name}, {height}x{width}", runs)
    console.print(f"Pictures, history.csv, params.npz and summary.json are in {folder}/")


if __name__ == "__main__":
    command(main, MnistOptions, prog="python -m experiments.mnist", description=__doc__)
