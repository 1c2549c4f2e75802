"""The benchmark of perceptrons: its count, its table and its JSON; nothing about speed."""

import importlib.util
import json
import math
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import fnn
from experiments.benchmarks import mlp
from experiments.benchmarks.cnn import cores_at_hand
from experiments.benchmarks.mlp_peers import CONTESTANTS
from experiments.benchmarks.mlp_task import SHAPES, Task, flops, products

CORES = min(2, len(cores_at_hand()) or 2)
FAST = ["--tasks", "digits", "--epochs", "1", "--rounds", "1", "--cores", str(CORES)]
TINY = Task("digits", 1, 2)


def _run(folder: Path, *arguments: str) -> dict[str, Any]:
    out = folder / "new" / "mlp.json"
    mlp.main([*FAST, "--out", str(out), *arguments])
    return json.loads(out.read_text())


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return _run(tmp_path_factory.mktemp("runs"), "--only", "matmul", "fnn", "fnn-fit", "sklearn-one-thread")


def test_the_names_agree() -> None:
    assert list(CONTESTANTS) == list(mlp.PEER)
    assert list(mlp.ASKED) == list(SHAPES)


def test_the_products_of_a_step() -> None:
    assert products((4, 3, 2), 5) == [(5, 4, 3), (5, 3, 2), (4, 5, 3), (3, 5, 2), (5, 2, 3)]
    # Multiply-adds by hand: each weight in three products, those of the first layer in two.
    assert flops((64, 128, 64, 10), 64) == 2 * 64 * (2 * 64 * 128 + 3 * 128 * 64 + 3 * 64 * 10)


@pytest.mark.parametrize("name", SHAPES)
def test_shapes_have_full_batches_and_the_network_of_fnn(name: str) -> None:
    task = Task(name, 2, 1)
    shape = task.shape
    assert task.steps * shape.batch == 2 * shape.examples
    x, y = task.examples()
    assert x.shape == (shape.examples, shape.widths[0])
    assert x.dtype == np.float32
    assert set(y.tolist()) == set(range(10))
    params, _ = jax.eval_shape(fnn.nn.mlp(shape.widths[1:]).init, jax.random.key(0), jnp.asarray(x[:1]))
    macs = [shape.batch * layer["w"].size for layer in params.values()]
    assert flops(shape.widths, shape.batch) == 2 * (3 * sum(macs) - macs[0])


def test_every_contestant_has_a_row(result: dict[str, Any]) -> None:
    found = result["tasks"]["digits"]
    assert not found["left_out"]
    assert list(found["rows"]) == ["matmul", "fnn", "fnn-fit", "sklearn-one-thread"]
    for name, row in found["rows"].items():
        assert row["us"] == row["turns_us"][0] > 0
        assert row["total_seconds"] == pytest.approx(row["compile_seconds"] + 4400 * row["us"] / 1e6)
        assert len(row["losses"]) == 3
        assert row["losses"][-1] < row["losses"][0] or name == "matmul"


def test_ratios_and_what_they_were_measured_on(result: dict[str, Any]) -> None:
    (found,), rows = result["tasks"]["digits"]["ratios"].items(), result["tasks"]["digits"]["rows"]
    ratio = pytest.approx(rows["sklearn-one-thread"]["us"] / rows["fnn"]["us"])
    assert found == ("scikit-learn / fnn", {"ratio": ratio, "asked": 3.0})
    assert result["settings"]["rounds"] == 1
    assert result["machine"]["versions"]["jax"] == jax.__version__


@pytest.mark.parametrize("name", ["fnn", "optax-scan", "optax-loop", "linen", "nnx", "sklearn"])
def test_contestants(name: str) -> None:
    turn = CONTESTANTS[name](TINY)
    losses = [turn() for _ in range(4)]
    assert losses[-1] < losses[0] < 3
    assert losses[-1] < 1.5


def test_equinox() -> None:
    pytest.importorskip("equinox", reason="its row needs equinox")
    turn = CONTESTANTS["equinox"](TINY)
    assert turn() > turn()


@pytest.mark.parametrize("name", ["torch-loader", "torch-one-thread"])
def test_torch(name: str) -> None:
    pytest.importorskip("torch", reason="its rows need torch")
    turn = CONTESTANTS[name](TINY)
    assert turn() > turn()


def test_keras(tmp_path: Path) -> None:
    if importlib.util.find_spec("keras") is None:
        pytest.skip("its row needs keras")
    assert list(_run(tmp_path, "--only", "keras")["tasks"]["digits"]["rows"]) == ["keras"]


def test_who_cannot_is_left_out_with_the_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "equinox" else "there")
    found = _run(tmp_path, "--only", "equinox", "torch-one-thread", "--cores", "1")["tasks"]["digits"]
    assert found["left_out"] == {
        "equinox": "equinox is not installed",
        "torch-one-thread": "the same as without, on one core",
    }
    assert not found["rows"]
    assert "Equinox + Optax, eqx.filter_jit             left out: equinox is not" in capsys.readouterr().out


def test_the_table(result: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    row = result["tasks"]["digits"]["rows"]["fnn"]
    rows = {name: {**row, "label": mlp.PEER[name].label, "us": us} for name, us in [("fnn", 80.0), ("torch", 480.0)]}
    mlp.table("digits", {"rows": rows, "left_out": {}, "ratios": mlp.compared("digits", rows)})
    lines = capsys.readouterr().out.splitlines()
    assert lines[1] == "64-128-64-10, batch 64; total: 4,400 steps"
    assert lines[4].startswith("PyTorch, tuned   ")
    assert lines[4].split()[2:5:2] == ["480.0", "6.00"]
    assert lines[-1] == "PyTorch tuned / fnn: 6.00 (asked 4.0)"


def test_the_best_of_both_sides_is_compared() -> None:
    rows = {"torch": {"us": 9.0}, "torch-one-thread": {"us": 6.0}, "fnn": {"us": 3.0}, "matmul": {"us": 2.7}}
    assert mlp.compared("digits", rows) == {"PyTorch tuned / fnn": {"ratio": 2.0, "asked": 4.0}}
    ratios = {name: found["ratio"] for name, found in mlp.compared("mnist", rows).items()}
    assert ratios == {"best peer / fnn": 2.0, "products / fnn": pytest.approx(0.9)}


def test_the_first_turns_do_not_count() -> None:
    worker = object.__new__(mlp.Worker)
    worker.name, worker.task = "fnn", TINY
    seconds = [3.0, 9.0, 1.0, 1.0, 5.0]
    worker.turns = [{"seconds": s, "steps": 10, "waiting": 0.0, "loss": math.nan} for s in seconds]
    row = worker.row()
    assert (row["us"], row["compile_seconds"]) == (1e5, 2.0)


@pytest.mark.parametrize("wrong", [["--rounds", "0"], ["--epochs", "0"], ["--cores", "-1"], ["--only", "mxnet"]])
def test_wrong_options_are_refused(wrong: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        mlp.main(wrong)
    assert "usage" in capsys.readouterr().err
