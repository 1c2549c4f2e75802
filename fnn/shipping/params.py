"""Parameters as a file that other programs read, and back."""

from collections.abc import Callable, Mapping
from os import PathLike
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from fnn.errors import message
from fnn.record.files import write
from fnn.shipping.archive import BROKEN, of_npz, of_safetensors, to_npz, to_safetensors
from fnn.shipping.checks import checked_file, differences, leaves_by_name
from fnn.typing import Params

_Writer = Callable[[Mapping[str, np.ndarray]], bytes]
_Reader = Callable[[bytes], dict[str, np.ndarray]]
_FORMS: dict[str, tuple[_Writer, _Reader]] = {
    ".npz": (to_npz, of_npz),
    ".safetensors": (to_safetensors, of_safetensors),
}


def save_params(path: str | PathLike[str], params: Params) -> None:
    """Writes parameters as one file of named arrays, bit for bit; the path's suffix says in which form.

    Names are paths, "dense_0/w", in both. What NumPy does not know, such as bfloat16, is in an archive of NumPy
    under "dense_0/w:bfloat16", as integers of the same bits; safetensors know it. An older file stays until the
    new one is whole.

    Args:
        path: ends in ".safetensors" or ".npz".
        params: any tree of arrays, so also `{"params": state.params, "state": state.model_state}`.

    Raises:
        ValueError: another suffix, or two leaves of one path.
        TypeError: a leaf is no array, or of a dtype that the form does not have; it is named.
        FileNotFoundError: the path's folder is missing.

    Example:
        >>> import tempfile
        >>> params = {"dense_0": {"w": jnp.ones((3, 2), jnp.bfloat16), "b": jnp.zeros(2)}}
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     save_params(f"{folder}/net.safetensors", params)
        ...     found = load_params(f"{folder}/net.safetensors")
        >>> jax.tree.map(lambda leaf: (leaf.shape, str(leaf.dtype)), found)
        {'dense_0': {'b': ((2,), 'float32'), 'w': ((3, 2), 'bfloat16')}}

    Source: the page "Format" of https://github.com/huggingface/safetensors, and `numpy.lib.format`.
    """
    to_bytes, _ = _form(path)
    file = checked_file(path)
    named = leaves_by_name("params", params)
    for name, leaf in named.items():
        if isinstance(leaf, jax.ShapeDtypeStruct) or jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
            key = not isinstance(leaf, jax.ShapeDtypeStruct)
            remedy = "Save the data of a key: jax.random.key_data(key)." if key else "Draw them: net.init(key, x)."
            raise TypeError(message(f"params leaf {name!r}", "a typed key" if key else "a shape", "numbers", remedy))
    write(file, to_bytes({name: np.asarray(leaf) for name, leaf in jax.device_get(named).items()}))


def load_params(path: str | PathLike[str], like: Any = None) -> Params:
    """The parameters in a file of named arrays, bit for bit.

    Files of other programs serve too: any archive of NumPy, any safetensors.

    Args:
        path: ends in ".safetensors" or ".npz".
        like: a tree of the same paths, shapes and dtypes, such as what `net.init` gives or its shapes; the result
            is such a tree. None gives nested dicts, cut at each "/" of the names.

    Raises:
        ValueError: paths that are missing or too many, other shapes or dtypes (each is named), a file that is not
            whole, or numbers of 64 bits without `jax_enable_x64`: nothing is cast or left out.
        FileNotFoundError: there is no such file.

    Example:
        >>> import tempfile
        >>> net = fnn.nn.mlp([2])
        >>> like, _ = jax.eval_shape(net.init, jax.random.key(0), jnp.ones((1, 4)))
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     save_params(f"{folder}/net.npz", net.init(jax.random.key(0), jnp.ones((1, 3)))[0])
        ...     found = load_params(f"{folder}/net.npz", like)
        Traceback (most recent call last):
        ValueError: parameters in net.npz: got 'dense_0/w' float32[3, 2] instead of ...
    """
    _, of_bytes = _form(path)
    file = Path(path)
    wanted = None if like is None else leaves_by_name("like", like)
    if not file.is_file():
        raise FileNotFoundError(message("path", file, "a file", "There is no such file."))
    try:
        arrays = of_bytes(file.read_bytes())
    except BROKEN as error:
        got, remedy = f"a file that cannot be read as {file.suffix[1:]} ({error})", "Save or fetch it again."
        raise ValueError(message(str(file), got, "named arrays, whole", remedy)) from error
    if wanted is None:
        return _nested(file.name, {name: _array(file.name, name, array) for name, array in arrays.items()})
    if odd := differences(arrays, wanted):
        remedy = "Nothing is cast or left out."
        raise ValueError(message(f"parameters in {file.name}", odd, "the paths, shapes and dtypes of like", remedy))
    leaves = [_array(file.name, name, arrays[name]) for name in wanted]
    return jax.tree.unflatten(jax.tree.structure(like), leaves)


def _form(path: str | PathLike[str]) -> tuple[_Writer, _Reader]:
    suffix = Path(path).suffix if isinstance(path, str | PathLike) else None
    if suffix not in _FORMS:
        raise ValueError(message("path", repr(path), f"a file's path that ends in {' or '.join(_FORMS)}"))
    return _FORMS[suffix]


def _array(file: str, name: str, array: np.ndarray) -> jax.Array:
    if jax.dtypes.canonicalize_dtype(array.dtype) != array.dtype:
        remedy = 'Set jax.config.update("jax_enable_x64", True); without it JAX would round them.'
        raise ValueError(message(f"{file}, leaf {name!r}", f"dtype {array.dtype}", "at most 32 bits a number", remedy))
    return jnp.asarray(array)


def _nested(file: str, leaves: Mapping[str, Any]) -> dict[str, Any]:
    tree: dict[str, Any] = {}
    for name, leaf in leaves.items():
        *above, last = name.split("/")
        node = tree
        for part in above:
            node = node.setdefault(part, {}) if isinstance(node, dict) else node
        if not isinstance(node, dict) or last in node:
            raise ValueError(message(file, f"a leaf inside of leaf {name!r}", "nested dicts", "Give like=."))
        node[last] = leaf
    return tree
