"""Every model of every config in the repository takes a learning step: no config that cannot run."""

from pathlib import Path

import pytest
import torch

from modalens.balancing import apply_balancing, unwrap
from modalens.config.resolve import load, resolve
from modalens.models import build

pytestmark = pytest.mark.slow
CONFIGS = sorted((Path(__file__).resolve().parents[1] / "config").glob("*.yaml"))
# Small: no size in a config depends on them.
SHAPES = {"audio": {"mel": 16, "time": 40}, "video": {"time": 8, "channel": 32}}
LABELS = torch.tensor([0, 1, 2, 0])


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_every_model_of_a_config_learns_and_answers(path):
    study = resolve(load(path))
    assert set(study["modalities"]) == set(SHAPES)
    torch.manual_seed(0)
    features = {name: torch.randn(len(LABELS), *shape.values()) for name, shape in SHAPES.items()}
    models = {}
    # Teachers before their students.
    for name, given in sorted(study["models"].items(), key=lambda item: len(item[1]["teachers"])):
        model = build(given["model"], {name: SHAPES[name] for name in given["modalities"]}, 3, given["options"])
        for teacher in given["teachers"]:
            model.teachers[teacher] = models[teacher]
        model.fit_normalizer({modality: [values] for modality, values in features.items()})
        model.initialise_from_teachers()
        learner = apply_balancing(model, given["balancing"])
        terms = learner.loss({**features, **model.targets(features)}, LABELS)
        terms["loss"].backward()
        assert terms["loss"].isfinite(), name
        models[name] = unwrap(learner).eval().requires_grad_(False)
        assert models[name](features).shape == (len(LABELS), 3), name
