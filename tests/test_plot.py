"""Pictures: what they show, that nothing is clipped or overlaps, and what they refuse."""

import io
import sys
from collections.abc import Callable, Iterator
from itertools import combinations
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

from fnn import plot
from fnn.data import COFFEE_DRINKS

matplotlib = pytest.importorskip("matplotlib")

RNG = np.random.default_rng(0)
EPOCHS = 12
HISTORY = {
    "accuracy": np.linspace(0.3, 0.99, EPOCHS),
    "grad_norm": np.geomspace(3, 0.1, EPOCHS),
    "loss": np.geomspace(2.3, 0.02, EPOCHS),
    "val_accuracy": np.linspace(0.3, 0.95, EPOCHS),
    "val_loss": np.r_[np.geomspace(2.3, 0.1, EPOCHS - 3), 0.15, 0.2, 0.3],
}
IMAGES = RNG.random((30, 20))
TRUTH = np.arange(30) % 3
CHANCES = RNG.dirichlet(np.ones(3), 30)
WRONG_ONES = int((CHANCES.argmax(axis=1) != TRUTH).sum())
WEIGHTS = RNG.normal(size=(20, 12))


def _drawn(figure: Any) -> Any:
    """The figure after it is laid out, as saving it does; every warning is an error here."""
    figure.savefig(io.BytesIO(), format="png")
    return figure


def _texts(figure: Any) -> Iterator[Any]:
    """All visible texts but the ticks outside of the view."""
    for text in figure.findobj(matplotlib.text.Text):
        if text.get_visible() and text.get_text().strip():
            yield text


def _said(figure: Any) -> list[str]:
    return [text.get_text() for text in _texts(figure)]


def _boxes(figure: Any) -> list[tuple[str, Any]]:
    """The boxes that texts fill, in pixels, but for tick labels, which matplotlib keeps beyond the view too."""
    ticks = [axis.get_ticklabels(which="both") for axes in figure.axes for axis in (axes.xaxis, axes.yaxis)]
    hidden = {id(text) for labels in ticks for text in labels}
    shown = [text for text in _texts(figure) if id(text) not in hidden]
    return [(text.get_text(), text.get_window_extent()) for text in shown]


GALLERY: dict[str, Callable[[], Any]] = {
    "curves": lambda: plot.learning_curves(HISTORY),
    "one curve": lambda: plot.learning_curves({"loss": HISTORY["loss"], "val_loss": HISTORY["val_loss"]}),
    "one epoch": lambda: plot.learning_curves({name: values[:1] for name, values in HISTORY.items()}),
    "matrix": lambda: plot.confusion_matrix(np.arange(100).reshape(10, 10) * 11),
    "matrix of names": lambda: plot.confusion_matrix(np.eye(4, dtype=int), COFFEE_DRINKS),
    "matrix of many": lambda: plot.confusion_matrix(np.eye(40, dtype=int) * 12),
    "errors": lambda: plot.worst_examples(IMAGES, TRUTH, CHANCES, shape=(4, 5)),
    "errors of long names": lambda: plot.worst_examples(
        IMAGES, TRUTH, CHANCES, shape=(4, 5), labels=["golden retriever", "tabby", "an uncommonly long name of a class"]
    ),
    "no errors": lambda: plot.worst_examples(IMAGES, TRUTH, np.eye(3)[TRUTH], shape=(4, 5)),
    "weights": lambda: plot.first_layer_weights(WEIGHTS, shape=(4, 5)),
    "one unit": lambda: plot.first_layer_weights(WEIGHTS[:, :1], shape=(4, 5)),
}


@pytest.mark.parametrize("name", GALLERY)
def test_no_text_is_clipped_or_lies_on_another(name: str) -> None:
    figure = _drawn(GALLERY[name]())
    boxes = _boxes(figure)
    assert boxes
    whole = figure.bbox
    clipped = [t for t, b in boxes if b.x0 < 0 or b.y0 < 0 or b.x1 > whole.x1 or b.y1 > whole.y1]
    assert not clipped
    assert not [(t, u) for (t, b), (u, c) in combinations(boxes, 2) if b.overlaps(c)]


