"""The contestants of `experiments.benchmarks.gpu` in PyTorch, all in one process.

All have their data on the device and the fused Adam. "torch" is a plain loop; "torch-compile" has its forward and
backward pass compiled with mode="reduce-overhead"; "torch-graph" records an epoch of whole steps as one CUDA graph and
replays it. "torch-loader" is the loop of the tutorials.
"""

import contextlib
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.func import functional_call, grad_and_value, stack_module_state, vmap
from torch.utils.data import DataLoader, TensorDataset

from experiments.benchmarks import mlp_task
from experiments.benchmarks.cnn_worker import SIZE
from experiments.benchmarks.gpu_task import CNN_BATCH, Task, Turn, answered
from experiments.benchmarks.mlp_task import RATE
from experiments.benchmarks.others import torch_net

__all__ = ["CONTESTANTS", "Task"]

WARM = 3  # steps before a graph is recorded, on a stream beside


class Training:
    """A network, its data on the device, and the step on a batch."""

    def __init__(self, net: nn.Module, x: Any, y: np.ndarray, device: str, precision: str, *, compiled: bool) -> None:
        self.net, self.device, self.half = net.to(device), device, precision == "bfloat16"
        on_gpu = device == "cuda"
        self.optimizer = torch.optim.Adam(self.net.parameters(), RATE, fused=True, capturable=on_gpu)
        self.x, self.y = x.to(device), torch.from_numpy(y.astype(np.int64)).to(device)
        self.total = torch.zeros((), device=device)
        self.forward: Callable[..., Any] = torch.compile(self.loss, mode="reduce-overhead") if compiled else self.loss

    def loss(self, x: Any, y: Any) -> Any:
        """Mean cross-entropy of a batch."""
        # Without its cache, which no graph may record.
        with torch.autocast(self.device, torch.bfloat16, enabled=self.half, cache_enabled=False):
            return nn.functional.cross_entropy(self.net(x), y)

    def step(self, rows: Any) -> None:
        """One step on these examples."""
        self.optimizer.zero_grad()
        value = self.forward(self.x[rows], self.y[rows])
        value.backward()
        self.optimizer.step()
        self.total += value.detach()

    def epoch(self, batch: int) -> Any:
        """One epoch, shuffled anew; its mean loss, on the device."""
        self.total.zero_()
        order = torch.randperm(len(self.x), device=self.device).reshape(-1, batch)
        for rows in order:
            self.step(rows)
        return self.total / len(order)

    def recorded(self, batch: int) -> Callable[[], Any]:
        """An epoch as one CUDA graph."""
        order = torch.randperm(len(self.x), device=self.device).reshape(-1, batch)
        graph = torch.cuda.CUDAGraph()
        beside = torch.cuda.Stream()
        beside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(beside):
            for rows in order[:WARM]:
                self.step(rows)
        torch.cuda.current_stream().wait_stream(beside)
        self.optimizer.zero_grad()
        with torch.cuda.graph(graph):
            for rows in order:
                self.step(rows)

        def epoch() -> Any:
            self.total.zero_()
            order.copy_(torch.randperm(len(self.x), device=self.device).reshape(-1, batch))
            graph.replay()
            return self.total / len(order)

        return epoch


def of_epochs(name: str, training: Training, batch: int, epochs: int) -> Turn:
    """Turns of so many epochs; the mean loss of the last one."""
    epoch = training.recorded(batch) if name == "torch-graph" else partial(training.epoch, batch)
    return lambda: float([epoch() for _ in range(epochs)][-1])  # a number: waits for the device


def with_loader(task: mlp_task.Task, device: str) -> Turn:
    """The loop of the tutorials: a DataLoader, Adam as it comes, the running loss as a number."""
    net, criterion = torch_net(task.shape.widths).to(device), nn.CrossEntropyLoss()
    optimizer = torch.optim.Adam(net.parameters(), RATE)
    x, y = task.examples()
    data = TensorDataset(torch.from_numpy(x), torch.from_numpy(y.astype(np.int64)))
    loader = DataLoader(data, batch_size=task.shape.batch, shuffle=True, pin_memory=device == "cuda")

    def turn() -> float:
        running = 0.0
        for _ in range(task.epochs):
            running = 0.0
            for inputs, labels in loader:
                optimizer.zero_grad()
                loss = criterion(net(inputs.to(device)), labels.to(device))
                loss.backward()
                optimizer.step()
                running += loss.item()
        return running / len(loader)

    return turn


