"""A study's plugins are made and tried on made-up features before anything runs: what cannot work is said at once.

`python -m modalens.search.rehearsal MANIFEST < resolved config as JSON` is what the workflow runs, where PyTorch is
installed; MANIFEST is the folder that stage wrote.
"""

import contextlib
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pandas as pd
import torch
from torch import Tensor
from torch.nn.modules.batchnorm import _BatchNorm

from modalens import measures
from modalens.balancing import Learner, apply_balancing
from modalens.config.modalities import learnt as learnt_through
from modalens.config.resolved import target_of
from modalens.encoders import Encoder
from modalens.fusions import Fusion
from modalens.modalities import load_modality
from modalens.models import FROZEN, Learnt, Model, Shapes, Through, build, last_units, shape_of
from modalens.plugins import blame, introspection, registry
from modalens.plugins.options import resolve
from modalens.search.space import apply_overrides
from modalens.stats import targets
from modalens.tracking import mlflow_database
from modalens.training import augmentation
from modalens.training.batches import of_one_clip
from modalens.utils.errors import UserError
from modalens.utils.suggest import suggest
from modalens.utils.tensors import eval_mode

Config = dict[str, Any]
# Of what an encoder gives, whose true sizes are known once it has run.
SIZES = {"mel": 64, "time": 64, "token": 16, "height": 8, "width": 8, "channel": 32}
DEFINED_BY_HUB = ("transformers",)  # libraries whose networks a hub tells the layers of
FEW_STEPS = 8  # of a sequence; models may read short ones otherwise than long ones
CLIPS, CLASSES = 4, 3
STORES = ("sqlite", "http", "https", "file", "postgresql", "mysql", "mssql", "databricks", "databricks-uc", "uc")
LOCKED_S = 5.0  # that a database may be somebody else's


def problems(config: Config, classes: Mapping[str, Sequence[str]] | None = None) -> list[str]:
    """What of a resolved config cannot work, a line each; [] if nothing is known against it. classes: of each task,
    as far as they are known.

    Encoders check their options without reading weights, modalities that what decodes is there; models learn one batch
    of noise, by each end of what a search draws; measures are made; the cookies file and MLflow's database are looked
    at.
    """
    found: list[str] = []
    for name, entry in config["modalities"].items():
        with _noted(found, f"config: modalities.{name}.options"):
            maker = registry.load("encoders", entry["encoder"])
            maker.check(**resolve(maker, entry["options"], f"config: modalities.{name}.options"))
        with _noted(found, f"config: modalities.{name}.decode"):
            load_modality(entry["kind"], entry["decode"]).check()
    told = _of_models(config, classes or {}, _shapes(config, SIZES["time"]))
    if told:
        # Of sequences whose length is not known yet, only what fails short and long is known to fail.
        short = {_place(line) for line in _of_models(config, classes or {}, _shapes(config, FEW_STEPS))}
        found += [line for line in told if _place(line) in short]
    for name, given in config["relevance"]["measures"].items():
        with _noted(found, f"config: relevance.measures.{name}"):
            measures.build(name, given, f"config: relevance.measures.{name}")
    if (cookies := config["download"]["cookies"]) and not Path(cookies).is_file():
        found.append(f"config: download.cookies: not found: {cookies} (paths count from {Path.cwd()})")
    with _noted(found, "config: mlflow.tracking_uri"):
        _check_scheme(config["mlflow"]["tracking_uri"])
        if path := mlflow_database.database(config["mlflow"]["tracking_uri"]):
            mlflow_database.check_database(path, LOCKED_S)
    return list(dict.fromkeys(found))


def _of_models(config: Config, classes: Mapping[str, Sequence[str]], shapes: Shapes) -> list[str]:
    found: list[str] = []
    learnt: dict[str, Model] = {}
    for name in sorted(config["models"], key=lambda name: len(config["models"][name]["teachers"])):
        known = len(found)
        with _noted(found, f"config: models.{name}.options"):
            _check_options(name, config["models"][name], classes)
        for where, settings in _settings(name, config) if len(found) == known else ():
            with _noted(found, f"config: {where}"):
                _try(name, config["models"][name], settings, shapes, learnt)
        with _noted(found, f"config: models.{name}.training"):
            _try_decoded(config["models"][name], config)
    return found


