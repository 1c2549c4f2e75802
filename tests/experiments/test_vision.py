"""What the experiments on images share: options, networks, augmentations, and that nothing is lost."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import fnn
from experiments import common, saved, vision
from experiments.cats_dogs import FolderOptions
from experiments.mnist import DEFAULTS, EXPERIMENT
from experiments.vision import ImageOptions
from fnn.data import Splits
from fnn.train import FitResult, Reporter
from tests.experiments.images import write_idx, write_picture

ROOT = Path(__file__).parents[2]
SMALL = replace(DEFAULTS["mlp"], hidden=(4,), epochs=2, batch_size=10, seeds=2, progress=False)


@pytest.fixture
def options(tmp_path: Path) -> ImageOptions:
    write_idx(tmp_path, 20)
    return replace(SMALL, data=tmp_path, out=tmp_path / "runs")


# Networks and augmentations.


@pytest.mark.parametrize(("model", "channels"), [("mlp", 1), ("cnn", 3), ("resnet", 1)])
def test_networks_take_bytes_and_numbers_alike(model: Any, channels: int) -> None:
    options = ImageOptions(model=model, hidden=(8,), channels=(4, 6), batch_norm=True, mean=0.5, stddev=0.25)
    net = vision.network(options, 5)
    x = jnp.asarray(np.random.default_rng(0).integers(0, 256, (3, 8, 8, channels)).astype(np.uint8))

    @jax.jit
    def both(x: jax.Array) -> list[jax.Array]:
        params, state = net.init(jax.random.key(0), x)
        return [net.apply(params, state, pixels)[0] for pixels in (x, x / jnp.float32(255))]

    of_bytes, of_numbers = both(x)
    assert of_bytes.shape == (3, 5)
    np.testing.assert_allclose(of_bytes, of_numbers, rtol=1e-4, atol=1e-5)


def test_augmentations_are_those_asked_for() -> None:
    assert vision.augmentation(ImageOptions(), 2) is None
    x, y = jnp.arange(1.0, 65.0).reshape(1, 8, 8, 1), jnp.array([1])
    alone = {
        "mirror": lambda new: bool((new == x[:, :, ::-1]).all()) or bool((new == x).all()),
        "shift": lambda new: set(np.unique(new)) <= {0.0, *np.unique(x)},
        "cutout": lambda new: bool(((new == x) | (new == 0)).all() and (new == 0).any()),
    }
    for name, right in alone.items():
        augment = vision.augmentation(replace(ImageOptions(), **{name: 3 if name != "mirror" else True}), 2)
        assert augment is not None
        found = jax.jit(jax.vmap(augment, (0, None)))(jax.random.split(jax.random.key(0), 8), (x, y))[0]
        assert all(right(new) for new in found), name
        assert not all((new == x).all() for new in found), name
    mixed = vision.augmentation(ImageOptions(mix_up=0.2), 2)
    assert mixed is not None
    assert mixed(jax.random.key(0), (x, y))[1].shape == (1, 2)


def test_the_learning_rate_rises_and_falls() -> None:
    options = replace(SMALL, epochs=4, warmup=1, learning_rate=0.1)
    rate = common.learning_rate(options, 40)
    np.testing.assert_allclose([float(rate(t)) for t in (0, 2, 4, 10, 16)], [0, 0.05, 0.1, 0.05, 0], atol=1e-7)
    steady = common.learning_rate(replace(options, schedule="constant"), 40)
    np.testing.assert_allclose([float(steady(t)) for t in (0, 2, 4, 16)], [0, 0.05, 0.1, 0.1], atol=1e-7)
    assert common.learning_rate(replace(options, schedule="constant", warmup=0), 40) == 0.1


# Nothing is lost.


def _reached(net: fnn.nn.Layer, seed: int, splits: Splits) -> FitResult:
    """What a fit would return, without training: the last state has other weights than the best one."""
    last, best = (fnn.train.init_state(jax.random.key(s), net, fnn.optim.sgd(0.1), splits.test.x) for s in (seed, 99))
    return FitResult(last, best, {"loss": jnp.array([2.0, 1.0])})


@pytest.fixture
def breaking_off(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Lets the fit of one seed end with an error that holds its result; the others return theirs."""

    def to_break(error: BaseException | None, at_seed: int = 0, spoilt: bool = False, result: bool = True) -> None:
        def fit_one(options: Any, net: Any, seed: int, splits: Any, **_: Any) -> Any:
            reached = _reached(net, seed, splits)
            if error is None or seed != at_seed:
                return reached, Reporter()
            if spoilt:
                params = jax.tree.map(lambda w: w * jnp.nan, reached.state.params)
                reached = reached._replace(state=reached.state._replace(params=params))
            error.result = reached if result else None  # pyright: ignore[reportAttributeAccessIssue]
            raise error

        monkeypatch.setattr(common, "fit_one", fit_one)
        monkeypatch.setattr(Reporter, "train_seconds", 1.0)

    return to_break


