"""Figures in words."""

import jax.numpy as jnp
import numpy as np
import pytest

from fnn.record import versions, worded


@pytest.mark.parametrize(
    ("name", "figure", "text"),
    [
        ("test accuracy", 0.98333, "98.33%"),
        ("test accuracy", [0.5, 0.7], "60.00% ± 14.14%"),
        ("loss", jnp.float32(0.25), "0.2500"),
        ("loss", np.array([1.0, 1.0]), "1.0000 ± 0.0000"),
        ("loss", [0.5], "0.5000"),
        ("loss", [], "[]"),
        ("steps", 12345, "12,345"),
        ("steps", [1, 3], "2.0000 ± 1.4142"),
        ("time", "3.2 s", "3.2 s"),
        ("guarded", True, "True"),
        ("patience", None, "None"),
        ("units", [[1], [1, 2]], "[[1], [1, 2]]"),
    ],
)
def test_worded(name: str, figure: object, text: str) -> None:
    assert worded({name: figure}) == {name: text}


def test_versions_name_what_a_result_depends_on() -> None:
    found = versions()
    assert {"python", "fnn", "jax", "jaxlib", "optax", "flax", "numpy", "backend", "devices"} == set(found)
    assert found["backend"] == "cpu"
    assert found["devices"] == "8 x cpu"
