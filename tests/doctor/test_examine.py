"""The diagnosis: what it tells, its one line, and the exit status of the command."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import fnn
from fnn import jaxlibs
from fnn.__main__ import main
from fnn.doctor import CHECKS, Case, Check, Diagnosis, check, examine, facts

Output = pytest.CaptureFixture[str]
Patch = pytest.MonkeyPatch


@check
def three_ones() -> list[Case]:
    """The sum of three ones is 3."""
    return [Case("3 numbers", jnp.sum, (np.ones(3, np.float32),), np.float32(3))]


@check
def four_ones() -> list[Case]:
    """The sum of four ones is 5, which is wrong."""
    return [Case("4 numbers", jnp.sum, (np.ones(4, np.float32),), np.float32(5))]


@check
def crash() -> list[Case]:
    """A program that does not compile."""
    return [Case("a crash", lambda x: x.reshape(7), (np.ones(3, np.float32),), np.float32(5))]


@pytest.fixture(autouse=True)
def _release(monkeypatch: Patch) -> None:
    monkeypatch.setattr(jaxlibs, "installed", lambda: "0.99.0")


def test_healthy() -> None:
    diagnosis = examine([three_ones])
    assert diagnosis.healthy
    assert diagnosis.verdict == "healthy: 1 check right on 8 devices (cpu)."
    lines = str(diagnosis).splitlines()
    assert lines[-1] == diagnosis.verdict
    assert lines[-2].startswith("right  three_ones")
    assert "nothing bad is known of this release" in str(diagnosis)


def test_wrong_numbers() -> None:
    diagnosis = examine([three_ones, four_ones, crash])
    assert not diagnosis.healthy
    assert diagnosis.verdict == (
        "WRONG NUMBERS: four_ones, crash on the cpu (2 of 3 checks); do not train with this backend; "
        "try without XLA_FLAGS, or install another jaxlib, such as jaxlib 0.11 or later (it needs Python 3.12)."
    )
    assert "4 numbers, compiled: 4 in place of 5\n" in str(diagnosis)
    assert diagnosis.findings[2].differences[0].startswith("a crash: TypeError: cannot reshape array")


def test_many_differences_are_counted_and_not_all_shown() -> None:
    case = Case("many", lambda x: [x] * 9, (np.float32(1),), [np.float32(2)] * 9)
    diagnosis = examine([Check("many", "Many.", lambda: [case])])
    assert "and 15 more" in str(diagnosis)  # nine here, and nine on each device


@pytest.mark.parametrize("name", [check.name for check in CHECKS])
def test_a_broken_backend_is_named_by_each_check(name: str) -> None:
    def broken(function: Callable[..., Any], **options: Any) -> Callable[..., Any]:
        return lambda *args: jax.tree.map(_last_one_off, jax.eval_shape(function, *args))

    [whole] = [check for check in CHECKS if check.name == name]
    small = whole._replace(cases=lambda: [next(iter(whole.cases()))._replace(eager=False)])
    diagnosis = examine([three_ones, small], compiler=broken)
    assert name in diagnosis.verdict
    assert diagnosis.verdict.startswith("WRONG NUMBERS: ")


def _last_one_off(shape: jax.ShapeDtypeStruct) -> np.ndarray:
    return np.full(shape.shape, 99).astype(shape.dtype)


def test_a_known_release_is_told(monkeypatch: Patch) -> None:
    monkeypatch.setattr(jaxlibs, "installed", lambda: "0.10.2")
    diagnosis = examine([three_ones])
    assert not diagnosis.healthy
    assert diagnosis.verdict.startswith(
        "WRONG NUMBERS: known of jaxlib 0.10.2 on the cpu, though no check met them here;"
    )
    assert "jax issue 39103" in " ".join(str(diagnosis).split())
    assert examine([four_ones]).verdict.endswith(
        "backend; start with XLA_FLAGS=--xla_cpu_experimental_ynn_fusion_type= or install jaxlib 0.11 or later "
        "(it needs Python 3.12)."
    )


def test_the_flag_that_mends_it(monkeypatch: Patch) -> None:
    monkeypatch.setattr(jaxlibs, "installed", lambda: "0.10.2")
    monkeypatch.setenv("XLA_FLAGS", "--xla_cpu_experimental_ynn_fusion_type= --other=1")
    assert examine([three_ones]).healthy
    monkeypatch.setenv("XLA_FLAGS", "--xla_cpu_experimental_ynn_fusion_type=1")
    assert not examine([three_ones]).healthy


def test_a_release_that_is_bad_elsewhere_is_healthy_and_told(monkeypatch: Patch) -> None:
    monkeypatch.setattr(jaxlibs, "installed", lambda: "0.10.2")
    fault = jaxlibs.KNOWN["0.10.2"]._replace(platforms=("gpu",))
    monkeypatch.setitem(jaxlibs.KNOWN, "0.10.2", fault)
    diagnosis = examine([three_ones])
    assert diagnosis.healthy
    assert "(jaxlib 0.10.2 is known for wrong numbers on the gpu: a vmapped matrix-vector" in diagnosis.verdict


def test_a_backend_that_does_not_start(monkeypatch: Patch) -> None:
    def fail() -> None:
        raise RuntimeError("Unable to initialize backend 'cuda'\nmore")

    monkeypatch.setattr(jax, "local_devices", fail)
    diagnosis = examine([three_ones])
    assert not diagnosis.healthy
    assert diagnosis.verdict == "NO BACKEND: JAX does not start (Unable to initialize backend 'cuda')."


def test_facts() -> None:
    known = facts.facts()
    assert list(known.versions) == ["python", "fnn", "jax", "jaxlib", "optax", "flax", "numpy"]
    assert known.versions["fnn"] == fnn.__version__
    assert "xla_force_host_platform_device_count=8" in known.settings["XLA_FLAGS"]
    assert len(known.devices) == 8
    assert "GiB free" in known.devices[0]
    with jax.enable_x64(True):
        assert facts.facts().settings["float64"] == "on (jax_enable_x64)"


def test_the_compilation_cache(tmp_path: Path) -> None:
    (tmp_path / "program").write_bytes(bytes(2_000_000))
    before = jax.config.values["jax_compilation_cache_dir"]
    jax.config.update("jax_compilation_cache_dir", str(tmp_path))
    try:
        assert facts.compilation_cache() == f"on, {tmp_path}, 2.0 MB in 1 files"
        jax.config.update("jax_compilation_cache_dir", None)
        assert facts.compilation_cache() == "off"
    finally:
        jax.config.update("jax_compilation_cache_dir", before)


def test_precision_of_products_is_measured(monkeypatch: Patch) -> None:
    def of_tf32(a: jax.Array, b: jax.Array) -> jax.Array:
        return jax.lax.reduce_precision(a, 8, 10) @ b

    assert facts.precision().endswith("products keep 23 bits, full float32")
    monkeypatch.setattr(jnp, "matmul", of_tf32)
    assert "keep 10 bits, TF32, about three decimal digits; for all of them set" in facts.precision()


def test_bad_arguments() -> None:
    with pytest.raises(TypeError, match=r"checks: got a str, expected self-checks\. Such as fnn\.doctor\.CHECKS\."):
        examine(["donation"])  # pyright: ignore[reportArgumentType]
    with pytest.raises(TypeError, match=r"compiler: got 3, expected a function such as jax\.jit\."):
        examine([], compiler=3)  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize(("checks", "status"), [([three_ones], 0), ([three_ones, four_ones], 1)])
def test_the_command(checks: list[Check], status: int, capsys: Output, monkeypatch: Patch) -> None:
    def examined() -> Diagnosis:
        return examine(checks)

    monkeypatch.setattr("fnn.doctor.command.examine", examined)
    assert main(["doctor"]) == status
    table = capsys.readouterr().out
    assert main(["doctor", "--json"]) == status
    told = json.loads(capsys.readouterr().out)
    assert told["verdict"] == table.splitlines()[-1]
    assert told["healthy"] == (status == 0)
    assert [row["name"] for row in told["checks"]] == [check.name for check in checks]
    assert told["versions"]["jax"] == jax.__version__


def test_a_wrong_call(capsys: Output) -> None:
    with pytest.raises(SystemExit) as left:
        main(["doctor", "--loud"])
    assert left.value.code == 2
    assert "unrecognized arguments: --loud" in capsys.readouterr().err
