"""A checkpoint comes back bit for bit, is there whole or not at all, and is refused where one bit is wrong."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding, PartitionSpec

import fnn
from fnn.checkpoint import CorruptCheckpoint, about, latest, restore, save, steps
from fnn.keys import is_key

DTYPES = [
    "bool",
    "int8",
    "uint8",
    "int32",
    "uint32",
    "int4",
    "float16",
    "bfloat16",
    "float32",
    "float8_e4m3fn",
    "complex64",
]


def zoo() -> dict[str, Any]:
    """Leaves of every dtype and of awkward shapes, keys, NumPy arrays of 64 bits, and numbers of Python."""
    arrays = {dtype: jnp.arange(6).reshape(2, 3).astype(dtype) for dtype in DTYPES}
    odd = {
        "scalar": jnp.float32(-0.0),
        "nan": jnp.array([jnp.nan, jnp.inf, 1e-40]),
        "none": jnp.zeros((0, 3), jnp.bfloat16),
    }
    keys = {"key": jax.random.key(3), "keys": jax.random.split(jax.random.key(4, impl="rbg"), 2)}
    plain = {"numpy": np.arange(3.0), "wide": np.int64(2**40), "steps": 7, "rate": 0.1, "done": True}
    return {"arrays": arrays, "odd": odd, "keys": keys, "plain": plain, "nothing": {}, "pair": (jnp.ones(1), [])}


def bits(tree: Any) -> list[Any]:
    leaves = [jax.random.key_data(x) if is_key(x) else x for x in jax.tree.leaves(tree)]
    return [(np.asarray(x).shape, str(np.asarray(x).dtype), np.asarray(x).tobytes()) for x in leaves]


def zeros(tree: Any) -> Any:
    """The same tree with other numbers."""

    def zero(x: Any) -> Any:
        if is_key(x):
            return jax.random.wrap_key_data(jax.random.key_data(x) * 0, impl=jax.random.key_impl(x))
        return (
            jnp.zeros_like(x)
            if isinstance(x, jax.Array)
            else np.zeros_like(x)
            if isinstance(x, np.ndarray)
            else type(x)(0)
        )

    return jax.tree.map(zero, tree)


def test_every_kind_of_leaf_comes_back_bit_for_bit(tmp_path: Path) -> None:
    tree = zoo()
    save(tmp_path, 5, tree)
    found = restore(tmp_path, zeros(tree))
    assert jax.tree.structure(found) == jax.tree.structure(tree)
    assert bits(found) == bits(tree)
    for got, given in zip(jax.tree.leaves(found), jax.tree.leaves(tree), strict=True):
        assert isinstance(got, type(given)) or isinstance(given, np.generic)
    assert found["plain"]["done"] is True
    assert jax.random.key_impl(found["keys"]["keys"]) == "rbg"


def test_shapes_alone_are_enough(tmp_path: Path) -> None:
    net, tx = fnn.nn.cnn([4], [8], 3, norm=fnn.nn.batch_norm), fnn.optim.adam(1e-3)
    state = fnn.train.init_state(jax.random.key(0), net, tx, jnp.ones((2, 8, 8, 1)))
    save(tmp_path, 0, state)
    like = jax.eval_shape(lambda: fnn.train.init_state(jax.random.key(1), net, tx, jnp.ones((2, 8, 8, 1))))
    assert bits(restore(tmp_path, like)) == bits(state)


def test_weak_types_come_back(tmp_path: Path) -> None:
    """Otherwise a step is compiled anew, or promotes to another dtype."""
    weak = {"rate": jnp.asarray(-0.0), "count": jnp.asarray(3), "many": jnp.full((2, 3), 0.5), "pair": jnp.full(2, 1j)}
    tree = {**weak, "strong": jnp.float32(1)}
    assert all(leaf.weak_type for leaf in weak.values())
    save(tmp_path, 0, tree)
    shapes = jax.tree.map(lambda a: jax.ShapeDtypeStruct(a.shape, a.dtype, weak_type=a.weak_type), tree)
    for like in (zeros(tree), shapes):
        found = restore(tmp_path, like)
        assert {name: leaf.weak_type for name, leaf in found.items()} == dict.fromkeys(weak, True) | {"strong": False}
        assert bits(found) == bits(tree)
    chex.clear_trace_counter()
    step = jax.jit(chex.assert_max_traces(lambda tree: tree["rate"] * jnp.ones(2, jnp.bfloat16), n=1))
    assert step(tree).dtype == step(restore(tmp_path, tree)).dtype == jnp.bfloat16


def test_64_bits_are_not_cast_silently(tmp_path: Path) -> None:
    save(tmp_path, 0, {"w": np.ones(2)})
    with pytest.raises(ValueError, match="like: got 'w' of float64, expected dtypes that JAX holds"):
        restore(tmp_path, {"w": jax.ShapeDtypeStruct((2,), np.float64)})
    with jax.enable_x64(True):
        assert restore(tmp_path, {"w": jax.ShapeDtypeStruct((2,), np.float64)})["w"].dtype == np.float64


def test_onto_other_devices(tmp_path: Path) -> None:
    mesh = jax.make_mesh((8,), ("data",), axis_types=(AxisType.Auto,))
    x = jnp.arange(64.0).reshape(16, 4)
    for placed in (PartitionSpec("data"), PartitionSpec()):
        there = NamedSharding(mesh, placed)
        folder = tmp_path / str(placed)
        save(folder, 0, {"x": jax.device_put(x, there)})
        alone = restore(folder, {"x": jnp.zeros((16, 4))})["x"]
        assert len(alone.devices()) == 1
        spread = restore(
            folder,
            {"x": jax.ShapeDtypeStruct((16, 4), jnp.float32, sharding=NamedSharding(mesh, PartitionSpec(None, None)))},
        )["x"]
        assert len(spread.devices()) == 8
        split = restore(folder, {"x": jax.device_put(jnp.zeros((16, 4)), NamedSharding(mesh, PartitionSpec("data")))})[
            "x"
        ]
        assert split.addressable_shards[0].data.shape == (2, 4)
        for got in (alone, spread, split):
            np.testing.assert_array_equal(got, x)


def test_another_structure_is_refused_path_by_path(tmp_path: Path) -> None:
    save(tmp_path, 1, {"a": jnp.ones(2), "b": jnp.ones(3), "c": jnp.ones(4), "k": jax.random.key(0), "n": 1})
    like = {"b": jnp.ones(4), "c": jnp.ones(4, jnp.bfloat16), "d": jnp.ones(1), "k": jnp.zeros(2, jnp.uint32), "n": 1}
    with pytest.raises(ValueError, match="like: got a tree that is not the one in") as caught:
        restore(tmp_path, like)
    for words in (
        "'d' is not saved",
        "'a' is saved and not in it",
        "'b' is float32[3] there and float32[4] here",
        "'c' is float32[4] there and bfloat16[4] here",
        "'k' is key<fry>[] there and uint32[2] here",
    ):
        assert words in str(caught.value)
    assert "'n'" not in str(caught.value)


def test_steps_and_the_latest(tmp_path: Path) -> None:
    assert steps(tmp_path) == []
    for step in (0, 12, 3, 12345678901):
        save(tmp_path, step, {"w": jnp.full(2, float(step))})
    assert steps(tmp_path) == [0, 3, 12, 12345678901]
    assert latest(tmp_path) == 12345678901
    assert float(restore(tmp_path, {"w": jnp.zeros(2)}, step=3)["w"][0]) == 3


def test_the_newest_stay(tmp_path: Path) -> None:
    for step in range(6):
        save(tmp_path, step, {"w": jnp.ones(2)}, keep=2)
        assert steps(tmp_path) == [*range(step + 1)][-2:]
    save(tmp_path, 6, {"w": jnp.ones(2)})
    assert steps(tmp_path) == [4, 5, 6]


def test_the_one_just_saved_stays_though_its_number_is_low(tmp_path: Path) -> None:
    for step in (10, 20, 30):
        save(tmp_path, step, {"w": jnp.ones(2)})
    save(tmp_path, 5, {"w": jnp.ones(2)}, keep=2)
    assert steps(tmp_path) == [5, 30]


def test_numbers_of_numpy(tmp_path: Path) -> None:
    save(tmp_path, np.int64(3), {}, about={"epochs": np.int64(2), "rate": np.float32(0.5), "w": jnp.ones(1)})  # pyright: ignore[reportArgumentType]
    assert latest(tmp_path) == 3
    assert about(tmp_path) == {"epochs": 2, "rate": 0.5, "w": [1.0]}


def test_others_may_read_it(tmp_path: Path) -> None:
    save(tmp_path / "x", 1, {})
    assert (tmp_path / "x").stat().st_mode == (tmp_path / "x" / "0000000001").stat().st_mode


def test_about(tmp_path: Path) -> None:
    save(tmp_path, 0, {}, about={"batch_size": 64})
    save(tmp_path, 1, {})
    assert about(tmp_path, step=0) == {"batch_size": 64}
    assert about(tmp_path) == {}


def test_a_step_twice(tmp_path: Path) -> None:
    save(tmp_path, 4, {"w": jnp.ones(2)})
    with pytest.raises(ValueError, match=r"step: got 4, which is saved in .+, expected a step that is not"):
        save(tmp_path, 4, {"w": jnp.zeros(2)})
    assert float(restore(tmp_path, {"w": jnp.zeros(2)})["w"][0]) == 1


def test_wrong_calls(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="step: got -1, expected an integer >= 0"):
        save(tmp_path, -1, {})
    with pytest.raises(ValueError, match="keep: got 0, expected an integer >= 1"):
        save(tmp_path, 0, {}, keep=0)
    with pytest.raises(TypeError, match="tree leaf 'name': got a str, expected an array or a number"):
        save(tmp_path, 0, {"name": "text"})
    with pytest.raises(ValueError, match="tree: got two leaves of one path"):
        save(tmp_path, 0, {"a": {"b": jnp.ones(1)}, "a/b": jnp.ones(1)})
    for odd in (2**70, np.array(["a"]), np.array([None])):
        with pytest.raises(TypeError, match=r"tree leaf 'odd': got dtype .+, expected numbers"):
            save(tmp_path, 0, {"odd": odd})
    with pytest.raises(TypeError, match=r"about: got what JSON does not know .a type., expected names"):
        save(tmp_path, 0, {}, about={"dtype": float})
    assert not list(tmp_path.iterdir())
    with pytest.raises(FileNotFoundError, match="which holds no checkpoint, expected one that does"):
        restore(tmp_path, {})
    save(tmp_path, 3, {})
    with pytest.raises(FileNotFoundError, match="step: got 4, expected one of 3, or None for the latest"):
        restore(tmp_path, {}, step=4)


# What is wrong with a checkpoint is found ----------------------------------------------------------------


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("three")
    for step in (1, 2, 3):
        save(folder, step, {"w": jnp.arange(50.0) * step, "key": jax.random.key(step)}, about={"rate": 0.1})
    return folder


LIKE = {"w": jnp.zeros(50), "key": jax.random.key(0)}


def refused(folder: Path, match: str, before: int | None) -> None:
    with pytest.raises(CorruptCheckpoint, match=match) as caught:
        restore(folder, LIKE)
    assert (caught.value.step, caught.value.before) == (3, before)
    offered = f"restore(..., step={before})" if before is not None else "No earlier one is whole"
    assert offered in str(caught.value)
    if before is not None:
        assert float(restore(folder, LIKE, step=before)["w"][1]) == before


def test_any_of_64_flipped_bits_is_found(three: Path, tmp_path: Path) -> None:
    draw = np.random.default_rng(0)
    files = sorted(path.relative_to(three) for path in (three / "0000000003").rglob("*") if path.is_file())
    sizes = np.array([(three / file).stat().st_size for file in files])
    seen = set()
    for i in range(64):
        # Every file in turn, the small ones too; a place in it at random.
        file = files[i % len(files)]
        folder = tmp_path / str(i)
        shutil.copytree(three, folder)
        content = bytearray((folder / file).read_bytes())
        content[draw.integers(len(content))] ^= 1 << int(draw.integers(8))
        (folder / file).write_bytes(content)
        refused(folder, "expected what was saved", 2)
        seen.add(file)
        shutil.rmtree(folder)
    assert len(seen) == len(files) == len(sizes) >= 10


@pytest.mark.parametrize("cut", ["half", "empty", "missing", "longer"])
def test_files_that_are_cut_or_lost_are_named(three: Path, cut: str, tmp_path: Path) -> None:
    files = sorted(path.relative_to(three) for path in (three / "0000000003").rglob("*") if path.is_file())
    for i, file in enumerate(files):
        folder = tmp_path / str(i)
        shutil.copytree(three, folder)
        content = (folder / file).read_bytes()
        if cut == "missing":
            (folder / file).unlink()
        else:
            (folder / file).write_bytes(
                {"half": content[: len(content) // 2], "empty": b"", "longer": content + b"x"}[cut]
            )
        name = file.relative_to("0000000003").as_posix()
        # A seal that differs is told as the manifest's, which it is the checksum of.
        refused(folder, r"manifest\.json|seal" if name in ("manifest.json", "seal") else name, 2)


def test_the_newest_whole_one_is_offered(three: Path, tmp_path: Path) -> None:
    shutil.copytree(three, tmp_path / "x")
    for step, before in ((3, 2), (2, 1), (1, None)):
        (tmp_path / "x" / f"{step:010d}" / "seal").write_text("")
        refused(tmp_path / "x", "manifest.json is not what was sealed", before)


def test_another_version_is_named(three: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(three, tmp_path / "x")
    monkeypatch.setattr("fnn.checkpoint.seal.FORMAT", 2)
    with pytest.raises(CorruptCheckpoint, match="is of format 1, and this version of fnn reads 2"):
        restore(tmp_path / "x", LIKE)


def test_about_a_corrupt_one(three: Path, tmp_path: Path) -> None:
    shutil.copytree(three, tmp_path / "x")
    path = tmp_path / "x" / "0000000003" / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"about": {"rate": 0.2}}))
    with pytest.raises(CorruptCheckpoint, match=r"manifest\.json is not what was sealed"):
        about(tmp_path / "x")


# A save that fails, or is killed, leaves what was there --------------------------------------------------


def test_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save(tmp_path, 1, {"w": jnp.ones(2)})

    def full(*args: Any, **kwargs: Any) -> None:
        raise OSError(28, "No space left on device")

    for place in (
        "fnn.checkpoint.folder._write",
        "fnn.checkpoint.folder.seal",
        "fnn.checkpoint.folder.Path.mkdir",
    ):
        with monkeypatch.context() as patch:
            patch.setattr(place, full)
            with pytest.raises(
                OSError, match=r"No space left on device, expected .+ That of step 1 is there as it was\."
            ):
                save(tmp_path, 2, {"w": jnp.zeros(2)})
        assert [path.name for path in tmp_path.iterdir()] == ["0000000001"]
    assert float(restore(tmp_path, {"w": jnp.zeros(2)})["w"][0]) == 1


def test_a_folder_that_cannot_be_written_to(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(
        OSError, match=r"directory: got .+file.*expected a folder to write to\. No checkpoint is there yet"
    ):
        save(tmp_path / "file", 0, {})


KILLED = """
import os, signal, sys
from pathlib import Path
import jax.numpy as jnp
import fnn.checkpoint.folder as folder
import fnn.checkpoint.seal as seal

