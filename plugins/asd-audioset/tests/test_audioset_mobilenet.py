"""Our MobileNetV3 computes what torchvision's does."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
import torch
from torch import nn

from asd_audioset.mobilenet import EfficientATNetwork, stage_shapes

mobilenetv3 = pytest.importorskip("torchvision.models.mobilenetv3")
ops = pytest.importorskip("torchvision.ops")


def torchvisions(width: float) -> Any:
    """As the weights' description says: sigmoid gates, one input channel, 527 classes."""
    blocks, last = mobilenetv3._mobilenet_v3_conf("mobilenet_v3_large", width_mult=width)
    gated = partial(ops.SqueezeExcitation, scale_activation=nn.Sigmoid)
    network = mobilenetv3.MobileNetV3(blocks, last, 527, block=partial(mobilenetv3.InvertedResidual, se_layer=gated))
    channels = network.features[0][0].out_channels
    network.features[0][0] = nn.Conv2d(1, channels, 3, 2, 1, bias=False)
    for name, parameter in network.named_parameters():
        if name.endswith(("0.1.weight", "0.1.bias")):
            nn.init.uniform_(parameter, 0.5, 1.5)
    return network.eval()


@pytest.mark.parity
@pytest.mark.parametrize("width", [0.1, 0.4, 0.5, 1.0, 2.0])
def test_the_network_is_torchvisions_with_sigmoid_gates(width: float) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        theirs = torchvisions(width)
        windows = torch.randn(2, 1, 128, 64)
    ours = EfficientATNetwork(width).eval()
    ours.load_state_dict(theirs.state_dict())
    with torch.inference_mode():
        features = windows
        for stage, theirs_stage, shape in zip(ours.features, theirs.features, stage_shapes(width, 128), strict=True):
            expected, features = theirs_stage(features), stage(features)
            torch.testing.assert_close(features, expected)
            assert tuple(features.shape[1:3]) == shape
        torch.testing.assert_close(ours(windows), theirs(windows))
