"""Pictures of layers through training: which rows, in which order, on which scale."""

from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

from fnn import plot
from tests.plot.drawing import boxes, drawn, matplotlib, said

STEPS = np.array([0, 10, 20, 40])


def history(layers: int = 3, step: bool = True, more: dict[str, Any] | None = None) -> dict[str, Any]:
    """Of a network whose gradient shrinks tenfold a layer, on its way to the input."""
    falling = {f"dense_{i}/gradient_norm": np.full(4, 10.0 ** (i - layers)) for i in range(layers)}
    ratios = {f"dense_{i}/update_ratio": np.geomspace(1e-2, 1e-4, 4) * (i + 1) for i in range(layers)}
    return {**({"step": STEPS} if step else {}), **falling, **ratios, **(more or {})}


def rows(figure: Any) -> list[str]:
    return [label.get_text() for label in figure.axes[0].get_yticklabels()]


def shown(figure: Any) -> Any:
    (mesh,) = [a for a in figure.axes[0].collections if isinstance(a, matplotlib.collections.QuadMesh)]
    return mesh


def test_a_row_for_each_layer_the_first_at_the_bottom() -> None:
    figure = drawn(plot.gradient_flow(history()))
    assert rows(figure) == ["dense_0", "dense_1", "dense_2"]
    lows = figure.axes[0].get_yticks()
    assert lows[0] < lows[1] < lows[2]
    values = np.asarray(shown(figure).get_array())
    np.testing.assert_allclose(values[:, 0], [1e-3, 1e-2, 1e-1])
    assert (figure.axes[0].get_xlabel(), figure.axes[1].get_ylabel()) == ("step", "norm of the gradient")


def test_columns_stand_at_their_steps() -> None:
    figure = drawn(plot.gradient_flow(history()))
    edges = shown(figure).get_coordinates()[0, :, 0]
    np.testing.assert_allclose(edges, [-5, 5, 15, 30, 50])


def test_a_history_by_epoch() -> None:
    figure = drawn(plot.gradient_flow(history(step=False)))
    assert figure.axes[0].get_xlabel() == "epoch"
    np.testing.assert_allclose(shown(figure).get_coordinates()[0, :, 0], [0.5, 1.5, 2.5, 3.5, 4.5])


@pytest.mark.parametrize("one", [{"step": [7]}, {}])
def test_a_single_look(one: dict[str, Any]) -> None:
    given = {**one, "dense_0/gradient_norm": [0.5], "dense_0/update_ratio": [1e-3]}
    drawn(plot.gradient_flow(given))
    [line, _] = drawn(plot.update_ratios(given)).axes[0].get_lines()
    assert line.get_marker() == "o"


def test_texts_sorted_by_jit_are_sorted_by_number() -> None:
    names = [f"dense_{i}" for i in range(12)]
    by_text = {f"{name}/delta_norm": np.ones(2) for name in sorted(names)}
    assert rows(plot.gradient_flow(by_text, "delta_norm")) == names


def test_any_other_order_is_kept() -> None:
    names = ["conv_0", "residual_0/conv_0", "dense_10", "dense_2"]
    given = {f"{name}/delta_norm": np.ones(2) for name in names}
    assert rows(plot.gradient_flow(given, "delta_norm")) == names


def test_the_scale_is_logarithmic_where_it_spans_ten() -> None:
    kinds = matplotlib.colors
    assert isinstance(shown(plot.gradient_flow(history())).norm, kinds.LogNorm)
    near = {"a/gradient_norm": [1.0, 2.0], "b/gradient_norm": [3.0, 4.0]}
    assert not isinstance(shown(plot.gradient_flow(near)).norm, kinds.LogNorm)
    signed = {"a/z_mean": [-1.0, 100.0]}
    assert shown(drawn(plot.gradient_flow(signed, "z_mean"))).norm.vmin == -1


@pytest.mark.parametrize("quantity", ["dead", "saturated"])
def test_shares_go_from_0_to_1(quantity: str) -> None:
    figure = drawn(plot.gradient_flow({f"a/{quantity}": [0.0, 0.25]}, quantity))
    assert (shown(figure).norm.vmin, shown(figure).norm.vmax) == (0, 1)
    assert not np.ma.getmaskarray(shown(figure).get_array()).any()


