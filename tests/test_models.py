import pytest
import torch

from modalens import registry
from modalens.cli import UserError
from modalens.models._base import Trained, build, load_model
from modalens.models._networks import Standardiser

SHAPES = {"audio": (16, 40), "video": (3, 24)}
CLASSES = 3
LABELS = torch.arange(16) % CLASSES


def clips(count=16, seed=0):
    draw = torch.Generator().manual_seed(seed)
    return {name: (5 + 3 * torch.randn(count, *shape, generator=draw)).half() for name, shape in SHAPES.items()}


def made(name, shapes=SHAPES, **options):
    torch.manual_seed(0)
    model = build(name, shapes, CLASSES, options)
    model.fit_standardiser({modality: [clips()[modality]] for modality in model.modalities})
    if model.takes_teachers:
        for teacher in ("audio_only", "video_only"):
            model.teachers[teacher] = made(teacher).eval().requires_grad_(False)
    return model


@pytest.fixture(params=registry.names("models"))
def model(request):
    return made(request.param)


def test_logits_have_a_column_per_class_and_the_loss_is_finite(model):
    terms = model.loss(clips(), LABELS)
    assert terms["logits"].shape == (16, CLASSES)
    assert terms["loss"].shape == ()
    assert terms["loss"].isfinite()


def test_every_parameter_gets_a_gradient(model):
    model.loss(clips(), LABELS)["loss"].backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0, name


def test_it_learns_sixteen_clips_by_heart(model):
    optimiser = torch.optim.AdamW(model.parameters(), 3e-3)
    for _ in range(80):
        terms = model.loss(clips(), LABELS)
        optimiser.zero_grad()
        terms["loss"].backward()
        optimiser.step()
    assert torch.equal(terms["logits"].argmax(1), LABELS)


def test_predictions_do_not_depend_on_the_batch(model):
    model.eval()
    whole = model(clips())
    ones = torch.cat([model({name: rows[i : i + 1] for name, rows in clips().items()}) for i in range(16)])
    torch.testing.assert_close(ones, whole, rtol=1e-5, atol=1e-5)


def test_a_saved_model_predicts_exactly_the_same(model, tmp_path):
    statistics = {name: torch.zeros(2) for name in model.modalities}
    Trained(model, ["a", "b", "c"], {"audio": {"mels": 16}}, statistics, statistics).save(tmp_path / "model.pt")
    found = load_model(tmp_path / "model.pt")
    assert found.labels == ["a", "b", "c"]
    assert found.sources == {"audio": {"mels": 16}}
    assert torch.equal(found.model(clips()), model.eval()(clips()))


def test_it_ignores_the_modalities_that_it_does_not_name_and_no_other(model):
    model.eval()
    before = model(clips())
    for name in SHAPES:
        other = clips() | {name: clips(seed=1)[name]}
        assert torch.equal(model(other), before) == (name not in model.modalities)


def test_an_embedding_depends_on_its_own_modality_alone(model):
    together = model.embed(clips())
    for name in model.modalities:
        assert torch.equal(model.embed({name: clips()[name]})[name], together[name])


def test_unimodal_models_differ_from_late_fusion_in_the_first_head_layer_only():
    fusion = {name: value.shape for name, value in made("late_fusion").state_dict().items()}
    audio = {name: value.shape for name, value in made("audio_only").state_dict().items()}
    video = {name: value.shape for name, value in made("video_only").state_dict().items()}
    assert set(audio) | set(video) == set(fusion)
    for alone in (audio, video):
        assert {name for name in alone if alone[name] != fusion[name]} == {"head.0.weight"}
    first = [shapes["head.0.weight"][1] for shapes in (audio, video, fusion)]
    assert first == [512, 400, 912]
    assert sum(name.startswith("head.") and name.endswith("weight") for name in fusion) == 3


def test_late_fusion_concatenates_in_alphabetical_order_whatever_the_order_given():
    model = made("late_fusion")
    embeddings = model.embed(clips())
    turned = dict(reversed(list(embeddings.items())))
    assert torch.equal(model.classify(turned), model.classify(embeddings))
    assert torch.equal(model.classify(turned), model.head(torch.cat([embeddings["audio"], embeddings["video"]], 1)))


def test_late_fusion_takes_a_third_modality():
    shapes = SHAPES | {"text": (5, 12)}
    model = build("late_fusion", shapes, CLASSES, {})
    assert model.modalities == ("audio", "text", "video")
    assert model(clips() | {"text": torch.randn(16, 5, 12)}).shape == (16, CLASSES)


def test_a_modality_that_the_study_lacks_is_named():
    with pytest.raises(UserError, match="looks at 'video'"):
        build("video_only", {"audio": (16, 40)}, CLASSES, {})


def test_a_misspelt_option_is_refused():
    with pytest.raises(UserError, match=r"models\.late_fusion has no option 'droput'; did you mean 'dropout'"):
        build("late_fusion", SHAPES, CLASSES, {"droput": 0.1})


def test_the_distillation_loss_is_cross_entropy_plus_the_weighted_divergences():
    model = made("distillation", temperature=2.0, weights={"audio_only": 0.5}).eval()
    terms = model.loss(clips(), LABELS)
    student = (terms["logits"] / 2).softmax(1)
    wanted = torch.nn.functional.cross_entropy(terms["logits"], LABELS)
    for name, weight in (("audio_only", 0.5), ("video_only", 1.0)):
        teacher = (model.teachers[name](clips()) / 2).softmax(1)
        wanted = wanted + weight * (teacher * (teacher / student).log()).sum(1).mean()
    torch.testing.assert_close(terms["loss"], wanted)


def test_a_student_neither_trains_nor_saves_its_teachers_and_answers_without_them():
    model = made("distillation")
    assert not any("teacher" in name for name in model.state_dict())
    teachers = set(map(id, model.teachers["audio_only"].parameters()))
    assert not teachers & set(map(id, model.parameters()))
    model.teachers = {}
    assert model(clips()).shape == (16, CLASSES)
    with pytest.raises(UserError, match="needs teachers"):
        model.loss(clips(), LABELS)


def test_standardised_training_features_have_mean_zero_and_deviation_one_per_channel():
    values = torch.randn(50, 4, 7) * torch.tensor([1.0, 10.0, 0.1, 3.0]).view(4, 1) + 60
    standardiser = Standardiser((4, 7), 0)
    standardiser.fit(values.split(8))
    found = standardiser(values).movedim(1, -1).flatten(0, -2)
    torch.testing.assert_close(found.mean(0), torch.zeros(4), atol=1e-3, rtol=0)
    torch.testing.assert_close(found.std(0), torch.ones(4), atol=1e-2, rtol=0)


def test_a_channel_that_never_varied_in_training_is_zero_for_any_value():
    values = torch.randn(50, 3)
    values[:, 1] = 7
    standardiser = Standardiser((3,), 0)
    standardiser.fit([values])
    assert (standardiser(torch.randn(5, 3) * 100)[:, 1] == 0).all()


def test_the_training_mean_is_standardised_to_zero():
    model = made("late_fusion")
    for name in model.modalities:
        mean = model.training_mean(name)
        assert mean.shape == (1, *SHAPES[name])
        torch.testing.assert_close(model.standardisers[name](mean), torch.zeros_like(mean), atol=1e-5, rtol=0)
