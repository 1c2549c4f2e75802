"""Populations: many networks as one stacked state, and the algorithms that act on all of them at once."""

from fnn.population.early_stopping import Stopped, until_stopped
from fnn.population.ensemble import Uncertainty, disagreement, ensemble, member_probabilities, uncertainty
from fnn.population.halving import Halved, Hyperbanded, Rung, hyperband, successive_halving
from fnn.population.members import ranked, take
from fnn.population.pbt import Evolved, exploit_and_explore, population_based_training

__all__ = [
    "Evolved",
    "Halved",
    "Hyperbanded",
    "Rung",
    "Stopped",
    "Uncertainty",
    "disagreement",
    "ensemble",
    "exploit_and_explore",
    "hyperband",
    "member_probabilities",
    "population_based_training",
    "ranked",
    "successive_halving",
    "take",
    "uncertainty",
    "until_stopped",
]
