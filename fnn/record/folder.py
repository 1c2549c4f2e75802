"""A record written to a folder, part by part, and read again."""

import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike

from fnn.errors import message
from fnn.inspect import Summary
from fnn.population import Results
from fnn.record.files import (
    BROKEN,
    arrays_of_npz,
    arrays_to_npz,
    columns_of_csv,
    columns_to_csv,
    words_of_json,
    words_to_json,
    write,
)
from fnn.record.parts import Examples, Record
from fnn.record.words import versions
from fnn.tree import named_leaves


def save(
    folder: str | Path,
    *,
    title: str | None = None,
    figures: Mapping[str, Any] | None = None,
    settings: Mapping[str, Any] | None = None,
    network: Summary | str | None = None,
    history: Mapping[str, ArrayLike] | None = None,
    layers: Mapping[str, ArrayLike] | None = None,
    examples: Examples | None = None,
    sweep: Results | None = None,
) -> None:
    """Writes what is given of a run: summary.json, network.txt, history.csv, layers.csv, and so on.

    What is not given stays as it is, so that a run can write one part after another; an empty history removes
    that of an earlier run. Title, figures and settings are one file, with the versions and the time. An older
    file stays until the new one is whole.

    Args:
        folder: where; it is made.
        title: what the run is about; None is the folder's name.
        figures: what came out, by name: a number, or one for each seed.
        settings: what was chosen, by name.
        network: its layers, `fnn.inspect.summary(net, x)` or a text of your own.
        history: arrays with one entry an epoch, as `fnn.fit` returns them.
        layers: arrays with one entry a look, `fnn.train.Watch().history`.
        examples: what the network says of some examples.
        sweep: the results of `fnn.sweep`.

    Raises:
        ValueError: a history of several runs.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     save(folder, title="A first run", figures={"loss": 0.5}, history={"loss": [1.0, 0.5]})
        ...     found = load(folder)
        >>> found.title, found.figures, found.history
        ('A first run', {'loss': 0.5}, {'loss': array([1. , 0.5])})
    """
    folder = Path(folder)
    parts: dict[str, bytes] = {}
    if not (title is None and figures is None and settings is None):
        words = {"title": title or folder.resolve().name, "written": time.strftime("%Y-%m-%d %H:%M")}
        words |= {"figures": figures or {}, "settings": settings or {}, "versions": versions()}
        parts["summary.json"] = words_to_json(words)
    if network is not None:
        parts["network.txt"] = f"{network}\n".encode()
    for name, counted, columns in (("history.csv", "epoch", history), ("layers.csv", "look", layers)):
        if columns:
            parts[name] = columns_to_csv(counted, columns)
        elif columns is not None:
            (folder / name).unlink(missing_ok=True)
    if examples is not None:
        arrays = {name: value for name, value in examples._asdict().items() if value is not None}
        parts["examples.npz"] = arrays_to_npz(arrays)
    if sweep is not None:
        trees = {"hparams": sweep.hparams, "values": sweep.values, "done": sweep.done}
        keys = {"keys": jax.random.key_data(sweep.keys), "impl": str(jax.random.key_impl(sweep.keys))}
        parts["sweep.npz"] = arrays_to_npz({**named_leaves(trees), **keys})
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in parts.items():
        write(folder / name, content)


def load(folder: str | Path) -> Record:
    """Reads what a folder tells of a run.

    Args:
        folder: one that `save` wrote to, or any with some of its files.

    Raises:
        FileNotFoundError: no such folder, or none of the files in it.
        ValueError: a file that is broken; it is named.

    Example:
        >>> load("no/such/run")
        Traceback (most recent call last):
        FileNotFoundError: folder: got no/such/run, which holds no run, expected a folder with ...
    """
    folder = Path(folder)
    found = {name: _read(folder / name) for name in _READERS if (folder / name).is_file()}
    pictures = {path.stem: path.read_bytes() for path in sorted(folder.glob("*.png"))}
    if not found and not pictures:
        expected = f"a folder with {', '.join(_READERS)} or pictures"
        remedy = "Such as runs/digits after python -m experiments.digits; fnn.record.save writes your own."
        raise FileNotFoundError(message("folder", f"{folder}, which holds no run", expected, remedy))
    words = found.get("summary.json", {})
    return Record(
        title=str(words.get("title", folder.resolve().name)),
        written=str(words.get("written", "")),
        figures=words.get("figures", {}),
        settings=words.get("settings", {}),
        network=found.get("network.txt", ""),
        versions=words.get("versions", {}),
        history=found.get("history.csv", {}),
        layers=found.get("layers.csv", {}),
        examples=found.get("examples.npz"),
        sweep=found.get("sweep.npz"),
        pictures=pictures,
    )


def _examples(content: bytes) -> Examples:
    arrays = arrays_of_npz(content)
    labels = [str(label) for label in arrays["labels"]] if "labels" in arrays else None
    return Examples(arrays["x"], arrays["y"], arrays["probabilities"], labels)


def _sweep(content: bytes) -> Results:
    arrays = arrays_of_npz(content)
    keys = jax.random.wrap_key_data(jnp.asarray(arrays["keys"]), impl=str(arrays["impl"]))
    return Results(_under("hparams", arrays), keys, _under("values", arrays), jnp.asarray(arrays["done"]))


def _text(content: bytes) -> str:
    return content.decode("utf-8").rstrip("\n")


def _under(part: str, arrays: Mapping[str, np.ndarray]) -> Any:
    """A tree's leaves by their paths; the leaf itself where it is the whole tree."""
    if part in arrays:
        return arrays[part]
    return {name.removeprefix(f"{part}/"): a for name, a in arrays.items() if name.startswith(f"{part}/")}


_READERS: dict[str, Callable[[bytes], Any]] = {
    "summary.json": words_of_json,
    "network.txt": _text,
    "history.csv": partial(columns_of_csv, "epoch"),
    "layers.csv": partial(columns_of_csv, "look"),
    "examples.npz": _examples,
    "sweep.npz": _sweep,
}


def _read(path: Path) -> Any:
    try:
        return _READERS[path.name](path.read_bytes())
    except BROKEN as error:
        got = f"a broken file ({type(error).__name__}: {error})"
        raise ValueError(message(str(path), got, "a file of fnn.record.save", "Save the run again.")) from error
