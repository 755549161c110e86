"""What a model learns of features before it learns: scales, vocabularies and the like, from the training clips alone.

A fitted module stands before a modality's sub-network. It takes features as the encoder gave them, and gives what
sub-networks are chosen by: `seen` says of which shape that is. A shape that an encoder declares goes on to be known by
its axes alone (_shapes.py); only what is fitted knows what lies behind ("field", "part") or ("term",).
"""

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from modalens.models._shapes import CATEGORIES, CHANNEL, FIELDS, TERMS, Shape, channel_axis, named

KNOTS = 65  # quantiles of a number's training values
SEEN = 2  # training clips that a category must have
TINY = torch.finfo(torch.float32).tiny
CONSTANT = 1e-3  # a dimension that varies less than this part of the average one carries rounding only


class Fitted(nn.Module):
    """(B, ...) of `shape` -> (B, ...) float32 of `seen(shape)`."""

    def fit(self, batches: Iterable[Tensor]) -> None:
        """batches: (b, ...) of the training clips."""
        raise NotImplementedError

    def share(self, other: "Fitted") -> None:
        """Take over what another one of the same shape has fitted on the same clips."""
        self.load_state_dict(other.state_dict())

    def training_mean(self) -> Tensor:
        """(1, ...) of `shape`: what stands for a clip of which nothing is known."""
        raise NotImplementedError


class Normalizer(Fitted):
    """(x - mean) / std by training statistics, one pair per channel: (B, ...) -> (B, ...) float32.

    A channel that never varied in training becomes 0: nothing was learnt about its other values.
    """

    mean: Tensor
    scale: Tensor

    def __init__(self, shape: Shape) -> None:
        """shape: of one clip. Its channels (or mels) keep their own statistics, which pool over the other axes."""
        super().__init__()
        self._axis = channel_axis(shape)
        self._sizes = tuple(shape.values())
        wide = [size if axis == self._axis else 1 for axis, size in enumerate(self._sizes)]
        self.register_buffer("mean", torch.zeros(wide))
        self.register_buffer("scale", torch.ones(wide))

    def fit(self, batches: Iterable[Tensor]) -> None:
        """batches: (b, ...) of the training clips. Sums in float64, one batch in memory at a time."""
        count = 0
        total = torch.zeros(self.mean.numel(), dtype=torch.float64)
        squares = torch.zeros_like(total)
        for batch in batches:
            rows = batch.cpu().double().movedim(self._axis + 1, -1).flatten(0, -2)
            count += len(rows)
            total += rows.sum(0)
            squares += rows.square().sum(0)
        mean = total / count
        std = (squares / count - mean.square()).clamp(min=0).sqrt()
        varies = std > CONSTANT * std.mean()
        scale = torch.where(varies, std.reciprocal(), 0.0)
        self.mean.copy_(mean.view_as(self.mean))
        self.scale.copy_(scale.view_as(self.scale))

    def training_mean(self) -> Tensor:
        """Per channel, the same along the other axes."""
        return self.mean.expand(1, *self._sizes)

    def forward(self, features: Tensor) -> Tensor:
        # One pass over the batch instead of two.
        return torch.addcmul(-self.mean * self.scale, features.float(), self.scale)


class Fields(Fitted):
    """Rows of a table (B, fields, 3) -> (B, 2 * fields + categories): what each cell says, in numbers.

    A number is placed among those of the training clips, each field by itself, and becomes the normal quantile of its
    place, then standardised: prices that span a thousandfold are as even as grades, and an outlier is no larger than
    the largest known. So scikit-learn's QuantileTransformer, as for networks on tables in Gorishniy et al. 2021,
    arXiv 2106.11959. A missing one is the mean; a second number says whether the cell is missing. A category is one of
    those that SEEN training clips have, one-hot: the first layer that follows is its embedding. Any other is none of
    them, as those are that are rare in training: so a model learns what to make of a name that it does not know.
    """

    knots: Tensor
    mean: Tensor
    scale: Tensor
    codes: Tensor
    places: Tensor

    def __init__(self, shape: Shape) -> None:
        """shape: field, part, and category: how many categories the fields have together."""
        super().__init__()
        fields, categories = shape[FIELDS[0]], shape[CATEGORIES]
        self.register_buffer("knots", torch.zeros(KNOTS, fields))
        self.register_buffer("mean", torch.zeros(fields))
        self.register_buffer("scale", torch.zeros(fields))
        self.register_buffer("codes", torch.zeros(categories))
        self.register_buffer("places", torch.zeros(categories, dtype=torch.int64))

    def fit(self, batches: Iterable[Tensor]) -> None:
        rows = torch.cat([batch.cpu() for batch in batches])
        number, there, code = rows.unbind(2)
        shares = torch.linspace(0, 1, KNOTS, dtype=torch.float64)
        for place, known in enumerate(((there > 0) & (code == 0)).T):
            values = number[known, place].double()
            if len(values) and values.min() < values.max():
                self.knots[:, place] = values.quantile(shares)
                scores = self._scores(number)[known, place].double()
                self.mean[place] = scores.mean()
                self.scale[place] = 1 / scores.std(correction=0)
        places, codes = categories(rows)
        self.places.copy_(places)
        self.codes.copy_(codes)

    def training_mean(self) -> Tensor:
        """Every cell is missing."""
        return torch.zeros(1, len(self.mean), 3, device=self.mean.device)

    def forward(self, features: Tensor) -> Tensor:
        number, there, code = features.float().unbind(2)
        standard = (self._scores(number) - self.mean) * self.scale * there * (code == 0)
        own = code.gather(1, self.places.expand(len(code), -1))
        return torch.cat([standard, 1 - there, (own == self.codes).float()], 1)

    def _scores(self, number: Tensor) -> Tensor:
        """(B, fields) -> the normal quantile of the share of training values below, of equals half."""
        number = number.unsqueeze(1)
        low, high = self.knots[:-1], self.knots[1:]
        within = ((number - low) / (high - low).clamp(min=TINY)).clamp(0, 1)
        equals = ((number > low).float() + (number >= low).float()) / 2
        share = torch.where(high > low, within, equals).mean(1)
        return torch.special.ndtri(share.clamp(0.5 / KNOTS, 1 - 0.5 / KNOTS))


