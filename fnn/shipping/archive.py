"""Named arrays as one file: the archives of NumPy, and safetensors.

Both are written here by hand, bit for bit: NumPy's own writer forgets what bfloat16 was, and the reader for NumPy of
the safetensors package does not know it.
"""

import io
import json
import math
import zipfile
import zlib
from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np

from fnn.errors import message

# What NumPy has no word for is written as integers of the same bits, and its name goes to the end of the array's.
_BEYOND_NUMPY = {
    str(jnp.dtype(dtype)): jnp.dtype(dtype) for dtype in (jnp.bfloat16, jnp.float8_e4m3fn, jnp.float8_e5m2)
}
_NUMPYS = "biufc"
_SAFETENSORS: dict[str, np.dtype[Any]] = {
    "BOOL": np.dtype(bool),
    "U8": np.dtype("uint8"),
    "I8": np.dtype("int8"),
    "U16": np.dtype("uint16"),
    "I16": np.dtype("int16"),
    "U32": np.dtype("uint32"),
    "I32": np.dtype("int32"),
    "U64": np.dtype("uint64"),
    "I64": np.dtype("int64"),
    "F8_E4M3": jnp.dtype(jnp.float8_e4m3fn),
    "F8_E5M2": jnp.dtype(jnp.float8_e5m2),
    "F16": np.dtype("float16"),
    "BF16": jnp.dtype(jnp.bfloat16),
    "F32": np.dtype("float32"),
    "F64": np.dtype("float64"),
    "C64": np.dtype("complex64"),
}
_HEAD, _ALIGNMENT, _ABOUT = 8, 8, "__metadata__"  # bytes of the header's length; bytes; the entry of free text

# What reading can meet in a file that is cut short, or of another kind.
BROKEN = (ValueError, KeyError, TypeError, EOFError, IndexError, zipfile.BadZipFile, zlib.error)
BROKEN += (OverflowError, MemoryError, RuntimeError)  # sizes that no array has; methods that no reader knows


def to_npz(arrays: Mapping[str, np.ndarray]) -> bytes:
    """An archive that `numpy.load` reads; bfloat16 is under "name:bfloat16", as integers of 16 bits.

    Example:
        >>> np.load(io.BytesIO(to_npz({"dense_0/w": np.ones(2, jnp.bfloat16)}))).files
        ['dense_0/w:bfloat16']
    """
    archive = io.BytesIO()
    # numpy.savez takes names as keywords, and so not each of them.
    with zipfile.ZipFile(archive, "w") as held:
        for name, array in arrays.items():
            beyond = str(array.dtype) in _BEYOND_NUMPY
            if not beyond and array.dtype.kind not in _NUMPYS:
                raise TypeError(_unknown(name, array, "numbers"))
            plain = array.view(f"uint{8 * array.dtype.itemsize}") if beyond else array
            with held.open(f"{name}:{array.dtype}.npy" if beyond else f"{name}.npy", "w", force_zip64=True) as file:
                np.lib.format.write_array(file, plain, allow_pickle=False)
    return archive.getvalue()


def of_npz(content: bytes) -> dict[str, np.ndarray]:
    """The arrays of such an archive.

    Example:
        >>> of_npz(to_npz({"loss": np.array(0.5)}))
        {'loss': array(0.5)}
    """
    arrays = {}
    with np.load(io.BytesIO(content), allow_pickle=False) as held:
        for entry, array in held.items():
            name, _, dtype = entry.rpartition(":")
            beyond = dtype in _BEYOND_NUMPY and array.dtype == f"uint{8 * _BEYOND_NUMPY[dtype].itemsize}"
            if not beyond and array.dtype.kind not in _NUMPYS:
                raise ValueError(_unknown(entry, array, "numbers"))
            arrays[name if beyond else entry] = array.view(_BEYOND_NUMPY[dtype]) if beyond else array
    return arrays


def to_safetensors(arrays: Mapping[str, np.ndarray]) -> bytes:
    """A safetensors file: the header's length, the header as JSON, then the bytes of all arrays.

    Example:
        >>> of_safetensors(to_safetensors({"dense_0/b": np.array([1.0, 2.0])}))
        {'dense_0/b': array([1., 2.])}

    Source: the page "Format" of https://github.com/huggingface/safetensors.
    """
    kinds = {dtype: kind for kind, dtype in _SAFETENSORS.items()}
    header, start = {}, 0
    # The widest first, so that each array begins at a multiple of its own width.
    ordered = sorted(arrays, key=lambda name: (-arrays[name].dtype.itemsize, name))
    for name in ordered:
        array = arrays[name]
        if array.dtype not in kinds:
            raise TypeError(_unknown(name, array, f"one of {', '.join(map(str, kinds))}"))
        if name == _ABOUT:
            raise ValueError(message("params", f"a leaf {name!r}", "another name", "In safetensors it is free text."))
        end = start + array.nbytes
        header[name] = {"dtype": kinds[array.dtype], "shape": list(array.shape), "data_offsets": [start, end]}
        start = end
    words = json.dumps(header, separators=(",", ":")).encode()
    words += b" " * (-len(words) % _ALIGNMENT)
    return b"".join([len(words).to_bytes(_HEAD, "little"), words, *(arrays[name].tobytes() for name in ordered)])


def of_safetensors(content: bytes) -> dict[str, np.ndarray]:
    """The arrays of such a file.

    Example:
        >>> of_safetensors(to_safetensors({}))
        {}
    """
    length = int.from_bytes(content[:_HEAD], "little")
    words, data = content[_HEAD : _HEAD + length], content[_HEAD + length :]
    if len(content) < _HEAD or len(words) != length:
        raise ValueError("its header is cut short")
    header = json.loads(words)
    if not isinstance(header, dict):
        raise ValueError("its header holds no names")
    header.pop(_ABOUT, None)
    arrays, ends = {}, 0
    for name, entry in sorted(header.items(), key=lambda item: item[1]["data_offsets"]):
        dtype, shape, (start, end) = _SAFETENSORS[entry["dtype"]], entry["shape"], entry["data_offsets"]
        if start != ends or end - start != math.prod(shape) * dtype.itemsize or end > len(data):
            raise ValueError(f"{name} does not have its place in it")
        arrays[name], ends = np.frombuffer(data[start:end], dtype).reshape(shape), end
    if ends != len(data):
        raise ValueError("it is longer than its arrays")
    return arrays


def _unknown(name: str, array: np.ndarray, expected: str) -> str:
    remedy = "A typed key is saved as its data: jax.random.key_data(key)." if "key" in str(array.dtype) else ""
    if array.dtype.kind == "V" and not remedy:
        remedy = "numpy.savez forgets what bfloat16 was: write with fnn.shipping.save_params."
    return message(f"leaf {name!r}", f"dtype {array.dtype}", expected, remedy)
