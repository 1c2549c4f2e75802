"""An MLP or a CNN on MNIST: `python -m experiments.mnist --data FOLDER --model cnn`.

FOLDER holds the four IDX files, gzipped or plain. One network is trained from each seed; pictures, the history
and the network of the first are written under runs/mnist/. `--predict FILE...` names pictures with it: dark ink
on light paper is inverted, as the digits of MNIST are light on black.
"""

import jax
import jax.numpy as jnp

import fnn
from experiments import vision
from experiments.vision import Experiment, ImageOptions
from fnn.data import Splits

_MLP = ImageOptions(model="mlp", hidden=(512, 512), dropout=0.2, learning_rate=1e-3, batch_size=128, epochs=20, seeds=3)
_CNN = ImageOptions(
    model="cnn",
    channels=(32, 64),
    hidden=(128,),
    mean=0.1307,
    stddev=0.3081,
    shift=2,
    learning_rate=1e-3,
    batch_size=128,
    epochs=12,
    seeds=3,
)
DEFAULTS = {"mlp": _MLP, "cnn": _CNN}


def read(options: ImageOptions) -> tuple[Splits, tuple[str, ...]]:
    """The images, and the digits as names."""
    assert options.data is not None
    return fnn.data.mnist(options.data), tuple("0123456789")


def light_on_black(x: jax.Array) -> jax.Array:
    """Pictures whose border is light are inverted: ink on paper becomes what the network knows."""
    border = jnp.ones(x.shape[1:3], bool).at[1:-1, 1:-1].set(False)
    light = jnp.mean(x.astype(jnp.float32), axis=(1, 2, 3), where=border[None, :, :, None]) > 127.5
    return jnp.where(light[:, None, None, None], 255 - x, x)


EXPERIMENT = Experiment("mnist", read, light_on_black, DEFAULTS)

if __name__ == "__main__":
    vision.command(EXPERIMENT, "mlp", __doc__)
