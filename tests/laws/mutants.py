"""The planted faults that prove the law kit's teeth, and the correct rules that it must not accuse.

`python -m tests.laws.mutants [examples]` runs the whole kit on each fault, and prints what caught it.
"""

import os
import sys

from tests.laws import faults_of_form as form
from tests.laws import faults_of_size as size
from tests.laws.fault import Fault

FAULTS: tuple[Fault, ...] = (
    *form.STRUCTURE,
    *form.PURITY,
    *form.PRECISE,
    *form.SYMMETRY,
    *size.RATES,
    *size.MOMENTUM,
    *size.RMSPROP,
    *size.ADAGRAD,
    *size.ADAM,
)
CORRECT: tuple[Fault, ...] = (
    Fault("sgd", "", "", ""),
    Fault("momentum", "", "", ""),
    Fault("momentum", "", "", "", {"nesterov": True}, "optax"),
    Fault("momentum", "", "", "", {"average": True}, "lecture"),
    Fault("momentum", "", "", "", {"dampening": 0.5}, "torch"),
    Fault("rmsprop", "", "", ""),
    Fault("rmsprop", "", "", "", {"centered": True, "momentum": 0.9}, "torch"),
    Fault("adagrad", "", "", ""),
    Fault("adam", "", "", ""),
    Fault("adam", "", "", "", {"weight_decay": 0.1}, "paper"),
    Fault("adam", "", "", "", {"amsgrad": True}, "optax"),
    Fault("guarded", "", "", "", traits={"elementwise": False}),
)


def main() -> None:
    """Prints, for each fault, how many laws caught it, and which."""
    # Read when JAX starts its backend, which no import does: four devices, for the law of shardings.
    os.environ["XLA_FLAGS"] = "--xla_force_host_platform_device_count=4"
    examples = int(sys.argv[1]) if len(sys.argv) > 1 else 20
    for fault in (*CORRECT, *FAULTS):
        broken = [row.law for row in fault.check(examples=examples).broken]
        missed = [law for law in fault.laws if law not in broken]
        note = f"  MISSED BY {', '.join(missed)}" if missed else ""
        print(f"{fault!s:<44}{len(broken):>3}  {', '.join(broken)}{note}", flush=True)


if __name__ == "__main__":
    main()
