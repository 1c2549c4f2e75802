"""Which form of a sweep's program is fastest: measured on the sweep's own first cells."""

from collections.abc import Callable
from typing import NamedTuple

import jax

from fnn.population.program import Form

# Small nets on a CPU are as fast 8 at once as 256; an accelerator wants to be filled. Where lanes hinder each
# other, as convolutions do on a CPU, one after another is best.
_ON_CPU = (Form("vmap", 8), Form("map", 1), Form("vmap", 32), Form("vmap", 128))
_ELSEWHERE = (Form("vmap", 64), Form("vmap", 512), Form("vmap", 4096))
# Another form is tried only where what is left takes this many times as long as it takes to compile.
_WORTH = 30.0
_GAIN = 0.95


class Trial(NamedTuple):
    """A form, and the seconds that it took for each cell."""

    form: Form
    seconds: float


class Pace:
    """Chooses the form of the next calls by what the calls before have taken.

    Cells that measure a form are cells of the sweep, so that no work is lost but the compiling.

    Args:
        count: how many cells there are.
        lanes: devices, or calls at the same time; each gets at least one cell.
        chunk: cells in a call; None tries several.
        fits: whether a form fits into memory; it compiles the form.

    Example:
        >>> pace = Pace(1000, lanes=1, chunk=50, fits=lambda form: True)
        >>> pace.next(done=0)
        Form(mode='vmap', chunk=50)
        >>> pace.tell(Form("vmap", 50), cells=50, seconds=50.0, compiling=1.0)
        >>> pace.next(done=50)
        Form(mode='map', chunk=50)
        >>> pace.tell(Form("map", 50), cells=50, seconds=60.0, compiling=1.0)
        >>> pace.next(done=100)
        Form(mode='vmap', chunk=50)
    """

    def __init__(self, count: int, lanes: int, chunk: int | None, fits: Callable[[Form], bool]):
        forms = _ON_CPU if jax.local_devices()[0].platform == "cpu" else _ELSEWHERE
        self._forms = list(forms) if chunk is None else [Form("vmap", chunk), Form("map", chunk)]
        self._count, self._lanes, self._fits = count, lanes, fits
        self._best: Trial | None = None
        self._compiling = 0.0

    def next(self, done: int) -> Form:
        """The form for the next calls, when so many cells are done."""
        left = self._count - done
        while self._forms and (self._best is None or left * self._best.seconds > _WORTH * self._compiling):
            form = self._forms.pop(0)
            # Every lane gets a cell.
            form = form._replace(chunk=min(form.chunk, -(-left // self._lanes)))
            if self._best is not None and form == self._best.form:
                continue
            if form.mode == "map" or self._fits(form):
                return form
        return Form("map", 1) if self._best is None else self._best.form

    def tell(self, form: Form, cells: int, seconds: float, compiling: float) -> None:
        """So many cells took so long in this form, and compiling it took so long."""
        each = seconds / cells
        self._compiling = max(self._compiling, compiling)
        if self._best is None or form == self._best.form or each < _GAIN * self._best.seconds:
            self._best = Trial(form, each)
