"""What every model is: features of a clip -> logits, with its own normalizer and its own loss."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from torch import Tensor, nn

from modalens.fusions import resolve_options
from modalens.models._fitted import Fitted, fitted, seen
from modalens.models._networks import CellsNetwork
from modalens.models._shapes import Shapes
from modalens.models._targets import label_loss, outputs_of
from modalens.models._through import Learnt, Through
from modalens.plugins import registry
from modalens.plugins.options import parameters, resolve
from modalens.stats.targets import CLASSES
from modalens.utils import checksums, torch_file
from modalens.utils.errors import UserError

# What a model file holds beside the parameters: what the model is built from, and what is known of its training.
DESCRIBES = ("name", "options", "shapes", "encoders", "target")
RESTORED = ("labels", "sources", "embedding_means", "embedding_stds", "balancing", "temperature", "scale")

LEFT_OUT = ("step_size", "sequence_size")  # sizes of layers that 0 leaves out

Features = Mapping[str, Tensor]
Batches = Iterable[tuple[Features, Tensor]]  # ({modality: (B, ...)}, labels (B,)), once through


class Model(nn.Module):
    """forward: {modality: (B, ...)} -> logits (B, classes).

    One sub-network a modality embeds it without seeing the others, a fusion joins the embeddings, a head classifies
    what comes out. What else a subclass needs for learning lives behind `loss`: the training loop knows no model.
    """

    name: str
    options: dict[str, Any]
    learns: str = CLASSES  # of stats.targets: what labels are, set by `build`
    targets_learnt: ClassVar[tuple[str, ...]] = ("classes", "regression", "multilabel")  # where `loss` can do so
    takes_teachers: ClassVar[bool] = False
    needs_teachers: ClassVar[bool] = False
    solves: ClassVar[bool] = False  # whether `solve` finds the parameters, in place of gradient descent
    environment: ClassVar[str] = "torch"  # of envs/, in which it is trained
    solved: bool = False  # that was done, and the solution depends on no seed

    def __init__(self, shapes: Shapes, networks: Mapping[str, Any], fusion: nn.Module, head: nn.Module) -> None:
        """shapes: of what the networks see of one clip, with named axes. networks: by modality; modalities without one
        are ignored."""
        super().__init__()
        self.shapes = {name: dict(shape) for name, shape in shapes.items()}
        self.modalities = tuple(sorted(networks))
        # A plain dict: teachers are neither trained, nor moved, nor saved with their student.
        self.teachers: dict[str, Model] = {}
        self.encoders: dict[str, Learnt] = {}  # of modalities whose decoded form the model reads
        self.networks = nn.ModuleDict({name: networks[name] for name in self.modalities})
        self.normalizers = nn.ModuleDict({name: fitted(self.shapes[name]) for name in self.modalities})
        self.fusion = fusion
        self.head = head

    def read_from(self, shapes: Shapes) -> None:
        """shapes: of one clip's features as the encoders give them, where the networks see something made of them."""
        self.shapes = {name: dict(shape) for name, shape in shapes.items()}
        for name in list(self.normalizers):
            self.normalizers[name] = fitted(self.shapes[name])

    def learn_through(self, encoders: Mapping[str, Learnt], saved: bool = False) -> None:
        """Put encoders before the normalizers of these modalities. saved: their trained weights follow."""
        for name, learnt in encoders.items():
            if name in self.normalizers:
                self.encoders[name] = learnt
                self.normalizers[name] = Through(self.shapes[name], learnt, saved)

    def fit_normalizer(self, batches: Mapping[str, Iterable[Tensor]]) -> None:
        """batches: the training clips' features by modality, in pieces that fit in memory, gone through more than
        once."""
        for name in self.normalizers:
            pieces = batches[name]
            normalizer = self._normalizer(name)
            normalizer.fit(pieces)
            network = dict(self.networks.items()).get(name)
            if isinstance(network, CellsNetwork):
                where = network.mean.device
                network.fit(normalizer(piece.to(where)) for piece in pieces)

    def share_normalizer(self, other: "Model") -> None:
        """Take over what another seed has fitted on the same clips."""
        for name in self.normalizers:
            self._normalizer(name).share(other._normalizer(name))
        for name, network in self.networks.items():
            if isinstance(network, CellsNetwork):
                network.mean.copy_(other.networks[name].get_buffer("mean"))
                network.scale.copy_(other.networks[name].get_buffer("scale"))

    def share_solution(self, other: "Model") -> None:
        """Take over the parameters that another seed has found on the same clips, where they depend on no seed."""
        if other.solved:
            self.load_state_dict(other.state_dict())
            self.solved = True

    def initialise_from_teachers(self) -> None:
        """Called once before learning, with teachers and normalizers in place: what it takes over from a teacher's
        parameters. Nothing by default."""

    def read(self, name: str, values: Tensor) -> Tensor:
        """Features (B, ...) of a modality: what its encoder makes of decoded rows, where the model learns through it;
        what are features stays as it is."""
        module = self.normalizers[name]
        return module.as_features(values) if isinstance(module, Through) else values

    @classmethod
    def check(cls, modalities: Sequence[str], tasks: Mapping[str, Sequence[str]], **options: Any) -> None:
        """Raises UserError for options that cannot be, whatever the shapes, before anything runs. modalities: its own.
        tasks: the classes of each, as far as they are known. Nothing by default."""

    def name_classes(self, labels: Sequence[str]) -> None:
        """Called once before learning, with what its outputs are called: for a model that reads the names. Nothing by
        default."""

    def training_mean(self, name: str) -> Tensor:
        """The training clips' mean features of a modality, (1, ...): what stands for features that are not there."""
        return self._normalizer(name).training_mean()

    def embed(self, features: Features) -> dict[str, Tensor]:
        """{modality: (B, ...)} -> {modality: (B, D_m)} for those of the model's modalities that are given; or
        (B, T, D_m), a vector a step, which what stands in for an embedding has as well."""
        return {
            name: self.networks[name](self.normalizers[name](features[name]))
            for name in self.modalities
            if name in features
        }

    def classify(self, embeddings: Features) -> Tensor:
        """{modality: (B, D_m)} -> logits (B, classes)."""
        logits: Tensor = self.head(self.fusion(embeddings))
        return logits

    def joined(self, embeddings: Features) -> Tensor | None:
        """{modality: (B, D_m)} -> (B, D): the one vector that its head classifies; None where it has no such vector."""
        if type(self).classify is not Model.classify:
            return None
        found: Tensor = self.fusion(embeddings)
        return found if found.dim() == 2 else None

    def forward(self, features: Features) -> Tensor:
        return self.classify(self.embed(features))

    def targets(self, features: Features) -> dict[str, Tensor]:
        """Auxiliary targets per clip (e.g. teacher logits), {name: (B, ...)}: computed once per clip and passed to
        `loss` among the features. None by default."""
        del features
        return {}

    def loss(self, features: Features, labels: Tensor) -> dict[str, Tensor]:
        """labels: (B,) class indices, or what `label_loss` takes of another target. Returns "loss", a scalar to go
        down, and "logits" (B, classes)."""
        logits = self(features)
        return {"loss": label_loss(logits, labels, self.learns), "logits": logits}

    def solve(self, train: Batches, validation: Batches) -> None:
        """Where `solves`: set the parameters from the training clips; what has to be chosen, by the validation clips.
        Called once, with normalizers in place; torch's global generator is seeded."""
        raise NotImplementedError

    def _normalizer(self, name: str) -> Fitted:
        module = self.normalizers[name]
        assert isinstance(module, Fitted)
        return module


