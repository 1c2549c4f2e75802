"""Cats and dogs: any two folders of pictures are learned, and pictures are named with their share."""

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from experiments import common, vision
from experiments.cats_dogs import DEFAULTS, EXPERIMENT, FolderOptions
from tests.experiments.images import write_folders

SMALL = replace(
    DEFAULTS["cnn"], channels=(3, 4, 8), hidden=(8,), size=12, shift=2, cutout=3, epochs=12, warmup=0, batch_size=8,
    learning_rate=0.01, dropout=0.0, progress=False,
)  # fmt: skip


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("fruit")
    write_folders(folder)
    return folder


@pytest.fixture(scope="module", params=["cnn", "fast_resnet"])
def trained(request: pytest.FixtureRequest, data: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, str]:
    """The options of a small run, and what it printed."""
    options = replace(SMALL, model=request.param, data=data, out=tmp_path_factory.mktemp("runs"))
    with common.console.capture() as printed:
        vision.main(EXPERIMENT, options)
    return options, printed.get()


def test_everything_is_written(trained: tuple[FolderOptions, str]) -> None:
    options, printed = trained
    assert f"12x12, {options.model}" in printed
    pictures = ["learning_curves", "confusion_matrix", "predictions", "filters", "feature_maps"]
    pictures += ["gradient_flow", "update_ratios"]
    record = {"history.csv", "layers.csv", "examples.npz", "summary.json", "network.txt"}
    files = {*(f"{name}.png" for name in pictures), *record, "model.npz"}
    assert {path.name for path in (options.out / "cats_dogs").iterdir()} == files
    summary = json.loads((options.out / "cats_dogs" / "summary.json").read_text())["figures"]
    assert summary["test accuracy"][0] > 0.9


def test_pictures_are_named(trained: tuple[FolderOptions, str], data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options, _ = trained
    files = data / "test" / "plum" / "3.png", data / "test" / "apple" / "5.png"
    vision.main(EXPERIMENT, FolderOptions(out=options.out, predict=files))
    lines = capsys.readouterr().out.splitlines()
    for line, file, names in zip(lines, files, (("plum", "apple"), ("apple", "plum")), strict=True):
        found = re.fullmatch(rf"{file}: {names[0]}: (\d+) %, {names[1]}: (\d+) %", line)
        assert found is not None, line
        assert int(found[1]) + int(found[2]) == 100


def _without_test(folder: Path) -> None:
    shutil.rmtree(folder / "test")


def _other_classes(folder: Path) -> None:
    (folder / "test" / "plum").rename(folder / "test" / "pear")


def _one_class(folder: Path) -> None:
    for part in ("train", "test"):
        shutil.rmtree(folder / part / "plum")


def _spoilt(folder: Path) -> None:
    (folder / "train" / "apple" / "3.png").write_bytes(b"")


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (shutil.rmtree, r"data: got .*, expected a folder with train/ and test/ in it"),
        (_without_test, r"data: got .*, expected a folder with train/ and test/ in it"),
        (_other_classes, r"test: got classes apple, pear, expected apple, plum, as in train/"),
        (_one_class, r"with one class folder, apple, expected at least two classes"),
        (_spoilt, r"apple/3\.png: got an empty file, expected a JPEG or PNG image"),
    ],
)
def test_wrong_folders_are_refused(change: Any, match: str, data: Path, tmp_path: Path) -> None:
    shutil.copytree(data, tmp_path / "copy")
    change(tmp_path / "copy")
    with pytest.raises(ValueError, match=match):
        vision.main(EXPERIMENT, replace(SMALL, data=tmp_path / "copy", out=tmp_path / "runs"))


def test_a_spoilt_picture_is_left_out_as_asked(data: Path, tmp_path: Path) -> None:
    shutil.copytree(data, tmp_path / "copy")
    _spoilt(tmp_path / "copy")
    options = replace(SMALL, data=tmp_path / "copy", out=tmp_path / "runs", bad="skip")
    with pytest.warns(UserWarning, match=r"left out 1 of 24 files.*apple/3\.png"):
        splits, names = EXPERIMENT.read(options)
    assert len(splits.train.x) == 23
    assert names == ("apple", "plum")


def test_a_fast_resnet_of_one_stage(data: Path, tmp_path: Path) -> None:
    options = replace(SMALL, model="fast_resnet", channels=(8,), data=data, out=tmp_path)
    with pytest.raises(ValueError, match=r"channels: got \(8,\), expected at least two numbers with fast_resnet"):
        vision.main(EXPERIMENT, options)
