import math

import _study
import pytest
import torch
from _members import CLASSES, LABELS, PAIR, SHAPES, clips, made, shapes
from torch.nn import functional

from modalens.models import build, load_model
from modalens.models._residuals import AttentionBRFF, DecisionWeights, Residual
from modalens.models._sequences import Attention, FrequencyMask, averaging, encoders, waves
from modalens.training.ensemble import can_be_stacked
from modalens.utils.errors import UserError

D = 8
STEPS = {"width": D, "layers": 1, "heads": 2}
KINDS = ["transformer", "joint_transformer", "balance_mla"]


def small(name, modalities=PAIR, seed=0, **options):
    return made(name, modalities, seed, **STEPS, **options)


def pretrained(name, seed=0, modalities=PAIR, **options):
    """Of two transformers of one modality, in evaluation mode."""
    torch.manual_seed(seed)
    model = build(name, shapes(modalities), CLASSES, {**STEPS, **options})
    model.fit_normalizer({modality: [rows] for modality, rows in clips(modalities).items()})
    hidden = {"hidden": options["hidden"]} if "hidden" in options else {}
    model.teachers = {f"{m}_transformer": small("transformer", (m,), 10, **hidden).eval() for m in PAIR}
    model.initialise_from_teachers()
    return model.eval()


# Sequences


def test_spans_of_a_sequence_are_the_means_of_what_they_cover():
    assert torch.equal(averaging(4, 4), torch.eye(4))
    assert torch.equal(averaging(4, 2), torch.tensor([[0.5, 0.5, 0, 0], [0, 0, 0.5, 0.5]]))
    torch.testing.assert_close(averaging(3, 2), torch.tensor([[2, 1, 0], [0, 1, 2]]) / 3)
    assert torch.equal(averaging(2, 4), torch.tensor([[1.0, 0], [1, 0], [0, 1], [0, 1]]))
    torch.testing.assert_close(averaging(101, 7).sum(1), torch.ones(7))


def test_lengths_are_the_steps_that_a_modality_has_from_there_on():
    model = small("balance_mla", lengths={"audio": 6})
    assert {name: rows.shape for name, rows in model.embed(clips()).items()} == {
        "audio": (16, 6, D),
        "video": (16, 3, D),
    }
    assert small("balance_mla").embed(clips())["audio"].shape == (16, 40, D)
    assert encoders({"audio": {"mel": 4, "time": 1001}}, **COMMON).popitem()[1].places.shape == (128, D)


def test_a_shorter_sequence_is_made_of_all_its_steps():
    model = small("transformer", ("audio",), lengths={"audio": 20}).eval()
    sound = clips()["audio"].float()
    swapped = sound.unflatten(2, (20, 2)).flip(3).flatten(2)
    torch.testing.assert_close(model({"audio": swapped}), model({"audio": sound}))
    sound[:, :, -1] += 3
    assert not torch.allclose(model({"audio": swapped}), model({"audio": sound}))


COMMON = {"width": D, "layers": 1, "heads": 2, "dropout": 0.0, "lengths": None, "mask": None}


def test_a_wave_of_positions_tells_every_step_from_every_other():
    places = waves(100, D)
    torch.testing.assert_close(places[:, 1], torch.arange(100.0).cos())
    assert torch.cdist(places, places).fill_diagonal_(1).min() > 0.05


@pytest.mark.usefixtures("float64")
def test_attention_of_equal_scores_is_the_mean_and_of_one_head_the_formula():
    values = torch.randn(2, 5, D)
    layer = Attention(D, 1, 0.0)
    query, key, content = layer.projections(values).chunk(3, 2)
    wanted = functional.scaled_dot_product_attention(query, key, content)
    torch.testing.assert_close(layer(values), layer.output(wanted))
    with torch.no_grad():
        layer.projections.weight[:D] = 0
    torch.testing.assert_close(layer(values), layer.output(content.mean(1, keepdim=True)).expand(2, 5, D))


def test_an_encoder_sees_the_order_of_the_steps():
    model = small("transformer", ("video",)).eval()
    turned = {"video": clips()["video"].flip(1)}
    assert not torch.allclose(model(turned), model(clips()))


