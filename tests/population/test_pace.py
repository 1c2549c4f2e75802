"""What is chosen from what was measured."""

import pytest

from fnn.population.pace import Pace
from fnn.population.program import Form


def _drive(pace: Pace, count: int, seconds: dict[Form, float], compiling: float = 1.0) -> list[Form]:
    """The forms that are asked for until all cells are done, where each form takes so long for a cell."""
    done, asked = 0, []
    while done < count:
        form = pace.next(done)
        cells = min(form.chunk, count - done)
        new = form not in asked
        asked.append(form)
        pace.tell(form, cells, cells * seconds[form], compiling if new else 0.0)
        done += cells
    return asked


VMAP_8, VMAP_32, VMAP_128, MAP = Form("vmap", 8), Form("vmap", 32), Form("vmap", 128), Form("map", 1)


@pytest.mark.parametrize("fastest", [VMAP_8, VMAP_32, VMAP_128, MAP])
def test_the_fastest_form_is_kept(fastest: Form) -> None:
    seconds = dict.fromkeys([VMAP_8, VMAP_32, VMAP_128, MAP], 2.0) | {fastest: 1.0}
    asked = _drive(Pace(2000, 1, None, lambda form: True), 2000, seconds)
    assert set(asked[:4]) == set(seconds)
    assert set(asked[4:]) == {fastest}


def test_nothing_else_is_tried_where_compiling_takes_longer() -> None:
    asked = _drive(Pace(100, 1, None, lambda form: True), 100, {VMAP_8: 0.01, Form("vmap", 4): 0.01})
    assert set(asked) == {VMAP_8}


def test_a_form_that_does_not_fit_into_memory_is_left_out() -> None:
    seconds = {VMAP_8: 1.0, MAP: 2.0, VMAP_32: 0.5, VMAP_128: 0.25}
    asked = _drive(Pace(1000, 1, None, lambda form: form.chunk <= 32), 1000, seconds)
    assert VMAP_128 not in asked
    assert asked[-1] == VMAP_32


def test_where_nothing_fits_cells_run_one_after_another() -> None:
    assert set(_drive(Pace(20, 1, None, lambda form: False), 20, {MAP: 1.0})) == {MAP}


def test_a_given_chunk_is_kept() -> None:
    seconds = {Form("vmap", 5): 2.0, Form("map", 5): 1.0}
    asked = _drive(Pace(100, 1, 5, lambda form: True), 100, seconds)
    assert set(asked) == set(seconds)
    assert asked[-1].mode == "map"


def test_every_lane_gets_a_cell() -> None:
    assert Pace(8, 4, None, lambda form: True).next(0) == Form("vmap", 2)
