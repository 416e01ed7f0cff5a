"""MobileNetV2 in torch, as the image encoder's backbone. Knows its convolutions, nothing of what reads its map."""

from __future__ import annotations

from typing import cast

from torch import Tensor, nn
from torch.nn import functional as F

from openblip.config import mobilenet_v2_layers


class MobileNetV2(nn.ModuleDict):
    """The 52 convolutions of MobileNetV2, batch norm folded in, by their index."""

    def __init__(self) -> None:
        self_layers = {}
        for layer in mobilenet_v2_layers():
            self_layers[str(layer.index)] = nn.Conv2d(
                layer.inputs, layer.outputs, layer.kernel, layer.stride, groups=layer.groups
            )
        super().__init__(self_layers)

    def run(self, x: Tensor, start: int = 0, stop: int = 52) -> Tensor:
        """Layers start to stop - 1 over [batch, channels, height, width]; both ends must be block boundaries."""
        block_input = x
        for layer in mobilenet_v2_layers()[start:stop]:
            if layer.starts_block:
                block_input = x
            conv = cast(nn.Conv2d, self[str(layer.index)])
            if layer.kernel == 3:
                # TensorFlow's "same": at stride 2 the extra row and column go to the bottom and the right.
                x = F.pad(x, (0, 1, 0, 1)) if layer.stride == 2 else x
                padding = 0 if layer.stride == 2 else 1
            else:
                padding = 0
            x = F.conv2d(x, conv.weight, conv.bias, layer.stride, padding, groups=layer.groups)
            if layer.relu6:
                x = F.relu6(x)
            if layer.residual:
                x = x + block_input
        return x
