"""For the pages: tables of conventions and of laws, made from the conventions and the laws themselves."""

from typing import Any

import fnn
from fnn.laws import layer, loss, step, transform

RULES = ("momentum", "rmsprop", "adagrad", "adam")
CONVENTIONS = "<!-- conventions -->"
LAWS = "<!-- laws -->"
KINDS = {
    "Laws of a gradient transformation": transform.LAWS,
    "Laws of a loss": loss.LAWS,
    "Laws of a layer": layer.LAWS,
    "Laws of a training step": step.LAWS,
}


def on_page_markdown(markdown: str, **kwargs: Any) -> str:
    """Called for every page; puts the tables where the page has their marks."""
    del kwargs
    if CONVENTIONS in markdown:
        markdown = markdown.replace(CONVENTIONS, "\n\n".join(map(table, RULES)))
    if LAWS in markdown:
        markdown = markdown.replace(LAWS, "\n\n".join(laws(title, of) for title, of in KINDS.items()))
    return markdown


def laws(title: str, of: tuple[fnn.laws.Law, ...]) -> str:
    """A table of laws: the name, the statement, and the traits without which a law does not apply."""
    lines = [f"### {title}", "", "| Law | What it says | Only if |", "| --- | --- | --- |"]
    for law in of:
        needs = ", ".join(trait.replace("_", " ") for trait in law.needs if trait != "runs")
        lines.append(f"| `{law.name}` | {law.statement.replace('|', '&#124;')} | {needs} |")
    return "\n".join(lines)


def table(rule: str) -> str:
    """One rule: what is left out, convention by convention, and the equations, once for all that share them."""
    rows = [fnn.optim.convention(name, rule) for name in fnn.optim.conventions(rule)]
    return "\n\n".join([f"### {rule}", *_defaults(rows), *_equations(rows)])


def _defaults(rows: list[fnn.optim.Convention]) -> list[str]:
    names = list(dict.fromkeys(name for row in rows for name in row.defaults))
    if not names:
        return []
    lines = [f"| Left out | {' | '.join(f'`{name}`' for name in names)} |", "| --- |" + " ---: |" * len(names)]
    lines += [f'| "{row.name}" | {" | ".join(str(row.defaults.get(name, "")) for name in names)} |' for row in rows]
    return ["\n".join(lines)]


def _equations(rows: list[fnn.optim.Convention]) -> list[str]:
    alike: dict[tuple[str, ...], list[fnn.optim.Convention]] = {}
    for row in rows:
        alike.setdefault(row.equations, []).append(row)
    blocks = []
    for equations, same in alike.items():
        names = "; ".join(f'**"{row.name}"**, {row.source}' for row in same)
        blocks += [f"{names}:", "\n".join(["```text", *equations, "```"])]
    return blocks
