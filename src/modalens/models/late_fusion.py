"""Late fusion: concat(audio 512, video 400) = 912 -> three fully connected layers. Source: seed paper, section 3.3.

The unimodal models are this class on one modality: the only difference is the size of the first head layer. Any other
operator of fusions/ takes the place of the concatenation by name.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from torch import nn

from modalens.fusions import build
from modalens.models._base import Model
from modalens.models._networks import WithShortcut, mlp_head, sizes, unimodal_networks
from modalens.models._ordered import ordered
from modalens.models._shapes import Shapes


class LateFusion(Model):
    """The experts of the paper's section 3.2 have two fully connected layers in all, after a convolution or ResNet50;
    the unimodal models of its section 3.3 have the multimodal model's head. Here every model, teachers too, is 3.3's;
    on one modality `step_size: 0, hidden: []` makes 3.2's.
    """

    def __init__(
        self,
        shapes: Shapes,
        classes: int,
        *,
        spectrogram_size: int = 512,
        channels: int = 16,
        convolution: bool = True,
        sequence_size: int = 400,
        step_size: int = 128,
        sequences: Mapping[str, str] | None = None,
        hidden: Sequence[int] = (256, 128),
        dropout: float = 0.0,
        shortcut: bool = False,
        fusion: str = "concat",
        fusion_options: Mapping[str, Any] | None = None,
    ) -> None:
        """Spectrograms and vectors each have their sub-network, by their axes; joined in alphabetical order.

        The paper gives 512 for the log-mel, and 400 for the video's vectors. Convolution channels, step_size (the
        first layer on vectors; 0: none, one layer reads their mean; sequence_size 0: no layer at all, the head reads
        their mean) and the head's hidden sizes are ours. The paper names no dropout. fusion: any that serves the
        intermediate stage; the sub-networks of a seed begin alike whatever it is.

        sequences: {modality: convolution, lstm or mean} for vectors over time or tokens: the mean over steps is
        the same in whatever order they are. Those not named: a convolution where they are vectors over more than 15
        time steps, else the mean, which the paper takes of a video's frames.

        For a few hundred clips of real sound, `convolution: false`, `shortcut: true` and `dropout: 0.5` come nearer to
        a logistic regression on the same features: spectrograms go through standardised cells and one linear layer in
        place of the convolution, and a linear layer past the hidden ones joins the logits.
        """
        networks = unimodal_networks(
            shapes,
            spectrogram_size=spectrogram_size,
            channels=channels,
            sequence_size=sequence_size,
            step_size=step_size,
            convolution=convolution,
        )
        networks |= ordered(shapes, sequences, sequence_size=sequence_size, step_size=step_size)
        joined = build(fusion, sizes(networks), fusion_options)
        head: nn.Module = mlp_head(joined.size, hidden, classes, dropout)
        if shortcut:
            head = WithShortcut(head, joined.size, classes)
        super().__init__(shapes, networks, joined, head)
