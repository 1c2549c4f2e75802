"""Parameters come back from their file bit for bit, in their tree; what does not fit is named."""

import re
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import fnn
from fnn.shipping import load_params, save_params

FORMS = [".npz", ".safetensors"]
FLOATS = [jnp.bfloat16, jnp.float16, jnp.float32, jnp.float8_e4m3fn, jnp.float8_e5m2]
OTHERS = [jnp.complex64, jnp.int8, jnp.uint8, jnp.int16, jnp.uint16, jnp.int32, jnp.uint32]
WIDE = [jnp.float64, jnp.int64, jnp.uint64]
SHAPES = [(), (0,), (0, 3), (5,), (2, 3, 4)]
NET = fnn.nn.cnn([4], [6], 3, norm=fnn.nn.batch_norm)
PARAMS, STATE = NET.init(jax.random.key(0), jnp.ones((1, 8, 8, 3)))


class Pair(NamedTuple):
    w: Any
    b: Any


def _of_every_kind(dtypes: Any) -> dict[str, Any]:
    """Any bits, NaNs of every kind among them."""
    rng, tree = np.random.default_rng(0), {"flag": {"on": np.array([True, False])}}
    for dtype in map(jnp.dtype, dtypes):
        bits = [rng.integers(0, 256, (*shape, dtype.itemsize), np.uint8) for shape in SHAPES]
        tree[str(dtype)] = {
            str(i): np.frombuffer(b.tobytes(), dtype).reshape(shape)
            for i, (b, shape) in enumerate(zip(bits, SHAPES, strict=True))
        }
    return tree


def _same(found: Any, given: Any) -> None:
    assert jax.tree.structure(found) == jax.tree.structure(given)
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(given), strict=True):
        assert isinstance(a, jax.Array)
        assert (a.shape, a.dtype) == (np.shape(b), b.dtype)
        assert np.asarray(a).tobytes() == np.asarray(b).tobytes()


@pytest.mark.parametrize("suffix", FORMS)
@pytest.mark.parametrize("with_like", [True, False])
def test_every_kind_of_leaf_bit_for_bit(suffix: str, with_like: bool, tmp_path: Path) -> None:
    tree, path = _of_every_kind(FLOATS + OTHERS), tmp_path / f"net{suffix}"
    save_params(path, tree)
    _same(load_params(path, tree if with_like else None), tree)
    save_params(path, jax.tree.map(jnp.asarray, tree))
    _same(load_params(str(path)), tree)
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize("suffix", FORMS)
def test_numbers_of_64_bits(suffix: str, tmp_path: Path) -> None:
    tree, path = _of_every_kind(WIDE), tmp_path / f"net{suffix}"
    save_params(path, tree)
    with jax.enable_x64(True):
        _same(load_params(path, tree), tree)
    match = r"^net.*, leaf '(float|u?int)64/0': got dtype \w+64, expected at most 32 bits a number\. Set jax\.config"
    with pytest.raises(ValueError, match=match):
        load_params(path, tree)