def _arrays(options: ImageOptions, name: str = "model.npz") -> dict[str, np.ndarray]:
    return saved.load(options.out / "mnist" / name, "").arrays


def _is_of(arrays: dict[str, np.ndarray], seed: int, options: ImageOptions) -> bool:
    assert options.data is not None
    splits, net = fnn.data.mnist(options.data), vision.network(options, 10)
    params = _reached(net, seed, splits).state.params
    return all(np.array_equal(arrays[f"params/{name}"], w) for name, w in fnn.tree.named_leaves(params).items())


@pytest.mark.parametrize("error", [KeyboardInterrupt(), fnn.errors.NonFiniteError("training: nan")])
def test_what_there_is_is_saved(error: BaseException, options: ImageOptions, breaking_off: Callable[..., None]) -> None:
    breaking_off(error)
    with common.console.capture() as printed, pytest.raises(type(error)):
        vision.main(EXPERIMENT, options)
    assert "What there was, 2 of 2 epochs, is in" in printed.get()
    assert {file.name for file in (options.out / "mnist").iterdir()} == {"model.npz", "history.csv"}
    assert _is_of(_arrays(options), 0, options)


def test_a_spoilt_last_state_gives_way_to_the_best(options: ImageOptions, breaking_off: Callable[..., None]) -> None:
    breaking_off(fnn.errors.NonFiniteError("training: nan"), spoilt=True)
    with common.console.capture(), pytest.raises(fnn.errors.NonFiniteError):
        vision.main(EXPERIMENT, options)
    assert _is_of(_arrays(options), 99, options)


def test_a_whole_network_is_not_replaced_by_half_a_one(
    options: ImageOptions, breaking_off: Callable[..., None]
) -> None:
    path = options.out / "mnist" / "model.npz"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"whole")
    breaking_off(KeyboardInterrupt())
    with common.console.capture(), pytest.raises(KeyboardInterrupt):
        vision.main(EXPERIMENT, options)
    assert path.read_bytes() == b"whole"
    assert {file.name for file in path.parent.iterdir()} == {"model.npz", "interrupted.npz"}
    assert _is_of(_arrays(options, "interrupted.npz"), 0, options)


def test_without_a_result_nothing_is_written(options: ImageOptions, breaking_off: Callable[..., None]) -> None:
    breaking_off(KeyboardInterrupt(), result=False)
    with pytest.raises(KeyboardInterrupt):
        vision.main(EXPERIMENT, options)
    assert not (options.out / "mnist").exists()


def test_finished_seeds_are_told(options: ImageOptions, breaking_off: Callable[..., None]) -> None:
    breaking_off(KeyboardInterrupt(), at_seed=1)
    with common.console.capture() as printed, pytest.raises(KeyboardInterrupt):
        vision.main(EXPERIMENT, options)
    assert "seed 0" in printed.get()
    assert "seed 1" not in printed.get()
    summary = json.loads((options.out / "mnist" / "summary.json").read_text())["figures"]
    assert len(summary["test accuracy"]) == 1
    assert _is_of(_arrays(options), 0, options)
    assert not (options.out / "mnist" / "interrupted.npz").exists()


def test_the_figures_are_those_of_the_last_state(options: ImageOptions, breaking_off: Callable[..., None]) -> None:
    breaking_off(None)
    folder = options.out / "mnist"
    folder.mkdir(parents=True)
    (folder / "filters.png").write_bytes(b"of a cnn before")
    with common.console.capture():
        vision.main(EXPERIMENT, replace(options, seeds=1))
    assert (folder / "first_layer_weights.png").is_file()
    assert not (folder / "filters.png").exists()
    assert options.data is not None
    splits, net = fnn.data.mnist(options.data), vision.network(options, 10)
    last, best, _ = _reached(net, 0, splits)
    losses = [float(common.measures(net, state, splits)["test loss"]) for state in (last, best)]
    summary = json.loads((options.out / "mnist" / "summary.json").read_text())["figures"]
    assert losses[0] != pytest.approx(losses[1], rel=1e-3)
    assert summary["test loss"] == [pytest.approx(losses[0], rel=1e-5)]
    assert _is_of(_arrays(options), 0, options)


