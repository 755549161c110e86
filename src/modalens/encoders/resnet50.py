"""Frames uint8 (B, T, H, W, 3) -> features float16 (B, T, 2048): ResNet50 without its last layer, frozen.

Source: He et al. 2015, as torchvision has it; the seed paper runs it on 8 frames a clip and keeps the result. Frames
keep the size that they were decoded to.
"""

from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor, nn

from modalens.encoders._base import Encoder
from modalens.encoders._networks import PRETRAINED, UNTRAINED, Source, check_precision
from modalens.encoders._pixels import Output

# torchvision is imported where a network is made: it imports PyTorch's compiler, 2 s of every call of Snakemake.

WHERE = "encoder resnet50"
IMAGENET = "IMAGENET1K_V2"


class Resnet50(Encoder):
    input = "frames"
    paths = ("weights",)
    axes = ("time", "channel")

    def __init__(
        self,
        device: torch.device,
        *,
        weights: str = "imagenet",
        seed: int = 0,
        precision: str = "auto",
        batch_size: int = 8,
    ) -> None:
        """weights: "imagenet", "untrained" (drawn from `seed`) or the path of a state dict. batch_size: clips at once.

        precision "auto": bfloat16 where the device multiplies it natively, float32 elsewhere.
        """
        import torchvision

        from modalens.encoders import _torchvision

        super().__init__(device)
        check_precision(precision, WHERE)
        source = Source(WHERE, "torchvision", "resnet50", IMAGENET if weights == "imagenet" else weights, seed)
        found = _torchvision.load(source, torchvision.models)
        found.side = 0
        drawn = {"seed": seed} if source.untrained else {}
        self.options = {"weights": weights, "precision": precision} | drawn
        self.weights, self.batch_size = found.weights, batch_size
        self._source, self._run = source, found.prepare(device, precision)

    @classmethod
    def check(cls, **options: Any) -> None:
        """Raises UserError for a precision that is none, and weights that are neither a name nor a file."""
        check_precision(options["precision"], WHERE)
        source = Source(WHERE, "torchvision", "resnet50", options["weights"])
        if find_spec("torchvision") is None:
            raise source.refuse("expected torchvision to be installed, it is not", "weights")
        if source.weights not in ("imagenet", PRETRAINED, UNTRAINED) and source.file is None and not _known(source):
            raise source.refuse(f"expected imagenet, untrained or a file, got {source.weights!r}", "weights")
        if options["batch_size"] < 1:
            raise source.refuse(f"expected at least 1, got {options['batch_size']}", "batch_size")

    @torch.inference_mode()
    def encode(self, batch: Tensor) -> Tensor:
        """batch: uint8 (B, T, H, W, 3) RGB. Returns float16 (B, T, 2048) on the device, where it waits for nothing."""
        return self._features(self._run, batch).half()

    def network(self) -> nn.Module:
        import torchvision

        from modalens.encoders import _torchvision

        found = _torchvision.load(self._source, torchvision.models, fold=False)
        found.side = 0
        return Output(found.module(), self._features)

    def _features(self, run: Callable[[Tensor], Tensor], batch: Tensor) -> Tensor:
        return run(batch.flatten(0, 1)).unflatten(0, batch.shape[:2])


def _known(source: Source) -> bool:
    import torchvision

    return source.weights in torchvision.models.ResNet50_Weights.__members__
