"""Two processes save one checkpoint: each its own part, all or none of them; one process reads it again."""

import sys
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import fnn
from fnn.checkpoint.together import by_the_first
from fnn.parallel.launch import Launched, launch

pytestmark = pytest.mark.usefixtures("processes")

SCRIPT = """
import sys
import jax, jax.numpy as jnp
import fnn

with fnn.parallel.join(limit=60) as job:
    layout = fnn.parallel.fsdp(smallest=1)
    tree = {"w": jnp.arange(8.0), "odd": jnp.arange(3), "key": jax.random.key(7), "none": jnp.zeros((0, 2)), "half":
        jnp.ones(4, jnp.bfloat16), "three": 3}
    placed = fnn.parallel.place(tree, layout)
    try:
        fnn.checkpoint.save(sys.argv[1], 5, placed, about={"by": job.count})
    except OSError as error:
        print("refused:", error, flush=True)
        raise SystemExit(0)
    like = fnn.parallel.place(jax.tree.map(lambda leaf: leaf, tree), layout)
    back = fnn.checkpoint.restore(sys.argv[1], like)
    same = [bool((a == b).all()) for a, b in zip(jax.tree.leaves(placed), jax.tree.leaves(back))]
    print("same:", all(same), back["w"].addressable_shards[0].data.tolist(), flush=True)
"""


def two(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Launched:
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    monkeypatch.setenv("XLA_FLAGS", "")
    return launch([sys.executable, str(script), str(folder)], 2, restarts=0)


def test_each_writes_its_part(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "saved"
    left = folder / ".partial-together-4"  # of a save in which one was killed
    left.mkdir(parents=True)
    assert two(folder, tmp_path, monkeypatch).status == 0
    out = capfd.readouterr().out
    assert "[0] same: True [0.0, 1.0, 2.0, 3.0]" in out
    assert "[1] same: True [4.0, 5.0, 6.0, 7.0]" in out
    assert [path.name for path in folder.iterdir()] == ["0000000005"]
    assert fnn.checkpoint.about(folder) == {"by": 2}
    like: dict[str, Any] = {"w": jnp.zeros(8), "odd": jnp.zeros(3, jnp.int32), "key": jax.random.key(0)}
    like |= {"none": jnp.ones((0, 2)), "half": jnp.zeros(4, jnp.bfloat16), "three": jnp.array(0)}
    back = fnn.checkpoint.restore(folder, like)
    np.testing.assert_array_equal(back["w"], np.arange(8.0))
    assert int(back["three"]) == 3
    assert (jax.random.key_data(back["key"]) == jax.random.key_data(jax.random.key(7))).all()


def test_where_the_first_fails_all_fail(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Only the first makes the folder, and a file is in its place: the other one is told, and does not wait."""
    (tmp_path / "file").write_text("")
    assert two(tmp_path / "file", tmp_path, monkeypatch).status == 0
    out = capfd.readouterr().out
    assert "[0] refused: directory: got" in out
    assert "[1] refused: directory: got" in out
    assert "the first process could not write" in out


APART = """
import sys
import jax, jax.numpy as jnp, numpy as np
import fnn

with fnn.parallel.join(limit=60) as job:
    me, layout = job.index, fnn.parallel.fsdp(smallest=1)
    placed = fnn.parallel.place({"w": jnp.arange(8.0)}, layout)
    data = fnn.data.Dataset(np.ones(8, np.float32), np.ones(8))

    def streamed(**own):
        return fnn.parallel.stream(data, 4, layout=layout, **{"key": jax.random.key(0), "start": 0, **own})

    for name, call in {
        "step": lambda: fnn.checkpoint.save(sys.argv[1], 5 + me, placed),
        "tree": lambda: fnn.checkpoint.save(sys.argv[1], 5, {**placed, "n": np.ones(2 + me)}),
        "alone": lambda: fnn.checkpoint.save(sys.argv[1], 5, {"w": jnp.ones(3)}),
        "folder": lambda: fnn.checkpoint.save(f"{sys.argv[1]}-{me}", 5, placed),
        "place": lambda: fnn.parallel.place({"w": jnp.full(3, me)}, layout),
        "key": lambda: streamed(key=jax.random.key(me)),
        "start": lambda: streamed(start=me),
        "none": lambda: (streamed(), fnn.parallel.place(jax.device_put(jnp.ones(2), jax.local_devices()[0]), layout)),
    }.items():
        try:
            call()
            print(name, "passed", flush=True)
        except (ValueError, OSError) as error:
            print(name, "refused:", error, flush=True)
"""


def test_what_the_processes_do_not_agree_on_is_refused_in_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Else they would wait for each other without a word, or train on numbers that nobody meant."""
    for me in (0, 1):
        (tmp_path / f"saved-{me}").mkdir()
    monkeypatch.setattr(f"{__name__}.SCRIPT", APART)
    assert two(tmp_path / "saved", tmp_path, monkeypatch).status == 0
    out = capfd.readouterr().out
    another = "got in process 1 another than in process 0, expected the same in all processes"
    for me in (0, 1):
        assert f"[{me}] step refused: step or tree: {another}" in out
        assert f"[{me}] tree refused: step or tree: {another}" in out
        assert f"[{me}] alone refused: tree leaf 'w': got an array of this process alone" in out
        assert f"[{me}] folder refused: directory: got {tmp_path}/saved-{me}: the folder: {another}" in out
        assert f"[{me}] place refused: tree: {another}" in out
        assert f"[{me}] key refused: source, batch_size, key, start, stop or fill: {another}" in out
        assert f"[{me}] start refused: source, batch_size, key, start, stop or fill: {another}" in out
        assert f"[{me}] none passed" in out
    assert list(tmp_path.glob("saved*/*")) == []


def test_alone_an_error_is_itself() -> None:
    with pytest.raises(KeyError, match="mine"), by_the_first():
        raise KeyError("mine")
