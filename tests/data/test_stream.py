"""Streamed batches are those of a run, from any step on; what is wrong with an example is said by its number."""

import gc
import itertools
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fnn.data import Dataset, Source, WeightedBatch, batches, epoch_order, stream
from fnn.train import TrainState, run

pytest.importorskip("grain", reason="streaming needs Grain")

KEY = jax.random.key(3)
SIZES = [(5, 5), (6, 3), (7, 3), (4, 1)]


def memory(n: int) -> Dataset:
    return Dataset(jnp.arange(2.0 * n).reshape(n, 2), jnp.arange(n))


def pairs(n: int) -> list[tuple[np.ndarray, int]]:
    return [(np.array([2 * i, 2 * i + 1], np.float32), i) for i in range(n)]


def file(n: int, folder: Path) -> Dataset:
    x: Any = np.memmap(folder / "x", np.float32, "w+", shape=(n, 2))
    y: Any = np.memmap(folder / "y", np.int32, "w+", shape=(n,))
    x[:], y[:] = np.arange(2 * n).reshape(n, 2), np.arange(n)
    return Dataset(x, y)


def epochs(n: int, size: int, number: int = 3) -> list[Dataset]:
    return [batch for e in range(number) for batch in batches(memory(n), size, key=KEY, epoch=e)]


def same(found: Iterator[Any], expected: list[Dataset]) -> None:
    for batch, other in zip(found, expected, strict=True):
        assert type(batch) is Dataset
        assert isinstance(batch.x, jax.Array)
        np.testing.assert_array_equal(batch.x, other.x)
        np.testing.assert_array_equal(batch.y, other.y)
        assert (batch.x.dtype, batch.y.dtype) == (other.x.dtype, other.y.dtype)


@pytest.mark.parametrize(("n", "size"), SIZES)
def test_the_order_is_that_of_batches_over_epochs(n: int, size: int, tmp_path: Path) -> None:
    expected = epochs(n, size)
    for source in (pairs(n), memory(n), file(n, tmp_path)):
        same(stream(source, size, key=KEY, stop=len(expected)), expected)


@pytest.mark.parametrize("start", range(8))
def test_any_step_can_be_the_first(start: int) -> None:
    same(stream(pairs(7), 3, key=KEY, start=start, stop=9), epochs(7, 3)[start:])


@pytest.mark.parametrize(("threads", "ahead"), [(1, 1), (1, 20), (8, 1), (8, 20)])
def test_how_it_is_read_changes_nothing(threads: int, ahead: int) -> None:
    same(stream(pairs(7), 3, key=KEY, stop=9, threads=threads, ahead=ahead), epochs(7, 3))


def test_it_never_ends_by_itself() -> None:
    assert len(list(itertools.islice(stream(pairs(2), 2, key=KEY), 50))) == 50
    assert list(stream(pairs(2), 2, key=KEY, start=4, stop=4)) == []


def test_filled_batches_have_one_shape_and_the_weights_of_a_run() -> None:
    indices, weight = epoch_order(KEY, 0, 7, 3)
    for step, batch in enumerate(stream(pairs(7), 3, key=KEY, stop=3, fill=True)):
        assert isinstance(batch, WeightedBatch)
        np.testing.assert_array_equal(batch.y, indices[step])
        np.testing.assert_array_equal(batch.weight, weight[step])


def test_grains_own_sets_are_sources() -> None:
    import grain

    whole: Any = grain.MapDataset.source(range(7)).map(lambda i: (np.array([2 * i, 2 * i + 1], np.float32), i))
    assert isinstance(whole, Source)
    same(stream(whole, 3, key=KEY, stop=9), epochs(7, 3))


def test_one_permutation_an_epoch(monkeypatch: pytest.MonkeyPatch) -> None:
    # The module by its function, which has the module's name.
    drawn, names = [], stream.__globals__
    real = names["host_order"]
    monkeypatch.setitem(names, "host_order", lambda key, e, *form: drawn.append(e) or real(key, e, *form))
    for ahead in (1, 8, 30):
        drawn.clear()
        list(stream(pairs(8), 1, key=KEY, start=3, stop=24, ahead=ahead))
        assert drawn == [0, 1, 2]


