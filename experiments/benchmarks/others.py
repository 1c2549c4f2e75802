"""PyTorch, scikit-learn and Keras, for `experiments.benchmarks.mlp` and `population`; none of it needs fnn."""

import itertools
import warnings
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from experiments.benchmarks.mlp_task import RATE, Task

Turn = Callable[[], float]


def sklearn_net(widths: tuple[int, ...], batch: int, epochs: int, seed: int) -> Any:
    """scikit-learn's classifier, which trains so many epochs and never stops early."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.neural_network import MLPClassifier

    warnings.filterwarnings("ignore", category=ConvergenceWarning)
    made: Any = MLPClassifier
    return made(
        widths[1:-1], solver="adam", alpha=0.0, batch_size=batch, learning_rate_init=RATE, max_iter=epochs, tol=0.0,
        n_iter_no_change=epochs + 1, warm_start=True, random_state=seed,
    )  # fmt: skip


def in_sklearn(task: Task) -> Turn:
    """scikit-learn: a `fit` for each turn, which goes on from the last one."""
    x, y = task.examples()
    net = sklearn_net(task.shape.widths, task.shape.batch, task.epochs, 0)

    def turn() -> float:
        net.fit(x, y)
        return float(net.loss_curve_[-1])

    return turn


def sklearn_one(x: np.ndarray, y: np.ndarray, widths: tuple[int, ...], batch: int, epochs: int, seed: int) -> float:
    """One network of scikit-learn; its last loss."""
    return float(sklearn_net(widths, batch, epochs, seed).fit(x, y).loss_curve_[-1])


def torch_net(widths: tuple[int, ...]) -> Any:
    """The network in PyTorch."""
    from torch import nn

    layers: list[nn.Module] = []
    for a, b in itertools.pairwise(widths):
        layers += [nn.Linear(a, b), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def torch_loader(task: Task) -> Turn:
    """PyTorch as its tutorials write it: a DataLoader, Adam as it comes, the running loss as a number."""
    import torch
    from torch import nn
    from torch.utils.data import DataLoader, TensorDataset

    torch.set_num_threads(task.cores)
    torch.manual_seed(0)
    net, criterion = torch_net(task.shape.widths), nn.CrossEntropyLoss()
    optimizer = torch.optim.Adam(net.parameters(), RATE)
    x, y = task.examples()
    data = TensorDataset(torch.from_numpy(x), torch.from_numpy(y.astype(np.int64)))
    loader = DataLoader(data, batch_size=task.shape.batch, shuffle=True)

    def turn() -> float:
        running = 0.0
        for _ in range(task.epochs):
            running = 0.0
            for inputs, labels in loader:
                optimizer.zero_grad()
                loss = criterion(net(inputs), labels)
                loss.backward()
                optimizer.step()
                running += loss.item()
        return running / len(loader)

    return turn


def torch_steps(
    x: np.ndarray, y: np.ndarray, widths: tuple[int, ...], batch: int, compiled: bool = False
) -> Callable[[], float]:
    """An epoch of PyTorch, tuned: tensors in memory, gathered at once, and the fused Adam; its mean loss."""
    import torch

    net: Any = torch_net(widths)
    optimizer = torch.optim.Adam(net.parameters(), RATE, fused=True)
    inputs, labels = torch.from_numpy(x), torch.from_numpy(y.astype(np.int64))

    def loss(x: Any, y: Any) -> Any:
        return torch.nn.functional.cross_entropy(net(x), y)

    forward = torch.compile(loss) if compiled else loss

    def epoch() -> float:
        order, total = torch.randperm(len(inputs)), torch.zeros(())
        pairs: Iterable[Any] = zip(inputs[order].split(batch), labels[order].split(batch), strict=True)
        for bx, by in pairs:
            optimizer.zero_grad()
            value = forward(bx, by)
            value.backward()
            optimizer.step()
            total += value.detach()
        return float(total) * batch / len(inputs)

    return epoch


def torch_one(x: np.ndarray, y: np.ndarray, widths: tuple[int, ...], batch: int, epochs: int, seed: int) -> float:
    """One network of PyTorch, tuned and on one thread; its last loss."""
    import torch

    torch.set_num_threads(1)
    torch.manual_seed(seed)
    epoch = torch_steps(x, y, widths, batch)
    return [epoch() for _ in range(epochs)][-1]


def torch_ensemble(
    x: np.ndarray, y: np.ndarray, widths: tuple[int, ...], batch: int, epochs: int, nets: int
) -> list[float]:
    """So many networks at once by torch.func, with the fused Adam on their stacked weights; the last loss of each.

    Each has its own order of the examples.
    """
    import torch
    from torch.func import functional_call, grad_and_value, stack_module_state, vmap

    torch.manual_seed(0)
    modules = [torch_net(widths) for _ in range(nets)]
    params = {name: stacked.detach() for name, stacked in stack_module_state(modules)[0].items()}
    optimizer = torch.optim.Adam(params.values(), RATE, fused=True)
    inputs, labels = torch.from_numpy(x), torch.from_numpy(y.astype(np.int64))
    skeleton: Any = torch_net(widths).to("meta")

    def loss(params: Any, x: Any, y: Any) -> Any:
        return torch.nn.functional.cross_entropy(functional_call(skeleton, params, (x,)), y)

    gradients, total = vmap(grad_and_value(loss)), torch.zeros(nets)
    for _ in range(epochs):
        order = torch.stack([torch.randperm(len(inputs)) for _ in range(nets)])
        total.zero_()
        for rows in order.split(batch, dim=1):
            grads, losses = gradients(params, inputs[rows], labels[rows])
            for name, stacked in params.items():
                stacked.grad = grads[name]
            optimizer.step()
            total += losses
    return (total * batch / len(inputs)).tolist()


def torch_tuned(task: Task, *, compiled: bool = False, threads: int | None = None) -> Turn:
    """PyTorch, tuned."""
    import torch

    torch.set_num_threads(threads or task.cores)
    torch.manual_seed(0)
    epoch = torch_steps(*task.examples(), task.shape.widths, task.shape.batch, compiled)
    return lambda: [epoch() for _ in range(task.epochs)][-1]


def in_keras(task: Task) -> Turn:
    """Keras 3 on the backend that KERAS_BACKEND names: one `fit` a turn."""
    import keras

    keras.utils.set_random_seed(0)
    inputs, *hidden, outputs = task.shape.widths
    layers = [keras.layers.Dense(width, activation="relu") for width in hidden]
    net: Any = keras.Sequential([keras.Input((inputs,)), *layers, keras.layers.Dense(outputs)])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    net.compile(optimizer=keras.optimizers.Adam(RATE, epsilon=1e-8), loss=loss)
    x, y = task.examples()

    def turn() -> float:
        fitted = net.fit(x, y, batch_size=task.shape.batch, epochs=task.epochs, verbose=0)
        return float(fitted.history["loss"][-1])

    return turn
