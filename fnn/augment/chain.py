"""Several augmentations as one."""

import jax

from fnn.errors import check_callable, check_key, message
from fnn.typing import Augmentation, Batch, Key


def chain(*augmentations: Augmentation) -> Augmentation:
    """One augmentation after another, `a_k(key_k, ... a_1(key_1, batch))`; each has its own key, by position.

    Raises:
        ValueError: there are none.
        TypeError: something is not a function.

    Example:
        >>> from fnn.augment import cutout, flip, shift_crop
        >>> augment = chain(flip(), shift_crop(2), cutout(4))
        >>> augment(jax.random.key(0), (jnp.ones((3, 8, 8, 1)), jnp.arange(3)))[0].shape
        (3, 8, 8, 1)
    """
    if not augmentations:
        raise ValueError(message("augmentations", "none", "at least one augmentation"))
    for position, augmentation in enumerate(augmentations):
        remedy = "Call its factory: flip()."
        check_callable(f"augmentations[{position}]", augmentation, "a function (key, batch) -> batch", remedy)

    def augment(key: Key, batch: Batch) -> Batch:
        check_key("key", key)
        for position, augmentation in enumerate(augmentations):
            batch = augmentation(jax.random.fold_in(key, position), batch)
        return batch

    return augment
