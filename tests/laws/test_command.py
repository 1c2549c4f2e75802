"""`python -m fnn laws`: the report on the terminal, and an exit status for scripts."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from fnn.__main__ import main
from fnn.laws.command import imported

Output = pytest.CaptureFixture[str]


def test_a_rule_that_holds(capsys: Output) -> None:
    assert main(["laws", "fnn.optim.momentum", "beta=0.5", "convention=torch", "--only", "odd", "step_bound"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("fnn.optim.momentum: 1 held, 1 does not apply (")


def test_a_rule_that_breaks(capsys: Output) -> None:
    assert main(["laws", "optax.adam", "--only", "integers_are_refused", "--examples", "2"]) == 1
    assert "init takes parameters of int32 without a word" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        (["optax.adamm"], "error: factory: got optax.adamm, expected a name in the module optax."),
        (["nowhere.adam"], "error: factory: got nowhere.adam, expected module.function. Such as optax.adam."),
        (["optax.adam", "b1"], "error: arguments: got b1, expected name=value."),
        (["optax.adam", "--only", "odder"], "error: laws: got 'odder', expected one of"),
        (["optax.adam", "--like", "torch/adm"], "error: rule: got 'adm', expected one of"),
        (["optax.clip"], "error: hyperparams: got none for max_delta"),
    ],
)
def test_wrong_calls(arguments: list[str], match: str, capsys: Output) -> None:
    assert main(["laws", *arguments]) == 2
    assert capsys.readouterr().err.startswith(match)


def test_other_commands(capsys: Output) -> None:
    assert main([]) == 0
    assert capsys.readouterr().out.startswith("usage: python -m fnn COMMAND")
    assert main(["law"]) == 2
    assert "command: got 'law', expected doctor or launch or laws or report." in capsys.readouterr().err


def test_likes_a_convention(capsys: Output) -> None:
    wrong = ["laws", "fnn.optim.momentum", "--like", "torch/momentum", "--only", "follows_its_convention"]
    assert main(wrong) == 1
    assert main([*wrong[:2], "convention=torch", *wrong[2:]]) == 0
    capsys.readouterr()


def test_a_factory_in_the_current_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mine_alone.py").write_text(
        "import optax\n\ndef rule(learning_rate):\n    return optax.sgd(learning_rate)\n"
    )
    command = [sys.executable, "-m", "fnn", "laws", "mine_alone.rule", "--only", "odd", "sharding_kept"]
    out = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True).stdout
    assert out.startswith("mine_alone.rule: 2 held")
    assert "sharding_kept: on 8 devices" in out


def test_what_is_imported() -> None:
    import optax

    named: Callable[..., object] = imported("optax.contrib:muon")
    assert named is optax.contrib.muon
    with pytest.raises(ValueError, match=r"^factory: got optax, expected module\.function"):
        imported("optax")
