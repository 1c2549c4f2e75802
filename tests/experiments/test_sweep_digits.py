"""The sweep on the digits: it prints its table, writes its pictures, and finds that small learning rates are worse."""

from dataclasses import replace
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import fnn
from experiments.common import console
from experiments.sweep_digits import Digits, Options, hyperparameters, main

SMALL = Options(combinations=12, seeds=2, epochs=2, widest=16)


def test_table_and_pictures_are_written(tmp_path: Path) -> None:
    with console.capture() as printed:
        main(replace(SMALL, out=tmp_path))
    for words in ("val_loss, mean", "... and 2 more", "24 networks in", "test accuracy, mean of 2 seeds"):
        assert words in printed.get()
    folder = tmp_path / "sweep_digits"
    assert len((folder / "table.txt").read_text(encoding="utf-8").splitlines()) == 14
    for name in ("all_combinations", "learning_rate_and_width", "learning_rate_and_dropout"):
        assert (folder / f"{name}.png").stat().st_size > 10_000


def test_numbers_are_drawn_within_their_bounds() -> None:
    hparams = hyperparameters(Options())
    assert hparams["learning_rate"].shape == (250,)
    assert set(np.asarray(hparams["width"]).tolist()) == {8, 16, 32, 64}
    assert 0 <= float(hparams["dropout"].min()) < float(hparams["dropout"].max()) < 0.6


def test_a_larger_learning_rate_learns_more_in_two_epochs() -> None:
    hparams = {"learning_rate": jnp.array([1e-4, 1e-2]), "width": jnp.array([16, 16]), "dropout": jnp.zeros(2)}
    results = fnn.sweep(Digits(SMALL).train, hparams, jax.random.split(jax.random.key(0), 2))
    assert results.best().index == 1
    assert results.best("test_accuracy").mean > 0.7


def test_a_wrong_option() -> None:
    with pytest.raises(ValueError, match=r"^combinations: got 0, expected an integer >= 1"):
        main(replace(SMALL, combinations=0))
