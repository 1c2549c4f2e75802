"""Cats from dogs, or any other classes of pictures: `python -m experiments.cats_dogs --data FOLDER`.

FOLDER holds the folders train/ and test/, and in each a folder for every class, such as cat/ and dog/, with JPEG or
PNG files. One network is trained from each seed; pictures, the history and the network of the first are written
under runs/cats_dogs/. `--predict FILE...` names pictures with it: `some.jpg: dog: 99 %, cat: 1 %`.
"""

from dataclasses import dataclass, replace
from typing import Literal

import fnn
from experiments import vision
from experiments.vision import Experiment, ImageOptions
from fnn.data import Splits


@dataclass(frozen=True, kw_only=True)
class FolderOptions(ImageOptions):
    """The options of images, and those of reading them from files."""

    size: int = 32
    """Height and width that every picture is cut and scaled to, in pixels."""
    bad: Literal["refuse", "skip"] = "refuse"
    """What to do with a file that cannot be read."""


_PICTURES = FolderOptions(
    dropout=0.2, mean=0.47, stddev=0.25, mirror=True, shift=4, fill="reflect", batch_size=128, seeds=3
)
# In 10,000 pictures the danger is to learn them by heart: mix-up, cutout, dropout and L2 are against that.
_RESNET = replace(
    _PICTURES,
    model="fast_resnet",
    channels=(32, 64, 128, 256),
    cutout=8,
    mix_up=0.3,
    optimizer="momentum",
    convention="torch",
    nesterov=True,
    learning_rate=0.1,
    warmup=5,
    l2=2.5e-4,
    epochs=50,
)
_MLP = replace(_PICTURES, model="mlp", hidden=(512, 512), label_smoothing=0.1, warmup=3, weight_decay=5e-2, epochs=24)
DEFAULTS = {
    "fast_resnet": _RESNET,
    "resnet": replace(_RESNET, model="resnet", channels=(16, 32, 64), blocks=1),
    "cnn": replace(_RESNET, model="cnn", channels=(32, 64, 128), hidden=(128,), batch_norm=True),
    "mlp": _MLP,
}


def read(options: FolderOptions) -> tuple[Splits, tuple[str, ...]]:
    """The pictures, and the names of the class folders, which are the same in both parts."""
    assert options.data is not None
    folders = options.data / "train", options.data / "test"
    if not options.data.is_dir() or not all(folder.is_dir() for folder in folders):
        expected = "a folder with train/ and test/ in it"
        raise ValueError(fnn.errors.message("data", options.data, expected, "In each is a folder for every class."))
    names, others = map(fnn.data.class_names, folders)
    if names != others:
        got = f"classes {', '.join(others)}"
        raise ValueError(fnn.errors.message(str(folders[1]), got, f"{', '.join(names)}, as in train/"))
    train, test = (fnn.data.image_folder(folder, options.size, bad=options.bad) for folder in folders)
    return Splits(train, test), names


EXPERIMENT = Experiment("cats_dogs", read, lambda x: x, DEFAULTS)

if __name__ == "__main__":
    vision.command(EXPERIMENT, "fast_resnet", __doc__)
