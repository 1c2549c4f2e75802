"""Populations: many networks trained as one program, and the algorithms that act on all of them at once."""

from fnn.population.early_stopping import Stopped, until_stopped
from fnn.population.ensemble import Uncertainty, disagreement, ensemble, member_probabilities, uncertainty
from fnn.population.halving import Halved, Hyperbanded, Rung, hyperband, successive_halving
from fnn.population.members import ranked, take
from fnn.population.pbt import Evolved, exploit_and_explore, population_based_training
from fnn.population.results import Best, Results
from fnn.population.samples import choice, grid, log_uniform, sample, uniform

__all__ = [
    "Best",
    "Evolved",
    "Halved",
    "Hyperbanded",
    "Results",
    "Rung",
    "Stopped",
    "Uncertainty",
    "choice",
    "disagreement",
    "ensemble",
    "exploit_and_explore",
    "grid",
    "hyperband",
    "log_uniform",
    "member_probabilities",
    "population_based_training",
    "ranked",
    "sample",
    "successive_halving",
    "take",
    "uncertainty",
    "uniform",
    "until_stopped",
]
