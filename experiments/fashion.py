"""A CNN or an MLP on Fashion-MNIST: `python -m experiments.fashion --data FOLDER`.

FOLDER holds the four IDX files, gzipped or plain, named as those of MNIST. One network is trained from each seed;
pictures, the history and the network of the first are written under runs/fashion/. `--predict FILE...` names
pictures with it; one with a light background is inverted, as the articles of Fashion-MNIST lie on black.
"""

from dataclasses import replace

from experiments import mnist, vision
from experiments.vision import ImageOptions
from fnn.data import Splits

# Xiao et al. 2017, "Fashion-MNIST: a novel image dataset for benchmarking machine learning algorithms", table 2.
CLASSES = ("T-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot")
DEFAULTS = {
    "mlp": mnist.DEFAULTS["mlp"],
    "cnn": replace(mnist.DEFAULTS["cnn"], mean=0.2860, stddev=0.3530, mirror=True, shift=1, dropout=0.3, epochs=20),
}


def read(options: ImageOptions) -> tuple[Splits, tuple[str, ...]]:
    """The images, and the articles' names."""
    return mnist.read(options)[0], CLASSES


EXPERIMENT = mnist.EXPERIMENT._replace(name="fashion", read=read, defaults=DEFAULTS)

if __name__ == "__main__":
    vision.command(EXPERIMENT, "cnn", __doc__)
