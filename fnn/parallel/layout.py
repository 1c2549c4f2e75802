"""Where the arrays of a training run lie: the batch cut over the devices of a mesh, the state copied or cut."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from fnn.agreed import check_agreed
from fnn.errors import check_array, check_callable, check_count, kind, message
from fnn.parallel.leaf import digest, movable
from fnn.tree import named_leaves
from fnn.typing import Batch, Metrics

AXIS = "data"
"""The axis of a mesh along which batches and populations are cut."""


class Layout(NamedTuple):
    """How a state lies on a mesh. One of your own cuts as you say: by a leaf's path, shape and dtype.

    Attributes:
        mesh: the devices; one of its axes is "data".
        spec: (path, leaf) to how that leaf of a state is cut, such as ("params/dense_0/w", a
            `jax.ShapeDtypeStruct`) to `PartitionSpec("data")`, its first axis; `PartitionSpec()` is a copy on each.

    Example:
        >>> def columns(path, leaf):
        ...     return PartitionSpec(None, "data") if path.endswith("w") else PartitionSpec()
        >>> layout = Layout(make_mesh(), columns)
        >>> place({"w": jnp.ones((2, 8)), "b": jnp.ones(8)}, layout)["w"].sharding.spec[1]
        'data'
    """

    mesh: Mesh
    spec: Callable[[str, jax.ShapeDtypeStruct], PartitionSpec]

    @property
    def batch(self) -> NamedSharding:
        """Where a batch lies: its first axis is cut."""
        return NamedSharding(self.mesh, PartitionSpec(AXIS))

    @property
    def size(self) -> int:
        """Into how many parts a batch is cut."""
        return self.mesh.shape[AXIS]


def make_mesh(devices: Sequence[Any] | None = None) -> Mesh:
    """A mesh of one axis, "data", over all devices of all processes.

    Its axis is of the kind `AxisType.Auto`: XLA finds out where the results of each operation lie.

    Args:
        devices: those of `jax.devices()` to take, in this order; None takes all.

    Raises:
        ValueError: no device, or one of them twice.
        TypeError: what is no device.

    Example:
        >>> make_mesh().shape["data"] == len(jax.devices())
        True
    """
    chosen = jax.devices() if devices is None else list(devices)
    if not chosen:
        raise ValueError(message("devices", "none", "at least one", "Such as jax.devices()[:4]."))
    if odd := [one for one in chosen if not isinstance(one, jax.Device)]:
        raise TypeError(message("devices", kind(odd[0]), "devices", "Such as jax.devices()[:4]."))
    if len(set(chosen)) < len(chosen):
        raise ValueError(message("devices", "one of them twice", "each once", "Such as jax.devices()[:4]."))
    return Mesh(np.array(chosen), (AXIS,), axis_types=(AxisType.Auto,))


def data_parallel(mesh: Mesh | None = None) -> Layout:
    """Each device has the whole state and a part of the batch; gradients are summed over all of them.

    Args:
        mesh: None takes all devices.

    Example:
        >>> place({"w": jnp.ones((8, 2))}, data_parallel())["w"].is_fully_replicated
        True

    Source: Li et al. 2020, PyTorch Distributed: Experiences on Accelerating Data Parallel Training.
    """
    return Layout(make_mesh() if mesh is None else _checked(mesh), _copied)


def fsdp(mesh: Mesh | None = None, *, smallest: int = 2**14) -> Layout:
    """Each device has a part of the batch, and a part of the state too: parameters, and what the optimizer keeps.

    Each leaf is cut along its largest axis that the number of devices divides. What has none, or is small, is copied.
    XLA gathers a weight where a layer needs it, and adds up and cuts its gradient: fully sharded data parallelism.

    Args:
        mesh: None takes all devices.
        smallest: numbers in a leaf from which on it is cut; it is cheaper to copy the small ones.

    Raises:
        ValueError: `smallest` below 1.

    Example:
        >>> layout = fsdp(make_mesh(), smallest=1)
        >>> place({"w": jnp.ones((2, 16)), "b": jnp.ones(3)}, layout)["w"].sharding.spec[1]
        'data'

    Source: Rajbhandari et al. 2020, ZeRO: Memory Optimizations Toward Training Trillion Parameter Models, stage 3.
    """
    mesh = make_mesh() if mesh is None else _checked(mesh)
    check_count("smallest", smallest)
    parts = mesh.shape[AXIS]

    def spec(path: str, leaf: jax.ShapeDtypeStruct) -> PartitionSpec:
        del path
        cuttable = [axis for axis, length in enumerate(leaf.shape) if length and length % parts == 0]
        if not cuttable or np.prod(leaf.shape) < smallest:
            return PartitionSpec()
        largest = max(cuttable, key=lambda axis: leaf.shape[axis])
        return PartitionSpec(*[None] * largest, AXIS)

    return Layout(mesh, spec)


def shardings(tree: Any, layout: Layout) -> Any:
    """Where each leaf lies: a tree of `jax.sharding.NamedSharding`, such as `jax.jit(out_shardings=...)` takes.

    Raises:
        TypeError: not a layout, or it gives something else than a `PartitionSpec`.
        ValueError: a `PartitionSpec` that the leaf or the mesh does not bear; the leaf is named.

    Example:
        >>> shardings({"b": jnp.ones(3)}, data_parallel())["b"].is_fully_replicated
        True
    """
    check_layout(layout)
    leaves = [_lies(name, leaf, layout) for name, leaf in named_leaves(tree).items()]
    return jax.tree.unflatten(jax.tree.structure(tree), leaves)


def place(tree: Any, layout: Layout) -> Any:
    """A state with its arrays where the layout says, typed keys too; every process gives the same numbers.

    Args:
        tree: such as `fnn.train.init_state` makes; it may lie on other devices, of another layout for instance.
        layout: such as `fsdp()`.

    Raises:
        ValueError: the numbers of one process are not those of another; and as `shardings`.
        TypeError: as `shardings`.

    Example:
        >>> state = place({"w": jnp.ones(2), "key": jax.random.key(0)}, data_parallel())
        >>> len(state["w"].devices()) == len(jax.devices())
        True
    """
    where = shardings(tree, layout)
    if len({device.process_index for device in layout.mesh.devices.flat}) == jax.process_count() > 1:
        numbers = {name: digest(leaf) for name, leaf in named_leaves(tree).items()}
        check_agreed("tree", numbers, "Make it from the same key and data in each.")
    # Not jax.device_put, which refuses keys where another process has some of the devices.
    return jax.jit(lambda t: t, out_shardings=where)(jax.tree.map(lambda leaf: movable(leaf, layout.mesh), tree))


def spread(batch: Batch, layout: Layout) -> Batch:
    """A batch, or the keys of a population, cut over the devices; each process gives the whole and keeps its part.

    Args:
        batch: a tree of arrays with one leading axis.
        layout: such as `data_parallel()`.

    Raises:
        ValueError: the number of devices does not divide the leading axis, or there is none.
        TypeError: a leaf that is no array, or not a layout.

    Example:
        >>> spread(jnp.arange(16.0), data_parallel()).devices() == set(jax.devices())
        True
    """
    for name, leaf in named_leaves(batch).items():
        argument = f"batch leaf {name!r}" if name else "batch"
        check_array(argument, leaf)
        if not np.ndim(leaf):
            raise ValueError(message(argument, "a scalar", "an array whose first axis can be cut"))
        check_divides(argument, len(leaf), layout)
    batch = jax.tree.map(lambda leaf: movable(leaf, layout.mesh), batch)
    return jax.jit(lambda b: b, out_shardings=layout.batch)(batch)


def sharded(step: Callable[[Any, Batch], tuple[Any, Metrics]], layout: Layout) -> Callable[..., tuple[Any, Metrics]]:
    """The same pure step, which keeps the state and cuts the batch as the layout says: to `jit`, in `run` too.

    It computes what `step` computes, but for the order in which devices add up. A batch that the devices do not
    divide, such as the rest at the end of an epoch, is computed whole on each.

    Args:
        step: (state, batch) to (state, metrics).
        layout: such as `fsdp()`.

    Example:
        >>> step = lambda state, batch: ({"w": state["w"] + batch.sum()}, {})
        >>> state, _ = jax.jit(sharded(step, data_parallel()))({"w": jnp.zeros(())}, jnp.ones(16))
        >>> float(state["w"])
        16.0

    Source: Xu et al. 2021, GSPMD: General and Scalable Parallelization for ML Computation Graphs.
    """
    check_callable("step", step, "a function (state, batch) -> (state, metrics)")
    check_layout(layout)

    def on_mesh(state: Any, batch: Batch) -> tuple[Any, Metrics]:
        state, metrics = step(_kept(state, layout), jax.tree.map(lambda leaf: _cut(leaf, layout), batch))
        return _kept(state, layout), metrics

    return on_mesh


def check_layout(layout: Any) -> None:
    """Refuses what is no layout, or one of one's own on a mesh that will not do.

    Example:
        >>> check_layout(make_mesh())
        Traceback (most recent call last):
        TypeError: layout: got a Mesh, expected a Layout. Such as fnn.parallel.fsdp().
    """
    if not isinstance(layout, Layout):
        raise TypeError(message("layout", kind(layout), "a Layout", "Such as fnn.parallel.fsdp()."))
    _checked(layout.mesh)
    check_callable("layout.spec", layout.spec, "a function (path, leaf) -> PartitionSpec")


def check_divides(argument: str, count: int, layout: Layout) -> None:
    """Refuses so many examples that the devices do not divide.

    Example:
        >>> check_divides("batch_size", 0, data_parallel())
        Traceback (most recent call last):
        ValueError: batch_size: got 0 examples, expected a multiple of ... devices.
    """
    check_layout(layout)
    if count == 0 or count % layout.size:
        raise ValueError(message(argument, f"{count} examples", f"a multiple of {layout.size} devices"))


def _lies(name: str, leaf: Any, layout: Layout) -> NamedSharding:
    """Where one leaf lies, as the layout says; JAX's own errors would not name it."""
    shape = np.shape(leaf)
    spec, argument = layout.spec(name, jax.ShapeDtypeStruct(shape, _dtype(leaf))), f"layout.spec of {name!r}"
    if not isinstance(spec, PartitionSpec):
        raise TypeError(message(argument, kind(spec), "a PartitionSpec", "PartitionSpec() is a copy on each device."))
    if len(spec) > len(shape):
        raise ValueError(message(argument, f"{spec} for the shape {shape}", "no more axes than the leaf has"))
    try:
        sharding = NamedSharding(layout.mesh, spec)
        sharding.shard_shape(shape)
    except Exception as error:  # not all of JAX's are a ValueError
        remedy = "PartitionSpec() is a copy on each device."
        got = f"{spec} for the shape {shape} ({error})"
        raise ValueError(message(argument, got, "axes of the mesh that divide the leaf's", remedy)) from error
    return sharding


