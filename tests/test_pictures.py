"""Pictures as people have them become RGB of one size, or a row with a cause."""

import io
import warnings
import zlib

import numpy as np
import pytest
from PIL import Image

from modalens.media.failure_causes import ClipError, ClipNote
from modalens.media.picture import read_picture
from modalens.modalities import load_modality

DRAW = np.random.default_rng(0)
SMOOTH = np.stack(np.meshgrid(np.arange(64) * 4, np.arange(48) * 5), -1)
SMOOTH = np.concatenate([SMOOTH, np.full((48, 64, 1), 90)], 2).astype(np.uint8)


def read(path, size=32):
    """The row, and the causes that were noted."""
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always", ClipNote)
        row, _ = read_picture(str(path), size)
    assert (row.shape, row.dtype) == ((size, size, 3), np.uint8)
    return row.astype(int), [one.message.cause for one in said if isinstance(one.message, ClipNote)]


def saved(tmp_path, image, name="a.png", **options):
    image.save(tmp_path / name, **options)
    return tmp_path / name


def test_the_shorter_side_is_scaled_and_the_centre_cropped(tmp_path):
    row, notes = read(saved(tmp_path, Image.fromarray(SMOOTH)))
    assert notes == []
    # 48 rows become 32, and of 64 columns the middle 48.
    assert abs(row[16, 0, 0] - 8.25 * 4) <= 2
    assert abs(row[16, 31, 0] - 54.75 * 4) <= 2
    assert abs(row[31, 16, 1] - 46.75 * 5) <= 3


@pytest.mark.parametrize(
    "image",
    [
        Image.fromarray(SMOOTH).convert("RGBA"),
        Image.fromarray(SMOOTH).convert("P", palette=Image.Palette.ADAPTIVE, colors=256),
        Image.fromarray(SMOOTH).convert("CMYK"),
    ],
    ids=lambda image: image.mode,
)
def test_any_mode_gives_the_same_colours(tmp_path, image):
    plain, _ = read(saved(tmp_path, Image.fromarray(SMOOTH), "plain.png"))
    row, _ = read(saved(tmp_path, image, "a.tif"))
    assert np.abs(row - plain).mean() < 4


def test_a_cmyk_jpeg_is_no_negative(tmp_path):
    row, _ = read(saved(tmp_path, Image.new("CMYK", (60, 60), (0, 255, 255, 0)), "a.jpg"))
    assert row[..., 0].min() > 180
    assert row[..., 1:].max() < 80


def test_what_is_transparent_is_white_and_not_the_colour_behind_it(tmp_path):
    row, _ = read(saved(tmp_path, Image.new("RGBA", (40, 40), (10, 20, 30, 0))))
    assert (row == 255).all()
    grey = Image.new("P", (40, 40), 0)
    row, _ = read(saved(tmp_path, grey, "b.gif", transparency=0))
    assert (row == 255).all()


def test_sixteen_bits_become_eight(tmp_path):
    values = np.linspace(0, 65535, 64 * 64).reshape(64, 64).astype(np.uint16)
    row, _ = read(saved(tmp_path, Image.fromarray(values)))
    assert row[0, 0, 0] < 5
    assert row[-1, -1, 0] > 250
    assert abs(row[16, 16, 0] - 128) < 5


@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_turn_that_exif_states_is_applied(tmp_path, orientation):
    upright = np.zeros((40, 40, 3), np.uint8)
    upright[:20, :20, 0] = 250  # red at the top left
    turns = {
        1: None, 2: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM, 5: Image.Transpose.TRANSPOSE, 6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE, 8: Image.Transpose.ROTATE_270,
    }  # fmt: skip
    image, turn = Image.fromarray(upright), turns[orientation]
    stored = image if turn is None else image.transpose(turn)
    exif = Image.Exif()
    exif[0x0112] = orientation
    row, _ = read(saved(tmp_path, stored, "a.jpg", exif=exif, quality=95))
    assert row[8, 8, 0] > 200
    assert max(row[8, 24, 0], row[24, 8, 0], row[24, 24, 0]) < 60


def test_of_an_animation_the_first_frame_is_read_and_noted(tmp_path):
    frames = [Image.new("RGB", (40, 40), colour) for colour in ("red", "lime", "blue")]
    for name in ("a.gif", "a.webp", "a.png"):
        row, notes = read(saved(tmp_path, frames[0], name, save_all=True, append_images=frames[1:]))
        assert notes == ["first_frame"]
        assert row[..., 0].min() > 200
        assert row[..., 1].max() < 60


