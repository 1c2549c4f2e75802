"""A run as one page of HTML that needs nothing else."""

import itertools
from collections.abc import Iterator, Mapping
from html import escape

import numpy as np

from fnn.metrics import confusion_matrix as confusions
from fnn.plot.curves import learning_curves
from fnn.plot.examples import worst_examples
from fnn.plot.flow import gradient_flow, update_ratios
from fnn.plot.matrix import confusion_matrix
from fnn.plot.page import PAGE, cards, gallery, numbers, picture, picture_of_file, table
from fnn.plot.sweep import heat_map, parallel_coordinates
from fnn.population import Results
from fnn.record import Examples, Record, worded
from fnn.tree import named_leaves

_MOST_PAIRS, _MOST_ROWS = 6, 20
_CAPTIONS = {
    "loss": "Mean loss by epoch. Where validation rises while training falls, the network learns by heart.",
    "accuracy": "Share of examples that are classified rightly.",
    "grad_norm": "Norm of the gradient: jumps are steps too long, a flat line far from 0 is noise of small batches.",
}
# Pictures in the folder that the page draws itself.
_DRAWN = {"learning_curves", "gradient_flow", "update_ratios", "confusion_matrix", "worst_examples", "all_combinations"}


def report(record: Record) -> str:
    """A run as one page of HTML: what came out, curves, the flow of gradients, mistakes, sweeps, settings.

    All of it is in the page, pictures too, so that it opens without a network and is sent as one file. What the
    record does not hold is left out. `python -m fnn report FOLDER` writes the page to `FOLDER/report.html`.

    Args:
        record: what `fnn.record.load` gives.

    Raises:
        ImportError: matplotlib is not installed.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     fnn.record.save(folder, title="A first run", history={"loss": [1.0, 0.5, 0.2]})
        ...     page = report(fnn.record.load(folder))
        >>> "<h1>A first run</h1>" in page, "data:image/png;base64," in page, "http" in page
        (True, True, False)
    """
    sections = {
        "Learning": gallery(_learning(record.history)),
        "Layers through training": gallery(_layers(record.layers)),
        "Predictions": gallery(_predictions(record.examples)),
        "Sweep": _sweep(record.sweep),
        "Further pictures": gallery(picture_of_file(name, png) for name, png in _further(record).items()),
        "Settings": table(record.settings),
        "Versions": table(record.versions),
        "Every epoch": _epochs(record.history),
    }
    present = {title: (title.lower().replace(" ", "-"), body) for title, body in sections.items() if body}
    return PAGE.substitute(
        title=escape(record.title),
        written=escape(record.written),
        cards=cards(worded(record.figures)),
        links="".join(f'<a href="#{anchor}">{title}</a>' for title, (anchor, _) in present.items()),
        body="".join(f'<section id="{a}"><h2>{title}</h2>{body}</section>' for title, (a, body) in present.items()),
    )


def _learning(history: Mapping[str, np.ndarray]) -> Iterator[str]:
    """A picture for each quantity, with its validation beside it."""
    names = [name for name in history if "/" not in name and not (name.startswith("val_") and name[4:] in history)]
    for name in sorted(names, key=lambda name: (name != "loss", name == "grad_norm")):
        pair = {part: history[part] for part in (name, f"val_{name}") if part in history}
        if np.isfinite(np.concatenate(list(pair.values()))).any():
            yield picture(name, _CAPTIONS.get(name, f"{_words(name).capitalize()} by epoch."), learning_curves(pair))


def _layers(layers: Mapping[str, np.ndarray]) -> Iterator[str]:
    if not any(name.endswith("/gradient_norm") for name in layers):
        return
    caption = "The gradient of each layer through training. Where it darkens towards the input, it vanishes."
    yield picture("gradient flow", caption, gradient_flow(layers))
    known = {name.rpartition("/")[2] for name in layers}
    if "update_ratio" in known:
        caption = "How far a step moves each layer: about 1e-3 of its parameters (dotted) where training goes well."
        yield picture("update ratios", caption, update_ratios(layers))
    if "delta_norm" in known:
        caption = "The signal that comes back, dL/dz, of each layer, those without parameters too."
        yield picture("delta", caption, gradient_flow(layers, "delta_norm"))
    if "dead" in known:
        caption = "Units that pass no gradient on for any example of a batch. A bright row has died."
        yield picture("dead units", caption, gradient_flow(layers, "dead"))


def _predictions(examples: Examples | None) -> Iterator[str]:
    if examples is None:
        return
    x, y, chances = (np.asarray(part) for part in examples[:3])
    if not np.isfinite(chances).all():
        yield "<p>Some of the probabilities are not finite numbers, so that nothing is predicted.</p>"
        return
    caption = "How often each class is taken for each other: what is off the diagonal is wrong."
    counts = np.asarray(confusions(chances, y))
    yield picture("confusion matrix", caption, confusion_matrix(counts, examples.labels))
    if x.ndim in (3, 4) and x.shape[3:] in ((), (1,), (3,), (4,)):
        figure = worst_examples(x, y, chances, shape=x.shape[1:], labels=examples.labels)
        yield picture("wrong examples", "What is classified wrongly, the least probability of the truth first.", figure)


def _sweep(results: Results | None) -> str:
    if results is None:
        return ""
    by = _that_counts(results)
    if by is None:
        return "<p>None of its results says by its name which way is better, as loss and accuracy do.</p>"
    head, rows = results.cells(by, rows=_MOST_ROWS)
    return gallery(_maps(results, by)) + numbers(list(map(_words, head)), rows)


def _that_counts(results: Results) -> str | None:
    """The result that ranks the combinations: the one of `results.best()`, or the first that can."""
    for by in (None, *named_leaves(results.values)):
        try:
            _ = results.order_of(by), results.measure(by)
        except ValueError:
            continue
        return results.measure_name(by)
    return None


def _maps(results: Results, by: str) -> Iterator[str]:
    leaves = {name or "hparams": np.asarray(leaf) for name, leaf in named_leaves(results.hparams).items()}
    varied = [name for name, leaf in leaves.items() if leaf.ndim == 1 and len(np.unique(leaf)) > 1]
    for x, y in itertools.islice(itertools.combinations(varied, 2), _MOST_PAIRS):
        caption = f"Mean {_words(by)} over {_words(x)} and {_words(y)}. The frame marks the best cell."
        yield picture(f"{x} and {y}", caption, heat_map(results, x, y, by))
    if varied:
        caption = "Each line is a combination, coloured by its result; the thick one is the best."
        yield picture("all combinations", caption, parallel_coordinates(results, by))


def _further(record: Record) -> dict[str, bytes]:
    """The folder's pictures but for those that the page draws itself."""
    names = [] if record.sweep is None else [*named_leaves(record.sweep.hparams)]
    drawn = _DRAWN | {f"{x}_and_{y}" for x, y in itertools.permutations(names, 2)}
    return {name: png for name, png in record.pictures.items() if name not in drawn}


def _epochs(history: Mapping[str, np.ndarray]) -> str:
    names = [name for name in history if "/" not in name]
    rows = zip(*(history[name] for name in names), strict=True)
    return numbers(["epoch", *map(_words, names)], [[str(i), *(f"{v:.4g}" for v in r)] for i, r in enumerate(rows, 1)])


def _words(name: str) -> str:
    return name.replace("_", " ")
