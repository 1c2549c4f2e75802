"""Strict settings for every test: 8 host devices, reproducible Hypothesis, real data only where it is given."""

import contextlib
import doctest
import io
import os
import re
import socket
import tempfile
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

# Read when JAX starts its backend, so it is set before anything imports jax.
# The third level of optimization, XLA's own choice, compiles for twice as long; tests compile most of the time.
_FLAGS: dict[str, Any] = {"--xla_force_host_platform_device_count": 8, "--xla_backend_optimization_level": 2}
if version("jaxlib").startswith("0.10."):
    # Fusions by way of MLIR take a quarter of all that the tests compute; later releases know no other way. What runs
    # under beartype, tests/test_types.py, is compiled as XLA chooses.
    _FLAGS["--xla_cpu_use_fusion_emitters"] = "false"
for _flag, _value in _FLAGS.items():
    if _flag not in os.environ.get("XLA_FLAGS", ""):
        os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {_flag}={_value}".strip()

# A program that one process has compiled is loaded by all others of this run: workers, and what tests start.
_CACHE = None if "JAX_COMPILATION_CACHE_DIR" in os.environ else tempfile.TemporaryDirectory(prefix="fnn-tests-")
if _CACHE is not None:
    os.environ |= {
        "JAX_COMPILATION_CACHE_DIR": _CACHE.name,
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
        # Each load is told as an error, since LLVM's wishes (prefer-no-gather) are no features of a processor.
        "TF_CPP_MIN_LOG_LEVEL": "3",
    }

import hypothesis  # noqa: E402
import pytest  # noqa: E402

# The same examples on every machine; `--hypothesis-profile=explore` looks for new ones.
hypothesis.settings.register_profile("ci", deadline=None, derandomize=True, database=None, print_blob=True)
hypothesis.settings.register_profile("explore", deadline=None)
hypothesis.settings.load_profile("ci")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--mnist",
        default=os.environ.get("FNN_MNIST"),
        metavar="FOLDER",
        help="folder of the four MNIST files (IDX, gzipped or plain); default: the environment variable FNN_MNIST",
    )


def pytest_unconfigure() -> None:
    if _CACHE is not None:  # in the first process alone
        _CACHE.cleanup()


@pytest.fixture(scope="session")
def mnist_path(request: pytest.FixtureRequest) -> Path:
    """The folder with the four MNIST files; without one the test is skipped, and says so."""
    given = request.config.getoption("--mnist")
    if not given:
        pytest.skip("needs the MNIST files: set FNN_MNIST or give --mnist FOLDER")
    folder = Path(given)
    if not folder.is_dir():
        pytest.fail(f"FNN_MNIST or --mnist: got {given}, which is no folder")
    return folder


@pytest.fixture(scope="session")
def processes() -> None:
    """Processes on CPUs find each other by the name of the host; where that does not resolve, the test is skipped."""
    try:
        socket.getaddrinfo(socket.gethostname(), None)
    except OSError as error:
        pytest.skip(f"several processes need a host whose own name resolves: {socket.gethostname()}, {error}")


_FENCE = re.compile(r"^```(python|py|text)\b[^\n]*\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def _blocks(text: str, kinds: tuple[str, ...]) -> Iterator[tuple[int, str, str | None]]:
    """Each block of these kinds: its first line, its code, and the text block right after it, if any."""
    found = list(_FENCE.finditer(text))
    for block, after in zip(found, [*found[1:], None], strict=True):
        if block[1] in kinds:
            follows = after is not None and after[1] == "text" and not text[block.end() : after.start()].strip()
            yield text.count("\n", 0, block.start(2)), block[2], after[2] if after and follows else None


def _run_page(page: Path, *also: str) -> int:
    """Runs every python block of a page in one namespace; what it prints must be the text block after it.

    Blocks marked `py` are left out, since they need what is not always there, unless `also` names them.
    """
    names: dict[str, Any] = {"__name__": "__main__"}
    count = 0
    for line, code, expected in _blocks(page.read_text(encoding="utf-8"), ("python", *also)):
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            # The empty lines make a traceback point to the page's own line.
            exec(compile("\n" * line + code, str(page), "exec"), names)
        got = printed.getvalue()
        if expected is not None:
            flags = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
            same = doctest.OutputChecker().check_output(expected, got, flags)
            assert same, f"{page.name}:{line + 1} prints\n{got}\nand the page says\n{expected}"
        count += 1
    return count


@pytest.fixture
def run_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    """Runs the python blocks of a page, in an empty folder, and returns how many there were."""
    monkeypatch.chdir(tmp_path)
    return _run_page