@pytest.mark.parametrize("name", GALLERY)
def test_no_display_no_pyplot_and_no_settings_are_touched(name: str) -> None:
    before = dict(matplotlib.rcParams)
    loaded = "matplotlib.pyplot" in sys.modules
    assert type(GALLERY[name]()) is matplotlib.figure.Figure
    assert dict(matplotlib.rcParams) == before
    assert ("matplotlib.pyplot" in sys.modules) == loaded


# Learning curves.


def test_pairs_share_a_panel_and_the_loss_is_first() -> None:
    figure = _drawn(plot.learning_curves(HISTORY))
    assert [axes.get_ylabel() for axes in figure.axes] == ["mean loss", "accuracy", "norm of the gradient"]
    assert {axes.get_xlabel() for axes in figure.axes} == {"epoch"}
    # Training, validation, and the line of the best epoch.
    assert [len(axes.get_lines()) for axes in figure.axes] == [3, 3, 2]
    loss = figure.axes[0].get_lines()
    np.testing.assert_allclose(loss[0].get_ydata(), HISTORY["loss"])
    np.testing.assert_allclose(loss[1].get_ydata(), HISTORY["val_loss"])
    np.testing.assert_array_equal(loss[0].get_xdata(), np.arange(1, EPOCHS + 1))
    assert {"training", "validation"} <= set(_said(figure))
    assert loss[0].get_color() != loss[1].get_color()


def test_the_epoch_of_least_validation_loss_is_marked() -> None:
    best = int(np.argmin(HISTORY["val_loss"])) + 1
    figure = _drawn(plot.learning_curves(HISTORY))
    assert _said(figure).count(f"least validation loss: epoch {best}") == 1
    for axes in figure.axes:
        assert list(axes.get_lines()[-1].get_xdata()) == [best, best]
    assert not any("least" in text for text in _said(plot.learning_curves({"loss": [2.0, 1.0]})))


@pytest.mark.parametrize(
    ("name", "values", "scale"),
    [
        ("loss", [2.0, 0.2], "log"),
        ("loss", [2.0, 0.3], "linear"),
        ("loss", [2.0, 0.0], "linear"),
        ("loss", [2.0, -1.0], "linear"),
        ("loss", [2.0, 0.1, np.nan], "log"),
        ("loss", [np.nan, np.nan], "linear"),
        ("grad_norm", [10.0, 0.1], "log"),
        ("accuracy", [0.01, 0.9], "linear"),
        ("val_loss", [2.0, 0.1], "log"),
    ],
)
def test_a_wide_positive_loss_has_a_logarithmic_scale(name: str, values: list[float], scale: str) -> None:
    [axes] = _drawn(plot.learning_curves({name: values})).axes
    assert axes.get_yscale() == scale


def test_epochs_are_whole_numbers_and_logarithms_read_as_numbers() -> None:
    figure = _drawn(plot.learning_curves({"loss": [2.0, 1.0, 0.1]}))
    [axes] = figure.axes
    assert all(float(tick).is_integer() for tick in axes.get_xticks())
    labels = [label.get_text() for label in axes.get_yticklabels(which="both") if label.get_text()]
    assert {"0.1", "0.2", "0.5", "1", "2"} <= set(labels)
    assert not [label for label in labels if "10^" in label]


def test_arrays_of_jax_are_drawn() -> None:
    [axes] = plot.learning_curves({"loss": jnp.array([2.0, 1.0])}).axes
    np.testing.assert_array_equal(axes.get_lines()[0].get_ydata(), [2.0, 1.0])


# The confusion matrix.