def test_wide_numbers_are_held_as_jax_holds_them() -> None:
    source = [(np.float64(i), np.int64(i)) for i in range(3)]
    batch = next(stream(source, 3, key=KEY))
    assert (batch.x.dtype, batch.y.dtype) == (jnp.float32, jnp.int32)
    with jax.enable_x64(True):
        batch = next(stream(source, 3, key=KEY))
        assert (batch.x.dtype, batch.y.dtype) == (jnp.float64, jnp.int64)


class Faulty:
    """Examples of two numbers; the one numbered 5 is what `fault` makes of it."""

    def __init__(self, fault: Callable[[], Any]) -> None:
        self.fault = fault

    def __len__(self) -> int:
        return 8

    def __getitem__(self, index: Any) -> Any:
        return self.fault() if index == 5 else (np.ones(2, np.float32), np.int64(index))


def raising(error: Exception) -> Callable[[], Any]:
    def fault() -> Any:
        raise error

    return fault


@pytest.mark.parametrize(
    ("fault", "error", "match"),
    [
        (raising(KeyError("gone")), KeyError, r"gone(.|\n)*source\[5\] raised it"),
        (raising(OSError("disk")), OSError, r"disk(.|\n)*source\[5\] raised it"),
        (raising(StopIteration()), RuntimeError, r"source\[5\]: got StopIteration, expected a pair"),
        (lambda: np.ones(2), TypeError, r"source\[5\]: got an array of shape .*, expected a pair \(x, y\). Return"),
        (lambda: (np.ones(2),) * 3, TypeError, r"source\[5\]: got a tuple, expected a pair"),
        (lambda: ("a", 0), TypeError, r"source\[5\].x: got dtype <U1, expected numbers"),
        (lambda: (np.ones(3, np.float32), np.int64(0)), ValueError, r"source\[5\].x: got shape \(3,\) .* source\[0\]"),
        (lambda: (np.ones(2, np.float32), 0.5), ValueError, r"source\[5\].y: got shape \(\) and dtype float64"),
        (
            lambda: (np.array([0, np.nan], np.float32), np.int64(0)),
            ValueError,
            r"source\[5\].x: got nan, expected finite",
        ),
        (lambda: (np.ones(2, np.float32), np.int64(2**32)), ValueError, r"source\[5\].y: got 4294967296, .* int32"),
    ],
)
def test_a_bad_example_is_named(fault: Callable[[], Any], error: type[Exception], match: str) -> None:
    with pytest.raises(error, match=match) as caught:
        list(stream(Faulty(fault), 2, key=KEY, stop=4))
    # The traceback holds on to the reader, as a debugger would.
    assert caught.tb is not None
    assert no_readers()


def test_a_bad_row_of_a_file_is_named_when_it_is_read(tmp_path: Path) -> None:
    data = file(8, tmp_path)
    data.x[5, 1] = np.inf
    with pytest.raises(ValueError, match=r"source\[5\].x: got inf, expected finite numbers. Drop or mend"):
        list(stream(data, 2, key=KEY, stop=4))


@pytest.mark.parametrize(
    ("changes", "error", "match"),
    [
        ({"source": []}, ValueError, r"source: got no examples, expected at least one"),
        ({"source": 3}, TypeError, r"source: got a int, expected a Dataset or a source of examples. A source has"),
        ({"source": np.ones((9, 2))}, TypeError, r"source: got an array of shape .*, expected a Dataset or a source"),
        ({"source": {0: (1.0, 2.0)}}, TypeError, r"source: got a dict, expected a Dataset or a source"),
        ({"source": [1.0, 2.0, 3.0]}, TypeError, r"source\[0\]: got a float, expected a pair"),
        ({"source": Dataset(jnp.ones(3), jnp.ones(2))}, ValueError, r"source: got 3 examples in x and 2 targets in y"),
        ({"batch_size": 0}, ValueError, r"batch_size: got 0, expected an integer >= 1"),
        ({"batch_size": 6}, ValueError, r"batch_size: got 6, expected at most the 5 examples"),
        ({"key": 0}, TypeError, r"key: got 0, expected one typed key"),
        ({"start": -1}, ValueError, r"start: got -1, expected an integer >= 0"),
        ({"start": jnp.array(1)}, TypeError, r"start: got .*expected an integer >= 0. A state's: int\(state.step\)"),
        ({"start": 3, "stop": 2}, ValueError, r"stop: got 2, expected an integer >= 3"),
        ({"fill": 1}, TypeError, r"fill: got 1, expected True or False"),
        ({"threads": 0}, ValueError, r"threads: got 0, expected an integer >= 1"),
        ({"ahead": 0}, ValueError, r"ahead: got 0, expected an integer >= 1"),
    ],
)
def test_wrong_calls_are_refused_before_anything_is_read_ahead(
    changes: dict[str, Any], error: type[Exception], match: str
) -> None:
    settings: dict[str, Any] = {"source": pairs(5), "batch_size": 2, "key": KEY, **changes}
    with pytest.raises(error, match=match):
        stream(settings.pop("source"), settings.pop("batch_size"), **settings)


