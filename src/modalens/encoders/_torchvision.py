"""Networks of torchvision without their classifying layer, by its own names and weights."""

from pathlib import Path
from typing import Any

import torch
import torchvision
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval
from torchvision.models.resnet import BasicBlock, Bottleneck, ResNet

from modalens.encoders._networks import PRETRAINED, Source, cut_last_layer, load_state, read_state
from modalens.encoders._pixels import IMAGENET_MEAN, IMAGENET_STD, PixelNetwork

HEADS = ("fc", "classifier", "heads", "head")
# Their published weights want the input scaled in the network, which their own builders do only with these weights.
INCEPTIONS = {"googlenet", "inception_v3"}
# Modules that run their children in the order in which they stand.
IN_ORDER = (nn.Sequential, ResNet, BasicBlock, Bottleneck)


def load(source: Source, module: Any, *, fold: bool = True) -> PixelNetwork:
    """module: `torchvision.models` for pictures, `torchvision.models.video` for clips. fold: normalisations go into
    convolutions, which is for a frozen network. Raises UserError."""
    source.known(torchvision.models.list_models(module=module))
    published = torchvision.models.get_model_weights(source.model)
    chosen = published.DEFAULT
    if source.weights in published.__members__:
        chosen = published[source.weights]
    elif source.weights not in (PRETRAINED, "untrained") and source.file is None:
        names = ", ".join(["pretrained", "untrained", *(weights.name for weights in published)])
        raise source.refuse(f"expected {names} or a file, got {source.weights!r}", "weights")
    own = {"init_weights": source.untrained, "transform_input": True} if source.model in INCEPTIONS else {}
    network = source.draw(
        lambda: torchvision.models.get_model(source.model, weights=None, **own, **(source.arguments or {}))
    )
    heads = cut_last_layer(network, HEADS)
    if not source.untrained:
        state = read_state(source.file, source.where) if source.file else _published(chosen, source)
        load_state(network, state, heads, source)
    identity = source.identity(network)
    if fold:
        fold_normalisation(network.eval())
    seen = chosen.transforms()
    return PixelNetwork(
        network,
        identity,
        mean=getattr(seen, "mean", IMAGENET_MEAN),
        std=getattr(seen, "std", IMAGENET_STD),
        side=seen.crop_size[0],
        bicubic=seen.interpolation == torchvision.transforms.InterpolationMode.BICUBIC,
    )


def _published(weights: Any, source: Source) -> dict[str, torch.Tensor]:
    """Parameters from PyTorch's cache or its server, by their checksum."""
    cache = Path(torch.hub.get_dir()) / "checkpoints" / Path(weights.url).name
    with source.fetching(f"put {weights.url} at {cache}, name a file in options.weights of the modality"):
        state: dict[str, torch.Tensor] = torch.hub.load_state_dict_from_url(
            weights.url, map_location="cpu", progress=False, check_hash=True, weights_only=True
        )
    return state


def fold_normalisation(network: nn.Module) -> None:
    """Put every frozen batch normalisation into the convolution that runs before it: same function, a fifth faster."""
    for module in network.modules():
        if not isinstance(module, IN_ORDER):
            continue
        children = dict(module.named_children())
        for before, after in zip(list(children), list(children)[1:], strict=False):
            convolution, normalisation = children[before], children[after]
            if type(convolution) is nn.Conv2d and type(normalisation) is nn.BatchNorm2d:
                setattr(module, before, fuse_conv_bn_eval(convolution, normalisation))
                setattr(module, after, nn.Identity())
