"""Which form of a sweep's program is fastest: measured on the sweep's own first cells."""

import math
from collections.abc import Callable
from typing import NamedTuple

import jax

from fnn.population.program import Form

# Small nets on a CPU are as fast 8 at once as 256. Where lanes hinder each other, as convolutions do on a CPU, one
# after another is best.
_ON_CPU = (Form("vmap", 8), Form("map", 1), Form("vmap", 32), Form("vmap", 128))
# On each accelerator. A step of 64 small nets takes it about as long as a step of one, so that it is filled at once: to
# compile again after a few of them takes longer than most sweeps. Fewer are for nets that do not fit into its memory.
_ELSEWHERE = (Form("vmap", 1024), Form("vmap", 4096), Form("vmap", 128), Form("vmap", 16))
# Another form is tried only where what is left takes this many times as long as it takes to compile.
_WORTH = 30.0
_GAIN = 0.95
_ALL = max(len(_ON_CPU), len(_ELSEWHERE))


class Known(NamedTuple):
    """What a pace has learned, in numbers alone, so that a checkpoint holds it.

    Attributes:
        tried: how many forms it has looked at.
        vmapped: whether "vmap" is the mode of the best one, and not "map".
        chunk: the cells in a call of the best one; 0 where none is known yet.
        seconds: what it took for each cell.
        compiling: the longest time that a form took to compile, in seconds.
    """

    tried: int = 0
    vmapped: bool = False
    chunk: int = 0
    seconds: float = 0.0
    compiling: float = 0.0

    @property
    def form(self) -> Form:
        """The best form; one cell after another where none is known yet."""
        return Form("vmap" if self.vmapped else "map", self.chunk or 1)


def settled(form: Form) -> Known:
    """What there is to know where the form is given: it stands.

    Example:
        >>> Pace(1000, lanes=1, chunk=None, fits=lambda form: True, known=settled(Form("map", 2))).next(done=0)
        Form(mode='map', chunk=2)
    """
    return Known(_ALL, form.mode == "vmap", form.chunk)


class Pace:
    """Chooses the form of the next calls by what the calls before have taken.

    Cells that measure a form are cells of the sweep, so that no work is lost but the compiling.

    Args:
        count: how many cells there are.
        lanes: calls at the same time; each gets at least one cell.
        chunk: cells in a call; None tries several.
        fits: whether a form fits into memory; it compiles the form.
        known: what an earlier pace has learned, `pace.known`: this one goes on from there.

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

    def __init__(
        self, count: int, lanes: int, chunk: int | None, fits: Callable[[Form], bool], known: Known | None = None
    ):
        devices = jax.local_devices()
        on_cpu = devices[0].platform == "cpu"
        many = tuple(form._replace(chunk=form.chunk * len(devices)) for form in _ELSEWHERE)
        forms = _ON_CPU if on_cpu else many
        self._forms = forms if chunk is None else (Form("vmap", chunk), Form("map", chunk))
        self._count, self._lanes, self._fits = count, lanes, fits
        self._fills = chunk is None and not on_cpu
        self._too_many = math.inf
        self.known = known or Known()

    def next(self, done: int) -> Form:
        """The form for the next calls, when so many cells are done."""
        left = self._count - done
        while self.known.tried < len(self._forms) and self._worth_it(left):
            form = self._forms[self.known.tried]
            self.known = self.known._replace(tried=self.known.tried + 1)
            form = self._shared(form, left)
            fewer = self._fills and form.chunk <= self.known.chunk
            if fewer or form.chunk >= self._too_many or (self.known.chunk and form == self.known.form):
                continue
            if form.mode == "map" or self._fits(form):
                return form
            self._too_many = form.chunk
        return self.known.form

    def _shared(self, form: Form, left: int) -> Form:
        """This form where so many cells are left: every lane gets a cell.

        Calls that fill a device are equally large, since a last one of a few cells would take as long as the others.
        """
        each = -(-left // self._lanes)
        calls = -(-each // form.chunk) if self._fills else 1
        return form._replace(chunk=min(form.chunk, -(-each // calls)))

    def tell(self, form: Form, cells: int, seconds: float, compiling: float) -> None:
        """So many cells took so long in this form, and compiling it took so long."""
        known, each = self.known, seconds / cells
        self.known = known = known._replace(compiling=max(known.compiling, compiling))
        if not known.chunk or form == known.form or each < _GAIN * known.seconds:
            self.known = known._replace(vmapped=form.mode == "vmap", chunk=form.chunk, seconds=each)

    def _worth_it(self, left: int) -> bool:
        return not self.known.chunk or left * self.known.seconds > _WORTH * self.known.compiling
