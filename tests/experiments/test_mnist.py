"""MNIST: a small network learns from the real files; without them the refusal names what is missing."""

from dataclasses import replace
from pathlib import Path

import pytest

from experiments.mnist import MnistOptions, main


def test_one_epoch(mnist_path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = MnistOptions(data=mnist_path, hidden=(64,), epochs=1, seeds=1, out=tmp_path, progress=False)
    main(options)
    out = capsys.readouterr().out
    accuracy = next(line for line in out.splitlines() if "test accuracy" in line).split("│")[2]
    assert float(accuracy.strip().rstrip("%")) > 90
    assert (tmp_path / "mnist" / "worst_examples.png").is_file()


def test_no_such_folder(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="train-images"):
        main(replace(MnistOptions(data=tmp_path), out=tmp_path))
