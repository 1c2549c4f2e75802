"""A run as one page of HTML that needs nothing else."""

import itertools
import math
from collections.abc import Iterator, Mapping
from html import escape
from typing import Any

import numpy as np

from fnn.metrics import confusion_matrix as confusions
from fnn.plot.curves import learning_curves
from fnn.plot.examples import worst_examples
from fnn.plot.flow import gradient_flow, update_ratios
from fnn.plot.matrix import confusion_matrix
from fnn.plot.page import PAGE, Picture, cards, gallery, numbers, picture, picture_of_file, table
from fnn.plot.sweep import heat_map, parallel_coordinates
from fnn.population import Results
from fnn.record import Examples, Record, worded
from fnn.tree import named_leaves

_MOST_PAIRS, _MOST_ROWS, _MOST_WRONG = 6, 20, 12
_CAPTIONS = {
    "loss": "Mean loss by epoch. Where validation rises while training falls, the network learns by heart.",
    "accuracy": "Share of examples that are classified rightly.",
    "grad_norm": "Norm of the gradient: jumps are steps too long, a flat line far from 0 is noise of small batches.",
}
_OF_FILES = {
    "first_layer_weights": (
        "What each unit of the first layer looks for: red pixels draw it up, blue ones down. Tiles that look like "
        "noise have kept much of their random first weights."
    ),
    "filters": "What each filter of the first convolution looks for: its kernel as an image.",
    "feature_maps": "What the first convolution makes of an image, filter by filter.",
    "predictions": "What the network says of test images, some that it gets right and some that it does not.",
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
    further = (picture_of_file(name, png, _OF_FILES.get(name, "")) for name, png in _further(record).items())
    of_one = {
        "Learning": gallery(_learning(record.history)),
        "Layers through training": _layers(record.layers),
        "Predictions": _predictions(record.examples),
    }
    pictures = {**of_one, "Sweep": _sweep(record.sweep), "Further pictures": gallery(further)}
    tables = {
        "Network": f'<pre tabindex="0">{escape(record.network)}</pre>' if record.network else "",
        "Settings": table({name: value for name, value in record.settings.items() if _is_chosen(value)}),
        "Versions": table(record.versions),
    }
    last = {"Every epoch": _epochs(record.history)}
    # Where several networks were trained, their pictures are those of the first.
    several = any(_seeds(figure) > 1 for figure in record.figures.values()) and "seed" in record.settings
    whose = dict.fromkeys(of_one, f"seed {record.settings['seed']}") if several else {}
    return PAGE.substitute(
        title=escape(record.title),
        written=escape(record.written),
        cards=cards(_figures(record.figures)),
        links="".join(f'<a href="#{_anchor(t)}">{t}</a>' for t, body in (pictures | tables | last).items() if body),
        body=f'{_sections(pictures, whose)}<div class="beside">{_sections(tables, {})}</div>{_sections(last, {})}',
    )


def _anchor(title: str) -> str:
    return title.lower().replace(" ", "-")


def _sections(bodies: Mapping[str, str], whose: Mapping[str, Any]) -> str:
    """Those that there are, each under its title, and whose it is."""
    titles = {title: f"{title} <small>{escape(whose[title])}</small>" if title in whose else title for title in bodies}
    return "".join(
        f'<section id="{_anchor(title)}"><h2>{titles[title]}</h2>{body}</section>'
        for title, body in bodies.items()
        if body
    )


def _seeds(figure: Any) -> int:
    """How many numbers, one for each seed; 1 of what is no number."""
    values = np.asarray(figure)
    return values.size if values.dtype.kind in "iuf" else 1


def _figures(figures: Mapping[str, Any]) -> dict[str, str]:
    """In words; the name of a mean says of how many seeds."""
    several = {name: f", {_seeds(figure)} seeds" if _seeds(figure) > 1 else "" for name, figure in figures.items()}
    return {f"{name}{several[name]}": text for name, text in worded(figures).items()}


def _is_chosen(value: Any) -> bool:
    """None, False and an empty list say that nothing was."""
    return value is not None and value is not False and value not in ("", [], {})


def _learning(history: Mapping[str, np.ndarray]) -> Iterator[Picture]:
    """A picture for each quantity, with its validation beside it."""
    names = [name for name in history if "/" not in name and not (name.startswith("val_") and name[4:] in history)]
    for name in sorted(names, key=lambda name: (name != "loss", name == "grad_norm")):
        pair = {part: history[part] for part in (name, f"val_{name}") if part in history}
        if np.isfinite(np.concatenate(list(pair.values()))).any():
            yield picture(name, _CAPTIONS.get(name, f"{_words(name).capitalize()} by epoch."), learning_curves(pair))


def _layers(layers: Mapping[str, np.ndarray]) -> str:
    if not any(name.endswith("/gradient_norm") for name in layers):
        return ""
    shares = [np.asarray(values) for name, values in layers.items() if name.endswith("/dead")]
    none_died = bool(shares) and not any(values.any() for values in shares)
    note = "No unit was dead at any look: each passed some gradient on for some example of the batch."
    return gallery(_of_layers(layers, dead=not none_died)) + (f'<p class="note">{note}</p>' if none_died else "")


def _of_layers(layers: Mapping[str, np.ndarray], dead: bool) -> Iterator[Picture]:
    caption = "The gradient of each layer through training. Where it darkens towards the input, it vanishes."
    yield picture("gradient flow", caption, gradient_flow(layers))
    known = {name.rpartition("/")[2] for name in layers}
    if "update_ratio" in known:
        caption = (
            "How far a step moves each layer, as a share of its parameters: about 1e-3 (dotted) is healthy. A learning "
            "rate that falls takes it down."
        )
        yield picture("update ratios", caption, update_ratios(layers))
    if "delta_norm" in known:
        caption = "The signal that comes back, dL/dz, of each layer, those without parameters too."
        yield picture("delta", caption, gradient_flow(layers, "delta_norm"))
    if dead and "dead" in known:
        caption = "Units that pass no gradient on for any example of a batch. A bright row has died."
        yield picture("dead units", caption, gradient_flow(layers, "dead"))


def _predictions(examples: Examples | None) -> str:
    if examples is None:
        return ""
    if not np.isfinite(np.asarray(examples.probabilities)).all():
        return '<p class="note">Some of the probabilities are not finite numbers, so that nothing is predicted.</p>'
    right = np.asarray(examples.probabilities).argmax(axis=1) == np.asarray(examples.y)
    note = f'<p class="note">All {right.size:,} examples are classified rightly.</p>' if right.all() else ""
    return gallery(_of_examples(examples, int((~right).sum()))) + note


def _of_examples(examples: Examples, wrong: int) -> Iterator[Picture]:
    x, y, chances = (np.asarray(part) for part in examples[:3])
    caption = "How often each class is taken for each other: what is off the diagonal is wrong."
    counts = np.asarray(confusions(chances, y))
    yield picture("confusion matrix", caption, confusion_matrix(counts, examples.labels))
    if wrong and x.ndim in (3, 4) and x.shape[3:] in ((), (1,), (3,), (4,)):
        shown = min(wrong, _MOST_WRONG)
        # About as high as wide, as the matrix beside it.
        columns = math.ceil(math.sqrt(shown))
        how = {"shape": x.shape[1:], "labels": examples.labels, "count": shown, "columns": columns}
        which = "What is" if shown == wrong else f"{shown} of the {wrong:,} that are"
        caption = f"{which} classified wrongly, the least probability of the truth first."
        yield picture("wrong examples", caption, worst_examples(x, y, chances, **how))


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


def _maps(results: Results, by: str) -> Iterator[Picture]:
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
    cells = [[str(i), *(f"{v:.4g}" for v in row)] for i, row in enumerate(rows, 1)]
    whole = numbers(["epoch", *map(_words, names)], cells)
    return f"<details><summary>{len(cells)} epochs</summary>{whole}</details>" if whole else ""


def _words(name: str) -> str:
    return name.replace("_", " ")
