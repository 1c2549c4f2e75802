"""What the experiments share: their options, the network and optimizer these ask for, tables and files."""

import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import jax
import numpy as np
import optax
import tyro
from rich.console import Console
from rich.table import Table

import fnn
from fnn.data import Dataset, Splits
from fnn.train import Bar, FitResult, Reporter, TrainState, Watch

console = Console()
LOSS = fnn.losses.softmax_cross_entropy
METRICS: dict[str, fnn.typing.Metric] = {"accuracy": fnn.metrics.accuracy}


@dataclass(frozen=True)
class Options:
    """What can be chosen about a run; every experiment has its own defaults."""

    hidden: tuple[int, ...] = (128, 64)
    """Widths of the hidden layers."""
    activation: str = "relu"
    """Activation of the hidden layers: relu, tanh, sigmoid, gelu, ..."""
    initializer: str | None = None
    """How weights are drawn: he, xavier, normalized_xavier, ...; by default as it suits the activation."""
    optimizer: Literal["sgd", "momentum", "rmsprop", "adagrad", "adam"] = "adam"
    """The update rule."""
    convention: str | None = None
    """Whose definition of the rule: paper, optax, torch, keras, lecture (momentum), tf1 (rmsprop); else its own."""
    nesterov: bool = False
    """Momentum that looks ahead; with momentum only."""
    learning_rate: float = 3e-3
    """The learning rate, the highest one where there is a schedule."""
    schedule: Literal["constant", "cosine"] = "cosine"
    """Keep the learning rate, or let it fall to 0 along half a cosine."""
    warmup: int = 0
    """Epochs in which the learning rate first rises from 0."""
    batch_size: int = 64
    """Examples in a batch."""
    epochs: int = 50
    """How often each training example is used."""
    dropout: float = 0.0
    """Share of each hidden layer that is dropped in training."""
    l2: float = 0.0
    """Weight of the sum of squared weights in the loss."""
    weight_decay: float = 0.0
    """Decoupled decay of the weights, not of biases and norms; with adam only."""
    average: float = 0.0
    """The network that counts is an average of the weights along the way, of which this share stays at each update."""
    seed: int = 0
    """First seed; further ones count up from it."""
    seeds: int = 5
    """How many networks are trained, each from its own seed."""
    looks: int = 50
    """How often the layers of the first network are looked at, for the report; 0 or at least 2."""
    out: Path = Path("runs")
    """Folder for pictures, history and parameters."""
    progress: bool = True
    """Show a progress bar where the output is a terminal."""


def command(main: Callable[[Any], None], options: type, **of_tyro: Any) -> None:
    """Runs an experiment from the command line; what is wrong with an option is one line, without a traceback."""
    chosen = tyro.cli(options, **of_tyro)
    try:
        main(chosen)
    except KeyboardInterrupt:
        console.print("interrupted")
        raise SystemExit(130) from None
    except (ValueError, TypeError, OSError, ArithmeticError, ImportError) as error:
        raise SystemExit(f"error: {error}") from error


def check(options: Options, build: Callable[[Any, int], fnn.nn.Layer] | None = None) -> None:
    """Refuses options that no run can have, before anything is read or compiled; makes the folder for its files."""
    for name in ("epochs", "seeds", "batch_size"):
        fnn.errors.check_count(name, getattr(options, name))
    for name in ("seed", "warmup", "looks"):
        fnn.errors.check_count(name, getattr(options, name), minimum=0)
    watcher(options)
    fnn.errors.check_scalar("seed", options.seed, 0, 2**31)
    fnn.errors.check_scalar("learning_rate", options.learning_rate, 0)
    fnn.errors.check_scalar("weight_decay", options.weight_decay, 0)
    if options.optimizer == "sgd" and options.convention is not None:
        raise ValueError(fnn.errors.message("convention", options.convention, "none with sgd", "All sources share it."))
    if options.optimizer != "adam" and options.weight_decay:
        raise ValueError(fnn.errors.message("weight_decay", options.weight_decay, f"0 with {options.optimizer}"))
    if options.optimizer != "momentum" and options.nesterov:
        raise ValueError(fnn.errors.message("nesterov", True, f"none with {options.optimizer}", "It is momentum's."))
    if options.warmup >= options.epochs:
        raise ValueError(fnn.errors.message("warmup", options.warmup, f"fewer than the {options.epochs} epochs"))
    (build or network)(options, 2)
    optimizer(options, options.batch_size)
    options.out.mkdir(parents=True, exist_ok=True)


