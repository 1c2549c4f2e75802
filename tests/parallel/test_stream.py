"""Streamed over devices: the order of a run, cut; each process reads its own rows and no others."""

from typing import Any

import jax
import numpy as np
import pytest

import fnn
from fnn.data import Dataset, WeightedBatch
from fnn.parallel import data_parallel, make_mesh
from fnn.parallel.stream import own_rows, stream

pytest.importorskip("grain", reason="streaming needs Grain")

KEY = jax.random.key(2)


def numbered(n: int) -> Dataset:
    x: Any = np.arange(2.0 * n, dtype=np.float32).reshape(n, 2)
    y: Any = np.arange(n, dtype=np.int32)
    return Dataset(x, y)


@pytest.mark.parametrize(("examples", "batch_size", "fill"), [(48, 16, False), (40, 16, False), (37, 16, True)])
def test_batches_are_those_of_one_device(examples: int, batch_size: int, fill: bool) -> None:
    layout, data = data_parallel(), numbered(examples)
    given: dict[str, Any] = {"key": KEY, "start": 1, "stop": 7, "fill": fill}
    plain = list(fnn.data.stream(data, batch_size, **given))
    cut = list(stream(data, batch_size, layout=layout, **given))
    assert len(plain) == len(cut) == 6
    for one, other in zip(plain, cut, strict=True):
        assert isinstance(other, WeightedBatch if fill else Dataset)
        for a, b in zip(one, other, strict=True):
            assert b.sharding.is_equivalent_to(layout.batch, b.ndim)
            np.testing.assert_array_equal(a, b)


def test_only_own_rows_are_read() -> None:
    """With a mesh whose devices are half of another process's, half of the rows would be read; here all are ours."""
    layout = data_parallel(make_mesh(jax.devices()[:4]))
    np.testing.assert_array_equal(own_rows(8, layout), np.arange(8))
    read: list[int] = []

    class Source:
        def __len__(self) -> int:
            return 16

        def __getitem__(self, i: int) -> tuple[np.float32, int]:
            read.append(int(i))
            return np.float32(i), int(i)

    list(stream(Source(), 16, layout=layout, key=KEY, stop=1))
    assert sorted(read) == sorted([0, *range(16)])  # the first one once more, for its shape


def test_wrong_calls() -> None:
    layout = data_parallel()
    with pytest.raises(ValueError, match="batch_size: got 12 examples, expected a multiple of 8 devices"):
        stream(numbered(24), 12, layout=layout, key=KEY)
    with pytest.raises(ValueError, match=r"source: got 20 examples, of which the last batch has 4, .* fill=True"):
        stream(numbered(20), 16, layout=layout, key=KEY)
    with pytest.raises(ValueError, match="start: got -1"):
        stream(numbered(16), 16, layout=layout, key=KEY, start=-1)
    with pytest.raises(TypeError, match="key"):
        stream(numbered(16), 16, layout=layout, key=3)  # type: ignore[arg-type]
