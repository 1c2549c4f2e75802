"""An activation function as a layer."""

from jax.ad_checkpoint import checkpoint_name

from fnn import activations
from fnn.nn.layer import ACTIVATED, Layer, stateless
from fnn.typing import Activation


def activation(function: str | Activation) -> Layer:
    """Applies a function to every element, `a = f(z)`.

    The layer is named after the function: `relu_0`, `relu_1` in a `sequential`.

    Args:
        function: any Array -> Array, or a name from `fnn.activations`.

    Raises:
        ValueError: no activation has that name; the nearest ones are listed.

    Example:
        >>> activation("relu").apply({}, {}, jnp.array([-1.0, 2.0]))[0]
        Array([0., 2.], dtype=float32)
    """
    f = activations.get(function)
    name = getattr(f, "__name__", "activation")
    return stateless(name if name.isidentifier() else "activation", lambda z: checkpoint_name(f(z), ACTIVATED))
