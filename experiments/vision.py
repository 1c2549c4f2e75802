"""What the experiments on images share: options, networks, training with all that is written, prediction."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import tyro

import fnn
from experiments import common, networks, saved
from experiments.common import LOSS, Options, console
from fnn.data import Splits
from fnn.train import FitResult, Reporter, TrainState, Watch

# What is not part of the network: where things are, and what is done with it.
_OF_THE_CALL = frozenset({"data", "predict", "out", "progress"})
_SHOWN = 3
_FIRST_LAYER = ("first_layer_weights", "filters", "feature_maps")


@dataclass(frozen=True, kw_only=True)
class ImageOptions(Options):
    """The options of any run, and those of images."""

    data: Path | None = None
    """Where the data is; see above. Training needs it."""
    predict: tuple[Path, ...] = ()
    """Pictures that the saved network names; nothing is trained then."""
    model: Literal["mlp", "cnn", "resnet", "fast_resnet"] = "cnn"
    """Hidden layers alone, convolutions and max-pooling before them, a residual network, or one that pools early."""
    channels: tuple[int, ...] = (32, 64)
    """Channels of each stage of a cnn or resnet."""
    blocks: int = 1
    """Blocks in each stage of a resnet."""
    batch_norm: bool = False
    """Normalize after each convolution of a cnn; a resnet always does."""
    mean: float = 0.0
    """Mean of the pixels, from 0 to 1, which is subtracted."""
    stddev: float = 1.0
    """Their standard deviation, by which they are divided."""
    mirror: bool = False
    """In training, mirror every other image left-right; in evaluation, take the mean over an image and its mirror."""
    shift: int = 0
    """In training, shift each image by up to so many pixels."""
    fill: Literal["zero", "reflect", "edge"] = "zero"
    """What a shift brings in at the border."""
    cutout: int = 0
    """In training, blacken a square of so many pixels."""
    mix_up: float = 0.0
    """In training, mix pairs of images; how evenly."""
    label_smoothing: float = 0.0
    """In training, the share of certainty that goes to all classes alike."""


class Experiment(NamedTuple):
    """One experiment: its name, its data and the names of their classes, what becomes of a picture from a file."""

    name: str
    read: Callable[[Any], tuple[Splits, tuple[str, ...]]]
    prepare: Callable[[jax.Array], jax.Array]
    defaults: Mapping[str, ImageOptions]

    @property
    def train_first(self) -> str:
        """What to do where there is no trained network."""
        return f"Train first: {common.python()} -m experiments.{self.name} --data FOLDER."


class Task(NamedTuple):
    """What a training run is about: options, data, names of the classes, the network, the folder for its files."""

    options: ImageOptions
    splits: Splits
    names: tuple[str, ...]
    net: fnn.nn.Layer
    folder: Path


def network(options: ImageOptions, outputs: int) -> fnn.nn.Layer:
    """The network that the options ask for, from images (n, height, width, channels) to a number for each class."""
    w_init = None if options.initializer is None else fnn.initializers.get(options.initializer)
    if options.model == "mlp":
        layers = [fnn.nn.flatten(), common.network(options, outputs)]
    elif options.model == "resnet":
        net = fnn.nn.resnet(options.channels, options.blocks, outputs, activation=options.activation, w_init=w_init)
        layers = [net]
    elif options.model == "fast_resnet":
        how = {"activation": options.activation, "dropout": options.dropout, "w_init": w_init}
        layers = [networks.fast_resnet(options.channels, outputs, **how)]
    else:
        net = fnn.nn.cnn(
            options.channels,
            options.hidden,
            outputs,
            activation=options.activation,
            norm=fnn.nn.batch_norm if options.batch_norm else None,
            dropout=options.dropout,
            w_init=w_init,
        )
        layers = [net]
    net = fnn.nn.sequential(fnn.nn.standardize(options.mean, options.stddev), *layers)
    return networks.mirrored(net) if options.mirror else net


def augmentation(options: ImageOptions, classes: int) -> fnn.typing.Augmentation | None:
    """What is done to each batch in training; None for nothing."""
    parts = [fnn.augment.flip()] if options.mirror else []
    parts += [fnn.augment.shift_crop(options.shift, fill=options.fill)] if options.shift else []
    parts += [fnn.augment.cutout(options.cutout)] if options.cutout else []
    parts += [fnn.augment.mix_up(classes, options.mix_up)] if options.mix_up else []
    return fnn.augment.chain(*parts) if parts else None


def command(experiment: Experiment, model: str, description: str | None) -> None:
    """Runs an experiment from the command line; each model has its own defaults, `model` is the default one."""
    about = {"prog": f"python -m experiments.{experiment.name}", "description": description}
    kind, defaults = type(experiment.defaults[model]), experiment.defaults
    first, _ = tyro.cli(kind, default=defaults[model], add_help=False, return_unknown_args=True, **about)
    default = defaults.get(first.model, replace(defaults[model], model=first.model))
    common.command(partial(main, experiment), kind, default=default, **about)


def main(experiment: Experiment, options: ImageOptions) -> None:
    """Names the pictures of `--predict`, or trains."""
    if options.predict:
        predict(experiment, options)
    else:
        train(experiment, options)


def train(experiment: Experiment, options: ImageOptions) -> None:
    """Trains a network from each seed, prints a column for each and their mean, writes all of the first under runs/."""
    if options.data is None:
        remedy = f"Such as: {common.python()} -m experiments.{experiment.name} --data FOLDER."
        raise ValueError(fnn.errors.message("data", "nothing", "where the data is", remedy))
    common.check(options, network)
    augmentation(options, 2)
    splits, names = experiment.read(options)
    task = Task(options, splits, names, network(options, len(names)), options.out / experiment.name)
    measure = jax.jit(lambda state, splits: common.measures(task.net, state, splits))
    runs: dict[str, dict[str, str]] = {}
    found: list[dict[str, float]] = []
    try:
        for seed in range(options.seed, options.seed + options.seeds):
            watch = common.watcher(options) if seed == options.seed else None
            result, reporter = _fit(task, seed, watch)
            found.append({name: float(value) for name, value in measure(result.state, splits).items()})
            times = reporter.compile_seconds, reporter.train_seconds
            runs[f"seed {seed}"] = common.figures(options, found[-1], *times, len(splits.train.x))
            if seed == options.seed:
                seen = _seen(task, result.state)
                layers = watch.history if watch else {}
                fnn.record.save(task.folder, history=result.history, layers=layers, examples=seen)
                pictures(task, result, seen)
                common.layer_pictures(task.folder, layers)
    finally:
        # What is finished is told, even where a later seed fails or is interrupted.
        if found:
            _tell(task, runs, found)


def predict(experiment: Experiment, options: ImageOptions) -> None:
    """Prints for each picture what the saved network takes it for: `some.jpg: dog: 99 %, cat: 1 %`."""
    path = options.out / experiment.name / "model.npz"
    model = saved.load(path, experiment.train_first)
    built, names, (height, width, channels) = _rebuilt(model, type(options), path)
    net = network(built, len(names))
    shape = jax.ShapeDtypeStruct((1, height, width, channels), jnp.uint8)
    like = jax.eval_shape(net.init, jax.random.key(0), shape)
    params, state = (saved.tree_like(t, part, model, path) for t, part in zip(like, ("params", "state"), strict=True))
    x = experiment.prepare(fnn.data.read_images(options.predict, (height, width), channels=channels))
    chances = np.asarray(fnn.activations.softmax(net.apply(params, state, x)[0]))
    for file, row in zip(options.predict, chances, strict=True):
        first = np.argsort(-row, kind="stable")[:_SHOWN]
        # print, since rich would wrap the line and take brackets in a name for markup.
        print(f"{file}: " + ", ".join(f"{names[i]}: {row[i]:.0%}".replace("%", " %") for i in first))


def _fit(task: Task, seed: int, watch: Watch | None) -> tuple[FitResult, Reporter]:
    """One network; the first one is saved at once, and where it is broken off, what there is of it."""
    options, first = task.options, seed == task.options.seed
    loss = partial(LOSS, label_smoothing=options.label_smoothing)
    augment = augmentation(options, len(task.names))
    try:
        result, reporter = common.fit_one(options, task.net, seed, task.splits, loss=loss, augment=augment, watch=watch)
    except (KeyboardInterrupt, fnn.errors.NonFiniteError) as error:
        result = getattr(error, "result", None)
        if first and result is not None:
            _rescue(task, result)
        raise
    if first:
        save(task, "model.npz", result.state)
    return result, reporter


def _rescue(task: Task, result: FitResult) -> None:
    """Saves the last state, or where that is spoilt the best one; a whole network of before stays as it is."""
    whole = (task.folder / "model.npz").exists()
    name = "interrupted.npz" if whole else "model.npz"
    save(task, name, common.settled(result.best if _spoilt(result.state) else result.state))
    if not whole:
        fnn.record.save(task.folder, history=result.history)
    epochs = max(map(len, result.history.values()), default=0)
    console.print(f"What there was, {epochs} of {task.options.epochs} epochs, is in {task.folder / name}")


def _tell(task: Task, runs: Mapping[str, Mapping[str, str]], found: Sequence[Mapping[str, float]]) -> None:
    options, (_, height, width, _) = task.options, task.splits.train.x.shape
    by_seed = {name: [one[name] for one in found] for name in found[0]}
    several = {f"{len(found)} seeds": fnn.record.worded(by_seed)} if len(found) > 1 else {}
    source = options.data.name if options.data else ""
    title = f"{source}, {height}x{width}, {options.model}"
    common.show_runs(title, {**runs, **several})
    first = runs[f"seed {options.seed}"]
    times = {f"{name}, seed {options.seed}": first[name] for name in ("time to compile", "time to train")}
    net = fnn.inspect.summary(task.net, task.splits.train.x[:1])
    settings = common.chosen(options)
    fnn.record.save(task.folder, title=title, figures=by_seed | times, settings=settings, network=net)
    where = f"Pictures, model.npz and the record of the run (seed {options.seed}) are in {task.folder}/"
    console.print(where, soft_wrap=True)
    common.tell_report(task.folder)


def _spoilt(state: TrainState) -> bool:
    return not all(np.isfinite(np.asarray(w)).all() for w in jax.tree.leaves(state.params))


def save(task: Task, name: str, state: TrainState) -> None:
    """Writes the network, and what rebuilds it, into a file of the task's folder."""
    asked = {name: value for name, value in asdict(task.options).items() if name not in _OF_THE_CALL}
    about = {"options": asked, "classes": task.names, "shape": task.splits.train.x.shape[1:]}
    saved.save(task.folder / name, about, params=state.params, state=state.model_state)


