import numpy as np
import pytest
import torch
import torchvision

from modalens.encoders._pixels import IMAGENET_MEAN as MEAN
from modalens.encoders._pixels import IMAGENET_STD as STD
from modalens.encoders.log_mel import FLOOR, LogMel
from modalens.encoders.pixels import Pixels
from modalens.encoders.raw_series import RawSeries
from modalens.encoders.resnet50 import Resnet50
from modalens.encoders.series_statistics import SeriesStatistics
from modalens.plugins import introspection, registry
from modalens.utils.errors import UserError

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def resnet50() -> Resnet50:
    return Resnet50(CPU, weights="untrained", precision="float32")


@pytest.fixture(scope="module")
def images() -> torch.Tensor:
    return torch.randint(0, 256, (2, 3, 32, 32, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def reference(seed: int) -> torch.nn.Module:
    torch.manual_seed(seed)
    network = torchvision.models.resnet50(weights=None)
    return network.eval()


def test_resnet50_equals_torchvisions_own_network_on_normalised_images(resnet50, images):
    network = reference(0)
    network.fc = torch.nn.Identity()
    pixels = images.flatten(0, 1).permute(0, 3, 1, 2).float() / 255
    with torch.inference_mode():
        wanted = network((pixels - torch.tensor(MEAN).view(3, 1, 1)) / torch.tensor(STD).view(3, 1, 1))
    found = resnet50.encode(images)
    assert found.dtype == torch.float16
    assert found.shape == (2, 3, 2048)
    # At 35, the largest here, float16 itself rounds by 0.016.
    torch.testing.assert_close(found.flatten(0, 1).float(), wanted, rtol=2e-3, atol=0.05)


def test_resnet50_encodes_a_clip_alike_in_any_batch(resnet50, images):
    torch.testing.assert_close(resnet50.encode(images)[1:], resnet50.encode(images[1:]), rtol=2e-3, atol=0.01)


def test_resnet50_is_untrained_by_seed_and_leaves_the_global_generator_alone(resnet50, images):
    before = torch.get_rng_state()
    other = Resnet50(CPU, weights="untrained", seed=1, precision="float32")
    assert torch.equal(before, torch.get_rng_state())
    assert other.weights == "untrained seed 1"
    assert not torch.equal(other.encode(images), resnet50.encode(images))


def test_resnet50_reads_a_state_dict_with_its_last_layer_from_a_file(resnet50, images, tmp_path):
    torch.save(reference(0).state_dict(), tmp_path / "resnet50.pth")
    found = Resnet50(CPU, weights=str(tmp_path / "resnet50.pth"), precision="float32")
    assert found.weights.startswith("sha256 ")
    assert torch.equal(found.encode(images), resnet50.encode(images))


@pytest.mark.parametrize("content", [b"no weights", None])
def test_resnet50_refuses_a_file_without_its_weights_in_one_line(tmp_path, content):
    path = tmp_path / "wrong.pth"
    if content is None:
        torch.save({"linear.weight": torch.zeros(2)}, path)
    else:
        path.write_bytes(content)
    with pytest.raises(UserError, match=r"wrong\.pth"):
        Resnet50(CPU, weights=str(path))


def test_resnet50_without_network_says_where_to_put_the_imagenet_weights(tmp_path, monkeypatch):
    def refuse(*_: object, **__: object) -> None:
        raise OSError("no route to host")

    monkeypatch.setattr(torch.hub, "download_url_to_file", refuse)
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    with pytest.raises(UserError, match=r"checkpoints/resnet50-11ad3fa6\.pth, name a file in options\.weights"):
        Resnet50(CPU)


def test_log_mel_of_silence_is_the_same_finite_number_everywhere():
    found = LogMel(CPU).encode(torch.zeros(2, 8000, dtype=torch.int16))
    assert found.shape == (2, 64, 51)
    assert found.dtype == torch.float16
    torch.testing.assert_close(found, torch.full_like(found, np.log(FLOOR)))


def test_log_mel_shows_a_higher_tone_in_a_higher_band():
    time = np.arange(8000) / 16000
    tones = np.stack([np.sin(2 * np.pi * pitch * time) for pitch in (200, 800, 3200)])
    peaks = LogMel(CPU).encode(torch.from_numpy((tones * 9000).astype(np.int16))).float().mean(2).argmax(1)
    assert peaks[0] < peaks[1] < peaks[2]


def test_log_mel_leaves_no_band_empty_and_stays_finite_at_full_scale():
    noise = torch.randint(-32768, 32768, (1, 16000), dtype=torch.int32).short()
    found = LogMel(CPU).encode(noise)
    assert found.isfinite().all()
    assert (found.mean(2) > np.log(FLOOR) + 1).all()


@pytest.mark.parametrize("differences", [1, 2])
def test_differences_of_log_mel_are_the_slope_over_time_of_the_bands_above(differences):
    time = np.arange(16000) / 16000
    # A tone whose power grows by 20 nats a second: 0.2 a step of 10 ms.
    tone = np.sin(2 * np.pi * 1000 * time) * 30_000 * np.exp(10 * (time - 1))
    batch = torch.from_numpy(tone.astype(np.int16))[None]
    plain, found = LogMel(CPU).encode(batch), LogMel(CPU, differences=differences).encode(batch)
    assert found.shape == (1, 64 * (1 + differences), 101)
    assert torch.equal(found[:, :64], plain)
    band = int(plain[0].float().mean(1).argmax())
    slope = found[0, 64 + band, 50:90].float()
    torch.testing.assert_close(slope, torch.full_like(slope, 0.2), rtol=0.02, atol=0)
    if differences == 2:
        assert found[0, 128 + band, 55:85].abs().max() < 0.01


def test_log_mel_refuses_other_differences_in_one_line():
    with pytest.raises(UserError, match=r"options\.differences: expected 0, 1 or 2, got 3"):
        LogMel(CPU, differences=3)


def test_statistics_of_a_series_are_those_of_numpy():
    rows = np.random.default_rng(0).normal(size=(2, 50, 3)).astype(np.float32)
    found = SeriesStatistics(CPU).encode(torch.from_numpy(rows)).float().numpy()
    quartiles = np.quantile(rows, (0.25, 0.5, 0.75), axis=1)
    steps = np.abs(np.diff(rows, axis=1)).mean(1)
    parts = [rows.mean(1), rows.std(1), rows.min(1), rows.max(1), *quartiles, steps]
    np.testing.assert_allclose(found, np.concatenate(parts, 1), rtol=2e-3, atol=1e-3)


def test_statistics_of_a_series_of_one_step_are_that_step():
    found = SeriesStatistics(CPU).encode(torch.tensor([[[3.0, -1.0]]]))
    assert found.tolist() == [[3, -1, 0, 0, *[3, -1] * 5, 0, 0]]


def test_a_raw_series_is_itself():
    rows = torch.randn(2, 5, 3)
    torch.testing.assert_close(RawSeries(CPU).encode(rows).float(), rows, rtol=1e-3, atol=1e-3)


def test_pixels_are_the_brightness_of_each_place_in_the_rows_order():
    picture = np.zeros((1, 2, 3, 3), np.uint8)
    picture[0, 0, 1], picture[0, 1, 2] = (255, 255, 255), (255, 0, 0)
    found = Pixels(torch.device("cpu")).encode(torch.from_numpy(picture))
    assert found.dtype == torch.float16
    assert found[0].tolist() == pytest.approx([0, 1, 0, 0, 0, 0.299], abs=1e-3)
    coloured = Pixels(torch.device("cpu"), grey=False).encode(torch.from_numpy(picture))
    assert coloured.shape == (1, 18)
    assert coloured[0, 15:].tolist() == [1, 0, 0]


def test_pixels_are_scaled_by_averaging_and_a_negative_side_is_one_line():
    board = np.kron(np.indices((4, 4)).sum(0) % 2, np.ones((4, 4))).astype(np.uint8)[..., None].repeat(3, -1) * 200
    found = Pixels(torch.device("cpu"), side=4).encode(torch.from_numpy(board)[None])[0].view(4, 4)
    assert ((found > 0.39).numpy() == (np.indices((4, 4)).sum(0) % 2 == 1)).all()
    with pytest.raises(UserError, match=r"encoder pixels: options\.side: expected at least 0, got -1"):
        Pixels(torch.device("cpu"), side=-1)


def test_every_encoder_names_its_input_options_and_weights():
    forms = {introspection.attribute("modalities", kind, "form") for kind in registry.names("modalities")}
    for name in registry.names("encoders"):
        if introspection.attribute("encoders", name, "environment", "torch") == "torch":
            options = {"weights": "untrained"} if "weights" in introspection.options("encoders", name) else {}
            encoder = registry.load("encoders", name)(CPU, **options)
            assert isinstance(encoder.options, dict)
            assert encoder.weights
        assert introspection.attribute("encoders", name, "input") in forms
