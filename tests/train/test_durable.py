"""A fit that was killed, stopped or interrupted ends with the bits of one that was not."""

import contextlib
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import fnn
from fnn.checkpoint import CorruptCheckpoint, about, latest, steps
from fnn.data import Dataset
from fnn.errors import Interrupted, NonFiniteError
from fnn.train import Reporter
from tests.train.killed import digest, trained

ROOT = Path(__file__).parents[2]
X = jax.random.normal(jax.random.key(1), (26, 5))
DATA = Dataset(X, jnp.argmax(X[:, :3], axis=1))
NET = fnn.nn.mlp([8, 3], "tanh", dropout=0.2)


def fit(folder: Path | str | None, **changes: Any) -> fnn.train.FitResult:
    settings: dict[str, Any] = {"key": jax.random.key(5), "epochs": 6, "batch_size": 8, "progress": False, **changes}
    net, tx, data = settings.pop("net", NET), settings.pop("tx", fnn.optim.adam(1e-2)), settings.pop("data", DATA)
    return fnn.fit(net, fnn.losses.softmax_cross_entropy, tx, data, checkpoint=folder, **settings)


class Impatient(Reporter):
    """Presses Ctrl-C at a step."""

    def __init__(self, at: int) -> None:
        self.at = at

    def update(self, step: int, metrics: Any) -> None:
        if step >= self.at:
            raise KeyboardInterrupt


def same(a: fnn.train.FitResult, b: fnn.train.FitResult) -> None:
    assert digest(a) == digest(b)


def test_it_changes_no_bit(tmp_path: Path) -> None:
    same(fit(tmp_path, every=0.0), fit(None))


@pytest.mark.parametrize("at", [1, 5, 11])
def test_interrupted_and_gone_on(at: int, tmp_path: Path) -> None:
    with pytest.raises(
        Interrupted, match=rf"after \d+ of 24 steps, and saved in {tmp_path}: the same call goes on"
    ) as broken:
        fit(tmp_path, progress=Impatient(at), validation=DATA)
    assert latest(tmp_path) == int(broken.value.result.state.step)
    same(fit(tmp_path, validation=DATA), fit(None, validation=DATA))


def test_a_fit_that_is_done_is_not_taken_again(tmp_path: Path) -> None:
    first = fit(tmp_path)
    told: list[int] = []

    class Told(Reporter):
        def update(self, step: int, metrics: Any) -> None:
            told.append(step)

    same(fit(tmp_path, progress=Told()), first)
    assert not told


def test_a_fit_that_is_done_compiles_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    options = {"tx": fnn.optim.sgd(0.0), "validation": DATA, "patience": 2}
    first = [fit(tmp_path / "done"), fit(tmp_path / "stopped", **options)]

    def never(*_: Any, **__: Any) -> Any:
        raise AssertionError("compiled")

    monkeypatch.setattr(jax.stages.Lowered, "compile", never)
    for a, b in zip([fit(tmp_path / "done"), fit(tmp_path / "stopped", **options)], first, strict=True):
        same(a, b)


def test_one_that_stopped_early_has_stopped(tmp_path: Path) -> None:
    options = {"tx": fnn.optim.sgd(0.0), "validation": DATA, "patience": 2}
    first = fit(tmp_path, **options)
    assert int(first.state.step) == 12
    same(fit(tmp_path, **options), first)


def test_the_newest_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fnn.train.fit._next_chunk", lambda steps, seconds: 1)
    monkeypatch.setattr("fnn.checkpoint.saver.Saver.offer", lambda self, step, tree, **_: self.save(step, tree))
    fit(tmp_path, keep=2)
    assert steps(tmp_path) == [23, 24]


def test_the_last_finite_state_is_saved(tmp_path: Path) -> None:
    options = {"net": fnn.nn.mlp([6, 3], "relu"), "tx": fnn.optim.sgd(1e18)}
    with pytest.raises(NonFiniteError) as first:
        fit(tmp_path, **options)
    assert latest(tmp_path) == int(first.value.result.state.step)
    with pytest.raises(NonFiniteError) as again:
        fit(tmp_path, **options)
    assert str(again.value) == str(first.value)
    # It breaks in the first step that it takes: the batch is that step's all the same.
    chex.assert_trees_all_equal(again.value.batch, first.value.batch)
    assert again.value.event == first.value.event
    same(again.value.result, first.value.result)


