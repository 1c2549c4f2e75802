"""What back-propagation is told as: quantities by layer, in the order of the forward pass."""

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, Generic, NamedTuple, TypeVar

import jax

from fnn.tree import named_leaves
from fnn.typing import Array, Params

T = TypeVar("T")


@jax.tree_util.register_pytree_with_keys_class
class ByLayer(Mapping[str, T], Generic[T]):
    """One value for each layer, by its path, in the order of the forward pass; a pytree.

    A dict would come out of `jit` in alphabetical order, "dense_10" before "dense_2".

    Example:
        >>> norms = ByLayer(["dense_2", "dense_10"], [1.0, 2.0])
        >>> list(jax.jit(lambda norms: jax.tree.map(lambda n: 2 * n, norms))(norms))
        ['dense_2', 'dense_10']
    """

    def __init__(self, names: Sequence[str], values: Sequence[T]):
        self._names, self._values = tuple(names), tuple(values)

    def __getitem__(self, name: str) -> T:
        try:
            return self._values[self._names.index(name)]
        except ValueError:
            raise KeyError(f"{name!r}: there are {', '.join(self._names)}") from None

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({dict(self)!r})"

    def tree_flatten_with_keys(self) -> tuple[Any, Any]:
        """As JAX asks for it."""
        keys = map(jax.tree_util.DictKey, self._names)
        return tuple(zip(keys, self._values, strict=True)), self._names

    @classmethod
    def tree_unflatten(cls, names: Any, values: Any) -> "ByLayer[T]":
        """As JAX asks for it."""
        return cls(names, values)


class Signals(NamedTuple):
    """What one layer sees of a batch, forward and backward.

    Attributes:
        z: what the layer gives, (n, ...): of a dense layer x W + b.
        a: the same after the activation that follows it, f(z); z where none follows.
        delta: dL/dz, for the mean loss L of the batch.
        da: dL/da.
        gradient: dL/dw for each of the layer's own parameters, by name; {} where there are none. Of a layer that is
            called several times it is the sum over its calls.
    """

    z: Array
    a: Array
    delta: Array
    da: Array
    gradient: Params

    @property
    def dw(self) -> Array:
        """dL/dW."""
        return self.gradient["w"]

    @property
    def db(self) -> Array:
        """dL/db."""
        return self.gradient["b"]


@jax.tree_util.register_pytree_with_keys_class
class Trace(Mapping[str, Signals]):
    """One batch through a network, forward and backward: each layer's `Signals` by its path; a pytree.

    Attributes:
        loss: L, the mean over the batch.
        gradient: dL/dparams, a tree like the parameters: what `jax.grad` gives.
        flows: each layer's (z, delta), and (a, da) where an activation follows, so that the tree holds no array twice.

    Example:
        >>> flows = ByLayer(["dense_0"], [(jnp.array([[2.0]]), jnp.array([[4.0]]))])
        >>> trace = Trace(jnp.array(4.0), {"dense_0": {"w": jnp.array([[8.0]])}}, flows)
        >>> trace["dense_0"].a.tolist(), trace["dense_0"].dw.tolist()
        ([[2.0]], [[8.0]])
    """

    def __init__(self, loss: Array, gradient: Params, flows: ByLayer[tuple[Array, ...]]):
        self.loss, self.gradient, self.flows = loss, gradient, flows

    def __getitem__(self, name: str) -> Signals:
        z, delta, *activated = self.flows[name]
        a, da = activated or (z, delta)
        return Signals(z, a, delta, da, own_leaves(self.gradient, name, self.flows))

    def __iter__(self) -> Iterator[str]:
        return iter(self.flows)

    def __len__(self) -> int:
        return len(self.flows)

    def __repr__(self) -> str:
        return f"Trace(loss={self.loss}, layers: {', '.join(self)})"

    def tree_flatten_with_keys(self) -> tuple[Any, Any]:
        """As JAX asks for it."""
        names = ("loss", "gradient", "flows")
        return tuple((jax.tree_util.GetAttrKey(name), getattr(self, name)) for name in names), None

    @classmethod
    def tree_unflatten(cls, _: Any, children: Any) -> "Trace":
        """As JAX asks for it."""
        return cls(*children)


def own_leaves(tree: Params, path: str, paths: Collection[str] = ()) -> Params:
    """The leaves of a tree like the parameters that belong to the layer at this path, not to layers inside it.

    Args:
        tree: the tree.
        path: the layer's path; "dense_0@2" is the second call of "dense_0".
        paths: of all layers; a network that is one layer owns the whole tree.

    Example:
        >>> own_leaves({"dense_0": {"w": 1.0, "b": 2.0}}, "dense_0")
        {'b': 2.0, 'w': 1.0}
    """
    path, own = re.sub(r"@\d+$", "", path), tree
    for name in path.split("/"):
        own = own.get(name) if isinstance(own, dict) else None
    if own is None and len(paths) == 1:
        return named_leaves(tree)
    inside = tuple(f"{other[len(path) + 1 :]}/" for other in paths if other.startswith(f"{path}/"))
    return {name: leaf for name, leaf in named_leaves(own).items() if not name.startswith(inside)}
