"""The lecture's coffee menu: four drinks, each told by what is in it."""

import jax.numpy as jnp

from fnn.data.dataset import Dataset

COFFEE_INGREDIENTS = ("espresso", "water", "milk", "ice")
"""What the columns of `coffee().x` are."""
COFFEE_DRINKS = ("ice americano", "americano", "ice latte", "latte")
"""The name of each class of `coffee().y`."""


def coffee() -> Dataset:
    """The menu as a data set of four examples: which ingredients make which drink.

    Returns:
        x float32 (4, 4), 1 where the drink has the ingredient (`COFFEE_INGREDIENTS`), else 0;
        y int32 (4,), the drink (`COFFEE_DRINKS`).

    Example:
        >>> menu = coffee()
        >>> for x, y in zip(menu.x, menu.y, strict=True):
        ...     has = [name for name, there in zip(COFFEE_INGREDIENTS, x, strict=True) if there]
        ...     print(int(y), COFFEE_DRINKS[y], "=", " + ".join(has))
        0 ice americano = espresso + water + ice
        1 americano = espresso + water
        2 ice latte = espresso + milk + ice
        3 latte = espresso + milk
    """
    x = [[1, 1, 0, 1], [1, 1, 0, 0], [1, 0, 1, 1], [1, 0, 1, 0]]
    return Dataset(jnp.array(x, jnp.float32), jnp.arange(4, dtype=jnp.int32))
