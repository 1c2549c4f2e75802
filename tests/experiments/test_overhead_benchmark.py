"""The benchmark of the executors: its rows, its ratios and its JSON; nothing about speed."""

import json
import threading
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.benchmarks import overhead
from experiments.benchmarks.overhead import Row, ratio


def row(*turns: float) -> Row:
    return Row(0.0, 0.0, 0.0, 0.0, list(turns))


def test_a_ratio_is_the_median_of_the_turns_own() -> None:
    assert ratio(row(2, 4, 90), row(1, 4, 30)) == 2
    assert ratio(row(2, 4, 90), row(1, 4, 30), row(1, 0, 60)) == 1


def test_all_tasks_have_full_batches() -> None:
    for name in overhead.TASKS:
        task = overhead.made(name)
        assert len(task.data.x) % task.batch == 0
        assert task.per_epoch * task.batch == len(task.data.x)


def test_the_scan_by_hand_takes_the_steps_of_a_run() -> None:
    task = overhead.made("digits", 1, 1)
    by_hand, by_run = (make(task).program(overhead.first(task)) for make in (overhead.by_hand, overhead.by_run))
    for state, history in (by_hand, by_run):
        assert int(state.step) == task.per_epoch
        assert history["loss"].shape == (1,)
        assert jnp.isfinite(history["loss"]).all()


def test_one_command_prints_and_saves(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "new" / "overhead.json"
    overhead.main(["--tasks", "digits", "--turns", "2", "--turn", "1", "--epochs", "3", "--out", str(out)])
    result = json.loads(out.read_text())
    (found,) = result["tasks"].values()
    assert list(found["rows"]) == [name for group in overhead.GROUPS for name in group]
    assert all(len(r["turns"]) == 2 and r["compile"] > 0 and r["step"] > 0 for r in found["rows"].values())
    assert len(found["ratios"]) == 6
    assert np.isfinite(list(found["ratios"].values())).all()
    assert result["machine"]["versions"]["jax"] == jax.__version__
    assert "fit, with progress and history / run:" in capsys.readouterr().out
    assert threading.active_count() < 20


@pytest.mark.parametrize("wrong", [["--turns", "0"], ["--epochs", "0"], ["--turn", "-1"], ["--tasks", "none"]])
def test_wrong_options_are_refused(wrong: Any, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        overhead.main(wrong)
    assert "usage" in capsys.readouterr().err
