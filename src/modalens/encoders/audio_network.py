"""Waveforms int16 (B, S) at 16 kHz -> features float16 (B, time or token, channel) or (B, channel): any audio network
of transformers by name, frozen.

HuBERT, wav2vec 2.0, WavLM ... give a step each 20 ms; the audio spectrogram transformer (AST), a tagger of AudioSet's
classes, gives a token for each patch of the spectrogram. Waveforms go through the network's own feature extractor.
"""

from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from modalens.encoders._base import Encoder
from modalens.encoders._networks import PRETRAINED, Source, autocast, check_precision, library
from modalens.encoders._pixels import Output
from modalens.encoders._transformers import REMEDY, load_network
from modalens.utils.errors import UserError

WHERE = "encoder audio_network"
SAMPLE_RATE = 16_000
FULL_SCALE = 32_768  # int16 -> [-1, 1)
POOLS = ("none", "mean", "own")


class AudioNetwork(Encoder):
    input = "waveforms"
    axes: tuple[str, ...] = ("time", "channel")
    environment = "encoders"
    paths = ("model", "weights")
    expected: ClassVar[dict[str, Any]] = {"sample_rate": 16_000}

    def __init__(
        self,
        device: torch.device,
        *,
        model: str = "facebook/hubert-base-ls960",
        weights: str = PRETRAINED,
        pool: str = "none",
        layer: int = -1,
        arguments: dict[str, Any] | None = None,
        seed: int = 0,
        precision: str = "auto",
        batch_size: int = 8,
    ) -> None:
        """model: of the hub (`facebook/wav2vec2-base`, `MIT/ast-finetuned-audioset-10-10-0.4593593`), or a folder.

        weights: "pretrained" or "untrained", drawn from `seed`. arguments: of the library's configuration in place of
        its own, when untrained.

        pool: "none" keeps the steps, "mean" averages them, "own" is what the network calls its answer about the whole
        (AST). layer: whose output is taken, as an index of a list that begins with the input of the first: -1 is the
        last. precision: "auto" is bfloat16 where the device multiplies it natively, float32 elsewhere. batch_size:
        clips at once.
        """
        super().__init__(device)
        check_precision(precision, WHERE)
        if pool not in POOLS:
            raise UserError(f"{WHERE}: options.pool: expected one of {', '.join(POOLS)}, got {pool!r}")
        source = Source(WHERE, "transformers", model, weights, seed, arguments)
        with library(WHERE):
            from transformers import AutoFeatureExtractor
        self._network = load_network(source).eval().requires_grad_(False).to(device)
        layers = self._network.config.num_hidden_layers + 1
        if not -layers <= layer < layers:
            raise source.refuse(f"expected from {-layers} to {layers - 1}, got {layer}", "layer")
        with source.fetching(REMEDY, "model"):
            self._extract: Any = AutoFeatureExtractor.from_pretrained(model, trust_remote_code=False)
        if self._extract.sampling_rate != SAMPLE_RATE:
            raise source.refuse(f"expected a network of {SAMPLE_RATE} Hz, got one of {self._extract.sampling_rate}")
        # Only networks of waveforms have convolutions with strides; others cut a spectrogram into patches.
        steps = "time" if hasattr(self._network.config, "conv_stride") else "token"
        self.axes = (steps, "channel") if pool == "none" else ("channel",)
        self.options = source.options | {"pool": pool, "layer": layer, "precision": precision}
        self.weights, self.batch_size = source.identity(self._network), batch_size
        self._pool, self._layer, self._precision = pool, layer, precision

    @classmethod
    def axes_of(cls, **options: Any) -> tuple[str, ...]:
        return cls.axes if options["pool"] == "none" else ("channel",)

    @torch.inference_mode()
    def encode(self, batch: Tensor) -> Tensor:
        """batch: int16 (B, S) at 16 kHz. Returns float16 (B, *axes) on the device."""
        with autocast(self._precision, self.device):
            return self._features(self._network, batch).half()

    def network(self) -> nn.Module:
        return Output(self._network, self._features)

    def _features(self, network: nn.Module, batch: Tensor) -> Tensor:
        rows = [row.astype("float32") / FULL_SCALE for row in batch.cpu().numpy()]
        given = self._extract(rows, sampling_rate=SAMPLE_RATE, return_tensors="pt")
        found = network(given["input_values"].to(next(network.parameters()).device), output_hidden_states=True)
        if self._pool == "own":
            if getattr(found, "pooler_output", None) is None:
                raise UserError(f"{WHERE}: options.pool: this network gives no answer about the whole; expected mean")
            own: Tensor = found.pooler_output
            return own
        values: Tensor = found.last_hidden_state if self._layer == -1 else found.hidden_states[self._layer]
        return values.mean(1) if self._pool == "mean" else values
