"""An exported network gives the outputs of `apply`: any batch, any host, in a process that has JAX alone."""

import functools
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.export
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen, nnx

import fnn
from fnn import interop, nn

KEY = jax.random.key(0)
VECTOR, IMAGE = (6,), (8, 8, 3)


class Linen(linen.Module):
    """Convolution, running statistics, dropout."""

    @linen.compact
    def __call__(self, x: jax.Array, *, train: bool = False) -> jax.Array:
        x = linen.relu(linen.Conv(4, (3, 3))(x))
        x = linen.BatchNorm(use_running_average=not train)(x)
        x = linen.Dropout(0.5, deterministic=not train)(linen.avg_pool(x, (2, 2), (2, 2)))
        return linen.Dense(3)(x.reshape(x.shape[0], -1))


class NNX(nnx.Module):
    """The same kinds of state, in the other library."""

    def __init__(self, rngs: nnx.Rngs) -> None:
        self.linear, self.norm = nnx.Linear(6, 4, rngs=rngs), nnx.BatchNorm(4, rngs=rngs)
        self.dropout = nnx.Dropout(0.5, rngs=rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        return self.dropout(self.norm(self.linear(x)))


def _vectors() -> nn.Layer:
    inner = nn.sequential(nn.dense(6), nn.layer_norm(), nn.activation("tanh"))
    return nn.sequential(nn.residual(inner), nn.rms_norm(), nn.dropout(0.5), nn.keep_units(3), nn.remat(nn.dense(2)))


def _images() -> nn.Layer:
    pools = [nn.max_pool(3, strides=2, padding="SAME"), nn.avg_pool(3, padding="SAME", count_include_pad=False)]
    convs = [nn.conv(6, 3, groups=3), nn.group_norm(2), nn.conv(4, 3, groups=2, strides=2, dilation=2)]
    return nn.sequential(nn.standardize(0.5, 0.5), *convs, *pools, nn.flatten(), nn.dense(2))


ZOO: dict[str, tuple[Callable[[], nn.Layer], tuple[int, ...]]] = {
    "perceptron": (nn.perceptron, VECTOR),
    "mlp": (lambda: nn.mlp([8, 5, 4], "gelu", dropout=0.5, norm=nn.batch_norm, active=[3, 5]), VECTOR),
    "vectors": (_vectors, VECTOR),
    "words": (lambda: nn.sequential(nn.dense(4), nn.layer_norm(), nn.flatten(), nn.dense(2)), (5, 6)),
    "images": (_images, IMAGE),
    "cnn": (lambda: nn.cnn([4, 5], [6], 3, dropout=0.5), IMAGE),
    "cnn for the CPU": (lambda: nn.cnn([4], [], 3, lowering="cpu"), IMAGE),
    "cnn with batch norm": (lambda: nn.cnn([4], [6], 3, norm=nn.batch_norm, activation="silu"), IMAGE),
    "resnet": (lambda: nn.resnet([4, 6], 1, 3), IMAGE),
    "signals": (lambda: nn.sequential(nn.conv(4, 3), nn.max_pool(2), nn.flatten()), (9, 2)),
    "volumes": (lambda: nn.sequential(nn.conv(2, 3), nn.global_avg_pool()), (4, 4, 4, 2)),
    "linen": (lambda: interop.from_linen(Linen()), IMAGE),
    "nnx factory": (lambda: interop.from_nnx(lambda rngs: NNX(rngs)), VECTOR),
    "nnx instance": (lambda: interop.from_nnx(NNX(nnx.Rngs(0))), VECTOR),
    "function": (lambda: interop.from_function(lambda p, x: jnp.sin(x @ p["w"]), {"w": jnp.ones((6, 2))}), VECTOR),
}


def _batch(n: int, shape: tuple[int, ...], dtype: Any = jnp.float32) -> jax.Array:
    return jax.random.normal(jax.random.key(1), (n, *shape), jnp.float32).astype(dtype)


@functools.cache
def _trained(kind: str) -> tuple[nn.Layer, Any, Any]:
    """A network, its first parameters moved a little, and statistics that are not the first."""
    make, shape = ZOO[kind]
    net = make()

    def moved(x: jax.Array) -> tuple[Any, Any]:
        params, state = net.init(KEY, x)
        params = jax.tree.map(lambda p: p + 0.01 * jnp.arange(p.size).reshape(p.shape) % 0.1, params)
        return params, net.apply(params, state, x, train=True, key=KEY)[1]

    return net, *jax.jit(moved)(_batch(17, shape))


def _read(path: Path) -> jax.export.Exported:
    return jax.export.deserialize(bytearray(path.read_bytes()))


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
@pytest.mark.parametrize("kind", ZOO)
def test_any_network_in_any_batch(kind: str, dtype: Any, tmp_path: Path) -> None:
    net, params, state = _trained(kind)
    params, x = fnn.tree.cast((params, _batch(17, ZOO[kind][1])), dtype)
    fnn.export(net, params, tmp_path / "net.jax", x[:5], state=state)
    exported = _read(tmp_path / "net.jax")
    assert exported.platforms == ("cpu", "cuda", "tpu")
    assert exported.nr_devices == 1
    whole = jax.jit(lambda x: net.apply(params, state, x)[0])(x)
    # In bfloat16 a number that another order of the sums rounds the other way lies a whole step apart.
    rtol = 1e-6 if x.dtype == jnp.float32 else float(jnp.finfo(x.dtype).eps)
    for n in (1, 3, 17):
        got, expected = exported.call(x[:n]), whole[:n]
        assert (got.shape, got.dtype) == (expected.shape, expected.dtype)
        got, expected = np.asarray(got, np.float32), np.asarray(expected, np.float32)
        np.testing.assert_allclose(got, expected, rtol=rtol, atol=1e-6)


# In a process of its own: what is None in sys.modules cannot be imported.
ALONE = """
import sys
for name in ("fnn", "flax", "optax", "chex"):
    sys.modules[name] = None
import pathlib
import jax.export, numpy as np
try:
    import fnn
except ImportError:
    print("no fnn here")
for path in sorted(pathlib.Path().glob("*.jax")):
    call = jax.export.deserialize(path.read_bytes()).call
    np.save(path.with_suffix(".y.npy"), call(np.load(path.with_suffix(".x.npy"))))
"""


def test_in_a_process_with_jax_alone(tmp_path: Path) -> None:
    expected = {}
    for number, kind in enumerate(("mlp", "cnn with batch norm", "linen")):
        (net, params, state), x = _trained(kind), _batch(7, ZOO[kind][1])
        fnn.export(net, params, tmp_path / f"{number}.jax", x, state=state, outputs="softmax")
        np.save(tmp_path / f"{number}.x.npy", x)
        expected[number] = jax.jit(lambda x, n=net, p=params, s=state: jax.nn.softmax(n.apply(p, s, x)[0]))(x)
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", ALONE], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert done.stdout == "no fnn here\n"
    for number, y in expected.items():
        np.testing.assert_allclose(np.load(tmp_path / f"{number}.y.npy"), y, rtol=0, atol=1e-6)


# What the file holds ---------------------------------------------------------------------------------------


def _exported(net: nn.Layer, x: jax.Array, path: Path, **options: Any) -> bytes:
    params, state = net.init(KEY, x)
    fnn.export(net, params, path, x, state=state, **options)
    return path.read_bytes()


@pytest.mark.parametrize("kind", ["images", "cnn with batch norm"])
def test_the_program_is_the_same_on_every_host(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make, shape = ZOO[kind]
    here = _exported(make(), _batch(2, shape), tmp_path / "a.jax")
    monkeypatch.setattr(jax, "default_backend", lambda: "tpu")
    assert _exported(make(), _batch(3, shape), tmp_path / "b.jax") == here
    assert str(Path(fnn.__file__).parent).encode() not in here
    assert b".py" not in here


def test_each_platform_has_its_own_lowering(tmp_path: Path) -> None:
    # By channel this convolution is products and sums on a CPU, and XLA's convolution elsewhere.
    net, x = nn.conv(3, 3, groups=3), _batch(2, IMAGE)
    for platform, convolutions in (("cpu", False), ("cuda", True), ("tpu", True)):
        _exported(net, x, tmp_path / "net.jax", platforms=(platform,))
        program = _read(tmp_path / "net.jax")
        assert program.platforms == (platform,)
        assert ("stablehlo.convolution" in program.mlir_module()) == convolutions


def test_the_settings_of_jax_are_left_as_they_were(tmp_path: Path) -> None:
    before = jax.config.values.copy()
    net = interop.from_function(lambda p, x: x.reshape(len(x), -1) @ p["w"], {"w": jnp.ones((6, 2))})
    with pytest.raises(TypeError) as caught:
        _exported(net, _batch(2, VECTOR), tmp_path / "net.jax")
    assert any("take x.shape[0], not len(x)" in note for note in caught.value.__notes__)
    _exported(nn.mlp([2]), _batch(2, VECTOR), tmp_path / "net.jax")
    assert jax.config.values == before


def test_parameters_on_many_devices_make_a_program_for_one(tmp_path: Path) -> None:
    mesh = jax.make_mesh((8,), ("parts",), axis_types=(jax.sharding.AxisType.Auto,))
    split = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("parts"))
    net, x = nn.dense(2, use_bias=False), _batch(2, (8,))
    params, _ = net.init(KEY, x)
    fnn.export(net, jax.device_put(params, split), tmp_path / "net.jax", x)
    program = _read(tmp_path / "net.jax")
    assert program.nr_devices == 1
    np.testing.assert_allclose(program.call(x), net.apply(params, {}, x)[0], rtol=1e-6)


def test_pixels_and_shapes_without_numbers(tmp_path: Path) -> None:
    net, x = nn.sequential(nn.standardize(0.5, 0.5), nn.flatten(), nn.dense(2)), jnp.arange(24, dtype=jnp.uint8)
    x = x.reshape(2, 3, 4, 1)
    params, state = net.init(KEY, x)
    fnn.export(
        net, params, str(tmp_path / "net.jax"), jax.ShapeDtypeStruct((0, *x.shape[1:]), x.dtype), outputs=jnp.sin
    )
    expected = jnp.sin(net.apply(params, state, x)[0])
    np.testing.assert_allclose(_read(tmp_path / "net.jax").call(x), expected, rtol=1e-6)


def test_a_table_that_is_looked_up_in(tmp_path: Path) -> None:
    # An array of NumPy cannot be indexed by what is not known yet: parameters come as arrays of JAX.
    net = interop.from_function(lambda p, x: p["table"][x].sum(axis=1), {"table": jnp.arange(6.0).reshape(3, 2)})
    x, table = jnp.array([[0, 2], [1, 1]]), np.arange(6, dtype=np.float32).reshape(3, 2)
    fnn.export(net, {"table": table}, tmp_path / "net.jax", x)
    np.testing.assert_array_equal(_read(tmp_path / "net.jax").call(x), [[4, 6], [4, 6]])


def test_an_older_file_stays_until_the_new_one_is_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, x = tmp_path / "net.jax", _batch(2, VECTOR)
    before = _exported(nn.mlp([2]), x, path)

    def half(self: Path, content: bytes) -> int:
        with self.open("wb") as file:
            file.write(content[: len(content) // 2])
        raise OSError("no space left")

    monkeypatch.setattr(Path, "write_bytes", half)
    with pytest.raises(OSError, match="no space left"):
        _exported(nn.mlp([3]), x, path)
    assert path.read_bytes() == before


# Refusals --------------------------------------------------------------------------------------------------

NET, X = nn.mlp([4, 2], norm=nn.batch_norm), jnp.ones((3, 5))
PARAMS, STATE = NET.init(KEY, X)
TRAINED = fnn.train.init_state(KEY, NET, fnn.optim.sgd(0.1), X)


@pytest.mark.parametrize(
    ("given", "error", "match"),
    [
        ({"net": linen.Dense(2)}, TypeError, r"net: got a Dense, expected a network .* fnn\.interop\.from_linen"),
        ({"x": [[1.0]]}, TypeError, r"x: got a list of 1, expected an array\. Convert it"),
        ({"x": jnp.ones(())}, ValueError, r"x: got a scalar, expected a batch, \(n, \.\.\.\)\. One example is"),
        ({"x": X.astype(int)}, TypeError, r"x: got dtype int32, expected floating-point numbers\."),
        ({"x": X.astype(jnp.bfloat16)}, TypeError, r"x: got dtype bfloat16, expected float32, as w is\."),
        (
            {"x": X[:, :3]},
            ValueError,
            r"params: got 'dense_0/w' \[5, 4\] instead of \[3, 4\], expected what mlp has for x of shape \(n, 3\)\.",
        ),
        (
            {"params": {"dense_1": PARAMS["dense_1"], "batch_norm_0": PARAMS["batch_norm_0"], "c": X}},
            ValueError,
            r"params: got 'dense_0/b' missing, 'dense_0/w' missing, 'c' too many, expected what mlp has",
        ),
        (
            {"params": TRAINED},
            TypeError,
            r"params: got a TrainState, expected the parameters alone\. Give state\.params",
        ),
        ({"params": {"w": 1.0}}, TypeError, r"params leaf 'w': got 1\.0, expected an array\."),
        (
            {"state": None},
            ValueError,
            r"state: got 'batch_norm_0/mean' missing, 'batch_norm_0/var' missing, expected .* Give state=: of a Train",
        ),
        ({"outputs": "sofmax"}, ValueError, r"activation: got 'sofmax', .* Did you mean 'softmax'"),
        ({"outputs": 3}, TypeError, r"outputs: got 3, expected a function of the network's outputs"),
        ({"platforms": "cpu"}, TypeError, r"platforms: got 'cpu', expected a tuple of names\. Such as \('cpu',\)\."),
        ({"platforms": ()}, ValueError, r"number of platforms: got 0, expected an integer >= 1\."),
        ({"platforms": ("gpu",)}, ValueError, r"platforms: got 'gpu', expected the maker's own\. NVIDIA's is 'cuda'"),
        ({"platforms": ("cpu", "tup")}, ValueError, r"platforms: got 'tup', .* Did you mean 'tpu'"),
        ({"path": 3}, TypeError, r"path: got a int, expected a file's path\."),
    ],
)
def test_refusals(given: dict[str, Any], error: type[Exception], match: str, tmp_path: Path) -> None:
    arguments = {"net": NET, "params": PARAMS, "path": tmp_path / "net.jax", "x": X, "state": STATE} | given
    with pytest.raises(error, match=f"^{match}"):
        fnn.export(**arguments)
    assert not list(tmp_path.iterdir())


def test_paths_that_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"^path: got .*net\.jax, expected a file in a folder that exists\."):
        fnn.export(NET, PARAMS, tmp_path / "no" / "net.jax", X, state=STATE)
    with pytest.raises(ValueError, match=r"^path: got .*, which is a folder, expected a file\. Add a file's name"):
        fnn.export(NET, PARAMS, tmp_path, X, state=STATE)


def test_under_a_trace(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match=r"^params: got values that are not known yet, expected arrays\."):
        jax.jit(lambda params: fnn.export(NET, params, tmp_path / "net.jax", X, state=STATE))(PARAMS)


def test_without_flatbuffers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "flatbuffers", None)
    with pytest.raises(ImportError, match=r"^fnn\.export needs flatbuffers, extra \[export\]: in the clone"):
        fnn.export(NET, PARAMS, tmp_path / "net.jax", X, state=STATE)
