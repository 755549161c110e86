"""MM-SHAP: how much of what a model says of a clip comes from the patches of each modality."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from modalens.measures._asked import embeddings, log_probabilities
from modalens.measures._base import Measure
from modalens.measures._clip_means import ClipMeans
from modalens.measures._patch_rows import Asked, example_rows, modality_rows, patch_rows
from modalens.measures._patch_values import Game, exact_values, sampled_values
from modalens.measures._patches import patches as patches_of
from modalens.measures._studied import Array, Clips, StudiedModel
from modalens.measures._test_clips import drawn_clips, exchanged, having, multimodal
from modalens.utils.errors import UserError
from modalens.utils.suggest import suggest

SHUFFLE = "shuffle@input"
PAYOFFS = ("probability", "log_probability")
TARGETS = ("predicted", "label")


class MmShap(Measure):
    """Shapley values of patches of a clip's features, and of each modality the sum of their sizes.

    Phi_m = sum over the patches j of m of |phi_j|, share_m = Phi_m / sum of Phi over the modalities, of each clip; then
    the mean over clips. It asks what the answer hangs on, right or wrong, and cannot tell helpful from harmful; a
    modality's Shapley value can. What a patch loses is replaced in the features, behind the encoder; `mm_shap_input`
    replaces it before.

    Exact where all modalities together have no more than `exact` patches. Else antithetic permutations, drawn anew for
    each clip and seed; their noise makes sizes too large, in proportion to one over their number, and is extrapolated
    away from half of them to all to infinitely many.

    Source: Parcalabescu and Frank 2023, arXiv 2212.08158; their code draws without a seed and corrects no bias.
    """

    needs = "model"
    # Whether there are features of a clip that lacks a modality: what stands for it.
    reads_stand_ins = True

    def __init__(
        self,
        *,
        models: list[str] | None = None,
        clips: int = 200,
        patches: int = 16,
        grid: dict[str, dict[str, int]] | None = None,
        exact: int = 8,
        permutations: int = 4,
        payoff: str = "probability",
        target: str = "predicted",
        replacement: str = "mean@input",
        examples: int = 4,
        bootstrap: int = 1000,
        confidence: float = 0.95,
        seed: int = 0,
    ) -> None:
        """models: by name, those of several modalities by default. clips: of the test at most, drawn at random; 0 is
        all. patches: of each modality at most. grid: {modality: {axis: parts}} instead. exact: patches of all
        modalities up to which every coalition is asked. permutations: pairs of an order and its reverse a clip,
        even. payoff: probability or log_probability of the target: the class that is predicted of the whole clip, or
        the label. replacement: mean@input, blank@input, gaussian@input or shuffle@input (the same places of a clip
        of another group); a clip that lacks a modality keeps what stands for it, whose patches are worth nothing.
        examples: single clips of which every patch is told."""
        if permutations < 2 or permutations % 2:
            raise UserError(f"mm_shap: permutations: expected an even number, 2 or more, got {permutations}")
        for name, value, least in (("clips", clips, 0), ("patches", patches, 1), ("examples", examples, 0)):
            if value < least:
                raise UserError(f"mm_shap: {name}: expected {least} or more, got {value}")
        if not 0 <= exact <= 12:
            raise UserError(f"mm_shap: exact: expected 0 to 12 (4096 coalitions a clip), got {exact}")
        for name, given, known in (("payoff", payoff, PAYOFFS), ("target", target, TARGETS)):
            if given not in known:
                raise UserError(f"mm_shap: {name}: expected one of {', '.join(known)}, got {given!r}")
        self.models, self.clips, self.most, self.grid = models, clips, patches, grid or {}
        self.exact, self.permutations = exact, permutations
        self.payoff, self.target, self.replacement = payoff, target, replacement
        self.examples, self.seed = examples, seed
        self.resampling: dict[str, Any] = {"replicates": bootstrap, "confidence": confidence, "seed": seed}

    def __call__(self, models: Sequence[StudiedModel]) -> pd.DataFrame:
        """Rows of three kinds, all with model and replacement:

        kind `modality`: modality, predictions (all, correct, incorrect), label (empty: of all classes),
        quantity: `share`, and `size` (Phi, in units of the payoff),
        value with low, high, groups_low, groups_high, seeds_low, seeds_high, seed_std, detectable,
        sampling_error: standard error of the value that the permutations leave; 0 where exact,
        patches: of the modality. clips, groups, seeds: how many were asked.

        kind `patch`: modality, patch (its ranges along the axes), quantity `size` (mean |phi|) and `value` (mean phi),
        value.

        kind `clip`: a few clips of the first seed, for each modality the one with its greatest share among those that
        were predicted right, then wrong ones: clip_id, label, predicted, modality, patch, quantity `value`, value (phi;
        the sum over all patches is the payoff of the whole clip less that of nothing).
        """
        rows: list[dict[str, Any]] = []
        for model in multimodal("mm_shap", models, self.models):
            asked = self._asked(model)
            key = {"model": model.name, "replacement": self.replacement}
            means = ClipMeans(asked.clips.table["group"], **self.resampling)
            found = [*modality_rows(asked, means), *patch_rows(asked), *example_rows(asked, self.examples)]
            rows += [key | row for row in found]
        columns = ["model", "replacement", "kind", "modality", "predictions", "label", "quantity", "value"]
        return pd.DataFrame(rows, columns=None if rows else columns)

    def headline(self, table: pd.DataFrame) -> dict[str, float]:
        """Of one model's rows: the share of each modality."""
        whole = (table["kind"] == "modality") & (table["predictions"] == "all") & (table["label"] == "")
        found = {}
        for row in table[whole & (table["quantity"] == "share")].to_dict("records"):
            for end, column in {"": "value", "low": "low", "high": "high"}.items():
                found["/".join(filter(None, ("share", row["modality"], end, row["replacement"])))] = row[column]
        return found

    def _asked(self, model: StudiedModel) -> Asked:
        whole = () if self.reads_stand_ins else model.modalities
        test = drawn_clips(model.clips("test"), self.clips, self.seed, whole)
        made = {name: patches_of(model.shapes[name], self.most, self._grid(name, model)) for name in model.modalities}
        given = {name: test.features[name] for name in model.modalities}
        found, named, right = [], [], []
        for seed in model.seeds:
            network = model.network(seed)
            told = log_probabilities(network, embeddings(network, given)).argmax(1)
            target = told if self.target == "predicted" else test.truth
            draw = np.random.default_rng([self.seed, seed])
            game = Game(network, made, given, self._stand_ins(model, seed, test, draw), self._worth(target))
            few = sum(map(len, made.values())) <= self.exact
            found.append(exact_values(game) if few else sampled_values(game, self.permutations, draw))
            named.append(target)
            right.append(told == test.truth)
        return Asked(test, made, found, np.stack(named, 1), np.stack(right, 1))

    def _grid(self, modality: str, model: StudiedModel) -> Mapping[str, int] | None:
        for name in self.grid:
            if name not in model.shapes:
                raise UserError(f"mm_shap: grid: no modality {name!r}; {suggest(name, sorted(model.shapes))}")
        return self.grid.get(modality)

    def _stand_ins(self, model: StudiedModel, seed: int, test: Clips, draw: np.random.Generator) -> dict[str, Array]:
        """modality -> (N, ...), one for each clip."""
        count = len(test.truth)
        if self.replacement == SHUFFLE:
            return {name: rows[exchanged(test, name, draw)] for name, rows in test.features.items()}
        given, found = model.stand_ins(self.replacement, seed), {}
        for name in model.modalities:
            found[name] = given[name][draw.integers(len(given[name]), size=count)]
            if not (there := having(test, name)).all():
                # What a clip lacks cannot be taken from it: its patches are worth nothing.
                found[name][~there] = test.features[name][~there]
        return found

    def _worth(self, target: Array) -> Any:
        def worth(said: Array, clips: Array) -> Array:
            found = said[np.arange(len(clips)), target[clips]]
            return np.exp(found) if self.payoff == "probability" else found

        return worth
