"""Weight files: good ones in every dress, and what is said of bad ones."""

from __future__ import annotations

import gzip
import hashlib
import http.server
import logging
import re
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt
import pytest

from asd.errors import ConfigError, WeightError
from asd.plugin import Runtime
from asd_openl3 import sources
from asd_openl3.extractor import OpenL3
from asd_openl3.hdf5 import layout, read_weights
from asd_openl3.network import random_weights

Write = Callable[[Path, list[npt.NDArray[Any]]], Path]
SHAPE = (128, 199)


def write_flat(path: Path, tensors: list[npt.NDArray[Any]]) -> Path:
    """Write all tensors as one layer's: another of the layouts that Keras' attributes describe."""
    with h5py.File(path, "w") as file:
        group = file.create_group("model_weights")
        group.attrs["layer_names"] = ["all"]
        layer = group.create_group("all")
        layer.attrs["weight_names"] = [f"tensor{number}" for number in range(len(tensors))]
        for number, tensor in enumerate(tensors):
            layer.create_dataset(f"tensor{number}", data=tensor)
    return path


@pytest.fixture(scope="session")
def packed(weight_file: Path) -> bytes:
    return gzip.compress(weight_file.read_bytes(), compresslevel=1)


def test_compressed_and_whole_model_files_hold_the_same(tmp_path: Path, weight_file: Path, packed: bytes) -> None:
    expected = read_weights(weight_file)
    assert [tensor.shape for tensor in expected] == [shape for _, shape in layout()]
    (tmp_path / "w.h5.gz").write_bytes(packed)
    for path in (tmp_path / "w.h5.gz", write_flat(tmp_path / "model.h5", expected)):
        for ours, theirs in zip(read_weights(path), expected, strict=True):
            np.testing.assert_array_equal(ours, theirs)


def misshapen(tensors: list[npt.NDArray[Any]]) -> list[npt.NDArray[Any]]:
    return [*tensors[:4], np.zeros((3, 3, 3, 64), np.float32), *tensors[5:]]


def not_finite(tensors: list[npt.NDArray[Any]]) -> list[npt.NDArray[Any]]:
    return [*tensors[:-1], np.full(512, np.nan, np.float32)]


BAD_TENSORS = [
    (misshapen, r"not an OpenL3 audio network: convolution 1, kernel has shape \(3, 3, 3, 64\), expected \(3, 3, 1, 6"),
    (not_finite, "convolution 8, bias holds NaN or infinite values; fetch the file again"),
    (lambda tensors: tensors[:-2], "not an OpenL3 audio network: it has 46 tensors, expected 48"),
]


@pytest.mark.parametrize(("change", "told"), BAD_TENSORS, ids=["shape", "nan", "too few"])
def test_other_networks_are_refused(tmp_path: Path, change: Any, told: str) -> None:
    with pytest.raises(WeightError, match=told) as caught:
        read_weights(write_flat(tmp_path / "w.h5", change(random_weights(0))))
    assert "\n" not in str(caught.value)


