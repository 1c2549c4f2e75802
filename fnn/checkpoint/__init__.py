"""Checkpoints: a whole state on disk, sealed, so that a killed save leaves the last good one and no bit flips unseen.

Orbax writes and reads the arrays; what is around them is written here: names, checks, checksums, and the rename that
makes a checkpoint appear all at once.
"""

from fnn.checkpoint.folder import about, latest, restore, save, steps
from fnn.checkpoint.saver import Saver
from fnn.checkpoint.seal import CorruptCheckpoint

__all__ = [
    "CorruptCheckpoint",
    "Saver",
    "about",
    "latest",
    "restore",
    "save",
    "steps",
]
