"""What is refused of an ONNX file, in one line each, before ONNX Runtime sees it."""

from __future__ import annotations

import contextlib
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnx.helper import make_node as node

from asd.errors import WeightError
from asd_onnx.checks import inspect

HUGE = 10**9
Write = Callable[..., Path]


def tensor(name: str, values: Any, dtype: Any = np.float32) -> TensorProto:
    return numpy_helper.from_array(np.asarray(values, dtype), name)


def refused(path: Path) -> str:
    """Return the text of the refusal: one line that names the file."""
    with pytest.raises(WeightError) as caught:
        inspect(path)
    text = str(caught.value)
    assert text.startswith(f"{path}: ")
    assert "\n" not in text
    return text.removeprefix(f"{path}: ")


def test_what_a_file_declares(tmp_path: Path, mean: Write) -> None:
    found = inspect(mean(tmp_path / "a.onnx", metadata={"asd.kind": "patch"}))
    assert found.inputs == {"x": ("n", 3, "t")}
    assert found.outputs == {"y": ("n", 3)}
    assert found.metadata == {"asd.kind": "patch"}
    assert found.files == {}


def test_inputs_that_have_a_value_are_left_out(tmp_path: Path, saved: Write) -> None:
    path = saved(
        tmp_path / "a.onnx",
        [node("Add", ["x", "w"], ["y"])],
        inputs={"x": ["n", 3, 1], "w": [3, 1]},
        outputs={"y": ["n", 3, 1]},
        initialisers=[tensor("w", np.ones((3, 1)))],
    )
    assert list(inspect(path).inputs) == ["x"]


def test_no_such_file(tmp_path: Path) -> None:
    text = "cannot be read (No such file or directory); give the path of an ONNX file"
    assert refused(tmp_path / "a.onnx") == text


def test_a_folder(tmp_path: Path) -> None:
    assert refused(tmp_path) == "is a folder; give the ONNX file inside it"


def test_an_empty_file(tmp_path: Path) -> None:
    (tmp_path / "a.onnx").touch()
    assert refused(tmp_path / "a.onnx") == "is empty; export or fetch the ONNX file again"


