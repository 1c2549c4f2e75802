"""Short scripts that use fnn; each runs as `python -m experiments.NAME`, and `--help` shows its options."""
