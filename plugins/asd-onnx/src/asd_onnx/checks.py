"""Look through an ONNX file before ONNX Runtime does, and say in one line why it is refused.

What a file declares must be borne out by what it holds: a few bytes can name tensors of any size, and files anywhere on
the disk. Nothing is copied, whatever the file's size. The field numbers are those of ``onnx.proto``
(github.com/onnx/onnx).
"""

from __future__ import annotations

import math
import mmap
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from asd.errors import WeightError
from asd_onnx.external import Location, check_location
from asd_onnx.graph import GRAPH_INITIALIZER, GRAPH_INPUT, GRAPH_NODE, GRAPH_OUTPUT, GRAPH_SPARSE, MODEL_GRAPH
from asd_onnx.tensor import Tensor, tensor_of
from asd_onnx.wire import Field, WireError, embedded, fields, integers, shown, text

_MODEL_IR, _MODEL_OPSET, _MODEL_METADATA, _MODEL_FUNCTION = 1, 8, 14, 25
_OPSET_DOMAIN = 1
_FUNCTION_NODE, _FUNCTION_DOMAIN = 7, 10
_NODE_INPUT, _NODE_OUTPUT, _NODE_TYPE, _NODE_ATTRIBUTE, _NODE_DOMAIN = 1, 2, 4, 5, 7
_ATTRIBUTE_TENSORS, _ATTRIBUTE_GRAPHS, _ATTRIBUTE_SPARSE, _ATTRIBUTE_INTS = (5, 10), (6, 11), (22, 23), 8
_SPARSE_VALUES, _SPARSE_INDICES, _SPARSE_DIMS = 1, 2, 3

_DOMAINS = ("", "ai.onnx", "ai.onnx.ml", "com.microsoft")
"""Of operators that every ONNX Runtime contains."""

_MOST_VALUES = 10**8
"""Values that an operator may make out of a shape alone: 400 MB in float32."""

_SHAPED_BY = {"ConstantOfShape": 0, "Expand": 1}
"""Operators that make a tensor of the shape that an input holds, and which input."""

_MOST_LEVELS = 20
"""Branches and loops inside one another."""

_MOST_SHOWN = 3

Shape = tuple[int | str | None, ...]


@dataclass
class Declared:
    """What an ONNX file says of itself.

    Parameters
    ----------
    inputs, outputs : dict of str to (tuple of (int, str or None), or None)
        Shapes by name, the number of windows included; a text or None where any size fits; None: of unknown rank.
        Inputs that have a value in the file are left out.
    metadata : dict of str to str
        Its ``metadata_props``.
    files : dict of str to Path
        Files beside it that hold initialisers, by the names that it uses.
    """

    inputs: dict[str, Shape | None] = field(default_factory=dict)
    outputs: dict[str, Shape | None] = field(default_factory=dict)
    metadata: dict[str, str] = field(default_factory=dict)
    files: dict[str, Path] = field(default_factory=dict)


def inspect(path: Path) -> Declared:
    """Return what an ONNX file declares.

    Raises
    ------
    WeightError
        If it is not there, no ONNX file, cut off or damaged; if it needs operators that ONNX Runtime does not contain,
        or data outside its folder; if it declares tensors that it does not hold. The text says what to do.
    """
    content = _content(path)
    with _readable(path, content):
        return _Inspection(path).model(content)


def _content(path: Path) -> memoryview:
    """Return the content of a file without reading it into memory."""
    if path.is_dir():
        raise WeightError(f"{path}: is a folder; give the ONNX file inside it")
    try:
        with path.open("rb") as file:
            if not file.seek(0, 2):
                raise WeightError(f"{path}: is empty; export or fetch the ONNX file again")
            content = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))  # closed when no one looks at it
    except OSError as error:
        raise WeightError(f"{path}: cannot be read ({error.strerror}); give the path of an ONNX file") from error
    return content


@contextmanager
def _readable(path: Path, content: memoryview) -> Iterator[None]:
    try:
        yield
    except WireError as error:
        # Every ONNX file begins with its version, a small number: field 1.
        if bytes(content[:1]) != b"\x08" or bytes(content[1:2]) >= b"\x80":
            raise WeightError(f"{path}: is no ONNX file; export the network to ONNX and give that file") from None
        raise WeightError(
            f"{path}: is cut off or damaged ({error}); copy it again, or export the network again"
        ) from None


