"""Sets of examples: what they are, the order of their batches, and the built-in ones."""

from fnn.data.batches import batches, epoch_order, steps_per_epoch, take
from fnn.data.coffee import COFFEE_DRINKS, COFFEE_INGREDIENTS, coffee
from fnn.data.dataset import Dataset, Splits, WeightedBatch, check_dataset
from fnn.data.digits import digits
from fnn.data.idx import mnist
from fnn.data.image_folder import class_names, image_folder
from fnn.data.images import read_images
from fnn.data.shuffle import permutation
from fnn.data.source import Source
from fnn.data.split import split
from fnn.data.stream import stream

__all__ = [
    "COFFEE_DRINKS",
    "COFFEE_INGREDIENTS",
    "Dataset",
    "Source",
    "Splits",
    "WeightedBatch",
    "batches",
    "check_dataset",
    "class_names",
    "coffee",
    "digits",
    "epoch_order",
    "image_folder",
    "mnist",
    "permutation",
    "read_images",
    "split",
    "steps_per_epoch",
    "stream",
    "take",
]
