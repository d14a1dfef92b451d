"""The model file: whole or not at all, verified, without code."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap
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


def test_another_safetensors_file(tmp_path: Path) -> None:
    from safetensors.numpy import save_file

    save_file({"a": np.zeros(3)}, tmp_path / "w.safetensors")
    with pytest.raises(ModelFileError, match="a safetensors file, but not a model of asd"):
        modelfile.read(tmp_path / "w.safetensors")


def test_newer_format(tmp_path: Path) -> None:
    from safetensors.numpy import save_file

    save_file({"a": np.zeros(3)}, tmp_path / "m.asd", metadata={"asd": json.dumps({"format": 99})})
    with pytest.raises(ModelFileError, match=r"format 99, this asd reads up to 1: pip install --upgrade asd-framework"):
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
    with pytest.raises(ModelFileError, match=r"cannot be saved here \(No such file or directory\)"):
        modelfile.write(tmp_path / "absent" / "m.asd", {}, {"a": np.zeros(1)})
