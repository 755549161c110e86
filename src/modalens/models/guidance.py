"""Guidance: a second modality, there only while learning, steers where the first one looks.

Source: Zhao et al. 2023, "Multi-modality guidance network for missing modality inference", section 2. The paper's pair
is image and text, laid out as one square grid: 121 words become 11 x 11 cells beside those of the picture. Here time
steps take the place of grid positions, for the features of both are sequences in time: words, frames or spectrogram
steps of the guide are averaged, or repeated, until there is one for each of the target's. Where the target is
the spectrogram network's mels x steps, a guide without rows is laid beside every row.

`square: true, step_size: 0, sequence_size: 0, hidden: [], plain_weight: 0` is the paper's own form: tokens as a square
beside the image encoder's last map, which is brought to that grid, pooled and classified by one layer. Both encoders
learn where `training.encoders` says so (config/papers/guidance.yaml). How the map is brought to the grid, the
convolutions' kernels and first sizes, and the attention's size are not in the paper: ours are means over the cells that
are covered, 3 x 3, and the defaults below.
"""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from modalens.fusions import build
from modalens.models._base import Features, Model
from modalens.models._fitted import fitted
from modalens.models._guided import (
    GuidedAttention,
    MeanPositions,
    Positions,
    SequencePositions,
    SpectrogramPositions,
)
from modalens.models._networks import mlp_head, sizes
from modalens.models._shapes import Shapes, is_spectrogram
from modalens.utils.errors import UserError


class Guidance(Model):
    """Its one modality is the target: withheld, embedded and classified as by the target's expert, whose parameters,
    operations and initial values of a seed it has."""

    takes_teachers = True
    targets_learnt = ("classes",)

    def __init__(
        self,
        shapes: Shapes,
        classes: int,
        *,
        target: str,
        guide: str,
        guide_frozen: bool = False,
        plain_weight: float = 1.0,
        fused: Sequence[int] = (256, 512, 1024),
        attention_size: int = 64,
        square: bool = False,
        spectrogram_size: int = 512,
        channels: int = 16,
        sequence_size: int = 400,
        step_size: int = 128,
        hidden: Sequence[int] = (256, 128),
        dropout: float = 0.0,
    ) -> None:
        """target: the modality that is there at inference. guide: the one that is there only while learning.

        fused: channels after each convolution; the paper gives their number, three, and the last, 1024.

        plain_weight: of the cross entropy of the target as it will be used, without a guide, beside that of the
        re-weighted target. The paper trains by the re-weighted one alone, 0, and does not say how the head learns to
        read the other: ours is 1. By 0 a spectrogram as target, whose cells are read in their places, answered the
        known-answer clips at chance without its guide. attention_size is ours. guide_frozen: the guide's network stays
        as its teacher, a trained expert, made it. square: the guide's positions are laid out as a square, to whose grid
        the target's are brought. The other sizes are the experts'; by step_size and sequence_size 0 positions stay what
        they are, and their mean is the embedding.
        """
        if target == guide:
            raise UserError(f"models.guidance: target and guide are both {target!r}; name two modalities")
        if missing := {target, guide} - set(shapes):
            raise UserError(
                f"a model looks at {missing.pop()!r}, the study's modalities are {', '.join(sorted(shapes))}"
            )

        def network(name: str) -> Positions:
            if is_spectrogram(shapes[name]):
                return SpectrogramPositions(shapes[name], spectrogram_size, channels)
            if not sequence_size:
                return MeanPositions(shapes[name])
            if not step_size:
                raise UserError("models.guidance.step_size: expected at least 1, or 0 with sequence_size 0")
            return SequencePositions(shapes[name], sequence_size, step_size)

        networks = {target: network(target)}
        joined = build("concat", sizes(networks), None)
        super().__init__(shapes, networks, joined, mlp_head(joined.size, hidden, classes, dropout))
        if networks[target].grid == (1, 1):
            raise UserError(f"models.guidance: one step of {target!r} a clip leaves nothing to attend to")
        self.target, self.guide, self.plain_weight = target, guide, plain_weight
        self.guide_frozen = guide_frozen
        self.guide_network = network(guide)
        self.attention = GuidedAttention(networks[target], self.guide_network, fused, attention_size, square=square)
        if not isinstance(self.guide_network, MeanPositions):
            del self.guide_network.linear  # only its positions are looked at
        self.guide_network.requires_grad_(not guide_frozen)
        self.normalizers[guide] = fitted(self.shapes[guide])

    def initialise_from_teachers(self) -> None:
        """Take the guide's network over from its trained expert, where there is one."""
        if not self.teachers:
            if self.guide_frozen:
                raise UserError(
                    f"models.guidance: a frozen guide has to have learnt before; teachers: [a model of {self.guide!r} "
                    "alone], or guide_frozen: false"
                )
            return
        if len(self.teachers) > 1:
            raise UserError(f"models.guidance takes one teacher, for {self.guide!r}, not {', '.join(self.teachers)}")
        ((name, teacher),) = self.teachers.items()
        known = teacher.networks[self.guide].state_dict() if self.guide in teacher.networks else {}
        wanted = self.guide_network.state_dict()
        if any(key not in known or known[key].shape != values.shape for key, values in wanted.items()):
            raise UserError(
                f"models.guidance: the teacher {name!r} has no network of {self.guide!r} of these sizes; give both the "
                f"same channels and step_size, and the teacher sequences: {{{self.guide}: mean}}"
            )
        self.guide_network.load_state_dict({key: known[key] for key in wanted})

    def loss(self, features: Features, labels: Tensor) -> dict[str, Tensor]:
        """logits: of the target without a guide. loss: while learning, cross entropy of the re-weighted target,
        "loss_guided", and of those logits; in evaluation mode, which has no guide, the latter alone."""
        if not self.training:
            return super().loss(features, labels)
        positions, guided = self.reweighted(features)
        logits = self._read(positions)
        loss = functional.cross_entropy(self._read(guided), labels)
        plain = functional.cross_entropy(logits, labels)
        return {"loss": loss + self.plain_weight * plain, "logits": logits, "loss_guided": loss}

    def reweighted(self, features: Features) -> tuple[Tensor, Tensor]:
        """The target's positions (B, N, C), and the sums that the attention map makes of them, brought to its grid."""
        network: Positions = self.networks[self.target]  # type: ignore[assignment]
        positions = network.positions(self.normalizers[self.target](features[self.target]))
        guide = self.guide_network.positions(self.normalizers[self.guide](features[self.guide]))
        attention: Tensor = self.attention(positions, guide)
        return positions, torch.matmul(attention, self.attention.on_grid(positions))

    def _read(self, positions: Tensor) -> Tensor:
        network: Positions = self.networks[self.target]  # type: ignore[assignment]
        return self.classify({self.target: network.read(positions)})
