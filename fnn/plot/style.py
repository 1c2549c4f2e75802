"""One style for all pictures: colours, fonts, and figures of equal panels."""

import math
from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any, ParamSpec

from fnn.errors import message

P = ParamSpec("P")

# Okabe and Ito 2008: told apart by the colour-blind too.
BLUE, GREEN, VERMILION, GREY = "#0072B2", "#009E73", "#D55E00", "#6B6B6B"
ORANGE, SKY, PURPLE = "#E69F00", "#56B4E9", "#CC79A7"
_STYLE: dict[Any, Any] = {
    "axes.axisbelow": True,
    "axes.grid": True,
    "axes.labelsize": 10,
    "axes.prop_cycle": f"cycler('color', {[BLUE, VERMILION, GREEN, ORANGE, PURPLE, SKY, GREY]})",
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlesize": 11,
    "figure.constrained_layout.h_pad": 0.08,
    "figure.constrained_layout.use": True,
    "figure.constrained_layout.w_pad": 0.08,
    "figure.titlesize": 12,
    "font.size": 10,
    "grid.alpha": 0.25,
    "legend.frameon": False,
    "lines.linewidth": 1.8,
}
# A longer label is shortened in a picture.
_LONGEST = 24


def styled(draw: Callable[P, Any]) -> Callable[P, Any]:
    """A function that draws in the house's style and leaves matplotlib's settings as they were."""

    @wraps(draw)
    def in_style(*args: P.args, **kwargs: P.kwargs) -> Any:
        try:
            import matplotlib as mpl
        except ImportError as error:
            raise ImportError(
                "fnn.plot needs matplotlib, extra [experiments]: in the clone, pip install -e '.[experiments]'"
            ) from error
        with mpl.rc_context(_STYLE):
            return draw(*args, **kwargs)

    return in_style


def figure_of(count: int, *, width: float, height: float, most: int = 3, lines: bool = True, extra: float = 0.0) -> Any:
    """A figure of so many axes, each `width` by `height` inches, at most `most` beside each other."""
    from matplotlib.figure import Figure

    columns = min(count, most)
    rows = math.ceil(count / columns)
    figure = Figure(figsize=(max(columns * width + extra, 2.4), max(rows * height, 1.6)))
    grid(figure, count, rows, columns, lines=lines)
    return figure


def grid(parent: Any, count: int, rows: int, columns: int, *, lines: bool = False) -> list[Any]:
    """Adds so many axes, row by row, to a figure or a part of one; `lines` are those at the ticks."""
    added = [parent.add_subplot(rows, columns, position + 1) for position in range(count)]
    for axes in added:
        axes.grid(lines)
    return added


def class_names(labels: Sequence[str] | None, classes: int) -> list[str]:
    """The names of so many classes; their numbers where none are given."""
    if labels is None:
        return [str(i) for i in range(classes)]
    if len(labels) != classes:
        raise ValueError(message("labels", f"{len(labels)} names", f"one for each of the {classes} classes"))
    return [str(label) for label in labels]


def shortened(names: Sequence[str]) -> list[str]:
    """Names that fit above a panel."""
    return [name if len(name) <= _LONGEST else f"{name[: _LONGEST - 1]}…" for name in names]


def percent(share: Any) -> str:
    """A share in words, from a number of any kind: 0.987 is "99 %"."""
    return f"{share:.0%}".replace("%", " %")