def test_a_single_pixel_is_kept_and_noted(tmp_path):
    row, notes = read(saved(tmp_path, Image.new("RGB", (1, 1), (7, 8, 9))))
    assert notes == ["tiny"]
    assert (row == [7, 8, 9]).all()


def bomb(width, height):
    """A PNG that says it holds width x height pixels, in a few bytes."""

    def chunk(kind, body):
        return len(body).to_bytes(4, "big") + kind + body + zlib.crc32(kind + body).to_bytes(4, "big")

    header = width.to_bytes(4, "big") + height.to_bytes(4, "big") + b"\x08\x02\0\0\0"
    parts = {b"IHDR": header, b"IDAT": zlib.compress(b"\0" * 99), b"IEND": b""}
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(kind, body) for kind, body in parts.items())


def jpeg():
    buffer = io.BytesIO()
    Image.fromarray(DRAW.integers(0, 256, (200, 200, 3), np.uint8)).save(buffer, "JPEG")
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("content", "cause"),
    [
        (b"", "damaged"),
        (b"this is no picture", "damaged"),
        (jpeg()[:3000], "damaged"),
        (jpeg()[2:], "damaged"),
        (bomb(11_000, 11_000), "too_many_pixels"),
        (bomb(60_000, 60_000), "too_many_pixels"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\nshowpage\n", "damaged"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "damaged"),
    ],
    ids=["empty", "words", "truncated", "headless", "bomb", "larger bomb", "PostScript", "SVG"],
)
def test_what_is_no_picture_has_a_cause(tmp_path, content, cause):
    path = tmp_path / "a.jpg"
    path.write_bytes(content)
    with pytest.raises(ClipError) as caught:
        read(path)
    assert caught.value.cause == cause


def test_a_float_picture_and_one_that_is_not_there_have_a_cause(tmp_path):
    for path, cause in (
        (saved(tmp_path, Image.fromarray(np.ones((9, 9), np.float32)), "a.tif"), "unsupported"),
        (tmp_path / "gone.png", "missing"),
        ("", "absent"),
        ("https://example.org/a.png", "missing"),
        ("/dev/zero", "unsupported"),
        (f"{tmp_path}/a.tif|{tmp_path}/a.tif", "unsupported"),
    ):
        with pytest.raises(ClipError) as caught:
            read(path)
        assert caught.value.cause == cause


def test_a_copy_coded_anew_is_near_and_another_picture_is_not(tmp_path):
    image = load_modality("image", {"size": 64})
    pictures = [np.kron(DRAW.integers(0, 256, (6, 6, 3), np.uint8), np.ones((20, 20, 1), np.uint8)) for _ in range(12)]
    paths = [saved(tmp_path, Image.fromarray(pixels), f"{place}.png") for place, pixels in enumerate(pictures)]
    paths.append(saved(tmp_path, Image.fromarray(pictures[0]).resize((90, 90)), "copy.jpg", quality=40))
    rows = [read_picture(str(path), 64)[0] for path in paths]
    sketches = np.stack([image.sketch(row) for row in rows])
    values = image.similarity(sketches).of_pairs(np.zeros(12, int), np.array([12, *range(1, 12)]))
    assert values[0] > image.similarity(sketches).threshold > values[1:].max()
    assert len(image.word(sketches[0])) == 48
    assert image.show(rows[0]).shape == (64, 64, 3)


@pytest.mark.slow
def test_real_product_pictures_and_their_copies(shared, tmp_path):
    """Copies at JPEG's quality 30 and at a third of the size stay near; of different pictures hardly any two are."""
    image = load_modality("image", {"size": 128})
    paths = sorted((shared / "flipkart" / "images").glob("*.jpg"))[:200]
    rows, copies = [], []
    for path in paths:
        rows.append(image.sketch(read_picture(str(path), 128)[0]))
        with Image.open(path) as picture:
            small = picture.convert("RGB").resize([max(side // 3, 1) for side in picture.size])
        copies.append(image.sketch(read_picture(str(saved(tmp_path, small, "c.jpg", quality=30)), 128)[0]))
    alike = image.similarity(np.stack(rows + copies))
    count = len(rows)
    assert (alike.of_pairs(np.arange(count), np.arange(count) + count) > alike.threshold).mean() > 0.99
    first, second = np.triu_indices(count, 1)
    assert (alike.of_pairs(first, second) > alike.threshold).mean() < 1e-3
