"""Data augmentation: pure functions of a key that draw anew at every step, inside the compiled program.

Each factory returns an `Augmentation`, `augment(key, batch) -> batch`; `fnn.train.supervised` and `fnn.fit`
take one. A batch of images is a `Dataset`, a pair (x, y) or a `WeightedBatch`, with x (n, h, w, c) of
uint8 or floating-point pixels. Every example draws its own, and the batch keeps its type.
"""

from fnn.augment.chain import chain
from fnn.augment.mix_up import mix_up
from fnn.augment.pixels import cutout, flip, shift_crop

__all__ = ["chain", "cutout", "flip", "mix_up", "shift_crop"]
