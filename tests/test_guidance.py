from itertools import pairwise

import _study
import pytest
import torch
from _members import CLASSES, LABELS, SHAPES, clips, made, shapes
from torch.nn import functional

from modalens.models import Learnt, build, load_model
from modalens.training.ensemble import can_be_stacked
from modalens.utils.errors import UserError

SMALL = {"fused": [12, 10, 8], "attention_size": 4}
ROLES = {"target": "video", "guide": "audio"}
PAIRS = [("video", "audio"), ("audio", "video"), ("video", "text"), ("audio", "text"), ("text", "audio")]


@pytest.fixture(params=PAIRS, ids="-".join)
def pair(request):
    return request.param


def guided(target="video", guide="audio", seed=0, **options):
    return made("guidance", tuple(SHAPES), seed, target=target, guide=guide, **SMALL, **options)


def of_target(model):
    """The parameters that its answers may depend on."""
    return {name: values for name, values in model.named_parameters() if name.startswith(("networks.", "head."))}


def test_its_answers_are_those_of_the_targets_expert_by_the_same_parameters():
    """So a seed's guided and plain models begin as one, and cost the same."""
    for target, guide in PAIRS[:2]:
        model, expert = guided(target, guide, seed=3).eval(), made(f"{target}_only", tuple(SHAPES), 3).eval()
        assert {name: values.shape for name, values in of_target(model).items()} == {
            name: values.shape for name, values in expert.named_parameters()
        }
        assert all(torch.equal(values, of_target(model)[name]) for name, values in expert.named_parameters())
        assert torch.equal(model(clips(SHAPES)), expert(clips(SHAPES)))
        assert type(model.networks[target]).forward is type(expert.networks[target]).forward
        assert type(model).forward is type(expert).forward


def test_no_parameter_of_guide_or_attention_changes_an_answer(pair):
    model = guided(*pair).eval()
    before = model(clips(SHAPES))
    kept = set(of_target(model))
    with torch.no_grad():
        for name, values in model.named_parameters():
            if name not in kept:
                values.zero_()
    assert torch.equal(model(clips(SHAPES)), before)
    assert len(kept) < len(dict(model.named_parameters()))


def test_the_guide_is_not_there_in_evaluation(pair):
    target, guide = pair
    model = guided(*pair).eval()
    before = model(clips(SHAPES))
    other = {**clips(SHAPES), guide: clips(SHAPES, seed=1)[guide]}
    assert torch.equal(model(other), before)
    assert torch.equal(model({target: clips(SHAPES)[target]}), before)
    alone = {target: clips(SHAPES)[target]}
    assert torch.equal(model.loss(alone, LABELS)["loss"], functional.cross_entropy(before, LABELS))
    assert model.modalities == (target,)


def test_the_guide_changes_what_is_learnt_and_learns_itself(pair):
    _, guide = pair
    losses = [
        guided(*pair).loss({**clips(SHAPES), guide: clips(SHAPES, seed=seed)[guide]}, LABELS) for seed in range(2)
    ]
    assert not torch.equal(losses[0]["loss_guided"], losses[1]["loss_guided"])
    assert torch.equal(losses[0]["logits"], losses[1]["logits"])


def test_positions_are_what_the_expert_reads(pair):
    target, _ = pair
    model = guided(*pair).eval()
    network = model.networks[target]
    values = model.normalizers[target](clips(SHAPES)[target])
    positions = network.positions(values)
    rows, steps = network.grid
    assert positions.shape == (16, rows * steps, network.position_size)
    assert torch.equal(network.read(positions), network(values))


def test_the_map_is_an_attention_over_the_targets_positions_and_re_weights_nothing_else(pair):
    _, guide = pair
    model = guided(*pair)
    positions, weighted = model.reweighted(clips(SHAPES))
    shown = model.guide_network.positions(model.normalizers[guide](clips(SHAPES)[guide]))
    attention = model.attention(positions, shown)
    count = positions.shape[1]
    assert attention.shape == (16, count, count)
    torch.testing.assert_close(attention.sum(2), torch.ones(16, count))
    assert (attention >= 0).all()
    torch.testing.assert_close(weighted, attention @ positions)
    # Queries of 0 attend to all alike: each position becomes the mean.
    with torch.no_grad():
        model.attention.queries.weight.zero_()
    _, weighted = model.reweighted(clips(SHAPES))
    torch.testing.assert_close(weighted, positions.mean(1, keepdim=True).expand_as(positions))