def test_one_that_breaks_after_it_has_gone_on(tmp_path: Path) -> None:
    """The examples of the last batch of an epoch break it, and it was interrupted before."""
    order, _ = fnn.data.epoch_order(jax.random.key(5), 0, 26, 8)
    bad = DATA._replace(x=X.at[order[2, 5]].set(3e38))
    options = {"data": bad, "net": fnn.nn.mlp([6, 3], "relu"), "tx": fnn.optim.sgd(10.0)}
    with pytest.raises(NonFiniteError) as whole:
        fit(None, **options)
    with pytest.raises(Interrupted):
        fit(tmp_path, progress=Impatient(1), **options)
    assert 0 < (latest(tmp_path) or 0) <= int(whole.value.result.state.step)
    with pytest.raises(NonFiniteError) as again:
        fit(tmp_path, **options)
    assert str(again.value) == str(whole.value)
    chex.assert_trees_all_equal(again.value.batch, whole.value.batch)
    same(again.value.result, whole.value.result)


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"epochs": 7}, "which holds a fit with epochs 6, here 7, expected a fit with the same settings and data"),
        ({"batch_size": 13}, "batch_size 8, here 13"),
        ({"key": jax.random.key(6)}, r"key \[0, 5\], here \[0, 6\]"),
        ({"data": Dataset(X + 1, DATA.y)}, "which holds a fit with data "),
        ({"validation": DATA}, "which holds a fit with validation None, here "),
        (
            {"net": fnn.nn.mlp([9, 3], "tanh", dropout=0.2)},
            "holds another fit .*'state/params/dense_0/b' is float32.8. there",
        ),
        ({"tx": fnn.optim.sgd(0.1)}, "of the same network and optimizer"),
        ({"metrics": {"accuracy": fnn.metrics.accuracy}}, "'history/accuracy' is not saved"),
    ],
)
def test_another_fit_is_refused(changes: dict[str, Any], match: str, tmp_path: Path) -> None:
    fit(tmp_path, epochs=6)
    with pytest.raises(ValueError, match=f"checkpoint: got .*{match}"):
        fit(tmp_path, **changes)


WARNED = [
    ({"l2": 0.1}, "with l2 0.0, here 0.1; it goes on from step "),
    ({"l1": 0.1, "clip_norm": 1.0}, "with l1 0.0, here 0.1; clip_norm None, here 1.0; it goes on"),
    ({"accumulate": 2}, "with accumulate 1, here 2"),
    ({"precision": "bfloat16"}, "with precision None, here float32, bfloat16, float32"),
    ({"layout": fnn.parallel.data_parallel()}, "with devices 1, here 8"),
    (
        {"tx": fnn.optim.adam(2e-2)},
        "as another program .network, loss, optimizer, augmentation, or fnn itself.; it goes",
    ),
    ({"net": fnn.nn.mlp([8, 3], "relu", dropout=0.2)}, "as another program"),
    ({"net": fnn.nn.mlp([8, 3], "tanh", dropout=0.3)}, "as another program"),
    ({"augment": lambda key, batch: (batch[0] * 0.9, *batch[1:])}, "as another program"),
]


@pytest.mark.parametrize(("changes", "match"), WARNED)
def test_another_way_is_a_warning(changes: dict[str, Any], match: str, tmp_path: Path) -> None:
    with pytest.raises(Interrupted):
        fit(tmp_path, progress=Impatient(1))
    with pytest.warns(RuntimeWarning, match=f"checkpoint: what is in {tmp_path} was trained {match}") as warned:
        fit(tmp_path, **changes)
    assert [one.filename for one in warned] == [__file__]
    # From now on this is the way.
    fit(tmp_path, **changes)


def test_who_takes_a_warning_for_an_error_loses_nothing(tmp_path: Path) -> None:
    with pytest.raises(Interrupted) as broken:
        fit(tmp_path, progress=Impatient(1))
    with pytest.raises(RuntimeWarning, match=r"with l2 0\.0, here 0\.5"):
        fit(tmp_path, l2=0.5)
    assert latest(tmp_path) == int(broken.value.result.state.step)
    same(fit(tmp_path), fit(None))


def test_one_that_has_ended_another_way_says_so(tmp_path: Path) -> None:
    first = fit(tmp_path)
    with pytest.warns(RuntimeWarning, match="as another program .*; it has ended, and its result comes back as it is"):
        same(fit(tmp_path, tx=fnn.optim.adam(1e-3)), first)


def test_another_jax_traces_another_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fit(tmp_path)
    assert about(tmp_path)["how"]["made by"] == f"jax {jax.__version__} on cpu"
    monkeypatch.setattr(jax, "__version__", "99")
    fit(tmp_path, tx=fnn.optim.adam(1e-3))  # what it is made of cannot be told apart
    with pytest.warns(RuntimeWarning, match="with l2 0.0, here 0.1"):
        fit(tmp_path, l2=0.1)