def test_without_grain_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "grain", None)
    with pytest.raises(
        ImportError, match=r"streaming data needs Grain, extra \[stream\]: .* pip install -e '\.\[stream\]'"
    ):
        stream(pairs(5), 2, key=KEY)
    with pytest.raises(ImportError, match=r"needs Grain"):
        run(count, pairs(5), batch_size=2, epochs=1, executor="host")


def no_readers(seconds: float = 10.0) -> bool:
    """Whether all readers end soon: each at the latest when its batch is read."""
    gc.collect()
    end = time.monotonic() + seconds
    while any("grain" in thread.name for thread in threading.enumerate()) and time.monotonic() < end:
        time.sleep(0.01)
    return not any("grain" in thread.name for thread in threading.enumerate())


def count(state: TrainState, batch: Any) -> tuple[TrainState, dict[str, jax.Array]]:
    return state._replace(step=state.step + 1), {"x": jnp.mean(batch.x)}


def test_breaking_off_leaves_no_threads() -> None:
    for _ in stream(pairs(8), 2, key=KEY):
        assert not no_readers(0.0)
        break
    assert no_readers()
    never_begun = stream(pairs(8), 2, key=KEY)
    never_begun.close()
    assert no_readers()


def test_a_run_that_fails_leaves_no_threads() -> None:
    def failing(state: TrainState, batch: Any) -> Any:
        raise RuntimeError("no step")

    with pytest.raises(RuntimeError, match="no step"):
        run(failing, pairs(8), batch_size=2, epochs=2, executor="host")(
            TrainState(jnp.array(0, jnp.int32), {}, {}, (), KEY)
        )
    assert no_readers()


# Pages of the file that were read count as resident, but they are the kernel's to take back: own memory is anonymous.
PROGRAM = """
import sys, numpy as np, jax, jax.numpy as jnp, fnn
from pathlib import Path

def own():
    return int(Path("/proc/self/status").read_text().split("RssAnon:")[1].split()[0]) / 1024

rows = 6_400
x = np.memmap(sys.argv[1], np.float32, "w+", shape=(rows, 8_192))
y = np.zeros(rows, np.int32)
key, size = jax.random.key(0), 64
state = fnn.train.TrainState(jnp.array(0, jnp.int32), {}, {}, (), key)
peak = []
def step(state, batch):
    return state._replace(step=state.step + 1), {"x": jnp.mean(batch.x)}
for batch in fnn.data.stream(fnn.data.Dataset(x[:size], y[:size]), size, key=key, stop=1):
    step(state, batch)
before = own()
if sys.argv[2] == "stream":
    for batch in fnn.data.stream(fnn.data.Dataset(x, y), size, key=key, stop=rows // size, threads=2, ahead=4):
        state, _ = step(state, batch)
        peak.append(own())
else:
    held = jnp.asarray(np.array(x))
    peak.append(own())
print(x.nbytes / 2**20, max(peak) - before)
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads the memory in use from /proc")
def test_memory_in_use_is_that_of_a_few_batches(tmp_path: Path) -> None:
    def grown(how: str) -> tuple[float, float]:
        command = [sys.executable, "-W", "error", "-c", PROGRAM, str(tmp_path / "x"), how]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        size, grown = map(float, done.stdout.split())
        return size, grown

    size, streamed = grown("stream")
    assert size == 200
    # Seven batches of 2 MiB are in flight at most, and the allocator keeps some.
    assert streamed < 60
    assert grown("all")[1] > 150


def test_the_key_may_be_donated_while_batches_come() -> None:
    """A step that donates its state donates the key in it: the next epoch's order is drawn all the same."""
    key = jax.random.key(5)
    wanted = [np.asarray(batch.y) for batch in stream(memory(4), 2, key=jax.random.key(5), stop=8)]
    came = []
    for batch in stream(memory(4), 2, key=key, stop=8, ahead=1):
        key.delete()
        came.append(np.asarray(batch.y))
    np.testing.assert_array_equal(came, wanted)
