"""An MLP on the 8x8 digits.

One network is trained with a progress bar and the test set's curve; then one network from each of several seeds,
all in one compiled program, for the mean and the spread. Pictures, the parameters and the record of the first are
written under runs/digits/, from which `python -m fnn report runs/digits` makes one page.
"""

import time

import jax
import jax.numpy as jnp
import numpy as np

import fnn
from experiments.common import (
    LOSS,
    Options,
    chances,
    check,
    chosen,
    command,
    console,
    figures,
    fit_one,
    layer_pictures,
    measures,
    network,
    optimizer,
    pictures,
    save_params,
    settled,
    show_runs,
    tell_report,
    watcher,
)
from fnn.data import Splits

TITLE = "Digits, 8x8"
DEFAULTS = Options(hidden=(128, 64), learning_rate=3e-3, batch_size=64, epochs=50, dropout=0.2)


def fit_seeds(options: Options, splits: Splits) -> tuple[dict[str, np.ndarray], float, float]:
    """A network from each seed, all in one program: measures by seed, seconds to compile, seconds to train."""
    net, tx = network(options, outputs=10), optimizer(options, len(splits.train.x))
    step = fnn.train.make_step(fnn.train.supervised(net, LOSS, l2=options.l2), tx)
    train = fnn.train.run(step, splits.train, batch_size=options.batch_size, epochs=options.epochs)

    def one(seed: jax.Array) -> dict[str, jax.Array]:
        state, _ = train(fnn.train.init_state(jax.random.key(seed), net, tx, splits.train.x))
        return measures(net, settled(state), splits)

    seeds = options.seed + jnp.arange(options.seeds)
    begun = time.perf_counter()
    program = jax.jit(jax.vmap(one)).lower(seeds).compile()
    compiled = time.perf_counter()
    found = jax.block_until_ready(program(seeds))
    return {name: np.asarray(v) for name, v in found.items()}, compiled - begun, time.perf_counter() - compiled


def main(options: Options) -> None:
    """Trains, prints the table, and writes everything under runs/digits/."""
    check(options)
    splits, folder, watch = fnn.data.digits(), options.out / "digits", watcher(options)
    examples = len(splits.train.x)
    net = network(options, outputs=10)
    result, reporter = fit_one(options, net, options.seed, splits, watch=watch)
    found = measures(net, result.state, splits)
    by_seed, compiling, training = fit_seeds(options, splits)
    one = figures(options, found, reporter.compile_seconds, reporter.train_seconds, examples)
    many = figures(options, by_seed, compiling, training, examples * options.seeds)
    show_runs(TITLE, {f"seed {options.seed}": one, f"{options.seeds} seeds, one program": many})
    together = f", {options.seeds} seeds" if options.seeds > 1 else ""
    times = {f"{name}{together}": many[name] for name in ("time to compile", "time to train")}
    layers = watch.history if watch else {}
    images = splits.test.x.reshape(-1, 8, 8)
    seen = fnn.record.Examples(images, splits.test.y, chances(net, result.state, splits.test))
    fnn.record.save(
        folder,
        title=TITLE,
        figures=by_seed | times,
        settings=chosen(options),
        network=fnn.inspect.summary(net, splits.train.x[:1]),
        history=result.history,
        layers=layers,
        examples=seen,
    )
    pictures(folder, result.state, result.history, seen)
    layer_pictures(folder, layers)
    save_params(folder, result.state)
    console.print(f"Pictures, parameters and the record of the run are in {folder}/", soft_wrap=True)
    tell_report(folder)


if __name__ == "__main__":
    command(main, Options, prog="python -m experiments.digits", default=DEFAULTS, description=__doc__)
