"""What a sweep ends with: every cell's results, and the order of merit."""

from dataclasses import dataclass
from typing import Any, ClassVar, Literal, NamedTuple

import jax
import numpy as np

from fnn.errors import check_choice, message
from fnn.tree import named_leaves
from fnn.typing import Array, Key

Order = Literal["min", "max"]


class Best(NamedTuple):
    """The best combination of a sweep.

    Attributes:
        index: its row.
        hparams: its hyperparameters, a row of `hparams`.
        mean: of the measure over the keys.
        stddev: its standard deviation over the keys, 0 for a single one.
        values: its results, with the axes (k, ...).
    """

    index: int  # pyright: ignore[reportIncompatibleMethodOverride]
    hparams: Any
    mean: float
    stddev: float
    values: Any


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Results:
    """Results of all cells, as one pytree with named axes; `results["loss"]` is `results.values["loss"]`.

    Attributes:
        axes: the names of the first two axes of `values`.
        hparams: the hyperparameters, (h, ...) a leaf.
        keys: the typed keys, (k,).
        values: what `train` returned, (h, k, ...) a leaf.
        done: which cells were trained, (h, k): all, unless the sweep was broken off.
    """

    axes: ClassVar[tuple[str, str]] = ("hparams", "keys")
    hparams: Any
    keys: Key
    values: Any
    done: Array

    def __getitem__(self, name: str) -> Any:
        """A part of the results by its name."""
        if not isinstance(self.values, dict) or name not in self.values:
            known = ", ".join(map(str, self.values)) if isinstance(self.values, dict) else "no names"
            raise KeyError(f"{name!r} is not among the results of train: {known}")
        return self.values[name]

    def measure_name(self, by: str | None = None) -> str:
        """The name of the result that counts."""
        return self._named(by)[0]

    def measure(self, by: str | None = None) -> np.ndarray:
        """One number a cell, (h, k): of a history the last entry; NaN where a cell was not trained.

        Raises:
            ValueError: `by` is None and it is not plain which result counts, or it is no number a cell.
        """
        values = np.asarray(self._named(by)[1], np.float64)
        if values.ndim not in (2, 3):
            remedy = "Return one number, or one an epoch, from train."
            raise ValueError(message("by", f"results of shape {values.shape[2:]} a cell", "a number", remedy))
        last = values if values.ndim == 2 else values[..., -1]
        return np.where(np.asarray(self.done), last, np.nan)

    def ranking(self, by: str | None = None, order: Order | None = None) -> np.ndarray:
        """The rows of hyperparameters, best first by the mean over the keys; those with a NaN or infinity last."""
        means = self.measure(by).mean(axis=1)
        merit = means if self.order_of(by, order) == "min" else -means
        return np.argsort(np.where(np.isfinite(means), merit, np.inf), kind="stable")

    def best(self, by: str | None = None, order: Order | None = None) -> Best:
        """The best combination by the mean over the keys.

        Args:
            by: the result that counts; None takes val_loss, then loss, then the only one there is.
            order: whether the least ("min") or the greatest ("max") is best; None knows it of losses,
                errors and accuracies by their names.

        Raises:
            ValueError: it is not plain which result counts, or which way.
        """
        i = int(self.ranking(by, order)[0])
        measures = self.measure(by)[i]
        row, values = (jax.tree.map(lambda a: a[i], tree) for tree in (self.hparams, self.values))
        return Best(i, row, float(measures.mean()), _stddev(measures), values)

    def table(self, by: str | None = None, order: Order | None = None, *, rows: int | None = 20) -> str:
        """The combinations as text, best first, with mean and standard deviation over the keys.

        Args:
            by: the result that counts, as in `best`.
            order: which way, as in `best`.
            rows: at most so many; None shows all.

        Raises:
            ValueError: as `best`.
        """
        head, body = self.cells(by, order, rows=rows)
        widths = [max(map(len, column)) for column in zip(head, *body, strict=True)]
        lines = ["  ".join(cell.rjust(w) for cell, w in zip(line, widths, strict=True)) for line in [head, *body]]
        more = len(np.asarray(self.done)) - len(body)
        return "\n".join([lines[0], "-" * len(lines[0]), *lines[1:], *([f"... and {more:,} more"] if more else [])])

    def cells(
        self, by: str | None = None, order: Order | None = None, *, rows: int | None = 20
    ) -> tuple[list[str], list[list[str]]]:
        """The head and the rows of `table`, cell by cell.

        Args:
            by: the result that counts, as in `best`.
            order: which way, as in `best`.
            rows: at most so many; None gives all.

        Raises:
            ValueError: as `best`.
        """
        measures = self.measure(by)
        columns = {path or "hparams": np.asarray(leaf) for path, leaf in named_leaves(self.hparams).items()}
        head = ["", *columns, f"{self.measure_name(by)}, mean", "std over keys"]
        body = [
            [str(place + 1), *(_number(leaf[i]) for leaf in columns.values()), *_spread(measures[i])]
            for place, i in enumerate(self.ranking(by, order)[:rows])
        ]
        return head, body

    def order_of(self, by: str | None = None, order: Order | None = None) -> Order:
        """Whether less is better, or more.

        Raises:
            ValueError: `order` is None, and the name of the result does not tell.
        """
        if order is not None:
            check_choice("order", order, ("min", "max"))
            return order
        name = self._named(by)[0]
        if name.endswith(("loss", "error", "norm")) or self.values is self._named(by)[1]:
            return "min"
        if name.endswith(("accuracy", "r2")):
            return "max"
        raise ValueError(message("order", f"None for {name!r}", "'min' or 'max'", "Say which way is better."))

    def _named(self, by: str | None) -> tuple[str, Any]:
        named = {name or "result": leaf for name, leaf in named_leaves(self.values).items()}
        if by is None:
            names = [name for name in ("val_loss", "loss") if name in named] or (list(named) if len(named) == 1 else [])
            if not names:
                remedy = f"There are {', '.join(list(named)[:8])}."
                raise ValueError(message("by", None, "the name of the result that counts", remedy))
            by = names[0]
        check_choice("by", by, named)
        return by, named[by]


def _stddev(measures: np.ndarray) -> float:
    return float(measures.std(ddof=1)) if len(measures) > 1 else 0.0


def _spread(measures: np.ndarray) -> tuple[str, str]:
    return f"{measures.mean():.6g}", f"{_stddev(measures):.2g}" if len(measures) > 1 else ""


def _number(value: np.ndarray) -> str:
    return f"{value:.4g}" if value.ndim == 0 else "(" + ", ".join(f"{v:.4g}" for v in value.ravel()) + ")"
