"""The front end of lip reading, on mouths and on sound: what the BalanceMLA paper states of it, with drawn numbers."""

import pytest
import torch
import torchvision
from torch import nn

from modalens.encoders import load_encoder
from modalens.encoders._front_end import FrontEnd
from modalens.models import Learnt, build
from modalens.models._through import Through, layers_of
from modalens.plugins import registry
from modalens.plugins.options import resolve
from modalens.utils.errors import UserError

CPU = torch.device("cpu")
SMALL = {"network": "resnet18", "recurrent_layers": 1, "units": 8, "precision": "float32"}


def frames(*shape):
    return torch.randint(0, 256, (*shape, 3), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)


def waveforms(*shape):
    return torch.randint(-9000, 9000, shape, generator=torch.Generator().manual_seed(0), dtype=torch.int16)


GIVEN = {"lip_network": frames(2, 5, 24, 24), "cube_network": waveforms(2, 1600)}


def test_at_the_papers_size_it_has_the_kernels_layers_units_and_parameters_that_the_paper_states():
    """64 kernels of 5 x 7 x 7; ResNet-34 without its first and last layers; two layers of 1024 in each direction."""
    with torch.device("meta"):
        network = FrontEnd()
        resnet = torchvision.models.resnet34(weights=None)
    counts = {name: sum(one.numel() for one in part.parameters()) for name, part in network.named_children()}
    cut = sum(one.numel() for part in (resnet.conv1, resnet.bn1, resnet.fc) for one in part.parameters())
    gates = [2 * 3 * 1024 * (size + 1024 + 2) for size in (512, 2048)]
    assert tuple(network.convolution.weight.shape) == (64, 1, 5, 7, 7)
    assert sum(isinstance(one, nn.Conv2d) and one.kernel_size == (3, 3) for one in network.modules()) == 34 - 2
    assert (network.gru.num_layers, network.gru.hidden_size, network.gru.bidirectional) == (2, 1024, True)
    assert counts == {
        "convolution": 64 * 5 * 7 * 7,
        "norm": 2 * 64,
        "layers": sum(one.numel() for one in resnet.parameters()) - cut,
        "gru": sum(gates),
    }
    assert sum(counts.values()) == 49_627_072


@pytest.mark.slow
def test_at_the_papers_size_mouths_of_80_x_80_become_a_step_a_frame_and_every_parameter_gets_a_gradient():
    network = load_encoder("lip_network", {"precision": "float32"}, CPU).network().requires_grad_(True).train()
    found = network(frames(2, 29, 80, 80))
    assert found.shape == (2, 29, 2048)
    gradients = torch.autograd.grad(found.square().sum(), list(network.parameters()))
    assert all(one.isfinite().all() and one.abs().sum() > 0 for one in gradients)


def test_a_step_of_sound_is_a_picture_of_its_bands_and_their_first_and_second_differences():
    encoder = load_encoder("cube_network", SMALL, CPU)
    cube = encoder.prepared()(waveforms(2, 1600))
    rows = load_encoder("log_mel", {"differences": 2}, CPU).encode(waveforms(2, 1600)).float()
    assert cube.shape == (2, 11, 64, 3)
    torch.testing.assert_close(cube, rows.unflatten(1, (3, 64)).permute(0, 3, 2, 1), atol=5e-3, rtol=1e-3)


@pytest.mark.parametrize(("name", "steps"), [("lip_network", 5), ("cube_network", 11)])
def test_without_recurrent_layers_a_step_is_the_512_numbers_of_the_residual_network(name, steps):
    found = load_encoder(name, SMALL | {"recurrent_layers": 0}, CPU).encode(GIVEN[name])
    assert (found.shape, found.dtype) == ((2, steps, 512), torch.float16)


def test_the_convolution_sees_two_frames_to_each_side_and_the_gru_all():
    rows = frames(1, 9, 24, 24)
    changed = rows.clone()
    changed[:, 8] = 0
    for recurrent, reached in ((0, 6), (1, 0)):
        encoder = load_encoder("lip_network", SMALL | {"recurrent_layers": recurrent}, CPU)
        differs = (encoder.encode(rows) != encoder.encode(changed)).any(2)[0]
        assert not differs[:reached].any()
        assert differs[reached:].all()


def test_mouths_are_grey_by_their_luma():
    red = torch.zeros(1, 1, 24, 24, 3, dtype=torch.uint8)
    red[..., 0] = 255
    encoder = load_encoder("lip_network", SMALL, CPU)
    assert encoder.prepared()(red)[0, 0, 0, 0].item() == pytest.approx(2 * 0.299 - 1)
    assert encoder.prepared()(torch.full_like(red, 255)).mean().item() == pytest.approx(1)


@pytest.mark.parametrize("name", sorted(GIVEN))
def test_what_is_learnt_through_begins_as_what_features_are_cached_by(name):
    encoder = load_encoder(name, SMALL, CPU)
    cached = encoder.encode(GIVEN[name]).float()
    shape = dict(zip(encoder.axes, cached.shape[1:], strict=True))
    through = Through(shape, Learnt(name, SMALL, None)).eval()
    torch.testing.assert_close(through.features(GIVEN[name]), cached, atol=2e-3, rtol=2e-3)
    found = through.train()(GIVEN[name])
    gradients = torch.autograd.grad(found.square().sum(), list(through.network.parameters()))
    assert all(one.abs().sum() > 0 for one in gradients)


