"""The page for those who come from PyTorch: its programs in PyTorch run too, and both give the same."""

from collections.abc import Callable
from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="parity with PyTorch needs torch")

PAGE = Path(__file__).parents[1] / "docs" / "howto" / "from_pytorch.md"


def test_every_program_runs_with_those_in_pytorch(run_page: Callable[..., int]) -> None:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # the other libraries' threads take the rest
    try:
        assert run_page(PAGE, "py") == PAGE.read_text(encoding="utf-8").count("```py")
    finally:
        torch.set_num_threads(threads)
