"""The coffee menu."""

import jax.numpy as jnp
import numpy as np

from fnn.data import COFFEE_DRINKS, COFFEE_INGREDIENTS, Dataset, coffee

MENU = {
    "ice americano": {"espresso", "water", "ice"},
    "americano": {"espresso", "water"},
    "ice latte": {"espresso", "milk", "ice"},
    "latte": {"espresso", "milk"},
}


def test_every_drink_has_its_ingredients() -> None:
    menu = coffee()
    read = {
        COFFEE_DRINKS[int(y)]: {name for name, there in zip(COFFEE_INGREDIENTS, x, strict=True) if there}
        for x, y in zip(np.asarray(menu.x), np.asarray(menu.y), strict=True)
    }
    assert read == MENU


def test_the_menu_is_as_the_lecture_writes_it() -> None:
    menu = coffee()
    assert isinstance(menu, Dataset)
    assert COFFEE_INGREDIENTS == ("espresso", "water", "milk", "ice")
    np.testing.assert_array_equal(menu.x, [[1, 1, 0, 1], [1, 1, 0, 0], [1, 0, 1, 1], [1, 0, 1, 0]])
    np.testing.assert_array_equal(menu.y, [0, 1, 2, 3])
    assert (menu.x.dtype, menu.y.dtype) == (jnp.float32, jnp.int32)
