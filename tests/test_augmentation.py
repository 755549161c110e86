"""What is done to training clips: known answers for rows of a few numbers."""

import pytest
import torch

from modalens.training.augmentation import Augmentation, made
from modalens.utils.errors import UserError

FILL = torch.zeros(1)
PICTURE = ("height", "width", "channel")
FRAMES = ("time", "height", "width", "channel")


def numbers(**given):
    """One clip's: where a crop lies, whether it is mirrored, then a mask's width and place."""
    known = {"size": 0.0, "across": 0.5, "down": 0.5, "mirror": 1.0} | given
    return torch.tensor([list(known.values())])


def pictures(*shape):
    return torch.arange(int(torch.tensor(shape).prod())).view(1, *shape).to(torch.uint8)


def test_a_mirrored_clip_has_left_and_right_exchanged_in_every_frame():
    rows = pictures(2, 3, 4, 3)
    found = Augmentation(flip=0.5)(rows, FRAMES, numbers(mirror=0.49), FILL)
    assert torch.equal(found, rows.flip(3).float())
    assert torch.equal(Augmentation(flip=0.5)(rows, FRAMES, numbers(mirror=0.5), FILL), rows.float())


def test_a_crop_is_the_part_that_is_kept_at_the_size_of_the_whole():
    """Half the sides of 4 x 4 pixels, at the upper left: what bilinear scaling makes of the first 2 x 2."""
    rows = torch.zeros(1, 4, 4, 1)
    rows[0, 0, 0, 0] = 16.0
    found = Augmentation(crop=0.5)(rows, PICTURE, numbers(across=0.0, down=0.0), FILL)[0, :, :, 0]
    line = torch.tensor([1.0, 0.75, 0.25, 0.0])
    torch.testing.assert_close(found, 16 * line[:, None] * line)


def test_a_crop_keeps_between_its_least_share_and_the_whole():
    rows = torch.linspace(0, 1, 100).view(1, 1, 100, 1).expand(1, 100, 100, 1)
    for size, share in ((0.0, 0.6), (0.5, 0.8), (1.0, 1.0)):
        found = Augmentation(crop=0.6)(rows, PICTURE, numbers(size=size), FILL)[0, 0, :, 0]
        assert (found[-1] - found[0]).item() == pytest.approx(share, rel=1e-4)


def test_frames_of_a_clip_are_cropped_alike_and_clips_each_in_their_own_way():
    rows = torch.rand(1, 1, 8, 8, 3, generator=torch.Generator().manual_seed(0)).expand(2, 3, 8, 8, 3)
    drawn = torch.cat([numbers(across=0.0), numbers(across=1.0)])
    found = Augmentation(crop=0.5)(rows, FRAMES, drawn, FILL)
    assert torch.equal(found[:, 0], found[:, 1])
    assert not torch.equal(found[0], found[1])


@pytest.mark.parametrize(("wide", "first", "masked"), [(0.99, 0.0, [0, 1, 2]), (0.5, 0.99, [8, 9]), (0.2, 0.5, [])])
def test_a_mask_covers_a_run_of_steps_and_nothing_else(wide, first, masked):
    rows = torch.ones(1, 4, 10).half()
    change = Augmentation(time_masks=1, time_width=3)
    found = change(rows, ("mel", "time"), numbers(wide=wide, first=first), torch.full((1, 4, 10), 7.0))
    expected = torch.ones(10)
    expected[masked] = 7.0
    assert found.dtype == torch.float16
    assert torch.equal(found[0], expected.half().expand(4, 10))


def test_masks_of_mels_and_steps_are_as_many_and_at_most_as_wide_as_asked_for():
    change = Augmentation(frequency_masks=2, frequency_width=5, time_masks=1, time_width=4)
    assert change.numbers == 4 + 2 * 3
    drawn = torch.rand(500, change.numbers, generator=torch.Generator().manual_seed(0))
    found = change(torch.ones(500, 20, 30), ("mel", "time"), drawn, FILL)
    mels, steps = (found == 0).all(2).sum(1), (found == 0).all(1).sum(1)
    assert mels.max() == 10
    assert steps.max() == 4
    assert steps.float().mean() == pytest.approx(2, abs=0.2), "0 to 4, each as likely"


def test_a_mask_wider_than_the_clip_covers_the_clip_at_most():
    change = Augmentation(time_masks=1, time_width=99)
    found = change(torch.ones(1, 2, 3), ("mel", "time"), numbers(wide=0.999, first=0.5), FILL)
    assert found.sum() == 0


@pytest.mark.parametrize(
    ("options", "axes", "match"),
    [
        ({"flip": 0.5}, ("time", "channel"), "walk: expected rows with the axis width, got (time, channel)"),
        ({"frequency_masks": 1}, FRAMES, "walk: expected rows with the axis mel"),
        ({"crop": 0.5}, (), "walk: expected rows with the axis height, got (unnamed)"),
        ({"time_masks": -1}, ("time",), "time_masks: expected at least 0, got -1"),
        ({"flip": 1.5}, PICTURE, "flip: expected a share from 0 to 1, got 1.5"),
    ],
)
def test_what_cannot_be_done_to_a_row_is_said(options, axes, match):
    with pytest.raises(UserError) as error:
        made({"walk": options}, {"walk": axes})
    assert match in str(error.value)


def test_a_modality_that_the_model_does_not_look_at_is_left_alone():
    assert made({"walk": {"flip": 0.5}}, {"talk": ("time",)}) == {}
