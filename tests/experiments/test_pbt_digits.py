"""PBT on the digits: it beats where it started, prints its table, and draws who copied whom."""

from dataclasses import replace
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest

from experiments.common import console
from experiments.pbt_digits import BOUNDS, Options, Search, main, picture
from fnn.population import Evolved

SMALL = Options(members=6, rounds=4, hidden=8, seeds=2)


def test_table_and_picture_are_written(tmp_path: Path) -> None:
    with console.capture() as printed:
        main(replace(SMALL, out=tmp_path))
    for figure in ("validation loss", "test accuracy", "learning rate at the end", "random search", "Compiled in"):
        assert figure in printed.get()
    assert (tmp_path / "pbt_digits" / "paths.png").stat().st_size > 10_000
    assert max(map(len, printed.get().splitlines()[2:-1])) <= 80


def test_lines_come_from_the_parents() -> None:
    rates = jnp.array([[0.1, 0.2], [0.16, 0.2]])
    evolved = Evolved(
        states=(),  # pyright: ignore[reportArgumentType]
        scores=-jnp.array([[2.0, 1.0], [0.5, jnp.nan]]),
        hyperparams={"learning_rate": rates},
        parents=jnp.array([[0, 1], [1, 1]]),
    )
    figure = picture(evolved, epochs=3)
    lines = figure.axes[0].collections[0]
    pieces = {tuple(np.round(piece, 3).ravel().tolist()) for piece in lines.get_segments()}
    assert pieces == {(3.0, 0.2, 6.0, 0.16), (3.0, 0.2, 6.0, 0.2)}
    assert [axes.get_title() for axes in figure.axes[:2]] == ["learning rate", "validation loss"]


def test_the_best_of_some_is_found() -> None:
    search = Search(SMALL)
    evolved, found, _ = search.both(jnp.array(0))
    assert float(found.validation_loss) == pytest.approx(-float(evolved.scores[-1].max()), rel=1e-5)
    for name, (low, high) in BOUNDS.items():
        assert bool(((evolved.hyperparams[name] >= low) & (evolved.hyperparams[name] <= high)).all())


def test_a_wrong_option() -> None:
    with pytest.raises(ValueError, match=r"^members: got 1, expected an integer >= 2"):
        main(replace(SMALL, members=1))
