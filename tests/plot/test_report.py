"""The page of a run: what is in it, what is not, and that it needs nothing from elsewhere."""

import base64
import html.parser
import re
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import fnn
from fnn.__main__ import main
from fnn.plot.page import Picture, gallery
from fnn.population import Results
from fnn.record import Examples, load, save
from tests.plot.drawing import CHANCES, HISTORY, RNG, TRUTH

LAYERS = {
    "step": np.array([0, 5, 10]),
    **{f"dense_{i}/{field}": RNG.random(3) for i in range(2) for field in fnn.inspect.Statistics._fields},
}
IMAGES = RNG.random((30, 5, 4))
Output = pytest.CaptureFixture[str]


class Seen(html.parser.HTMLParser):
    """Headings, links and images of a page; every tag is closed."""

    EMPTY = frozenset({"meta", "link", "img"})

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.images: list[dict[str, str | None]] = []
        self.loaded: list[str] = []
        self.links: list[str] = []
        self.feed(page)
        assert not self.open

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        given = dict(attrs)
        self.ids += [given["id"]] if "id" in given else []
        self.links += [given["href"]] if tag == "a" else []
        self.images += [given] if tag == "img" else []
        self.loaded += [given[name] for name in ("src", "href") if name in given and tag != "a"]
        if tag not in self.EMPTY:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def page_of(folder: Path, **parts: Any) -> tuple[str, Seen]:
    save(folder, **parts)
    page = fnn.plot.report(load(folder))
    return page, Seen(page)


def sweep(*names: str, values: Any = None) -> Results:
    hparams = {name: jnp.array([0.1, 0.2, 0.1, 0.2]) * (i + 1) for i, name in enumerate(names)}
    keys = jax.random.split(jax.random.key(0), 2)
    return Results(hparams, keys, values or {"val_loss": jnp.arange(8.0).reshape(4, 2)}, jnp.ones((4, 2), bool))


def test_all_parts(tmp_path: Path) -> None:
    page, seen = page_of(
        tmp_path,
        title="A run",
        figures={"test accuracy": [0.5, 0.7]},
        settings={"hidden": (64, 10), "nesterov": True, "warmup": None, "mirror": False, "seed": 3},
        network=fnn.inspect.summary(fnn.nn.mlp([3, 1]), jnp.ones((1, 4))),
        history=HISTORY,
        layers=LAYERS,
        examples=Examples(IMAGES, TRUTH, CHANCES, ["ape", "bee", "cow"]),
        sweep=sweep("rate", "width"),
    )
    sections = ["learning", "layers-through-training", "predictions", "sweep", "network", "settings", "versions"]
    sections += ["every-epoch"]
    assert seen.ids == sections
    assert seen.links == [f"#{section}" for section in sections]
    # Three curves, four of layers, two of predictions, one map and all combinations.
    assert len(seen.images) == 11
    assert all(image["alt"] for image in seen.images)
    told = ("<h1>A run</h1>", "64, 10", "<td>yes</td>", jax.__version__, "<td>0.02</td>", "dense_1  (1,) ")
    for words in told:
        assert words in page
    # What nobody has chosen is no setting.
    assert "warmup" not in page
    assert "mirror" not in page


def test_a_card_says_of_how_many_seeds_and_the_pictures_of_which(tmp_path: Path) -> None:
    several = {"test accuracy": [0.5, 0.7], "time": "3 s", "test loss": 0.5}
    page, _ = page_of(tmp_path, figures=several, settings={"seed": 3}, history=HISTORY, sweep=sweep("rate"))
    assert "<b>60.00% <small>±\xa014.14%</small></b><span>test accuracy, 2 seeds</span>" in page
    assert "<b>0.5000</b><span>test loss</span>" in page
    assert "<b>3 s</b><span>time</span>" in page
    assert "<h2>Learning <small>seed 3</small></h2>" in page
    assert page.count("<small>seed 3</small>") == 1
    alone, _ = page_of(tmp_path, figures={"test accuracy": [0.5]}, settings={"seed": 3})
    assert "<small>" not in alone
    assert "seeds" not in alone