def test_counts_stand_in_the_cells() -> None:
    counts = np.array([[30, 0], [10, 1234]])
    figure = _drawn(plot.confusion_matrix(counts, ["cat", "dog"]))
    axes = figure.axes[0]
    cells = {(text.get_position()[1], text.get_position()[0]): text for text in axes.texts}
    assert {place: text.get_text() for place, text in cells.items()} == {
        (0, 0): "30",
        (0, 1): "0",
        (1, 0): "10",
        (1, 1): "1234",
    }
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("predicted class", "true class")
    assert [label.get_text() for label in axes.get_yticklabels()] == ["cat", "dog"]
    assert axes.get_title() == "1,264 of 1,274 right"
    np.testing.assert_allclose(axes.images[0].get_array(), [[1, 0], [10 / 1244, 1234 / 1244]])


def test_every_number_is_readable_on_its_shade_and_zeros_are_dim() -> None:
    counts = np.array([[100 - i, i] for i in range(0, 101, 10)] + [[0, 0]] * 2).reshape(-1, 2)
    square = np.zeros((13, 13), int)
    square[:, :2] = counts
    axes = _drawn(plot.confusion_matrix(square)).axes[0]
    image = axes.images[0]
    for text in axes.texts:
        column, row = text.get_position()
        shade = _luminance(image.cmap(image.norm(image.get_array()[row, column])))
        ink = _luminance(matplotlib.colors.to_rgba(text.get_color()))
        contrast = (max(shade, ink) + 0.05) / (min(shade, ink) + 0.05)
        if text.get_text() == "0":
            assert contrast < 2.5
        else:
            assert contrast > 4.5  # What WCAG 2.1 asks of text.


