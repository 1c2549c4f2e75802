"""The check of a layer."""

from collections.abc import Iterable, Mapping
from typing import Any

from fnn.errors import check_count
from fnn.laws.checking import check_laws
from fnn.laws.layer import first, modes, output
from fnn.laws.layer.subject import Net
from fnn.laws.report import Report
from fnn.laws.statement import Law

LAWS: tuple[Law, ...] = (*first.LAWS, *modes.LAWS, *output.LAWS)


def check_layer(
    layer: Any,
    x: Any,
    *,
    traits: Mapping[str, bool] | None = None,
    expected: Mapping[str, str] | None = None,
    laws: Iterable[str | Law] | None = None,
    examples: int = 20,
) -> Report:
    """Checks a layer, or a whole network, against the laws of layers.

    Init is pure, and knows of a batch its shape alone; evaluation needs no key and changes no state; noise
    follows the key; gradients pass finite differences in float64; no example touches another; every
    parameter counts; the same numbers under jit, vmap and scan, from one trace.

    Args:
        layer: an `fnn.nn.Layer`, or anything with its `init` and `apply`; `fnn.interop` makes one of Flax's.
        x: an example batch, (n, ...), or its `jax.ShapeDtypeStruct`: then the numbers are drawn.
        traits: traits as you know them, by name; the others are seen.
            "per_example": no example depends on another, in evaluation; taken for granted;
            "stateless": it has no state, so that this holds in training too;
            "noisy": it draws noise in training, and needs a key there;
            "random_init": its key draws some first parameters;
            "floating": its input is of floating-point numbers.
        expected: laws that are known to be broken, each with the reason; one that holds is an error.
        laws: names of the laws to check, or laws of your own made with `fnn.laws.law`; None checks all.
        examples: how many cases Hypothesis tries for each law that it searches.

    Returns:
        A report with a row for each law. `print(report)` shows it; `report.raise_if_broken()` is for tests.

    Raises:
        ValueError, TypeError: not a layer, not a batch, unknown names; functions that take or return anything
            but a layer's; what the layer's init raises.
        ImportError: Hypothesis is not installed.

    Example:
        >>> import fnn
        >>> laws = ["init_is_pure", "training_asks_for_its_key", "gradient_is_right"]
        >>> for row in check_layer(fnn.nn.dense(2), jnp.ones((4, 3)), laws=laws).rows:
        ...     print(row.law, "|", row.verdict, "|", row.note)
        init_is_pure | held |
        training_asks_for_its_key | does not apply | it draws nothing in training
        gradient_is_right | held |
    """
    check_count("examples", examples)
    return check_laws(Net(layer, x, traits), LAWS, laws=laws, expected=expected, examples=examples)