def test_the_last_layers_are_the_gru_and_then_the_blocks_of_the_residual_network():
    units = layers_of(load_encoder("lip_network", SMALL, CPU).network())
    assert [type(one).__name__ for one in units] == ["Conv3d", "BatchNorm3d", *["BasicBlock"] * 8, "GRU"]


@pytest.mark.parametrize(
    ("options", "line"),
    [
        ({"network": "vgg11"}, "options.network: expected resnet18 or resnet34, got 'vgg11'"),
        ({"recurrent_layers": -1}, "options.recurrent_layers: expected at least 0, got -1"),
        ({"units": 0}, "options.units: expected at least 1, got 0"),
        ({"weights": "pretrained"}, "options.weights: expected untrained or a file, got 'pretrained'"),
    ],
)
def test_what_cannot_be_is_one_line(options, line):
    with pytest.raises(UserError, match=f"encoder lip_network: {line}"):
        load_encoder("lip_network", options, CPU)


def test_what_cannot_be_is_said_before_anything_runs():
    for encoder, options in (
        ("lip_network", {"units": 0}),
        ("cube_network", {"mels": 0}),
        ("cube_network", {"units": 0}),
    ):
        maker = registry.load("encoders", encoder)
        with pytest.raises(
            UserError, match=f"encoder {encoder}: options.{next(iter(options))}: expected at least 1, got 0"
        ):
            maker.check(**resolve(maker, options, "here"))


def test_a_file_of_weights_is_read_and_other_parameters_are_refused_in_one_line(tmp_path):
    drawn = load_encoder("lip_network", SMALL | {"seed": 1}, CPU)
    torch.save(drawn.network()[1].state_dict(), tmp_path / "own.pth")
    read = load_encoder("lip_network", SMALL | {"weights": str(tmp_path / "own.pth")}, CPU)
    assert torch.equal(read.encode(GIVEN["lip_network"]), drawn.encode(GIVEN["lip_network"]))
    with pytest.raises(UserError, match="does not hold the parameters of resnet18"):
        load_encoder("lip_network", SMALL | {"units": 4, "weights": str(tmp_path / "own.pth")}, CPU)


VIDEO = {"video": {"time": 5, "channel": 16}}
TRANSFORMER = {"width": 8, "layers": 1, "heads": 2}


def through(name, shapes, seed, **options):
    torch.manual_seed(seed)
    model = build(name, shapes, 3, TRANSFORMER | options)
    model.learn_through({"video": Learnt("lip_network", SMALL, None)})
    return model


def test_a_model_that_goes_on_from_a_transformer_goes_on_from_what_that_has_learnt_to_see():
    teacher = through("transformer", VIDEO, 0)
    with torch.no_grad():
        for one in teacher.parameters():
            one.add_(0.01)
    model = through("balance_mla", {"audio": {"time": 4, "channel": 6}, **VIDEO}, 1)
    model.teachers["lips"] = teacher
    model.initialise_from_teachers()
    rows = GIVEN["lip_network"]
    found, wanted = (one.eval().embed({"video": rows})["video"] for one in (model, teacher))
    torch.testing.assert_close(found.mean(1) if found.dim() == 3 else found, wanted)


def test_a_model_that_does_not_learn_the_encoder_of_its_teacher_is_refused_in_one_line():
    model = build("balance_mla", VIDEO, 3, TRANSFORMER)
    model.teachers["lips"] = through("transformer", VIDEO, 0)
    with pytest.raises(UserError, match=r"'lips' has learnt the encoder of video; expected training\.encoders\.video"):
        model.initialise_from_teachers()
    other = build("balance_mla", VIDEO, 3, TRANSFORMER)
    other.learn_through({"video": Learnt("lip_network", SMALL | {"seed": 1}, None)})
    other.teachers = model.teachers
    with pytest.raises(UserError, match="has learnt another encoder of video"):
        other.initialise_from_teachers()


@pytest.mark.slow
def test_balance_mla_at_the_papers_size_answers_500_words_from_mouths_and_hubert_and_every_parameter_gets_a_gradient():
    shapes = {"audio": {"time": 57, "channel": 768}, "video": {"time": 29, "channel": 2048}}
    model = build("balance_mla", shapes, 500, {"width": 512, "layers": 6, "heads": 8, "cross_layers": 3})
    model.learn_through({"video": Learnt("lip_network", {}, None)})
    front_end = sum(one.numel() for one in model.normalizers["video"].parameters())
    assert front_end == 49_627_072
    rows = {"audio": torch.randn(2, 57, 768), "video": frames(2, 29, 80, 80)}
    terms = model.loss(rows, torch.tensor([3, 499]))
    assert terms["logits"].shape == (2, 500)
    gradients = torch.autograd.grad(terms["loss"], list(model.parameters()))
    assert all(one.isfinite().all() and one.abs().sum() > 0 for one in gradients)
