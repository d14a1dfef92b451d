"""Cut a classifier down to the layers whose activations are wanted."""

from __future__ import annotations

import operator
from collections.abc import Sequence

from torch import fx, nn
from torchvision.models import feature_extraction

from asd.errors import ConfigError
from asd_registry import did_you_mean

_IN_PLACE = {operator.iadd: operator.add, operator.imul: operator.mul}
_LISTED = 12


def before_classifier(network: nn.Module, model: str) -> fx.GraphModule:
    """Return `network` up to the input of its last linear layer or convolution, the classifier.

    Raises
    ------
    ConfigError
        If the network cannot be traced or has no such layer.
    """
    traced = _trace(network, model)
    modules = dict(traced.named_modules())
    graph = traced.graph
    for node in reversed(graph.nodes):
        if node.op == "call_module" and isinstance(modules[str(node.target)], nn.Linear | nn.Conv2d):
            graph.output_node().args = (node.args[0],)
            return _without_the_rest(traced)
    raise ConfigError(f"{model} has no final linear layer or convolution; name a layer (--extractor.layer)")


def up_to_layers(network: nn.Module, model: str, layers: Sequence[str]) -> fx.GraphModule:
    """Return `network` as a function to a dictionary of the activations of `layers`, and nothing beyond them.

    Raises
    ------
    ConfigError
        If a layer does not exist; the text names those that are like it and the main ones.
    """
    names = feature_extraction.get_graph_node_names(network, suppress_diff_warning=True)[1]
    for layer in layers:
        if not any(name == layer or name.startswith(f"{layer}.") for name in names):
            raise ConfigError(_no_such_layer(model, layer, names))
    cut = feature_extraction.create_feature_extractor(network, list(layers), suppress_diff_warning=True).eval()
    # One layer's activations must survive what the next one does to them in place.
    for node in cut.graph.nodes:
        if node.op == "call_function":
            node.target = _IN_PLACE.get(node.target, node.target)
            if "inplace" in node.kwargs:
                node.update_kwarg("inplace", False)
    for module in cut.modules():
        if getattr(module, "inplace", False):
            module.inplace = False
    return _without_the_rest(cut)


def _trace(network: nn.Module, model: str) -> fx.GraphModule:
    try:
        return fx.symbolic_trace(network)
    except Exception as error:  # tracing runs the network's own code on stand-ins, which can fail in any way
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise ConfigError(f"{model} cannot be traced by torch.fx ({reason}); choose another model") from error


def _without_the_rest(traced: fx.GraphModule) -> fx.GraphModule:
    traced.graph.eliminate_dead_code()
    traced.delete_all_unused_submodules()
    traced.recompile()
    return traced


def _no_such_layer(model: str, layer: str, names: Sequence[str]) -> str:
    every = {".".join(parts[:depth]): None for parts in map(_split, names) for depth in range(1, len(parts) + 1)}
    main = [name for name in every if name.count(".") <= 1 and name != "x"]
    main = [name for name in main if "." in name or not any(other.startswith(f"{name}.") for other in main)]
    shown = ", ".join(main[:_LISTED]) + (f" … {main[-1]}" if len(main) > _LISTED else "")
    hint = did_you_mean(layer, every, otherwise="")
    return f"{model} has no layer {layer!r}; {hint}{' ' if hint else ''}It has {shown} ({len(every)} with all parts)"


def _split(name: str) -> list[str]:
    return name.split(".")