@dataclass
class TrainedModel:
    """A model file: the model and what evaluation needs to know about its training."""

    model: Model
    labels: list[str]  # class or tag index -> its name; of numbers one name that says nothing
    sources: dict[str, Any]  # modality -> attributes of the feature files it learnt from
    embedding_means: dict[str, Tensor]  # modality -> (D_m,) over the training clips
    embedding_stds: dict[str, Tensor]
    balancing: dict[str, Any] = field(default_factory=dict)  # {name: options} of the method that it was learnt with
    # What logits are divided by before they become probabilities: fitted on the validation clips at the kept epoch.
    temperature: float = 1.0
    # Mean and deviation of the training labels where these are numbers: outputs are in units of them.
    scale: tuple[float, float] = (0.0, 1.0)

    def save(self, path: Path) -> None:
        """Plain data only: the file loads without running code from it."""
        content = {
            "name": self.model.name,
            "options": self.model.options,
            "shapes": self.model.shapes,
            "target": self.model.learns,
            "encoders": {name: learnt.as_data() for name, learnt in self.model.encoders.items()},
            "labels": self.labels,
            "sources": self.sources,
            "embedding_means": self.embedding_means,
            "embedding_stds": self.embedding_stds,
            "balancing": self.balancing,
            "temperature": self.temperature,
            "scale": list(self.scale),
            "state": {name: value.cpu() for name, value in self.model.state_dict().items()},
        }
        torch_file.write(path, content)


