"""The benchmarks for a GPU, tried on the CPU: their rows, what failure leaves, and the driver's parts; no speed."""

import contextlib
import json
from pathlib import Path
from typing import Any

import pytest

from experiments.benchmarks import gpu, on_gpu
from experiments.benchmarks.gpu_task import PRECISIONS, answered

TRY = ["--platform", "cpu", "--epochs", "1", "--rounds", "1", "--tasks", "digits"]


def test_rows_of_what_ran_and_of_what_did_not(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "new" / "gpu.json"
    gpu.main([*TRY, "--parts", "limit", "mlp", "--only", "product", "matmul", "fnn", "--out", str(out)])
    found = json.loads(out.read_text())["parts"]
    assert [row["precision"] for row in found["mlp"]] == [*PRECISIONS, *PRECISIONS]
    assert all(row["us"] > 0 and row["tflops"] > 0 and "error" not in row for part in found.values() for row in part)
    fnn = {row["precision"]: row["turns"][-1]["loss"] for row in found["mlp"] if row["name"] == "fnn"}
    assert fnn["float32"] == fnn["tf32"] != fnn["bfloat16"]  # a CPU has no TF32
    assert "64-128-64-10, batch 64" in capsys.readouterr().out


def test_an_error_is_an_answer() -> None:
    def builder(name: str, precision: str) -> Any:
        raise ValueError(f"no {name} in {precision}\nnor anything else")

    answer = answered({"mlp": builder}, lambda precision: contextlib.nullcontext())
    assert answer("mlp", "net", "tf32", []) == {"error": "ValueError: no net in tf32"}


def test_a_loss_that_does_not_fall_is_no_row() -> None:
    job = gpu.Job("task", "fnn", "mlp", [], steps=1)
    turns = [{"seconds": 1.0, "loss": loss} for loss in (2.0, 1.0, 2.5)]
    assert gpu.row(job, turns)["error"] == "its loss does not fall: 2.0 at first, 2.5 at last"
    assert gpu.row(job, [*turns[:2], {"seconds": 1.0, "loss": 0.5}])["us"] == 1e6


def test_the_driver_goes_on_after_a_part_that_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    parts = {
        "late": on_gpu.Part(["-c", "print('begun', flush=True); import time; time.sleep(60)"], 1.0, beside=True),
        "wrong": on_gpu.Part(["-c", "raise SystemExit(3)"], 20, beside=True),
        "right": on_gpu.Part(["-c", "open(r'{json}', 'w').write('[1]'); print('done')"], 20),
    }
    monkeypatch.setattr(on_gpu, "parts", lambda *_: parts)
    assert on_gpu.main([str(tmp_path / "out")]) == 1
    results = json.loads((tmp_path / "out" / "results.json").read_text())
    assert {name: told["status"] for name, told in results.items()} == {"late": "late", "wrong": 3, "right": 0}
    assert results["right"]["json"] == [1]
    assert "begun" in (tmp_path / "out" / "log.txt").read_text()


def test_the_tests_that_the_driver_runs_are_there() -> None:
    assert all((on_gpu.ROOT / file).is_file() for file in on_gpu.TESTS)
