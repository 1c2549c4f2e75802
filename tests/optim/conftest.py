"""What the tests of all update rules share: awkward gradients, and two precisions to run a rule over them."""

from collections.abc import Callable, Iterator
from contextlib import nullcontext
from decimal import Decimal, localcontext
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from fnn.typing import Array

_to_decimal = np.vectorize(Decimal, otypes=[object])


class Precision(NamedTuple):
    """A dtype to run a rule in, and the numbers of that dtype with 60 digits for its oracle."""

    dtype: Any
    tolerance: float

    def exact(self, x: Any) -> Any:
        """x rounded to the dtype, then exact."""
        return _to_decimal(np.asarray(x, self.dtype).astype(np.float64))[()]

    def run(self, tx: optax.GradientTransformation, grads: np.ndarray, w: np.ndarray | None = None) -> np.ndarray:
        """The update that each row of gradients gives, as one scan."""
        first = jnp.asarray(grads[0] * 0 if w is None else w, self.dtype)

        def step(carry: tuple[Array, Any], g: Array) -> tuple[tuple[Any, Any], Any]:
            w, state = carry
            updates, state = tx.update(g, state, w)
            return (optax.apply_updates(w, updates), state), updates

        scan = jax.jit(lambda w, grads: jax.lax.scan(step, (w, tx.init(w)), grads)[1])
        return np.asarray(scan(first, jnp.asarray(grads, self.dtype)), np.float64)

    def check(self, got: np.ndarray, expected: np.ndarray, size: Any) -> None:
        """The relative error; of an update that is small beside the usual `size`, relative to that."""
        expected = expected.astype(np.float64)
        error = np.abs(got - expected) / np.maximum(np.abs(expected), size)
        worst = np.unravel_index(np.argmax(error), error.shape)
        assert np.all(error <= self.tolerance), f"{error[worst]:.1e} at {worst}: {got[worst]} for {expected[worst]}"


@pytest.fixture(params=["float32", "float64"])
def precision(request: pytest.FixtureRequest) -> Iterator[Precision]:
    wide = request.param == "float64"
    with jax.enable_x64(True) if wide else nullcontext(), localcontext(prec=60):
        yield Precision(np.dtype(request.param), 1e-12 if wide else 1e-6)


@pytest.fixture(scope="session")
def awkward() -> np.ndarray:
    """(200, 9): in each column another kind of gradient that update rules get wrong."""
    rng = np.random.default_rng(0)
    t = np.arange(200)
    columns = [
        np.ones(200),
        np.zeros(200),
        np.full(200, 1e-20),
        np.where(t == 50, 1e20, 1.0),
        np.where(t % 2, -1.0, 1.0),
        np.where(t % 7 == 3, rng.normal(size=200), 0.0),
        rng.normal(size=200),
        np.abs(rng.normal(size=200)) * 10.0 ** rng.uniform(-10, 10, size=200),
        np.where(t < 100, 1e-3, 1e3),
    ]
    # What both precisions hold exactly, so that they and their oracles see the same numbers.
    return np.stack(columns, axis=1).astype(np.float32).astype(np.float64)


@pytest.fixture(scope="session")
def torch_updates() -> Callable[..., np.ndarray]:
    """torch_updates(make, grads): the updates of one of PyTorch's optimizers, in float64."""
    torch = pytest.importorskip("torch")

    def updates(make: Callable[[Any, list[Any]], Any], grads: np.ndarray, w: np.ndarray) -> np.ndarray:
        parameter = torch.tensor(w, dtype=torch.float64, requires_grad=True)
        optimizer, positions = make(torch.optim, [parameter]), [np.array(w)]
        for g in grads:
            parameter.grad = torch.tensor(g, dtype=torch.float64)
            optimizer.step()
            positions.append(parameter.detach().numpy().copy())
        return np.diff(positions, axis=0)

    return updates
