"""Frames uint8 (B, T, H, W, 3) -> features float16 (B, T, channel) of their depth, which a network of transformers
guesses (Depth Anything, DPT ...), through any picture network by name; or (B, T, height, width, 1), the depth itself.

Source: the fourth seed paper makes depth maps of RGB videos for its encoders, with Monodepth2, which no maintained
library has. The scale of guessed depth is unknown: each frame is stretched to its own nearest and farthest.
"""

from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d, interpolate

from modalens.encoders._base import Encoder
from modalens.encoders._networks import PRETRAINED, Source, autocast, check_precision, library
from modalens.encoders._picture_networks import load_picture_network
from modalens.encoders._transformers import load_network, normalisation
from modalens.utils.errors import UserError

WHERE = "encoder monocular_depth"
GRID = "grid"
CELLS = 16  # of a side of the grid


class MonocularDepth(Encoder):
    input = "frames"
    axes: tuple[str, ...] = ("time", "channel")
    environment = "encoders"
    paths = ("model", "picture_weights")

    def __init__(
        self,
        device: torch.device,
        *,
        model: str = "depth-anything/Depth-Anything-V2-Small-hf",
        weights: str = PRETRAINED,
        picture_library: str = "torchvision",
        picture_model: str = "resnet50",
        picture_weights: str = PRETRAINED,
        side: int = 0,
        arguments: dict[str, Any] | None = None,
        seed: int = 0,
        precision: str = "auto",
        batch_size: int = 4,
    ) -> None:
        """model: that guesses depth, a name of the hub or a folder, or where it is untrained a type of transformers'
        ("depth_anything"). weights: "pretrained" or "untrained", drawn from `seed`. arguments: of its configuration in
        place of its own, when untrained. side: pixels that frames are scaled to for it, 0 for what its configuration
        says.

        picture_library, picture_model and picture_weights: of the network that sees the depth as a grey picture, as
        those of `frame_network`; the picture_model "grid" averages the depth over 16 x 16 cells instead. precision:
        "auto" is bfloat16 where the device multiplies it natively, float32 elsewhere. batch_size: clips at once.
        """
        super().__init__(device)
        check_precision(precision, WHERE)
        source = Source(WHERE, "transformers", model, weights, seed, arguments)
        with library(WHERE):
            network = load_network(source, automatic="AutoModelForDepthEstimation")
        self._mean, self._std = (torch.tensor(numbers, device=device) for numbers in normalisation(source))
        self._side = side or _side(network.config)
        # Some give the depth, others its inverse up to a scale, which is large where it is near.
        self._inverse = getattr(network.config, "depth_estimation_type", "relative") == "relative"
        self._network = network.eval().requires_grad_(False).to(device)
        self._precision, self.batch_size = precision, batch_size
        self.options = source.options | {"side": self._side, "precision": precision, "picture_model": picture_model}
        self.weights = source.identity(network)
        self._picture = None
        if picture_model == GRID:
            self.axes = ("time", "height", "width", "channel")
            return
        picture = Source(f"{WHERE}: picture", picture_library, picture_model, picture_weights, seed)
        found = load_picture_network(picture)
        self.options |= {"picture_library": picture_library, "picture_weights": picture_weights}
        self.weights += f", {found.weights}"
        self._picture = found.prepare(device, precision)

    @torch.inference_mode()
    def encode(self, batch: Tensor) -> Tensor:
        """batch: uint8 (B, T, H, W, 3) RGB. Returns float16 (B, T, channel), or (B, T, 16, 16, 1) from 0 far to 1
        near."""
        nearness = self.nearness(batch.flatten(0, 1))
        if self._picture is None:
            return adaptive_avg_pool2d(nearness, CELLS)[..., None].half().unflatten(0, batch.shape[:2])
        pictures = (nearness * 255)[..., None].expand(*nearness.shape, 3)
        return self._picture(pictures).half().unflatten(0, batch.shape[:2])

    def nearness(self, pictures: Tensor) -> Tensor:
        """uint8 (N, H, W, 3) -> (N, height, width): 0 the farthest place of a picture, 1 the nearest; 0 where all are
        as far."""
        values = (pictures.to(self.device).float() / 255 - self._mean) / self._std
        values = interpolate(values.movedim(-1, 1), (self._side, self._side), mode="bicubic", antialias=True)
        with autocast(self._precision, self.device):
            depth: Tensor = self._network(pixel_values=values).predicted_depth
        depth = depth.float() if self._inverse else -depth.float()
        low, high = depth.amin((1, 2), keepdim=True), depth.amax((1, 2), keepdim=True)
        return (depth - low) / (high - low).clamp(min=torch.finfo(depth.dtype).tiny)


def _side(config: Any) -> int:
    for one in (config, getattr(config, "backbone_config", None)):
        side = getattr(one, "image_size", None)
        if isinstance(side, int):
            return side
    raise UserError(f"{WHERE}: options.side: expected pixels: this network's configuration does not say for how many")