@pytest.mark.usefixtures("float64")
def test_attention_heads_equal_torchs_own_layer():
    """The same layer by torch, without our bias-free projections' missing biases."""
    ours = Attention(D, 2, 0.0)
    theirs = torch.nn.MultiheadAttention(D, 2, batch_first=True)
    with torch.no_grad():
        theirs.in_proj_weight.copy_(ours.projections.weight)
        theirs.in_proj_bias.zero_()
        theirs.out_proj.weight.copy_(ours.output.weight)
        theirs.out_proj.bias.copy_(ours.output.bias)
    values = torch.randn(2, 5, D)
    torch.testing.assert_close(ours(values), theirs(values, values, values)[0])


# Masks


def test_a_mask_hides_its_share_of_neighbouring_channels():
    mask = FrequencyMask(10, 0.3)
    for _ in range(20):
        hidden = (mask(torch.ones(4, 5, 10)) == 0).float()
        assert (hidden.sum(2) == 3).all()
        assert torch.equal(hidden, hidden[:, :1].expand_as(hidden)), "the same at every step"
        assert (hidden.diff(dim=2).abs().sum(2) <= 2).all(), "one band"
    begins = {int((mask(torch.ones(1, 1, 10)) == 0).float().argmax()) for _ in range(300)}
    assert begins == set(range(8))


def test_a_mask_is_the_middle_band_in_evaluation():
    hidden = FrequencyMask(10, 0.4).eval()(torch.ones(2, 1, 10)) == 0
    assert hidden[0, 0].nonzero().flatten().tolist() == [3, 4, 5, 6]


@pytest.mark.parametrize("name", KINDS)
def test_a_masked_model_does_not_see_the_hidden_mels_and_sees_the_others(name):
    model = small(name, mask={"audio": 0.5}).eval()
    before = model(clips())
    assert torch.equal(before, model(clips()))
    for rows, same in ((slice(4, 12), True), (slice(0, 4), False), (slice(12, 16), False)):
        other = {**clips(), "audio": clips()["audio"].clone()}
        other["audio"][:, rows] += 3
        assert torch.equal(model(other), before) == same


# AttentionBRFF


@pytest.mark.usefixtures("float64")
def test_a_residual_without_weights_is_the_mean_of_the_auxiliary_sequence():
    residual = Residual(D)
    with torch.no_grad():
        residual.weight.zero_()
    basic, auxiliary = torch.randn(2, 5, D), torch.randn(2, 7, D)
    torch.testing.assert_close(residual(basic, auxiliary), auxiliary.mean(1, keepdim=True).expand(2, 5, D))


@pytest.mark.usefixtures("float64")
def test_a_residual_is_the_papers_sum():
    residual, basic, auxiliary = Residual(D), torch.randn(1, 3, D), torch.randn(1, 4, D)
    found = residual(basic, auxiliary)
    for j in range(3):
        scores = [(auxiliary[0, i] @ residual.weight @ basic[0, j]).item() for i in range(4)]
        beta = [math.exp(score) / sum(map(math.exp, scores)) for score in scores]
        torch.testing.assert_close(found[0, j], sum(beta[i] * auxiliary[0, i] for i in range(4)))


def test_a_branch_has_the_shape_of_its_basic_sequence():
    given = {"audio": torch.randn(2, 5, D), "text": torch.randn(2, 1, D), "video": torch.randn(2, 7, D)}
    for basic in given:
        others = [name for name in given if name != basic]
        branch = AttentionBRFF(basic, others, D, 3, 0.1)
        assert len(branch.layers) == 3
        assert branch(given).shape == given[basic].shape
        for name in given:
            turned = {**given, name: given[name] + torch.randn_like(given[name])}
            assert not torch.allclose(branch.eval()(turned), branch(given))


# Decisions


@pytest.mark.parametrize("classes", [1, CLASSES])
@pytest.mark.usefixtures("float64")
def test_the_weights_of_a_class_add_up_to_one_over_the_branches_and_begin_equal(classes):
    weights, means = DecisionWeights(3, D, classes), torch.randn(4, 3 * D)
    assert torch.equal(weights(means), torch.full((4, 3, classes), 1 / 3))
    torch.nn.init.normal_(weights.linear.weight)
    assert weights(means).shape == (4, 3, classes)
    torch.testing.assert_close(weights(means).sum(1), torch.ones(4, classes))