def test_0_and_what_is_not_finite_stay_grey() -> None:
    given = {"a/gradient_norm": [1.0, 0.0, np.nan, np.inf], "b/gradient_norm": [1.0, 2.0, 3.0, 4.0]}
    mask = np.ma.getmaskarray(shown(drawn(plot.gradient_flow(given))).get_array())
    np.testing.assert_array_equal(mask, [[False, True, True, True], [False] * 4])


def test_layers_without_it_are_left_out() -> None:
    given = history(2, more={"dropout_0/gradient_norm": np.zeros(4), "dropout_0/update_ratio": np.zeros(4)})
    assert rows(plot.gradient_flow(given)) == ["dense_0", "dense_1"]
    assert "dropout_0" not in said(plot.update_ratios(given))


def test_nothing_but_zeros_is_drawn_all_the_same() -> None:
    zeros = {"a/gradient_norm": np.zeros(3), "a/update_ratio": np.zeros(3)}
    drawn(plot.gradient_flow(zeros))
    drawn(plot.update_ratios(zeros))


def test_ratios_are_lines_with_a_mark_at_a_thousandth() -> None:
    (axes,) = drawn(plot.update_ratios(history())).axes
    *lines, mark = axes.get_lines()
    assert [line.get_label() for line in lines] == ["dense_0", "dense_1", "dense_2"]
    assert axes.get_yscale() == "log"
    assert list(mark.get_ydata()) == [1e-3, 1e-3]
    np.testing.assert_array_equal(lines[0].get_xdata(), STEPS)


def test_each_has_a_title_of_its_own() -> None:
    assert "Norm of the gradient, by layer" in said(drawn(plot.gradient_flow(history())))
    assert "How far a step moves each layer" in said(drawn(plot.update_ratios(history())))
    figure = drawn(plot.update_ratios(history()))
    texts = dict(boxes(figure))
    mark, title, legend = (texts[word] for word in ("1e-3", "How far a step moves each layer", "dense_0"))
    assert not title.overlaps(legend)
    # The mark stands beside the axes, where no curve runs.
    [axes] = figure.axes
    assert mark.x0 >= axes.get_window_extent().x1


def test_of_many_layers_the_first_and_the_last_are_named() -> None:
    figure = drawn(plot.update_ratios(history(20)))
    words = said(figure)
    assert "dense_0" in words
    assert "dense_19" in words
    assert "dense_7" not in words
    colours = {line.get_color() for line in figure.axes[0].get_lines()[:-1]}
    assert len(colours) == 20


def test_no_text_leaves_the_picture() -> None:
    long = {f"sequential_0/residual_{i}/conv_0": 1 for i in range(5)}
    given = {f"{name}/{kind}": np.geomspace(1e-6, 1, 4) for name in long for kind in ("gradient_norm", "update_ratio")}
    for figure in (drawn(plot.gradient_flow(given)), drawn(plot.update_ratios(given))):
        width, height = figure.canvas.get_width_height()
        for text, box in boxes(figure):
            assert box.x0 >= -1, text
            assert box.y0 >= -1, text
            assert box.x1 <= width + 1, text
            assert box.y1 <= height + 1, text


def test_arrays_of_jax() -> None:
    drawn(plot.gradient_flow({"a/gradient_norm": jnp.array([1.0, 2.0])}))


def test_refused() -> None:
    with pytest.raises(ValueError, match=r"history: got no layer's statistics, expected a gradient_norm of each layer"):
        plot.gradient_flow({"loss": [1.0]})
    with pytest.raises(ValueError, match=r"history: got a/gradient_norm \(2, 3\)"):
        plot.gradient_flow({"a/gradient_norm": np.ones((2, 3))})
    with pytest.raises(ValueError, match="quantity: got 'gradient', expected one of"):
        plot.gradient_flow(history(), "gradient")
    with pytest.raises(ValueError, match="expected a update_ratio of each layer"):
        plot.update_ratios({"a/gradient_norm": [1.0]})
