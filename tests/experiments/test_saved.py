"""The file of a saved network: what goes in comes out, and what is spoilt is refused."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

import fnn
from experiments import saved, vision
from experiments.mnist import DEFAULTS, EXPERIMENT
from experiments.vision import ImageOptions
from tests.experiments.images import write_idx, write_picture

OPTIONS = replace(DEFAULTS["mlp"], hidden=(4,))


def test_what_goes_in_comes_out(tmp_path: Path) -> None:
    path = tmp_path / "a" / "model.npz"
    params = {"dense_0": {"w": np.ones((2, 3), np.float32), "b": np.zeros(3, np.float16)}}
    saved.save(path, {"size": (2, 3), "name": "é"}, params=params, state={})
    model = saved.load(path, "")
    assert model.about == {"size": [2, 3], "name": "é"}
    again = saved.tree_like(params, "params", model, path)
    assert jax.tree.all(jax.tree.map(np.array_equal, params, again))
    assert again["dense_0"]["b"].dtype == np.float16
    assert saved.tree_like({}, "state", model, path) == {}
    assert [file.name for file in path.parent.iterdir()] == ["model.npz"]


def test_a_write_that_fails_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "model.npz"
    saved.save(path, {"run": 1})

    def full(*_: Any, **__: Any) -> None:
        raise OSError("no space left")

    monkeypatch.setattr(np, "savez", full)
    with pytest.raises(OSError, match="no space"):
        saved.save(path, {"run": 2})
    assert saved.load(path, "").about == {"run": 1}


def test_without_training_there_is_no_file(tmp_path: Path) -> None:
    match = r"model\.npz: got no such file, expected a saved model\. Train first: \S+ -m experiments\.mnist --data"
    with pytest.raises(FileNotFoundError, match=match):
        vision.main(EXPERIMENT, ImageOptions(out=tmp_path, predict=(tmp_path / "a.png",)))


def _rewritten(path: Path, change: Callable[[dict[str, Any], dict[str, Any]], Any]) -> None:
    about, arrays = saved.load(path, "")
    change(about, arrays)
    np.savez(path, **(arrays | {"about": np.array(json.dumps(about))}))  # pyright: ignore[reportArgumentType]


SPOILT: dict[str, tuple[Callable[[Path], Any], str]] = {
    "short": (lambda path: path.write_bytes(path.read_bytes()[:100]), r"got a broken file .* Delete it and train"),
    "empty": (lambda path: path.write_bytes(b""), r"model\.npz: got a broken file"),
    "another's": (lambda path: np.savez(path, w=np.ones(2)), r"model\.npz: got a broken file"),
    "new option": (
        lambda path: _rewritten(path, lambda about, _: about["options"].update(colour=1)),
        r"model\.npz: got the options .*colour.*, expected those of this version",
    ),
    "no classes": (
        lambda path: _rewritten(path, lambda about, _: about.pop("classes")),
        r"got the entries options, sh",
    ),
    "other options": (
        lambda path: _rewritten(path, lambda about, _: about["options"].update(hidden=[3])),
        r"got arrays of another network \(.*dense_0/w.*\), expected those that its options ask for",
    ),
    "an array less": (
        lambda path: _rewritten(path, lambda _, arrays: arrays.pop("params/mlp_0/dense_0/b")),
        r"got arrays of another network \(mlp_0/dense_0/b\)",
    ),
}


@pytest.mark.parametrize("case", SPOILT)
def test_a_spoilt_file_is_refused(case: str, tmp_path: Path) -> None:
    spoil, match = SPOILT[case]
    write_idx(tmp_path, 10)
    splits, net = fnn.data.mnist(tmp_path), vision.network(OPTIONS, 10)
    task = vision.Task(OPTIONS, splits, tuple("0123456789"), net, tmp_path / "mnist")
    vision.save(task, "model.npz", fnn.train.init_state(jax.random.key(0), net, fnn.optim.sgd(0.1), splits.test.x))
    spoil(tmp_path / "mnist" / "model.npz")
    write_picture(tmp_path / "a.png", 1)
    with pytest.raises(ValueError, match=match):
        vision.main(EXPERIMENT, ImageOptions(out=tmp_path, predict=(tmp_path / "a.png",)))
