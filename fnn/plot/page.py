"""The HTML of a report: its style, and pictures and tables as pieces of it."""

import base64
import io
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from string import Template
from typing import Any

_DPI = 192
# In CSS pixels: an inch, such that three pictures stand beside each other; a frame; what is wide on a phone.
_INCH, _FRAME, _WIDE = 86, 26, 560

PAGE = Template("""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>$title</title>
<link rel="icon" href="data:,">
<style>
:root { color-scheme: light dark; --page: #f5f6f7; --card: #ffffff; --text: #1d2327; --quiet: #5c666d;
  --line: #dfe3e6; --accent: #00695c; }
@media (prefers-color-scheme: dark) {
  :root { --page: #16191d; --card: #20252a; --text: #e4e7ea; --quiet: #9aa5ad; --line: #343b42; --accent: #5cc9b8; }
}
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--text);
  font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; }
main { max-width: 1280px; margin: 0 auto; padding: 24px 16px 64px; }
h1 { margin: 0; font-size: 1.7rem; line-height: 1.2; overflow-wrap: anywhere; }
h2 { margin: 40px 0 12px; font-size: 1.15rem; }
.written, figcaption { color: var(--quiet); }
.written { margin: 4px 0 0; }
nav { display: flex; flex-wrap: wrap; gap: 4px 18px; margin: 16px 0 0; }
a { color: var(--accent); }
.cards { display: flex; flex-wrap: wrap; gap: 12px; margin: 20px 0 0; }
.cards div, figure, .table { background: var(--card); border: 1px solid var(--line); border-radius: 8px; }
.cards div { padding: 10px 16px; }
.cards b { display: block; font-size: 1.25rem; font-weight: 600; font-variant-numeric: tabular-nums; }
.cards span { color: var(--quiet); font-size: .85rem; }
.gallery { display: flex; flex-wrap: wrap; gap: 16px; align-items: flex-start; }
figure { margin: 0; padding: 12px; max-width: 100%; }
figure div { overflow-x: auto; background: #fff; border-radius: 4px; }
figure img { display: block; width: 100%; height: auto; }
figcaption { margin: 8px 4px 0; font-size: .875rem; }
.gallery + .table { margin-top: 16px; }
.table { overflow: auto; max-height: 32rem; width: fit-content; max-width: 100%; }
table { border-collapse: collapse; font-size: .875rem; }
th, td { padding: 5px 14px; text-align: left; border-bottom: 1px solid var(--line); vertical-align: top; }
tr:last-child td { border-bottom: 0; }
td { overflow-wrap: anywhere; }
.numbers th, .numbers td { text-align: right; white-space: nowrap; font-variant-numeric: tabular-nums; }
.numbers thead th { position: sticky; top: 0; background: var(--card); }
@media (max-width: 600px) {
  /* A wide picture scrolls inside its frame rather than shrink until nobody can read it. */
  figure img.wide { width: 560px; }
  .cards { display: grid; grid-template-columns: 1fr 1fr; }
  .cards b { font-size: 1.05rem; }
  th, td { padding: 5px 10px; }
}
</style>
</head>
<body>
<main>
<header>
<h1>$title</h1>
<p class="written">$written</p>
$cards
<nav>$links</nav>
</header>
$body
</main>
</body>
</html>
""")


def picture(name: str, caption: str, figure: Any) -> str:
    """A matplotlib figure with its caption.

    Example:
        >>> from matplotlib.figure import Figure
        >>> picture("loss", "The loss.", Figure(figsize=(4, 3)))[:36]
        '<figure style="width:370px"><div><im'
    """
    png = io.BytesIO()
    figure.savefig(png, format="png", dpi=_DPI)
    return picture_of_file(name, png.getvalue(), caption, dpi=_DPI)


def picture_of_file(name: str, png: bytes, caption: str = "", *, dpi: int = 150) -> str:
    """A PNG file with so many pixels an inch; its name is the caption where there is no other.

    Example:
        >>> "<figcaption>First filters</figcaption>" in picture_of_file("first_filters", b"")
        True
    """
    words = escape(name.replace("_", " "))
    # The width stands in the header of a PNG.
    width = round(int.from_bytes(png[16:20], "big") / dpi * _INCH)
    data = base64.b64encode(png).decode()
    image = f'<img{" class=wide" if width > _WIDE else ""} alt="{words}" src="data:image/png;base64,{data}">'
    caption = f"<figcaption>{escape(caption) or words.capitalize()}</figcaption>"
    return f'<figure style="width:{width + _FRAME}px"><div>{image}</div>{caption}</figure>'


def gallery(pictures: Iterable[str]) -> str:
    """Pictures beside each other as far as there is room; nothing where there are none.

    Example:
        >>> gallery([])
        ''
    """
    inside = "".join(pictures)
    return f'<div class="gallery">{inside}</div>' if inside else ""


def cards(figures: Mapping[str, str]) -> str:
    """Each figure large, with its name below it.

    Example:
        >>> cards({"loss": "0.5"})
        '<div class="cards"><div><b>0.5</b><span>loss</span></div></div>'
    """
    inside = "".join(f"<div><b>{escape(text)}</b><span>{escape(name)}</span></div>" for name, text in figures.items())
    return f'<div class="cards">{inside}</div>' if inside else ""


def table(words: Mapping[str, Any]) -> str:
    """Names and what they stand for, a row each.

    Example:
        >>> table({"jax": "0.10.1"})
        '<div class="table"><table><tr><td>jax</td><td>0.10.1</td></tr></table></div>'
    """
    rows = "".join(f"<tr><td>{escape(str(name))}</td><td>{_said(value)}</td></tr>" for name, value in words.items())
    return f'<div class="table"><table>{rows}</table></div>' if rows else ""


def numbers(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table of numbers under a head that stays in sight.

    Example:
        >>> numbers(["epoch"], [["1"]]).count("<tr>")
        2
    """
    if not rows:
        return ""
    top = "".join(f"<th>{escape(name)}</th>" for name in head)
    body = "".join("<tr>" + "".join(f"<td>{escape(text)}</td>" for text in row) + "</tr>" for row in rows)
    inside = f"<table><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table>"
    return f'<div class="table numbers" tabindex="0">{inside}</div>'


def _said(value: Any) -> str:
    if isinstance(value, list | tuple):
        return escape(", ".join(map(str, value)))
    return escape({True: "yes", False: "no"}.get(value, str(value)) if isinstance(value, bool) else str(value))