@pytest.mark.parametrize("suffix", FORMS)
def test_a_network_goes_on_with_its_file(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"net{suffix}"
    save_params(path, {"params": PARAMS, "state": STATE})
    found = load_params(path)
    _same(found, {"params": PARAMS, "state": STATE})
    x = jnp.ones((2, 8, 8, 3))
    np.testing.assert_array_equal(NET.apply(found["params"], found["state"], x)[0], NET.apply(PARAMS, STATE, x)[0])
    like = jax.eval_shape(NET.init, jax.random.key(0), x)
    _same(load_params(path, dict(zip(("params", "state"), like, strict=True))), found)


@pytest.mark.parametrize("suffix", FORMS)
def test_other_trees(suffix: str, tmp_path: Path) -> None:
    tree, path = [Pair(jnp.ones(2), jnp.zeros(())), {"mlp/~/linear": jnp.ones(1)}], tmp_path / f"net{suffix}"
    save_params(path, tree)
    _same(load_params(path, tree), tree)
    found = load_params(path)
    _same(found, {"0": {"w": jnp.ones(2), "b": jnp.zeros(())}, "1": {"mlp": {"~": {"linear": jnp.ones(1)}}}})


@pytest.mark.parametrize("suffix", FORMS)
def test_a_leaf_beside_its_own_branch_needs_like(suffix: str, tmp_path: Path) -> None:
    for tree in ({"a": jnp.ones(1), "a/b/c": jnp.ones(2)}, {"a/b": jnp.ones(1), "a/b/c": jnp.ones(2)}):
        path = tmp_path / f"net{suffix}"
        save_params(path, tree)
        with pytest.raises(ValueError, match=r"^net\..*: got a leaf inside of leaf 'a.*', expected nested dicts\."):
            load_params(path)
        _same(load_params(path, tree), tree)


@pytest.mark.parametrize("suffix", FORMS)
def test_each_difference_is_named(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"net{suffix}"
    save_params(path, {"d": {"w": jnp.ones((2, 3)), "b": jnp.ones(3), "c": jnp.ones(1)}, "e": jnp.ones(2)})
    like = {"d": {"w": jnp.ones((3, 2)), "b": jnp.ones(3, jnp.bfloat16), "a": jnp.ones(1)}, "e": np.ones(2, np.float32)}
    match = (
        f"parameters in net{suffix}: got 'd/a' missing, 'd/c' too many, 'd/b' float32[3] instead of bfloat16[3], "
        "'d/w' float32[2, 3] instead of float32[3, 2], expected the paths, shapes and dtypes of like. Nothing is cast"
    )
    with pytest.raises(ValueError, match=f"^{re.escape(match)}"):
        load_params(path, like)


@pytest.mark.parametrize("suffix", FORMS)
def test_an_older_file_stays_until_the_new_one_is_whole(
    suffix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / f"net{suffix}"
    save_params(path, PARAMS)

    def half(self: Path, content: bytes) -> int:
        with self.open("wb") as file:
            file.write(content[: len(content) // 2])
        raise OSError("no space left")

    monkeypatch.setattr(Path, "write_bytes", half)
    with pytest.raises(OSError, match="no space left"):
        save_params(path, STATE)
    _same(load_params(path), PARAMS)


@pytest.mark.parametrize("suffix", FORMS)
def test_a_broken_file_is_named(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"net{suffix}"
    save_params(path, PARAMS)
    path.write_bytes(path.read_bytes()[:100])
    match = (
        rf"net{suffix}: got a file that cannot be read as {suffix[1:]} \(.*\), expected named arrays, whole\. Save or"
    )
    with pytest.raises(ValueError, match=match):
        load_params(path)


@pytest.mark.parametrize(
    ("tree", "error", "match"),
    [
        ({"w": 1.0}, TypeError, r"params leaf 'w': got 1\.0, expected an array\."),
        (jnp.ones(2), TypeError, r"params: got one \w+, expected arrays in a dict or another tree\. Name it"),
        ({"a/b": jnp.ones(1), "a": {"b": jnp.ones(1)}}, ValueError, r"params: got two leaves of one path, expected"),
        ({"k": jax.random.key(0)}, TypeError, r"params leaf 'k': got a typed key, expected numbers\. Save the data"),
        ({"w": jax.ShapeDtypeStruct((), "f4")}, TypeError, r"params leaf 'w': got a shape, expected numbers\. Draw"),
    ],
)
def test_what_cannot_be_saved(tree: Any, error: type[Exception], match: str, tmp_path: Path) -> None:
    for suffix in FORMS:
        with pytest.raises(error, match=f"^{match}"):
            save_params(tmp_path / f"net{suffix}", tree)
    assert not list(tmp_path.iterdir())


def test_paths(tmp_path: Path) -> None:
    uses: list[Any] = [lambda path: save_params(path, PARAMS), load_params]
    for use in uses:
        for path in (tmp_path / "net.pt", tmp_path / "net", 3):
            with pytest.raises(ValueError, match=r"^path: got .*, expected a file's path that ends in \.npz or \.safe"):
                use(path)
        with pytest.raises(FileNotFoundError, match=r"^path: got .*net\.npz, expected a file"):
            use(tmp_path / "no" / "net.npz")
    with pytest.raises(TypeError, match=r"^params: got values that are not known yet, expected arrays\."):
        jax.jit(lambda params: save_params(tmp_path / "net.npz", params))(PARAMS)