def test_a_checkpoint_of_before_there_was_such_a_comparison(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said = fnn.checkpoint.save

    def without(*args: Any, about: Any, **options: Any) -> None:
        said(*args, about={name: value for name, value in about.items() if name != "how"}, **options)

    with monkeypatch.context() as patch:
        patch.setattr("fnn.checkpoint.saver.save", without)
        first = fit(tmp_path)
    assert "how" not in about(tmp_path)
    same(fit(tmp_path), first)


def test_two_in_one_folder(tmp_path: Path) -> None:
    class Second(Reporter):
        def update(self, step: int, metrics: Any) -> None:
            fit(tmp_path)

    with pytest.raises(ValueError, match=rf"got {tmp_path}, where process {os.getpid()} of .+ fit a folder of its own"):
        fit(tmp_path, progress=Second())
    same(fit(tmp_path), fit(None))


def test_a_folder_of_the_wrong_kind() -> None:
    with pytest.raises(TypeError, match="checkpoint: got a int, expected the path of a folder"):
        fit(3)  # pyright: ignore[reportArgumentType]
    with pytest.raises(ValueError, match="every: got -1"):
        fit("x", every=-1.0)
    with pytest.raises(ValueError, match="every: got -1"):
        fit(None, every=-1.0)
    with pytest.raises(ValueError, match="keep: got 0"):
        fit(None, keep=0)


def test_a_corrupt_checkpoint_is_not_gone_on_from(tmp_path: Path) -> None:
    fit(tmp_path)
    (tmp_path / f"{latest(tmp_path):010d}" / "seal").write_text("")
    with pytest.raises(CorruptCheckpoint, match=r"manifest\.json is not what was sealed"):
        fit(tmp_path)


def test_settings_can_be_read(tmp_path: Path) -> None:
    fit(tmp_path)
    assert about(tmp_path)["batch_size"] == 8


def test_a_full_disk_does_not_stop_the_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*args: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("fnn.checkpoint.folder._write", full)
    with pytest.warns(RuntimeWarning, match="no checkpoint of step 24: .*No space left on device"):
        result = fit(tmp_path)
    same(result, fit(None))


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 2 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(folder)]
    if shutil.which("mount") is None or subprocess.run(command, capture_output=True).returncode != 0:
        pytest.skip("needs the right to mount a small disk")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_disk_that_is_full_indeed(small_disk: Path) -> None:
    with pytest.raises(Interrupted):
        fit(small_disk, progress=Impatient(1))
    last = latest(small_disk)
    with (small_disk / "others").open("wb", buffering=0) as others, contextlib.suppress(OSError):
        while others.write(bytes(4096)):
            pass
    assert shutil.disk_usage(small_disk).free == 0
    with (
        pytest.warns(RuntimeWarning, match=rf"no checkpoint of step \d+: .*That of step {last} is there as it was"),
        pytest.raises(Interrupted, match=rf"and not saved: that of step {last} is in"),
    ):
        fit(small_disk, progress=Impatient(15), every=0.0)
    with pytest.warns(RuntimeWarning, match="no checkpoint of step 24"):
        same(fit(small_disk), fit(None))  # it trains to its end all the same
    assert steps(small_disk) == [last]
    assert not list(small_disk.glob(".partial-*"))
    (small_disk / "others").unlink()
    same(fit(small_disk), fit(None))
    assert latest(small_disk) == 24


def test_interrupted_with_a_full_disk_it_does_not_say_that_it_is_saved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*args: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("fnn.checkpoint.folder._write", full)
    with (
        pytest.warns(RuntimeWarning, match="No space left on device"),
        pytest.raises(Interrupted, match=r"of 24 steps, and not saved: nothing is in .+; error\.result holds"),
    ):
        fit(tmp_path, progress=Impatient(5))


def test_counts_of_numpy(tmp_path: Path) -> None:
    options = {"epochs": np.int64(2), "batch_size": np.int32(8), "validation": DATA, "patience": np.int64(2)}
    first = fit(tmp_path, **options)
    assert about(tmp_path)["epochs"] == 2
    same(fit(tmp_path, **options), first)


def test_a_fit_that_fails_leaves_nothing_half_written(tmp_path: Path) -> None:
    class Broken(Reporter):
        def update(self, step: int, metrics: Any) -> None:
            if step >= 5:
                raise RuntimeError("no terminal")

    with pytest.raises(RuntimeError, match="no terminal"):
        fit(tmp_path, progress=Broken(), every=0.0)
    assert not [thread for thread in threading.enumerate() if thread.name == "fnn.checkpoint"]
    assert not list(tmp_path.glob(".partial-*"))