@pytest.mark.usefixtures("float64")
def test_category_weights_that_are_the_same_for_all_classes_are_decision_weights():
    means = torch.randn(4, 2 * D)
    decision, category = DecisionWeights(2, D, 1), DecisionWeights(2, D, CLASSES)
    torch.nn.init.normal_(decision.linear.weight)
    torch.nn.init.normal_(decision.linear.bias)
    with torch.no_grad():
        category.linear.weight.copy_(decision.linear.weight.repeat_interleave(CLASSES, 0))
        category.linear.bias.copy_(decision.linear.bias.repeat_interleave(CLASSES, 0))
    torch.testing.assert_close(category(means), decision(means).expand(4, 2, CLASSES))


@pytest.mark.usefixtures("float64")
def test_the_result_is_the_weighted_sum_of_the_branches_answers():
    model = small("balance_mla").eval()
    torch.nn.init.normal_(model.weights.linear.weight)
    embeddings = model.embed(clips())
    means = {name: rows.mean(1) for name, rows in model.branches(embeddings).items()}
    alpha = model.weigh([means["audio"], means["video"]])[:, 0]
    results = {name: model.head[name](mean) for name, mean in means.items()}
    wanted = alpha * results["audio"] + (1 - alpha) * results["video"]
    assert alpha.shape == (16, CLASSES)
    torch.testing.assert_close(model.classify(embeddings), wanted)


# Going on from unimodal models


@pytest.mark.parametrize("decision", ["average", "adaptive", "category"])
@pytest.mark.usefixtures("float64")
def test_without_residuals_it_begins_as_the_average_of_its_teachers_answers(decision):
    model = pretrained("balance_mla", residual="none", decision=decision, hidden=[6])
    answers = [teacher(clips()) for teacher in model.teachers.values()]
    torch.testing.assert_close(model(clips()), sum(answers) / 2)


@pytest.mark.parametrize("name", ["balance_mla", "transformer"])
def test_it_begins_with_its_teachers_embeddings(name):
    model = pretrained(name, modalities=tuple(SHAPES))
    for teacher in model.teachers.values():
        (modality,) = teacher.modalities
        found = model.embed(clips())[modality]
        assert torch.equal(found if name == "transformer" else found.mean(1), teacher.embed(clips())[modality])
    started = build(name, shapes(), CLASSES, STEPS)
    assert not torch.equal(started.networks["audio"].projection.weight, model.networks["audio"].projection.weight)


def test_the_unimodal_heads_read_a_branch_as_the_teachers_left_them():
    model = pretrained("balance_mla", hidden=[6])
    for teacher in model.teachers.values():
        (modality,) = teacher.modalities
        for name, values in teacher.head.state_dict().items():
            assert torch.equal(model.head[modality].state_dict()[name], values)
    assert pretrained("balance_mla", residual="audio").head.keys() == {"audio"}


def test_a_balanced_model_of_one_modality_is_its_transformer():
    model = small("balance_mla", ("video",), seed=1).eval()
    plain = small("transformer", ("video",), seed=1).eval()
    assert torch.equal(model(clips()), plain(clips()))


def test_an_audio_centric_model_has_the_audio_branch_alone_and_the_picture_adds_to_it():
    model, whole = small("balance_mla", residual="audio").eval(), small("balance_mla")
    assert set(model.fusion) == {"audio"}
    assert model.weights is None
    other = clips() | {"video": clips(seed=1)["video"]}
    assert not torch.allclose(model(other), model(clips()))
    kept = {name for name, _ in whole.named_parameters()} - {name for name, _ in model.named_parameters()}
    assert {name.split(".")[0] for name in kept} == {"fusion", "head", "weights"}


@pytest.mark.parametrize(
    ("teacher", "line"),
    [
        ({"name": "video_only"}, "the teacher 'x' has width no transformer's, not 8"),
        ({"name": "transformer", **STEPS}, "the teacher 'x' looks at audio, video"),
        ({"name": "transformer", **STEPS, "heads": 4, "modalities": ("audio",)}, "the teacher 'x' has heads 4, not 2"),
        (
            {"name": "transformer", **STEPS, "hidden": [4], "modalities": ("audio",)},
            r"the teacher 'x' has hidden \[4\], not \[\]",
        ),
    ],
)
def test_a_teacher_that_does_not_fit_is_one_line(teacher, line):
    model = build("balance_mla", shapes(), CLASSES, STEPS)
    model.teachers = {"x": made(**teacher)}
    with pytest.raises(UserError, match=line):
        model.initialise_from_teachers()


