"""Late fusion: concat(audio 512, video 400) = 912 -> three fully connected layers. Source: seed paper, section 3.3.

The unimodal models are this class with one modality: the only difference is the size of the first head layer. Any other
operator of fusions/ takes the place of the concatenation by name.
"""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from modalens.fusions import build
from modalens.models._base import Model, Shapes
from modalens.models._networks import mlp_head, sizes, unimodal_networks
from modalens.utils.errors import UserError


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
        fusion: str = "concat",
        fusion_options: Mapping[str, Any] | None = None,
    ) -> None:
        """Log-mel under the key "audio", any other modality a sequence of vectors; joined in alphabetical order.

        The paper gives audio_size 512, and 400 for the video. Convolution channels, step_size (the video's first layer)
        and the head's hidden sizes are ours. The paper names no dropout. fusion: any that serves the intermediate
        stage; the sub-networks of a seed begin alike whatever it is.
        """
        if missing := set(self.only) - set(shapes):
            raise UserError(
                f"a model looks at {missing.pop()!r}, the study's modalities are {', '.join(sorted(shapes))}"
            )
        networks = unimodal_networks(
            shapes,
            self.only or shapes,
            audio_size=audio_size,
            channels=channels,
            sequence_size=sequence_size,
            step_size=step_size,
        )
        joined = build(fusion, sizes(networks), fusion_options)
        super().__init__(shapes, networks, joined, mlp_head(joined.size, hidden, classes, dropout))