class Terms(Fitted):
    """Counts of terms (B, terms) -> (B, terms): TF-IDF, as scikit-learn's TfidfTransformer with `sublinear_tf`.

    Rows of length 1 by the inverse document frequencies of the training clips, times the root of the number of terms:
    the size of what is standardised. Source: Salton and Buckley 1988.
    """

    weight: Tensor
    mean: Tensor

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        terms = shape[TERMS[0]]
        self.register_buffer("weight", torch.zeros(terms))
        self.register_buffer("mean", torch.zeros(terms))

    def fit(self, batches: Iterable[Tensor]) -> None:
        count, documents = 0, torch.zeros(len(self.weight), dtype=torch.float64)
        total = torch.zeros_like(documents)
        for batch in batches:
            rows = batch.cpu().double()
            count += len(rows)
            documents += (rows > 0).sum(0)
            total += rows.sum(0)
        # A term that no training clip has tells nothing: it would only make the others smaller.
        idf = ((1 + count) / (1 + documents)).log() + 1
        self.weight.copy_(torch.where(documents > 0, idf, 0.0))
        self.mean.copy_(total / count)

    def training_mean(self) -> Tensor:
        return self.mean.unsqueeze(0)

    def forward(self, features: Tensor) -> Tensor:
        counts = features.float()
        # Counts below one are of a mean.
        weighted = torch.where(counts > 1, counts.clamp(min=1).log() + 1, counts) * self.weight
        length = weighted.square().sum(1, keepdim=True).sqrt().clamp(min=1e-12)
        return weighted / length * len(self.weight) ** 0.5


def fitted(shape: Shape) -> Fitted:
    """The module for features of a shape, by its axes."""
    axes = tuple(shape)
    if axes[: len(FIELDS)] == FIELDS:
        return Fields(shape)
    return Terms(shape) if axes == TERMS else Normalizer(shape)


def seen(shape: Shape) -> Shape:
    """What sub-networks see of features of a shape."""
    axes = tuple(shape)
    if axes[: len(FIELDS)] == FIELDS:
        return {CHANNEL: 2 * shape[FIELDS[0]] + shape[CATEGORIES]}
    return {CHANNEL: shape[TERMS[0]]} if axes == TERMS else shape


def mean_of(shape: Shape, batches: Iterable[Tensor]) -> Tensor:
    """(1, ...): the training mean of a model that learns from these clips, whatever the model is."""
    module = fitted(shape)
    module.fit(batches)
    return module.training_mean()


def shape_of(axes: tuple[str, ...], features: Tensor, where: str) -> Shape:
    """The shape of a clip's features, by all of the training split (N, ...): of a table, how many categories it has
    too. Raises UserError where they do not fit the axes."""
    shape = named(axes, tuple(features.shape[1:]), where)
    return {**shape, CATEGORIES: len(categories(features)[0])} if axes == FIELDS else shape


def categories(rows: Tensor) -> tuple[Tensor, Tensor]:
    """(N, fields, 3) of training clips -> field and code of each category (categories,) of SEEN clips, sorted."""
    code = rows[:, :, 2].cpu()
    field = torch.arange(code.shape[1]).expand_as(code)
    cells = torch.stack([field[code > 0].double(), code[code > 0].double()], 1)
    pairs, counts = cells.unique(dim=0, return_counts=True)
    pairs = pairs[counts >= SEEN]
    return pairs[:, 0].long(), pairs[:, 1].float()
