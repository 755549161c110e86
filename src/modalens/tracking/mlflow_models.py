"""A trained network as an MLflow model: `mlflow.pyfunc.load_model("models:/<id>").predict(table)`.

The code is this package's own (evaluation/pyfunc_model.py), so MLflow unpickles nothing.
"""

import atexit
import contextlib
import json
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import asdict, replace
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlparse

from modalens.tracking.records import Model
from modalens.utils import files

LOADER = "modalens.evaluation.pyfunc_model"
NETWORK = "data/data/model.pt"  # in the folder that MLflow loads; it puts what is given into one called data
# What a server needs to predict: this package and what it computes with.
NEEDS = ("modalens", "h5py", "numpy", "pandas", "scipy", "torch")
# And where encoders are in the model, those that their networks come from.
NETWORKS = ("open-clip-torch", "timm", "torchaudio", "torchvision", "transformers")


def log_model(client: Any, experiment_id: str, run_id: str, name: str, model: Model) -> str:
    """The id of the model in MLflow; `models:/<id>` is its address."""
    from mlflow.entities import LoggedModelOutput

    made = client.create_logged_model(experiment_id, name, source_run_id=run_id, model_type="classifier")
    # Seeds of a model differ in nothing but their network, and MLflow takes its time over the rest.
    folder = packaged(json.dumps(asdict(replace(model, path="")), sort_keys=True))
    place = urlparse(made.artifact_location)
    if place.scheme == "file":
        # One copy on the disk: a study's networks may be gigabytes, and stages replace files, never change them.
        shutil.copytree(folder, unquote(place.path), dirs_exist_ok=True)
        files.link(Path(model.path), Path(unquote(place.path)) / NETWORK)
    else:
        files.link(Path(model.path), folder / NETWORK)
        client.log_model_artifacts(made.model_id, str(folder))
    client.finalize_logged_model(made.model_id, "READY")
    client.log_outputs(run_id, [LoggedModelOutput(made.model_id, 0)])
    return str(made.model_id)


@cache
def packaged(told: str) -> Path:
    """A Model as JSON -> the folder that MLflow loads, without the network: MLmodel, the signature, an example. It is
    there as long as this process."""
    import mlflow.pyfunc
    import pandas as pd

    model = Model(**json.loads(told))
    folder = Path(tempfile.mkdtemp(prefix="modalens-model-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    data = folder / "data"
    data.mkdir()
    mlflow.pyfunc.save_model(
        folder / "model",
        loader_module=LOADER,
        data_path=data,
        signature=signature(model),
        input_example=(pd.DataFrame({"clip_id": [model.example]}), {"features": json.dumps(model.features)}),
        pip_requirements=list(_pins(NEEDS if model.shapes else NEEDS + NETWORKS)),
    )
    return folder / "model"


def signature(model: Model) -> Any:
    """In: clip ids, or one column a modality with a clip's features. Out: the class, and the probability of each."""
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, DataType, ParamSchema, ParamSpec, Schema
    from mlflow.types.schema import Array

    columns: list[Any] = [ColSpec(DataType.string, "clip_id", required=False)]
    for name, lengths in sorted(model.shapes.items()):
        kind: Any = DataType.double
        for _ in lengths:
            kind = Array(kind)
        columns.append(ColSpec(kind, name, required=False))
    told: list[Any] = [ColSpec(DataType.string, "predicted")]
    if model.target == "regression":
        told = [ColSpec(DataType.double, "predicted")]
    else:
        told += [ColSpec(DataType.float, f"p_{label}") for label in model.labels]
    # Where clips' features are now: the study's folder may have been moved since.
    folders = ParamSpec("features", DataType.string, json.dumps(model.features))
    return ModelSignature(Schema(columns), Schema(told), ParamSchema([folders]))


def _pins(packages: Iterable[str]) -> Iterator[str]:
    for name in packages:
        with contextlib.suppress(PackageNotFoundError):
            yield f"{name}=={version(name)}"
