"""The front end of lip reading: a 3-D convolution, a residual network on each step, a bidirectional GRU over the steps.

Source: the BalanceMLA paper, section 4.2: 64 kernels of 5 x 7 x 7, ResNet-34, two layers of 1024 units. It gives no
stride, no pooling and no normalisation; these are those of Petridis et al. 2018, whom it follows: strides 1 x 2 x 2,
batch normalisation, ReLU, pooling by 3 x 3 with stride 2, and the mean over the places of the last map.
"""

from typing import Any

import torch
import torchvision
from torch import Tensor, nn

from modalens.encoders._base import Encoder
from modalens.encoders._networks import UNTRAINED, Source, autocast, check_precision, load_state, read_state
from modalens.plugins.registry import public_name
from modalens.utils.errors import UserError

KERNELS, KERNEL, STRIDE, PADDING = 64, (5, 7, 7), (1, 2, 2), (2, 3, 3)
NETWORKS = ("resnet18", "resnet34")
CHANNELS = 512  # of the last map of both


class FrontEnd(nn.Module):
    """(B, T, H, W) -> (B, T, 512), or (B, T, 2 units) behind recurrent layers."""

    def __init__(self, network: str = "resnet34", recurrent_layers: int = 2, units: int = 1024) -> None:
        super().__init__()
        self.convolution = nn.Conv3d(1, KERNELS, KERNEL, STRIDE, PADDING, bias=False)
        self.norm = nn.BatchNorm3d(KERNELS)
        residual: Any = torchvision.models.get_model(network, weights=None)
        self.layers = nn.Sequential(residual.layer1, residual.layer2, residual.layer3, residual.layer4)
        self.gru: nn.GRU | None = None
        if recurrent_layers:
            self.gru = nn.GRU(CHANNELS, units, recurrent_layers, batch_first=True, bidirectional=True)

    def forward(self, volumes: Tensor) -> Tensor:
        maps = self.norm(self.convolution(volumes.unsqueeze(1))).relu().movedim(2, 1)
        pictures = nn.functional.max_pool2d(maps.flatten(0, 1), 3, 2, 1)
        steps: Tensor = self.layers(pictures).mean((2, 3)).unflatten(0, maps.shape[:2])
        if self.gru is None:
            return steps
        # On a CPU a GRU has no mixed precision; elsewhere it has little to gain by it.
        with torch.autocast(steps.device.type, enabled=False):
            told: Tensor = self.gru(steps.float())[0]
        return told


class FrontEndEncoder(Encoder):
    """Made to be learnt through (`training.encoders`): nobody maintains a place of published weights of it."""

    axes = ("time", "channel")
    paths = ("weights",)

    def __init__(
        self,
        device: torch.device,
        *,
        network: str = "resnet34",
        recurrent_layers: int = 2,
        units: int = 1024,
        weights: str = "untrained",
        seed: int = 0,
        precision: str = "auto",
        batch_size: int = 8,
    ) -> None:
        """network: resnet34, or resnet18 for less. recurrent_layers: of the bidirectional GRU; 0 leaves the 512 numbers
        of a step as they are. units: of a layer in each direction. weights: "untrained", drawn from `seed`, or a file
        with a state dict. precision: "auto" is bfloat16 where the device multiplies it natively, float32 elsewhere.
        batch_size: clips at once.
        """
        super().__init__(device)
        source = self._source_of(network, recurrent_layers, units, weights, seed, precision)
        front_end = source.draw(lambda: FrontEnd(network, recurrent_layers, units))
        if source.file:
            load_state(front_end, read_state(source.file, source.where), (), source)
        sizes = {"network": network, "recurrent_layers": recurrent_layers, "units": units}
        self.options = sizes | {"weights": weights, "seed": seed, "precision": precision}
        self.weights, self.batch_size = source.identity(front_end), batch_size
        self._network = nn.Sequential(self.prepared(), front_end).eval().requires_grad_(False).to(device)
        self._precision = precision

    @classmethod
    def check(cls, **options: Any) -> None:
        cls._source_of(**{name: value for name, value in options.items() if name != "batch_size"})

    @classmethod
    def _source_of(
        cls, network: str, recurrent_layers: int, units: int, weights: str, seed: int, precision: str
    ) -> Source:
        where = f"encoder {public_name(cls.__name__)}"
        check_precision(precision, where)
        for name, value, least in (("recurrent_layers", recurrent_layers, 0), ("units", units, 1)):
            if value < least:
                raise UserError(f"{where}: options.{name}: expected at least {least}, got {value}")
        if network not in NETWORKS:
            raise UserError(f"{where}: options.network: expected {' or '.join(NETWORKS)}, got {network!r}")
        source = Source(where, "modalens", network, weights, seed)
        if not source.untrained and source.file is None:
            raise source.refuse(f"expected {UNTRAINED} or a file, got {weights!r}", "weights")
        return source

    def prepared(self) -> nn.Module:
        """Decoded rows -> (B, T, H, W) float32: a picture a step."""
        raise NotImplementedError

    @torch.inference_mode()
    def encode(self, batch: Tensor) -> Tensor:
        """batch: (B, ...) of the decoded form. Returns float16 (B, time, channel) on the device."""
        with autocast(self._precision, self.device):
            found: Tensor = self._network(batch.to(self.device, non_blocking=True))
        return found.half()

    def network(self) -> nn.Module:
        return self._network