def mlp_turn(device: str, name: str, precision: str, shape: str, epochs: int) -> Turn:
    """A perceptron of `experiments.benchmarks.mlp`."""
    torch.manual_seed(0)
    task = mlp_task.Task(shape, epochs, 1)
    if name == "torch-loader":
        return with_loader(task, device)
    x, y = task.examples()
    net, compiled = torch_net(task.shape.widths), name == "torch-compile"
    training = Training(net, torch.from_numpy(x), y, device, precision, compiled=compiled)
    return of_epochs(name, training, task.shape.batch, epochs)


def cnn_turn(device: str, name: str, precision: str, steps: int) -> Turn:
    """The network of `experiments.benchmarks.cnn`, channels last."""
    torch.manual_seed(0)
    draw = np.random.default_rng(0)
    y = draw.integers(0, 10, steps * CNN_BATCH, dtype=np.int32)
    x = draw.random((10, 1, SIZE, SIZE), np.float32)[y] + draw.random((len(y), 1, SIZE, SIZE), np.float32)
    layers: list[nn.Module] = []
    for before, after in ((1, 32), (32, 64)):
        layers += [nn.Conv2d(before, after, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)]
    net: Any = nn.Sequential(*layers, nn.Flatten(), nn.Linear(3136, 128), nn.ReLU(), nn.Linear(128, 10))
    net, inputs = net.to(memory_format=torch.channels_last), torch.from_numpy(x / np.float32(2))
    training = Training(net, inputs, y, device, precision, compiled=name == "torch-compile")
    return of_epochs(name, training, CNN_BATCH, 1)


def population_turn(device: str, _: str, __: str, widths: list[int], nets: int, epochs: int) -> Turn:
    """Networks at once by torch.func, a step of all recorded as one CUDA graph; each has its own order of the data."""
    x, y = mlp_task.Task("digits", 1, 1).examples()
    inputs, labels = torch.from_numpy(x).to(device), torch.from_numpy(y.astype(np.int64)).to(device)
    skeleton, batch = torch_net(tuple(widths)).to("meta"), 64

    def loss(params: Any, x: Any, y: Any) -> Any:
        return nn.functional.cross_entropy(functional_call(skeleton, params, (x,)), y)

    gradients = vmap(grad_and_value(loss))

    def train() -> dict[str, Any]:
        torch.manual_seed(0)
        modules = [torch_net(tuple(widths)) for _ in range(nets)]
        params = {name: stacked.detach().to(device) for name, stacked in stack_module_state(modules)[0].items()}
        optimizer = torch.optim.Adam(params.values(), RATE, fused=True, capturable=device == "cuda")
        total, rows = torch.zeros(nets, device=device), torch.zeros((nets, batch), dtype=torch.int64, device=device)

        def step() -> None:
            grads, losses = gradients(params, inputs[rows], labels[rows])
            for name, stacked in params.items():
                stacked.grad = grads[name]
            optimizer.step()
            total.add_(losses)

        go = graphed(step) if device == "cuda" else step
        for _ in range(epochs):
            order = torch.rand(nets, len(inputs), device=device).argsort(dim=1)
            total.zero_()
            for part in order.split(batch, dim=1):
                rows.copy_(part)
                go()
        memory = torch.cuda.max_memory_allocated() / 2**20 if device == "cuda" else 0
        return {"loss": float(total.mean()) * batch / len(inputs), "compile_seconds": 0.0, "device_mb": memory}

    return train


def graphed(step: Callable[[], None]) -> Callable[[], None]:
    """A step as a CUDA graph."""
    beside = torch.cuda.Stream()
    beside.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(beside):
        step()
    torch.cuda.current_stream().wait_stream(beside)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        step()
    return graph.replay


@contextlib.contextmanager
def products(precision: str) -> Iterator[None]:
    """How float32 is multiplied, by cuBLAS and by cuDNN."""
    torch.set_float32_matmul_precision("highest" if precision == "float32" else "high")
    torch.backends.cudnn.allow_tf32 = precision != "float32"
    yield


def everything(task: Task) -> Callable[..., dict[str, Any]]:
    """All contestants in PyTorch."""
    if task.platform == "cuda" and not torch.cuda.is_available():
        raise RuntimeError("PyTorch finds no GPU")
    kinds = {"mlp": mlp_turn, "cnn": cnn_turn, "population": population_turn}
    return answered({kind: partial(build, task.platform) for kind, build in kinds.items()}, products)


CONTESTANTS = {"torch": everything}
