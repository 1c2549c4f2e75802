"""What the contestants of `experiments.benchmarks.gpu` are given, without JAX or PyTorch."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

Turn = Callable[[], Any]

CNN_BATCH = 128
# How float32 is multiplied, and the dtype of activations: TF32 keeps 10 bits of a factor, bfloat16 keeps 7.
PRECISIONS = ("float32", "tf32", "bfloat16")

ALL = "FUSION,CUBLAS,CUBLASLT,CUDNN,CUSTOM_CALL,DYNAMIC_SLICE_FUSION"
# Which operations XLA records as CUDA graphs, "command buffers", by compiler options.
BUFFERS: dict[str, dict[str, str | bool | int]] = {
    "default": {},
    "off": {"xla_gpu_enable_command_buffer": ""},
    "all": {"xla_gpu_enable_command_buffer": ALL, "xla_gpu_graph_min_graph_size": 1},
    "loops": {
        "xla_gpu_enable_command_buffer": f"{ALL},WHILE,CONDITIONAL",
        "xla_gpu_graph_min_graph_size": 1,
    },
    "unrolled": {
        "xla_gpu_enable_command_buffer": f"{ALL},WHILE,CONDITIONAL",
        "xla_gpu_graph_min_graph_size": 1,
        "xla_gpu_command_buffer_unroll_loops": True,
    },
}


class Task(NamedTuple):
    """What a process of contestants is given.

    Attributes:
        platform: "cuda" or "cpu", as JAX names them; PyTorch's device has the same name.
    """

    platform: str


def answered(kinds: Mapping[str, Callable[..., Turn]], around: Callable[[str], Any]) -> Callable[..., dict[str, Any]]:
    """A turn (kind, name, precision, arguments) of whichever contestant; one that fails answers with its error.

    Args:
        kinds: each kind's builder, of a turn from (name, precision, *arguments).
        around: a context manager that sets the precision of products.
    """
    made: dict[str, Turn] = {}

    def answer(kind: str, name: str, precision: str, arguments: list[Any]) -> dict[str, Any]:
        key = repr((kind, name, precision, arguments))
        try:
            with around(precision):
                if key not in made:
                    made[key] = kinds[kind](name, precision, *arguments)
                told = made[key]()
                return told if isinstance(told, dict) else {"loss": told}
        except Exception as error:
            return {"error": f"{type(error).__name__}: {(str(error).splitlines() or [''])[0][:200]}"}

    return answer