def _luminance(colour: Any) -> float:
    channel = np.asarray(colour[:3])
    linear = np.where(channel <= 0.04045, channel / 12.92, ((channel + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])


def test_a_class_without_examples_is_no_division_by_zero() -> None:
    image = _drawn(plot.confusion_matrix([[0, 0], [1, 3]])).axes[0].images[0]
    np.testing.assert_allclose(image.get_array(), [[0, 0], [0.25, 0.75]])


@pytest.mark.parametrize(("classes", "texts"), [(10, 100), (40, 40), (300, 0)])
def test_many_classes_show_only_what_can_be_read(classes: int, texts: int) -> None:
    figure = plot.confusion_matrix(np.eye(classes, dtype=int) * 12)
    assert len(figure.axes[0].texts) == texts
    assert max(figure.get_size_inches()) < 15


# The worst examples.


def test_the_worst_come_first_with_their_labels_and_probabilities() -> None:
    chances = np.array([[0.3, 0.7], [0.9, 0.1], [0.6, 0.4], [0.999, 0.001]])
    truth = np.array([0, 0, 1, 1])
    x = np.arange(16.0).reshape(4, 4)
    figure = _drawn(plot.worst_examples(x, truth, chances, shape=(2, 2), labels=["cat", "dog"]))
    assert [axes.get_title() for axes in figure.axes] == [
        "true dog (0 %)\npredicted cat (100 %)",
        "true cat (30 %)\npredicted dog (70 %)",
        "true dog (40 %)\npredicted cat (60 %)",
    ]
    for axes, row in zip(figure.axes, [3, 0, 2], strict=True):
        np.testing.assert_array_equal(axes.images[0].get_array(), x[row].reshape(2, 2))


@pytest.mark.parametrize("count", [1, 5, 24])
def test_there_are_as_many_panels_as_errors_at_most(count: int) -> None:
    figure = plot.worst_examples(IMAGES, TRUTH, CHANCES, shape=(4, 5), count=count)
    assert 5 < WRONG_ONES < 24
    assert len(figure.axes) == min(count, WRONG_ONES)
    assert all(axes.images for axes in figure.axes)


def test_without_errors_the_picture_says_so() -> None:
    figure = _drawn(plot.worst_examples(IMAGES, TRUTH, np.eye(3)[TRUTH], shape=(4, 5)))
    assert _said(figure) == ["No example is\nclassified wrongly."]
    assert not figure.axes[0].images


@pytest.mark.parametrize(
    ("x", "shape", "drawn"),
    [
        (np.ones((1, 12)), (3, 4), (3, 4)),
        (np.ones((1, 3, 4, 1)), (3, 4), (3, 4)),
        (np.ones((1, 3, 4, 1)), (3, 4, 1), (3, 4)),
        (np.ones((1, 3, 4, 3)), (3, 4, 3), (3, 4, 3)),
        (RNG.normal(size=(1, 3, 4, 3)), (3, 4, 3), (3, 4, 3)),
    ],
)
def test_grey_and_colour_images_are_drawn(
    x: np.ndarray, shape: tuple[int, ...], drawn: tuple[int, ...], caplog: pytest.LogCaptureFixture
) -> None:
    figure = _drawn(plot.worst_examples(x, np.array([0]), np.array([[0.2, 0.8]]), shape=shape))
    assert figure.axes[0].images[0].get_array().shape == drawn
    assert not caplog.records  # matplotlib logs what it clips.


# The first layer's weights.


def test_units_are_ordered_by_norm_on_one_symmetric_scale() -> None:
    figure = _drawn(plot.first_layer_weights(WEIGHTS, shape=(4, 5), count=5))
    *panels, bar = figure.axes
    order = np.argsort(-np.linalg.norm(WEIGHTS, axis=0))[:5]
    assert len(panels) == 5
    limit = np.abs(WEIGHTS[:, order]).max()
    for axes, unit in zip(panels, order, strict=True):
        [image] = axes.images
        np.testing.assert_array_equal(image.get_array(), WEIGHTS[:, unit].reshape(4, 5))
        assert image.get_clim() == (-limit, limit)
    assert bar.get_ylabel() == "weight"
    assert "5 of 12 units, by norm" in _said(figure)


@pytest.mark.parametrize(("units", "panels"), [(1, 1), (12, 12), (100, 64)])
def test_there_are_as_many_panels_as_units_at_most(units: int, panels: int) -> None:
    figure = plot.first_layer_weights(np.ones((4, units)), shape=(2, 2))
    assert len(figure.axes) == panels + 1


def test_weights_of_zero_have_a_scale_too() -> None:
    figure = _drawn(plot.first_layer_weights(np.zeros((4, 2)), shape=(2, 2)))
    assert figure.axes[0].images[0].get_clim() == (-1, 1)


# Refusals.

GOOD = {"x": IMAGES, "y": TRUTH, "probabilities": CHANCES, "shape": (4, 5)}


def _worst(**changed: Any) -> Callable[[], Any]:
    arguments: dict[str, Any] = GOOD | changed
    return lambda: plot.worst_examples(**arguments)


BAD: dict[str, tuple[Callable[[], Any], type[Exception], str]] = {
    "no history": (lambda: plot.learning_curves({}), ValueError, r"history: got nothing, expected arrays of one entry"),
    "no epochs": (lambda: plot.learning_curves({"loss": []}), ValueError, r"history: got loss \(0,\), expected arrays"),
    "lengths": (
        lambda: plot.learning_curves({"loss": [1.0, 2.0], "accuracy": [1.0]}),
        ValueError,
        r"history: got loss \(2,\), accuracy \(1,\), expected arrays of one entry an epoch",
    ),
    "a population": (
        lambda: plot.learning_curves({"loss": np.ones((3, 5))}),
        ValueError,
        r"history: got loss \(3, 5\), .* Of a population, choose one run",
    ),
    "numbers": (lambda: plot.learning_curves({"loss": 1.0}), ValueError, r"history: got loss \(\), expected arrays"),
    "no square": (
        lambda: plot.confusion_matrix(np.ones((2, 3))),
        ValueError,
        r"matrix: got shape \(2, 3\), expected a sq",
    ),
    "a vector": (lambda: plot.confusion_matrix([1, 2]), ValueError, r"matrix: got shape \(2,\), expected a square"),
    "no classes": (lambda: plot.confusion_matrix(np.ones((0, 0))), ValueError, r"matrix: got shape \(0, 0\)"),
    "negative counts": (
        lambda: plot.confusion_matrix([[1, 0], [-2, 1]]),
        ValueError,
        r"matrix: got -2 at row 1, index \(1, 0\) \(1 bad row\), expected counts, whole numbers >= 0",
    ),
    "shares": (lambda: plot.confusion_matrix([[0.5, 0.5], [0, 1]]), ValueError, r"matrix: got 0\.5 at row 0"),
    "a missing name": (
        lambda: plot.confusion_matrix(np.eye(2), ["cat"]),
        ValueError,
        r"labels: got 1 names, expected one for each of the 2 classes",
    ),
    "probabilities of others": (
        _worst(probabilities=CHANCES[:5]),
        ValueError,
        r"probabilities: got shape \(5, 3\) for 30 images, expected shape \(30, classes\)",
    ),
    "flat probabilities": (_worst(probabilities=CHANCES[:, 0]), ValueError, r"probabilities: got shape \(30,\)"),
    "logits": (
        _worst(probabilities=CHANCES * 9 - 4),
        ValueError,
        r"probabilities: got .* expected numbers in \[0, 1\]\. Of logits take fnn\.activations\.softmax",
    ),
    "nan": (_worst(probabilities=CHANCES * np.nan), ValueError, r"probabilities: got nan at row 0.*\(30 bad rows\)"),
    "labels below": (
        _worst(y=TRUTH - 1),
        ValueError,
        r"y: got -1 at row 0 \(10 bad rows\), expected integer labels in \[0, 3",
    ),
    "labels above": (_worst(y=TRUTH + 1), ValueError, r"y: got 3 at row 2"),
    "labels of floats": (_worst(y=TRUTH * 1.0), TypeError, r"y: got dtype float64, expected integer labels"),
    "fewer labels": (_worst(y=TRUTH[:4]), ValueError, r"y: got shape \(4,\), expected shape \(30,\)"),
    "names": (_worst(labels=["a", "b"]), ValueError, r"labels: got 2 names, expected one for each of the 3 classes"),
    "another shape": (
        _worst(shape=(5, 5)),
        ValueError,
        r"x: got shape \(30, 20\), expected images of 25 numbers each, as shape=\(5, 5\) says",
    ),
    "two channels": (_worst(shape=(2, 5, 2)), ValueError, r"shape: got \(2, 5, 2\), expected \(height, width\) or"),
    "one axis": (_worst(shape=(20,)), ValueError, r"shape: got \(20,\), expected \(height, width\) or"),
    "no images": (_worst(x=IMAGES[:0]), ValueError, r"x: got shape \(0, 20\), expected images"),
    "count": (_worst(count=0), ValueError, r"count: got 0, expected an integer >= 1"),
    "count of units": (
        lambda: plot.first_layer_weights(WEIGHTS, shape=(4, 5), count=-1),
        ValueError,
        r"count: got -1, expected an integer >= 1",
    ),
    "kernel": (
        lambda: plot.first_layer_weights(np.ones((3, 3, 1, 8)), shape=(3, 3)),
        ValueError,
        r"w: got shape \(3, 3, 1, 8\), expected weights \(d_in, units\)",
    ),
    "weights of others": (
        lambda: plot.first_layer_weights(WEIGHTS, shape=(4, 4)),
        ValueError,
        r"columns of w: got shape \(12, 20\), expected images of 16 numbers each",
    ),
    "weights of nan": (
        lambda: plot.first_layer_weights(WEIGHTS * np.nan, shape=(4, 5)),
        ValueError,
        r"w: got nan at row 0, .* expected finite numbers",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_wrong_arguments_are_refused(case: str) -> None:
    call, error, match = BAD[case]
    with pytest.raises(error, match=match):
        call()


def test_without_matplotlib_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ImportError, match=r"fnn\.plot needs matplotlib: pip install 'fnn\[experiments\]'"):
        plot.learning_curves({"loss": [1.0]})
