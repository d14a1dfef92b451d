"""EfficientAT's network: MobileNetV3-Large of any width on one input channel.

Not torchvision's: importing that takes as long as importing torch.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import nn

N_CLASSES = 527

# Input channels, kernel, expanded channels, output channels, whether gated, activation, stride of each block:
# Howard et al. 2019, arXiv:1905.02244, table 1.
_BLOCKS = (
    (16, 3, 16, 16, False, nn.ReLU, 1),
    (16, 3, 64, 24, False, nn.ReLU, 2),
    (24, 3, 72, 24, False, nn.ReLU, 1),
    (24, 5, 72, 40, True, nn.ReLU, 2),
    (40, 5, 120, 40, True, nn.ReLU, 1),
    (40, 5, 120, 40, True, nn.ReLU, 1),
    (40, 3, 240, 80, False, nn.Hardswish, 2),
    (80, 3, 200, 80, False, nn.Hardswish, 1),
    (80, 3, 184, 80, False, nn.Hardswish, 1),
    (80, 3, 184, 80, False, nn.Hardswish, 1),
    (80, 3, 480, 112, True, nn.Hardswish, 1),
    (112, 3, 672, 112, True, nn.Hardswish, 1),
    (112, 5, 672, 160, True, nn.Hardswish, 2),
    (160, 5, 960, 160, True, nn.Hardswish, 1),
    (160, 5, 960, 160, True, nn.Hardswish, 1),
)
N_STAGES = len(_BLOCKS) + 2


class EfficientATNetwork(nn.Module):
    """The tagger; its tensors have the names of torchvision's ``mobilenet_v3_large``.

    Parameters
    ----------
    width : float
        Multiplier of the channels.

    References
    ----------
    Schmid et al. 2023, arXiv:2211.04772: MobileNetV3 with one input channel, gated by sigmoids.
    """

    def __init__(self, width: float) -> None:
        super().__init__()
        inputs, last = _channels(_BLOCKS[0][0] * width), _channels(_BLOCKS[-1][3] * width)
        self.features = nn.Sequential(
            _convolution(1, inputs, 3, nn.Hardswish, stride=2),
            *(_Block(*block, width=width) for block in _BLOCKS),
            _convolution(last, 6 * last, 1, nn.Hardswish),
        )
        penultimate = _channels(1280 * width)
        self.classifier = nn.Sequential(
            nn.Linear(6 * last, penultimate),
            nn.Hardswish(inplace=True),
            nn.Dropout(),
            nn.Linear(penultimate, N_CLASSES),
        )

    def forward(self, windows: torch.Tensor) -> torch.Tensor:
        """Return logits (n, 527) of windows (n, 1, bands, frames)."""
        logits: torch.Tensor = self.classifier(self.features(windows).mean((2, 3)))
        return logits


class _Block(nn.Module):
    """Expand, convolve each channel, gate, project; added to the input where the shapes agree."""

    def __init__(
        self,
        inputs: int,
        kernel: int,
        expanded: int,
        outputs: int,
        gated: bool,
        activation: type[nn.Module],
        stride: int,
        *,
        width: float,
    ) -> None:
        super().__init__()
        inputs, expanded, outputs = (_channels(channels * width) for channels in (inputs, expanded, outputs))
        self.is_residual = stride == 1 and inputs == outputs
        layers: list[nn.Module] = [] if expanded == inputs else [_convolution(inputs, expanded, 1, activation)]
        layers.append(_convolution(expanded, expanded, kernel, activation, stride=stride, groups=expanded))
        if gated:
            layers.append(_Gate(expanded))
        layers.append(_convolution(expanded, outputs, 1))
        self.block = nn.Sequential(*layers)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        changed: torch.Tensor = self.block(features)
        return changed + features if self.is_residual else changed


class _Gate(nn.Module):
    """Squeeze and excitation: scale each channel by a function of the means of all channels."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        squeezed = _channels(channels // 4)
        self.fc1 = nn.Conv2d(channels, squeezed, 1)
        self.fc2 = nn.Conv2d(squeezed, channels, 1)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        mean = features.mean((2, 3), keepdim=True)
        return features * torch.sigmoid(self.fc2(torch.relu(self.fc1(mean))))


def _convolution(
    inputs: int,
    outputs: int,
    kernel: int,
    activation: type[nn.Module] | None = None,
    *,
    stride: int = 1,
    groups: int = 1,
) -> nn.Sequential:
    layers: list[nn.Module] = [
        nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False),
        nn.BatchNorm2d(outputs, eps=0.001),
    ]
    if activation is not None:
        layers.append(activation(inplace=True))
    return nn.Sequential(*layers)


def _channels(wanted: float) -> int:
    """Return the multiple of 8 nearest to `wanted`, at least 8 and not more than a tenth less."""
    rounded = max(8, int(wanted + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * wanted else rounded


def stage_shapes(width: float, n_mels: int) -> list[tuple[int, int]]:
    """Return (channels, frequency rows) of what each stage gives for windows of `n_mels` bands."""
    rows = -(-n_mels // 2)
    shapes = [(_channels(_BLOCKS[0][0] * width), rows)]
    for *_, outputs, _, _, stride in _BLOCKS:
        rows = -(-rows // stride)
        shapes.append((_channels(outputs * width), rows))
    return [*shapes, (6 * shapes[-1][0], rows)]


def with_torchvision_names(tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return the tensors of one of EfficientAT's own files by the names and in the shapes of torchvision's network.

    Tensors that have torchvision's names already stay as they are.
    """
    renamed = {}
    for name, tensor in tensors.items():
        if ".conc_se_layers.0." in name:
            name = name.replace(".conc_se_layers.0.", ".")
            tensor = tensor[:, :, None, None] if tensor.dim() == 2 else tensor
        elif name.startswith(("classifier.2.", "classifier.5.")):
            name = name.replace("classifier.2.", "classifier.0.").replace("classifier.5.", "classifier.3.")
        renamed[name] = tensor
    return renamed
