"""Sets of examples: what they are, the order of their batches, and the built-in ones."""

from fnn.data.batches import batches, epoch_order, steps_per_epoch, take
from fnn.data.dataset import Dataset, Splits, WeightedBatch, check_dataset

__all__ = [
    "Dataset",
    "Splits",
    "WeightedBatch",
    "batches",
    "check_dataset",
    "epoch_order",
    "steps_per_epoch",
    "take",
]
