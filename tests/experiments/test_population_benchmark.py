"""The benchmark of populations: its rows, its ratios and its JSON; nothing about speed."""

import importlib.util
import json
from pathlib import Path
from typing import Any

import jax
import pytest

from experiments.benchmarks import population
from experiments.benchmarks.cnn import cores_at_hand
from experiments.benchmarks.population_peers import CONTESTANTS, Task

CORES = min(2, len(cores_at_hand()) or 2)
TINY = Task([64, 32, 10], CORES)


def _run(folder: Path, *arguments: str) -> dict[str, Any]:
    out = folder / "new" / "population.json"
    fast = ["--nets", "64-32-10", "--epochs", "3", "--sizes", "6", "2", "--cores", str(CORES)]
    population.main([*fast, "--out", str(out), *arguments])
    return json.loads(out.read_text())


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    chosen = ["--only", "matmul", "fnn", "sklearn", "--mode", "vmap", "--chunk", "3"]
    return _run(tmp_path_factory.mktemp("runs"), *chosen)


def test_the_names_agree() -> None:
    assert list(CONTESTANTS) == list(population.PEER)
    assert list(population.ASKED) == list(population.NETS)


def test_every_contestant_has_a_row_for_each_size(result: dict[str, Any]) -> None:
    found = result["nets"]["64-32-10"]
    assert not found["left_out"]
    assert list(found["rows"]) == ["matmul", "fnn", "sklearn"]
    for name, rows in found["rows"].items():
        assert list(rows) == ["2", "6"]
        for size, row in rows.items():
            assert row["measured_on"] == min(int(size), population.PEER[name].most)
            assert row["nets_a_second"] == pytest.approx(int(size) / row["seconds"])
            assert row["seconds"] == pytest.approx(row["compile_seconds"] + int(size) * row["ms_a_net"] / 1e3)
            assert row["peak_mb"] > 10
    assert found["rows"]["fnn"]["6"]["compile_seconds"] > 0
    assert result["settings"]["sizes"] == [2, 6]
    assert result["machine"]["versions"]["jax"] == jax.__version__


@pytest.mark.parametrize("name", ["vmap", "sklearn"])
def test_contestants(name: str) -> None:
    turn = CONTESTANTS[name](TINY)
    told, more = turn(2, 2), turn(2, 6)
    assert more["loss"] < told["loss"] < 2.3
    assert (told["compile_seconds"] > 0) == (name == "vmap")


def test_torch() -> None:
    pytest.importorskip("torch", reason="its rows need torch")
    for name in ("torch", "torch-func"):
        assert CONTESTANTS[name](TINY)(2, 6)["loss"] < CONTESTANTS[name](TINY)(2, 2)["loss"] < 2.3


def test_an_ensemble_of_torch_trains_each_network_as_alone() -> None:
    torch = pytest.importorskip("torch", reason="its rows need torch")
    from experiments.benchmarks import others

    # One batch an epoch, so that the order of the examples does not matter.
    x, y, widths, _ = TINY.arguments
    x, y = x[:64], y[:64]
    many = others.torch_ensemble(x, y, widths, 64, 5, 3)
    torch.manual_seed(0)
    first = others.torch_steps(x, y, widths, 64)
    assert [first() for _ in range(5)][-1] == pytest.approx(many[0], rel=1e-4)


def test_joblib(tmp_path: Path) -> None:
    if CORES == 1:
        pytest.skip("needs two cores")
    assert list(_run(tmp_path, "--only", "sklearn-joblib")["nets"]["64-32-10"]["rows"]) == ["sklearn-joblib"]


def test_larger_populations_are_as_fast_as_the_largest_measured() -> None:
    found = {4: [{"seconds": s + 1, "compile_seconds": 1.0, "peak_mb": 1, "loss": 1.0} for s in (8.0, 4.0, 40.0)]}
    row = population.at_size(100, 4, found)
    assert (row["seconds"], row["ms_a_net"], row["nets_a_second"]) == (201, 2000, 100 / 201)


def test_each_population_is_trained_once() -> None:
    def turns(sizes: list[int]) -> list[int]:
        return [s for s in sizes if population.measured_size("torch-func", s, sizes) == s]

    assert turns([1, 64, 256, 1024]) == [1, 64]
    assert turns([1, 256, 1024]) == [1, 256]
    assert turns([8]) == [8]


def test_ratios() -> None:
    def row(rate: float, ms: float = 1.0) -> dict[str, Any]:
        return {"nets_a_second": rate, "ms_a_net": ms}

    rows = {"fnn": {8: row(10, 2.0), 1024: row(90, 3.0)}, "torch": {8: row(2), 1024: row(3)}}
    assert population.compared("64-32-10", rows) == {
        "fnn / PyTorch tuned, one by one, 1,024 networks": {"ratio": 30, "asked": 25.0},
        "a network's time in 1,024 / in 8, at most": {"ratio": 1.5, "asked": 1.3},
    }


def test_networks_that_learn_nothing_are_refused() -> None:
    population.check_learned({"fnn": {8: {"loss": 1.0}}, "matmul": {8: {"loss": 0.0}}})
    for loss in (2.31, float("nan")):
        with pytest.raises(SystemExit, match="error: fnn ends with a mean loss of"):
            population.check_learned({"fnn": {8: {"loss": loss}}})


def test_who_cannot_is_left_out_with_the_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "torch" else "there")
    found = _run(tmp_path, "--only", "torch", "sklearn-joblib", "--cores", "1")["nets"]["64-32-10"]
    reasons = {"torch": "torch is not installed", "sklearn-joblib": "the same as without, on one core"}
    assert found["left_out"] == reasons
    assert "PyTorch tuned, one by one             left out: torch is not installed" in capsys.readouterr().out


@pytest.mark.parametrize(
    "wrong", [["--rounds", "0"], ["--sizes", "0"], ["--chunk", "0"], ["--nets", "1-1"], ["--mode", "fast"]]
)
def test_wrong_options_are_refused(wrong: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        population.main(wrong)
    assert "usage" in capsys.readouterr().err