def network(options: Options, outputs: int) -> fnn.nn.Layer:
    """The multi-layer perceptron that the options ask for."""
    w_init = None if options.initializer is None else fnn.initializers.get(options.initializer)
    widths = [*options.hidden, outputs]
    return fnn.nn.mlp(widths, options.activation, dropout=options.dropout, w_init=w_init)


def learning_rate(options: Options, examples: int) -> Any:
    """The learning rate that the options ask for, by update where it changes."""
    peak, each = options.learning_rate, fnn.data.steps_per_epoch(examples, options.batch_size)
    rise, rest = options.warmup * each, (options.epochs - options.warmup) * each
    if not rise and options.schedule == "constant":
        return peak
    after = optax.constant_schedule(peak) if options.schedule == "constant" else optax.cosine_decay_schedule(peak, rest)
    return optax.join_schedules([optax.linear_schedule(0.0, peak, rise), after], [rise]) if rise else after


def optimizer(options: Options, examples: int) -> optax.GradientTransformation:
    """The optimizer that the options ask for, for a run over so many examples."""
    how: dict[str, Any] = {} if options.convention is None else {"convention": options.convention}
    if options.nesterov:
        how |= {"nesterov": True}
    if options.weight_decay:
        how |= {"weight_decay": options.weight_decay, "decay_mask": fnn.tree.weight_mask}
    tx = getattr(fnn.optim, options.optimizer)(learning_rate(options, examples), **how)
    return fnn.optim.with_average(tx, options.average) if options.average else tx


def settled(state: TrainState) -> TrainState:
    """The state with the average of the weights as its weights, where the optimizer keeps one."""
    average = fnn.optim.average_of(state.opt_state, state.params)
    return state if average is None else state._replace(params=average)


def classes(splits: Splits) -> int:
    """How many classes the labels count up to."""
    return 1 + max(int(part.y.max()) for part in splits)


def watcher(options: Options) -> Watch | None:
    """Looks at the layers as often as the options ask for."""
    return Watch(options.looks) if options.looks else None


def fit_one(
    options: Options,
    net: fnn.nn.Layer,
    seed: int,
    splits: Splits,
    *,
    loss: fnn.typing.Loss = LOSS,
    augment: Any = None,
    watch: Watch | None = None,
) -> tuple[FitResult, Reporter]:
    """One network from one seed, settled, with progress; the test set is measured after each epoch for the curves."""
    reporter = Bar() if options.progress and console.is_terminal else Reporter()
    result = fnn.fit(
        net,
        loss,
        optimizer(options, len(splits.train.x)),
        splits.train,
        key=jax.random.key(seed),
        epochs=options.epochs,
        batch_size=options.batch_size,
        validation=splits.test,
        metrics=METRICS,
        l2=options.l2,
        progress=reporter,
        augment=augment,
        watch=watch,
    )
    return FitResult(settled(result.state), settled(result.best), result.history), reporter


def measures(net: fnn.nn.Layer, state: TrainState, splits: Splits) -> dict[str, jax.Array]:
    """Loss and accuracy in evaluation mode on both parts, as "train loss", "test accuracy", ...; pure."""
    evaluate = fnn.train.make_eval(net, {"loss": LOSS, **METRICS})
    parts = {"train": evaluate(state, splits.train), "test": evaluate(state, splits.test)}
    return {f"{part} {name}": value for part, values in parts.items() for name, value in values.items()}


