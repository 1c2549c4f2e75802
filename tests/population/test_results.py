"""Order of merit, tables and names of a sweep's results, against NumPy on numbers made by hand."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fnn.population import Results

KEYS = jax.random.split(jax.random.key(0), 2)
HPARAMS = {"adam": {"learning_rate": jnp.array([0.1, 0.01, 0.001])}, "width": jnp.array([8, 16, 32])}
LOSS = jnp.array([[3.0, 1.0], [0.5, 0.7], [jnp.nan, 0.1]])
ALL = jnp.ones((3, 2), bool)


def _results(values: Any, done: Any = ALL) -> Results:
    return Results(HPARAMS, KEYS, values, done)


def test_best_is_the_least_mean_over_keys_and_nan_is_last() -> None:
    results = _results({"loss": LOSS, "other": LOSS + 1})
    best = results.best()
    assert best.index == 1
    np.testing.assert_allclose([best.mean, best.stddev], [0.6, np.sqrt(0.02)], rtol=1e-6)
    assert float(best.hparams["adam"]["learning_rate"]) == np.float32(0.01)
    np.testing.assert_allclose(best.values["other"], [1.5, 1.7], rtol=1e-6)
    assert results.ranking().tolist() == [1, 0, 2]


def test_the_greatest_is_best_where_it_is_asked_for() -> None:
    score = jnp.array([[0.2, 0.4], [0.9, 0.1], [jnp.inf, 1.0]])
    assert _results({"score": score}).ranking("score", "max").tolist() == [1, 0, 2]
    assert _results({"accuracy": score}).best("accuracy").index == 1
    assert _results({"val_accuracy": score, "loss": LOSS}).best().index == 1


def test_of_a_history_the_last_entry_counts() -> None:
    history = jnp.stack([LOSS * 0, LOSS], axis=-1)
    assert _results({"loss": history}).ranking().tolist() == [1, 0, 2]


def test_val_loss_comes_before_loss() -> None:
    assert _results({"loss": LOSS, "val_loss": -jnp.nan_to_num(LOSS)}).best().index == 0


def test_results_that_are_one_array_or_nested() -> None:
    assert _results(jnp.nan_to_num(LOSS)).best().index == 2
    assert _results({"a": {"loss": LOSS}, "b": LOSS}).best("a/loss").index == 1
    assert _results((LOSS, LOSS)).best("0", "min").index == 1


def test_cells_that_were_not_trained_are_last() -> None:
    done = ALL.at[1, 1].set(False)
    results = _results({"loss": LOSS}, done)
    assert results.ranking().tolist() == [0, 1, 2]
    assert np.isnan(results.measure()[1, 1])


def test_ties_keep_their_order() -> None:
    assert _results({"loss": jnp.ones((3, 2))}).ranking().tolist() == [0, 1, 2]


def test_table() -> None:
    text = _results({"loss": LOSS}).table()
    head, rule, *rows = text.splitlines()
    assert head.split() == ["adam/learning_rate", "width", "loss,", "mean", "std", "over", "keys"]
    assert set(rule) == {"-"}
    assert rows[0].split() == ["1", "0.01", "16", "0.6", "0.14"]
    assert rows[2].split() == ["3", "0.001", "32", "nan", "nan"]
    assert _results({"loss": LOSS}).table(rows=1).splitlines()[-1] == "... and 2 more"


def test_table_of_one_key_and_of_vectors() -> None:
    results = Results(
        {"pair": jnp.array([[1, 2], [3, 4]])}, KEYS[:1], jnp.array([[2.0], [1.0]]), jnp.ones((2, 1), bool)
    )
    assert "(3, 4)" in results.table().splitlines()[2]
    assert results.best().stddev == 0


def test_it_is_a_pytree_with_named_axes() -> None:
    results = _results({"loss": LOSS})
    assert Results.axes == ("hparams", "keys")
    doubled = jax.tree.map(lambda a: a * 2 if a.dtype == jnp.float32 else a, results)
    np.testing.assert_array_equal(doubled["loss"], 2 * LOSS)


@pytest.mark.parametrize(
    ("call", "error", "match"),
    [
        (lambda r: r["accuracy"], KeyError, "'accuracy' is not among the results of train: score, other"),
        (lambda r: r.best(), ValueError, "^by: got None, expected the name of the result that counts.* other, score"),
        (lambda r: r.best("scor"), ValueError, "^by: got 'scor', expected one of .* Did you mean 'score'"),
        (lambda r: r.best("score"), ValueError, r"^order: got None for 'score', expected 'min' or 'max'\. Say which"),
        (lambda r: r.best("score", "least"), ValueError, "^order: got 'least', expected one of max, min"),
        (lambda r: r.table("other"), ValueError, r"^by: got results of shape \(4, 5\) a cell, expected a number"),
    ],
)
def test_refusals(call: Any, error: type[Exception], match: str) -> None:
    with pytest.raises(error, match=match):
        call(_results({"score": LOSS, "other": jnp.zeros((3, 2, 4, 5))}))
