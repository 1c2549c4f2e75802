"""Archives of named arrays: what other programs read and write, and files that are cut short or changed."""

import io
import json
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest
import safetensors.numpy

from fnn.shipping.archive import BROKEN, of_npz, of_safetensors, to_npz, to_safetensors

RNG = np.random.default_rng(0)
# A name ends, begins and holds what a keyword of NumPy, a suffix or a folder would.
ARRAYS = {
    "dense_0/w": RNG.normal(size=(3, 2)).astype(np.float32),
    "file": np.arange(6, dtype=np.int8).reshape(2, 3).T,
    "allow_pickle.npy": np.array(True),
    "a:b/é": np.zeros((0, 3), np.float16),
}
ALL = {**ARRAYS, "norm/gamma": np.array([1.5, -0.0, np.nan], jnp.bfloat16), "n": np.array(2.5, jnp.bfloat16)}


def _same(found: dict[str, np.ndarray], given: dict[str, np.ndarray]) -> None:
    assert set(found) == set(given)
    for name, array in given.items():
        assert (found[name].dtype, found[name].shape) == (array.dtype, array.shape)
        assert found[name].tobytes() == array.tobytes()


def test_numpy_reads_ours() -> None:
    with np.load(io.BytesIO(to_npz(ALL))) as held:
        found = dict(held)
    bits = found.pop("norm/gamma:bfloat16")
    np.testing.assert_array_equal(bits, ALL["norm/gamma"].view(np.uint16))
    found.pop("n:bfloat16")
    _same(found, ARRAYS)


def test_each_array_begins_at_a_multiple_of_its_width() -> None:
    content = to_safetensors(ALL)
    length = int.from_bytes(content[:8], "little")
    assert length % 8 == 0
    header = json.loads(content[8 : 8 + length])
    assert not [name for name, array in ALL.items() if header[name]["data_offsets"][0] % array.dtype.itemsize]


@pytest.mark.parametrize("write", [np.savez, np.savez_compressed])
def test_ours_reads_numpys(write: Any) -> None:
    file, given = io.BytesIO(), {"dense_0/w": ARRAYS["dense_0/w"], "n:int8": np.array(3)}
    write(file, **given)
    _same(of_npz(file.getvalue()), given)


def test_the_safetensors_package_reads_ours() -> None:
    content = to_safetensors(ALL)
    names = {"BF16", "BOOL", "F16", "F32", "I8"}
    assert {entry["dtype"] for _, entry in safetensors.deserialize(content)} == names
    found = {name: bytes(entry["data"]) for name, entry in safetensors.deserialize(content)}
    assert found == {name: array.tobytes() for name, array in ALL.items()}
    assert {name: tuple(entry["shape"]) for name, entry in safetensors.deserialize(content)} == {
        name: array.shape for name, array in ALL.items()
    }
    _same(safetensors.numpy.load(to_safetensors(ARRAYS)), ARRAYS)


def test_ours_reads_the_safetensors_packages() -> None:
    given = {name: np.ascontiguousarray(array).reshape(array.shape) for name, array in ALL.items()}
    _same(of_safetensors(safetensors.numpy.save(given, metadata={"format": "np"})), given)


@pytest.mark.parametrize(("write", "read"), [(to_npz, of_npz), (to_safetensors, of_safetensors)])
def test_no_arrays_and_the_same_bytes_for_the_same_arrays(write: Any, read: Any) -> None:
    assert read(write({})) == {}
    assert write(ALL) == write(dict(ALL))
    _same(read(write(ALL)), ALL)


@pytest.mark.parametrize(("write", "read"), [(to_npz, of_npz), (to_safetensors, of_safetensors)])
def test_a_file_that_is_cut_or_too_long_is_found(write: Any, read: Any) -> None:
    content = write(ALL)
    for length in range(0, len(content), 3):
        with pytest.raises(BROKEN):
            read(content[:length])
    if write is to_safetensors:
        with pytest.raises(ValueError, match=r"^it is longer than its arrays$"):
            read(content + b"\0")


@pytest.mark.parametrize(("write", "read"), [(to_npz, of_npz), (to_safetensors, of_safetensors)])
def test_whatever_is_in_a_file_no_other_error_comes(write: Any, read: Any) -> None:
    content = bytearray(write(ALL))
    for position in range(len(content)):
        changed = content.copy()
        changed[position] ^= 1 << RNG.integers(8)
        try:
            read(bytes(changed))
        except BROKEN:
            continue


@pytest.mark.parametrize(
    ("header", "match"),
    [
        ({"w": {"dtype": "F32", "shape": [3], "data_offsets": [0, 8]}}, "w does not have its place"),
        ({"w": {"dtype": "F32", "shape": [1], "data_offsets": [4, 8]}}, "w does not have its place"),
        ({"w": {"dtype": "F32", "shape": [3], "data_offsets": [0, 12]}}, "w does not have its place"),
        ({"w": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}, "longer than its arrays"),
        ([], "holds no names"),
    ],
)
def test_a_header_that_does_not_fit_its_data(header: Any, match: str) -> None:
    words = json.dumps(header).encode()
    with pytest.raises(ValueError, match=match):
        of_safetensors(len(words).to_bytes(8, "little") + words + bytes(8))


@pytest.mark.parametrize(
    ("write", "given", "error", "match"),
    [
        (to_npz, {"w": np.array(["a"])}, TypeError, r"leaf 'w': got dtype <U1, expected numbers\."),
        (to_safetensors, {"w": np.ones(1, complex)}, TypeError, r"leaf 'w': got dtype complex128, expected one of "),
        (to_safetensors, {"__metadata__": np.ones(1)}, ValueError, r"params: got a leaf '__metadata__', expected "),
    ],
)
def test_what_a_form_does_not_have(write: Any, given: Any, error: type[Exception], match: str) -> None:
    with pytest.raises(error, match=f"^{match}"):
        write(given)


def test_bfloat16_that_numpy_forgot() -> None:
    file = io.BytesIO()
    np.savez(file, w=np.ones(2, jnp.bfloat16))
    with pytest.raises(ValueError, match=r"^leaf 'w': got dtype \|V2, expected numbers\. numpy\.savez forgets what"):
        of_npz(file.getvalue())