def test_outside_of_the_main_thread(tmp_path: Path) -> None:
    results = []
    thread = threading.Thread(target=lambda: results.append(fit(tmp_path)))
    thread.start()
    thread.join()
    assert int(results[0].state.step) == 24


def test_the_handler_of_signals_is_put_back(tmp_path: Path) -> None:
    before = signal.getsignal(signal.SIGTERM)
    fit(tmp_path)
    assert signal.getsignal(signal.SIGTERM) is before


# Killed in a process of its own --------------------------------------------------------------------------


def started(folder: Path) -> subprocess.Popen[str]:
    environment = os.environ | {"PYTHONPATH": str(ROOT), "XLA_FLAGS": "--xla_backend_optimization_level=2"}
    # What XLA says of each program that it loads would fill the pipe, which nobody empties meanwhile.
    environment["TF_CPP_MIN_LOG_LEVEL"] = "3"
    command = [sys.executable, "-m", "tests.train.killed", str(folder)]
    return subprocess.Popen(
        command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def until(process: subprocess.Popen[str], step: int) -> None:
    """Reads on until the process is at this step."""
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith("step") and int(line.split()[1]) >= step:
            return
    raise AssertionError(process.stderr.read() if process.stderr else "it has ended")


def whole(process: subprocess.Popen[str]) -> str:
    out, err = process.communicate()
    assert process.returncode == 0, err
    return out.split()[-1]


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> str:
    return whole(started(tmp_path_factory.mktemp("whole")))


def test_killed_at_random_moments_it_ends_with_the_same_bits(tmp_path: Path, uninterrupted: str) -> None:
    """`python -m experiments.benchmarks.kills` does it fifty times."""
    draw = random.Random(0)
    reached = []
    for _ in range(2):
        with started(tmp_path) as process:
            until(process, (reached[-1] if reached else 0) + draw.randrange(90, 130))
            process.send_signal(signal.SIGKILL)
        reached.append(latest(tmp_path) or 0)
    assert reached == sorted(reached)
    assert reached[-1] > 0
    assert whole(started(tmp_path)) == uninterrupted
    assert not list(tmp_path.glob(".partial-*"))


def test_asked_to_end_it_saves_and_says_how_to_go_on(tmp_path: Path, uninterrupted: str) -> None:
    with started(tmp_path) as process:
        until(process, 60)
        process.send_signal(signal.SIGTERM)
        _, err = process.communicate()
    assert process.returncode != 0
    assert f"steps, and saved in {tmp_path}: the same call goes on from there." in err
    assert (latest(tmp_path) or 0) >= 60
    assert whole(started(tmp_path)) == uninterrupted


def test_a_second_ctrl_c_leaves_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def pressed_again(self: fnn.checkpoint.Saver, step: int, tree: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(fnn.checkpoint.Saver, "save", pressed_again)
    with pytest.raises(KeyboardInterrupt) as broken:
        fit(tmp_path, progress=Impatient(3))
    assert not isinstance(broken.value, Interrupted)


@pytest.mark.parametrize("at", ["_write", "seal", "_prune"])
def test_sigterm_twice(at: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second one comes while it is being saved: it leaves at once, and what was there is there."""
    with pytest.raises(Interrupted):
        fit(tmp_path, progress=Impatient(1))
    before = steps(tmp_path)

    class Asked(Reporter):
        def update(self, step: int, metrics: Any) -> None:
            os.kill(os.getpid(), signal.SIGTERM)

    def again(*_: Any, **__: Any) -> None:
        os.kill(os.getpid(), signal.SIGTERM)

    with monkeypatch.context() as patch:
        patch.setattr(f"fnn.checkpoint.folder.{at}", again)
        with pytest.raises(KeyboardInterrupt) as broken:
            fit(tmp_path, progress=Asked())
    assert not isinstance(broken.value, Interrupted)
    assert steps(tmp_path)[: len(before)] == before
    assert not list(tmp_path.glob(".partial-*"))
    same(fit(tmp_path), fit(None))


def test_the_same_in_one_process(tmp_path: Path) -> None:
    """Another cut into calls, and no checkpoint: the bits are the same all the same."""
    result = trained(None, epochs=6, progress=False)
    with pytest.raises(Interrupted):
        trained(str(tmp_path), epochs=6, progress=Impatient(20))
    again = trained(str(tmp_path), epochs=6, progress=False)
    assert digest(again) == digest(result)
    chex.assert_trees_all_equal(again.history, result.history)
