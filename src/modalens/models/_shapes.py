"""Shapes with named axes: {"mel": 64, "time": 1001} is one clip's log-mel. Models choose sub-networks by these axes."""

from collections.abc import Mapping

from modalens.utils.errors import UserError

Shape = Mapping[str, int]  # axis -> size, in the order of the tensor's axes after the batch
Shapes = Mapping[str, Shape]  # modality -> shape

CHANNEL = "channel"
SPECTROGRAM = ("mel", "time")
FIELDS = ("field", "part")  # a table: number, whether there is a value, code of a category
PARTS = 3
CATEGORIES = "category"  # of a table's shape: how many categories its fields have in training; no axis
TERMS = ("term",)  # counts of words or pieces of words
# What encoders may declare. Most end in `channel`: vectors, one for each place along the other axes. Tables and terms
# become vectors by what is known of the training clips (_fitted.py).
AXES = (
    SPECTROGRAM,
    FIELDS,
    TERMS,
    ("time", CHANNEL),
    ("token", CHANNEL),
    (CHANNEL,),
    ("height", "width", CHANNEL),
    ("time", "height", "width", CHANNEL),
)


def named(axes: tuple[str, ...], sizes: tuple[int, ...], where: str) -> dict[str, int]:
    """Axes of an encoder and the shape of a row of its features. Raises UserError where they do not fit."""
    if axes not in AXES:
        known = ", ".join(f"({', '.join(one)})" for one in AXES)
        raise UserError(f"{where}: no network takes the axes ({', '.join(axes)}); known: {known}")
    if len(axes) != len(sizes):
        raise UserError(f"{where}: expected {len(axes)} axes ({', '.join(axes)}), got the shape {sizes}")
    if axes == FIELDS and sizes[1] != PARTS:
        raise UserError(f"{where}: expected {PARTS} parts of a field, got {sizes[1]}")
    return dict(zip(axes, sizes, strict=True))


def is_spectrogram(shape: Shape) -> bool:
    return tuple(shape) == SPECTROGRAM


def channel_axis(shape: Shape) -> int:
    """The axis whose entries are normalised one by one: mels of a spectrogram, else the channels."""
    return 0 if is_spectrogram(shape) else len(shape) - 1


def places(shape: Shape) -> tuple[int, ...]:
    """Sizes of the axes that are not the channels; (1,) for a single vector."""
    axis = channel_axis(shape)
    return tuple(size for place, size in enumerate(shape.values()) if place != axis) or (1,)


def channels(shape: Shape) -> int:
    return tuple(shape.values())[channel_axis(shape)]