def _place(line: str) -> tuple[str, ...]:
    """Where in the config a line of `problems` belongs, without what it says."""
    return tuple(line.split(": ")[:2])


def _check_scheme(uri: str) -> None:
    """Raises UserError for an address that no MLflow understands; its own are those of its tracking stores."""
    scheme = urlsplit(uri).scheme.partition("+")[0]
    known = {"", "env", *STORES, *(point.name for point in entry_points(group="mlflow.tracking_store"))}
    if scheme not in known:
        raise UserError(
            f"expected an address of MLflow ({', '.join(STORES)}), got {scheme}:; {suggest(scheme, STORES)}"
        )


@contextlib.contextmanager
def _noted(found: list[str], where: str) -> Iterator[None]:
    """A plugin that breaks down is a line, too: it would break down in a job."""
    try:
        yield
    except UserError as error:
        said = str(error)
        found.append(said if said.startswith("config") else f"{where}: {said}")
    except Exception as error:
        said = blame.blamed(error) or f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
        found.append(f"{where}: {said}")


def _shapes(config: Config, steps: int) -> Shapes:
    """Made-up shapes of the modalities whose encoder states its axes. steps: of a sequence that is no spectrogram."""
    shapes = {}
    for name, entry in config["modalities"].items():
        with contextlib.suppress(UserError, ValueError, AttributeError, TypeError):
            maker = registry.load("encoders", entry["encoder"])
            axes = tuple(maker.axes_of(**resolve(maker, entry["options"], name)))
            # A step for each frame or reading, where the config states how many there are.
            read = load_modality(entry["kind"], entry["decode"])
            known = getattr(read, "steps", None) or getattr(read, "count", None) or steps
            sizes = SIZES if "mel" in axes else {**SIZES, "time": known}
            if set(axes) <= set(sizes):
                shapes[name] = shape_of(axes, torch.zeros(1, *(sizes[axis] for axis in axes)), name)
    return shapes


def _settings(name: str, config: Config) -> Iterator[tuple[str, dict[str, Any]]]:
    """A model's own settings, and those with each choice, or each end of a range, that a search may draw."""
    model = config["models"][name]
    own = {part: model[part] for part in ("options", "training", "balancing")}
    yield f"models.{name}", own
    if config["search"]["budget"]:
        for path, given in (config["search"]["space"] | model["search"]).items():
            if not path.startswith("training."):
                for value in given if isinstance(given, list) else (given["low"], given["high"]):
                    yield f"search: models.{name} with {path} = {value!r}", apply_overrides(own, {path: value})


def _check_options(name: str, model: Config, classes: Mapping[str, Sequence[str]]) -> None:
    """What a model says of its options by themselves, under the name that it has in the config."""
    try:
        registry.load("models", model["model"]).check(model["modalities"], classes, **model["options"])
    except UserError as error:
        own = f"models.{model['model']}."
        raise UserError(str(error).replace(own, f"config: models.{name}.options.", 1)) from error


def _try(name: str, model: Config, settings: dict[str, Any], shapes: Shapes, learnt: dict[str, Model]) -> None:
    """One step of learning. Raises whatever it raises."""
    if any(one not in shapes for one in model["modalities"]):
        return  # its encoder says what it gives once it has run
    own = {one: shapes[one] for one in model["modalities"]}
    torch.manual_seed(0)
    made = build(model["model"], own, CLASSES, settings["options"])
    made.teachers = {teacher: learnt[teacher] for teacher in model["teachers"] if teacher in learnt}
    if len(made.teachers) < len(model["teachers"]):
        return  # what is wrong with a teacher has been said
    features = {one: torch.randn(CLIPS, *shape.values()) for one, shape in own.items()}
    made.fit_normalizer({one: [values] for one, values in features.items()})
    made.initialise_from_teachers()
    labels = torch.arange(CLIPS) % CLASSES
    if made.solves:
        made.solve([(features, labels)], [(features, labels)])
    with eval_mode(made):
        _expect_joined(made, features)
        _expect_logits(made, made(features))
    learner = apply_balancing(made, settings["balancing"])
    terms = learner.loss({**features, **made.targets(features)}, labels)
    if not isinstance(terms, dict) or not {"loss", "logits"} <= set(terms):
        raise UserError(f"{type(learner).__name__}.loss: expected a dict with loss and logits, got {_told(terms)}")
    if terms["loss"].shape != ():
        raise UserError(
            f"{type(learner).__name__}.loss: expected a scalar loss, got shape {tuple(terms['loss'].shape)}"
        )
    _expect_logits(learner, terms["logits"])
    if not made.solves:
        terms["loss"].backward()
    learnt[name] = made.requires_grad_(False).eval()