def test_where_no_unit_died_a_sentence_says_so(tmp_path: Path) -> None:
    alive = {name: np.zeros(3) if name.endswith("/dead") else values for name, values in LAYERS.items()}
    page, seen = page_of(tmp_path, layers=alive)
    assert [image["alt"] for image in seen.images] == ["gradient flow", "update ratios", "delta"]
    assert "No unit was dead" in page
    assert "No unit was dead" not in page_of(tmp_path, layers=LAYERS)[0]


def test_where_nothing_is_wrong_a_sentence_says_so(tmp_path: Path) -> None:
    page, seen = page_of(tmp_path, examples=Examples(IMAGES, TRUTH, np.eye(3)[TRUTH]))
    assert [image["alt"] for image in seen.images] == ["confusion matrix"]
    assert "All 30 examples are classified rightly" in page


@pytest.mark.parametrize(
    ("widths", "rows"),
    [([300] * 3, [3]), ([300] * 4, [2, 2]), ([300] * 5, [3, 2]), ([300, 600, 600], [2, 1]), ([600], [1]), ([], [])],
)
def test_rows_of_pictures_are_full(widths: list[int], rows: list[int]) -> None:
    html = gallery(Picture("<figure></figure>", width) for width in widths)
    assert [row.count("<figure>") for row in html.split('<div class="row">')[1:]] == rows


def test_every_epoch_is_there_but_folded(tmp_path: Path) -> None:
    page, _ = page_of(tmp_path, history={"loss": np.linspace(2, 1, 300)})
    assert "<details><summary>300 epochs</summary>" in page
    assert page.count("<tr>") == 301 + len(fnn.record.versions()) * page.count('id="versions"')


def test_nothing_comes_from_elsewhere(tmp_path: Path) -> None:
    page, seen = page_of(tmp_path, history=HISTORY, layers=LAYERS)
    assert seen.loaded
    assert all(source.startswith("data:") for source in seen.loaded)
    assert "http" not in page
    assert "@import" not in page
    for image in seen.images:
        png = base64.b64decode(str(image["src"]).removeprefix("data:image/png;base64,"))
        assert png.startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("parts", "section"),
    [
        ({"history": HISTORY}, "learning"),
        ({"layers": LAYERS}, "layers-through-training"),
        ({"examples": Examples(IMAGES, TRUTH, CHANCES)}, "predictions"),
        ({"sweep": sweep("rate", "width")}, "sweep"),
        ({"settings": {"epochs": 3}}, "settings"),
    ],
)
def test_a_part_alone(parts: dict[str, Any], section: str, tmp_path: Path) -> None:
    _, seen = page_of(tmp_path, **parts)
    assert seen.ids[0] == section
    assert set(seen.ids[1:]) <= {"every-epoch", "versions"}


def test_examples_that_are_no_images(tmp_path: Path) -> None:
    _, seen = page_of(tmp_path, examples=Examples(IMAGES.reshape(30, 20), TRUTH, CHANCES))
    assert [image["alt"] for image in seen.images] == ["confusion matrix"]


def test_words_cannot_break_the_page(tmp_path: Path) -> None:
    nasty = '<script>alert("$title")</script>&'
    page, _ = page_of(
        tmp_path, title=nasty, figures={nasty: nasty}, settings={nasty: nasty}, history={nasty: np.ones(2)}
    )
    assert "<script" not in page
    assert page.count("&lt;script&gt;") >= 6


def test_a_history_with_the_statistics_of_layers_in_it(tmp_path: Path) -> None:
    """As a run with a watched step has it: they are no curves and no columns."""
    page, seen = page_of(tmp_path, history={"loss": np.ones(3), "dense_0/dead": np.zeros(3)})
    assert len(seen.images) == 1
    assert "dense_0/dead" not in page


