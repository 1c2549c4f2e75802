"""What every docstring's example may take for granted."""

from typing import Any

import pytest


@pytest.fixture(autouse=True)
def _names(doctest_namespace: dict[str, Any]) -> None:
    import jax
    import jax.numpy as jnp
    import numpy as np
    import optax

    import fnn

    doctest_namespace.update(jax=jax, jnp=jnp, np=np, optax=optax, fnn=fnn)
