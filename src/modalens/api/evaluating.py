"""Predictions of a trained model for every coalition of its modalities."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from modalens.evaluation import arrays
from modalens.evaluation.ablation import ModalityAblator
from modalens.evaluation.networks import CallableNetwork, Network, Output, TorchNetwork, is_module, is_tensor
from modalens.evaluation.predict import predict
from modalens.stats.predictions import validate
from modalens.stats.targets import CLASSES, TARGETS
from modalens.utils import arguments
from modalens.utils.errors import UserError
from modalens.utils.extras import not_installed

if TYPE_CHECKING:
    from modalens.models import TrainedModel


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
