"""Sub-networks that see the order of steps, and mixtures of one to six modalities."""

import pytest
import torch
from _numbers import cast

from modalens.models import build, shape_of
from modalens.plugins import registry
from modalens.training.ensemble import can_be_stacked
from modalens.utils.errors import UserError

AXES = {
    "depth": ("time", "channel"),
    "facts": ("field", "part"),
    "hearing": ("mel", "time"),
    "look": ("channel",),
    "title": ("token", "channel"),
    "words": ("term",),
}
SIZES = {"depth": (6, 5), "facts": (4, 3), "hearing": (8, 12), "look": (7,), "title": (9, 6), "words": (11,)}
COUNT = 6
SMALL = {"spectrogram_size": 5, "channels": 2, "sequence_size": 4, "step_size": 3, "hidden": [4]}


def features(names):
    draw = torch.Generator().manual_seed(0)
    found = {name: torch.rand(COUNT, *SIZES[name], generator=draw) for name in names}
    if "facts" in found:
        found["facts"][:, :, 1] = 1
        found["facts"][:, :2, 2] = torch.randint(1, 4, (COUNT, 2), generator=draw).float()
        found["facts"][:, 2:, 2] = 0
    return found


def made(name, names, **options):
    rows = features(names)
    torch.manual_seed(0)
    model = build(name, {one: shape_of(AXES[one], rows[one], one) for one in names}, 3, options)
    model.fit_normalizer({one: [values] for one, values in rows.items()})
    return model.eval(), rows


@pytest.mark.parametrize("kind", ["convolution", "lstm"])
def test_the_order_of_steps_changes_the_embedding_where_it_is_to_be_seen_and_not_else(kind):
    model, rows = made("late_fusion", ("depth", "title"), sequences={"depth": kind}, **SMALL)
    turned = {name: values.flip(1) for name, values in rows.items()}
    before, after = model.embed(rows), model.embed(turned)
    assert not torch.allclose(before["depth"], after["depth"])
    torch.testing.assert_close(before["title"], after["title"])


@pytest.mark.parametrize("kind", ["convolution", "lstm"])
def test_a_rise_is_told_from_a_fall(kind):
    draw = torch.Generator().manual_seed(0)
    line = torch.linspace(-1, 1, 16).unsqueeze(1)
    labels = torch.arange(60) % 2
    rows = torch.where(labels[:, None, None] > 0, line, -line) + 0.1 * torch.randn(60, 16, 1, generator=draw)

    def accuracy(sequences):
        torch.manual_seed(0)
        options = {"sequence_size": 16, "step_size": 16, "hidden": [16], "sequences": sequences}
        model = build("late_fusion", {"walk": {"time": 16, "channel": 1}}, 2, options)
        model.fit_normalizer({"walk": [rows]})
        optimiser = torch.optim.AdamW(model.parameters(), 0.02)
        for _ in range(40):
            optimiser.zero_grad()
            model.loss({"walk": rows}, labels)["loss"].backward()
            optimiser.step()
        return (model({"walk": rows}).argmax(1) == labels).float().mean().item()

    assert accuracy({"walk": kind}) == 1


def test_vectors_over_more_time_steps_than_a_convolution_reaches_are_seen_in_order_unless_the_mean_is_asked_for():
    def sees(axis, steps, **options):
        torch.manual_seed(0)
        model = build("late_fusion", {"walk": {axis: steps, "channel": 2}}, 3, {**SMALL, **options}).eval()
        rows = {"walk": torch.rand(4, steps, 2, generator=torch.Generator().manual_seed(0))}
        return not torch.allclose(model(rows), model({"walk": rows["walk"].flip(1)}), atol=1e-6)

    assert sees("time", 16)
    assert not sees("time", 15)
    assert not sees("token", 16)
    assert not sees("time", 16, sequences={"walk": "mean"})
    assert not sees("time", 16, sequence_size=0)


def test_seeds_of_convolutions_are_trained_as_one():
    models = []
    for seed in range(2):
        torch.manual_seed(seed)
        shapes = {"depth": {"time": 6, "channel": 5}}
        models.append(cast(build("late_fusion", shapes, 3, {**SMALL, "sequences": {"depth": "convolution"}})))
    rows = {"depth": torch.randn(4, 6, 5, dtype=torch.float64)}
    assert can_be_stacked(models, rows, torch.arange(4) % 3)


def test_what_cannot_be_is_one_line():
    for sequences, line in (
        ({"depth": "transformer"}, "sequences.depth: expected convolution, lstm or mean, got 'transformer'"),
        ({"hearing": "lstm"}, r"sequences.hearing: expected vectors over time or tokens, got the axes \(mel, time\)"),
        ({"facts": "lstm"}, r"got the axes \(channel\)"),
    ):
        with pytest.raises(UserError, match=line):
            made("late_fusion", tuple(AXES), sequences=sequences)
    made("late_fusion", ("look",), sequences={"depth": "lstm"}, **SMALL)  # of another model of the study


MODELS = [name for name in registry.names("models") if name not in ("distillation", "guidance", "zero_shot")]


@pytest.mark.parametrize("count", range(1, 7))
@pytest.mark.parametrize("name", MODELS)
def test_every_model_takes_any_mixture_of_one_to_six_modalities(name, count):
    for first in range(0, 6, 3):
        names = tuple(sorted((list(AXES) * 2)[first : first + count]))
        options = {"width": 8, "heads": 2, "layers": 1} if "transformer" in name else {}
        if name == "balance_mla":
            options = {"width": 8, "heads": 2, "layers": 1, "cross_layers": 1}
            if count != 2:
                continue
        model, rows = made(name, names, **options)
        terms = model.loss({**rows, **model.targets(rows)}, torch.arange(COUNT) % 3)
        assert terms["logits"].shape == (COUNT, 3)
        assert terms["logits"].isfinite().all()


@pytest.mark.parametrize("fusion", [n for n in registry.names("fusions") if n not in ("vote",)])
def test_every_fusion_joins_six_modalities(fusion):
    stages = registry.load("fusions", fusion).stages
    if "intermediate" not in stages:
        pytest.skip("joins decisions")
    width = {"fusion_options": {"width": 2}} if fusion == "tensor_fusion" else {}
    model, rows = made("late_fusion", tuple(AXES), fusion=fusion, **SMALL, **width)
    assert model(rows).isfinite().all()
