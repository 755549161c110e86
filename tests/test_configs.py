"""Every model of every config in the repository takes a learning step: no config that cannot run."""

from pathlib import Path

import pytest
import torch

from modalens.balancing import apply_balancing, unwrap
from modalens.config.resolve import load, resolve
from modalens.models import build, shape_of
from modalens.plugins import registry
from modalens.plugins.options import resolve as resolve_options
from modalens.utils.errors import UserError

pytestmark = pytest.mark.slow
CONFIG = Path(__file__).resolve().parents[1] / "config"
# Of those that need files from elsewhere, these need none to be read.
PAPERS = [*sorted(CONFIG.glob("papers/guidance*.yaml")), *sorted(CONFIG.glob("papers/balance_mla_lrw*.yaml"))]
CONFIGS = [*sorted(CONFIG.glob("*.yaml")), *PAPERS]
# Small: no size in a config depends on them.
SIZES = {"mel": 16, "time": 8, "token": 9, "height": 4, "width": 4, "channel": 32, "field": 4, "part": 3, "term": 20}
LABELS = torch.tensor([0, 1, 2, 0])


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_every_model_of_a_config_learns_and_answers(path):
    try:
        study = resolve(load(path))
    except UserError as error:
        if "make weights" in str(error):
            pytest.skip(str(error))
        raise
    torch.manual_seed(0)
    features, shapes = {}, {}
    for name, entry in study["modalities"].items():
        maker = registry.load("encoders", entry["encoder"])
        axes = (
            maker.axes_of(**resolve_options(maker, entry["options"], name)) if hasattr(maker, "axes") else ("channel",)
        )
        features[name] = torch.randn(len(LABELS), *(SIZES[axis] for axis in axes)).round(decimals=2)
        shapes[name] = shape_of(axes, features[name], name)
    models = {}
    # Teachers before their students.
    for name, given in sorted(study["models"].items(), key=lambda item: len(item[1]["teachers"])):
        model = build(given["model"], {name: shapes[name] for name in given["modalities"]}, 3, given["options"])
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
