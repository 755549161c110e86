"""Networks of Hugging Face's transformers, from the hub by name or from a folder; no code that comes with them runs."""

from pathlib import Path
from typing import Any

from torch import nn

from modalens.encoders._networks import PRETRAINED, Source
from modalens.encoders._pixels import IMAGENET_MEAN, IMAGENET_STD
from modalens.utils.files import is_path

# Types that hold two towers, and the class of one of them with its projection.
TOWERS = {
    ("clip", "vision"): "CLIPVisionModelWithProjection",
    ("clip", "text"): "CLIPTextModelWithProjection",
    ("siglip", "vision"): "SiglipVisionModel",
    ("siglip", "text"): "SiglipTextModel",
}
REMEDY = "name its folder in options.model of the modality"


def load_network(source: Source, tower: str = "", automatic: str = "AutoModel") -> Any:
    """A base model without a task's head. tower: "vision" or "text" of a model of both. automatic: the class that finds
    the model's own by its configuration.

    Untrained: by the configuration of the folder or the hub, or transformers' own where the model is one of its types
    ("timesformer"), with `arguments` in place of some of its numbers.
    """
    import transformers

    if source.weights not in (PRETRAINED, "untrained"):
        raise source.refuse(
            f"expected pretrained or untrained, got {source.weights!r}; a folder of weights goes in options.model",
            "weights",
        )
    _check_folder(source)
    with source.fetching(REMEDY, "model"):
        if source.untrained and is_type(source.model):
            # Some numbers follow from others where a configuration is made.
            config = transformers.AutoConfig.for_model(source.model, **(source.arguments or {}))
        else:
            config = transformers.AutoConfig.from_pretrained(source.model, trust_remote_code=False)
        maker = getattr(transformers, TOWERS.get((config.model_type, tower), automatic))
        if source.untrained:
            config = _of_tower(config, maker)
            for name, value in (source.arguments or {}).items():
                setattr(config, name, value)
            return source.draw(lambda: _made(maker, config))
        return maker.from_pretrained(source.model, trust_remote_code=False, dtype="float32")


def normalisation(source: Source) -> tuple[Any, Any]:
    """Mean and standard deviation of each colour that the pixels of a network are expected to have: ImageNet's where it
    is drawn by its type alone, or does not say."""
    from transformers import AutoImageProcessor

    seen: Any = None
    if not (source.untrained and is_type(source.model)):
        with source.fetching(REMEDY, "model"):
            seen = AutoImageProcessor.from_pretrained(source.model, trust_remote_code=False)
    return getattr(seen, "image_mean", None) or IMAGENET_MEAN, getattr(seen, "image_std", None) or IMAGENET_STD


def is_type(model: str) -> bool:
    """Whether a name is a type of transformers' networks, not one network: "timesformer", "videomae"."""
    import transformers

    return model in transformers.CONFIG_MAPPING


def _of_tower(config: Any, maker: Any) -> Any:
    """CLIP's configuration holds one for each tower."""
    wanted = getattr(maker, "config_class", None)
    parts = [getattr(config, name, None) for name in ("vision_config", "text_config")]
    return next((part for part in parts if wanted and isinstance(part, wanted)), config)


def _made(maker: Any, config: Any) -> nn.Module:
    network: nn.Module = maker.from_config(config) if hasattr(maker, "from_config") else maker(config)
    return network


def _check_folder(source: Source) -> None:
    """A path that is not there is no name of the hub, which would be asked for minutes."""
    if is_path(source.model) and not (Path(source.model).expanduser() / "config.json").is_file():
        raise source.refuse(f"not found: {source.model}/config.json")
