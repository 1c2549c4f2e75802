"""Layers, and networks as compositions of them."""

from fnn.nn.activation import activation
from fnn.nn.dense import dense
from fnn.nn.dropout import dropout
from fnn.nn.layer import Layer, Shaped, check_layer, residual, sequential, stateless
from fnn.nn.models import mlp, perceptron

__all__ = [
    "Layer",
    "Shaped",
    "activation",
    "check_layer",
    "dense",
    "dropout",
    "mlp",
    "perceptron",
    "residual",
    "sequential",
    "stateless",
]
