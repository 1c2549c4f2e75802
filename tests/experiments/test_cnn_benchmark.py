"""The benchmark of a convolutional network: its count, its table and its JSON; nothing about speed."""

import importlib.util
import json
import math
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import pytest

import fnn
from experiments.benchmarks import cnn
from experiments.benchmarks.cnn_peers import CONTESTANTS, Task
from experiments.benchmarks.cnn_worker import PEER, flops
from tests.experiments.images import write_idx

CORES = min(2, len(cnn.cores_at_hand()) or 2)
FAST = ["--steps", "2", "--repeats", "1", "--batch", "8", "--cores", str(CORES)]


def _run(folder: Path, *arguments: str) -> dict[str, Any]:
    out = folder / "new" / "cnn.json"
    cnn.main([*FAST, "--out", str(out), *arguments])
    return json.loads(out.read_text())


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return _run(tmp_path_factory.mktemp("runs"), "--only", "fnn", "linen")


def test_the_names_agree() -> None:
    assert list(CONTESTANTS) == list(PEER)


def test_the_count_of_products() -> None:
    # Multiply-adds of an image by hand, layer by layer: places, kernel, channels.
    forward = [28 * 28 * 9 * 1 * 32, 14 * 14 * 9 * 32 * 64, 3136 * 128, 128 * 10]
    assert flops(128) == 128 * 2 * (3 * sum(forward) - forward[0])
    assert flops(128) == pytest.approx(3.2e9, rel=0.01)


def test_the_count_is_that_of_the_network() -> None:
    net = fnn.nn.cnn([32, 64], [128], 10)
    params, _ = jax.eval_shape(net.init, jax.random.key(0), jax.ShapeDtypeStruct((1, 28, 28, 1), jnp.float32))
    # A dense weight is used once, a kernel's once for each place.
    places = {"conv_0": 28**2, "conv_1": 14**2}
    forward = [places.get(name, 1) * math.prod(layer["w"].shape) for name, layer in params.items()]
    assert flops(1) == 2 * (3 * sum(forward) - places["conv_0"] * params["conv_0"]["w"].size)


def test_every_contestant_has_a_row(result: dict[str, Any]) -> None:
    assert list(result["rows"]) == ["fnn", "linen"]
    assert not result["left_out"]
    for row in result["rows"].values():
        assert len(row["turns_ms"]) == 1
        assert len(row["losses"]) == 3
        assert row["losses"][-1] < row["losses"][0]
        assert row["ms"] == row["turns_ms"][0] > 0
        assert row["gflops"] == pytest.approx(flops(8) / row["ms"] / 1e6)


@pytest.mark.parametrize("name", [*cnn.DEVICES, "fnn-loop", "nnx"])
def test_contestants(name: str, result: dict[str, Any]) -> None:
    turn = CONTESTANTS[name](Task(2, 8, 2, None))
    losses = [turn() for _ in range(3)]
    assert losses[-1] < losses[0]
    if name.startswith("fnn"):
        # On one device or two, in one program or a loop, and in a process of its own.
        assert losses == pytest.approx(result["rows"]["fnn"]["losses"], rel=1e-4)


def test_ratios_and_what_they_were_measured_on(result: dict[str, Any]) -> None:
    (found,) = result["ratios"].values()
    assert found == {"ratio": pytest.approx(result["rows"]["linen"]["ms"] / result["rows"]["fnn"]["ms"]), "asked": 1.0}
    assert result["settings"]["steps"] == 2
    assert result["machine"]["versions"]["jax"] == jax.__version__


def test_one_core_is_not_two_devices(tmp_path: Path) -> None:
    before = cnn.cores_at_hand()
    found = _run(tmp_path, "--only", *cnn.DEVICES, "--cores", "1")
    assert found["left_out"] == dict.fromkeys(cnn.DEVICES, "needs two cores")
    assert cnn.cores_at_hand() == before


def test_torch(tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="its rows need torch")
    assert list(_run(tmp_path, "--only", "torch-last")["rows"]) == ["torch-last"]


def test_who_fails_is_left_out_with_the_reason(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_idx(tmp_path)  # images of 12x12, and too few
    found = _run(tmp_path, "--data", str(tmp_path), "--steps", "1000", "--only", "fnn")
    assert not found["rows"]
    assert "ValueError: a turn needs 8000 images" in found["left_out"]["fnn"]
    assert "left out: ValueError: a turn needs" in capsys.readouterr().out


def test_who_is_not_installed_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    assert _run(tmp_path, "--only", "torch")["left_out"] == {"torch": "torch is not installed"}


def test_the_table(result: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    rows = {name: {**result["rows"]["fnn"], "label": PEER[name].label} for name in ("fnn", "torch", "matmul")}
    rows["fnn"] |= {"ms": 20.0}
    rows["torch"] |= {"ms": 30.0}
    cnn.table({**result, "rows": rows, "floor_ms": 18.0, "ratios": cnn.compared(rows)})
    lines = capsys.readouterr().out.splitlines()
    assert f"jax {jax.__version__}" in lines[0]
    assert lines[1] == "batch 8, medians of 1 turns of 2 steps"
    assert lines[4].startswith("PyTorch   ")
    assert lines[4].split()[1] == "30.00"
    assert lines[4].split()[3] == "1.50"
    assert lines[-2].endswith("at the matrix product's speed 18.0 ms.")
    assert lines[-1] == "PyTorch's best / fnn on one device: 1.50 (asked 1.3)"


def test_forms_that_differ_are_refused() -> None:
    cnn.check_same({"fnn": 2.0, "fnn-loop": 2.0001})
    for other in (2.001, math.nan):
        with pytest.raises(SystemExit, match="error: the forms of fnn differ in the mean loss of the first turn"):
            cnn.check_same({"fnn": 2.0, "fnn-loop": other})


def test_a_loss_that_does_not_fall_is_refused() -> None:
    cnn.check_learned({"fnn": [2.0, 1.0], "matmul": [0.0, 0.0]})
    for last in (2.0, math.nan):
        with pytest.raises(SystemExit, match="error: the loss of fnn does not fall: 2"):
            cnn.check_learned({"fnn": [2.0, last]})


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--repeats", "0"], "repeats, steps, batch and cores are at least 1"),
        (["--batch", "9", "--cores", "2"], "cores divides batch"),
        (["--data", "no-such-folder"], "no such folder"),
        (["--only", "keras"], "invalid choice: 'keras'"),
    ],
)
def test_options_that_cannot_be(arguments: list[str], says: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        cnn.main(arguments)
    assert says in capsys.readouterr().err


def test_more_cores_than_there_are() -> None:
    with pytest.raises(SystemExit, match="error: --cores 1024: there are"):
        cnn.main(["--cores", "1024", "--batch", "1024"])
