"""Messages of worker processes: numbers of any type and shape arrive, everything else is refused before it is read."""

from __future__ import annotations

import io
import json
from typing import Any

import numpy as np
import pytest

from asd.contract.messages import MessageError, receive, send

VALUES = np.random.default_rng(0).normal(size=(7, 4)) * 10
NO_NUMBERS = "expected real numbers, not None or other objects"


def exchanged(*arrays: Any) -> list[np.ndarray]:
    stream = io.BytesIO()
    send(stream, {"duration": 0.5}, arrays)
    stream.seek(0)
    fields, received = receive(stream)
    assert fields == {"duration": 0.5}
    assert stream.read() == b""
    return received


@pytest.mark.parametrize("dtype", ["float64", "float32", "float16", "longdouble", "int8", "bool", ">f4", ">i2"])
@pytest.mark.parametrize("shape", [(7, 4), (28,), (2, 7, 2), (0, 4), (4, 0)])
def test_numbers_of_any_type_and_shape_arrive(dtype: str, shape: tuple[int, ...]) -> None:
    array = np.resize(VALUES.astype(dtype), shape)
    first, second = exchanged(array, array.T)
    np.testing.assert_array_equal(first, array)
    np.testing.assert_array_equal(second, array.T)
    assert first.dtype == array.dtype.newbyteorder("=")
    assert first.flags.writeable


def test_scalars_and_views_arrive() -> None:
    windows = np.lib.stride_tricks.sliding_window_view(VALUES.reshape(-1), 5)[::-2]
    scalar, view = exchanged(np.asarray(1.5), windows)
    assert scalar == 1.5
    np.testing.assert_array_equal(view, windows)


@pytest.mark.parametrize(
    ("array", "kind"),
    [
        (np.asarray(None), "'object' and shape ()"),
        (np.array([{}] * 7), "'object' and shape (7,)"),
        (VALUES.astype(complex), "'complex128' and shape (7, 4)"),
        (VALUES.astype("U5"), "'str160' and shape (7, 4)"),
        (VALUES.astype("S5"), "'bytes40' and shape (7, 4)"),
        (VALUES.astype("M8[s]"), "'datetime64[s]' and shape (7, 4)"),
        (VALUES.view("f8,f8,f8,f8"), "'void256' and shape (7, 1)"),
    ],
)
def test_other_types_are_refused(array: np.ndarray, kind: str) -> None:
    with pytest.raises(MessageError) as raised:
        exchanged(array)
    assert str(raised.value) == f"an array of type {kind}; {NO_NUMBERS}"


def header(dtype: object, shape: object) -> bytes:
    return json.dumps({"arrays": [{"dtype": dtype, "shape": shape}]}).encode() + b"\n"


@pytest.mark.parametrize(
    ("message", "text"),
    [
        (header("float32", [7, 10**9]), "an array of type 'float32' and shape (7, 1000000000); expected at most 4 GiB"),
        (header("object", [7, 4]), f"an array of type 'object' and shape (7, 4); {NO_NUMBERS}"),
        (header("O", [7, 4]), f"an array of type 'O' and shape (7, 4); {NO_NUMBERS}"),
        (header("float32", [0, 10**30]), "instead of a message"),
        (header("float32", [-7, 4]), "instead of a message"),
        (header("float32", [-7, -4]), "instead of a message"),
        (header("float32", [7, 1.5]), "instead of a message"),
        (header("float32", [7, None]), "instead of a message"),
        (header("float32", ["7"]), "instead of a message"),
        (header("float32", 7), "instead of a message"),
        (header("float32", [1] * 1000), "instead of a message"),
        (header(["float32"], [7, 4]), "instead of a message"),
        (header("float32", [7, 4]).replace(b"7", b"7" * 5000), "instead of a message"),
        (b'{"arrays": [{"dtype": "float32"}]}\n', "instead of a message"),
        (b'{"arrays": 7}\n', "instead of a message"),
        (b'{"arrays": [7]}\n', "instead of a message"),
        (header("\x1b[2J" * 2**20, [7, 4]), r"an array of type '\x1b[2J"),  # escaped for the terminal
        (b"{}\n", "instead of a message"),
        (b"[]\n", "instead of a message"),
        (b"[" * 100_000 + b"\n", "instead of a message"),
        (b"hello\n", "b'hello\\n' instead of a message"),
        (b"\x80\x04K\x01.\n", "instead of a message"),  # a pickle
        (b"x" * 2**25, "instead of a message"),
    ],
    ids=lambda value: value[:40].decode(errors="replace") if isinstance(value, bytes) else "",
)
def test_a_forged_message_is_refused(message: bytes, text: str) -> None:
    with pytest.raises(MessageError) as raised:
        receive(io.BytesIO(message + bytes(10)))
    assert text in str(raised.value)
    assert len(str(raised.value)) < 200


@pytest.mark.parametrize("length", [0, 10, -50, -1])
def test_a_message_that_stops_short_is_an_end(length: int) -> None:
    stream = io.BytesIO()
    send(stream, {}, [VALUES])
    with pytest.raises(EOFError):
        receive(io.BytesIO(stream.getvalue()[:length]))
