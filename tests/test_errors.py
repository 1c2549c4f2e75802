"""Refusals: what each check accepts, what it refuses and in which words, on known values and under a trace."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fnn import errors

KEY = jax.random.key(0)
NAN, INF = float("nan"), float("inf")


def test_the_form_of_a_message() -> None:
    assert errors.message("x", "a list", "an array") == "x: got a list, expected an array."
    assert errors.message("x", 1, "2", "Give 2.") == "x: got 1, expected 2. Give 2."


def test_a_non_finite_error_keeps_the_result() -> None:
    assert errors.NonFiniteError("loss").result is None
    with pytest.raises(ArithmeticError, match=r"^loss$") as caught:
        raise errors.NonFiniteError("loss", {"step": 3})
    assert caught.value.result == {"step": 3}  # type: ignore[attr-defined]


# What is known -------------------------------------------------------------------------------------------


def test_what_is_known_and_what_is_not() -> None:
    def look(x: jax.Array) -> jax.Array:
        assert errors.is_traced(x)
        assert errors.is_traced({"a": [1.0, x]})
        assert errors.concrete(x) is None
        assert errors.concrete([1.0, x]) is None
        assert not errors.is_zero(x)
        return x

    for transform in (jax.jit, jax.vmap, jax.make_jaxpr, jax.grad):
        transform(lambda x: look(x).sum())(jnp.zeros(2))
    assert not errors.is_traced({"a": [1.0, np.zeros(2), jnp.zeros(2), None]})
    for x in (1.5, np.float32(1.5), jnp.array(1.5)):
        known = errors.concrete(x)
        assert isinstance(known, np.ndarray)
        assert known == 1.5


@pytest.mark.parametrize("x", [0, 0.0, -0.0, np.float32(0), np.array(0), jnp.array(0.0), jnp.bfloat16(0)])
def test_zero(x: Any) -> None:
    assert errors.is_zero(x)


@pytest.mark.parametrize("x", [1, 1e-30, NAN, np.zeros(1), jnp.zeros(2), None, "0"])
def test_not_zero(x: Any) -> None:
    assert not errors.is_zero(x)


def test_values_behind_a_tracer() -> None:
    good, bad, worse = np.ones(3), np.array([1, NAN, 2]), np.array([INF, 1, 2])

    def fails_at(row: int, x: jax.Array) -> None:
        with pytest.raises(ValueError, match=rf"^x: got \w+ at row {row} \(1 bad row\), expected finite numbers\."):
            errors.check_finite("x", x)

    def look(x: jax.Array, other: jax.Array) -> jax.Array:
        with errors.values_behind(x, bad):
            fails_at(1, x)
            errors.check_finite("other", other)
            errors.check_finite("what is computed from x", x + 1)
            with errors.values_behind(other, good), errors.values_behind(x, worse):
                fails_at(0, x)
            fails_at(1, x)
            with pytest.raises(KeyError), errors.values_behind(x, good):
                raise KeyError
            fails_at(1, x)
        errors.check_finite("x", x)
        return x

    jax.jit(look)(jnp.ones(2), jnp.ones(2))
    # What is known itself is looked at itself.
    with errors.values_behind(good, bad):
        errors.check_finite("x", good)


# Numbers -------------------------------------------------------------------------------------------------

Range = tuple[dict[str, Any], str]
ANY: Range = ({}, r"a finite number\.")
FROM_0: Range = ({"low": 0}, r"a finite number >= 0\.")
ABOVE_0: Range = ({"low": 0, "open_low": True}, r"a finite number > 0\.")
SHARE: Range = ({"low": 0, "high": 1}, r"a number in \[0, 1\)\.")
INSIDE: Range = ({"low": 0, "high": 1, "open_low": True}, r"a number in \(0, 1\)\.")


@pytest.mark.parametrize(
    ("value", "within"),
    [
        (-1e30, ANY),
        (0, FROM_0),
        (-0.0, FROM_0),
        (3e38, FROM_0),
        (1e-37, ABOVE_0),
        (0, SHARE),
        (0.9999999, SHARE),
        (1e-30, INSIDE),
        (np.float16(0.5), SHARE),
        (np.float64(0.5), SHARE),
        (np.array(0.5), SHARE),
        (np.uint8(7), FROM_0),
        (jnp.array(0.5), SHARE),
        (jnp.bfloat16(0.5), SHARE),
        (jnp.array(3), FROM_0),
    ],
)
def test_a_number(value: Any, within: Range) -> None:
    errors.check_scalar("n", value, **within[0])


@pytest.mark.parametrize(
    ("value", "within", "got"),
    [
        (NAN, ANY, "nan"),
        (INF, ANY, "inf"),
        (-INF, FROM_0, "-inf"),
        (-1e-30, FROM_0, "-1e-30"),
        (0.0, ABOVE_0, r"0\.0"),
        (-1, ABOVE_0, "-1"),
        (1, SHARE, "1"),
        (1.0, SHARE, r"1\.0"),
        (np.float32(-0.5), SHARE, r"-0\.5"),
        (0, INSIDE, "0"),
        (jnp.array(2.0), INSIDE, r"Array\(2\., dtype=float32.*\)"),
        # As JAX holds them.
        (0.99999999, SHARE, r"0\.99999999, which is 1 in float32"),
        (1e-40, ABOVE_0, "1e-40, which is 0 in float32"),
        (1e39, FROM_0, r"1e\+39, which is inf in float32"),
    ],
)
def test_a_number_out_of_range(value: Any, within: Range, got: str) -> None:
    bounds, expected = within
    with pytest.raises(ValueError, match=f"^n: got {got}, expected {expected} Remedy"):
        errors.check_scalar("n", value, **bounds, remedy="Remedy")


@pytest.mark.parametrize(("value", "within"), [(0.99999999, SHARE), (1e-40, ABOVE_0), (1e39, FROM_0)])
def test_float64_holds_more_numbers(value: float, within: Range) -> None:
    with jax.enable_x64(True):
        errors.check_scalar("n", value, **within[0])
        with pytest.raises(ValueError, match=r"^n: got 1e-310, which is 0 in float64, expected a finite number > 0\."):
            errors.check_scalar("n", 1e-310, 0, open_low=True)


@pytest.mark.parametrize(
    ("value", "got"),
    [
        (True, "True"),
        (np.bool(False), "False"),
        (jnp.array(True), r"Array\(True, dtype=bool\)"),
        (None, "None"),
        ("0.1", "'0.1'"),
        (np.str_("0.1"), "'0.1'"),
        (b"1", "b'1'"),
        (1j, "1j"),
        ([0.1], "a list of 1"),
        ((0.1, 0.2), "a tuple of 2"),
        ({"a": 1}, "a dict of 1"),
        (abs, "<built-in function abs>"),
        (object(), "<object object at .*>"),
        (10**400, f"1{'0' * 56}\\.\\.\\."),
        (jax.ShapeDtypeStruct((), jnp.float32), r"ShapeDtypeStruct\(.*\)"),
        (KEY, r"Array\(\(\), dtype=key<fry>\) overlaying:\n\[0 0\]"),
    ],
)
def test_what_is_no_number(value: Any, got: str) -> None:
    with pytest.raises(TypeError, match=rf"^n: got {got}, expected a finite number\."):
        errors.check_scalar("n", value)


@pytest.mark.parametrize("value", [np.zeros(1), jnp.ones((2, 3))])
def test_many_numbers_are_swept(value: Any) -> None:
    shape = str(value.shape).replace("(", r"\(").replace(")", r"\)")
    match = rf"^n: got an array of shape {shape}, expected a finite number\. To try many values, .* vmap that function"
    with pytest.raises(ValueError, match=match):
        errors.check_scalar("n", value)
    with pytest.raises(ValueError, match=match):
        jax.jit(lambda v: errors.check_scalar("n", v))(value)


@pytest.mark.parametrize("value", [NAN, -1.0, 5])
@pytest.mark.parametrize("transform", [jax.jit, jax.make_jaxpr])
def test_a_traced_number_is_not_looked_at(value: float, transform: Any) -> None:
    transform(lambda v: errors.check_scalar("n", v, 0, 1))(value)
    jax.vmap(lambda v: errors.check_scalar("n", v, 0, 1))(jnp.full(3, value))


@pytest.mark.parametrize("value", [True, 1j])
def test_the_dtype_of_a_traced_number_is(value: Any) -> None:
    with pytest.raises(TypeError, match=r"^n: got .*\[\]\), expected a number in \[0, 1\)\."):
        jax.jit(lambda v: errors.check_scalar("n", v, 0, 1))(value)


# Counts, flags, names, functions -------------------------------------------------------------------------

Check = Callable[..., None]


@pytest.mark.parametrize(
    ("check", "arguments"),
    [
        (errors.check_count, (1,)),
        (errors.check_count, (np.int32(7),)),
        (errors.check_count, (0, 0)),
        (errors.check_flag, (True,)),
        (errors.check_flag, (np.bool(False),)),
        (errors.check_choice, ("b", ["a", "b"])),
        (errors.check_choice, ("b", {"a": 1, "b": 2})),
        (errors.check_callable, (abs, "a function")),
        (errors.check_array, (jnp.ones(2),)),
        (errors.check_array, (np.ones(2, int),)),
        (errors.check_array, (np.float32(1),)),
        (errors.check_array, (jax.ShapeDtypeStruct((2,), jnp.float32),)),
        (errors.check_floating, (jnp.ones(2, jnp.bfloat16),)),
        (errors.check_floating, (np.ones(2),)),
        (errors.check_shape, (jnp.ones((2, 1)), (2, 1))),
        (errors.check_shape, (np.float32(1), ())),
        (errors.check_trainable, ({"w": jnp.ones(2), "c": np.ones(2, complex), "none": None},)),
        (errors.check_trainable, (jnp.ones(2, jnp.float16),)),
        (errors.check_trainable, ({},)),
        (errors.check_finite, (np.array([1e38, -1e38]),)),
        (errors.check_finite, (jnp.zeros((0, 3)),)),
        (errors.check_finite, (np.array([2**31, -1]),)),
        (errors.check_key, (KEY,)),
        (errors.check_key, (jax.random.key(0, impl="rbg"),)),
        (errors.check_labels, (np.array([0, 2]), 3, (2,))),
        (errors.check_labels, (np.array([[0], [2]], np.uint8), 3, (2, 1))),
        (errors.check_labels, (np.zeros(0, int), 3, (0,))),
    ],
)
def test_accepted(check: Check, arguments: tuple[Any, ...]) -> None:
    check("x", *arguments)


@pytest.mark.parametrize(
    ("check", "arguments", "error", "match"),
    [
        (errors.check_count, (0,), ValueError, r"got 0, expected an integer >= 1\."),
        (errors.check_count, (-3, 2, "More."), ValueError, r"got -3, expected an integer >= 2\. More\."),
        (errors.check_count, (1.0,), TypeError, r"got 1\.0, expected an integer >= 1\."),
        (errors.check_count, (True,), TypeError, r"got True, expected an integer >= 1\."),
        (errors.check_count, (jnp.array(2),), TypeError, r"got Array\(2, .*\), expected an integer >= 1\."),
        (errors.check_count, ("2",), TypeError, r"got '2', expected an integer >= 1\."),
        (errors.check_flag, (1,), TypeError, r"got 1, expected True or False\. It chooses the program, so it is never"),
        (errors.check_flag, (None,), TypeError, r"got None, expected True or False\."),
        (errors.check_flag, (jnp.array(True),), TypeError, r"got Array\(True, dtype=bool\), expected True or False\."),
        (errors.check_choice, ("adm", ["sgd", "adam"]), ValueError, r"got 'adm', expected .* Did you mean 'adam'\?$"),
        (errors.check_choice, ("elo", ["relu", "elu"]), ValueError, r"got 'elo', .* Did you mean 'elu' or 'relu'\?$"),
        (errors.check_choice, ("zzz", ["sgd", "adam"]), ValueError, r"got 'zzz', expected one of adam, sgd\.$"),
        (errors.check_choice, (None, ["sgd"]), TypeError, r"got None, expected one of sgd\.$"),
        (errors.check_choice, (["sgd"], ["sgd"]), TypeError, r"got a list of 1, expected one of sgd\."),
        (errors.check_callable, (3, "a function", "Call."), TypeError, r"got 3, expected a function\. Call\."),
        (errors.check_array, ([1.0, 2.0],), TypeError, r"got a list of 2, expected an array\. .* jnp\.asarray\(x\)\."),
        (errors.check_array, (1.0,), TypeError, r"got 1\.0, expected an array\."),
        (errors.check_array, ("a" * 99,), TypeError, rf"got '{'a' * 56}\.\.\., expected an array\."),
        (
            errors.check_floating,
            (jnp.ones(2, int),),
            TypeError,
            r"got dtype int32, .* Cast it: x\.astype\(jnp\.float32",
        ),
        (
            errors.check_floating,
            (np.ones(2, np.uint8),),
            TypeError,
            r"got dtype uint8, .* Cast it: x\.astype\(jnp\.float32\) / 255, for pixels\.",
        ),
        (errors.check_floating, (np.ones(2, bool), "No."), TypeError, r"got dtype bool, expected floating-.*\. No\."),
        (
            errors.check_floating,
            (np.ones(2, complex),),
            TypeError,
            r"got dtype complex128, expected floating-point num",
        ),
        (errors.check_floating, (KEY,), TypeError, r"got dtype key<fry>, expected floating-point numbers\."),
        (errors.check_floating, ([1.0],), TypeError, r"got a list of 1, expected an array\."),
        (errors.check_shape, (jnp.ones((2, 1)), (2,), "No."), ValueError, r"got shape \(2, 1\), .* \(2,\)\. No\."),
        (errors.check_shape, (jnp.ones(2), (1, 2)), ValueError, r"got shape \(2,\), expected shape \(1, 2\)\."),
        (errors.check_shape, ([1.0], (1,)), TypeError, r"got a list of 1, expected an array\."),
        (
            errors.check_key,
            (0,),
            TypeError,
            r"got 0, expected one typed key\. Make one with jax\.random\.key\(seed\)\.$",
        ),
        (errors.check_key, (None,), TypeError, r"got None, expected one typed key\."),
        (
            errors.check_key,
            (jax.random.key_data(KEY),),
            TypeError,
            r"got a legacy uint32 key, .* jax\.random\.wrap_key_",
        ),
        (errors.check_key, (np.ones((3, 2), np.uint32),), TypeError, r"got a legacy uint32 key, expected one typed"),
        (errors.check_key, (jnp.ones(3),), TypeError, r"got an array of shape \(3,\) and dtype float32, expected one"),
        (
            errors.check_key,
            (jax.random.split(KEY, 3),),
            ValueError,
            r"got keys of shape \(3,\), .* For many keys, vmap",
        ),
    ],
)
def test_refused(check: Check, arguments: tuple[Any, ...], error: type[Exception], match: str) -> None:
    with pytest.raises(error, match=f"^x: {match}"):
        check("x", *arguments)


@pytest.mark.parametrize(
    ("params", "match"),
    [
        (
            jnp.ones(2, int),
            r"params: got dtype int32, expected floating-point or complex numbers\. Only those have a gra",
        ),
        (
            {"a": {"w": jnp.ones(2)}, "b": [jnp.ones(1), jnp.ones(1, bool)]},
            r"params leaf 'b/1': got dtype bool, expected",
        ),
        ({"key": KEY}, r"params leaf 'key': got dtype key<fry>, expected floating-point or complex numbers\."),
        ({"a": {"w": 1.0}}, r"params leaf 'a/w': got 1\.0, expected an array\. Convert it: jnp\.asarray\(leaf\)\."),
        (1.0, r"params: got 1\.0, expected an array\."),
    ],
)
def test_parameters_without_a_gradient(params: Any, match: str) -> None:
    with pytest.raises(TypeError, match=f"^{match}"):
        errors.check_trainable("params", params)


def test_keys_under_a_trace() -> None:
    def check(key: Any) -> None:
        errors.check_key("key", key)

    jax.jit(check)(KEY)
    jax.vmap(check)(jax.random.split(KEY, 3))
    with pytest.raises(TypeError, match=r"^key: got a legacy uint32 key, expected one typed key\."):
        jax.jit(check)(jax.random.key_data(KEY))
    with pytest.raises(ValueError, match=r"^key: got keys of shape \(3,\), expected one typed key\."):
        jax.jit(check)(jax.random.split(KEY, 3))


# Values of arrays ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.float32, np.float64, jnp.bfloat16, jnp.float16, np.complex64])
def test_not_finite(dtype: Any) -> None:
    x = np.array([[1, 2], [3, NAN], [INF, NAN]]).astype(dtype)
    match = r"^x: got .*nan.* at row 1, index \(1, 1\) \(2 bad rows\), expected finite numbers\. Drop or mend these"
    for array in (x, jnp.asarray(x, dtype if dtype != np.float64 else np.float32)):
        with pytest.raises(ValueError, match=match):
            errors.check_finite("x", array)
    jax.jit(lambda x: errors.check_finite("x", x))(x)


@pytest.mark.parametrize(
    ("x", "got"),
    [
        (np.array(-1), r"-1 \(1 bad row\)"),
        (np.array([1, 2, -5]), r"-5 at row 2 \(1 bad row\)"),
        (np.array([[1, 2], [3, -1], [-1, -2]]), r"-1 at row 1, index \(1, 1\) \(2 bad rows\)"),
        (jnp.array([[[1, -3]], [[0, 0]]]), r"-3 at row 0, index \(0, 0, 1\) \(2 bad rows\)"),
    ],
)
def test_invalid_values(x: Any, got: str) -> None:
    with pytest.raises(ValueError, match=rf"^x: got {got}, expected positive numbers\. Fix it\."):
        errors.check_values("x", x, lambda known: known > 0, "positive numbers", "Fix it.")
    jax.jit(lambda x: errors.check_values("x", x, lambda known: known > 0, "positive numbers"))(x)


@pytest.mark.parametrize(
    ("labels", "error", "match"),
    [
        ([0, 1, 2], TypeError, r"labels: got a list of 3, expected an array\."),
        (np.array([0.0, 1, 2]), TypeError, r"labels: got dtype float64, .* Cast it: labels\.astype\(int\)\."),
        (np.ones(3, bool), TypeError, r"labels: got dtype bool, expected integer labels\."),
        (np.eye(3, 4), TypeError, r"labels: got dtype float64, .* One-hot rows: give labels\.argmax\(axis=-1\)\."),
        (np.ones((3, 1)), TypeError, r"labels: got dtype float64, .* column: labels\[:, 0\]\.astype\(int\)\."),
        (
            np.ones((3, 1), int),
            ValueError,
            r"labels: got shape \(3, 1\), .* \(3,\)\. Take its one column: labels\[:, 0\]",
        ),
        (
            np.ones((3, 4), int),
            ValueError,
            r"labels: got shape \(3, 4\), .* One-hot rows: give labels\.argmax\(axis=-1",
        ),
        (np.ones(2, int), ValueError, r"labels: got shape \(2,\), expected shape \(3,\)\. Give one label an example\."),
    ],
)
def test_labels(labels: Any, error: type[Exception], match: str) -> None:
    with pytest.raises(error, match=f"^{match}"):
        errors.check_labels("labels", labels, 4, (3,))
    if not isinstance(labels, list):
        # Under a trace too, where NumPy's float64 is float32.
        with pytest.raises(error, match=f"^{match.replace('float64', 'float32')}"):
            jax.jit(lambda labels: errors.check_labels("labels", labels, 4, (3,)))(labels)


@pytest.mark.parametrize(("bad", "row"), [([0, -1, 4], 1), ([0, 3, 4], 2)])
def test_labels_out_of_range(bad: list[int], row: int) -> None:
    got = rf"^labels: got {bad[row]} at row {row} \({2 if row == 1 else 1} bad rows?\), "
    match = got + r"expected integer labels in \[0, 4\), for 4 classes\. Labels count from 0"
    with pytest.raises(ValueError, match=match):
        errors.check_labels("labels", jnp.array(bad), 4, (3,))
    jax.jit(lambda labels: errors.check_labels("labels", labels, 4, (3,)))(jnp.array(bad))


def test_the_column_of_a_label_at_every_place() -> None:
    with pytest.raises(
        ValueError, match=r"^labels: got shape \(3, 2, 1\), .* Take its one column: labels\[:, :, 0\]\."
    ):
        errors.check_labels("labels", np.ones((3, 2, 1), int), 4, (3, 2))


@pytest.mark.parametrize("check", [errors.check_shape, errors.check_floating])
def test_shape_and_dtype_are_checked_under_a_trace(check: Any) -> None:
    arguments = ((2, 1),) if check is errors.check_shape else ()
    with pytest.raises(
        (ValueError, TypeError), match=r"^x: got (shape \(2,\), expected shape \(2, 1\)|dtype int32, exp)"
    ):
        jax.jit(lambda x: check("x", x, *arguments))(jnp.ones(2, int))


@pytest.mark.parametrize("name", ["RELU", "ReLU", "relu ", "rleu"])
def test_the_nearest_name_whatever_its_case(name: str) -> None:
    with pytest.raises(ValueError, match=r"Did you mean 'relu'"):
        errors.check_choice("activation", name, ["relu", "tanh", "gelu"])
