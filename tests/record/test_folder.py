"""A record comes back from its folder as it was, part by part; a broken file is named."""

import json
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import fnn
from fnn.population import Results
from fnn.record import Examples, load, save

HISTORY = {"loss": np.array([2.0, 0.1, np.nan]), "val_loss": np.array([2.5, np.inf, 1e-30])}
LAYERS = {"step": np.array([0, 5]), "dense_10/dead": np.array([0.0, 0.5]), "dense_2/dead": np.array([0.25, 1.0])}
EXAMPLES = Examples(np.arange(8, dtype=np.uint8).reshape(2, 2, 2), [0, 1], [[0.9, 0.1], [0.2, 0.8]], ["cat", "dog"])


def sweep(hparams: Any, values: Any) -> Results:
    keys = jax.random.split(jax.random.key(4, impl="rbg"), 2)
    return Results(hparams, keys, values, jnp.ones((3, 2), bool))


def test_all_of_it_comes_back(tmp_path: Path) -> None:
    results = sweep({"rate": jnp.array([1.0, 2.0, 3.0])}, {"loss": jnp.arange(6.0).reshape(3, 2)})
    figures, settings = {"loss": jnp.array([0.5, 0.25])}, {"hidden": (64, 10), "out": Path("runs"), "rate": None}
    save(tmp_path, title="A run", figures=figures, settings=settings, history=HISTORY, layers=LAYERS)
    save(tmp_path, examples=EXAMPLES, sweep=results)
    found = load(tmp_path)
    assert (found.title, found.figures) == ("A run", {"loss": [0.5, 0.25]})
    assert found.settings == {"hidden": [64, 10], "out": "runs", "rate": None}
    assert found.versions["jax"] == jax.__version__
    for got, given in ((found.history, HISTORY), (found.layers, LAYERS)):
        # In the order given, so that layers stand from input to output.
        assert list(got) == list(given)
        for name, values in given.items():
            np.testing.assert_array_equal(got[name], values)
    assert found.examples is not None
    for got, given in zip(found.examples, EXAMPLES, strict=True):
        np.testing.assert_array_equal(got, given)
    assert np.asarray(found.examples.x).dtype == np.uint8
    assert found.sweep is not None
    assert jnp.array_equal(jax.random.key_data(found.sweep.keys), jax.random.key_data(results.keys))
    assert found.sweep.table() == results.table()


@pytest.mark.parametrize(
    ("hparams", "values"),
    [
        (jnp.array([1.0, 2.0, 3.0]), jnp.ones((3, 2))),
        ({"net": {"width": jnp.array([1, 2, 3])}}, {"loss": jnp.ones((3, 2)), "state": {"w": jnp.ones((3, 2, 4))}}),
    ],
)
def test_sweeps_of_other_trees(hparams: Any, values: Any, tmp_path: Path) -> None:
    results = sweep(hparams, values)
    save(tmp_path, sweep=results)
    found = load(tmp_path).sweep
    assert found is not None
    assert found.table() == results.table()
    for got, given in ((found.hparams, hparams), (found.values, values)):
        assert fnn.tree.named_leaves(got).keys() == fnn.tree.named_leaves(given).keys()


def test_numbers_of_half_the_width_come_back_wider(tmp_path: Path) -> None:
    save(tmp_path, sweep=sweep({"rate": jnp.ones(3)}, {"loss": jnp.full((3, 2), 0.5, jnp.bfloat16)}))
    found = load(tmp_path).sweep
    assert found is not None
    assert found["loss"].dtype == np.float32


def test_a_part_alone_and_the_others_stay(tmp_path: Path) -> None:
    save(tmp_path / "deep" / "run", history=HISTORY)
    save(tmp_path / "deep" / "run", layers=LAYERS)
    found = load(tmp_path / "deep" / "run")
    assert found.title == "run"
    assert list(found.history) == ["loss", "val_loss"]
    assert found.layers
    assert found.examples is found.sweep is None
    assert not found.figures


