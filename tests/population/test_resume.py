"""A sweep that was killed, stopped or interrupted ends with the bits of one that was not."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import fnn
from fnn.checkpoint import CorruptCheckpoint, about, latest, steps
from fnn.checkpoint import folder as writing
from fnn.errors import Interrupted
from fnn.population import Results
from fnn.population.pace import Pace
from fnn.population.program import Form, Programs
from fnn.train import Reporter
from tests.population.killed import swept
from tests.train.killed import digest

ROOT = Path(__file__).parents[2]
HPARAMS = {"scale": jnp.linspace(0.1, 1.0, 10), "shift": jnp.arange(10)}
KEYS = jax.random.split(jax.random.key(1), 4)


def draws(hparams: Any, key: Any) -> dict[str, Any]:
    """Stands for a training run where nothing but the sweep around it matters: one leaf of each kind."""
    normal = jax.random.normal(key, (3,)) * hparams["scale"]
    return {
        "loss": normal,
        "half": normal.astype(jnp.bfloat16),
        "key": jax.random.fold_in(key, 1),
        "count": hparams["shift"],
        "good": normal[0] > 0,
        "none": jnp.zeros((0, 2)),
    }


def sweep(folder: Path | None, train: Any = draws, hparams: Any = HPARAMS, keys: Any = KEYS, **changes: Any) -> Results:
    settings: dict[str, Any] = {"mode": "vmap", "chunk": 8, "progress": False, "every": 0.0, **changes}
    return fnn.sweep(train, hparams, keys, checkpoint=folder, **settings)


class At(Reporter):
    """Does something once so many cells are done; tells how many are, call by call."""

    def __init__(self, cells: int, act: Callable[[], None]) -> None:
        self.cells, self.act, self.told = cells, act, []

    def update(self, step: int, metrics: Any) -> None:
        self.told.append(step)
        if step >= self.cells:
            self.act()


def ctrl_c() -> None:
    raise KeyboardInterrupt


def broken_off(call: Callable[..., Results], folder: Path, at: int, **changes: Any) -> None:
    with pytest.raises(Interrupted):
        call(folder, progress=At(at, ctrl_c), **changes)


def same(a: Results, b: Results) -> None:
    assert digest(a) == digest(b)  # pyright: ignore[reportArgumentType]


@pytest.fixture(scope="module")
def whole() -> Results:
    return sweep(None)


@pytest.fixture(scope="module")
def whole_training() -> Results:
    return swept(None)


def test_it_changes_no_bit(tmp_path: Path, whole: Results) -> None:
    same(sweep(tmp_path), whole)


def test_interrupted_it_says_how_to_go_on(tmp_path: Path, whole: Results) -> None:
    said = f"training: interrupted after 16 of 40 networks, and saved in {tmp_path}: the same call goes on from there."
    with pytest.raises(Interrupted, match=said) as broken:
        sweep(tmp_path, progress=At(16, ctrl_c))
    assert int(broken.value.result.done.sum()) == latest(tmp_path) == 16
    told = At(40, lambda: None)
    same(sweep(tmp_path, progress=told), whole)
    assert told.told == [24, 32, 40]


def test_without_a_folder_it_says_what_there_is() -> None:
    with pytest.raises(Interrupted, match=r"after 16 of 40 networks; error\.result holds what there was\."):
        sweep(None, progress=At(16, ctrl_c))


def test_before_the_first_cell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, whole: Results) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(Programs, "wave", lambda *_: ctrl_c())
        with pytest.raises(Interrupted, match="after 0 of 40 networks, and saved"):
            sweep(tmp_path)
    same(sweep(tmp_path), whole)


@pytest.mark.parametrize("changes", [{"mode": "vmap"}, {"mode": "map", "chunk": 16}, {"mode": "map", "chunk": None}])
def test_trained_cells_have_the_bits_of_their_form(changes: dict[str, Any], tmp_path: Path) -> None:
    broken_off(swept, tmp_path, 40, **changes)
    same(swept(str(tmp_path), **changes), swept(None, **changes))


def test_forms_differ_in_bits(whole_training: Results) -> None:
    """Otherwise the tests here could not fail."""
    assert digest(swept(None, chunk=32)) != digest(whole_training)  # pyright: ignore[reportArgumentType]


def test_calls_in_threads_of_one_device(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jax, "local_devices", lambda: jax.devices()[:1])
    monkeypatch.setattr("os.sched_getaffinity", lambda _: {0, 1, 2})
    result = swept(None, chunk=4)
    broken_off(swept, tmp_path, 24, chunk=4)
    # Where there are more cores the next time, the calls are the same.
    monkeypatch.setattr("os.sched_getaffinity", lambda _: {0, 1})
    same(swept(str(tmp_path), chunk=4), result)


# What "auto" has chosen -----------------------------------------------------------------------------------


def measured(monkeypatch: pytest.MonkeyPatch, seconds: dict[Form, float]) -> list[tuple[int, Form]]:
    """A clock for which each form takes so long a cell, and the calls that are made: first cell and form."""
    tell, wave, waves = Pace.tell, Programs.wave, []

    def slow(self: Pace, form: Form, cells: int, _: float, __: float) -> None:
        tell(self, form, cells, cells * seconds[form], 0.001)

    def noted(self: Programs, form: Form, first: int, last: int) -> list[Any]:
        waves.append((first, form))
        return wave(self, form, first, last)

    monkeypatch.setattr(Pace, "tell", slow)
    monkeypatch.setattr(Programs, "wave", noted)
    return waves


@pytest.mark.parametrize("at", [8, 16, 40])
def test_measuring_goes_on_and_the_choice_stands(at: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    vmap, one_by_one = Form("vmap", 8), Form("map", 8)
    auto = {"mode": "auto", "chunk": 8}
    with monkeypatch.context() as patch:
        waves = measured(patch, {vmap: 1.0, one_by_one: 0.5})
        result = swept(None, **auto)
        uninterrupted = waves.copy()
        assert [form for _, form in waves] == [vmap, *[one_by_one] * 9]
        waves.clear()
        broken_off(swept, tmp_path, at, **auto)
    # What has been measured stays so: another clock changes nothing from the choice on.
    more = measured(monkeypatch, {vmap: 1.0, one_by_one: 0.5 if at == 8 else 99.0})
    same(swept(str(tmp_path), **auto), result)
    assert waves + more == uninterrupted


# What is refused, and what fails --------------------------------------------------------------------------


def test_a_sweep_that_is_done_compiles_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    traces = []

    def train(hparams: Any, key: Any) -> Any:
        traces.append(1)
        return draws(hparams, key)

    first = sweep(tmp_path, train)
    traces.clear()
    monkeypatch.setattr(Programs, "compiled", lambda *_: pytest.fail("it compiles"))
    same(sweep(tmp_path, train), first)
    assert len(traces) == 1


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"mode": "map"}, "holds a sweep with mode vmap, here map, expected a sweep with the same settings. Give each"),
        ({"mode": "auto", "chunk": None}, "with mode vmap, here auto; chunk 8, here None"),
        ({"hparams": HPARAMS | {"scale": HPARAMS["scale"] + 1}}, "with hparams leaf 'scale' [0-9a-f]{16}, here "),
        ({"hparams": HPARAMS | {"more": jnp.arange(10)}}, "with hparams leaf 'more' None, here "),
        ({"hparams": {name: a[:9] for name, a in HPARAMS.items()}}, "with hparams leaf 'scale' .*; hparams leaf 'shi"),
        ({"keys": KEYS[:3]}, "with keys [0-9a-f]{16}, here [0-9a-f]{16}, expected"),
        ({"keys": jax.random.split(jax.random.key(1, impl="rbg"), 4)}, "kind of keys threefry2x32, here rbg"),
        (
            {"train": lambda hparams, key: {**draws(hparams, key), "loss": jnp.zeros(2), "new": 1}},
            r"another sweep .*'results/new' is not saved, 'results/loss' is float32.16, 3. there and float32.16, 2.",
        ),
    ],
)
def test_another_sweep_is_refused(changes: dict[str, Any], match: str, tmp_path: Path) -> None:
    broken_off(sweep, tmp_path, 16)
    with pytest.raises(ValueError, match=f"^checkpoint: got .*{match}"):
        sweep(tmp_path, **changes)


def test_one_hyperparameter_less_is_another_sweep(tmp_path: Path) -> None:
    sweep(tmp_path, lambda hparams, key: {"loss": hparams["scale"]})
    with pytest.raises(ValueError, match=r"with hparams leaf 'shift' [0-9a-f]{16}, here None"):
        sweep(tmp_path, lambda hparams, key: {"loss": hparams["scale"]}, {"scale": HPARAMS["scale"]})


def test_a_folder_of_the_wrong_kind() -> None:
    with pytest.raises(TypeError, match="checkpoint: got a int, expected the path of a folder"):
        sweep(3)  # pyright: ignore[reportArgumentType]
    with pytest.raises(ValueError, match="every: got -1"):
        sweep(None, every=-1.0)
    with pytest.raises(ValueError, match="keep: got 0"):
        sweep(None, keep=0)


def test_a_count_of_numpy(tmp_path: Path, whole: Results) -> None:
    broken_off(sweep, tmp_path, 16, chunk=np.int32(8))
    same(sweep(tmp_path, chunk=np.int32(8)), whole)


def test_a_corrupt_checkpoint_is_not_gone_on_from(tmp_path: Path) -> None:
    sweep(tmp_path)
    (tmp_path / f"{latest(tmp_path):010d}" / "seal").write_text("")
    with pytest.raises(CorruptCheckpoint, match=r"manifest\.json is not what was sealed"):
        sweep(tmp_path)


def test_the_newest_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fnn.checkpoint.saver.Saver.offer", lambda self, step, tree, **_: self.save(step, tree))
    sweep(tmp_path, keep=2)
    assert steps(tmp_path) == [32, 40]
    assert about(tmp_path)["chunk"] == 8


def test_a_full_disk_does_not_stop_the_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, whole: Results
) -> None:
    write, written = writing._write, []

    def full(*args: Any) -> None:
        if written:
            raise OSError(28, "No space left on device")
        written.append(write(*args))

    monkeypatch.setattr(writing, "_write", full)
    monkeypatch.setattr("fnn.checkpoint.saver.Saver.offer", lambda self, step, tree, **_: self.save(step, tree))
    with pytest.warns(RuntimeWarning, match=r"no checkpoint of step \d\d: .*No space left on device.* step 8 is there"):
        same(sweep(tmp_path), whole)
    with (
        pytest.warns(RuntimeWarning, match="No space left on device"),
        pytest.raises(Interrupted, match=r"24 of 40 networks, and not saved: that of step 8 is in .+; error\.result"),
    ):
        sweep(tmp_path, progress=At(24, ctrl_c))
    monkeypatch.undo()
    same(sweep(tmp_path), whole)


def test_a_second_ctrl_c_leaves_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fnn.checkpoint.Saver, "save", lambda *_: ctrl_c())
    with pytest.raises(KeyboardInterrupt) as broken:
        sweep(tmp_path, progress=At(16, ctrl_c))
    assert not isinstance(broken.value, Interrupted)


def test_sigterm_saves_and_its_handler_is_put_back(tmp_path: Path, whole: Results) -> None:
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(Interrupted, match="and saved in"):
        sweep(tmp_path, progress=At(24, lambda: os.kill(os.getpid(), signal.SIGTERM)))
    assert signal.getsignal(signal.SIGTERM) is before
    assert latest(tmp_path) == 24
    same(sweep(tmp_path), whole)


# Another train, and two at once -----------------------------------------------------------------------------


def test_another_train_is_a_warning(tmp_path: Path, whole: Results) -> None:
    broken_off(sweep, tmp_path, 16)
    added = jnp.float32(0.0)
    other = lambda hparams, key: draws(hparams, key) | {"good": hparams["scale"] > added}  # noqa: E731
    said = rf"checkpoint: what is in {tmp_path} was trained as another program .train, or fnn itself.; it goes on from "
    with pytest.warns(RuntimeWarning, match=said + "step 16") as warned:
        broken_off(lambda folder, **how: sweep(folder, other, **how), tmp_path, 24)
    assert [one.filename for one in warned] == [__file__]
    added = jnp.float32(1.0)  # what it closes over counts too, such as its data
    with pytest.warns(RuntimeWarning, match=said + "step 24"):
        sweep(tmp_path, other)


def test_it_is_traced_no_second_time_for_that(tmp_path: Path) -> None:
    traces: list[None] = []

    def counted(hparams: Any, key: Any) -> Any:
        traces.append(None)
        return draws(hparams, key)

    for folder in (None, tmp_path):
        sweep(folder, counted)
        assert len(traces) == 2  # the second one is inside the map over devices
        traces.clear()


def test_two_in_one_folder(tmp_path: Path, whole: Results) -> None:
    with pytest.raises(
        ValueError, match=rf"got {tmp_path}, where process {os.getpid()} of .+ sweep a folder of its own"
    ):
        sweep(tmp_path, progress=At(8, lambda: sweep(tmp_path) and None))
    same(sweep(tmp_path), whole)


# Killed in a process of its own --------------------------------------------------------------------------


def started(folder: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "tests.population.killed", str(folder)]
    # What XLA says of each program that it loads would fill the pipe, which nobody empties meanwhile.
    environment = os.environ | {"PYTHONPATH": str(ROOT), "TF_CPP_MIN_LOG_LEVEL": "3"}
    return subprocess.Popen(
        command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def killed(folder: Path, word: str, cells: int) -> int:
    """Kills it at a line that begins with the word, once so many cells are done and more are saved than before."""
    before = latest(folder) or 0
    with started(folder) as process:
        assert process.stdout is not None
        reached = 0
        for line in process.stdout:
            reached = int(line.split()[1]) if line.startswith("cells") else reached
            if line.startswith(word) and reached >= cells and (latest(folder) or 0) > before:
                process.send_signal(signal.SIGKILL)
                break
    return latest(folder) or 0


def test_killed_at_any_moment_it_ends_with_the_same_bits(tmp_path: Path, whole_training: Results) -> None:
    """`python -m experiments.benchmarks.kills --what sweep` does it fifty times."""
    first = killed(tmp_path, "cells", 16)
    second = killed(tmp_path, "saving", 32)
    assert list(tmp_path.glob(".partial-*"))
    assert 0 < first < second < 80
    with started(tmp_path) as process:
        out, err = process.communicate()
    assert process.returncode == 0, err
    assert out.split()[-1] == digest(whole_training)  # pyright: ignore[reportArgumentType]
    assert f"cells {second + 8}\n" == out.splitlines(keepends=True)[0]
    assert not list(tmp_path.glob(".partial-*"))
