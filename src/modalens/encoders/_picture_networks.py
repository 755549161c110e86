"""Networks of pictures by library and name: (N, 3, H, W) -> (N, channel), or (N, channel, height, width)."""

from typing import Any

from torch import Tensor, nn

from modalens.encoders._networks import PRETRAINED, Source, library, load_state, read_state
from modalens.encoders._pixels import Output, PixelNetwork
from modalens.utils.suggest import suggest

LIBRARIES = ("torchvision", "timm", "open_clip", "transformers")
WITH_PLACES = ("timm", "torchvision")  # libraries whose networks, or many of them, can give their last map


def load_picture_network(source: Source, *, places: bool = False, fold: bool = True) -> PixelNetwork:
    """places: the last map instead of its average. fold: as of _torchvision.load. Raises UserError."""
    if source.library not in LIBRARIES:
        raise source.refuse(f"expected one of {', '.join(LIBRARIES)}, got {source.library!r}", "library")
    if places and source.library not in WITH_PLACES:
        raise source.refuse(f"`none` needs a network of {', '.join(WITH_PLACES)}, got {source.library}'s", "pool")
    with library(source.where):
        if source.library == "torchvision":
            return _of_torchvision(source, places, fold)
        if source.library == "timm":
            return _of_timm(source, places)
        return _of_open_clip(source) if source.library == "open_clip" else _of_transformers(source)


def _of_torchvision(source: Source, places: bool, fold: bool) -> PixelNetwork:
    import torchvision

    from modalens.encoders import _torchvision

    found = _torchvision.load(source, torchvision.models, fold=fold)
    if places:
        if not isinstance(getattr(found.network, "features", None), nn.Sequential):
            raise source.refuse("`none` needs a network of torchvision with `features`, such as mobilenet_v2", "pool")
        found.network = Output(found.network, _features)
    return found


def _features(network: Any, pixels: Tensor) -> Tensor:
    found: Tensor = network.features(pixels)
    return found


def _of_timm(source: Source, places: bool) -> PixelNetwork:
    import timm

    name, _, tag = source.model.partition(".")
    source.known(timm.list_models() if not tag else [source.model, *timm.list_pretrained()])
    file = source.file
    by_name = not source.untrained and file is None
    if by_name and source.weights != PRETRAINED:
        if tag:
            raise source.refuse(f"expected pretrained, untrained or a file, got {source.weights!r}", "weights")
        name = f"{name}.{source.weights}"
    elif tag:
        name = source.model
    with source.fetching("name a file in options.weights of the modality"):
        network: Any = source.draw(
            lambda: timm.create_model(name, pretrained=by_name, num_classes=0, **(source.arguments or {}))
        )
    if file:
        head = network.pretrained_cfg.get("classifier") or ()
        load_state(network, read_state(file, source.where), [head] if isinstance(head, str) else head, source)
    seen = timm.data.resolve_model_data_config(network)
    return PixelNetwork(
        Output(network, _last_map) if places else network,
        source.identity(network),
        mean=seen["mean"],
        std=seen["std"],
        side=seen["input_size"][-1],
        bicubic=seen["interpolation"] == "bicubic",
    )


def _last_map(network: Any, pixels: Tensor) -> Tensor:
    found: Tensor = network.forward_intermediates(pixels, indices=1, intermediates_only=True, output_fmt="NCHW")[0]
    return found


def _of_open_clip(source: Source) -> PixelNetwork:
    import open_clip

    network = load_open_clip(source)
    seen = open_clip.get_model_preprocess_cfg(network)
    return PixelNetwork(
        network.visual,
        source.identity(network.visual),
        mean=seen["mean"],
        std=seen["std"],
        side=seen["size"][-1] if isinstance(seen["size"], tuple) else seen["size"],
        bicubic=seen["interpolation"] == "bicubic",
    )


def load_open_clip(source: Source) -> Any:
    """Both towers of a CLIP. weights: a tag of open_clip ("laion2b_s34b_b79k"), "pretrained" (the first of them) or a
    file."""
    import open_clip

    source.known(open_clip.list_models())
    tags = open_clip.list_pretrained_tags_by_model(source.model)
    wanted = None if source.untrained else str(source.file or source.weights)
    if wanted == PRETRAINED:
        wanted = tags[0] if tags else None
    if not source.untrained and wanted not in tags and not source.file:
        near = suggest(str(wanted), tags)
        raise source.refuse(f"expected untrained, a file or a tag of open_clip, got {wanted!r}; {near}", "weights")
    with source.fetching("name a file in options.weights of the modality"):
        return source.draw(
            lambda: open_clip.create_model(source.model, wanted, load_weights=bool(wanted), **(source.arguments or {}))
        )


def _of_transformers(source: Source) -> PixelNetwork:
    from modalens.encoders._transformers import load_network, normalisation

    network = load_network(source, tower="vision")
    mean, std = normalisation(source)
    return PixelNetwork(
        Output(network, _of_picture),
        source.identity(network),
        mean=mean,
        std=std,
        side=_side(network),
        bicubic=True,
    )


def _side(network: Any) -> int:
    side = getattr(network.config, "image_size", 224)
    return int(side[-1] if isinstance(side, list | tuple) else side)


def _of_picture(network: Any, pixels: Tensor) -> Tensor:
    """What the network calls its answer about the whole picture, else the mean over its places."""
    found = network(pixel_values=pixels)
    for name in ("image_embeds", "pooler_output"):
        if getattr(found, name, None) is not None:
            return getattr(found, name).flatten(1)
    tokens: Tensor = found.last_hidden_state
    return tokens.mean(1) if tokens.dim() == 3 else tokens.flatten(2).mean(2)
