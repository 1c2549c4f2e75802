"""MNIST: both models learn, everything is written, and the saved network names pictures."""

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import pytest

import fnn
from experiments import common, saved, vision
from experiments.mnist import DEFAULTS, EXPERIMENT
from experiments.vision import ImageOptions
from tests.experiments.images import write_idx, write_picture

_FAST = {"batch_size": 10, "epochs": 20, "progress": False}
SMALL = {
    "mlp": replace(DEFAULTS["mlp"], hidden=(32,), learning_rate=0.01, seeds=2, **_FAST),
    "cnn": replace(DEFAULTS["cnn"], channels=(4, 8), hidden=(16,), learning_rate=0.02, shift=0, seeds=1, **_FAST),
}
SHARED = {"learning_curves", "confusion_matrix", "predictions", "gradient_flow", "update_ratios"}
PICTURES = {
    "mlp": {*SHARED, "first_layer_weights"},
    "cnn": {*SHARED, "filters", "feature_maps"},
}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("digits")
    write_idx(folder)
    return folder


@pytest.fixture(scope="module", params=["mlp", "cnn"])
def trained(request: pytest.FixtureRequest, data: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, str]:
    """The options of a small run, and what it printed."""
    options = replace(SMALL[request.param], data=data, out=tmp_path_factory.mktemp("runs"))
    with common.console.capture() as printed:
        vision.main(EXPERIMENT, options)
    return options, printed.get()


def test_the_table_and_what_is_learned(trained: tuple[ImageOptions, str]) -> None:
    options, printed = trained
    assert f"12x12, {options.model}" in printed
    summary = json.loads((options.out / "mnist" / "summary.json").read_text())["figures"]
    assert len(summary["test accuracy"]) == options.seeds
    assert ("2 seeds" in printed) == (options.seeds == 2)
    assert min(summary["test accuracy"]) > 0.9
    row = next(line for line in printed.splitlines() if "test accuracy" in line)
    assert row.split("│")[2].strip() == f"{summary['test accuracy'][0]:.2%}"


def test_everything_is_written(trained: tuple[ImageOptions, str]) -> None:
    options, _ = trained
    record = {"history.csv", "layers.csv", "examples.npz", "summary.json", "network.txt"}
    files = {f"{name}.png" for name in PICTURES[options.model]} | record | {"model.npz"}
    assert {path.name for path in (options.out / "mnist").iterdir()} == files
    assert len((options.out / "mnist" / "history.csv").read_text().splitlines()) == options.epochs + 1


def test_pictures_are_named(
    trained: tuple[ImageOptions, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options, _ = trained
    files = [tmp_path / f"[{label}].png" for label in (3, 7)]
    for file, label in zip(files, (3, 7), strict=True):
        write_picture(file, label)
    # Only --out counts: the rest is in the file.
    vision.main(EXPERIMENT, ImageOptions(out=options.out, predict=tuple(files)))
    lines = capsys.readouterr().out.splitlines()
    for line, file, label in zip(lines, files, (3, 7), strict=True):
        assert re.fullmatch(rf"{re.escape(str(file))}: {label}: \d+ %, \d: \d+ %, \d: \d+ %", line)
        shares = [int(share) for share in re.findall(r"(\d+) %", line)]
        assert shares == sorted(shares, reverse=True)
        assert shares[0] > 50


def test_ink_on_paper_is_inverted(
    trained: tuple[ImageOptions, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options, _ = trained
    for name, invert in (("a.png", False), ("b.png", True)):
        write_picture(tmp_path / name, 6, invert=invert)
    vision.main(EXPERIMENT, ImageOptions(out=options.out, predict=(tmp_path / "a.png", tmp_path / "b.png")))
    light, dark = (line.partition(".png")[2] for line in capsys.readouterr().out.splitlines())
    assert light == dark


def test_the_file_is_the_network(trained: tuple[ImageOptions, str], data: Path) -> None:
    options, _ = trained
    model = saved.load(options.out / "mnist" / "model.npz", "")
    test = fnn.data.mnist(data).test
    net = vision.network(options, 10)
    state = fnn.train.init_state(jax.random.key(0), net, fnn.optim.sgd(0.1), test.x)
    params = saved.tree_like(state.params, "params", model, Path())
    outputs, _ = net.apply(params, {}, jnp.asarray(test.x))
    summary = json.loads((options.out / "mnist" / "summary.json").read_text())["figures"]
    assert float(fnn.metrics.accuracy(outputs, test.y).mean()) == pytest.approx(summary["test accuracy"][0])


def test_without_training_the_file_is_missing(tmp_path: Path) -> None:
    with pytest.raises(
        FileNotFoundError, match=r"model\.npz: got no such file, expected a saved model\. Train first: \S+ -m"
    ):
        vision.main(EXPERIMENT, ImageOptions(out=tmp_path, predict=(tmp_path / "a.png",)))


def test_one_epoch_of_mnist(mnist_path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = replace(DEFAULTS["mlp"], hidden=(64,), epochs=1, seeds=1, progress=False)
    vision.main(EXPERIMENT, replace(options, data=mnist_path, out=tmp_path))
    row = next(line for line in capsys.readouterr().out.splitlines() if "test accuracy" in line)
    assert float(row.split("│")[2].strip().rstrip("%")) > 90


def test_no_such_files(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="train-images"):
        vision.main(EXPERIMENT, replace(DEFAULTS["cnn"], data=tmp_path, out=tmp_path))
