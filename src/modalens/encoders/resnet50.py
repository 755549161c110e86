"""Frames uint8 (B, T, H, W, 3) -> features float16 (B, T, 2048): ResNet50 without its last layer, frozen.

Source: He et al. 2015, as torchvision has it; the seed paper runs it on 8 frames a clip and keeps the result.
"""

import contextlib
import hashlib
from pathlib import Path
from typing import Any

import torch
import torchvision
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from modalens.encoders._base import Encoder
from modalens.utils.errors import UserError

FEATURES = 2048
# Mean and standard deviation of ImageNet's RGB in [0, 1], what the published weights were trained with.
MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)
IMAGENET = torchvision.models.ResNet50_Weights.IMAGENET1K_V2
PRECISIONS = ("auto", "float32", "bfloat16")


class Resnet50(Encoder):
    input = "frames"
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
        if precision not in PRECISIONS:
            raise UserError(
                f"encoder resnet50: options.precision: expected one of {', '.join(PRECISIONS)}, got {precision!r}"
            )
        self.options: dict[str, Any] = {"weights": weights, "precision": precision}
        if weights == "untrained":
            self.options["seed"] = seed
        self.batch_size = batch_size
        self._device = device
        self._bfloat16 = precision == "bfloat16" or (precision == "auto" and _multiplies_bfloat16(device))
        network, self.weights = _load(weights, seed)
        _fold_normalisation(network.eval())
        self._network = network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._mean = torch.tensor(MEAN, device=device).mul(255)
        self._scale = torch.tensor(STD, device=device).mul(255).reciprocal()

    @torch.inference_mode()
    def encode(self, batch: Tensor) -> Tensor:
        """batch: uint8 (B, T, H, W, 3) RGB. Returns float16 (B, T, 2048) on the device, where it waits for nothing."""
        clips, frames = batch.shape[:2]
        pixels = (batch.to(self._device, non_blocking=True).flatten(0, 1).float() - self._mean) * self._scale
        # A permuted (N, H, W, 3) already lies in memory as channels-last (N, 3, H, W) does.
        pixels = pixels.permute(0, 3, 1, 2)
        autocast = torch.autocast(self._device.type, torch.bfloat16) if self._bfloat16 else contextlib.nullcontext()
        with autocast:
            features = self._network(pixels)
        half: Tensor = features.half().reshape(clips, frames, FEATURES)
        return half


def _load(weights: str, seed: int) -> tuple[nn.Module, str]:
    """The network without its last layer, and the identity of its weights."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = torchvision.models.resnet50(weights=None)
    network.fc = nn.Identity()
    if weights == "untrained":
        return network, f"untrained seed {seed}"
    if weights == "imagenet":
        state, identity = _imagenet(), f"torchvision ResNet50 {IMAGENET.name}"
    else:
        path = Path(weights)
        if not path.is_file():
            raise UserError(
                f"encoder resnet50: options.weights: expected imagenet, untrained or a file, got {weights!r}"
            )
        try:
            state = torch.load(path, map_location="cpu", weights_only=True)
        except Exception as error:  # torch.load raises whatever the damaged bytes lead it to
            raise UserError(f"encoder resnet50: options.weights: {path} cannot be read as a state dict") from error
        with path.open("rb") as file:
            identity = f"sha256 {hashlib.file_digest(file, 'sha256').hexdigest()}"
    try:
        network.load_state_dict({name: value for name, value in state.items() if not name.startswith("fc.")})
    except (RuntimeError, AttributeError) as error:
        raise UserError(f"encoder resnet50: options.weights: {weights} does not hold ResNet50's parameters") from error
    return network, identity


def _imagenet() -> dict[str, Tensor]:
    """torchvision's published weights, from PyTorch's cache or its server."""
    try:
        return torch.hub.load_state_dict_from_url(IMAGENET.url, map_location="cpu", check_hash=True, weights_only=True)
    except Exception as error:  # no network, no disk, a cut download: the remedy is the same
        cache = Path(torch.hub.get_dir()) / "checkpoints" / Path(IMAGENET.url).name
        raise UserError(
            f"ResNet50's ImageNet weights are not here and cannot be downloaded ({type(error).__name__}): "
            f"put {IMAGENET.url} at {cache}, name a file in options.weights of the modality, or write `untrained` "
            "there to see the flow run"
        ) from error


def _fold_normalisation(network: nn.Module) -> None:
    """Put every frozen batch normalisation into the convolution before it: same function, a fifth faster."""
    for module in list(network.modules()):
        children = dict(module.named_children())
        for before, after in zip(list(children), list(children)[1:], strict=False):
            convolution, normalisation = children[before], children[after]
            if isinstance(convolution, nn.Conv2d) and isinstance(normalisation, nn.BatchNorm2d):
                setattr(module, before, fuse_conv_bn_eval(convolution, normalisation))
                setattr(module, after, nn.Identity())


def _multiplies_bfloat16(device: torch.device) -> bool:
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if device.type == "cpu":
        # Without these units PyTorch emulates bfloat16, slower than float32.
        return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    return False
