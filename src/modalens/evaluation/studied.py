"""Trained models of a study as a measure is given them: read from the files of stages `train`, `splits`, `features`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from modalens.evaluation import trained
from modalens.evaluation.ablation import FROM_FILE
from modalens.evaluation.networks import Array, TorchNetwork
from modalens.evaluation.predict import TestSet
from modalens.models import TrainedModel, load_model
from modalens.utils.device import resolve_device
from modalens.utils.errors import UserError

MEAN = "mean@input"


@dataclass(frozen=True)
class StudyFiles:
    """splits: folder of {split}.csv of a task. features: modality -> folder of {shard}.h5. replacements: modality ->
    file of stage `replacements`."""

    splits: Path
    features: Mapping[str, Path]
    replacements: Mapping[str, Path]


class FromFiles:
    """A measures.StudiedModel. folder: of {seed}/model.pt. device: where its networks compute."""

    def __init__(self, name: str, folder: Path, seeds: Sequence[int], files: StudyFiles, device: str = "auto") -> None:
        self.name = name
        self.seeds = tuple(seeds)
        self._folder, self._files, self._device = folder, files, resolve_device(device)
        self._first = self._load(self.seeds[0])
        self.modalities = self._first.model.modalities
        if through := sorted(self._first.model.encoders):
            raise UserError(f"{name}: expected a model of cached features, got one that learns through {through[0]!r}")
        # A model's own shape may also tell what is no axis.
        self.shapes = {
            name: {axis: self._first.model.shapes[name][axis] for axis in self._first.sources[name]["axes"]}
            for name in self.modalities
        }
        self._splits: dict[str, TestSet] = {}

    def network(self, seed: int) -> TorchNetwork:
        found = self._load(seed)
        found.model.to(self._device)
        return trained.network(found)

    def clips(self, split: str = "test") -> TestSet:
        if split not in self._splits:
            kinds = FROM_FILE if split == "test" and self._files.replacements else ()
            table = self._files.splits / f"{split}.csv"
            self._splits[split] = trained.read(
                self._first, table, self._files.features, self._files.replacements, kinds
            )
        return self._splits[split]

    def stand_ins(self, kind: str, seed: int) -> dict[str, Array]:
        if kind == MEAN:
            model = self._load(seed).model
            return {name: model.training_mean(name).cpu().numpy() for name in self.modalities}
        found = self.clips("test").stand_ins
        if kind not in found:
            raise UserError(f"{self.name}: expected one of {', '.join((MEAN, *found))} to stand in, got {kind!r}")
        return found[kind]

    def check_source(self, modality: str, made: Mapping[str, Any], path: Path) -> None:
        """Raises UserError unless the model learnt from features that were made so."""
        trained.check_same(self._first.sources[modality], made, path)

    def _load(self, seed: int) -> TrainedModel:
        return load_model(self._folder / str(seed) / "model.pt")