def die(*args, **kwargs):
    os.kill(os.getpid(), signal.SIGKILL)

module, name = sys.argv[2].rsplit(".", 1)
setattr({"folder": folder, "seal": seal, "path": Path}[module], name, die)
folder.save(sys.argv[1], 2, {"w": jnp.zeros(2)})
"""


@pytest.mark.parametrize("place", ["folder._write", "folder.seal", "seal.to_disk", "path.rename"])
def test_killed_in_the_middle_of_saving(place: str, tmp_path: Path) -> None:
    save(tmp_path, 1, {"w": jnp.ones(2)})
    done = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path), place], capture_output=True, text=True)
    assert done.returncode == -signal.SIGKILL, done.stderr
    left = [path.name for path in tmp_path.iterdir() if path.name.startswith(".partial-")]
    assert len(left) == 1
    assert (latest(tmp_path), steps(tmp_path)) == (1, [1])
    assert float(restore(tmp_path, {"w": jnp.zeros(2)})["w"][0]) == 1
    save(tmp_path, 2, {"w": jnp.zeros(2)})
    assert sorted(path.name for path in tmp_path.iterdir()) == ["0000000001", "0000000002"]


def test_what_another_process_is_writing_stays(tmp_path: Path) -> None:
    mine = tmp_path / f".partial-{socket.gethostname()}-{os.getppid()}-x"
    elsewhere = tmp_path / ".partial-another_host-1-x"
    for folder in (mine, elsewhere):
        folder.mkdir()
    save(tmp_path, 1, {})
    assert mine.is_dir()
    assert elsewhere.is_dir()


def test_what_is_left_of_a_process_with_the_same_number_goes(tmp_path: Path) -> None:
    """A container that is started anew often has its name and its number again."""
    left = tmp_path / f".partial-{socket.gethostname()}-{os.getpid()}-x"
    left.mkdir()
    save(tmp_path, 1, {})
    assert [path.name for path in tmp_path.iterdir()] == ["0000000001"]


def test_killed_while_old_ones_are_removed(tmp_path: Path) -> None:
    for step in (0, 1):
        save(tmp_path, step, {"w": jnp.ones(2)})
    program = KILLED.replace("def die(*args, **kwargs):", "def die(path, **kwargs):\n    (path / 'seal').unlink()")
    program = program.replace("zeros(2)})", "zeros(2)}, keep=1)").replace(
        '"path": Path', '"path": Path, "shutil": shutil'
    )
    # Only that of a checkpoint: what the save itself leaves has no seal.
    program = program.replace("import os, signal", "import shutil, os, signal").replace(
        "    (path / 'seal')", "    if not (path / 'seal').exists(): return\n    (path / 'seal')"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path), "shutil.rmtree"], capture_output=True, text=True
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    for step in steps(tmp_path):
        restore(tmp_path, {"w": jnp.zeros(2)}, step=step)
    save(tmp_path, 3, {"w": jnp.zeros(2)}, keep=1)
    assert [path.name for path in tmp_path.iterdir()] == ["0000000003"]


def test_what_orbax_wrote_is_read_by_orbax(tmp_path: Path) -> None:
    from orbax import checkpoint as ocp

    save(tmp_path, 1, {"dense_0": {"w": jnp.ones((2, 3))}})
    with ocp.PyTreeCheckpointer() as checkpointer:
        found = checkpointer.restore(
            tmp_path / "0000000001" / "arrays", restore_args={"dense_0/w": ocp.RestoreArgs(restore_type=np.ndarray)}
        )
    chex.assert_trees_all_equal(found, {"dense_0/w": np.ones((2, 3), np.float32)})
