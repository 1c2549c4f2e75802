"""Whether exported networks give a GPU's outputs right: `python -m experiments.benchmarks.shipped FOLDER`.

A perceptron and a convolutional network are exported for "cpu" and "cuda" by a process on the CPU, which also computes
what they give. Another process, with JAX alone, runs the files on the device that JAX takes by default. Exported with
the precision "highest" they must agree to 1e-5, relative to the largest output; with JAX's default, which takes TF32
on a GPU, to 5e-3.
"""

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path

TOLERANCE = {"highest": 1e-5, "default": 5e-3}
# What somebody runs who has the file and JAX.
RUN = """
import json, pathlib, sys
import jax, jax.export
import numpy as np

found = {"platform": jax.default_backend(), "device": str(jax.devices()[0].device_kind), "jax": jax.__version__}
for file in sorted(pathlib.Path(sys.argv[1]).glob("*.jax")):
    held = np.load(file.with_suffix(".npz"))
    got = np.asarray(jax.export.deserialize(file.read_bytes()).call(held["x"]))
    found[file.stem] = float(np.abs(got - held["y"]).max() / np.abs(held["y"]).max())
assert "fnn" not in sys.modules
print(json.dumps(found))
"""


def make(folder: Path) -> None:
    """Exports the networks, each in both precisions, and saves inputs and outputs beside them."""
    import jax
    import numpy as np

    import fnn

    nets = {"mlp": (fnn.nn.mlp([128, 64, 10]), (64,)), "cnn": (fnn.nn.cnn([32, 64], [128], 10), (28, 28, 1))}
    for name, (net, shape) in nets.items():
        x = jax.random.normal(jax.random.key(1), (256, *shape))
        params, state = net.init(jax.random.key(0), x)
        for precision in TOLERANCE:
            with jax.default_matmul_precision(precision):
                y, _ = net.apply(params, state, x, train=False)
                fnn.export(net, params, folder / f"{name}-{precision}.jax", x, platforms=["cpu", "cuda"])
            np.savez(folder / f"{name}-{precision}.npz", x=np.asarray(x), y=np.asarray(y))


def main(arguments: list[str] | None = None) -> int:
    """Prints how far the outputs are apart; 0 where they are close enough."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="for the files")
    parser.add_argument("--make", action="store_true", help="only export")
    options = parser.parse_args(arguments)
    options.folder.mkdir(parents=True, exist_ok=True)
    if options.make:
        make(options.folder)
        return 0
    again = [sys.executable, "-m", "experiments.benchmarks.shipped", str(options.folder), "--make"]
    subprocess.run(again, env={**os.environ, "JAX_PLATFORMS": "cpu"}, check=True)
    command = [sys.executable, "-c", RUN, str(options.folder.resolve())]
    ran = subprocess.run(command, cwd=options.folder, stdout=subprocess.PIPE, check=True)
    found = json.loads(ran.stdout)
    print(f"exported on the CPU, run on {found['platform']} ({found['device']}), jax {found['jax']}")
    wrong = 0
    for name in sorted(set(found) - {"platform", "device", "jax"}):
        most = TOLERANCE[name.partition("-")[2]]
        right = found[name] <= most
        wrong += not right
        print(f"{name:16} relative error {found[name]:.2e}, at most {most:.0e}: {'ok' if right else 'WRONG'}")
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main())