def test_a_network_as_a_table_or_as_a_text(tmp_path: Path) -> None:
    table = fnn.inspect.summary(fnn.nn.dense(3), jnp.ones((1, 2)))
    save(tmp_path, network=table)
    assert load(tmp_path).network == str(table)
    save(tmp_path, title="a run", network="two layers, ü\n")
    assert load(tmp_path).network == "two layers, ü"
    (tmp_path / "network.txt").write_bytes(b"\xff")
    with pytest.raises(ValueError, match=r"network\.txt: got a broken file"):
        load(tmp_path)


def test_an_empty_history_removes_the_one_before(tmp_path: Path) -> None:
    save(tmp_path, history=HISTORY, layers=LAYERS)
    save(tmp_path, layers={})
    assert not load(tmp_path).layers
    assert load(tmp_path).history


def test_no_epoch_is_a_history_too(tmp_path: Path) -> None:
    save(tmp_path, history={"loss": np.zeros(0)})
    assert load(tmp_path).history["loss"].shape == (0,)


def test_pictures_of_the_folder(tmp_path: Path) -> None:
    (tmp_path / "filters.png").write_bytes(b"a picture")
    assert load(tmp_path).pictures == {"filters": b"a picture"}


def test_an_older_file_stays_until_the_new_one_is_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save(tmp_path, history=HISTORY)

    def full(self: Path, content: bytes) -> int:
        with self.open("wb") as file:
            file.write(content[: len(content) // 2])
        raise OSError("No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OSError, match="No space"):
        save(tmp_path, history={"loss": np.ones(500)})
    assert len(load(tmp_path).history["loss"]) == 3


def test_a_history_of_several_runs(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"history: got loss \(2, 3\), expected arrays of one entry for each epoch"):
        save(tmp_path, history={"loss": np.ones((2, 3))})
    with pytest.raises(ValueError, match=r"history: got loss \(2,\), accuracy \(3,\)"):
        save(tmp_path, history={"loss": np.ones(2), "accuracy": np.ones(3)})
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["summary.json", "history.csv", "layers.csv", "examples.npz", "sweep.npz"])
@pytest.mark.parametrize("content", ["", "epoch,loss\n1", "[1]", "\x00\x01", None], ids=repr)
def test_a_broken_file_is_named(name: str, content: str | None, tmp_path: Path) -> None:
    results = sweep(np.ones(3), np.ones((3, 2)))
    save(tmp_path, title="run", history=HISTORY, layers=LAYERS, examples=EXAMPLES, sweep=results)
    whole = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(whole[: len(whole) // 2] if content is None else content.encode())
    with pytest.raises(ValueError, match=rf"{name}: got a broken file \(.+\), expected a file of fnn\.record\.save"):
        load(tmp_path)


def test_a_file_that_says_something_else(tmp_path: Path) -> None:
    (tmp_path / "summary.json").write_text(json.dumps({"figures": [1, 2], "title": 3}))
    with pytest.raises(ValueError, match=r"summary\.json: got a broken file"):
        load(tmp_path)


def test_nothing_there(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(
            FileNotFoundError, match=r"holds no run, expected a folder with summary\.json, network\.txt, history"
        ):
            load(folder)


def test_a_flipped_bit_in_an_archive_is_named(tmp_path: Path) -> None:
    save(tmp_path, examples=EXAMPLES)
    whole = (tmp_path / "examples.npz").read_bytes()
    for place in range(0, len(whole), 7):
        flipped = bytearray(whole)
        flipped[place] ^= 4
        (tmp_path / "examples.npz").write_bytes(flipped)
        try:
            load(tmp_path)  # a bit that means nothing, such as of a time, goes unseen
        except ValueError as error:
            assert "examples.npz: got a broken file" in str(error)  # noqa: PT017


def test_typed_keys_and_truths(tmp_path: Path) -> None:
    save(tmp_path, settings={"key": jax.random.key(7)}, history={"better": np.array([True, False])})
    found = load(tmp_path)
    assert found.settings == {"key": [0, 7]}
    assert found.history["better"].tolist() == [1, 0]