def test_an_average_is_what_counts(options: ImageOptions) -> None:
    with common.console.capture():
        vision.main(EXPERIMENT, replace(options, seeds=1, average=0.9, schedule="constant", learning_rate=0.05))
    assert options.data is not None
    splits, net = fnn.data.mnist(options.data), vision.network(options, 10)
    tx = fnn.optim.with_average(fnn.optim.adam(0.05), 0.9)
    result = fnn.fit(net, common.LOSS, tx, splits.train, key=jax.random.key(0), epochs=2, batch_size=10)
    average = fnn.tree.named_leaves(fnn.optim.average_of(result.state.opt_state, result.state.params))
    for name, w in fnn.tree.named_leaves(result.state.params).items():
        np.testing.assert_allclose(_arrays(options)[f"params/{name}"], average[name], rtol=1e-5, atol=1e-6)
        assert not np.allclose(w, average[name], rtol=1e-3), name


def test_a_diverging_run_leaves_a_network(options: ImageOptions) -> None:
    wild = replace(options, optimizer="sgd", schedule="constant", learning_rate=1e30)
    with common.console.capture(), pytest.raises(fnn.errors.NonFiniteError, match="Lower the learning rate"):
        vision.main(EXPERIMENT, wild)
    assert all(np.isfinite(a).all() for a in _arrays(options).values())


# The command line.


def _run(module: str, *given: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", f"experiments.{module}", *given]
    env = os.environ | {"COLUMNS": "100", "NO_COLOR": "1"}
    return subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True)


def test_help_shows_every_option_and_the_model_its_own_defaults() -> None:
    done = _run("cats_dogs", "--model", "resnet", "--help")
    assert done.returncode == 0, done.stderr
    for field in fields(FolderOptions):
        assert re.search(rf"--{field.name.replace('_', '-')}\b", done.stdout), field.name
    assert re.search(r"early\.[│\s]+\(default:[│\s]+resnet\)", done.stdout)
    assert "(default: 16 32 64)" in done.stdout


WRONG: dict[str, tuple[list[str], str]] = {
    "no data": (
        [],
        "error: data: got nothing, expected where the data is. Such as: ",
    ),
    "no folder": (["--data", "nowhere"], "error: path: got nowhere, expected the folder of the four IDX files."),
    "untrained": (["--predict", "a.png"], "error: "),
    "warm-up": (["--data", ".", "--warmup", "20"], "error: warmup: got 20, expected fewer than the 20 epochs."),
    "decay": (
        ["--data", ".", "--optimizer", "sgd", "--weight-decay", "0.1"],
        "error: weight_decay: got 0.1, expected 0 with sgd.",
    ),
    "shift": (["--data", ".", "--shift", "-1"], "error: pixels: got -1, expected an integer >= 1."),
    "channels": (
        ["--data", ".", "--model", "cnn", "--channels", "0"],
        "error: channels[0]: got 0, expected an integer",
    ),
    "stddev": (["--data", ".", "--stddev", "0"], "error: stddev: got 0.0 "),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_is_one_line(case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given, line = WRONG[case]
    monkeypatch.setattr(sys, "argv", ["mnist", *given, "--out", str(tmp_path)])
    with pytest.raises(SystemExit) as ended:
        vision.command(EXPERIMENT, "mlp", "")
    assert str(ended.value.code).startswith(line)
    assert not list(tmp_path.iterdir())


def test_an_unreadable_picture_is_named(
    options: ImageOptions, tmp_path: Path, breaking_off: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    breaking_off(KeyboardInterrupt())
    with common.console.capture(), pytest.raises(KeyboardInterrupt):
        vision.main(EXPERIMENT, options)
    write_picture(tmp_path / "good.png", 1)
    (tmp_path / "bad.png").write_bytes(b"no picture")
    files = [str(tmp_path / name) for name in ("good.png", "bad.png")]
    monkeypatch.setattr(sys, "argv", ["mnist", "--out", str(options.out), "--predict", *files])
    with pytest.raises(SystemExit) as ended:
        vision.command(EXPERIMENT, "mlp", "")
    assert str(ended.value.code).startswith(f"error: {files[1]}: got something else, expected a JPEG or PNG image.")


def test_ctrl_c_ends_with_its_own_code(
    options: ImageOptions, breaking_off: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    breaking_off(KeyboardInterrupt())
    monkeypatch.setattr(sys, "argv", ["mnist", "--data", str(options.data), "--out", str(options.out), "--hidden", "4"])
    with common.console.capture() as printed, pytest.raises(SystemExit) as ended:
        vision.command(EXPERIMENT, "mlp", "")
    assert ended.value.code == 130
    assert printed.get().splitlines()[-1] == "interrupted"
