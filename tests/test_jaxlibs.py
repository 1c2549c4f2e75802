"""A jaxlib that is known to compute wrong numbers: one warning, at the first run, and never at import."""

import os
import subprocess
import sys
import warnings
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import pytest

import fnn
from fnn import jaxlibs

X = jnp.linspace(-1.0, 1.0, 8)[:, None]
DATA = fnn.data.Dataset(X, 2 * X)
NET, TX = fnn.nn.mlp([1]), fnn.optim.sgd(0.1)
KEY = jax.random.key(0)


def _run() -> Any:
    step = fnn.train.make_step(fnn.train.supervised(NET, fnn.losses.squared_error), TX)
    state = fnn.train.init_state(KEY, NET, TX, X)
    return jax.jit(fnn.train.run(step, DATA, batch_size=4, epochs=1))(state)


def _fit() -> Any:
    return fnn.fit(NET, fnn.losses.squared_error, TX, DATA, key=KEY, epochs=1, batch_size=4, progress=False)


def _sweep() -> Any:
    hparams, keys = {"x": jnp.arange(2.0)}, jax.random.split(KEY, 1)
    return fnn.sweep(lambda hparams, key: hparams["x"] ** 2, hparams, keys, mode="vmap", progress=False)


@pytest.fixture
def bad(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jaxlibs, "installed", lambda: "0.10.2")
    monkeypatch.setattr(jaxlibs, "_warned", False)


@pytest.mark.usefixtures("bad")
@pytest.mark.parametrize("train", [_run, _fit, _sweep])
def test_the_first_run_warns_and_no_other(train: Callable[[], Any]) -> None:
    with pytest.warns(RuntimeWarning, match=r"jaxlib 0\.10\.2 .* `python -m fnn doctor` checks this machine") as seen:
        train()
    assert len(seen) == 1
    train()  # a warning is an error here


@pytest.mark.parametrize("release", ["0.10.1", "0.11.0", "0.99.0"])
def test_other_releases_do_not_warn(release: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jaxlibs, "installed", lambda: release)
    monkeypatch.setattr(jaxlibs, "_warned", False)
    _run()


@pytest.mark.usefixtures("bad")
def test_another_platform_does_not_warn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        jaxlibs.warn_once()


@pytest.mark.usefixtures("bad")
def test_where_the_warning_is_an_error_it_is_raised_once() -> None:
    with pytest.raises(RuntimeWarning, match="jax issue 39103"):
        _run()
    _run()


def test_import_does_not_warn() -> None:
    program = "import jax, jaxlib.version as v; v.__version__ = '0.10.2'; import fnn; print(fnn.jaxlibs.installed())"
    done = subprocess.run([sys.executable, "-W", "error", "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["0.10.2"]


def test_a_good_release_starts_no_backend() -> None:
    program = (
        "import fnn.jaxlibs as j; j.installed = lambda: '0.99'; j.warn_once(); "
        "from jax._src import xla_bridge; print(xla_bridge.backends_are_initialized())"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False"]


@pytest.mark.usefixtures("bad")
def test_with_the_flag_that_mends_it_there_is_no_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XLA_FLAGS", jaxlibs.MENDS)
    _run()


@pytest.mark.skipif(jaxlibs.installed() not in jaxlibs.KNOWN, reason="nothing bad is known of this jaxlib")
def test_the_flag_mends_what_this_release_does_wrong() -> None:
    """In a process of its own: a program that 0.10.1 and 0.10.2 compute wrongly without it."""
    program = """
import jax, jax.numpy as jnp, numpy as np
rows = jnp.stack([jnp.arange(40000.0), jnp.zeros(40000), jnp.zeros(40000)], axis=1)
got = jax.jit(jax.vmap(lambda row: jnp.sum(jnp.eye(3) @ row)))(rows)
print(int((np.asarray(got) != np.arange(40000)).sum()))
"""
    wrong = []
    for flags in ("", jaxlibs.MENDS):
        command, environment = [sys.executable, "-c", program], os.environ | {"XLA_FLAGS": flags}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
        wrong.append(int(done.stdout))
    assert wrong == [40000 - 32768, 0]
