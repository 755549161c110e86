"""Images uint8 (B, H, W, 3) -> features float16 (B, channel): any picture network by name, without its classifying
layer, frozen.

Libraries: torchvision, timm (MobileOne, ViT, EfficientNet-lite ...), open_clip and transformers (the image towers of
CLIP; ViT, DINO ...). Pixels are scaled to the side and normalised as the network's published weights want them; the
whole decoded square is seen, where the libraries' own test transforms cut its border off.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from modalens.encoders._base import Encoder
from modalens.encoders._networks import PRETRAINED, Source, check_precision
from modalens.encoders._picture_networks import load_picture_network
from modalens.encoders._pixels import Output
from modalens.plugins.registry import public_name
from modalens.utils.errors import UserError

POOLS = ("mean", "none")


class ImageNetwork(Encoder):
    input = "images"
    axes: tuple[str, ...] = ("channel",)
    environment = "encoders"
    paths = ("model", "weights")

    def __init__(
        self,
        device: torch.device,
        *,
        model: str = "resnet50",
        library: str = "torchvision",
        weights: str = PRETRAINED,
        pool: str = "mean",
        side: int = 0,
        arguments: dict[str, Any] | None = None,
        seed: int = 0,
        precision: str = "auto",
        batch_size: int = 64,
    ) -> None:
        """library: torchvision, timm, open_clip or transformers. model: its name there (`mobilenet_v2`, `mobileone_s1`,
        `ViT-B-32`, `openai/clip-vit-base-patch32`), or for transformers a folder.

        weights: "pretrained", the library's name of one set of several (`IMAGENET1K_V1`), a file with a state dict, or
        "untrained", drawn from `seed`. arguments: of the library's definition in place of its own, when untrained.

        pool: "mean" gives a vector as the network does, "none" its last map (height, width, channel), of timm
        and of torchvision's with `features`. side:
        pixels that the picture is scaled to, 0 for what the weights were trained with. precision: "auto" is bfloat16
        where the device multiplies it natively, float32 elsewhere. batch_size: pictures at once.
        """
        super().__init__(device)
        where = f"encoder {public_name(type(self).__name__)}"
        check_precision(precision, where)
        if pool not in POOLS:
            raise UserError(f"{where}: options.pool: expected {' or '.join(POOLS)}, got {pool!r}")
        if side < 0:
            raise UserError(f"{where}: options.side: expected at least 0, got {side}")
        source = Source(where, library, model, weights, seed, arguments)
        found = load_picture_network(source, places=pool == "none")
        found.side = side or found.side
        if pool == "none":
            self.axes = (*type(self).axes[:-1], "height", "width", "channel")
        self.options = source.options | {"pool": pool, "side": found.side, "precision": precision}
        self.weights, self.batch_size = found.weights, batch_size
        self._source, self._run = source, found.prepare(device, precision)

    @classmethod
    def axes_of(cls, **options: Any) -> tuple[str, ...]:
        return (*cls.axes[:-1], "height", "width", "channel") if options["pool"] == "none" else cls.axes

    @torch.inference_mode()
    def encode(self, batch: Tensor) -> Tensor:
        """batch: uint8 (B, H, W, 3) RGB. Returns float16 (B, channel) or (B, height, width, channel) on the device."""
        return self._features(self._run, batch).half()

    def network(self) -> nn.Module:
        places = "height" in self.axes
        found = load_picture_network(self._source, places=places, fold=False)
        found.side = self.options["side"]
        return Output(found.module(), self._features)

    def _features(self, run: Callable[[Tensor], Tensor], batch: Tensor) -> Tensor:
        # A map is (B, channel, height, width).
        return run(batch).movedim(1, -1)
