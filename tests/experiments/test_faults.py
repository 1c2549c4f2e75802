"""The table of faults, with a worker that does not need JAX: what is promised is told from what is not."""

import json
import sys
from pathlib import Path

import jax
import numpy as np
import pytest

import fnn
from experiments.benchmarks import faults

Output = pytest.CaptureFixture[str]
pytestmark = pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="needs /proc")
WORKER = """
import json, os, signal, sys, time

given = dict(zip(sys.argv[1::2], sys.argv[2::2]))
me, beats, attempt = int(os.environ["FNN_PROCESS"]), os.environ["FNN_BEATS"], int(os.environ["FNN_ATTEMPT"])
processes, saved = int(os.environ["FNN_PROCESSES"]), given["--folder"] + ".json"


def meet(step):
    open(f"{beats}/{step}-{me}", "w").close()
    while not all(os.path.exists(f"{beats}/{step}-{number}") for number in range(processes)):
        time.sleep(0.005)


def befall(kind):
    with open(os.environ["FNN_FAULTS"], "w") as file:
        file.write(str(time.time()))
    if kind == "raise":
        sys.exit("the fault that was asked for")
    if kind != "hang":
        os.kill(os.getpid(), {"kill": signal.SIGKILL, "stop": signal.SIGSTOP}[kind])
    time.sleep(1000)


step, w = json.load(open(saved)) if os.path.exists(saved) else (0, 0.0)
while step < int(given["--steps"]):
    meet(step)
    step, w = step + 1, w + 0.1 * STRAY
    with open(f"{beats}/{me}.part", "w") as file:
        file.write(str(step))
    os.replace(f"{beats}/{me}.part", f"{beats}/{me}")
    if "--fault" in given and attempt == 0 and (step, me) == (int(given["--at"]), int(given["--process"])):
        befall(given["--fault"])
    if me == 0 and step % int(given["--every"]) == 0:
        with open(saved + ".part", "w") as file:
            json.dump((step, w), file)
        os.replace(saved + ".part", saved)
"""


def table(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, stray: str) -> int:
    script = tmp_path / "worker.py"
    script.write_text(WORKER.replace("STRAY", stray))

    def read(folder: Path) -> dict[str, np.ndarray]:
        return {"w": np.array(json.loads(folder.with_suffix(".json").read_text())[1])}

    monkeypatch.setattr(faults, "WORKER", [sys.executable, "-S", str(script)])
    monkeypatch.setattr(faults, "parameters", read)
    return faults.main(["--processes", "3", "--steps", "12", "--every", "4", "--at", "6", "--limit", "1"])


def test_all_as_promised(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capfd: Output) -> None:
    assert table(monkeypatch, tmp_path, "1") == 0
    out = capfd.readouterr().out
    assert "a worker is stopped: process 1 has been at step 6 for 1 s, stopped by a signal" in out
    for name in faults.FAULTS:
        (row,) = (line for line in out.splitlines() if line.startswith(f"| {name} |"))
        cells = [cell.strip() for cell in row.split("|")]
        assert (cells[3], cells[5], cells[6]) == ("2", "0.0e+00", "0")
    assert out.endswith("all as promised\n")


def test_another_end_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capfd: Output) -> None:
    monkeypatch.setattr(faults, "FAULTS", {"a worker is killed": ("kill", 1)})
    assert table(monkeypatch, tmp_path, "(1 + attempt)") == 1
    assert capfd.readouterr().out.endswith("not as promised: a worker is killed\n")


def test_a_signal_ends_the_table(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "worker.py").write_text(
        "import os, signal, time; os.kill(os.getppid(), signal.SIGTERM); time.sleep(1000)"
    )
    monkeypatch.setattr(faults, "WORKER", [sys.executable, "-S", str(tmp_path / "worker.py")])
    with pytest.raises(SystemExit, match="143"):
        faults.main([])


def test_parameters_of_a_checkpoint(tmp_path: Path) -> None:
    x = np.ones((2, 3), np.float32)
    state = fnn.train.init_state(jax.random.key(0), fnn.nn.mlp([4, 2]), fnn.optim.adam(1e-3), x)
    fnn.checkpoint.save(tmp_path / "one", 3, state)
    fnn.checkpoint.save(tmp_path / "two", 3, state._replace(params=jax.tree.map(lambda a: a + 0.5, state.params)))
    held = fnn.tree.named_leaves(state.params)
    assert {name: a.shape for name, a in faults.parameters(tmp_path / "one").items()} == {
        f"params/{name}": leaf.shape for name, leaf in held.items()
    }
    assert faults.difference(tmp_path / "one", tmp_path / "one") == 0.0
    assert faults.difference(tmp_path / "one", tmp_path / "two") == pytest.approx(0.5)


def test_an_unknown_fault_is_refused() -> None:
    with pytest.raises(ValueError, match="fault: got 'burn', expected one of hang, kill, raise, stop"):
        faults.fault("burn")
