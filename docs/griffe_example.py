"""For the reference: a docstring's `Example:` is a section of code, as `Examples:` is to Griffe."""

import re
from typing import Any

import griffe


class ExampleSections(griffe.Extension):
    """Names the sections as Griffe knows them; the source keeps its own word."""

    def on_instance(self, *, obj: griffe.Object, **kwargs: Any) -> None:
        """Called for every module, class and function that was read."""
        del kwargs
        if obj.docstring is not None:
            obj.docstring.value = re.sub(r"(?m)^Example:$", "Examples:", obj.docstring.value)
