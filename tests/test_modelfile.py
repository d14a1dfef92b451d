"""The model file: whole or not at all, verified, without code."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from asd.detection import modelfile
from asd.errors import ModelFileError

ARRAYS = {
    "matrix": np.arange(12.0).reshape(3, 4).T,  # not contiguous
    "scalar": np.float64(3.5),
    "integers": np.array([1, 2, 3]),
    "flags": np.array([True, False]),
    "empty": np.zeros((0, 5), np.float32),
}


def saved(path: Path) -> Path:
    modelfile.write(path, {"config": {"seed": 0}}, ARRAYS)  # type: ignore[arg-type]
    return path


def test_round_trip(tmp_path: Path) -> None:
    manifest, arrays = modelfile.read(saved(tmp_path / "m.asd"))
    assert manifest == {"format": modelfile.FORMAT, "config": {"seed": 0}}
    assert arrays.keys() == ARRAYS.keys()
    for name, expected in ARRAYS.items():
        np.testing.assert_array_equal(arrays[name], expected)
        assert arrays[name].dtype == expected.dtype
        assert arrays[name].shape == expected.shape
    assert [p.name for p in tmp_path.iterdir()] == ["m.asd"]


def test_refuses_arrays_of_objects(tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match="array 'o' has type object; a model file holds numbers and booleans only"):
        modelfile.write(tmp_path / "m.asd", {}, {"o": np.array([{}])})
    assert not (tmp_path / "m.asd").exists()


def test_missing(tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match=r"no such model file; make one with 'asd fit"):
        modelfile.read(tmp_path / "m.asd")


@pytest.mark.parametrize("keep", [0, 4, 60, -1])
def test_cut_off(tmp_path: Path, keep: int) -> None:
    path = saved(tmp_path / "m.asd")
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(ModelFileError, match=r"m\.asd: not a model file, or cut off .* copy it again or fit anew"):
        modelfile.read(path)


def test_any_changed_byte_of_the_arrays_is_noticed(tmp_path: Path) -> None:
    path = saved(tmp_path / "m.asd")
    content = bytearray(path.read_bytes())
    content[-3] ^= 1
    path.write_bytes(bytes(content))
    with pytest.raises(ModelFileError, match=r"altered since it was saved"):
        modelfile.read(path)


def test_a_changed_manifest_is_noticed(tmp_path: Path) -> None:
    path = saved(tmp_path / "m.asd")
    path.write_bytes(path.read_bytes().replace(rb"\"seed\": 0", rb"\"seed\": 7"))
    with pytest.raises(ModelFileError, match=r"altered since it was saved"):
        modelfile.read(path)


def test_other_programs_read_the_arrays(tmp_path: Path) -> None:
    from safetensors.numpy import load_file

    loaded = load_file(saved(tmp_path / "m.asd"))
    assert loaded.keys() == ARRAYS.keys()
    for name, expected in ARRAYS.items():
        np.testing.assert_array_equal(loaded[name], expected)


def test_the_digest_comes_first(tmp_path: Path) -> None:
    """A manifest is not looked into before it is known to be what was written."""
    path = saved(tmp_path / "m.asd")
    path.write_bytes(path.read_bytes().replace(rb"\"format\": 3", rb"\"format\": ["))
    with pytest.raises(ModelFileError, match=r"altered since it was saved"):
        modelfile.read(path)


def with_header(path: Path, old: bytes, new: bytes) -> Path:
    """Replace a piece of the header, whose padding and length are mended."""
    content = path.read_bytes()
    end = 8 + int.from_bytes(content[:8], "little")
    header = content[8:end].rstrip()
    assert old in header
    header = header.replace(old, new, 1)
    header += b" " * (-len(header) % 8)
    path.write_bytes(len(header).to_bytes(8, "little") + header + content[end:])
    return path


HEADERS = [
    (b'"dtype":"F64"', b'"dtype": "F64"', "its header is not written as asd writes it"),
    (b'"sha256":', b'"more":"x","sha256":', "its header is not written as asd writes it"),
    (b'"asd":', b'"asd":"{}","asd":', "its header is not written as asd writes it"),
    (b'"dtype":"F64"', b'"dtype":"BF16"', "has an unknown type"),
    (b'"shape":[4,3]', b'"shape":[4,4]', "should take the bytes 24 to 152"),
    (b'"shape":[4,3]', b'"shape":[-4,-3]', "its header: Expected `int` >= 0"),
    (b'"shape":[4,3]', b'"shape":[4,4000000000000]', "should take the bytes 24 to 128,000,000,000,024"),
    (b'"shape":[4,3]', b'"shape":[4,%s]' % (b"9" * 5000), "out of range"),
    (b'"shape":[0,5]', b'"shape":[0,1000000000]', "is empty, but one of its sides is longer than 16,777,216"),
    (b'{"__meta', b'{"a":%s,"__meta' % (b"[" * 100_000), "maximum recursion depth"),
    (b'"scalar"', b'"scal\xff"', "can't decode byte 0xff"),
]


@pytest.mark.parametrize(("old", "new", "reason"), HEADERS, ids=[reason[-30:] for *_, reason in HEADERS])
def test_headers_are_read_with_limits(tmp_path: Path, old: bytes, new: bytes, reason: str) -> None:
    path = with_header(saved(tmp_path / "m.asd"), old, new)
    with pytest.raises(ModelFileError, match=rf"not a model file, or cut off \(.*{re.escape(reason)}.*; copy it again"):
        modelfile.read(path)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (bytes(8), "its header claims 0 bytes"),
        ((2**63).to_bytes(8, "little") + b"{}", r"claims 9,223,372,036,854,775,808 bytes, at most 16,000,000 are"),
        ((1000).to_bytes(8, "little") + b"{}", "claims 1,000 bytes, the file has 10"),
    ],
)
def test_the_length_of_the_header_is_not_believed(tmp_path: Path, content: bytes, reason: str) -> None:
    (tmp_path / "m.asd").write_bytes(content)
    with pytest.raises(ModelFileError, match=reason):
        modelfile.read(tmp_path / "m.asd")


def test_bytes_behind_the_last_array(tmp_path: Path) -> None:
    path = saved(tmp_path / "m.asd")
    path.write_bytes(path.read_bytes() + b"\0")
    with pytest.raises(ModelFileError, match=r"its arrays take 130 bytes, 131 are there"):
        modelfile.read(path)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('{"format": 1, "a": 1, "a": 2}', "a key stands twice in an object"),
        ('{"format": 1, "a": NaN}', "a number is not finite"),
        ('{"format": 1, "a": 1e999}', "a number is not finite"),
        (f'{{"format": 1, "a": {"1" * 5000}}}', "an integer is beyond 64 bits"),
        ('{"format": 1, "a": 9223372036854775808}', "an integer is beyond 64 bits"),
        ('{"format": 1, "a": ' + "[" * 100_000, "maximum recursion depth"),
        ('{"format": 1', "its manifest: Expecting"),
        ("[]", "its manifest does not say its format"),
        ('{"format": true}', "its manifest does not say its format"),
        ('{"format": 0}', "its manifest does not say its format"),
    ],
)
def test_manifests_are_read_with_limits(
    tmp_path: Path, text: str, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(modelfile.json, "dumps", forging(text))
    modelfile.write(tmp_path / "m.asd", {}, {"a": np.zeros(3)})
    monkeypatch.undo()
    with pytest.raises(ModelFileError, match=rf"not a model file, or cut off \(.*{reason}.*; copy it again"):
        modelfile.read(tmp_path / "m.asd")


def forging(text: str) -> Callable[..., str]:
    """Return a `json.dumps` that writes `text` for the manifest, which is the first thing that is asked of it."""
    answers = iter([text])
    dumps = json.dumps
    return lambda *given, **options: next(answers, None) or dumps(*given, **options)


def test_a_boolean_is_0_or_1(tmp_path: Path) -> None:
    """Numpy would compute with another byte as it is."""
    modelfile.write(tmp_path / "m.asd", {}, {"flags": np.frombuffer(b"\x01\x07", bool)})
    with pytest.raises(ModelFileError, match="a boolean is neither 0 nor 1"):
        modelfile.read(tmp_path / "m.asd")


def test_what_is_no_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.asd")
    for path in (tmp_path / "pipe.asd", Path("/dev/zero")):
        with pytest.raises(ModelFileError, match="not a regular file; name a model file that 'asd fit' wrote"):
            modelfile.read(path)
    with pytest.raises(ModelFileError, match="a folder; name a model file that 'asd fit' wrote, before any recordings"):
        modelfile.read(tmp_path)


def test_a_manifest_that_is_not_json(tmp_path: Path) -> None:
    for value in (float("nan"), {1, 2}):
        with pytest.raises(ModelFileError, match="the manifest cannot be written as JSON"):
            modelfile.write(tmp_path / "m.asd", {"a": value}, {})
    with pytest.raises(ModelFileError, match=r"takes 17 MB, a model file holds 16 MB of it: fit on fewer recordings"):
        modelfile.write(tmp_path / "m.asd", {"a": "x" * 17_000_000}, {})
    assert not list(tmp_path.iterdir())


def test_refuses_numbers_that_only_this_machine_has(tmp_path: Path) -> None:
    if np.dtype(np.longdouble).itemsize == 8:
        pytest.skip("a long double is a double here")
    with pytest.raises(ModelFileError, match="array 'x' has type float128"):
        modelfile.write(tmp_path / "m.asd", {}, {"x": np.zeros(3, np.longdouble)})


def test_another_safetensors_file(tmp_path: Path) -> None:
    from safetensors.numpy import save_file

    save_file({"a": np.zeros(3)}, tmp_path / "w.safetensors")
    with pytest.raises(ModelFileError, match="a safetensors file, but not a model of asd"):
        modelfile.read(tmp_path / "w.safetensors")


def test_newer_format(tmp_path: Path) -> None:
    modelfile.write(tmp_path / "m.asd", {"format": 99}, {"a": np.zeros(3)})
    with pytest.raises(ModelFileError, match=r"format 99, this asd reads up to 3: pip install --upgrade asd-framework"):
        modelfile.read(tmp_path / "m.asd")


def test_a_full_disk_leaves_the_old_file_whole(tmp_path: Path) -> None:
    """A limit on the size of files stands in for the full disk: the write fails in the middle, as it would there."""
    path = saved(tmp_path / "m.asd")
    before = path.read_bytes()
    script = f"""
        import resource, signal
        import numpy as np
        from pathlib import Path
        from asd.detection import modelfile
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
        modelfile.write(Path({str(path)!r}), {{}}, {{"large": np.zeros(1_000_000)}})
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(script)], capture_output=True, text=True, check=False)
    assert "the model cannot be saved here (File too large); nothing was overwritten; free 8.0 MB" in done.stderr
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["m.asd"]


def test_unwritable_folder(tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match=r"absent: no such folder to write the model to; make it first"):
        modelfile.write(tmp_path / "absent" / "m.asd", {}, {"a": np.zeros(1)})


FUZZ = Path(__file__).resolve().parent / "fuzz" / "modelfiles.py"


def fuzzed(*options: str) -> str:
    """Run the cases in a process of their own: their limits and their guard cannot be taken off again."""
    done = subprocess.run([sys.executable, FUZZ, *options], capture_output=True, text=True, check=False)
    assert not done.returncode, done.stdout + done.stderr
    return done.stdout


@pytest.mark.slow
def test_damaged_and_forged_models_load_or_are_refused() -> None:
    said = fuzzed("--damaged", "300", "--forged", "150", "--seed", "1")
    assert "300 damaged files: {'ModelFileError': 300}" in said
    assert "nothing went wrong" in said


@pytest.mark.slow
def test_a_model_file_names_no_file_and_no_address() -> None:
    fuzzed("--hostile")