def cut_h5(whole: bytes, packed: bytes) -> bytes:
    return whole[: len(whole) // 2]


def cut_gzip(whole: bytes, packed: bytes) -> bytes:
    return packed[: len(packed) // 2]


def flipped_gzip(whole: bytes, packed: bytes) -> bytes:
    middle = len(packed) // 2
    return packed[:middle] + bytes(byte ^ 0xFF for byte in packed[middle : middle + 64]) + packed[middle + 64 :]


BAD_BYTES = [
    (cut_h5, "damaged or cut off, or no weight file of Keras .*; fetch it again"),
    (cut_gzip, r"damaged or cut off \(.*\); fetch it again"),
    (flipped_gzip, r"damaged or cut off \(.*\); fetch it again"),
    (lambda whole, packed: b"<html>Please log in</html>", r"not an HDF5 file; expected OpenL3's weights as published"),
    (lambda whole, packed: b"", "not an HDF5 file"),
]


@pytest.mark.parametrize(("make", "told"), BAD_BYTES, ids=["cut h5", "cut gzip", "flipped", "html", "empty"])
def test_damaged_files_are_named(tmp_path: Path, weight_file: Path, packed: bytes, make: Any, told: str) -> None:
    path = tmp_path / "w.h5"
    path.write_bytes(make(weight_file.read_bytes(), packed))
    with pytest.raises(WeightError, match=f"^{re.escape(str(path))}: {told}") as caught:
        read_weights(path)
    assert "\n" not in str(caught.value)


def test_hdf5_that_keras_did_not_write_is_refused(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "w.h5", "w") as file:
        file.create_dataset("features", data=np.zeros(3))
    with pytest.raises(WeightError, match="damaged or cut off, or no weight file of Keras"):
        read_weights(tmp_path / "w.h5")


def test_missing_files_and_wrong_hashes_are_named(tmp_path: Path, weight_file: Path) -> None:
    windows = np.zeros((1, *SHAPE), np.float32)
    lost = OpenL3(content="env", representation="mel128", weights=str(tmp_path / "w.h5"))
    with pytest.raises(WeightError, match=r"w\.h5: no such weight file; give default, a file or a URL"):
        lost.embed(windows)
    other = OpenL3(content="env", representation="mel128", weights=str(weight_file), weights_sha256="0123456789")
    with pytest.raises(WeightError, match=r"another file than expected: its sha256 is [0-9a-f]{64}, expected 01234567"):
        other.embed(windows)


def test_the_model_file_can_pin_the_weights(weight_file: Path) -> None:
    digest = hashlib.sha256(weight_file.read_bytes()).hexdigest()
    assert OpenL3(content="env", weights=str(weight_file)).weight_hashes() == {"seeded.h5": digest}
    assert OpenL3(content="env", weights="random").weight_hashes() == {}


WRONG_NAMES = [
    ({}, "/w/openl3_audio_mel128_env-v0_4_0.h5.gz", r"holds the weights for mel128, the network was asked for mel256: "
     r"take the file for mel256, or add --extractor\.representation mel128 --frontend\.representation mel128"),
    ({}, "/w/openl3_audio_mel256_music.h5", "holds the weights of openl3-music; use that, or the file of openl3-env"),
    ({}, "https://example.org/w.h5", "needs weights_sha256, the file's SHA-256, to be trusted"),
    ({"weights_sha256": "abc"}, "w.h5", "weights_sha256 is 'abc', expected 8 to 64 hexadecimal digits in lower case"),
]  # fmt: skip


@pytest.mark.parametrize(("more", "weights", "told"), WRONG_NAMES)
def test_weights_that_cannot_be_meant_are_refused_at_once(more: dict[str, str], weights: str, told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        OpenL3(content="env", weights=weights, **more)  # type: ignore[arg-type]


class Publisher(http.server.ThreadingHTTPServer):
    """A server that gives `content` for every address, and counts."""

    content = b""
    asked = 0

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/"


class _Handler(http.server.BaseHTTPRequestHandler):
    server: Publisher

    def do_GET(self) -> None:
        self.server.asked += 1
        self.send_response(200)
        self.send_header("Content-Length", str(len(self.server.content)))
        self.end_headers()
        self.wfile.write(self.server.content)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def publisher(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, packed: bytes) -> Iterator[Publisher]:
    monkeypatch.setenv("ASD_CACHE", str(tmp_path))
    monkeypatch.delenv("ASD_OFFLINE", raising=False)
    with Publisher(("127.0.0.1", 0), _Handler) as server:
        server.content = packed
        monkeypatch.setattr(sources, "URL", server.address)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


NAME = "openl3_audio_mel128_env-v0_4_0.h5.gz"


def extractor(**more: Any) -> OpenL3:
    made = OpenL3(content="env", representation="mel128", **more)
    made.runtime = Runtime(precision="fp32")
    return made


def test_what_the_publisher_gives_first_is_what_holds(
    tmp_path: Path, publisher: Publisher, packed: bytes, caplog: pytest.LogCaptureFixture, monkeypatch: Any
) -> None:
    digest = hashlib.sha256(packed).hexdigest()
    with caplog.at_level(logging.WARNING, logger="asd"):
        assert extractor().weight_hashes() == {NAME: digest}
    assert f"its publisher states no checksum; from now on only sha256 {digest} is accepted" in caplog.text

    monkeypatch.setenv("ASD_OFFLINE", "1")  # it is here now
    assert extractor().embed(np.full((1, *SHAPE), -20, np.float32)).shape == (1, 512)
    assert publisher.asked == 1
    monkeypatch.delenv("ASD_OFFLINE")

    store = tmp_path / "weights"
    (store / NAME).write_bytes(b"damaged")
    assert extractor().weight_hashes() == {NAME: digest}  # fetched again
    (store / NAME).write_bytes(b"damaged")
    publisher.content = packed + b"\0"
    with pytest.raises(WeightError, match=f"gave another file .* expected {digest}"):
        extractor().weight_hashes()


@pytest.mark.parametrize("content", [b"<html>Please log in</html>", b"\x1f\x8b\x08\x00 cut off"])
def test_what_is_no_weight_file_is_not_remembered(tmp_path: Path, publisher: Publisher, content: bytes) -> None:
    publisher.content = content
    with pytest.raises(
        WeightError, match=r"gave another file \(.*\); it was not kept: .* a proxy's login page may"
    ) as caught:
        extractor().weight_hashes()
    assert "\n" not in str(caught.value)
    assert not [path for path in (tmp_path / "weights").glob("openl3*") if path.suffix != ".lock"]


def test_without_a_network_the_way_is_shown(tmp_path: Path, publisher: Publisher, monkeypatch: Any) -> None:
    monkeypatch.setenv("ASD_OFFLINE", "1")
    place = tmp_path / "weights" / NAME
    told = f"fetch {publisher.address}{NAME} elsewhere and put it at {place}, or give its path as the parameter weights"
    with pytest.raises(WeightError, match=f"the network is forbidden .*; {re.escape(told)}"):
        extractor().weight_hashes()
    place.write_bytes(publisher.content)
    assert extractor().weight_hashes() == {NAME: hashlib.sha256(publisher.content).hexdigest()}
    assert publisher.asked == 0


def test_a_hash_that_the_user_knows_is_held(publisher: Publisher, packed: bytes) -> None:
    digest = hashlib.sha256(packed).hexdigest()
    with pytest.raises(WeightError, match=f"gave another file .*sha256 {digest}, expected 00000000"):
        extractor(weights_sha256="0" * 64).weight_hashes()
    assert extractor(weights_sha256=digest).weight_hashes() == {NAME: digest}


def test_a_store_that_takes_nothing_is_named(tmp_path: Path, publisher: Publisher) -> None:
    (tmp_path / "weights").write_text("a file where the store's folder should be")
    with pytest.raises(WeightError, match=f"^{NAME} cannot be kept in .*; set ASD_CACHE to") as caught:
        extractor().weight_hashes()
    assert "\n" not in str(caught.value)
