"""Zero-shot classification: the class of the nearer caption, by cosine, without learning from a clip."""

import _study
import pytest
import torch

from modalens.config.resolve import resolve
from modalens.encoders import Encoder
from modalens.models import build, load_model, zero_shot
from modalens.search import rehearsal
from modalens.utils.errors import UserError
from modalens.utils.files import write_text

VECTORS = {"red": [1.0, 0.0, 0.0], "green": [0.0, 3.0, 4.0], "grass": [0.0, 0.0, 2.0], "long": [1.0] * 4}
CAPTIONS = {"1": "red", "2": "green"}


class Words(Encoder):
    """One known vector a text."""

    input = "texts"
    axes = ("channel",)

    def encode(self, batch):
        return torch.tensor([VECTORS[bytes(row).rstrip(b"\0").decode()] for row in batch.numpy()])


@pytest.fixture(autouse=True)
def words(monkeypatch):
    monkeypatch.setattr(zero_shot, "load_encoder", lambda *given: Words(given[-1]))


def made(captions=CAPTIONS, labels=("1", "2"), shape=None, **options):
    shapes = {"image": shape or {"channel": 3}, "sound": {"channel": 5}}
    model = build("zero_shot", shapes, len(labels), {"target": "image", "captions": captions, **options})
    model.name_classes(labels)
    return model.eval()


def test_logits_are_a_hundred_cosines_with_the_captions_whatever_the_lengths():
    features = {"image": torch.tensor([[5.0, 0.0, 0.0], [0.0, 0.03, 0.04], [1.0, 0.0, 1.0]]), "sound": torch.ones(3, 5)}
    wanted = torch.tensor([[100.0, 0.0], [0.0, 100.0], [100 * 0.5**0.5, 80 * 0.5**0.5]])
    torch.testing.assert_close(made()(features), wanted)


def test_captions_are_told_apart_by_the_name_of_their_class_not_by_their_order():
    features = {"image": torch.randn(4, 3)}
    turned = made(dict(reversed(CAPTIONS.items())))
    assert torch.equal(turned(features), made()(features))
    assert torch.equal(made(labels=("2", "1"))(features), made()(features).flip(1))


def test_several_captions_of_a_class_are_the_mean_of_their_unit_vectors():
    found = made({"1": "red", "2": ["green", "grass"]}).head.weight[1]
    mean = torch.tensor([0.0, 0.6, 0.8]) + torch.tensor([0.0, 0.0, 1.0])
    torch.testing.assert_close(found, mean / mean.norm())


def test_of_frames_the_mean_is_compared():
    frames = torch.randn(2, 4, 3)
    model = made(shape={"time": 4, "channel": 3})
    torch.testing.assert_close(model({"image": frames}), made()({"image": frames.mean(1)}))


@pytest.mark.parametrize(
    ("captions", "said"),
    [
        ({"1": "red"}, "captions: '2': no caption"),
        ({**CAPTIONS, "3": "red"}, "captions: '3': no such class"),
        ({"1": "red", "2": "long"}, "expected an encoder of 3 numbers, as 'image' has, got 4"),
        ({"1": "red", "2": []}, "captions: '2': expected a text or a list of texts"),
        ({"1": "red", "2": " "}, "captions: '2': expected a text or a list of texts"),
    ],
)
def test_captions_that_do_not_fit_are_one_line(captions, said):
    with pytest.raises(UserError, match=said):
        made(captions)


def test_a_misspelt_option_of_the_text_encoder_is_one_line():
    with pytest.raises(UserError, match=r"zero_shot.text: unknown option 'modle'"):
        made(text={"modle": "x"})


def test_a_target_that_is_not_there_is_one_line():
    with pytest.raises(UserError, match="target: no modality 'picture'"):
        made(target="picture")


def test_the_stages_keep_the_captions_in_the_model_file_and_no_clip_changes_them(tmp_path):
    root, size = _study.make(tmp_path), _study.SHAPES["video"]["channel"]
    captions = {name: f"a clip of {name}" for name in _study.LABELS}
    vectors = torch.randn(3, size)
    VECTORS.update(zip(captions.values(), vectors.tolist(), strict=True))
    folder = _study.trained(root, "zero_shot", [0, 1], {"target": "video", "captions": captions})
    for seed in (0, 1):
        weight = load_model(folder / str(seed) / "model.pt").model.head.weight.data
        torch.testing.assert_close(weight, torch.nn.functional.normalize(vectors), atol=1e-3, rtol=0)
    assert set(_study.evaluated(root, folder).coalition) == {"", "video"}


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"captions": {"no": 1, "yes": 2}}, "captions: 'no': expected a text or a list of texts, got 1"),
        ({"captions": ["a", "b"]}, "captions: expected {class: a text, or a list of texts}, got ['a', 'b']"),
        ({"captions": {"no": "", "yes": []}}, "captions: 'no': expected a text or a list of texts, got ''"),
        ({"captions": {}}, "captions: expected {class: a text"),
        ({"captions": {"no": "a", "yse": "b"}}, "captions: 'yes': no caption (task seen); did you mean 'yse'?"),
        ({"captions": {"no": "a", "yes": "b", "maybe": "c"}}, "captions: 'maybe': no such class (task seen)"),
        ({"target": "titel"}, "target: no modality 'titel'; did you mean 'title'?"),
        ({"scale": 0}, "scale: expected a number above 0, got 0"),
    ],
)
def test_options_that_cannot_be_are_told_before_anything_runs_under_the_model_s_name_in_the_config(options, said):
    """Also where nobody knows yet how many numbers the target's encoder gives."""
    told = {"target": "title", "captions": {"no": "a", "yes": "b"}} | options
    config = {
        "name": "s",
        "dataset": {"name": "folder", "csv": "list.csv"},
        "tasks": ["seen"],
        "modalities": {"title": {"kind": "text", "encoder": "term_counts"}},
        "models": {"nearest": {"model": "zero_shot", "options": told}},
    }
    (line,) = rehearsal.problems(resolve(config), {"seen": ["no", "yes"]})
    assert line.startswith(f"config: models.nearest.options.{said}")


def test_a_scale_without_end_is_refused_where_no_config_has_been_looked_at():
    with pytest.raises(UserError, match=r"zero_shot\.scale: expected a number above 0, got inf"):
        zero_shot.ZeroShot.check(["title"], {}, target="title", captions={"no": "a"}, scale=float("inf"))


def test_captions_of_every_task_s_classes_have_no_problem_and_the_workflow_reads_these_from_the_manifest(tmp_path):
    config = {"tasks": ["seen", "amount"], "targets": {"amount": "regression"}}
    for task in config["tasks"]:
        write_text(tmp_path / "labels" / f"{task}.csv", "clip_id,label\na,yes\nb,NA\nc,yes\n")
    assert rehearsal._classes(config, tmp_path) == {"seen": ["NA", "yes"]}
    captions = {"NA": "a", "yes": ["b", "c"]}
    zero_shot.ZeroShot.check(["image"], {"seen": ["NA", "yes"]}, target="image", captions=captions)
