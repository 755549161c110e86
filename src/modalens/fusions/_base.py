"""What every fusion is: one vector per modality -> one vector."""

from collections.abc import Mapping
from typing import Any, ClassVar, Self

from torch import Tensor, nn

from modalens.plugins import registry
from modalens.plugins.options import resolve
from modalens.utils.errors import UserError

Sizes = Mapping[str, int]  # modality -> length of its vector
WIDTH = 256  # of a projection; the papers leave it to the data set


class Fusion(nn.Module):
    """forward: {modality: (B, D_m)} -> (B, size), in alphabetical order of the modalities whatever the dict's.

    Any number of modalities, one included. No branch of `forward` asks for a value in the data, so that the stacked
    parameters of several seeds run at once under torch.func.vmap.
    """

    # What it joins: "intermediate" embeddings, "late" class distributions, which are all of one size.
    stages: ClassVar[tuple[str, ...]]
    size: int

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.modalities = tuple(sorted(sizes))

    @classmethod
    def of_decisions(cls, sizes: Sizes) -> Self:
        """As it joins class distributions: without parameters, (B, classes) each -> (B, classes)."""
        return cls(sizes)


class Projected(Fusion):
    """Works on out_m = ReLU(W_m x_m + b_m), all of one width. Source: arXiv 2406.04349, MultConcat."""

    def __init__(self, sizes: Sizes, width: int | None) -> None:
        """width: None leaves the vectors as they are."""
        super().__init__(sizes)
        wanted = {} if width is None else dict.fromkeys(self.modalities, width)
        self.projections = nn.ModuleDict({name: nn.Linear(sizes[name], size) for name, size in wanted.items()})
        self.widths = {name: wanted.get(name, sizes[name]) for name in self.modalities}

    def projected(self, features: Mapping[str, Tensor]) -> list[Tensor]:
        """out_m, (B, width) each."""
        if not self.projections:
            return [features[name] for name in self.modalities]
        return [self.projections[name](features[name]).relu() for name in self.modalities]


class Elementwise(Projected):
    """Joins vectors of one size entry by entry into one of that size."""

    def __init__(self, sizes: Sizes, *, width: int | None = WIDTH) -> None:
        """width: of the projections; None joins the vectors as they are, which then are of one size."""
        super().__init__(sizes, width)
        self.size = common_size(self.widths)

    @classmethod
    def of_decisions(cls, sizes: Sizes) -> Self:
        return cls(sizes, width=None)

    def forward(self, features: Mapping[str, Tensor]) -> Tensor:
        return self.join(self.projected(features))

    def join(self, values: list[Tensor]) -> Tensor:
        """M times (B, D) -> (B, D)."""
        raise NotImplementedError


class Conditioned(Fusion):
    """One modality, `by`, acts on each of the others; alone, there is nothing for it to act on."""

    def __init__(self, sizes: Sizes, by: str | None) -> None:
        super().__init__(sizes)
        if by is not None and by not in sizes:
            raise UserError(f"fusion_options.by: expected one of {', '.join(self.modalities)}, got {by!r}")
        self.by = by or self.modalities[0]
        self.others = tuple(name for name in self.modalities if name != self.by)


def common_size(sizes: Sizes) -> int:
    """What all sizes are; raises UserError where they differ."""
    if len(set(sizes.values())) > 1:
        found = ", ".join(f"{name} {sizes[name]}" for name in sorted(sizes))
        raise UserError(f"vectors of different sizes cannot be joined entry by entry: {found}; give a width")
    return next(iter(sizes.values()))


def get(name: str, stage: str) -> type[Fusion]:
    """The class of a fusion that serves a stage; else raises UserError with those that do."""
    found: type[Fusion] = registry.load("fusions", name)
    if stage not in found.stages:
        others = [other for other in registry.names("fusions") if stage in registry.load("fusions", other).stages]
        stages = " and ".join(found.stages)
        raise UserError(
            f"fusion {name!r} serves the {stages} stage, not the {stage} one; these do: {', '.join(others)}"
        )
    return found


def resolve_options(name: str, options: Mapping[str, Any] | None) -> dict[str, Any]:
    """A fusion's options with the defaults written out; raises UserError for what it does not take."""
    whole = resolve(registry.load("fusions", name), dict(options or {}), f"fusions.{name}")
    for option, value in whole.items():
        if isinstance(value, int) and value < 1:
            raise UserError(f"fusions.{name}.{option}: expected at least 1, got {value}")
    return whole


def build(name: str, sizes: Sizes, options: Mapping[str, Any] | None = None) -> Fusion:
    """A fusion of embeddings by its public name, parameters drawn from torch's global generator."""
    return get(name, "intermediate")(sizes, **resolve_options(name, options))