def test_values_that_are_not_finite(tmp_path: Path) -> None:
    _, seen = page_of(
        tmp_path, history={"loss": np.array([1.0, np.nan]), "val_loss": np.full(2, np.inf), "r2": [np.nan] * 2}
    )
    assert [image["alt"] for image in seen.images] == ["loss"]


def test_probabilities_that_are_not_finite(tmp_path: Path) -> None:
    page, seen = page_of(tmp_path, examples=Examples(IMAGES, TRUTH, CHANCES * np.nan))
    assert "not finite numbers" in page
    assert not seen.images


def test_layers_of_which_only_the_gradient_is_known(tmp_path: Path) -> None:
    _, seen = page_of(tmp_path, layers={"step": [0, 1], "dense_0/gradient_norm": [1.0, 2.0]})
    assert [image["alt"] for image in seen.images] == ["gradient flow"]


def test_the_folder_s_own_pictures_but_for_those_drawn_anew(tmp_path: Path) -> None:
    png = b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR" + (300).to_bytes(4, "big") * 2
    for name in ("filters", "learning_curves", "rate_and_width", "width_and_rate"):
        (tmp_path / f"{name}.png").write_bytes(png)
    page, seen = page_of(tmp_path, sweep=sweep("rate", "width"))
    assert [image["alt"] for image in seen.images] == ["rate and width", "all combinations", "filters"]
    assert page.count('<img width="224"') == 1  # 300 pixels at 150 an inch of 86, and a third more


def test_of_many_hyperparameters_the_first_pairs(tmp_path: Path) -> None:
    _, seen = page_of(tmp_path, sweep=sweep(*"abcdef"))
    assert len(seen.images) == 6 + 1


def test_a_hyperparameter_that_does_not_vary(tmp_path: Path) -> None:
    results = sweep("rate")
    _, seen = page_of(tmp_path, sweep=Results({**results.hparams, "width": jnp.full(4, 8)}, *_rest(results)))
    assert [image["alt"] for image in seen.images] == ["all combinations"]


def test_the_result_that_counts_is_found_by_its_name(tmp_path: Path) -> None:
    values = {"state": jnp.ones((4, 2, 3, 5)), "speed": jnp.ones((4, 2)), "accuracy": jnp.arange(8.0).reshape(4, 2)}
    page, _ = page_of(tmp_path, sweep=sweep("rate", "width", values=values))
    assert "accuracy, mean" in page


def test_a_sweep_without_such_a_result(tmp_path: Path) -> None:
    page, seen = page_of(tmp_path, sweep=sweep("rate", "width", values={"a": jnp.ones((4, 2)), "b": jnp.ones((4, 2))}))
    assert not seen.images
    assert "None of its results says by its name which way is better" in page


def _rest(results: Results) -> tuple[Any, Any, Any]:
    return results.keys, results.values, results.done


def test_the_command(tmp_path: Path, capsys: Output) -> None:
    save(tmp_path, history=HISTORY)
    assert main(["report", str(tmp_path)]) == 0
    assert re.fullmatch(rf"{tmp_path}/report\.html \(0\.\d MB\)\n", capsys.readouterr().out)
    assert main(["report", str(tmp_path), "--out", str(tmp_path / "other.html")]) == 0
    assert (tmp_path / "other.html").read_text() == (tmp_path / "report.html").read_text()


def test_wrong_calls_of_the_command(tmp_path: Path, capsys: Output) -> None:
    assert main(["report", str(tmp_path / "nowhere")]) == 2
    assert capsys.readouterr().err.startswith(f"error: folder: got {tmp_path}/nowhere, which holds no run, expected")
    save(tmp_path, history=HISTORY)
    assert main(["report", str(tmp_path), "--out", str(tmp_path / "no" / "page.html")]) == 2
    assert "No such file or directory" in capsys.readouterr().err
    (tmp_path / "history.csv").write_text("")
    assert main(["report", str(tmp_path)]) == 2
    assert "history.csv: got a broken file" in capsys.readouterr().err
