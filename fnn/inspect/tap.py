"""A network's forward pass, with something done to what each of its layers gives."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import jax

from fnn.errors import message
from fnn.inspect.equations import called, evaluated, layers_of, parts, within
from fnn.nn.layer import ACTIVATED, OUTPUT
from fnn.typing import Array


class Site(NamedTuple):
    """A place in a program where a layer gives its output.

    Attributes:
        path: the layer's path, "residual_0/dense_0"; "" of a function that calls no layers, whose result is the site.
        activation: whether the layer is an activation function of what the layer before it gives.
        shape: of the output, and its dtype.
    """

    path: str
    activation: bool
    shape: jax.ShapeDtypeStruct


class Forward:
    """A network's forward pass as a program with sites, made from any function that calls layers.

    Args:
        function: any function of arrays.
        inputs: what it is called with, or their shapes.

    Raises:
        TypeError: the function gives something else than one array.

    Attributes:
        jaxpr: the program.
        sites: its sites, in the order in which it comes to them; a layer that is called twice has two.

    Example:
        >>> net = fnn.nn.mlp([3, 1])
        >>> params, state = net.init(jax.random.key(0), jnp.ones((2, 4)))
        >>> forward = Forward(lambda params, x: net.apply(params, state, x)[0], params, jnp.ones((2, 4)))
        >>> [(site.path, site.activation, site.shape.shape) for site in forward.sites]
        [('dense_0', False, (2, 3)), ('relu_0', True, (2, 3)), ('dense_1', False, (2, 1))]
        >>> double = [lambda y: 2 * y for _ in forward.sites]
        >>> float((forward(double, params, jnp.ones((2, 4))) / net.apply(params, state, jnp.ones((2, 4)))[0])[0, 0])
        8.0
    """

    def __init__(self, function: Callable[..., Any], *inputs: Any):
        # What a caller's own scopes add before it is cut off.
        marked = jax.named_scope(_MARK)(function)
        closed, shapes = jax.make_jaxpr(marked, return_shape=True)(*inputs)
        self.jaxpr, self._consts = closed.jaxpr, closed.consts
        if not isinstance(shapes, jax.ShapeDtypeStruct):
            raise TypeError(message("output of the network", f"a {type(shapes).__name__}", "one array"))
        inside = tuple(_sites(self.jaxpr))
        self._scopes = {site.path for site in inside}
        self.sites = tuple(site._replace(path=self.path(site.path)) for site in inside) or (Site("", False, shapes),)
        self._plain = not inside

    def __call__(self, taps: Sequence[Callable[[Array], Array]], *inputs: Any) -> Any:
        """The function's result where each site's output goes through its tap."""
        (result,) = _run(self.jaxpr, self._consts, jax.tree.leaves(inputs), iter(taps))
        return taps[0](result) if self._plain else result

    def path(self, scope: str) -> str:
        """The path of the innermost layer of a scope in the program; scopes that no layer opened are left out."""
        names = layers_of(scope.rpartition(_MARK)[2])
        return "/".join(name for count, name in enumerate(names, 1) if "/".join(names[:count]) in self._scopes)


# No name that someone gives to a scope of their own.
_MARK = "fnn.inspect.forward"


def _is_site(eqn: Any) -> bool:
    return eqn.primitive.name == "name" and eqn.params["name"] == OUTPUT


def _holds_sites(jaxpr: Any) -> bool:
    inner = (called(eqn) for eqn in jaxpr.eqns)
    return any(map(_is_site, jaxpr.eqns)) or any(_holds_sites(parts(i)[0]) for i in inner if i is not None)


def _sites(jaxpr: Any, scope: str = "") -> Iterator[Site]:
    activated = False
    # What follows from the last layer of each network in the program.
    following: dict[str, set[Any]] = {}
    for eqn in jaxpr.eqns:
        inner, read = called(eqn), {atom for atom in eqn.invars if not hasattr(atom, "val")}
        for found in following.values():
            found.update(eqn.outvars if found & read else ())
        if _is_site(eqn):
            path, aval = "/".join(layers_of(within(scope, eqn).rpartition(_MARK)[2])), eqn.outvars[0].aval
            before = following.get(path.rpartition("/")[0], set())
            yield Site(path, activated and bool(before & read), jax.ShapeDtypeStruct(aval.shape, aval.dtype))
            following[path.rpartition("/")[0]] = set(eqn.outvars)
        elif inner is not None and _holds_sites(parts(inner)[0]):
            yield from _sites(parts(inner)[0], within(scope, eqn))
        # An activation's layer gives what the activation gave, at once.
        activated = eqn.primitive.name == "name" and eqn.params["name"] == ACTIVATED


def _run(jaxpr: Any, consts: Sequence[Any], inputs: Sequence[Any], taps: Iterator[Callable[[Array], Array]]) -> Any:
    known = dict(zip([*jaxpr.constvars, *jaxpr.invars], [*consts, *inputs], strict=True))

    def read(atom: Any) -> Any:
        return atom.val if hasattr(atom, "val") else known[atom]

    for eqn in jaxpr.eqns:
        arrays, inner = [read(atom) for atom in eqn.invars], called(eqn)
        if _is_site(eqn):
            results = [next(taps)(arrays[0])]
        elif inner is not None and _holds_sites(parts(inner)[0]):
            results = _run(*parts(inner), arrays, taps)
        else:
            results = evaluated(eqn, arrays)
        known |= dict(zip(eqn.outvars, results, strict=True))
    return [read(atom) for atom in jaxpr.outvars]
