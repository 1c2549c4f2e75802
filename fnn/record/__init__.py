"""A run as a folder of plain files, from which `python -m fnn report FOLDER` makes a page."""

from fnn.record.folder import load, save
from fnn.record.parts import Examples, Record
from fnn.record.words import versions, worded

__all__ = [
    "Examples",
    "Record",
    "load",
    "save",
    "versions",
    "worded",
]
