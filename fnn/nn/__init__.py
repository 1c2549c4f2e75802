"""Layers, and networks as compositions of them."""

from fnn.nn.activation import activation
from fnn.nn.batch_norm import batch_norm
from fnn.nn.conv import conv
from fnn.nn.dense import dense
from fnn.nn.dropout import dropout
from fnn.nn.layer import Layer, Shaped, check_layer, residual, sequential, stateless
from fnn.nn.masked import keep_units
from fnn.nn.models import cnn, mlp, perceptron, resnet
from fnn.nn.norm import group_norm, layer_norm, rms_norm
from fnn.nn.pool import avg_pool, flatten, global_avg_pool, max_pool
from fnn.nn.remat import remat
from fnn.nn.standardize import standardize

__all__ = [
    "Layer",
    "Shaped",
    "activation",
    "avg_pool",
    "batch_norm",
    "check_layer",
    "cnn",
    "conv",
    "dense",
    "dropout",
    "flatten",
    "global_avg_pool",
    "group_norm",
    "keep_units",
    "layer_norm",
    "max_pool",
    "mlp",
    "perceptron",
    "remat",
    "residual",
    "resnet",
    "rms_norm",
    "sequential",
    "standardize",
    "stateless",
]