def figures(
    options: Options, found: Mapping[str, Any], compiling: float, training: float, examples: int
) -> dict[str, str]:
    """What the table tells of a run: epochs, measures, seconds, examples a second."""
    return {
        "epochs": str(options.epochs),
        **fnn.record.worded(found),
        "time to compile": f"{compiling:.2f} s",
        "time to train": f"{training:.2f} s",
        "examples per second": f"{examples * options.epochs / training:,.0f}",
    }


def chances(net: fnn.nn.Layer, state: TrainState, data: Dataset) -> jax.Array:
    """The probabilities of the classes, in evaluation mode."""
    outputs = jax.jit(fnn.train.make_eval(net, {"outputs": lambda outputs, _: outputs}))(state, data)["outputs"]
    return fnn.activations.softmax(outputs)


def pictures(folder: Path, state: TrainState, history: fnn.typing.History, seen: fnn.record.Examples) -> None:
    """Learning curves, confusion matrix, the worst test images, and the first layer's weights."""
    x, y, probabilities, labels = seen
    shape = np.shape(x)[1:3]
    weights = next(leaf for leaf in jax.tree.leaves(state.params) if leaf.ndim == 2)
    save_pictures(
        folder,
        learning_curves=fnn.plot.learning_curves(history),
        confusion_matrix=fnn.plot.confusion_matrix(fnn.metrics.confusion_matrix(probabilities, y), labels),
        worst_examples=fnn.plot.worst_examples(x, y, probabilities, shape=shape, labels=labels),
        first_layer_weights=fnn.plot.first_layer_weights(weights, shape=shape),
    )


def layer_pictures(folder: Path, layers: Mapping[str, np.ndarray]) -> None:
    """The flow of gradients and the lengths of updates; those of a run before go, where nobody has looked now."""
    for name, draw in (("gradient_flow", fnn.plot.gradient_flow), ("update_ratios", fnn.plot.update_ratios)):
        (folder / f"{name}.png").unlink(missing_ok=True)
        save_pictures(folder, **({name: draw(layers)} if layers else {}))


def show(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Prints a table: the first column to the left, numbers to the right."""
    table = Table(title=title, title_justify="left")
    for position, column in enumerate(columns):
        table.add_column(column, justify="right" if position else "left")
    for row in rows:
        table.add_row(*row)
    console.print(table)


def show_runs(title: str, runs: Mapping[str, Mapping[str, str]]) -> None:
    """Prints the figures of runs: a column for each run, a row for each figure."""
    names = list(next(iter(runs.values())))
    show(title, ["", *runs], [[name, *(run.get(name, "") for run in runs.values())] for name in names])


def save_pictures(folder: Path, **figures: Any) -> None:
    """Writes each figure as NAME.png."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, figure in figures.items():
        figure.savefig(folder / f"{name}.png", dpi=150)


def chosen(options: Any) -> dict[str, Any]:
    """The options that make a run what it is, for its record; not where its files go."""
    return {name: value for name, value in asdict(options).items() if name not in ("out", "progress")}


def python() -> str:
    """How to call the interpreter that runs this, from the folder where it runs."""
    here, found = Path(sys.executable), shutil.which("python")
    if found and Path(found) == here:
        return "python"
    return str(here.relative_to(Path.cwd())) if here.is_relative_to(Path.cwd()) else str(here)


def tell_report(folder: Path) -> None:
    """Says how the record becomes a page, in one line to copy."""
    console.print(f"As one page: {python()} -m fnn report {folder}", soft_wrap=True, highlight=False)


def save_params(folder: Path, state: TrainState) -> None:
    """Writes params.npz: arrays by path, "dense_0/w"."""
    fnn.shipping.save_params(folder / "params.npz", state.params)
