"""Encoders by transformers, on networks of a few parameters in folders: the library's own answers, and none of its code
from elsewhere. Importing transformers takes seconds: all of it is here."""

import json

import numpy as np
import pytest
import torch

from modalens.encoders import load_encoder
from modalens.utils.errors import UserError

transformers = pytest.importorskip("transformers")
pytestmark = pytest.mark.slow
CPU = torch.device("cpu")
CLOSE = {"rtol": 2e-3, "atol": 2e-3}  # float16
EXACT = {"precision": "float32"}
BLOCKS = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 16}
LETTERS = "abcdefghijklmnopqrstuvwxyz"


def saved(folder, config, maker="AutoModel"):
    """A network drawn from a seed, in a folder as the hub has it."""
    torch.manual_seed(7)
    made = getattr(transformers, maker)
    network = made.from_config(config) if maker.startswith("Auto") else made(config)
    network.save_pretrained(folder)
    return network.eval()


def with_pictures(folder, side, **more):
    seen = {"image_processor_type": "ViTImageProcessor", "size": {"height": side, "width": side}}
    seen |= {"image_mean": [0.5, 0.4, 0.3], "image_std": [0.2, 0.3, 0.4], **more}
    (folder / "preprocessor_config.json").write_text(json.dumps(seen))


def pixels(*shape):
    return torch.randint(0, 256, (*shape, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def normalised(images):
    values = (images.float() / 255 - torch.tensor([0.5, 0.4, 0.3])) / torch.tensor([0.2, 0.3, 0.4])
    return values.movedim(-1, -3)


def bytes_of(*texts, size=64):
    rows = np.zeros((len(texts), size), np.uint8)
    for row, text in zip(rows, texts, strict=True):
        raw = text.encode()
        row[: len(raw)] = np.frombuffer(raw, np.uint8)
    return torch.from_numpy(rows)


@pytest.fixture(scope="session")
def bert(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bert")
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *LETTERS, *(f"##{letter}" for letter in LETTERS)]
    (folder / "vocab.txt").write_text("\n".join(words))
    transformers.BertTokenizerFast(vocab=str(folder / "vocab.txt"), model_max_length=32).save_pretrained(folder)
    config = transformers.BertConfig(vocab_size=len(words), max_position_embeddings=32, **BLOCKS)
    return folder, saved(folder, config)


def hidden(network, folder, text):
    tokens = transformers.AutoTokenizer.from_pretrained(folder)([text], return_tensors="pt")
    with torch.inference_mode():
        return network(**tokens).last_hidden_state[0]


def test_text_is_the_mean_the_first_or_all_of_its_tokens(bert):
    folder, network = bert
    batch = bytes_of("a cat", "dogs and birds", "")
    given = {"model": str(folder), "max_tokens": 20, **EXACT}
    mean, first, every = (
        load_encoder("text_network", {**given, "pool": pool}, CPU) for pool in ("auto", "cls", "none")
    )
    assert (mean.axes, first.axes, every.axes) == (("channel",), ("channel",), ("token", "channel"))
    assert mean.options["pool"] == "mean"
    found = every.encode(batch).float()
    assert found.shape == (3, 20, 16)
    for row, text in enumerate(("a cat", "dogs and birds", "")):
        wanted = hidden(network, folder, text)
        torch.testing.assert_close(mean.encode(batch)[row].float(), wanted.mean(0), **CLOSE)
        torch.testing.assert_close(first.encode(batch)[row].float(), wanted[0], **CLOSE)
        torch.testing.assert_close(found[row, : len(wanted)], wanted, **CLOSE)
        assert not found[row, len(wanted) :].any()


def test_a_text_alone_gives_what_it_gives_among_others(bert):
    encoder = load_encoder("text_network", {"model": str(bert[0]), **EXACT}, CPU)
    batch = bytes_of("cat", "a much longer text about dogs", "")
    torch.testing.assert_close(encoder.encode(batch)[:1], encoder.encode(batch[:1]), **CLOSE)


@pytest.mark.parametrize(
    "text", ["x" * 500, "שלום עולם", "🎉🎉", "a\tb\n"], ids=["long", "right to left", "emoji", "space"]
)
def test_any_text_gives_finite_features_of_one_shape(bert, text):
    encoder = load_encoder("text_network", {"model": str(bert[0]), "pool": "none", "max_tokens": 40}, CPU)
    found = encoder.encode(bytes_of(text, size=600))
    # The network takes 32 tokens; 40 were asked for.
    assert found.shape == (1, 40, 16)
    assert found.isfinite().all()


def test_bytes_that_are_no_utf8_do_not_stop_a_text(bert):
    encoder = load_encoder("text_network", {"model": str(bert[0])}, CPU)
    assert encoder.encode(torch.tensor([[0xFF, 0x61, 0xC3, 0, 0]], dtype=torch.uint8)).isfinite().all()


def test_untrained_text_is_drawn_from_the_seed_with_sizes_of_ones_own(bert):
    folder, _ = bert
    given = {"model": str(folder), "weights": "untrained", "arguments": {"hidden_size": 8, "num_hidden_layers": 1}}
    first, again, other = (load_encoder("text_network", {**given, "seed": seed}, CPU) for seed in (0, 0, 1))
    batch = bytes_of("a cat")
    assert first.encode(batch).shape == (1, 8)
    assert torch.equal(first.encode(batch), again.encode(batch))
    assert not torch.equal(first.encode(batch), other.encode(batch))
    assert other.weights == "untrained seed 1"


def test_the_identity_of_a_folder_is_what_its_parameters_are(bert, tmp_path):
    folder, network = bert
    first = load_encoder("text_network", {"model": str(folder)}, CPU)
    assert first.weights.startswith("sha256 ")
    for file in folder.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    assert load_encoder("text_network", {"model": str(tmp_path)}, CPU).weights == first.weights
    with torch.no_grad():
        changed = type(network)(network.config)
        changed.load_state_dict(network.state_dict())
        changed.embeddings.LayerNorm.bias += 1
    changed.save_pretrained(tmp_path)
    assert load_encoder("text_network", {"model": str(tmp_path)}, CPU).weights != first.weights


def test_code_that_comes_with_a_network_does_not_run(bert, tmp_path):
    folder, _ = bert
    for file in folder.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    config = json.loads((tmp_path / "config.json").read_text())
    config |= {"model_type": "mine", "auto_map": {"AutoConfig": "mine.Config", "AutoModel": "mine.Model"}}
    (tmp_path / "config.json").write_text(json.dumps(config))
    (tmp_path / "mine.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    with pytest.raises(UserError, match=r"options\.model: .* cannot be had"):
        load_encoder("text_network", {"model": str(tmp_path)}, CPU)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("options", "line"),
    [
        ({"model": "./nothing"}, r"options\.model: not found: \./nothing/config\.json"),
        ({"pool": "max"}, "options.pool: expected one of auto, mean"),
        ({"library": "timm"}, "options.library: expected one of transformers, open_clip, got 'timm'"),
        ({"max_tokens": 2}, "options.max_tokens: expected at least 3, got 2"),
        (
            {"weights": "x.pth"},
            "expected pretrained or untrained, got 'x.pth'; a folder of weights goes in",
        ),
    ],
)
def test_a_text_network_that_cannot_be_is_one_line(options, line):
    with pytest.raises(UserError, match=line):
        load_encoder("text_network", options, CPU)


def test_a_projection_needs_a_tower(bert):
    with pytest.raises(UserError, match="`projection` needs a tower of CLIP or SigLIP, got BertModel"):
        load_encoder("text_network", {"model": str(bert[0]), "pool": "projection"}, CPU)


def test_both_towers_of_clip_give_their_embeddings_in_the_common_space(tmp_path, bert):
    text = {
        **BLOCKS,
        "projection_dim": 12,
        "vocab_size": 57,
        "max_position_embeddings": 16,
        "eos_token_id": 3,
        "pad_token_id": 0,
    }
    picture = {**BLOCKS, "projection_dim": 12, "image_size": 32, "patch_size": 16}
    config = transformers.CLIPConfig(text_config=text, vision_config=picture, projection_dim=12)
    network = saved(tmp_path, config, "CLIPModel")
    with_pictures(tmp_path, 32)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (tmp_path / name).write_bytes((bert[0] / name).read_bytes())
    given = {"library": "transformers", "model": str(tmp_path), **EXACT}
    images, batch = pixels(2, 32, 32), bytes_of("a cat", "dogs")
    tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path)
    tokens = tokenizer(["a cat", "dogs"], padding="max_length", max_length=16, return_tensors="pt")
    tokens = {name: tokens[name] for name in ("input_ids", "attention_mask")}
    with torch.inference_mode():
        both = network(**tokens, pixel_values=normalised(images))
    seen = load_encoder("image_network", given, CPU).encode(images).float()
    # Its own answer is scaled to a length of one.
    torch.testing.assert_close(torch.nn.functional.normalize(seen), both.image_embeds, **CLOSE)
    encoder = load_encoder("text_network", {**given, "max_tokens": 16}, CPU)
    assert encoder.options["pool"] == "projection"
    read = encoder.encode(batch).float()
    torch.testing.assert_close(torch.nn.functional.normalize(read), both.text_embeds, **CLOSE)


def test_a_text_tower_of_open_clip_gives_its_own_answer():
    open_clip = pytest.importorskip("open_clip")
    tiny = {
        "embed_dim": 16,
        "vision_cfg": {"image_size": 32, "layers": 1, "width": 32, "patch_size": 16, "head_width": 16},
        "text_cfg": {"context_length": 16, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1},
    }
    given = {"library": "open_clip", "model": "ViT-B-32", "weights": "untrained", "arguments": tiny, "seed": 7}
    found = load_encoder("text_network", {**given, **EXACT}, CPU).encode(bytes_of("a cat", ""))
    torch.manual_seed(7)
    network = open_clip.create_model("ViT-B-32", load_weights=False, **tiny).eval()
    with torch.inference_mode():
        wanted = network.encode_text(open_clip.get_tokenizer("ViT-B-32", context_length=16)(["a cat", ""]))
    torch.testing.assert_close(found.float(), wanted, **CLOSE)


def test_a_vision_transformer_gives_its_pooled_answer(tmp_path):
    network = saved(tmp_path, transformers.ViTConfig(image_size=32, patch_size=16, **BLOCKS))
    with_pictures(tmp_path, 32)
    images = pixels(2, 32, 32)
    encoder = load_encoder("image_network", {"library": "transformers", "model": str(tmp_path), **EXACT}, CPU)
    with torch.inference_mode():
        wanted = network(pixel_values=normalised(images)).pooler_output
    torch.testing.assert_close(encoder.encode(images).float(), wanted, **CLOSE)


# Audio


def audio(folder, maker, **more):
    seen = {"feature_extractor_type": maker, "sampling_rate": 16000, "feature_size": 1, "do_normalize": True, **more}
    (folder / "preprocessor_config.json").write_text(json.dumps(seen))


WAVES = torch.from_numpy((np.random.default_rng(0).normal(size=(2, 8000)) * 3000).astype(np.int16))


@pytest.mark.parametrize("name", ["Hubert", "Wav2Vec2"])
def test_networks_of_waveforms_give_a_step_each_twenty_milliseconds(name, tmp_path):
    config = getattr(transformers, f"{name}Config")(conv_dim=(8,) * 7, num_conv_pos_embedding_groups=2, **BLOCKS)
    network = saved(tmp_path, config)
    audio(tmp_path, "Wav2Vec2FeatureExtractor")
    given = {"model": str(tmp_path), **EXACT}
    encoder = load_encoder("audio_network", given, CPU)
    assert encoder.axes == ("time", "channel")
    waves = WAVES.float() / 32768
    standard = (waves - waves.mean(1, keepdim=True)) / (waves.var(1, keepdim=True, correction=0) + 1e-7).sqrt()
    with torch.inference_mode():
        wanted = network(standard, output_hidden_states=True)
    found = encoder.encode(WAVES)
    # 25 ms windows each 20 ms.
    assert found.shape == (2, 24, 16)
    torch.testing.assert_close(found.float(), wanted.last_hidden_state, **CLOSE)
    mean = load_encoder("audio_network", {**given, "pool": "mean", "layer": 1}, CPU)
    assert mean.axes == ("channel",)
    torch.testing.assert_close(mean.encode(WAVES).float(), wanted.hidden_states[1].mean(1), **CLOSE)
    with pytest.raises(UserError, match=r"options.layer: expected from -3 to 2, got 3"):
        load_encoder("audio_network", {**given, "layer": 3}, CPU)


def test_an_audio_tagger_gives_its_own_answer_or_a_token_a_patch(tmp_path):
    config = transformers.ASTConfig(max_length=64, num_mel_bins=32, patch_size=16, **BLOCKS)
    network = saved(tmp_path, config)
    audio(tmp_path, "ASTFeatureExtractor", num_mel_bins=32, max_length=64)
    extract = transformers.AutoFeatureExtractor.from_pretrained(tmp_path)
    given = extract([row.numpy() / 32768 for row in WAVES], sampling_rate=16000, return_tensors="pt")
    with torch.inference_mode():
        wanted = network(given["input_values"].float())
    own = load_encoder("audio_network", {"model": str(tmp_path), "pool": "own", **EXACT}, CPU)
    every = load_encoder("audio_network", {"model": str(tmp_path), **EXACT}, CPU)
    assert (own.axes, every.axes) == (("channel",), ("token", "channel"))
    torch.testing.assert_close(own.encode(WAVES).float(), wanted.pooler_output, **CLOSE)
    torch.testing.assert_close(every.encode(WAVES).float(), wanted.last_hidden_state, **CLOSE)


# Clips and depth


@pytest.mark.parametrize("name", ["VideoMAE", "Timesformer"])
def test_video_networks_of_transformers_give_the_mean_or_the_first_token(name, tmp_path):
    config = getattr(transformers, f"{name}Config")(image_size=32, patch_size=16, num_frames=4, **BLOCKS)
    network = saved(tmp_path, config)
    with_pictures(tmp_path, 32)
    clips = pixels(2, 4, 32, 32)
    encoder = load_encoder("video_network", {"library": "transformers", "model": str(tmp_path), **EXACT}, CPU)
    with torch.inference_mode():
        tokens = network(pixel_values=normalised(clips)).last_hidden_state
    wanted = tokens.mean(1) if name == "VideoMAE" else tokens[:, 0]
    torch.testing.assert_close(encoder.encode(clips).float(), wanted, **CLOSE)
    with pytest.raises(UserError, match=r"takes 4 frames, got 8; set decode\.count"):
        encoder.encode(pixels(1, 8, 32, 32))


def test_guessed_depth_is_the_librarys_own_stretched_to_each_frame(tmp_path):
    backbone = transformers.Dinov2Config(
        image_size=28, patch_size=14, mlp_ratio=2, out_indices=[1, 2], reshape_hidden_states=False,
        hidden_size=16, num_hidden_layers=2, num_attention_heads=2,
    )  # fmt: skip
    config = transformers.DepthAnythingConfig(
        backbone_config=backbone, reassemble_hidden_size=16, patch_size=14, neck_hidden_sizes=[8, 8],
        reassemble_factors=[2, 1], fusion_hidden_size=8, head_hidden_size=4,
    )  # fmt: skip
    network = saved(tmp_path, config, "AutoModelForDepthEstimation")
    with_pictures(tmp_path, 28)
    given = {"model": str(tmp_path), **EXACT}
    grid = load_encoder("monocular_depth", {**given, "picture_model": "grid"}, CPU)
    assert grid.axes == ("time", "height", "width", "channel")
    clips = pixels(1, 2, 28, 28)
    with torch.inference_mode():
        depth = network(pixel_values=normalised(clips[0])).predicted_depth
    low, high = depth.amin((1, 2), keepdim=True), depth.amax((1, 2), keepdim=True)
    torch.testing.assert_close(grid.nearness(clips[0]), (depth - low) / (high - low), rtol=1e-3, atol=1e-3)
    assert grid.encode(clips).shape == (1, 2, 16, 16, 1)
    shown = {**given, "picture_model": "squeezenet1_1", "picture_weights": "untrained"}
    seen = load_encoder("monocular_depth", shown, CPU)
    assert seen.axes == ("time", "channel")
    assert seen.encode(clips).shape == (1, 2, 512)
    assert ", untrained seed 0" in seen.weights


SMALL = {
    "hidden_size": 32,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "image_size": 28,
    "patch_size": 14,
}


@pytest.mark.parametrize(
    ("encoder", "options", "shape"),
    [
        ("monocular_depth", {"model": "depth_anything", "side": 28, "picture_model": "grid"}, (1, 2, 16, 16, 1)),
        ("frame_network", {"library": "transformers", "model": "vit", "arguments": SMALL}, (1, 2, 32)),
    ],
)
def test_a_network_that_is_drawn_by_its_type_asks_no_hub(encoder, options, shape):
    made = load_encoder(encoder, {"weights": "untrained", **options}, CPU)
    assert made.encode(pixels(1, 2, 28, 28)).shape == shape
    assert "untrained" in made.weights
