"""Saving from a thread: what is due is saved, the newest stay, a failure warns and is tried again."""

import threading
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import pytest

from fnn.checkpoint import Saver, latest, restore, steps

TREE = {"w": jnp.ones(3)}


def test_as_often_as_it_is_due(tmp_path: Path) -> None:
    with Saver(tmp_path, every=3600.0) as saver:
        for step in range(3):
            saver.offer(step, TREE)
    assert steps(tmp_path) == []
    with Saver(tmp_path, every=0.0, keep=2) as saver:
        for step in range(4):
            saver.offer(step, TREE)
            saver.wait()
    assert steps(tmp_path) == [2, 3]


def test_none_is_begun_while_one_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    go, begun = threading.Event(), []

    def slow(directory: Path, step: int, tree: Any, **_: Any) -> None:
        begun.append(step)
        go.wait(10)

    monkeypatch.setattr("fnn.checkpoint.saver.save", slow)
    with Saver(tmp_path, every=0.0) as saver:
        for step in range(5):
            saver.offer(step, TREE)
        go.set()
    assert begun == [0]


def test_what_is_saved_is_what_was_offered_even_if_it_is_donated(tmp_path: Path) -> None:
    step = jax.jit(lambda tree: jax.tree.map(lambda w: w * 2, tree), donate_argnums=0)
    tree = {"w": jnp.ones(100_000)}
    with Saver(tmp_path, every=0.0) as saver:
        saver.offer(0, tree)
        for _ in range(3):
            tree = step(tree)
    assert float(restore(tmp_path, {"w": jnp.zeros(100_000)}, step=0)["w"].max()) == 1


def test_now_and_not_twice(tmp_path: Path) -> None:
    with Saver(tmp_path) as saver:
        saver.save(7, TREE)
        saver.save(7, TREE)
    assert steps(tmp_path) == [7]


def test_a_failure_is_a_warning_and_the_next_is_tried(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    full = True

    def write(*args: Any) -> None:
        if full:
            raise OSError(28, "No space left on device")

    with Saver(tmp_path, every=0.0) as saver:
        with monkeypatch.context() as patch:
            patch.setattr("fnn.checkpoint.folder._write", write)
            with pytest.warns(RuntimeWarning, match="no checkpoint of step 1: .+ No space left on device"):
                saver.save(1, TREE)
        saver.save(2, TREE)
    assert latest(tmp_path) == 2


def test_a_step_that_is_there_already_is_not_saved_again(tmp_path: Path) -> None:
    with Saver(tmp_path, every=0.0) as saver:
        for step in (1, 1, 2):
            saver.offer(step, TREE)
            saver.wait()
        saver.save(1, TREE)
    assert steps(tmp_path) == [1, 2]


def test_one_that_another_process_saved_meanwhile_is_a_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fnn.checkpoint.saver.steps", lambda folder: [])
    with Saver(tmp_path) as saver:
        saver.save(1, TREE)
        with pytest.warns(RuntimeWarning, match="no checkpoint of step 1: step: got 1, which is saved"):
            saver.save(1, TREE)


def test_a_leaf_that_cannot_be_saved_is_told_at_once(tmp_path: Path) -> None:
    saver = Saver(tmp_path, every=0.0)
    with pytest.raises(TypeError, match="tree leaf 'w': got a str"):
        saver.offer(1, {"w": "text"})


def test_another_working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    saver = Saver("here")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    saver.save(1, TREE)
    assert steps(tmp_path / "here") == [1]


def test_refused() -> None:
    with pytest.raises(ValueError, match="every: got -1, expected a finite number >= 0"):
        Saver("x", every=-1)
    with pytest.raises(ValueError, match="keep: got 0, expected an integer >= 1"):
        Saver("x", keep=0)
