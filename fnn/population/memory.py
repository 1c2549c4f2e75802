"""How much memory is left for a program."""

import os
from pathlib import Path

import jax


def free_bytes() -> int:
    """Memory that is free on the first device, in bytes; on a CPU that of the machine.

    Example:
        >>> free_bytes() > 0
        True
    """
    device = jax.local_devices()[0]
    known = device.memory_stats() or {}
    if "bytes_limit" in known:
        return known["bytes_limit"] - known["bytes_in_use"]
    try:
        table = dict(line.split(":") for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines())
        return int(table["MemAvailable"].split()[0]) * 1024
    except (OSError, KeyError, ValueError):
        # Where the system does not tell: half of what there is.
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2
