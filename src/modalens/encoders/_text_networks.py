"""Networks of text by library and name: token ids -> (N, channel) or (N, token, channel)."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from modalens.encoders._networks import Source, library
from modalens.encoders._transformers import REMEDY, TOWERS, load_network

LIBRARIES = ("transformers", "open_clip")
POOLS = ("auto", "mean", "cls", "projection", "none")
Tokens = dict[str, Tensor]


@dataclass
class TextNetwork:
    """network: what `tokens` gives of N texts -> (N, channel), or (N, max_tokens, channel) where pool is "none"."""

    network: nn.Module
    tokens: Callable[[list[str]], Tokens]
    weights: str
    pool: str


def load_text_network(source: Source, pool: str, max_tokens: int) -> TextNetwork:
    """Raises UserError for what cannot be, or cannot be had."""
    if source.library not in LIBRARIES:
        raise source.refuse(f"expected one of {', '.join(LIBRARIES)}, got {source.library!r}", "library")
    with library(source.where):
        if source.library == "open_clip":
            return _of_open_clip(source, pool)
        return _of_transformers(source, pool, max_tokens)


def _of_transformers(source: Source, pool: str, max_tokens: int) -> TextNetwork:
    from transformers import AutoTokenizer

    network = load_network(source, tower="text")
    is_tower = type(network).__name__ in TOWERS.values()
    pool = pool if pool != "auto" else "projection" if is_tower else "mean"
    if pool == "projection" and not is_tower:
        raise source.refuse(f"`projection` needs a tower of CLIP or SigLIP, got {type(network).__name__}", "pool")
    with source.fetching(REMEDY, "model"):
        tokenizer: Any = AutoTokenizer.from_pretrained(source.model, trust_remote_code=False)
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    # Of a network that says nothing, its tokenizer gives an absurd number.
    most = min(max_tokens, tokenizer.model_max_length)
    # Towers are trained with texts filled up to their full length.
    padding = "max_length" if pool in ("projection", "none") else "longest"

    def tokens(texts: list[str]) -> Tokens:
        length = most if pool != "none" else max_tokens
        found = tokenizer(texts, padding=padding, truncation=True, max_length=min(length, most), return_tensors="pt")
        return {name: found[name] for name in tokenizer.model_input_names if name in found}

    return TextNetwork(_Pooled(network, pool, max_tokens), tokens, source.identity(network), pool)


class _Pooled(nn.Module):
    """A network of transformers with one of POOLS."""

    def __init__(self, network: Any, pool: str, max_tokens: int) -> None:
        super().__init__()
        self.network, self._pool, self._max_tokens = network, pool, max_tokens

    def forward(self, tokens: Tokens) -> Tensor:
        found = self.network(**tokens)
        if self._pool == "projection":
            own = getattr(found, "text_embeds", None)
            return found.pooler_output if own is None else own
        values: Tensor = found.last_hidden_state
        if self._pool == "cls":
            return values[:, 0]
        mask = tokens["attention_mask"][:, :, None].to(values.dtype)
        if self._pool == "mean":
            return (values * mask).sum(1) / mask.sum(1).clamp(min=1)
        # As many as were asked for, also of a network that takes fewer.
        return nn.functional.pad(values * mask, (0, 0, 0, self._max_tokens - values.shape[1]))


def _of_open_clip(source: Source, pool: str) -> TextNetwork:
    import open_clip

    from modalens.encoders._picture_networks import load_open_clip

    if pool not in ("auto", "projection"):
        raise source.refuse(f"expected projection, which is what open_clip's towers give, got {pool!r}", "pool")
    network = load_open_clip(source)
    del network.visual
    with source.fetching("name a file in options.weights of the modality"):
        tokenizer: Any = open_clip.get_tokenizer(source.model, context_length=network.context_length)

    def tokens(texts: list[str]) -> Tokens:
        # Its own length whatever max_tokens: what follows the end mark is not seen.
        return {"text": tokenizer(texts)}

    return TextNetwork(_Tower(network), tokens, source.identity(network), "projection")


class _Tower(nn.Module):
    def __init__(self, network: Any) -> None:
        super().__init__()
        self.network = network

    def forward(self, tokens: Tokens) -> Tensor:
        found: Tensor = self.network.encode_text(tokens["text"])
        return found
