"""Texts uint8 (B, bytes) UTF-8 -> features float16 (B, channel) or (B, token, channel): any text network by name.

Libraries: transformers (DistilBERT, BERT, SimCSE, MiniLM ...: any encoder that AutoModel loads, and the text towers of
CLIP and SigLIP) and open_clip.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from modalens.encoders._base import Encoder
from modalens.encoders._networks import PRETRAINED, Source, autocast, check_precision
from modalens.encoders._pixels import Output
from modalens.encoders._text_networks import POOLS, load_text_network
from modalens.utils.errors import UserError

WHERE = "encoder text_network"


class TextNetwork(Encoder):
    input = "texts"
    axes: tuple[str, ...] = ("channel",)
    environment = "encoders"
    paths = ("model", "weights")

    def __init__(
        self,
        device: torch.device,
        *,
        model: str = "sentence-transformers/all-MiniLM-L6-v2",
        library: str = "transformers",
        weights: str = PRETRAINED,
        pool: str = "auto",
        max_tokens: int = 128,
        arguments: dict[str, Any] | None = None,
        seed: int = 0,
        precision: str = "auto",
        batch_size: int = 64,
    ) -> None:
        """library: transformers or open_clip. model: its name there, or for transformers a folder with its tokenizer.

        weights: "pretrained", a tag of open_clip or its file, or "untrained", drawn from `seed`. arguments: of the
        library's definition in place of its own, when untrained.

        pool: "mean" over a text's tokens (sentence transformers), "cls" the first token (BERT, supervised SimCSE),
        "projection" a tower's own answer in CLIP's common space, "none" all tokens (token, channel), zero after the
        text's end; "auto" is the projection of a tower, the mean of others. max_tokens: of a text; what is longer is
        cut. precision: "auto" is bfloat16 where the device multiplies it natively, float32 elsewhere. batch_size: texts
        at once.
        """
        super().__init__(device)
        check_precision(precision, WHERE)
        if pool not in POOLS:
            raise UserError(f"{WHERE}: options.pool: expected one of {', '.join(POOLS)}, got {pool!r}")
        if max_tokens < 3:
            raise UserError(f"{WHERE}: options.max_tokens: expected at least 3, got {max_tokens}")
        source = Source(WHERE, library, model, weights, seed, arguments)
        found = load_text_network(source, pool, max_tokens)
        if found.pool == "none":
            self.axes = ("token", "channel")
        self.options = source.options | {"pool": found.pool, "max_tokens": max_tokens, "precision": precision}
        self.weights, self.batch_size = found.weights, batch_size
        self._network = found.network.eval().requires_grad_(False).to(device)
        self._tokens: Callable[[list[str]], dict[str, Tensor]] = found.tokens
        self._precision = precision

    @classmethod
    def axes_of(cls, **options: Any) -> tuple[str, ...]:
        return ("token", "channel") if options["pool"] == "none" else cls.axes

    @torch.inference_mode()
    def encode(self, batch: Tensor) -> Tensor:
        """batch: uint8 (B, bytes), zeros after a text's end. Returns float16 (B, channel) or (B, token, channel)."""
        with autocast(self._precision, self.device):
            return self._features(self._network, batch).half()

    def network(self) -> nn.Module:
        return Output(self._network, self._features)

    def _features(self, network: nn.Module, batch: Tensor) -> Tensor:
        where = next(network.parameters()).device
        found: Tensor = network({name: values.to(where) for name, values in self._tokens(as_texts(batch)).items()})
        return found


def as_texts(batch: Tensor) -> list[str]:
    """(B, bytes) uint8 UTF-8, zeros after a text's end -> B texts."""
    return [row.tobytes().split(b"\0", 1)[0].decode("utf-8", "replace") for row in batch.cpu().numpy()]
