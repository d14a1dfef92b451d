"""Make a network ready for fast inference."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import torch
from torch import fx, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from asd_torch.device import Plan

_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
_BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


def prepare(module: nn.Module, plan: Plan) -> nn.Module:
    """Return `module` ready for inference: batch norm folded, no gradients, on the plan's device in its precision.

    Parameters
    ----------
    module : torch.nn.Module
        Loaded with its weights; it is used up.
    plan : Plan
        Device and number format.

    Returns
    -------
    torch.nn.Module
        Computes the same (within 1e-5 in float32); four-dimensional weights lie channels-last.
    """
    with suppress(RuntimeError):  # a scripted module cannot; inference needs it not
        module.requires_grad_(False)
    module = fold_batch_norm(module.eval())
    module = module.to(plan.device, plan.dtype)
    return module.to(memory_format=torch.channels_last)


def fold_batch_norm(module: nn.Module) -> nn.Module:
    """Return `module` with every batch norm that follows a convolution folded into its weights.

    A module that ``torch.fx`` cannot trace comes back as it is.
    """
    if not any(isinstance(child, _BATCH_NORMS) for child in module.modules()):
        return module
    try:
        traced = module if isinstance(module, fx.GraphModule) else fx.symbolic_trace(module)
    except Exception:  # tracing runs the module's own code on stand-ins, which can fail in any way
        return module
    for node in list(traced.graph.nodes):
        if _follows_convolution(node, dict(traced.named_modules())):
            _fold(traced, node)
    traced.delete_all_unused_submodules()
    traced.recompile()
    return traced.eval()


def _follows_convolution(node: fx.Node, modules: dict[str, nn.Module]) -> bool:
    if node.op != "call_module" or not isinstance(modules[str(node.target)], _BATCH_NORMS):
        return False
    source = node.args[0]
    return (
        isinstance(source, fx.Node)
        and source.op == "call_module"
        and isinstance(modules[str(source.target)], _CONVOLUTIONS)
        and len(source.users) == 1
        and modules[str(node.target)].running_mean is not None
    )


def _fold(traced: fx.GraphModule, node: fx.Node) -> None:
    source = node.args[0]
    assert isinstance(source, fx.Node)
    modules: dict[str, Any] = dict(traced.named_modules())
    target = str(source.target)
    traced.set_submodule(target, fuse_conv_bn_eval(modules[target], modules[str(node.target)]))
    node.replace_all_uses_with(source)
    traced.graph.erase_node(node)