def test_the_guide_is_laid_beside_the_target_step_by_step_in_time():
    """A guide that differs in its last words only differs, resampled, in the target's last steps only."""
    for target in ("video", "audio"):
        attention = guided(target, "text").attention
        rows, steps = attention.grid
        words = torch.zeros(1, 5, 1)
        words[:, 4] = 1
        laid = (attention.resampling @ words).view(rows, steps)
        assert (laid[:, -1] > 0).all()
        assert (laid[:, : steps // 2] == 0).all()
        assert torch.equal(laid, laid[:1].expand(rows, steps))


def test_mels_of_an_audio_guide_stand_as_channels_beside_a_frame():
    model = guided("video", "audio")
    rows, _ = model.guide_network.grid
    first = model.attention.convolutions[0]
    assert rows > 1
    assert first.in_channels == model.networks["video"].position_size + rows * model.guide_network.position_size
    assert first.kernel_size == (1, 3)
    assert guided("audio", "video").attention.convolutions[0].kernel_size == (3, 3)


def test_three_convolutions_each_with_relu_and_normalisation_make_1024_channels_as_in_the_paper():
    layers = list(made("guidance").attention.convolutions)
    assert [type(layer).__name__ for layer in layers] == ["Conv2d", "ReLU", "BatchNorm2d"] * 3
    assert layers[-1].num_features == 1024


def test_the_loss_is_the_guided_one_and_so_much_of_the_plain_one():
    for weight in (0.0, 0.5):
        terms = guided(plain_weight=weight).loss(clips(SHAPES), LABELS)
        plain = functional.cross_entropy(terms["logits"], LABELS)
        torch.testing.assert_close(terms["loss"], terms["loss_guided"] + weight * plain)
    model = guided(plain_weight=0.0)
    _, weighted = model.reweighted(clips(SHAPES))
    read = model.head(model.networks["video"].read(weighted))
    torch.testing.assert_close(model.loss(clips(SHAPES), LABELS)["loss"], functional.cross_entropy(read, LABELS))


def test_a_trained_guide_hands_its_network_over_and_a_frozen_one_stays():
    torch.manual_seed(0)
    for frozen in (False, True):
        model = build("guidance", shapes(), CLASSES, {**ROLES, "guide_frozen": frozen, **SMALL})
        model.teachers["ears"] = made("audio_only", seed=7).requires_grad_(False)
        model.initialise_from_teachers()
        known = model.teachers["ears"].networks["audio"].state_dict()
        for name, values in model.guide_network.state_dict().items():
            assert torch.equal(values, known[name])
        model.loss(clips(), LABELS)["loss"].backward()
        for values in model.guide_network.parameters():
            assert values.requires_grad != frozen
            assert (values.grad is None) == frozen
        assert all(values.grad is not None for values in model.attention.parameters())


@pytest.mark.parametrize(
    ("options", "teachers", "line"),
    [
        ({"guide_frozen": True}, {}, "a frozen guide has to have learnt before"),
        ({}, {"a": {"name": "video_only"}}, "the teacher 'a' has no network of 'audio' of these sizes"),
        ({}, {"a": {"name": "audio_only", "channels": 3}}, "the teacher 'a' has no network of 'audio' of these"),
        ({}, {"a": {"name": "audio_only"}, "b": {"name": "audio_only"}}, "takes one teacher, for 'audio', not a, b"),
    ],
)
def test_a_teacher_that_does_not_fit_is_one_line(options, teachers, line):
    model = build("guidance", shapes(), CLASSES, {**ROLES, **options, **SMALL})
    model.teachers = {name: made(**given) for name, given in teachers.items()}
    with pytest.raises(UserError, match=line):
        model.initialise_from_teachers()


def test_target_and_guide_are_two_modalities_of_the_study():
    with pytest.raises(UserError, match="target and guide are both 'video'"):
        build("guidance", shapes(), CLASSES, {**ROLES, "guide": "video"})
    with pytest.raises(UserError, match="looks at 'text'"):
        build("guidance", shapes(), CLASSES, {**ROLES, "guide": "text"})
    with pytest.raises(UserError, match="one step of 'video'"):
        build("guidance", {"audio": SHAPES["audio"], "video": {"time": 1, "channel": 24}}, CLASSES, ROLES)


def test_the_stages_learn_with_the_guide_and_evaluate_without_it(tmp_path):
    """The picture tells the label here, the sound nothing."""
    root = _study.make(tmp_path)
    taught = _study.trained(root, "audio_only", [1], epochs=1)
    options = {**_study.SMALL, **SMALL, "guide_frozen": True}
    folder = _study.trained(root, "guidance", [1], {**ROLES, **options}, more=["--teachers", f"ears={taught}"])
    model, teacher = (load_model(path / "1" / "model.pt").model for path in (folder, taught))
    for name, values in model.guide_network.state_dict().items():
        assert torch.equal(values, teacher.networks["audio"].state_dict()[name])
    predictions = _study.evaluated(root, folder, [1])
    full = predictions[predictions.condition == "full"]
    assert set(predictions.coalition) == {"", "video"}
    assert (full.predicted == full.label).mean() > 0.7


@pytest.mark.parametrize("frozen", [False, True])
def test_several_seeds_are_stacked_normalisation_included(frozen):
    models = []
    for seed in range(2):
        torch.manual_seed(seed)
        model = build("guidance", shapes(), CLASSES, {**ROLES, "guide_frozen": frozen, **SMALL})
        model.teachers["ears"] = made("audio_only", seed=seed)
        model.initialise_from_teachers()
        models.append(model)
    assert can_be_stacked(models, clips(), LABELS)


# At the paper's size: an image encoder's last map 2048 x 7 x 7 and 121 tokens of 768 numbers


FULL = {"image": {"height": 7, "width": 7, "channel": 2048}, "text": {"token": 121, "channel": 768}}
PAPERS = {"square": True, "step_size": 0, "sequence_size": 0, "hidden": [], "plain_weight": 0.0}


@pytest.fixture(scope="module")
def full():
    torch.manual_seed(0)
    return build("guidance", FULL, 2, {"target": "image", "guide": "text", **PAPERS})


def batch(count=2):
    draw = torch.Generator().manual_seed(0)
    return {name: torch.randn(count, *shape.values(), generator=draw) for name, shape in FULL.items()}


def test_at_full_size_tokens_are_a_square_of_11_and_the_fusion_has_1024_channels(full):
    given = batch()
    positions = full.networks["image"].positions(given["image"])
    shown = full.guide_network.positions(given["text"])
    with torch.no_grad():
        attention = full.attention(positions, shown)
    assert full.attention.grid == (11, 11)
    assert attention.shape == (2, 121, 121)
    torch.testing.assert_close(attention.sum(2), torch.ones(2, 121))
    convolutions = [layer for layer in full.attention.convolutions if isinstance(layer, torch.nn.Conv2d)]
    assert [one.in_channels for one in convolutions] == [2048 + 768, 256, 512]
    assert convolutions[-1].out_channels == 1024
    kinds = [type(layer).__name__ for layer in full.attention.convolutions]
    assert kinds == ["Conv2d", "ReLU", "BatchNorm2d"] * 3


def test_at_full_size_every_parameter_learns_and_their_number_follows_from_the_papers_sizes(full):
    terms = full.train().loss(batch(4), torch.tensor([0, 1, 0, 1]))
    gradients = torch.autograd.grad(terms["loss"], list(full.parameters()))
    assert all(one.isfinite().all() and one.any() for one in gradients)
    sizes = [2048 + 768, 256, 512, 1024]
    fusion = sum(9 * before * after + 3 * after for before, after in pairwise(sizes))
    queries_and_keys = 2 * 1024 * 64
    assert sum(values.numel() for values in full.attention.parameters()) == fusion + queries_and_keys
    assert sum(values.numel() for values in full.head.parameters()) == 2048 * 2 + 2
    assert sum(values.numel() for values in full.parameters()) == fusion + queries_and_keys + 2048 * 2 + 2


def test_a_token_stands_beside_the_part_of_the_picture_that_covers_its_cell():
    """A map of 11 x 11 needs no bringing to the grid: cell by cell, row after row."""
    shapes = {"image": {"height": 11, "width": 11, "channel": 3}, "text": {"token": 121, "channel": 2}}
    model = build("guidance", shapes, 2, {"target": "image", "guide": "text", **PAPERS, **SMALL})
    rows = torch.randn(1, 11, 11, 3)
    assert torch.equal(model.attention.on_grid(model.networks["image"].positions(rows)), rows.flatten(1, 2))
    wider = build("guidance", {**shapes, "image": {"height": 22, "width": 22, "channel": 3}}, 2, model.options)
    large = torch.randn(1, 22, 22, 3)
    cells = functional.avg_pool2d(large.movedim(-1, 1), 2).flatten(2).transpose(1, 2)
    found = wider.attention.on_grid(wider.networks["image"].positions(large))
    torch.testing.assert_close(found, cells)


def test_at_full_size_inference_is_the_image_path_alone(full):
    """The pooled map through one layer: as late fusion of the image alone, parameter by parameter."""
    torch.manual_seed(0)
    plain = build("late_fusion", {"image": FULL["image"]}, 2, {"step_size": 0, "sequence_size": 0, "hidden": []})
    given = {"image": batch()["image"]}
    assert {name: values.shape for name, values in of_target(full).items()} == {
        name: values.shape for name, values in plain.named_parameters()
    }
    assert torch.equal(full.eval()(given), plain.eval()(given))


def test_the_reweighted_picture_alone_is_what_is_learnt_from(full):
    terms = full.train().loss(batch(), torch.tensor([0, 1]))
    assert torch.equal(terms["loss"], terms["loss_guided"])


# Vasu et al. 2022, MobileOne, table 9: millions of parameters as it is used, with the layer of 1,000 classes.
MOBILEONE = {"s0": 2.1, "s1": 4.8, "s2": 7.8, "s3": 10.1, "s4": 14.8}


def mobileone(size):
    options = {"library": "timm", "model": f"mobileone_{size}", "weights": "untrained", "pool": "none"}
    return Learnt("image_network", options, None)


@pytest.mark.slow
@pytest.mark.parametrize("size", MOBILEONE)
def test_mobileone_has_its_paper_s_parameters(size):
    model_utils = pytest.importorskip("timm.utils.model")
    network = model_utils.reparameterize_model(mobileone(size).load(torch.device("cpu")).network())
    channels = network(torch.zeros(1, 224, 224, 3, dtype=torch.uint8)).shape[-1]
    counted = sum(values.numel() for values in network.parameters()) + 1000 * channels + 1000
    assert counted / 1e6 == pytest.approx(MOBILEONE[size], abs=0.06)


@pytest.mark.slow
def test_at_full_size_all_of_the_image_encoder_learns_from_pixels_what_the_text_guides_to():
    """And answers without the text as the same encoder and head that learn alone."""
    pytest.importorskip("timm")
    encoder = mobileone("s4")
    given = {"image": torch.randint(0, 256, (2, 224, 224, 3), dtype=torch.uint8), "text": batch()["text"]}
    models = []
    for name, sizes, options in (
        ("guidance", FULL, {"target": "image", "guide": "text", **PAPERS}),
        ("late_fusion", {"image": FULL["image"]}, {"step_size": 0, "sequence_size": 0, "hidden": []}),
    ):
        torch.manual_seed(0)
        models.append(build(name, sizes, 2, options))
        models[-1].learn_through({"image": encoder})
    guided_model, plain = models
    images = {"image": given["image"]}
    assert torch.equal(guided_model.eval()(images), plain.eval()(images))
    guided_model.train().loss(given, torch.tensor([0, 1]))["loss"].backward()
    network = guided_model.normalizers["image"].network
    without = [name for name, values in network.named_parameters() if values.grad is None or not values.grad.any()]
    assert not without


@pytest.mark.parametrize(
    ("shapes", "options", "said"),
    [
        ({**FULL, "text": {"token": 128, "channel": 768}}, {}, "got 7 x 7 and 128"),
        ({**FULL, "image": {"time": 49, "channel": 2048}}, {}, "got 1 x 49 and 121"),
        (FULL, {"sequence_size": 4}, "step_size: expected at least 1, or 0 with sequence_size 0"),
    ],
)
def test_what_is_no_square_is_said(shapes, options, said):
    with pytest.raises(UserError, match=said):
        build("guidance", shapes, 2, {"target": "image", "guide": "text", **PAPERS, **SMALL, **options})
