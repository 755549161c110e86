"""Late fusion: concat(audio 512, video 400) = 912 -> three fully connected layers. Source: seed paper, section 3.3.

The unimodal models are this class with one modality: the only difference is the size of the first head layer.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any, ClassVar

from modalens.cli import UserError
from modalens.models._base import Model, Shapes
from modalens.models._networks import AudioNetwork, SequenceNetwork, head, width


class LateFusion(Model):
    only: ClassVar[tuple[str, ...]] = ()  # the modalities it looks at; none named: all that the study has

    def __init__(
        self,
        shapes: Shapes,
        classes: int,
        *,
        audio_size: int = 512,
        channels: int = 16,
        sequence_size: int = 400,
        step_size: int = 128,
        hidden: Sequence[int] = (256, 128),
        dropout: float = 0.0,
    ) -> None:
        """Log-mel under the key "audio", any other modality a sequence of vectors; concatenated in alphabetical order.

        The paper gives audio_size 512, and 400 for the video. Convolution channels, step_size (the video's first layer)
        and the head's hidden sizes are ours. The paper names no dropout.
        """
        if missing := set(self.only) - set(shapes):
            raise UserError(
                f"a model looks at {missing.pop()!r}, the study's modalities are {', '.join(sorted(shapes))}"
            )
        makers: dict[str, Any] = {"audio": partial(AudioNetwork, size=audio_size, channels=channels)}
        sequence = partial(SequenceNetwork, size=sequence_size, step_size=step_size)
        networks = {name: makers.get(name, sequence)(shapes[name]) for name in self.only or sorted(shapes)}
        super().__init__(shapes, networks, head(width(networks), hidden, classes, dropout))