def _rebuilt(
    model: saved.Saved, kind: type[ImageOptions], path: Path
) -> tuple[ImageOptions, tuple[str, ...], tuple[int, int, int]]:
    """Options, names of the classes, and the images' shape, as they were saved."""
    about, this = model.about, "those of this version"
    if not {"options", "classes", "shape"} <= set(about):
        raise ValueError(fnn.errors.message(str(path), f"the entries {', '.join(about)}", this, "Train again."))
    given: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in about["options"].items()}
    unknown = sorted(set(given) - {field.name for field in fields(kind)})
    if unknown:
        raise ValueError(fnn.errors.message(str(path), f"the options {', '.join(unknown)}", this, "Train again."))
    height, width, channels = about["shape"]
    return kind(**given), tuple(about["classes"]), (height, width, channels)


def _seen(task: Task, state: TrainState) -> fnn.record.Examples:
    """The test images, and what the network says of them."""
    return fnn.record.Examples(*task.splits.test, common.chances(task.net, state, task.splits.test), task.names)


def pictures(task: Task, result: FitResult, seen: fnn.record.Examples) -> None:
    """Learning curves, confusion matrix, right and wrong predictions, and what the first layer looks for."""
    x, y, chances, names = seen
    # Another model's pictures of its first layer go.
    for name in _FIRST_LAYER:
        (task.folder / f"{name}.png").unlink(missing_ok=True)
    common.save_pictures(
        task.folder,
        learning_curves=fnn.plot.learning_curves(result.history),
        confusion_matrix=fnn.plot.confusion_matrix(fnn.metrics.confusion_matrix(chances, y), names),
        predictions=fnn.plot.predictions(x, y, chances, shape=np.shape(x)[1:], labels=names),
        **_of_the_first_layer(task.options, result.state, task.splits.test.x),
    )


def _of_the_first_layer(options: ImageOptions, state: TrainState, x: jax.Array) -> dict[str, Any]:
    leaves = fnn.tree.named_leaves(state.params)
    if options.model == "mlp":
        (height, width, channels), w = x.shape[1:], leaves["mlp_0/dense_0/w"]
        # A colour image's weights are no picture on one scale.
        return {} if channels > 1 else {"first_layer_weights": fnn.plot.first_layer_weights(w, shape=(height, width))}
    name = f"{options.model}_0/conv_0"
    layer = {part: leaves[f"{name}/{part}"] for part in "wb" if f"{name}/{part}" in leaves}
    first = fnn.nn.conv(layer["w"].shape[-1], layer["w"].shape[:2], use_bias="b" in layer)
    pixels = fnn.nn.standardize(options.mean, options.stddev).apply({}, {}, x[:1])[0]
    maps = first.apply(layer, {}, pixels)[0][0]
    return {"filters": fnn.plot.filters(layer["w"]), "feature_maps": fnn.plot.feature_maps(maps, image=x[0])}
