"""MM-SHAP at the input: patches of what was decoded (frames, waveforms, pictures), replaced before the encoder."""

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
        models: list[str] | None = None,
        clips: int = 20,
        patches: int = 8,
        grid: dict[str, dict[str, int]] | None = None,
        exact: int = 8,
        permutations: int = 2,
        payoff: str = "probability",
        target: str = "predicted",
        replacement: str = "blank@input",
        examples: int = 4,
        bootstrap: int = 1000,
        confidence: float = 0.95,
        seed: int = 0,
    ) -> None:
        """The options of `mm_shap`. replacement: blank@input, gaussian@input or shuffle@input; a mean of pictures is no
        picture."""
        super().__init__(
            models=models, clips=clips, patches=patches, grid=grid, exact=exact, permutations=permutations,
            payoff=payoff, target=target, replacement=replacement, examples=examples, bootstrap=bootstrap,
            confidence=confidence, seed=seed,
        )  # fmt: skip
