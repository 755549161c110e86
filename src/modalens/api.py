"""The library: measures of predictions, predictions of any model, one page of both. Re-exported by `modalens`.

A table of predictions (`load_predictions`) joins the two halves: whatever made it, every measure can read it. The
measures need NumPy, SciPy, pandas and PyArrow; `report` needs the extra `report`; PyTorch is needed for torch models.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from modalens.evaluation import arrays
from modalens.evaluation.ablation import ModalityAblator
from modalens.evaluation.networks import CallableNetwork, Network, Output, TorchNetwork, is_module, is_tensor
from modalens.evaluation.predict import predict
from modalens.measures.coalition_values import CoalitionValues
from modalens.measures.interaction import Interaction
from modalens.measures.leave_one_out import LeaveOneOut
from modalens.measures.shapley import Shapley
from modalens.stats.metrics import METRICS, check_metrics
from modalens.stats.prediction_files import Table, load_predictions
from modalens.stats.predictions import validate
from modalens.stats.targets import CLASSES, TARGETS, metrics_of, target_of
from modalens.utils import arguments, files
from modalens.utils.errors import UserError
from modalens.utils.extras import not_installed
from modalens.utils.suggest import suggest

if TYPE_CHECKING:
    from modalens.models import TrainedModel

__all__ = ["UserError", "evaluate", "leave_one_out", "load_model", "load_predictions", "report", "shapley"]
Predictions = Table | Iterable[Table]


def leave_one_out(
    predictions: Predictions,
    *,
    metrics: Sequence[str] | None = None,
    replacement: str | Sequence[str] | None = None,
    permutations: int = 9999,
    bootstrap: int = 1000,
    confidence: float = 0.95,
    seed: int = 0,
) -> pd.DataFrame:
    """How far each metric falls when one modality is withheld from a model.

    predictions: a table of predictions, or what `load_predictions` reads; for M modalities it holds the coalition of
    all and the M coalitions of all but one, under each replacement. metrics: accuracy, balanced_accuracy, precision,
    recall, f1 (macro means over classes; shares from 0 to 1) and log_probability (of the true class, in nats); None is
    all that the table allows. replacement: one, several, or None for all. permutations: sign flips of the paired test,
    exact where few groups differ. bootstrap: replicates of the groups behind each interval. confidence:
    of the intervals. seed: of the resampling; the same seed gives the same table.

    Returns one row per model, replacement, modality and metric: full and withheld (the metric, mean over seeds) with
    the ends full_low, full_high, withheld_low, withheld_high of their intervals; drop = full - withheld with low and
    high; groups_low, groups_high, seeds_low, seeds_high (resampled over groups or seeds alone); seed_std; p_value and
    p_holm (Holm-corrected over the rows of a metric); clips, groups, seeds (counts). Not-a-number where one group or
    one seed leaves nothing to resample.

    Raises UserError for a table that breaks the contract or lacks a coalition, an unknown metric or replacement.
    Source: Geraghty et al. 2023 (withheld modalities); Satterthwaite 1946, Wilson 1927, Agresti and Min 2005
    (intervals); Holm 1979.
    """
    resampling = _resampling("leave_one_out", bootstrap, confidence, seed)
    permutations = arguments.whole("leave_one_out: permutations", permutations, 1)
    table = load_predictions(predictions, probabilities=False)
    if not (table["replacement"] != "").any():
        full = table["coalition"].iloc[0]
        raise UserError(f"leave_one_out: no modality is withheld: expected coalitions of fewer names than {full!r}")
    measure = LeaveOneOut(
        metrics=_metrics("leave_one_out: metrics", metrics, METRICS, table),
        replacement=_names("leave_one_out: replacement", replacement),
        permutations=permutations,
        **resampling,
    )
    return measure(table)


def shapley(
    predictions: Predictions,
    *,
    value_functions: Sequence[str] | None = None,
    replacement: str | Sequence[str] | None = None,
    bootstrap: int = 1000,
    confidence: float = 0.95,
    seed: int = 0,
) -> pd.DataFrame:
    """What each modality contributes to a model: exact Shapley values over all 2^M coalitions of M modalities.

    predictions: as for `leave_one_out`, but with every coalition, the empty one too. value_functions: metrics that are
    divided among the modalities, accuracy and log_probability (nats) by default; None leaves out what the table does
    not allow.
    The other options are those of `leave_one_out`.

    Returns one row per model, notion, replacement, value_function and modality: value (in units of the value function)
    with low, high, groups_low, groups_high, seeds_low, seeds_high, seed_std; share = value / (full - none) with
    share_low, share_high, not-a-number unless the intervals of full - none and of full - chance lie above zero and each
    share may lie between 0 and 1; none and full, the value functions of no and of all modalities, which differ by the
    sum of the values; clips, groups, seeds. notion: `used` is one model with modalities replaced; `available` is one
    model for each coalition, trained on it alone, where the table has these.

    Raises UserError as `leave_one_out`. Source: Shapley 1953.
    """
    resampling = _resampling("shapley", bootstrap, confidence, seed)
    table = load_predictions(predictions, probabilities=False)
    default = ("accuracy", "log_probability")
    measure = Shapley(
        value_functions=_metrics("shapley: value_functions", value_functions, default, table),
        replacement=_names("shapley: replacement", replacement),
        **resampling,
    )
    return measure(table)


def evaluate(
    model: TrainedModel | Callable[[dict[str, Any]], Any],
    features: Mapping[str, Any],
    labels: Sequence[Any],
    *,
    classes: Sequence[Any] | None = None,
    clip_ids: Sequence[Any] | None = None,
    groups: Sequence[Any] | None = None,
    replacements: arrays.Replacements = ("mean@input", "shuffle@input"),
    reference: Mapping[str, Any] | None = None,
    output: Output = "logits",
    target: str = "classes",
    name: str = "model",
    seed: int = 0,
    batch_size: int = 64,
) -> pd.DataFrame:
    """Predictions of a trained model for every coalition of its modalities: the table that the measures read.

    model: one of

    - a torch module with `embed({modality: (B, ...)}) -> {modality: (B, D) or (B, T, D)}`, which may be given some of
      the modalities, and `classify({modality: embedding}) -> logits (B, C)`; each modality is embedded once, and can
      be replaced behind its sub-network too;
    - any other torch module or function from {modality: (B, ...)} to (B, C). It is given torch tensors where it is a
      module or `features` holds tensors, else NumPy arrays. A module stays on its device and is run in evaluation
      mode without gradients. For scikit-learn: `lambda x: model.predict_proba(np.hstack(list(x.values())))` with
      output="probabilities"; the dict has the order of the names;
    - a model of this package, from `load_model`.

    features: {modality: (N, ...)}, arrays or tensors of the N test clips. labels: (N,) true classes; whole numbers are
    indices of the model's columns unless `classes` names these. classes: (C,) name of each column; by default the
    sorted labels, as scikit-learn has them. clip_ids, groups: (N,); a group is what several clips share (source video,
    speaker, patient) and is resampled whole; give it wherever there is one. By default each clip is its own.

    replacements: what stands in for a withheld modality: shuffle@input (another clip's), mean@input; for a module with
    embed and classify also mean@fusion, zero@fusion, gaussian@fusion (of its embeddings). Or a mapping of such names to
    None and of any name, such as blank@input, to {modality: (...) or (K, ...)}: what stands in, or K of them of which
    each clip is given one. reference: {modality: (R, ...)}, the training clips' features, of which the means and
    deviations are taken; by default `features` (no label is read). output: "probabilities" where the model returns
    these. target: "regression" for labels that are numbers, (N,), and a model that returns one for each clip, (B,) or
    (B, 1); "multilabel" for labels (N, tags) of 0 and 1, `classes` the tags' names, and a model that returns a logit or
    probability for each; a tag is named from 0.5 on. name, seed: of the model and of its training, for a table of
    several. batch_size: clips at once.

    Returns a table of predictions, N rows for each of the 1 + (2^M - 1) * len(replacements) conditions, in the columns
    of `load_predictions` and `condition`. The same call gives the same table, whatever the order of the clips.

    Raises UserError for shapes that do not fit, unknown replacements, labels that are no class, and not-a-number.
    Source: Geraghty et al. 2023, section 4.
    """
    arguments.mapping("evaluate: features", features)
    arguments.texts("evaluate: replacements", replacements)
    batch_size = arguments.whole("evaluate: batch_size", batch_size, 1)
    seed, name = arguments.whole("evaluate: seed", seed, 0), arguments.text("evaluate: name", name)
    if reference is not None:
        arguments.mapping("evaluate: reference", reference)
    trained: Any = model if hasattr(model, "embedding_means") else None  # of this package, told without PyTorch
    call: Any = trained.model if trained else model
    if trained and reference is not None:
        raise UserError("evaluate: reference: a model of this package knows its training clips; leave it out")
    rows = _inputs(call, features)
    if arguments.text("evaluate: target", target) not in TARGETS or (trained and target != CLASSES):
        allowed = CLASSES if trained else ", ".join(TARGETS)
        raise UserError(f"evaluate: target: expected {allowed}, got {target!r}")
    network = _network(call, rows, output, any(is_tensor(values) for values in features.values()), target)
    first = network.embed({key: values[:batch_size] for key, values in rows.items()})
    columns = network.log_probabilities(first).shape[1]
    if trained and classes is None:
        classes = trained.labels
    if target == CLASSES:
        texts, named = arrays.names_of(labels), arrays.class_names(labels, classes, columns)
    else:
        texts, named = arrays.other_labels(labels, classes, target, columns)
    test = arrays.as_test_set(rows, texts, named, clip_ids, groups, target)
    told = rows if reference is None else arrays.rows_of({key: reference.get(key, ()) for key in rows}, "reference")
    kinds, test.stand_ins = arrays.stand_ins(replacements, rows, None if trained else told)
    if trained:
        from modalens.evaluation.trained import ablator as ablator_of

        ablator = ablator_of(trained, test, batch_size)
    else:
        means, stds = _embedding_statistics(network, told, kinds, batch_size)
        ablator = ModalityAblator(network, test.features, test.stand_ins, means, stds, batch_size)
    return validate(predict(ablator, test, kinds, seed).assign(model=name))


def report(
    predictions: Predictions | Mapping[str, Predictions],
    output: str | Path,
    *,
    title: str = "How much does each modality matter?",
    model: str = "",
    replacement: str = "",
    bootstrap: int = 1000,
    confidence: float = 0.95,
    seed: int = 0,
) -> Path:
    """One HTML page that opens anywhere: the findings in words, the measures as figures and tables, a leaderboard.

    predictions: what `load_predictions` reads, with every coalition of each model; or {task: such predictions} for
    several tasks. output: the page's file. model: the one that the findings are about; by default the first, by name,
    of several modalities. replacement: the one that they are about; by default the first by name. Models are compared
    on a leaderboard where they were tested on the same clips and seeds. The other options are those of `shapley`.

    Returns the path of the page. Raises UserError as `shapley`, and where the extra `report` is not installed.
    """
    try:
        from modalens.reporting.from_predictions import page_of
    except ModuleNotFoundError as error:
        raise not_installed(error, "report", "report") from error
    settings = {"title": title, "model": model, "replacement": replacement}
    for key, value in settings.items():
        arguments.text(f"report: {key}", value)
    output = Path(arguments.path("report: output", output))
    tasks = predictions if isinstance(predictions, Mapping) else {"task": predictions}
    tables = {str(task): load_predictions(table, probabilities=False) for task, table in tasks.items()}
    for task, table in tables.items():
        for column, asked in (("model", model), ("replacement", replacement)):
            if asked and asked not in set(table[column]):
                there = sorted(set(table[column]) - {""})
                raise UserError(f"report: {column}: no {asked!r} in {task!r}; {suggest(asked, there)}")
    resampling = _resampling("report", bootstrap, confidence, seed)
    measured = {task: _all_measures(table, resampling) for task, table in tables.items()}
    files.write_text(output, page_of(tables, measured, settings, resampling))
    return output


def _all_measures(table: pd.DataFrame, resampling: Mapping[str, Any]) -> dict[str, pd.DataFrame]:
    """What the page is made of."""
    names = ("accuracy", "balanced_accuracy", "log_probability")
    metrics = tuple(_metrics("report", None, names, table))
    return {
        "leave_one_out": leave_one_out(table, **resampling),
        "shapley": shapley(table, **resampling),
        "coalition_values": CoalitionValues(metrics=metrics, **resampling)(table),
        "interaction": Interaction(value_functions=metrics, **resampling)(table),
    }


def load_model(path: str | Path) -> TrainedModel:
    """A trained model of this package, on the CPU. path: results/<study>/train/<task>/<model>/<seed>/model.pt.

    Raises UserError for a file that is not there or cannot be read, and where the extra `torch` is not installed.
    """
    try:
        from modalens.models import load_model as load
    except ModuleNotFoundError as error:
        raise not_installed(error, "load_model", "torch") from error
    return load(arguments.path("load_model", path))


def _inputs(model: Any, features: Mapping[str, Any]) -> dict[str, arrays.Array]:
    """Of the modalities that the model takes, in the order of their names; a function's are all that are given."""
    known = getattr(model, "modalities", None) if is_module(model) else None
    if known is not None and (missing := sorted(set(known) - set(features))):
        raise UserError(f"evaluate: features: the model takes {', '.join(known)}; {missing[0]!r} is missing")
    return arrays.rows_of({key: features[key] for key in sorted(known or features)}, "features")


def _network(model: Any, rows: Mapping[str, Any], output: Output, tensors: bool, target: str) -> Network:
    if arguments.text("evaluate: output", output) not in ("logits", "probabilities"):
        raise UserError(f"evaluate: output: expected 'logits' or 'probabilities', got {output!r}")
    if is_module(model) and hasattr(model, "embed") and hasattr(model, "classify"):
        if output != "logits":
            raise UserError("evaluate: output: classify of a torch module returns logits")
        return TorchNetwork(model, tuple(rows), target=target)
    if not callable(model):
        raise UserError(f"evaluate: model: expected a torch module or a function, got {type(model).__name__}")
    return CallableNetwork(model, tuple(rows), output, tensors or is_module(model), target)


def _embedding_statistics(
    network: Network, reference: Mapping[str, arrays.Array], kinds: Sequence[str], batch: int
) -> tuple[dict[str, arrays.Array], dict[str, arrays.Array]]:
    asked = [kind for kind in kinds if kind in arrays.AT_FUSION]
    if not asked:
        return {}, {}
    if isinstance(network, CallableNetwork):
        raise UserError(f"evaluate: replacements: {asked[0]!r} needs a torch module with embed and classify")
    return arrays.embedding_statistics(network, reference, batch)


def _metrics(where: str, asked: Sequence[str] | None, default: Sequence[str], table: pd.DataFrame) -> list[str]:
    """Raises UserError for what is no metric, and for log-probabilities of a table of bare decisions."""
    decisions, kind = bool(table["log_probability"].isna().any()), target_of(table)
    names = arguments.texts(where, metrics_of(default, kind) if asked is None else asked)
    check_metrics(where, names, TARGETS[kind].metrics)
    if not decisions:
        return names
    if asked is not None and "log_probability" in names:
        raise UserError(f"{where}: the predictions have neither log_probability nor p_<class>")
    return [name for name in names if name != "log_probability"]


def _names(where: str, replacement: str | Sequence[str] | None) -> str | list[str] | None:
    return replacement if replacement is None or isinstance(replacement, str) else arguments.texts(where, replacement)


def _resampling(where: str, bootstrap: int, confidence: float, seed: int) -> dict[str, Any]:
    return {
        "bootstrap": arguments.whole(f"{where}: bootstrap", bootstrap, 1),
        "confidence": arguments.share(f"{where}: confidence", confidence),
        "seed": arguments.whole(f"{where}: seed", seed, 0),
    }
