"""The table of predictions: the contract between any model and every measure.

One row says what one model (trained from one seed) said of one clip under one condition. A condition is a coalition,
the modalities that the model was given, and the replacement that stood in for the others. Each condition holds every
clip once per seed, and the coalition of all modalities is among them. COLUMNS says what each column means.
"""

from dataclasses import dataclass

from modalens.stats.metrics import RANK

WHERE = "predictions"
CLASS = "p_"  # a column that begins so holds the probability of the class that follows


@dataclass(frozen=True)
class Column:
    """absent: what is assumed where the table has no such column; empty for one that must be there."""

    name: str
    type: str
    meaning: str
    absent: str = ""


COLUMNS = (
    Column("model", "text", "Name of the model.", "the name of the file, else `model`"),
    Column("clip_id", "text", "Name of the test clip (sample): the same in every condition, seed and model."),
    Column("group", "text", "What clips share and a resample must not cut: source video, speaker, patient.", "clip_id"),
    Column("seed", "whole number", "Training seed of the model.", "0"),
    Column(
        "replacement",
        "text",
        "What stood in for the modalities outside the coalition, such as `mean@input`; empty where none was replaced.",
        "empty for all modalities, else `replaced`",
    ),
    Column("coalition", "text", "The modalities that the model was given, joined by commas; empty for none."),
    Column("label", "text", "The true class; a number, or tags joined by vertical bars, where `target` says so."),
    Column(
        "predicted",
        "text",
        "The class that the model named; a number or tags likewise.",
        "the class of the largest p_<class>",
    ),
    Column(
        "log_probability",
        "number <= 0",
        "Natural logarithm of the probability that the model gave the true class; nats.",
        "from p_<class>; without these no measure of log-probability",
    ),
    Column(
        "prior_predicted",
        "text",
        "The commonest class of the clips that the model was trained on: what one names who sees nothing.",
        "the commonest class of this table",
    ),
    Column(
        "prior_log_probability",
        "number <= 0",
        "Natural logarithm of the true class's share of the training clips; nats.",
        "of its share of this table",
    ),
    Column(
        "label_rank",
        "whole number",
        "Place of the true class among all classes by probability; the class that is predicted has 1.",
        "from p_<class>; without these no top-3 and top-5 accuracy",
    ),
    Column(
        "target", "text", "What a label is: `classes`, `regression` or `multilabel`; one for the table.", "`classes`"
    ),
    Column("p_<class>", "number, 0 to 1", "Probability of each class; a row sums to 1.", "nothing"),
)
KEY = ["model", "seed", "clip_id", "coalition", "replacement"]
TEXT = ("model", "clip_id", "group", "replacement", "coalition", "label", "predicted")
PRIOR_PREDICTED, PRIOR_LOG_PROBABILITY = "prior_predicted", "prior_log_probability"
ORDER = [column.name for column in COLUMNS[:-1] if not column.name.startswith(("prior_", "target", RANK))]
NO_REPLACEMENT_NAMED = "replaced"
# Single precision rounds a probability of one to a little more; half precision adds up to a little less.
OVER_ZERO = 1e-6
OFF_ONE = 0.01
