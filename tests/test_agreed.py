"""What processes do not give alike is refused in all of them, by the same words."""

from typing import Any

import jax
import numpy as np
import pytest
from jax.experimental import multihost_utils

from fnn.agreed import check_agreed


def test_alone_all_agree() -> None:
    check_agreed("step", object())


@pytest.mark.parametrize("first", ["own", "other"])
def test_the_processes_that_differ_are_named(first: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def gathered(own: Any) -> np.ndarray:
        return np.stack([own, own + 1, own, own + 1] if first == "own" else [own + 1, own, own + 1, own])

    monkeypatch.setattr(jax, "process_count", lambda: 4)
    monkeypatch.setattr(multihost_utils, "process_allgather", gathered)
    with pytest.raises(
        ValueError, match="step: got in process 1, 3 another than in process 0, expected the same in all"
    ):
        check_agreed("step", 3)


def test_what_is_the_same_passes_and_its_name_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[list[int]] = []

    def gathered(own: Any) -> np.ndarray:
        seen.append(own.tolist())
        return np.stack([own, own])

    monkeypatch.setattr(jax, "process_count", lambda: 2)
    monkeypatch.setattr(multihost_utils, "process_allgather", gathered)
    for name, value in (("step", 3), ("step", 3), ("step", 4), ("tree", 3)):
        check_agreed(name, value)
    assert seen[0] == seen[1]
    assert len({tuple(one) for one in seen}) == 3
