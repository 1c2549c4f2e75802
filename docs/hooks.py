"""For the pages: the conventions, made from the conventions themselves."""

from typing import Any

import fnn

RULES = ("momentum", "rmsprop", "adagrad", "adam")
MARK = "<!-- conventions -->"


def on_page_markdown(markdown: str, **kwargs: Any) -> str:
    """Called for every page; puts the table where the page has its mark."""
    del kwargs
    return markdown.replace(MARK, "\n\n".join(map(table, RULES))) if MARK in markdown else markdown


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
