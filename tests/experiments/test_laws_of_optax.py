"""The law kit on Optax: which factories there are, one report, and the table."""

from pathlib import Path

from experiments.laws_of_optax import ARGUMENTS, EXTRA, NO_RULES, TRAITS, Options, factories, main, table


def test_every_public_factory_is_there() -> None:
    found = factories()
    assert {"adam", "sgd", "clip", "lbfgs", "masked", "contrib.muon", "contrib.schedule_free"} <= set(found)
    assert len(found) > 100
    assert not [name for name in found if name.split(".")[-1].startswith("_")]
    # What the experiment says of a factory is of one that exists.
    assert set(ARGUMENTS) | set(EXTRA) | set(TRAITS) | set(NO_RULES) <= set(found)
    assert not set(NO_RULES) & (set(ARGUMENTS) | set(EXTRA) | set(TRAITS))


def test_a_report_is_written(tmp_path: Path) -> None:
    main(Options(only=("scale_by_sign", "chain"), examples=2, out=tmp_path))
    folder = tmp_path / "laws_of_optax"
    assert sorted(path.name for path in folder.iterdir()) == ["scale_by_sign.txt", "table.md"]
    assert (folder / "scale_by_sign.txt").read_text().startswith("optax.scale_by_sign: ")


def test_the_table() -> None:
    text = table({"a": ["odd", "memory"], "b": ["odd"], "c": []})
    assert text.splitlines()[2:] == [
        "| `odd` | 2 | `a`, `b` |",
        "| `memory` | 1 | `a` |",
        "",
        "1 of 3 break none: `c`.",
    ]
