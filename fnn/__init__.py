"""fnn: pure training steps in JAX."""