@pytest.mark.parametrize(
    "content",
    [b"PK\x03\x04 a zip archive", b"version https://git-lfs.github.com/spec/v1", b"\x00" * 100, b"\x08", b"{}\n"],
)
def test_another_kind_of_file(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.onnx").write_bytes(content)
    text = refused(tmp_path / "a.onnx")
    assert "is no ONNX file; export the network to ONNX" in text or "is cut off or damaged" in text


def test_a_file_that_is_cut_off_anywhere(tmp_path: Path, mean: Write) -> None:
    whole = mean(tmp_path / "whole.onnx").read_bytes()
    path = tmp_path / "cut.onnx"
    for length in range(1, len(whole)):
        path.write_bytes(whole[:length])
        assert "is cut off or damaged" in refused(path)


def test_damaged_bytes_never_raise_anything_else(tmp_path: Path, mean: Write) -> None:
    whole = mean(tmp_path / "whole.onnx").read_bytes()
    generator = np.random.default_rng(0)
    path = tmp_path / "damaged.onnx"
    for _ in range(500):
        content = bytearray(whole)
        content[generator.integers(len(content))] = generator.integers(256)
        path.write_bytes(content)
        with contextlib.suppress(WeightError):
            inspect(path)


def test_custom_operators(tmp_path: Path, saved: Write) -> None:
    nodes = [node("Mine", ["x"], ["z"], domain="org.example"), node("Relu", ["z"], ["y"])]
    path = saved(tmp_path / "a.onnx", nodes, domains=["org.example"])
    assert refused(path) == (
        "needs custom operators (org.example.Mine); expected those of ONNX and ONNX Runtime alone: export the network "
        "with standard operators"
    )


def test_names_cannot_break_a_message_into_lines(tmp_path: Path, saved: Write) -> None:
    path = tmp_path / "a.onnx"
    assert "\\n" in refused(saved(path, [node("A\nasd: all is well", ["x"], ["y"], domain="my")]))
    assert len(refused(saved(path, [node("B" * 9999, ["x"], ["y"], domain="my")]))) < 300


def test_custom_operators_inside_a_branch(tmp_path: Path, saved: Write) -> None:
    value = helper.make_tensor_value_info("z", TensorProto.FLOAT, None)
    bodies = [helper.make_graph([node("Mine", ["x"], ["z"], domain="my")], "body", [], [value]) for _ in range(2)]
    nodes = [node("If", ["c"], ["y"], then_branch=bodies[0], else_branch=bodies[1])]
    path = saved(tmp_path / "a.onnx", nodes, initialisers=[tensor("c", True, np.bool_)], domains=["my"])
    assert "needs custom operators (my.Mine)" in refused(path)


def test_functions_that_the_file_defines_are_no_custom_operators(tmp_path: Path, saved: Write) -> None:
    import onnx

    path = saved(tmp_path / "a.onnx", [node("Mine", ["x"], ["y"], domain="my")], domains=["my"])
    model = onnx.load(path)
    body = [node("Relu", ["a"], ["b"])]
    model.functions.append(helper.make_function("my", "Mine", ["a"], ["b"], body, [helper.make_opsetid("", 18)]))
    path.write_bytes(model.SerializeToString())
    assert inspect(path).inputs


def declared(**fields: Any) -> TensorProto:
    """Return an initialiser of 10^9 values, with other fields."""
    return TensorProto(**{"name": "w", "dims": [HUGE], "data_type": TensorProto.FLOAT, **fields})


@pytest.mark.parametrize(
    ("weight", "reason"),
    [
        (declared(), "declares 1,000,000,000 values, but holds 0"),
        (declared(raw_data=b"\0" * 8), "declares 4,000,000,000 bytes, but holds 8"),
        (declared(float_data=[1, 2]), "declares 1,000,000,000 values, but holds 2"),
        (declared(int64_data=[1] * 3, data_type=TensorProto.INT64), "declares 1,000,000,000 values, but holds 3"),
        (declared(int32_data=[1], data_type=TensorProto.INT4), "declares 1,000,000,000 values, but holds 2"),
        (declared(dims=[2**40, 2**40], raw_data=b"\0"), "bytes, but holds 1"),
        (declared(dims=[-1, 5]), "declares the shape [-1, 5]"),
        (declared(dims=[1] * 100), "declares the shape [1, 1, 1, 1]"),
        (declared(dims=[1], data_type=99, raw_data=b"\0"), "is of the unknown type 99"),
    ],
)
def test_initialisers_that_the_file_does_not_hold(
    tmp_path: Path, weight: TensorProto, reason: str, saved: Write
) -> None:
    path = saved(tmp_path / "a.onnx", [node("Add", ["x", "w"], ["y"])], initialisers=[weight])
    text = refused(path)
    assert text.startswith("its initialiser 'w' ")
    assert reason in text
    assert text.endswith("; export the network again, or get the file from whom you trust")


def test_the_same_inside_an_attribute(tmp_path: Path, saved: Write) -> None:
    nodes = [node("Constant", [], ["w"], value=declared()), node("Add", ["x", "w"], ["y"])]
    assert "holds 0" in refused(saved(tmp_path / "a.onnx", nodes))


@pytest.mark.parametrize("kind", [np.float16, np.float64, np.int8, np.bool_, np.int64])
def test_every_common_type_of_initialiser_is_accepted(tmp_path: Path, kind: Any, saved: Write) -> None:
    extra = [tensor("w", np.ones((3, 4)), kind), helper.make_tensor("v", TensorProto.FLOAT, [2], [1.0, 2.0])]
    assert inspect(saved(tmp_path / "a.onnx", [node("Relu", ["x"], ["y"])], initialisers=extra)).outputs


def shape_of(*sizes: int) -> TensorProto:
    return tensor("s", sizes, np.int64)


@pytest.mark.parametrize(
    ("nodes", "maker"),
    [
        ([node("ConstantOfShape", ["s"], ["y"])], "ConstantOfShape"),
        ([node("Constant", [], ["s"], value=shape_of(HUGE)), node("ConstantOfShape", ["s"], ["y"])], "ConstantOfShape"),
        ([node("Expand", ["x", "s"], ["y"])], "Expand"),
        ([node("RandomNormal", [], ["y"], shape=[HUGE])], "an operator"),
    ],
)
def test_operators_that_make_much_of_a_few_bytes(tmp_path: Path, nodes: list[Any], maker: str, saved: Write) -> None:
    path = saved(tmp_path / "a.onnx", nodes, initialisers=[shape_of(100, HUGE // 100)])
    assert refused(path) == (
        f"{maker} makes 1,000,000,000 values out of a few bytes; expected at most 100,000,000: export the network "
        "without it"
    )


def test_branches_inside_one_another_have_a_limit(tmp_path: Path, saved: Write) -> None:
    value = helper.make_tensor_value_info("z", TensorProto.FLOAT, None)
    body = helper.make_graph([node("Relu", ["x"], ["z"])], "body", [], [value])
    for _ in range(25):
        body = helper.make_graph([node("If", ["c"], ["z"], then_branch=body)], "body", [], [value])
    path = saved(tmp_path / "a.onnx", [node("If", ["c"], ["y"], then_branch=body)])
    assert refused(path) == "has more than 20 branches and loops inside one another"


def test_initialisers_beside_the_file(tmp_path: Path, external: Write) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "w.bin").write_bytes(struct.pack("<4f", 0, 1, 2, 3))
    found = inspect(external(tmp_path / "a.onnx", "data/w.bin", offset="4"))
    assert found.files == {"data/w.bin": tmp_path.resolve() / "data" / "w.bin"}


@pytest.mark.parametrize("name", ["../w.bin", "/etc/passwd", "data/../../w.bin", "C:\\w.bin", "..\\w.bin", "", "//a/b"])
def test_initialisers_outside_the_folder(tmp_path: Path, name: str, external: Write) -> None:
    folder = tmp_path / "inner"
    folder.mkdir()
    (tmp_path / "w.bin").write_bytes(b"\0" * 12)
    assert refused(external(folder / "a.onnx", name)) == (
        f"its initialiser 'w' lies in {name!r}, outside the file's folder; expected a file beside it: put both into "
        "one folder, or export the network into one file"
    )


@pytest.mark.skipif(sys.platform == "win32", reason="links need a right that users rarely have")
def test_initialisers_outside_the_folder_by_a_link(tmp_path: Path, external: Write) -> None:
    folder = tmp_path / "inner"
    folder.mkdir()
    (tmp_path / "w.bin").write_bytes(b"\0" * 12)
    (folder / "w.bin").symlink_to(tmp_path / "w.bin")
    assert "lies in 'w.bin', outside the file's folder" in refused(external(folder / "a.onnx", "w.bin"))


def test_missing_data_beside_the_file(tmp_path: Path, external: Write) -> None:
    assert refused(external(tmp_path / "a.onnx", "w.bin")) == (
        "needs the file 'w.bin' beside it, which is missing; copy both into one folder, or export the network into one "
        "file"
    )


@pytest.mark.parametrize(("offset", "length"), [("0", "12"), ("8", ""), ("0", "4"), ("9" * 18, "12")])
def test_data_beside_the_file_that_are_too_short(tmp_path: Path, offset: str, length: str, external: Write) -> None:
    (tmp_path / "w.bin").write_bytes(b"\0" * 10)
    text = refused(external(tmp_path / "a.onnx", "w.bin", offset=offset, length=length))
    assert "its initialiser 'w' declares 12 bytes, which 'w.bin' does not hold at" in text


def test_the_place_of_data_is_a_number(tmp_path: Path, external: Write) -> None:
    (tmp_path / "w.bin").write_bytes(b"\0" * 12)
    assert "is no number: ['-4', '12']" in refused(external(tmp_path / "a.onnx", "w.bin", offset="-4"))


def test_looking_needs_neither_onnxruntime_nor_much_memory(tmp_path: Path, saved: Write) -> None:
    values = np.zeros(50_000_000, np.float32)  # 200 MB
    path = saved(tmp_path / "a.onnx", [node("Relu", ["x"], ["y"])], initialisers=[tensor("w", values)])
    program = (
        "import sys, resource, pathlib; from asd_onnx.checks import inspect; "
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss; inspect(pathlib.Path(sys.argv[1])); "
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before, 'onnxruntime' in sys.modules)"
    )
    said = subprocess.run([sys.executable, "-c", program, path], check=True, capture_output=True, text=True).stdout
    grown, imported = said.split()
    assert int(grown) < 30_000
    assert imported == "False"