def _expect_joined(model: Model, features: dict[str, Tensor]) -> None:
    """What a fusion gives is as wide as it says."""
    fusion = model.fusion
    if isinstance(fusion, Fusion) and "fusion" in model.options:
        joined = fusion(model.embed(features))
        got = tuple(joined.shape) if isinstance(joined, Tensor) else type(joined).__name__
        if got != (CLIPS, fusion.size):
            raise UserError(
                f"{blame.where('fusions', model.options['fusion'])}: expected vectors (clips, size) "
                f"{(CLIPS, fusion.size)}, got {got}"
            )


def _try_decoded(model: Config, config: Config) -> None:
    """What a model learns through, and how training clips are changed, without a weight being read."""
    through = learnt_through(model)
    axes = {}
    alone = model["training"]["batch_size"] == 1
    for name in model["modalities"]:
        entry = config["modalities"][name]
        maker = registry.load("encoders", entry["encoder"])
        if name in through and model["training"]["encoders"][name] != FROZEN and maker.network is Encoder.network:
            raise UserError(f"encoders.{name}: nothing in {entry['encoder']} can be learnt; expected `frozen`")
        if name in through and alone:
            _try_one_clip(Learnt.of(entry, model["training"]["encoders"][name], f"encoders.{name}"), entry)
        if name in through:
            _count_layers(Learnt.of(entry, model["training"]["encoders"][name], f"encoders.{name}"))
        with contextlib.suppress(UserError, ValueError):
            if name in through:
                axes[name] = tuple(introspection.attribute("modalities", entry["kind"], "axes"))
            else:
                axes[name] = tuple(maker.axes_of(**resolve(maker, entry["options"], name)))
    augmentation.made(model["training"]["augment"], axes)


def _count_layers(learnt: Learnt) -> None:
    """Raises UserError for more layers than a network has, as far as it can be laid out without numbers and a hub."""
    if not learnt.last_layers:
        return
    network = None
    with contextlib.suppress(Exception):
        options = resolve(registry.load("encoders", learnt.encoder), learnt.options, learnt.encoder)
        if options.get("library") not in DEFINED_BY_HUB or Path(options["model"]).is_dir():
            with torch.device("meta"):
                network = learnt.load(torch.device("meta"), saved=True).network()
    if network is not None:
        last_units(network, learnt)


def _try_one_clip(learnt: Learnt, entry: Config) -> None:
    """Batches of one: a blank one through the network, which may normalise over the clips of a batch."""
    through = Through({"channel": 1}, learnt, saved=True).train()
    if through.network and any(isinstance(part, _BatchNorm) for part in through.network.modules()):
        row = load_modality(entry["kind"], entry["decode"]).blank()
        with torch.no_grad(), of_one_clip():
            through.network(torch.from_numpy(row[None]))


def _expect_logits(learner: Learner, logits: Any) -> None:
    shape = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
    if shape != (CLIPS, CLASSES):
        raise UserError(f"{type(learner).__name__}: expected logits (clips, classes) {(CLIPS, CLASSES)}, got {shape}")


def _told(terms: Any) -> str:
    return f"one with {', '.join(map(str, terms)) or 'nothing'}" if isinstance(terms, dict) else type(terms).__name__


def _classes(config: Config, manifest: Path) -> dict[str, list[str]]:
    """Of each task that has any."""
    tables = {task: manifest / "labels" / f"{task}.csv" for task in config["tasks"]}
    return {
        task: sorted(set(pd.read_csv(path, usecols=["label"], dtype="str", keep_default_na=False)["label"]))
        for task, path in tables.items()
        if target_of(config, task) == targets.CLASSES and path.is_file()
    }


def main() -> None:
    config = json.load(sys.stdin)
    found = problems(config, _classes(config, Path(sys.argv[1])))
    for line in found:
        print(f"modalens: {line}", file=sys.stderr)
    sys.exit(bool(found))


if __name__ == "__main__":
    main()