def build(name: str, shapes: Shapes, classes: int, options: dict[str, Any], target: str = CLASSES) -> Model:
    """A new model by its public name, parameters drawn from torch's global generator.

    shapes: of one clip's features as the encoders give them (`shape_of`). classes: how many outputs it has. target: of
    stats.targets. Raises UserError where the model does not learn such labels.
    """
    maker = registry.load("models", name)
    if target not in maker.targets_learnt:
        raise UserError(f"models.{name}: expected labels that are {' or '.join(maker.targets_learnt)}, got {target}")
    options = resolve(maker, options, f"models.{name}")
    _check_sizes(maker, name, options)
    if "fusion" in options:
        # Written out, so that a saved model stays what it is when a default changes.
        options["fusion_options"] = resolve_options(options["fusion"], options["fusion_options"])
    model: Model = maker({name: seen(shape) for name, shape in shapes.items()}, classes, **options)
    model.read_from(shapes)
    model.name, model.options, model.learns = name, options, target
    return model


def _check_sizes(maker: Any, name: str, options: Mapping[str, Any]) -> None:
    """Whole numbers, alone and in lists, are sizes of layers: from 1, or from 0 where that is the default. A share that
    drops out is below 1."""
    for option, value in options.items():
        least = 0 if option in LEFT_OUT or parameters(maker)[option].default == 0 else 1
        several = value if isinstance(value, list | tuple) else [value]
        if any(isinstance(one, int) and not isinstance(one, bool) and one < least for one in several):
            raise UserError(f"models.{name}.{option}: expected whole numbers from {least}, got {value!r}")
    dropout = options.get("dropout", 0.0)
    if isinstance(dropout, int | float) and not 0 <= dropout < 1:
        raise UserError(f"models.{name}.dropout: expected a share from 0 to below 1, got {dropout!r}")


def load_model(path: str | Path) -> TrainedModel:
    """Read a file of `TrainedModel.save`; the model is in evaluation mode, on the CPU."""
    if not Path(path).exists():
        raise checksums.not_found(path, "train")
    content = torch_file.read(path)
    if absent := [name for name in (*DESCRIBES, *RESTORED, "state") if name not in content]:
        raise UserError(f"{path}: expected a model of the train stage, got a file without {absent[0]!r}")
    try:
        target, labels = content["target"], content["labels"]
        model = build(content["name"], content["shapes"], outputs_of(target, labels), content["options"], target)
        model.learn_through({name: Learnt(**given) for name, given in content["encoders"].items()}, saved=True)
        for method, options in content["balancing"].items():
            registry.load("balancing", method).adapt(model, options)
        model.load_state_dict(content["state"])
    # The digest holds, so these bytes were written so: by other code than today's, or not by this program.
    except (UserError, KeyError, RuntimeError, TypeError, ValueError, AttributeError) as error:
        reason = " ".join(str(error).split())[:200]
        raise UserError(
            f"{path} does not fit the model {content['name']!r} of this version ({reason}); delete it and run again"
        ) from error
    return TrainedModel(model.eval(), **{name: content[name] for name in RESTORED})
