"""A trained network as one file that JAX alone runs."""

import contextlib
import importlib.util
from collections.abc import Callable, Iterator, Sequence
from os import PathLike
from typing import Any

import jax
import jax.export
import jax.numpy as jnp

from fnn import activations
from fnn.errors import check_array, check_callable, check_choice, check_count, message
from fnn.record.files import write
from fnn.shipping.checks import checked_file, differences, leaves_by_name
from fnn.train.state import check_network
from fnn.typing import Activation, Array, Params, State

_PLATFORMS = ("cpu", "cuda", "rocm", "tpu")


def export(
    net: Any,
    params: Params,
    path: str | PathLike[str],
    x: Any,
    *,
    state: State | None = None,
    outputs: str | Activation | None = None,
    platforms: Sequence[str] = ("cpu", "cuda", "tpu"),
) -> None:
    """Writes a network in evaluation mode, its parameters inside, as one file that needs only JAX to run.

    The file is the compiler's input, StableHLO, for every platform and for batches of any size. It runs without
    this library and without the network's source, where jax and flatbuffers are installed:
    `jax.export.deserialize(path.read_bytes()).call(x)`. No path of this machine is in it, and the same network
    gives the same bytes. An older file stays until the new one is whole.

    Args:
        net: a network with `init` and `apply`, such as an `fnn.nn.Layer`.
        params: its parameters, such as `result.best.params`.
        path: of the file; its folder exists.
        x: an example batch, or its `jax.ShapeDtypeStruct`: (n, ...), where n does not matter.
        state: its state, such as `result.best.model_state`; None where it has none.
        outputs: a function on top, or the name of an activation: "softmax" makes logits probabilities.
        platforms: what it is to run on, of "cpu", "cuda", "rocm" and "tpu".

    Raises:
        ImportError: flatbuffers is missing.
        TypeError: not a network, x is no array, or parameters of another dtype than x needs.
        ValueError: parameters or state of another network (each path is named), or an unknown platform.
        FileNotFoundError: the path's folder is missing.

    Example:
        >>> import pathlib, tempfile
        >>> net, x = fnn.nn.mlp([4, 2]), jnp.ones((1, 3))
        >>> params, _ = net.init(jax.random.key(0), x)
        >>> import jax.export
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     file = pathlib.Path(folder) / "mlp.jax"
        ...     export(net, params, file, x, outputs="softmax")
        ...     call = jax.export.deserialize(file.read_bytes()).call
        >>> call(jnp.ones((5, 3))).shape
        (5, 2)

    Source: the pages "Exporting and serializing" and "Shape polymorphism" of the JAX documentation.
    """
    if importlib.util.find_spec("flatbuffers") is None:
        raise ImportError("fnn.export needs flatbuffers, extra [export]: in the clone, pip install -e '.[export]'")
    check_network(net)
    file = checked_file(path)
    example = _one_example(x)
    _check_platforms(platforms)
    top = _top(outputs)
    _check_fit(net, params, {} if state is None else state, example)
    # On one device, wherever they lie: they become constants of the program.
    params, state = jax.tree.map(jnp.asarray, jax.device_get((params, {} if state is None else state)))

    def forward(x: Array) -> Any:
        return top(net.apply(params, state, x, train=False)[0])

    forward.__name__ = forward.__qualname__ = str(getattr(net, "name", "network"))
    jax.eval_shape(forward, example)  # Where a layer refuses x, it says so of a shape that a person can read.
    write(file, _exported(forward, example, platforms))


def _exported(forward: Callable[[Array], Any], example: jax.ShapeDtypeStruct, platforms: Sequence[str]) -> bytes:
    (n,) = jax.export.symbolic_shape("n")
    batch = jax.ShapeDtypeStruct((n, *example.shape[1:]), example.dtype)
    try:
        with _no_source_paths():
            program = jax.export.export(jax.jit(forward), platforms=tuple(platforms))(batch)
    except Exception as error:
        error.add_note(
            "In an exported network the batch size stays open. Where its code needs the number: take x.shape[0], "
            "not len(x), and reshape with -1."
        )
        raise
    return bytes(program.serialize())


@contextlib.contextmanager
def _no_source_paths() -> Iterator[None]:
    """While it lasts, programs are lowered without the files and lines of their source."""
    name = "jax_traceback_in_locations_limit"
    before = getattr(jax.config, name)
    jax.config.update(name, 0)
    try:
        yield
    finally:
        jax.config.update(name, before)


def _one_example(x: Any) -> jax.ShapeDtypeStruct:
    check_array("x", x)
    if not x.shape:
        raise ValueError(message("x", "a scalar", "a batch, (n, ...)", "One example is a batch of one: x[None]."))
    return jax.ShapeDtypeStruct((1, *x.shape[1:]), jax.dtypes.canonicalize_dtype(x.dtype))


def _top(outputs: str | Activation | None) -> Callable[[Any], Any]:
    if outputs is None:
        return lambda y: y
    if isinstance(outputs, str):
        return activations.get(outputs)
    check_callable("outputs", outputs, "a function of the network's outputs, or the name of an activation")
    return outputs


def _check_platforms(platforms: Any) -> None:
    if isinstance(platforms, str) or not isinstance(platforms, Sequence):
        remedy = f"Such as {_PLATFORMS[:1]}."
        raise TypeError(message("platforms", repr(platforms), "a tuple of names", remedy))
    check_count("number of platforms", len(platforms))
    for platform in platforms:
        if platform == "gpu":
            raise ValueError(message("platforms", "'gpu'", "the maker's own", "NVIDIA's is 'cuda', AMD's is 'rocm'."))
        check_choice("platforms", platform, _PLATFORMS)


def _check_fit(net: Any, params: Params, state: State, example: jax.ShapeDtypeStruct) -> None:
    """Refuses parameters and state whose paths or shapes are not those that `net.init` makes for x."""
    if hasattr(params, "params") or hasattr(params, "best"):
        remedy = "Give state.params, and state=state.model_state; of a FitResult, those of result.best."
        raise TypeError(message("params", f"a {type(params).__name__}", "the parameters alone", remedy))
    key = jax.random.key(0)
    wanted = jax.eval_shape(lambda x: net.init(key, x), example)
    shape = f"({', '.join(['n', *map(str, example.shape[1:])])})"
    for argument, tree, want in zip(("params", "state"), (params, state), wanted, strict=True):
        odd = differences(leaves_by_name(argument, tree), leaves_by_name(argument, want), dtypes=False)
        if odd:
            expected = f"what {getattr(net, 'name', 'the network')} has for x of shape {shape}"
            remedy = "Give those that were trained with it, and its x."
            if argument == "state":
                remedy = "Give state=: of a TrainState, its model_state."
            raise ValueError(message(argument, odd, expected, remedy))
