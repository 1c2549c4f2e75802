"""The files of a record: tables of columns, archives of arrays, and one of words."""

import csv
import io
import json
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike

from fnn.errors import message

_TABLES = ("figures", "settings", "versions")


def write(path: Path, content: bytes) -> None:
    """Writes a file; an older one stays until the new one is whole."""
    partial = path.with_name(f"{path.name}.partial")
    partial.write_bytes(content)
    partial.replace(path)


def columns_to_csv(counted: str, columns: Mapping[str, ArrayLike]) -> bytes:
    """A table with a row for each entry, numbered from 1.

    Example:
        >>> columns_to_csv("epoch", {"loss": [1.0, 0.5]}).decode().splitlines()
        ['epoch,loss', '1,1.0', '2,0.5']
    """
    arrays = {name: np.asarray(values) for name, values in columns.items()}
    arrays = {name: array.astype(int) if array.dtype == bool else array for name, array in arrays.items()}
    shapes = {array.shape for array in arrays.values()}
    if len(shapes) > 1 or any(len(shape) != 1 for shape in shapes):
        got = ", ".join(f"{name} {array.shape}" for name, array in arrays.items())
        remedy = "Of a population choose one run: {name: values[i] for name, values in history.items()}."
        raise ValueError(message("history", got, f"arrays of one entry for each {counted}", remedy))
    table = io.StringIO(newline="")
    writer = csv.writer(table, lineterminator="\n")
    writer.writerow([counted, *arrays])
    writer.writerows([i + 1, *row] for i, row in enumerate(zip(*(a.tolist() for a in arrays.values()), strict=True)))
    return table.getvalue().encode()


def columns_of_csv(counted: str, content: bytes) -> dict[str, np.ndarray]:
    """The columns of such a table, without the one that counts.

    Example:
        >>> columns_of_csv("epoch", columns_to_csv("epoch", {"loss": [1.0, 0.5]}))
        {'loss': array([1. , 0.5])}
    """
    text = content.decode("utf-8")
    head, *rows = csv.reader(io.StringIO(text))
    if head[:1] != [counted] or not text.endswith("\n"):
        raise ValueError(f"no whole table of each {counted}")
    columns = zip(head[1:], *(row[1:] for row in rows), strict=True)
    return {name: np.array(values, np.float64) for name, *values in columns}


def arrays_to_npz(arrays: Mapping[str, Any]) -> bytes:
    """An archive of arrays by name; dtypes that NumPy does not know, such as bfloat16, become float32.

    Example:
        >>> sorted(arrays_of_npz(arrays_to_npz({"a/b": jnp.ones(2, jnp.bfloat16)})))
        ['a/b']
    """
    known = {name: np.asarray(a) for name, a in arrays.items()}
    archive = io.BytesIO()
    plain: dict[str, Any] = {n: a.astype(np.float32) if a.dtype.kind == "V" else a for n, a in known.items()}
    np.savez_compressed(archive, **plain)
    return archive.getvalue()


def arrays_of_npz(content: bytes) -> dict[str, np.ndarray]:
    """The arrays of such an archive.

    Example:
        >>> arrays_of_npz(arrays_to_npz({"loss": 0.5}))
        {'loss': array(0.5)}
    """
    with np.load(io.BytesIO(content), allow_pickle=False) as held:
        return dict(held)


def words_to_json(words: Any) -> bytes:
    """JSON that a person reads; arrays and typed keys become lists, and what JSON does not know a text.

    Example:
        >>> words_to_json({"loss": jnp.array([0.5]), "rate": jnp.nan}).decode().split()
        ['{', '"loss":', '[', '0.5', '],', '"rate":', 'NaN', '}']
    """

    def plain(value: Any) -> Any:
        if isinstance(value, jax.Array) and jnp.issubdtype(value.dtype, jax.dtypes.prng_key):
            value = jax.random.key_data(value)
        return value.tolist() if isinstance(value, np.ndarray | np.generic | jax.Array) else str(value)

    return (json.dumps(words, indent=2, default=plain) + "\n").encode()


def words_of_json(content: bytes) -> dict[str, Any]:
    """What such a file says.

    Example:
        >>> words_of_json(b'{"title": "digits"}')
        {'title': 'digits'}
    """
    found = json.loads(content)
    if not isinstance(found, dict) or not all(isinstance(found.get(part, {}), dict) for part in _TABLES):
        raise ValueError(f"no names with {', '.join(_TABLES)} among them")
    return found


# What reading can meet in a file that is cut short, or of another kind.
BROKEN = (
    ValueError,
    KeyError,
    EOFError,
    IndexError,
    UnicodeDecodeError,
    NotImplementedError,
    zipfile.BadZipFile,
    zlib.error,
    csv.Error,
)
