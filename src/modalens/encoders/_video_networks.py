"""Networks of clips by library and name: (N, 3, T, H, W) -> (N, channel)."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from modalens.encoders import _c3d, _slowfast
from modalens.encoders._networks import PRETRAINED, Source, library, load_state, read_state
from modalens.encoders._pixels import Output, PixelNetwork

LIBRARIES = ("torchvision", "transformers", "modalens")
OWN = ("c3d", "slowfast_r50", "slowfast_r101")
# Of torchvision, those that learnt a place for each of so many frames.
FIXED_FRAMES = {"mvit_v1_b": 16, "mvit_v2_s": 16}
FEWEST_FRAMES = {"s3d": 14}


def load_video_network(source: Source, *, fold: bool = True) -> tuple[PixelNetwork, int, int]:
    """The network, how many frames it takes (0 for any number), and what their number must be a multiple of.

    fold: as of _torchvision.load. Raises UserError for what cannot be, or cannot be had.
    """
    if source.library not in LIBRARIES:
        raise source.refuse(f"expected one of {', '.join(LIBRARIES)}, got {source.library!r}", "library")
    with library(source.where):
        if source.library == "torchvision":
            import torchvision

            from modalens.encoders import _torchvision

            found = _torchvision.load(source, torchvision.models.video, fold=fold)
            return found, FIXED_FRAMES.get(source.model, 0), 1
        return _of_transformers(source) if source.library == "transformers" else _own(source)


def _own(source: Source) -> tuple[PixelNetwork, int, int]:
    source.known(OWN)
    arguments = dict(source.arguments or {})
    is_c3d = source.model == "c3d"
    made: type[nn.Module] = _c3d.C3d if is_c3d else _slowfast.SlowFast
    if not is_c3d:
        arguments["depth"] = int(source.model.removeprefix("slowfast_r"))
    network = source.draw(lambda: made(**arguments))
    if not source.untrained:
        load_state(network, _own_state(source), (), source)
    identity = source.identity(network)
    if is_c3d:
        return PixelNetwork(network, identity, side=_c3d.SIDE), _c3d.FRAMES, 1
    found = PixelNetwork(network, identity, _slowfast.MEAN, _slowfast.STD, _slowfast.SIDE)
    return found, 0, _slowfast.SLOWER


def _own_state(source: Source) -> dict[str, Tensor]:
    if source.file:
        return read_state(source.file, source.where)
    if source.weights != PRETRAINED:
        raise source.refuse(f"expected pretrained, untrained or a file, got {source.weights!r}", "weights")
    if source.model == "c3d":
        raise source.refuse("nobody maintains a place of C3D's weights; name a file with them", "weights")
    url = _slowfast.URL.format(depth=source.model.removeprefix("slowfast_r"))
    cache = Path(torch.hub.get_dir()) / "checkpoints" / Path(url).name
    with source.fetching(f"put {url} at {cache}, name a file in options.weights of the modality"):
        found: dict[str, Any] = torch.hub.load_state_dict_from_url(
            url, map_location="cpu", progress=False, weights_only=True
        )
        return found["model_state"]


def _of_transformers(source: Source) -> tuple[PixelNetwork, int, int]:
    from modalens.encoders._transformers import load_network, normalisation

    network = load_network(source)
    mean, std = normalisation(source)
    found = PixelNetwork(
        Output(network, _of_clip),
        source.identity(network),
        mean=mean,
        std=std,
        side=int(network.config.image_size),
    )
    return found, int(network.config.num_frames), 1


def _of_clip(network: Any, clips: Tensor) -> Tensor:
    """The first token where the network has one for the whole (TimeSformer, ViViT), else the mean (VideoMAE)."""
    values: Tensor = network(pixel_values=clips.movedim(1, 2)).last_hidden_state
    return values.mean(1) if network.config.model_type.startswith("videomae") else values[:, 0]
