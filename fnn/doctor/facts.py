"""What this machine computes with: versions, devices, settings."""

import os
import platform
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from fnn import jaxlibs
from fnn.record.words import packages

_BITS = {23: "full float32", 10: "TF32, about three decimal digits", 7: "bfloat16, about two decimal digits"}


class Facts(NamedTuple):
    """What this machine computes with, in words.

    Attributes:
        versions: of Python and of each package.
        known: what is known of this jaxlib; "" where nothing bad is.
        settings: platform, precision, flags, compilation cache, by name.
        devices: each local device and its memory.
        backend_error: why JAX cannot start; "" where it does.
        fault: what is known of this jaxlib concerns this platform.
    """

    versions: dict[str, str]
    known: str
    settings: dict[str, str]
    devices: tuple[str, ...]
    backend_error: str
    fault: bool


def facts() -> Facts:
    """What this machine computes with.

    Example:
        >>> facts().settings["float64"], list(facts().versions)[:3]
        ('off', ['python', 'fnn', 'jax'])
    """
    fault = jaxlibs.fault_of(jaxlibs.installed())
    known = f"wrong numbers on the {' and '.join(fault.platforms)}: {fault.what} ({fault.source})" if fault else ""
    try:
        devices, error = jax.local_devices(), ""
    except (RuntimeError, AssertionError) as raised:  # JAX asserts that some platform starts
        devices, error = [], (str(raised).splitlines() or ["no platform of JAX_PLATFORMS starts"])[0]
    here = devices[0].platform if devices else "none"
    settings = {"platform": f"{here}, {platform.machine()}, {os.cpu_count()} cores"}
    settings["float64"] = "on (jax_enable_x64)" if jax.dtypes.canonicalize_dtype(float) == np.float64 else "off"
    settings["precision"] = precision() if devices else "unknown"
    settings["XLA_FLAGS"] = os.environ.get("XLA_FLAGS", "") or "none"
    settings["cache"] = compilation_cache()
    told = tuple(f"{device}: {device.device_kind}, {_memory(device)}" for device in devices)
    return Facts(packages(), known, settings, told, error, fault is not None and here in fault.platforms)


def precision() -> str:
    """The setting of matrix products, and how many bits after the leading one they keep of a float32.

    Example:
        >>> with jax.default_matmul_precision("highest"):
        ...     print(precision())
        highest: products keep 23 bits, full float32
    """
    powers = np.arange(1, 24)
    x = np.diag(np.resize(1 + 0.5**powers, 256)).astype(np.float32)
    product = np.diag(np.asarray(jax.jit(jnp.matmul)(x, np.eye(256, dtype=np.float32))))[:23]
    bits = int(powers[product == 1 + 0.5**powers].max(initial=0))
    setting = _config("jax_default_matmul_precision") or "default"
    meaning = f", {_BITS[bits]}" if bits in _BITS else ""
    remedy = "" if bits >= 23 else '; for all of them set jax_default_matmul_precision to "highest"'
    return f"{setting}: products keep {bits} bits{meaning}{remedy}"


def compilation_cache() -> str:
    """Whether compiled programs are kept from process to process, where, and how many bytes.

    Example:
        >>> compilation_cache()  # "off", or "on, /tmp/jax_cache, 2.0 MB in 1 files"
        'o...'
    """
    folder = _config("jax_compilation_cache_dir")
    if not folder or not _config("jax_enable_compilation_cache"):
        return "off"
    if "://" in folder:
        return f"on, {folder}"
    sizes = [entry.stat().st_size for entry in Path(folder).rglob("*") if entry.is_file()]
    return f"on, {folder}, {sum(sizes) / 1e6:.1f} MB in {len(sizes)} files"


def _config(name: str) -> Any:
    return getattr(jax.config, name)


def _memory(device: Any) -> str:
    stats = device.memory_stats() or {}
    if "bytes_limit" in stats:
        used, limit = (stats[name] / 2**30 for name in ("bytes_in_use", "bytes_limit"))
        return f"{limit - used:.1f} of {limit:.1f} GiB free"
    try:
        table = dict(line.split(":") for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines())
        free, whole = (int(table[name].split()[0]) / 2**20 for name in ("MemAvailable", "MemTotal"))
        return f"{free:.1f} of {whole:.1f} GiB free, the machine's"
    except (OSError, KeyError, ValueError):
        return "memory unknown"
