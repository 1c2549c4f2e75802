"""The main job: its figures hold, everything is written, every option is offered."""

import csv
import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import fields, replace
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest

import fnn.__main__
from experiments.common import Options, command, console, figures, network, optimizer, python
from experiments.digits import DEFAULTS, fit_seeds, main

ROOT = Path(__file__).parents[2]
SMALL = replace(DEFAULTS, hidden=(16,), epochs=3, seeds=2, progress=False)


def test_mean_accuracy_of_five_seeds() -> None:
    found, *_ = fit_seeds(DEFAULTS, fnn.data.digits())
    assert found["test accuracy"].shape == (5,)
    assert found["test accuracy"].mean() >= 0.975


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """What a small run leaves: its folder, and what it printed."""
    out = tmp_path_factory.mktemp("runs")
    with console.capture() as printed:
        main(replace(SMALL, out=out))
    return out / "digits", printed.get()


def test_the_table(written: tuple[Path, str]) -> None:
    for figure in ("epochs", "train loss", "test accuracy", "time to compile", "time to train", "examples per second"):
        assert f"│ {figure}" in written[1]
    table = [line for line in written[1].splitlines() if "│" in line]
    assert max(map(len, table)) <= 80


def test_everything_is_written(written: tuple[Path, str]) -> None:
    pictures = ["learning_curves", "confusion_matrix", "worst_examples", "first_layer_weights"]
    pictures += ["gradient_flow", "update_ratios"]
    record = {"history.csv", "layers.csv", "examples.npz", "summary.json", "network.txt"}
    files = {*(f"{name}.png" for name in pictures), *record, "params.npz"}
    assert {path.name for path in written[0].iterdir()} == files
    with (written[0] / "history.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["epoch"] for row in rows] == ["1", "2", "3"]
    assert {"loss", "accuracy", "grad_norm", "val_loss", "val_accuracy"} <= set(rows[0])
    summary = json.loads((written[0] / "summary.json").read_text())
    assert summary["settings"]["hidden"] == [16]
    assert not {"out", "progress"} & set(summary["settings"])


def test_the_last_line_is_a_command_that_runs(written: tuple[Path, str], monkeypatch: pytest.MonkeyPatch) -> None:
    command = written[1].splitlines()[-1].removeprefix("As one page: ")
    assert command.endswith(f" -m fnn report {written[0]}")
    monkeypatch.setattr(sys, "executable", str(Path.cwd() / ".venv" / "bin" / "python"))
    assert python() == ".venv/bin/python"
    monkeypatch.setattr(sys, "executable", "/elsewhere/bin/python")
    assert python() == "/elsewhere/bin/python"
    monkeypatch.setattr(shutil, "which", lambda name: f"/elsewhere/bin/{name}")
    assert python() == "python"


def test_it_becomes_a_page(written: tuple[Path, str], capsys: pytest.CaptureFixture[str]) -> None:
    assert fnn.__main__.main(["report", str(written[0])]) == 0
    page = (written[0] / "report.html").read_text(encoding="utf-8")
    for section in (
        "learning",
        "layers-through-training",
        "predictions",
        "further-pictures",
        "settings",
        "every-epoch",
    ):
        assert f'<section id="{section}">' in page
    # Three curves, three or four of layers (some units may be dead), two of predictions, the weights.
    assert page.count("data:image/png") in (9, 10)
    assert "<span>test accuracy, 2 seeds</span>" in page
    assert "<span>time to train, 2 seeds</span>" in page
    assert page.count("<small>seed 0</small>") == 3
    assert str(written[0] / "report.html") in capsys.readouterr().out


def test_the_parameters_on_disk_are_the_network(written: tuple[Path, str]) -> None:
    layers: dict[str, dict[str, np.ndarray]] = {}
    with np.load(written[0] / "params.npz") as arrays:
        for name, array in arrays.items():
            layer, _, parameter = name.partition("/")
            layers.setdefault(layer, {})[parameter] = array
    test = fnn.data.digits().test
    outputs, _ = network(SMALL, 10).apply(layers, {}, jnp.asarray(test.x))
    accuracy = float(fnn.metrics.accuracy(outputs, test.y).mean())
    # One program for all seeds may round otherwise, and so decide an example or two otherwise.
    of_first_seed = json.loads((written[0] / "summary.json").read_text())["figures"]["test accuracy"][0]
    assert accuracy == pytest.approx(of_first_seed, abs=2.5 / len(test.y))


@pytest.mark.parametrize(
    "options",
    [
        replace(SMALL, optimizer="momentum", convention="paper", learning_rate=0.01),
        replace(SMALL, optimizer="sgd", schedule="constant", learning_rate=0.1),
        replace(SMALL, optimizer="rmsprop", activation="tanh", initializer="xavier"),
        replace(SMALL, optimizer="adagrad", learning_rate=0.05, l2=1e-4, hidden=()),
        replace(SMALL, optimizer="adam", weight_decay=0.1, average=0.9, warmup=1),
    ],
    ids=lambda options: options.optimizer,
)
def test_every_option_trains(options: Options) -> None:
    found, *_ = fit_seeds(options, fnn.data.digits())
    assert found["train loss"].max() < np.log(10)


def test_a_convention_that_the_rule_lacks() -> None:
    with pytest.raises(ValueError, match=r"convention: got 'lecture', expected one of keras, optax, paper, torch"):
        optimizer(replace(SMALL, optimizer="adam", convention="lecture"), 100)


def test_figures_of_several_seeds_have_a_spread() -> None:
    row = figures(SMALL, {"test accuracy": np.array([0.5, 0.7])}, 1.0, 2.0, 100)
    assert row["test accuracy"] == "60.00% ± 14.14%"
    assert row["examples per second"] == "150"


def test_help_shows_every_option() -> None:
    env = os.environ | {"COLUMNS": "100", "NO_COLOR": "1"}
    done = subprocess.run(
        [sys.executable, "-m", "experiments.digits", "--help"], cwd=ROOT, env=env, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    for field in fields(Options):
        assert re.search(rf"--{field.name.replace('_', '-')}\b", done.stdout), field.name


@pytest.mark.parametrize(
    ("given", "line"),
    [
        (["--epochs", "0"], "error: epochs: got 0, expected an integer >= 1."),
        (["--seeds", "-2"], "error: seeds: got -2, expected an integer >= 1."),
        (["--seed", "5000000000"], "error: seed: got 5000000000, expected a number in [0, 2.14748e+09)."),
        (["--learning-rate", "-1"], "error: learning_rate: got -1.0, expected a finite number >= 0."),
        (["--activation", "rleu"], "error: activation: got 'rleu', expected one of"),
        (["--dropout", "1"], "error: rate: got 1.0, expected a number in [0, 1)."),
        (["--optimizer", "sgd", "--convention", "paper"], "error: convention: got paper, expected none with sgd."),
        (["--out", __file__], "error: [Errno 17] File exists"),
    ],
    ids=lambda given: "-".join(given) if isinstance(given, list) else None,
)
def test_a_wrong_option_is_one_line(given: list[str], line: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["digits", *given])
    with pytest.raises(SystemExit) as ended:
        command(main, Options, default=DEFAULTS)
    assert str(ended.value.code).startswith(line)
