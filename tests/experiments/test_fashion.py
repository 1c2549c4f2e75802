"""Fashion-MNIST: the same files and code as MNIST, with its own names and folder."""

import re
from dataclasses import replace
from pathlib import Path

import pytest

from experiments import common, vision
from experiments.fashion import CLASSES, DEFAULTS, EXPERIMENT
from experiments.vision import ImageOptions
from tests.experiments.images import write_idx, write_picture


def test_a_small_run_and_its_names(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_idx(tmp_path, 20)
    small = replace(DEFAULTS["cnn"], channels=(4,), hidden=(8,), batch_size=10, epochs=1, seeds=1, progress=False)
    options = replace(small, data=tmp_path, out=tmp_path)
    with common.console.capture() as printed:
        vision.main(EXPERIMENT, options)
    assert "12x12, cnn" in printed.get()
    assert (tmp_path / "fashion" / "feature_maps.png").is_file()
    write_picture(tmp_path / "a.png", 3)
    vision.main(EXPERIMENT, ImageOptions(out=tmp_path, predict=(tmp_path / "a.png",)))
    [line] = capsys.readouterr().out.splitlines()
    names = re.fullmatch(rf"{tmp_path}/a\.png: ([\w -]+): \d+ %, ([\w -]+): \d+ %, ([\w -]+): \d+ %", line)
    assert names is not None
    assert set(names.groups()) < set(CLASSES)


def test_there_are_ten_names() -> None:
    assert len(set(CLASSES)) == 10


def test_untrained(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"Train first: \S+ -m experiments\.fashion --data FOLDER"):
        vision.main(EXPERIMENT, ImageOptions(out=tmp_path, predict=(tmp_path / "a.png",)))