def _kept(state: Any, layout: Layout) -> Any:
    return jax.lax.with_sharding_constraint(state, shardings(state, layout))


def _cut(leaf: Any, layout: Layout) -> Any:
    if np.ndim(leaf) == 0 or np.shape(leaf)[0] % layout.size:
        return leaf
    return jax.lax.with_sharding_constraint(leaf, layout.batch)


def _copied(path: str, leaf: jax.ShapeDtypeStruct) -> PartitionSpec:
    del path, leaf
    return PartitionSpec()


def _dtype(leaf: Any) -> Any:
    return leaf.dtype if hasattr(leaf, "dtype") else np.result_type(leaf)


def _checked(mesh: Mesh) -> Mesh:
    if not isinstance(mesh, Mesh) or AXIS not in mesh.shape:
        got = f"axes {mesh.axis_names}" if isinstance(mesh, Mesh) else kind(mesh)
        raise ValueError(message("mesh", got, f"a Mesh with an axis {AXIS!r}", "fnn.parallel.make_mesh() makes one."))
    if mesh.axis_types[mesh.axis_names.index(AXIS)] != AxisType.Auto:
        remedy = "fnn.parallel.make_mesh() makes one; jax.make_mesh takes axis_types=(AxisType.Auto,)."
        raise ValueError(message("mesh", "an explicit axis", "axes of the kind AxisType.Auto", remedy))
    return mesh
