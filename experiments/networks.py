"""Networks that the experiments compose from layers, beside those of `fnn.nn`."""

from collections.abc import Sequence

import fnn
from fnn import nn
from fnn.nn import Layer
from fnn.typing import Array, Initializer, Key, Params, Scalar, State


def fast_resnet(
    channels: Sequence[int], outputs: int, *, activation: str, dropout: Scalar, w_init: Initializer | None
) -> Layer:
    """Convolutions that pool at once, so that most of the work is done on small images, and one residual block.

    Source: after Page 2018, "How to train your ResNet", a network for the DAWNBench competition.
    """
    if len(channels) < 2:
        raise ValueError(fnn.errors.message("channels", channels, "at least two numbers with fast_resnet"))
    f = nn.activation(activation)

    def convolved(channels: int, *then: Layer) -> list[Layer]:
        return [nn.conv(channels, 3, w_init=w_init or "he", use_bias=False), nn.batch_norm(), *then, f]

    *early, middle, last = channels
    block = nn.residual(nn.sequential(*convolved(middle), *convolved(middle)))
    layers = [layer for width in early for layer in convolved(width, nn.max_pool(2))]
    layers += [*convolved(middle), block, nn.max_pool(2), *convolved(last), nn.global_avg_pool()]
    net = nn.sequential(*layers, nn.dropout(dropout), nn.dense(outputs))
    return net._replace(name="fast_resnet")


def mirrored(net: Layer) -> Layer:
    """In evaluation the mean of what a network says to an image and to its mirror image; in training as it is."""

    def apply(
        params: Params, state: State, x: Array, *, train: bool = False, key: Key | None = None
    ) -> tuple[Array, State]:
        y, new_state = net.apply(params, state, x, train=train, key=key)
        if train:
            return y, new_state
        other, _ = net.apply(params, state, x[:, :, ::-1])
        return (y + other) / 2, state

    return net._replace(apply=apply)
