"""What each means against over-fitting does to losses and weights, over several seeds."""

import numpy as np
import pytest

import fnn
from experiments.lecture import regularization
from experiments.lecture.regularization import NEAR_ZERO, PATIENCE, STEPS
from tests.plot.drawing import drawn, said

EARLY = "early stopping"


@pytest.fixture(scope="module")
def found() -> regularization.Found:
    return regularization.work()


def test_with_nothing_the_network_learns_wrong_labels_by_heart(found: regularization.Found) -> None:
    """A fifth of the labels is wrong: who gives the right ones has a training loss far above this."""
    train, validation = found.train["nothing"], found.validation["nothing"]
    assert train[:, -1].max() < 0.15
    assert (validation[:, -1] > 1.15 * validation.min(axis=1)).all()


@pytest.mark.parametrize("kind", ["dropout", "l2", "l1", EARLY])
def test_the_gap_shrinks_from_every_seed(found: regularization.Found, kind: str) -> None:
    gaps = regularization.gaps(found)
    assert (gaps[kind] < 0.8 * gaps["nothing"]).all()


@pytest.mark.parametrize("kind", ["dropout", "l2", "l1"])
def test_the_last_validation_loss_is_lower(found: regularization.Found, kind: str) -> None:
    assert (found.validation[kind][:, -1] < found.validation["nothing"][:, -1]).all()


def test_l1_makes_most_weights_next_to_zero_and_l2_few(found: regularization.Found) -> None:
    share = {kind: (weights < NEAR_ZERO).mean(axis=1) for kind, weights in found.weights.items()}
    assert (share["l1"] > 0.5).all()
    assert (share["l2"] < 0.2).all()
    assert (share["nothing"] < 0.01).all()


def test_l2_shrinks_the_norm(found: regularization.Found) -> None:
    norm = {kind: np.sqrt(np.square(weights).sum(axis=1)) for kind, weights in found.weights.items()}
    assert (norm["l2"] < 0.7 * norm["nothing"]).all()


def test_early_stopping_keeps_the_state_of_least_validation_loss(found: regularization.Found) -> None:
    history = found.stopped.history["val_loss"]
    best = int(np.argmin(history))
    assert len(history) == best + 1 + PATIENCE < STEPS
    assert int(found.stopped.best.step) == best + 1
    evaluate = fnn.train.make_eval(fnn.nn.mlp([32, 10]), {"loss": regularization.LOSS})
    measured = evaluate(found.stopped.best, regularization.digits()[1])["loss"]
    assert float(measured) == pytest.approx(float(history.min()), rel=1e-5)


def test_the_fit_is_the_first_run_of_the_population(found: regularization.Found) -> None:
    history = found.stopped.history["val_loss"]
    np.testing.assert_allclose(history, found.validation["nothing"][0, : len(history)], rtol=1e-3)


def test_pictures_and_findings(found: regularization.Found) -> None:
    losses, weights = regularization.pictures(found).values()
    assert [axes.get_title() for axes in drawn(losses.figure).axes] == list(regularization.KINDS)
    assert {"training", "validation", "loss [nats]", "stop here"} <= set(said(losses.figure))
    assert {*regularization.KINDS, "weights that are smaller [%]"} <= set(said(drawn(weights.figure)))
    assert all(picture.caption.endswith(".") for picture in (losses, weights))
    sentences = regularization.findings(found)
    assert len(sentences) == 4
    assert all(any(letter.isdigit() for letter in sentence) for sentence in sentences)
