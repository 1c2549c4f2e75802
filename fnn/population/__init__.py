"""Populations: many networks trained as one program."""

from fnn.population.results import Best, Results
from fnn.population.samples import choice, grid, log_uniform, sample, uniform

__all__ = ["Best", "Results", "choice", "grid", "log_uniform", "sample", "uniform"]
