"""MM-SHAP at the input: patches of what was decoded (frames, waveforms, pictures), replaced before the encoder."""

from typing import Any

from modalens.measures.mm_shap import MmShap


class MmShapInput(MmShap):
    """As `mm_shap`, whose patches lie in the cached features; here a patch is what one sees or hears: a square of some
    frames, a stretch of the audio. Each coalition goes through the encoders, which costs that much more, so that fewer
    clips and larger patches are the default. A text is one patch. Of a clip that lacks a modality nothing was decoded:
    it takes no part.

    The study has to keep what it decodes: `modalities.NAME.keep: true`.
    """

    needs = "input"
    reads_stand_ins = False

    def __init__(
        self,
        *,
        clips: int = 20,
        patches: int = 8,
        permutations: int = 2,
        replacement: str = "blank@input",
        **options: Any,
    ) -> None:
        """replacement: blank@input, gaussian@input or shuffle@input; a mean of pictures is no picture. The others, and
        options: as of `mm_shap`."""
        super().__init__(clips=clips, patches=patches, permutations=permutations, replacement=replacement, **options)
