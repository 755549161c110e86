"""Encoders of pictures and clips: each library's own network, state dict, features and normalisation."""

from itertools import pairwise
from types import SimpleNamespace

import pytest
import torch
import torchvision

from modalens.encoders import load_encoder
from modalens.encoders._c3d import C3d
from modalens.encoders._depth import as_pictures
from modalens.encoders._networks import Source, digest
from modalens.encoders._pixels import PixelNetwork
from modalens.encoders._slowfast import SlowFast
from modalens.encoders._torchvision import fold_normalisation
from modalens.plugins import introspection, registry
from modalens.utils.errors import UserError

CPU = torch.device("cpu")
CLOSE = {"rtol": 2e-3, "atol": 5e-3}  # float16, and normalisations folded into convolutions
TINY_CLIP = {
    "embed_dim": 16,
    "vision_cfg": {"image_size": 32, "layers": 1, "width": 32, "patch_size": 16, "head_width": 16},
    "text_cfg": {"context_length": 16, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1},
}


def pixels(*shape):
    return torch.randint(0, 256, (*shape, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def normalised(images, mean, std):
    values = images.float() / 255
    return ((values - torch.tensor(mean)) / torch.tensor(std)).movedim(-1, 1)


def seeded(make):
    torch.manual_seed(7)
    return make().eval()


def torchvision_network(name, head):
    """As torchvision makes it, saved with its last layer; what it gives without that."""
    network = seeded(lambda: torchvision.models.get_model(name, weights=None))
    state = dict(network.state_dict())
    parent = network.get_submodule(head.rpartition(".")[0])
    setattr(parent, head.rpartition(".")[2], torch.nn.Identity())
    return state, network


def timm_network(name):
    timm = pytest.importorskip("timm")
    state = dict(seeded(lambda: timm.create_model(name)).state_dict())
    # MobileOne adds up its branches: untrained, its features leave the range of float16.
    state |= {key: values * 0.3 for key, values in state.items() if key.endswith("bn.weight")}
    network = timm.create_model(name, num_classes=0).eval()
    network.load_state_dict(state, strict=False)
    return state, network


IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
HALF = ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
OWN = {
    ("torchvision", "mobilenet_v3_small"): (
        lambda: torchvision_network("mobilenet_v3_small", "classifier.3"),
        IMAGENET,
    ),
    ("torchvision", "resnet18"): (lambda: torchvision_network("resnet18", "fc"), IMAGENET),
    ("torchvision", "squeezenet1_1"): (lambda: torchvision_network("squeezenet1_1", "classifier.1"), IMAGENET),
    ("timm", "test_resnet"): (lambda: timm_network("test_resnet"), HALF),
    ("timm", "test_vit"): (lambda: timm_network("test_vit"), HALF),
    ("timm", "mobileone_s0"): (lambda: timm_network("mobileone_s0"), IMAGENET),
}


@pytest.mark.parametrize(("library", "model"), OWN, ids=[name for _, name in OWN])
def test_a_picture_network_loads_the_librarys_own_state_dict_and_gives_its_features(library, model, tmp_path):
    (state, network), (mean, std) = OWN[library, model][0](), OWN[library, model][1]
    torch.save(state, tmp_path / "own.pth")
    options = {"library": library, "model": model, "weights": str(tmp_path / "own.pth"), "precision": "float32"}
    images = pixels(2, 160, 160)
    found = load_encoder("image_network", {**options, "side": 160}, CPU)
    with torch.inference_mode():
        wanted = network(normalised(images, mean, std)).flatten(1)
    torch.testing.assert_close(found.encode(images).float(), wanted, **CLOSE)
    assert found.weights.startswith("sha256 ")
    framed = load_encoder("frame_network", {**options, "side": 160}, CPU)
    torch.testing.assert_close(framed.encode(images[None]), found.encode(images)[None], **CLOSE)
    assert (found.axes, framed.axes) == (("channel",), ("time", "channel"))


@pytest.mark.parametrize("name", ["mc3_18", pytest.param("s3d", marks=pytest.mark.slow)])
def test_a_video_network_of_torchvision_loads_its_own_state_dict_and_gives_its_features(name, tmp_path):
    state, network = torchvision_network(name, {"s3d": "classifier.1"}.get(name, "fc"))
    torch.save(state, tmp_path / "own.pth")
    options = {"model": name, "weights": str(tmp_path / "own.pth"), "precision": "float32", "side": 32}
    # S3D's last pooling wants seven places.
    clips = pixels(1, 16, 224, 224) if name == "s3d" else pixels(1, 4, 32, 32)
    found = load_encoder("video_network", {**options, "side": clips.shape[2]}, CPU)
    mean, std = (0.43216, 0.394666, 0.37645), (0.22803, 0.22145, 0.216989)
    with torch.inference_mode():
        wanted = network(normalised(clips, mean, std))
    torch.testing.assert_close(found.encode(clips).float(), wanted, **CLOSE)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["mc3_18", "r2plus1d_18", "mvit_v2_s", "swin3d_t"])
def test_every_family_of_video_networks_gives_a_vector_a_clip(name):
    found = load_encoder("video_network", {"model": name, "weights": "untrained"}, CPU)
    features = found.encode(pixels(1, 16, 64, 64))
    assert features.shape[:1] == (1,)
    assert features.dim() == 2
    assert features.isfinite().all()


def test_slowfast_has_the_shapes_and_as_many_parameters_as_published():
    """The paper's table 1; the model zoo's 34.57 and 62.83 million."""
    with torch.device("meta"):
        networks = {depth: SlowFast(depth) for depth in (50, 101)}
    counts = {depth: sum(values.numel() for values in network.parameters()) for depth, network in networks.items()}
    assert counts == {50: 34_566_488, 101: 62_826_968}
    state = networks[50].state_dict()
    shapes = {
        "blocks.0.multipathway_blocks.0.conv.weight": (64, 3, 1, 7, 7),
        "blocks.0.multipathway_blocks.1.conv.weight": (8, 3, 5, 7, 7),
        "blocks.0.multipathway_fusion.conv_fast_to_slow.weight": (16, 8, 7, 1, 1),
        "blocks.1.multipathway_blocks.0.res_blocks.0.branch1_conv.weight": (256, 80, 1, 1, 1),
        "blocks.3.multipathway_blocks.0.res_blocks.5.branch2.conv_a.weight": (256, 1024, 3, 1, 1),
        "blocks.4.multipathway_blocks.1.res_blocks.2.branch2.conv_c.weight": (256, 64, 1, 1, 1),
        "blocks.6.proj.weight": (400, 2304),
    }
    assert {name: tuple(state[name].shape) for name in shapes} == shapes


def test_slowfasts_slow_pathway_sees_every_fourth_frame_only_through_the_connections():
    network = seeded(lambda: SlowFast(50, width=16, classes=3))
    clips = torch.randn(1, 3, 8, 32, 32)
    for stage in list(network.blocks)[:4]:
        torch.nn.init.zeros_(stage.multipathway_fusion.norm.weight)
    other = clips.clone()
    # linspace(0, 7, 2): the slow pathway sees the first and the last.
    other[:, :, 1:7] += 1
    with torch.inference_mode():
        before, after = network(clips), network(other)
    slow = 16 * 32
    assert before.shape == (1, slow + slow // 8)
    torch.testing.assert_close(before[:, :slow], after[:, :slow])
    assert not torch.allclose(before[:, slow:], after[:, slow:])


def test_c3d_has_the_shapes_and_as_many_parameters_as_the_paper_draws():
    with torch.device("meta"):
        network = C3d()
    shapes = {name: tuple(values.shape) for name, values in network.state_dict().items()}
    assert shapes["conv1.weight"] == (64, 3, 3, 3, 3)
    assert shapes["conv5b.weight"] == (512, 512, 3, 3, 3)
    assert shapes["fc6.weight"] == (4096, 8192)
    assert shapes["fc8.weight"] == (487, 4096)
    channels = (3, 64, 128, 256, 256, 512, 512, 512, 512)
    convolutions = sum((27 * a + 1) * b for a, b in pairwise(channels))
    dense = 8193 * 4096 + 4097 * 4096 + 4097 * 487
    assert sum(values.numel() for values in network.parameters()) == convolutions + dense
    assert network(torch.empty(2, 3, 16, 112, 112, device="meta")).shape == (2, 4096)


def test_the_networks_of_our_own_run_as_encoders_untrained():
    options = {"library": "modalens", "weights": "untrained", "precision": "float32"}
    small = load_encoder("video_network", {**options, "model": "c3d", "arguments": {"width": 8, "classes": 2}}, CPU)
    assert small.encode(pixels(1, 16, 32, 32)).shape == (1, 8)
    given = {**options, "model": "slowfast_r50", "arguments": {"width": 8}, "side": 32}
    assert load_encoder("video_network", given, CPU).encode(pixels(1, 8, 32, 32)).shape == (1, 32 * 8 + 32)


@pytest.mark.parametrize(
    ("model", "frames", "wanted"), [("c3d", 8, "takes 16"), ("slowfast_r50", 6, "a multiple of 4")]
)
def test_a_clip_of_another_number_of_frames_is_one_line(model, frames, wanted):
    arguments = {"width": 8}
    options = {"library": "modalens", "model": model, "weights": "untrained", "arguments": arguments, "side": 32}
    with pytest.raises(UserError, match=rf"{wanted} frames, got {frames}; set decode.count"):
        load_encoder("video_network", options, CPU).encode(pixels(1, frames, 32, 32))


def test_pool_none_keeps_the_last_map_of_a_network_of_timm():
    pytest.importorskip("timm")
    options = {"library": "timm", "model": "test_resnet", "weights": "untrained", "precision": "float32"}
    pooled = load_encoder("image_network", options, CPU)
    kept = load_encoder("image_network", {**options, "pool": "none"}, CPU)
    framed = load_encoder("frame_network", {**options, "pool": "none"}, CPU)
    assert kept.axes == ("height", "width", "channel")
    assert framed.axes == ("time", "height", "width", "channel")
    images = pixels(2, 160, 160)
    maps = kept.encode(images)
    assert maps.shape == (2, 5, 5, 96)
    # Its head averages the places.
    torch.testing.assert_close(maps.float().mean((1, 2)), pooled.encode(images).float(), **CLOSE)
    assert framed.encode(images[None]).shape == (1, 2, 5, 5, 96)


def test_an_image_tower_of_clip_gives_open_clips_own_answer():
    open_clip = pytest.importorskip("open_clip")
    options = {"library": "open_clip", "model": "ViT-B-32", "weights": "untrained", "arguments": TINY_CLIP}
    found = load_encoder("image_network", {**options, "precision": "float32", "seed": 7}, CPU)
    network = seeded(lambda: open_clip.create_model("ViT-B-32", load_weights=False, **TINY_CLIP))
    images = pixels(2, 32, 32)
    seen = open_clip.get_model_preprocess_cfg(network)
    with torch.inference_mode():
        wanted = network.encode_image(normalised(images, seen["mean"], seen["std"]))
    torch.testing.assert_close(found.encode(images).float(), wanted, **CLOSE)
    assert found.options["side"] == 32


def test_pictures_are_scaled_to_the_side_that_the_weights_were_trained_with():
    options = {"model": "squeezenet1_1", "weights": "untrained", "precision": "float32"}
    found = load_encoder("image_network", options, CPU)
    assert found.options["side"] == 224
    flat = torch.full((1, 64, 48, 3), 90, dtype=torch.uint8)
    # A picture of one colour is the same at any size.
    torch.testing.assert_close(found.encode(flat), found.encode(torch.full((1, 224, 224, 3), 90, dtype=torch.uint8)))


def test_a_normalisation_is_folded_only_where_children_run_in_their_order():
    class Backwards(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.convolution = torch.nn.Conv2d(3, 4, 1)
            self.norm = torch.nn.BatchNorm2d(4)

    kept, folded = Backwards(), torch.nn.Sequential(torch.nn.Conv2d(3, 4, 1), torch.nn.BatchNorm2d(4)).eval()
    fold_normalisation(torch.nn.ModuleList([kept, folded]))
    assert isinstance(kept.norm, torch.nn.BatchNorm2d)
    assert isinstance(folded[1], torch.nn.Identity)


def test_recorded_depth_is_bright_where_it_is_near_and_black_where_nothing_was_seen():
    depth = torch.tensor([[[0, 400, 500], [2750, 5000, 9000]]], dtype=torch.uint16)
    shown = as_pictures(depth.float(), near=500, far=5000)
    assert shown[..., 0].tolist() == [[[0.0, 255.0, 255.0], [127.5, 0.0, 0.0]]]
    options = {"model": "squeezenet1_1", "weights": "untrained"}
    found = load_encoder("depth_network", options, CPU)
    assert found.encode(torch.zeros(1, 2, 48, 64, dtype=torch.uint16)).shape == (1, 2, 512)
    with pytest.raises(UserError, match=r"expected 0 <= near < far, got 900\.0 and 800\.0"):
        load_encoder("depth_network", {**options, "near": 900.0, "far": 800.0}, CPU)


def test_an_encoder_of_depth_is_the_one_of_frames_with_two_options_more():
    for name, frames in (("depth_network", "frame_network"), ("depth_video", "video_network")):
        told, of_frames = introspection.options("encoders", name), introspection.options("encoders", frames)
        assert told.keys() == of_frames.keys() | {"near", "far"}
        assert told["batch_size"].default == of_frames["batch_size"].default == 8
        assert introspection.attribute("encoders", name, "input") == "depth"
        assert introspection.attribute("encoders", name, "axes") == introspection.attribute("encoders", frames, "axes")
    assert load_encoder("frame_network", {"model": "squeezenet1_1", "weights": "untrained"}, CPU).batch_size == 8


def test_recorded_depth_is_a_film_for_a_video_network():
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    options = {
        "library": "transformers",
        "model": "timesformer",  # a type of network: untrained, nothing is asked for
        "weights": "untrained",
        "arguments": {"image_size": 32, "num_frames": 4, **sizes},
    }
    found = load_encoder("depth_video", options, CPU)
    depth = torch.randint(0, 6000, (2, 4, 48, 64)).to(torch.uint16)
    same = load_encoder("video_network", options, CPU)
    shown = as_pictures(depth.float(), near=500, far=5000)
    assert torch.equal(found.encode(depth), same.encode(shown))
    assert found.encode(depth).shape == (2, 16)
    with pytest.raises(UserError, match="timesformer takes 4 frames, got 2"):
        found.encode(depth[:, :2])


# Weights


def test_untrained_parameters_are_drawn_from_the_seed_alone():
    before = torch.get_rng_state()
    options = {"model": "squeezenet1_1", "weights": "untrained"}
    first, again, other = (load_encoder("image_network", {**options, "seed": seed}, CPU) for seed in (1, 1, 2))
    assert torch.equal(before, torch.get_rng_state())
    assert (first.weights, other.weights) == ("untrained seed 1", "untrained seed 2")
    images = pixels(1, 64, 64)
    assert torch.equal(first.encode(images), again.encode(images))
    assert not torch.equal(first.encode(images), other.encode(images))


def test_the_identity_of_weights_is_their_values_and_not_their_file(tmp_path):
    state, _ = torchvision_network("squeezenet1_1", "classifier.1")
    torch.save(state, tmp_path / "first.pth")
    torch.save({"state_dict": {f"module.{name}": values for name, values in state.items()}}, tmp_path / "wrapped.pth")
    from safetensors.torch import save_file

    save_file(state, tmp_path / "third.safetensors")
    state["features.0.bias"] = state["features.0.bias"] + 1
    torch.save(state, tmp_path / "other.pth")
    names = [
        load_encoder("image_network", {"model": "squeezenet1_1", "weights": str(tmp_path / file)}, CPU).weights
        for file in ("first.pth", "wrapped.pth", "third.safetensors", "other.pth")
    ]
    assert names[0] == names[1] == names[2] != names[3]


def test_a_digest_sees_names_values_and_types():
    def of(**parameters):
        return digest(SimpleNamespace(state_dict=lambda: parameters))

    same = {"a": torch.zeros(2), "b": torch.ones(1)}
    assert of(**same) == of(b=torch.ones(1), a=torch.zeros(2))
    assert (
        len({of(**same), of(a=torch.zeros(2)), of(a=torch.zeros(2).half(), b=torch.ones(1)), of(c=torch.zeros(2))}) == 4
    )


class Malicious:
    def __reduce__(self):
        return print, ("code ran",)


def test_code_in_a_file_of_weights_does_not_run(tmp_path, capsys):
    torch.save({"conv.weight": Malicious()}, tmp_path / "bad.pth")
    with pytest.raises(UserError, match=r"bad\.pth cannot be read as a state dict"):
        load_encoder("image_network", {"model": "resnet18", "weights": str(tmp_path / "bad.pth")}, CPU)
    assert "code ran" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("encoder", "options", "line"),
    [
        ("image_network", {"model": "resnt50"}, r"torchvision has no 'resnt50'; did you mean 'resnet50'\?"),
        ("image_network", {"library": "tensorflow"}, "options.library: expected one of torchvision, timm"),
        ("image_network", {"weights": "IMAGENET"}, "expected pretrained, untrained, IMAGENET1K_V1, IMAGENET1K_V2 or a"),
        ("image_network", {"weights": "./none.pth"}, r"options.weights: not found: \./none\.pth"),
        ("image_network", {"pool": "max"}, "options.pool: expected mean or none, got 'max'"),
        ("image_network", {"side": -1}, "options.side: expected at least 0, got -1"),
        ("image_network", {"precision": "half"}, "options.precision: expected one of auto"),
        ("image_network", {"arguments": {"a": 1}}, "options.arguments: expected weights `untrained`, got 'pretrained'"),
        ("image_network", {"arguments": {"zz": 1}, "weights": "untrained"}, "options.arguments: .*'zz'"),
        ("video_network", {"model": "resnet18"}, "torchvision has no 'resnet18'"),
        ("video_network", {"library": "modalens", "model": "c3d"}, "nobody maintains a place of C3D's weights"),
        ("frame_network", {"model": "resnet18", "weights": "x"}, "encoder frame_network: options.weights"),
    ],
)
def test_what_cannot_be_is_one_line(encoder, options, line):
    with pytest.raises(UserError, match=line):
        load_encoder(encoder, options, CPU)


def test_weights_that_cannot_be_had_are_one_line_with_the_place_to_put_them(tmp_path, monkeypatch):
    def refuse(*_: object, **__: object) -> None:
        raise OSError("no route to host")

    monkeypatch.setattr(torch.hub, "download_url_to_file", refuse)
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    place = r"put https://\S+/resnet18-\w+\.pth at "
    line = rf"options\.weights: torchvision's resnet18 .* cannot be had \(OSError: no route to host\); {place}"
    with pytest.raises(UserError, match=line):
        load_encoder("image_network", {"model": "resnet18"}, CPU)
    with pytest.raises(UserError, match=r"SLOWFAST_8x8_R50\.pyth at "):
        load_encoder("video_network", {"library": "modalens", "model": "slowfast_r50"}, CPU)


def test_a_source_tells_what_changes_the_features():
    source = Source("encoder x", "timm", "test_vit", "untrained", 3, {"depth": 1})
    assert source.options == {
        "library": "timm", "model": "test_vit", "weights": "untrained", "seed": 3, "arguments": {"depth": 1},
    }  # fmt: skip
    assert "seed" not in Source("encoder x", "timm", "test_vit").options


def test_encoders_of_other_libraries_say_which_environment_they_need():
    wanted = {"image_network", "frame_network", "depth_network", "depth_video"}
    wanted |= {"video_network", "text_network", "audio_network"}
    names = registry.names("encoders")
    found = {name for name in names if introspection.attribute("encoders", name, "environment", "") == "encoders"}
    assert found == wanted | {"monocular_depth"}


def test_torchvisions_last_map_is_that_of_its_features_and_others_are_refused():
    options = {"model": "mobilenet_v2", "weights": "untrained", "pool": "none", "side": 64, "precision": "float32"}
    rows = pixels(2, 64, 64)
    encoder = load_encoder("image_network", options, CPU)
    torch.manual_seed(0)
    with torch.inference_mode():
        wanted = torchvision.models.mobilenet_v2().eval().features(normalised(rows, *IMAGENET))
    found = encoder.encode(rows)
    assert encoder.axes == type(encoder).axes_of(pool="none") == ("height", "width", "channel")
    assert found.shape == (2, 2, 2, 1280)
    torch.testing.assert_close(found.float(), wanted.movedim(1, -1), **CLOSE)
    with pytest.raises(UserError, match="needs a network of torchvision with `features`, such as mobilenet_v2"):
        load_encoder("image_network", {**options, "model": "resnet18"}, CPU)


@pytest.mark.parametrize(
    ("name", "options", "shape"),
    [
        ("image_network", {"model": "resnet18", "side": 32}, (3, 40, 40)),
        ("frame_network", {"model": "resnet18", "side": 32}, (3, 2, 40, 40)),
        ("image_network", {"model": "mobilenet_v3_small", "side": 32}, (3, 40, 40)),
        ("resnet50", {}, (3, 2, 32, 32)),
        ("video_network", {"model": "r3d_18", "side": 32}, (3, 4, 40, 40)),
    ],
)
def test_what_is_learnt_through_begins_as_what_features_are_cached_by_and_takes_a_gradient(name, options, shape):
    encoder = load_encoder(name, {**options, "weights": "untrained", "precision": "float32"}, CPU)
    cached = encoder.encode(pixels(*shape))
    network = encoder.network().requires_grad_(True).eval()
    found = network(pixels(*shape))
    torch.testing.assert_close(found.float(), cached.float(), **CLOSE)
    gradients = torch.autograd.grad(found.sum(), list(network.parameters()))
    assert all(one.isfinite().all() for one in gradients)


def test_depth_is_learnt_through_as_it_is_cached():
    depth = torch.randint(0, 6000, (2, 4, 32, 32), generator=torch.Generator().manual_seed(0)).to(torch.uint16)
    for name, options in (("depth_network", {"model": "resnet18"}), ("depth_video", {"model": "r3d_18"})):
        encoder = load_encoder(name, {**options, "weights": "untrained", "precision": "float32", "side": 32}, CPU)
        with torch.no_grad():
            torch.testing.assert_close(encoder.network().eval()(depth), encoder.encode(depth).float(), **CLOSE)


def test_pixels_that_are_learnt_from_do_not_lie_channels_last():
    """There the gradient of a 1 x 1 convolution of 3 channels with a stride, as MobileOne begins with, is now and then
    wrong, and now and then the process dies."""
    torch.manual_seed(0)
    convolution = torch.nn.Conv2d(3, 48, 1, stride=2, bias=False)
    convolution.register_forward_pre_hook(lambda _, given: seen.append(given[0].is_contiguous()))
    seen: list[bool] = []
    network, rows = PixelNetwork(convolution, "drawn").module(), pixels(4, 96, 96)
    weighed = torch.randn(4, 48, 48, 48)
    (network(rows) * weighed).sum().backward()
    assert seen == [True]
    wanted = torch.einsum("bohw,bchw->oc", weighed, network.normalised(rows)[:, :, ::2, ::2])
    torch.testing.assert_close(convolution.weight.grad[:, :, 0, 0], wanted, rtol=1e-3, atol=1e-2)
