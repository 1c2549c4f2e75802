"""What is chosen from what was measured."""

from typing import Any, NamedTuple

import jax
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


class Device(NamedTuple):
    platform: str


@pytest.fixture(params=[1, 4], ids="{} GPUs".format)
def gpus(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(jax, "local_devices", lambda: [Device("gpu")] * request.param)
    return request.param


def test_an_accelerator_is_filled_at_once(gpus: int) -> None:
    few = Form("vmap", 300)
    assert _drive(Pace(300, 1, None, lambda form: True), 300, {few: 1.0}) == [few]
    many = Form("vmap", 1024 * gpus)
    assert _drive(Pace(2048 * gpus, 1, None, lambda form: True), 2048 * gpus, {many: 1e-4}) == [many, many]


def test_calls_that_fill_an_accelerator_are_equally_large(gpus: int) -> None:
    half, count = Form("vmap", 550 * gpus), 1100 * gpus
    assert _drive(Pace(count, 1, None, lambda form: True), count, {half: 1e-4}) == [half, half]


@pytest.mark.parametrize("faster", [True, False])
def test_a_long_sweep_looks_whether_more_at_once_are_faster(gpus: int, faster: bool) -> None:
    usual, more = Form("vmap", 1024 * gpus), Form("vmap", 4096 * gpus)
    count = 9 * 1024 * gpus
    asked = _drive(Pace(count, 1, None, lambda form: True), count, {usual: 2.0, more: 1.0 if faster else 3.0})
    assert asked[:2] == [usual, more]
    assert set(asked[2:]) == {more if faster else usual}


def test_nets_too_large_for_an_accelerator_are_fewer_at_once(gpus: int) -> None:
    looked: list[int] = []

    def fits(form: Form) -> bool:
        looked.append(form.chunk)
        return form.chunk <= 100 * gpus

    few: Any = Form("vmap", 16 * gpus)
    asked = _drive(Pace(4096 * gpus, 1, None, fits), 4096 * gpus, {few: 1.0})
    assert set(asked) == {few}
    # Whether more fit where fewer do not is not asked: each answer takes a program.
    assert looked == [1024 * gpus, 128 * gpus, 16 * gpus]
