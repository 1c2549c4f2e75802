"""The HTML of a report: its style, and pictures and tables as pieces of it."""

import base64
import io
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from string import Template
from typing import Any, NamedTuple

import numpy as np

_DPI = 192
# In CSS pixels: an inch; what is wide on a phone; up to where three pictures stand beside each other.
_INCH, _WIDE, _THIRD = 86, 480, 420

PAGE = Template("""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>$title</title>
<link rel="icon" href="data:,">
<style>
:root { color-scheme: light dark; --page: #f5f6f7; --card: #ffffff; --text: #1d2327; --quiet: #5c666d;
  --line: #dfe3e6; --accent: #00695c; --shade: #0004; }
@media (prefers-color-scheme: dark) {
  :root { --page: #16191d; --card: #20252a; --text: #e4e7ea; --quiet: #9aa5ad; --line: #343b42; --accent: #5cc9b8;
    --shade: #000c; }
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
.cards { display: grid; grid-template-columns: repeat(auto-fit, minmax(170px, 1fr)); gap: 16px; margin: 20px 0 0; }
.cards div, figure, .table, pre, .note { background: var(--card); border: 1px solid var(--line); border-radius: 8px; }
.cards div { padding: 10px 12px; overflow-wrap: anywhere; }
.cards b { display: block; font-size: 1.2rem; font-weight: 600; font-variant-numeric: tabular-nums; }
.cards small { font-size: .85rem; font-weight: 400; }
.cards span, h2 small { color: var(--quiet); font-size: .8rem; font-weight: 400; }
/* Rows of pictures fill the page: as wide as each other, and as high. */
.row { display: flex; gap: 16px; }
.row + .row, .row + .table, .row + .note { margin-top: 16px; }
figure { flex: 1 1 0; min-width: 0; margin: 0; padding: 12px; display: flex; flex-direction: column; }
figure div { flex: 1; display: grid; align-items: start; justify-items: center; overflow-x: auto; background: #fff;
  border-radius: 4px; }
figure img { grid-area: 1 / 1; display: block; max-width: 100%; height: auto; }
figcaption { margin: 8px 4px 0; font-size: .875rem; }
figure:only-child { flex-direction: row; gap: 24px; }
figure:only-child div { flex: 0 1 auto; min-width: 0; }
figure:only-child figcaption { flex: 1 0 14rem; max-width: 40rem; align-self: center; }
.note { margin: 0; padding: 10px 16px; }
.beside { display: flex; gap: 16px; }
.beside section { flex: 1 1 0; min-width: 0; display: flex; flex-direction: column; }
.beside section:has(pre) { flex-grow: 1.8; }
.beside .table, pre { flex: 1; }
/* What is wider than its frame has a shadow at the edge behind which there is more. */
.table, pre { overflow-x: auto; background:
  linear-gradient(to right, var(--card) 40%, transparent) left / 40px 100% local,
  linear-gradient(to left, var(--card) 40%, transparent) right / 40px 100% local,
  linear-gradient(to right, var(--shade), transparent) left / 14px 100% scroll,
  linear-gradient(to left, var(--shade), transparent) right / 14px 100% scroll, var(--card);
  background-repeat: no-repeat; }
pre { margin: 0; padding: 12px 16px; font: .8rem/1.7 ui-monospace, "DejaVu Sans Mono", Menlo, Consolas, monospace; }
table { border-collapse: collapse; font-size: .875rem; width: 100%; }
th, td { padding: 5px 14px; text-align: left; border-bottom: 1px solid var(--line); vertical-align: top; }
tr:last-child td { border-bottom: 0; }
td { overflow-wrap: anywhere; }
.numbers th, .numbers td { text-align: right; white-space: nowrap; font-variant-numeric: tabular-nums; }
summary { cursor: pointer; color: var(--accent); margin-bottom: 12px; }
@keyframes shadow { 80% { opacity: 1; } 100% { opacity: 0; } }
@media (max-width: 900px) {
  .row, .beside, figure:only-child { flex-direction: column; }
  .beside { gap: 0; }
  figure, .beside section { flex: none; }
  figure:only-child { gap: 0; }
  figure:only-child figcaption { flex: none; align-self: auto; }
}
@media (max-width: 600px) {
  /* A wide picture scrolls inside its frame rather than shrink until nobody can read it. */
  figure .wide { justify-items: start; }
  figure .wide img { width: 560px; max-width: none; }
  figure .wide::after { content: ""; grid-area: 1 / 1; justify-self: end; position: sticky; right: 0; width: 20px;
    height: 100%; background: linear-gradient(to left, rgba(0, 0, 0, .4), transparent); }
  /* Gone at the end, where the browser can tell. */
  @supports (animation-timeline: scroll()) {
    figure .wide::after { animation: shadow linear both; animation-timeline: scroll(inline); }
  }
  figure .wide + figcaption::before { content: "Scroll to the right. "; }
  .cards { grid-template-columns: 1fr 1fr; gap: 12px; }
  .cards b { font-size: 1rem; }
  .cards small { font-size: .8rem; }
  th, td { padding: 5px 10px; }
  pre { font-size: .72rem; padding: 10px; }
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


class Picture(NamedTuple):
    """A picture as HTML, and how wide it is drawn, in CSS pixels."""

    html: str
    width: int


def picture(name: str, caption: str, figure: Any) -> Picture:
    """A matplotlib figure with its caption.

    Example:
        >>> from matplotlib.figure import Figure
        >>> picture("loss", "The loss.", Figure(figsize=(4, 3))).width
        344
    """
    png = io.BytesIO()
    figure.savefig(png, format="png", dpi=_DPI)
    return picture_of_file(name, png.getvalue(), caption, dpi=_DPI)


def picture_of_file(name: str, png: bytes, caption: str = "", *, dpi: int = 150) -> Picture:
    """A PNG file with so many pixels an inch; its name is the caption where there is no other.

    Example:
        >>> "<figcaption>First filters</figcaption>" in picture_of_file("first_filters", b"").html
        True
    """
    words = escape(name.replace("_", " "))
    # The width stands in the header of a PNG.
    width = round(int.from_bytes(png[16:20], "big") / dpi * _INCH)
    data = base64.b64encode(png).decode()
    kind = " class=wide tabindex=0" if width > _WIDE else ""
    # A small one is drawn larger where there is room.
    shown = width if kind else round(1.3 * width)
    image = f'<div{kind}><img width="{shown}" alt="{words}" src="data:image/png;base64,{data}"></div>'
    return Picture(f"<figure>{image}<figcaption>{escape(caption) or words.capitalize()}</figcaption></figure>", width)


def gallery(pictures: Iterable[Picture]) -> str:
    """Pictures in rows of equal length, two or three beside each other; nothing where there are none.

    Example:
        >>> gallery([Picture("<figure></figure>", 300)] * 4).count('<div class="row">')
        2
    """
    shown = list(pictures)
    most = 3 if all(one.width <= _THIRD for one in shown) else 2
    rows = np.array_split(np.arange(len(shown)), -(-len(shown) // most) or 1)
    return "".join(f'<div class="row">{"".join(shown[i].html for i in row)}</div>' for row in rows if row.size)


def cards(figures: Mapping[str, str]) -> str:
    r"""Each figure large, its spread small behind it, its name below.

    Example:
        >>> cards({"loss": "0.5 ± 0.1"})
        '<div class="cards"><div><b>0.5 <small>±\xa00.1</small></b><span>loss</span></div></div>'
    """

    def large(text: str) -> str:
        mean, sign, spread = escape(text).partition(" ± ")
        return f"{mean} <small>±\N{NO-BREAK SPACE}{spread}</small>" if sign else mean

    inside = "".join(f"<div><b>{large(text)}</b><span>{escape(name)}</span></div>" for name, text in figures.items())
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
    """A table of numbers under a head.

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
    if isinstance(value, bool):
        return "yes" if value else "no"
    return escape(str(value))
