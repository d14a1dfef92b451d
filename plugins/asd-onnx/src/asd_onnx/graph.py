"""What an ONNX file declares, and the part of its graph that some of its outputs need.

The field numbers are those of ``onnx.proto`` (github.com/onnx/onnx). ONNX Runtime runs every node of a graph, whichever
outputs are asked for; so what the chosen ones do not need is cut off before it sees the graph.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from asd_onnx.wire import Field, embedded, encoded, fields, shown, text

MODEL_GRAPH = 7
GRAPH_NODE, GRAPH_INITIALIZER, GRAPH_INPUT, GRAPH_OUTPUT, GRAPH_VALUE_INFO, GRAPH_SPARSE = 1, 5, 11, 12, 13, 15
NODE_INPUT, NODE_OUTPUT, NODE_ATTRIBUTE = 1, 2, 5
ATTRIBUTE_GRAPH, ATTRIBUTE_GRAPHS = 6, 11
TENSOR_NAME, VALUE_NAME = 8, 1


def graph_of(model: memoryview) -> memoryview:
    """Return the graph of a model; empty if it has none."""
    return next((embedded(field) for field in fields(model) if field.number == MODEL_GRAPH), memoryview(b""))


def pruned(model: bytes | memoryview, outputs: Sequence[str]) -> bytes:
    """Return the model with these outputs, in this order, and without the nodes and inputs that they do not need.

    Parameters
    ----------
    model : bytes or memoryview
        A serialised ``ModelProto``.
    outputs : sequence of str
        Names of graph outputs.

    Raises
    ------
    ValueError
        If the graph has no output of such a name (the text lists those that there are), or it is no model.
    """
    view = memoryview(model)
    kept = [bytes(field.raw) for field in fields(view) if field.number != MODEL_GRAPH]
    return b"".join([*kept, encoded(MODEL_GRAPH, _pruned_graph(graph_of(view), outputs))])


def _pruned_graph(graph: memoryview, outputs: Sequence[str]) -> bytes:
    parts = list(fields(graph))
    declared = {_name(field, VALUE_NAME): field for field in parts if field.number == GRAPH_OUTPUT}
    if missing := [name for name in outputs if name not in declared]:
        raise ValueError(f"no output {missing[0]!r}; there are {', '.join(map(shown, declared))}")
    needed = set(outputs)
    nodes: list[Field] = []
    for field in reversed([field for field in parts if field.number == GRAPH_NODE]):  # they are sorted topologically
        node = embedded(field)
        if needed & set(_names(node, NODE_OUTPUT)):
            needed |= _used(node)
            nodes.append(field)
    dispensable = (GRAPH_NODE, GRAPH_OUTPUT, GRAPH_VALUE_INFO)
    kept = [field for field in parts if field.number not in dispensable and _is_needed(field, needed)]
    chosen = [declared[name] for name in outputs]
    return b"".join(bytes(field.raw) for field in (*reversed(nodes), *kept, *chosen))


def _is_needed(field: Field, needed: set[str]) -> bool:
    if field.number == GRAPH_INITIALIZER:
        return _name(field, TENSOR_NAME) in needed
    return field.number != GRAPH_INPUT or _name(field, VALUE_NAME) in needed


def _used(node: memoryview) -> set[str]:
    """Return the names that a node takes, those inside the bodies of its branches and loops included."""
    found = set(_names(node, NODE_INPUT))
    for graph in subgraphs(node):
        found |= {_name(field, VALUE_NAME) for field in fields(graph) if field.number == GRAPH_OUTPUT}
        for field in fields(graph):
            if field.number == GRAPH_NODE:
                found |= _used(embedded(field))
    return found


def subgraphs(node: memoryview) -> Iterator[memoryview]:
    """Yield the graphs among a node's attributes: the bodies of branches and loops."""
    for attribute in fields(node):
        if attribute.number == NODE_ATTRIBUTE:
            for field in fields(embedded(attribute)):
                if field.number in (ATTRIBUTE_GRAPH, ATTRIBUTE_GRAPHS):
                    yield embedded(field)


def _names(message: memoryview, number: int) -> list[str]:
    return [text(field) for field in fields(message) if field.number == number]


def _name(field: Field, number: int) -> str:
    return next(iter(_names(embedded(field), number)), "")
