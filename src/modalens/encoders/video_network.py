"""Frames uint8 (B, T, H, W, 3) -> features float16 (B, channel): any video network by name on the whole clip, frozen.

Libraries: torchvision (R3D, R(2+1)D, MViT, S3D, Swin3D), transformers (VideoMAE, TimeSformer) and modalens itself (C3D,
SlowFast, which no maintained library has). Most were trained on 16 or 32 frames that lie close together:
`decode: {count: 16, rate: 12.5}` of the modality takes 16 from the middle of the clip, every second one of 25 a second;
without a rate they are spread over the clip. SlowFast takes 32 and hands every fourth to its slow pathway.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from modalens.encoders._base import Encoder
from modalens.encoders._networks import PRETRAINED, Source, check_precision
from modalens.encoders._pixels import Output
from modalens.encoders._video_networks import load_video_network
from modalens.utils.errors import UserError

WHERE = "encoder video_network"


class VideoNetwork(Encoder):
    input = "frames"
    axes: tuple[str, ...] = ("channel",)
    environment = "encoders"
    paths = ("model", "weights")

    def __init__(
        self,
        device: torch.device,
        *,
        model: str = "r3d_18",
        library: str = "torchvision",
        weights: str = PRETRAINED,
        side: int = 0,
        arguments: dict[str, Any] | None = None,
        seed: int = 0,
        precision: str = "auto",
        batch_size: int = 8,
    ) -> None:
        """library: torchvision, transformers or modalens. model: its name there (`r2plus1d_18`, `mvit_v2_s`,
        `MCG-NJU/videomae-base`, `facebook/timesformer-base-finetuned-k400`, `c3d`, `slowfast_r50`), or for transformers
        a folder.

        weights: "pretrained", torchvision's name of one set of several, a file with a state dict, or "untrained", drawn
        from `seed`. arguments: of the library's definition in place of its own, when untrained. side: pixels that
        frames are scaled to, 0 for what the weights were trained with. precision: "auto" is bfloat16 where the device
        multiplies it natively, float32 elsewhere. batch_size: clips at once.
        """
        super().__init__(device)
        check_precision(precision, WHERE)
        if side < 0:
            raise UserError(f"{WHERE}: options.side: expected at least 0, got {side}")
        source = Source(WHERE, library, model, weights, seed, arguments)
        found, self._frames, self._multiple = load_video_network(source)
        found.side = side or found.side
        self.options = source.options | {"side": found.side, "precision": precision}
        self.weights, self.batch_size = found.weights, batch_size
        self._source, self._run = source, found.prepare(device, precision)

    @torch.inference_mode()
    def encode(self, batch: Tensor) -> Tensor:
        """batch: uint8 (B, T, H, W, 3) RGB. Returns float16 (B, channel) on the device."""
        return self._features(self._run, batch).half()

    def network(self) -> nn.Module:
        found, *_ = load_video_network(self._source, fold=False)
        found.side = self.options["side"]
        return Output(found.module(), self._features)

    def _features(self, run: Callable[[Tensor], Tensor], batch: Tensor) -> Tensor:
        frames = batch.shape[1]
        if (self._frames and frames != self._frames) or frames % self._multiple:
            wanted = self._frames or f"a multiple of {self._multiple}"
            raise UserError(
                f"{WHERE}: {self._source.model} takes {wanted} frames, got {frames}; set decode.count of the modality"
            )
        return run(batch)