class _Inspection:
    """One pass through a file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.found = Declared()
        self.foreign: dict[str, None] = {}
        self.domains = set(_DOMAINS)

    def model(self, content: memoryview) -> Declared:
        parts = list(fields(content))
        numbers = {each.number for each in parts}
        if not {_MODEL_IR, MODEL_GRAPH, _MODEL_OPSET} <= numbers:
            raise WireError("without a graph" if MODEL_GRAPH not in numbers else "without its operators' version")
        functions = [embedded(each) for each in parts if each.number == _MODEL_FUNCTION]
        self.domains |= {_text_in(function, _FUNCTION_DOMAIN) for function in functions}
        for function in functions:
            self._nodes([each for each in fields(function) if each.number == _FUNCTION_NODE], {}, 1)
        for each in parts:
            if each.number == MODEL_GRAPH:
                self._interface(embedded(each), self._graph(embedded(each), {}, 1))
            elif each.number == _MODEL_METADATA:
                self.found.metadata[_text_in(embedded(each), 1)] = _text_in(embedded(each), 2)
        self._check_operators()
        return self.found

    def _interface(self, graph: memoryview, constants: dict[str, Tensor]) -> None:
        for each in fields(graph):
            if each.number in (GRAPH_INPUT, GRAPH_OUTPUT):
                name, shape = _value(embedded(each))
                if each.number == GRAPH_OUTPUT:
                    self.found.outputs[name] = shape
                elif name not in constants:
                    self.found.inputs[name] = shape

    def _graph(self, graph: memoryview, outer: dict[str, Tensor], level: int) -> dict[str, Tensor]:
        """Check a graph; return the tensors that it and those around it hold, by name."""
        if level > _MOST_LEVELS:
            raise WeightError(f"{self.path}: has more than {_MOST_LEVELS} branches and loops inside one another")
        parts = list(fields(graph))
        constants = dict(outer)
        for each in parts:
            if each.number == GRAPH_INITIALIZER:
                tensor = self._tensor(embedded(each))
                constants[tensor.name] = tensor
            elif each.number == GRAPH_SPARSE:
                self._sparse(embedded(each))
        self._nodes([each for each in parts if each.number == GRAPH_NODE], constants, level)
        return constants

    def _nodes(self, nodes: list[Field], constants: dict[str, Tensor], level: int) -> None:
        for node in nodes:
            parts = list(fields(embedded(node)))
            domain, operator = _text_of(parts, _NODE_DOMAIN), _text_of(parts, _NODE_TYPE)
            if domain not in self.domains:
                self.foreign[f"{domain}.{operator}"] = None
            for attribute in (embedded(each) for each in parts if each.number == _NODE_ATTRIBUTE):
                for tensor in self._attribute(attribute, constants, level):
                    constants |= {text(each): tensor for each in parts if each.number == _NODE_OUTPUT}
            if operator in _SHAPED_BY:
                names = [text(each) for each in parts if each.number == _NODE_INPUT]
                shape = constants.get(names[_SHAPED_BY[operator]]) if len(names) > _SHAPED_BY[operator] else None
                self._check_size(operator, shape.integers() if shape else ())

    def _attribute(self, attribute: memoryview, constants: dict[str, Tensor], level: int) -> Iterator[Tensor]:
        """Check what an attribute holds; yield its tensors."""
        shape: list[int] = []
        for each in fields(attribute):
            if each.number in _ATTRIBUTE_TENSORS:
                yield self._tensor(embedded(each))
            elif each.number in _ATTRIBUTE_SPARSE:
                self._sparse(embedded(each))
            elif each.number in _ATTRIBUTE_GRAPHS:
                self._graph(embedded(each), constants, level + 1)
            elif each.number == _ATTRIBUTE_INTS:
                shape += integers(each)
        if _text_in(attribute, 1) == "shape":  # of operators that make random numbers
            self._check_size("an operator", shape)

    def _sparse(self, sparse: memoryview) -> None:
        dims: list[int] = []
        for each in fields(sparse):
            if each.number in (_SPARSE_VALUES, _SPARSE_INDICES):
                self._tensor(embedded(each))
            elif each.number == _SPARSE_DIMS:
                dims += integers(each)
        self._check_size("a sparse tensor", dims)

    def _tensor(self, message: memoryview) -> Tensor:
        tensor = tensor_of(message)
        if problem := tensor.problem():
            raise WeightError(
                f"{self.path}: its initialiser {tensor.name!r} {problem}; export the network again, or get the file "
                "from whom you trust"
            )
        if tensor.is_external:
            location = Location.of(tensor)
            self.found.files[location.name] = check_location(self.path, location)
        return tensor

    def _check_size(self, maker: str, shape: tuple[int, ...] | list[int]) -> None:
        values = math.prod(size for size in shape if size > 0)
        if values > _MOST_VALUES:
            raise WeightError(
                f"{self.path}: {maker} makes {values:,} values out of a few bytes; expected at most {_MOST_VALUES:,}: "
                "export the network without it"
            )

    def _check_operators(self) -> None:
        if self.foreign:
            names = list(self.foreign)
            some = ", ".join(map(shown, names[:_MOST_SHOWN])) + (", …" if len(names) > _MOST_SHOWN else "")
            raise WeightError(
                f"{self.path}: needs custom operators ({some}); expected those of ONNX and ONNX Runtime alone: export "
                "the network with standard operators"
            )


def _value(message: memoryview) -> tuple[str, Shape | None]:
    """Return name and shape of a graph's input or output (``ValueInfoProto``)."""
    name, shape = "", None
    for each in fields(message):
        if each.number == 1:
            name = text(each)
        elif each.number == 2:
            shape = _first(embedded(each), 1, lambda tensor: _first(tensor, 2, _shape))
    return name, shape


def _shape(message: memoryview) -> Shape:
    """Return the sizes of a ``TensorShapeProto``."""
    sizes: list[int | str | None] = []
    for dimension in fields(message):
        size: int | str | None = None
        for each in fields(embedded(dimension)):
            if each.number == 1:
                size = integers(each)[0]
            elif each.number == 2:
                size = text(each)
        sizes.append(size if not isinstance(size, int) or size > 0 else None)
    return tuple(sizes)


def _first(message: memoryview, number: int, read: Callable[[memoryview], Shape | None]) -> Shape | None:
    return next((read(embedded(each)) for each in fields(message) if each.number == number), None)


def _text_in(message: memoryview, number: int) -> str:
    return _text_of(fields(message), number)


def _text_of(parts: Iterator[Field] | list[Field], number: int) -> str:
    return next((text(each) for each in parts if each.number == number), "")