def test_the_train_stage_begins_each_seed_from_its_own_teachers(tmp_path):
    root = _study.make(tmp_path)
    folders = [
        _study.trained(root, "transformer", [0, 1], STEPS, f"train_{name}", modalities=[name], epochs=1)
        for name in PAIR
    ]
    teachers = ["--teachers", *(f"{name}={folder}" for name, folder in zip(PAIR, folders, strict=True))]
    # At this rate nothing is learnt: what it ends with is what it began with.
    folder = _study.trained(
        root, "balance_mla", [0, 1], STEPS, more=teachers, epochs=1, learning_rate=1e-12, weight_decay=0.0
    )
    for seed in (0, 1):
        found = load_model(folder / str(seed) / "model.pt").model
        for name, taught in zip(PAIR, folders, strict=True):
            teacher = load_model(taught / str(seed) / "model.pt").model
            torch.testing.assert_close(found.networks[name].state_dict(), teacher.networks[name].state_dict())
            torch.testing.assert_close(found.head[name].state_dict(), teacher.head.state_dict())


# Joint


def test_a_modalitys_share_of_the_joint_mean_is_its_share_of_the_steps():
    """Without layers that mix, twice the length is twice the weight."""
    model = small("joint_transformer", lengths={"audio": 6, "video": 3})
    model.fusion.layers, model.fusion.norm = torch.nn.Identity(), torch.nn.Identity()
    torch.nn.init.zeros_(model.fusion.embeddings)
    joined = model.fusion({"audio": torch.ones(1, 6, D), "video": torch.zeros(1, 3, D)})
    torch.testing.assert_close(joined, torch.full((1, D), 2 / 3))


def test_steps_of_one_modality_attend_to_those_of_another():
    model = small("joint_transformer").eval()
    embeddings = model.embed(clips())
    layers = model.fusion.layers
    given = torch.cat([embeddings["audio"], embeddings["video"]], 1)
    other = torch.cat([embeddings["audio"], embeddings["video"].flip(0)], 1)
    assert not torch.allclose(layers(given)[:, :40], layers(other)[:, :40])


# Options


@pytest.mark.parametrize(
    ("name", "options", "line"),
    [
        ("transformer", {"heads": 3}, "a width of 8 is not divided by 3 heads"),
        ("joint_transformer", {"lengths": {"sound": 3}}, "lengths: expected modalities of audio, video, got 'sound'"),
        ("balance_mla", {"lengths": {"audio": 0}}, "lengths: expected at least 1 step, got 0"),
        ("balance_mla", {"mask": {"audio": 1.5}}, "mask: expected a share from 0 to below 1, got 1.5"),
        ("balance_mla", {"residual": "text"}, "residual: expected one of all, none, audio, video, got 'text'"),
        ("balance_mla", {"decision": "vote"}, "decision: expected one of average, adaptive, category, got 'vote'"),
    ],
)
def test_an_option_that_cannot_be_is_one_line(name, options, line):
    with pytest.raises(UserError, match=line):
        build(name, shapes(), CLASSES, {**STEPS, **options})


def test_vectors_and_grids_are_laid_out_as_sequences():
    given = {"table": {"channel": 24}, "picture": {"height": 2, "width": 3, "channel": 5}}
    model = build("transformer", given, CLASSES, STEPS).eval()
    features = {"table": torch.randn(4, 24), "picture": torch.randn(4, 2, 3, 5)}
    assert model(features).shape == (4, CLASSES)
    assert {name: network.places.shape[0] for name, network in model.networks.items()} == {"table": 1, "picture": 6}


@pytest.mark.parametrize("name", KINDS)
def test_several_seeds_are_stacked_dropout_and_masks_included(name):
    models = [small(name, seed=seed, mask={"audio": 0.5}, lengths={"audio": 5}) for seed in range(2)]
    assert can_be_stacked(models, clips(), LABELS)
