"""Image files as they come: of all depths, lying on their side, among files that are none."""

import io
import struct

import numpy as np
import pytest
from images_on_disk import noise, png_of_16_bits, save, write_images
from PIL import Image

from experiments.lab.config import Data
from experiments.lab.data import load_dataset
from experiments.lab.data.images import decode

pytestmark = pytest.mark.usefixtures("no_network")


def encoded(image, suffix, **options):
    buffer = io.BytesIO()
    image.save(buffer, suffix, **options)
    return buffer.getvalue()


def tiff_of_16_bits(pixels):
    """An uncompressed RGB TIFF of pixels (h, w, 3): its ten tags, the bits of each channel, the pixels."""
    height, width, _ = pixels.shape
    data, after = pixels.astype("<u2").tobytes(), 8 + 2 + 12 * 10 + 4
    tags = [(256, 1, width), (257, 1, height), (258, 3, after), (259, 1, 1), (262, 1, 2), (273, 1, after + 6)]
    tags += [(277, 1, 3), (278, 1, height), (279, 1, len(data)), (284, 1, 1)]
    fields = b"".join(struct.pack("<HHII", tag, 3 if count == 3 else 4, count, value) for tag, count, value in tags)
    return b"II*\0" + struct.pack("<IH", 8, 10) + fields + struct.pack("<I3H", 0, 16, 16, 16) + data


DEEP = {
    "RGB PNG": lambda pixels: png_of_16_bits(pixels[..., :3]),
    "RGBA PNG": png_of_16_bits,
    "PNG of grey and alpha": lambda pixels: png_of_16_bits(pixels[..., :2]),
    "RGB TIFF": lambda pixels: tiff_of_16_bits(pixels[..., :3]),
    "PPM": lambda pixels: b"P6 8 8 65535\n" + pixels[..., :3].astype(">u2").tobytes(),
}


@pytest.mark.parametrize("kind", DEEP)
def test_colour_of_16_bits_is_refused_and_does_not_lose_its_low_byte(kind):
    content = DEEP[kind](np.random.default_rng(0).integers(0, 4096, (8, 8, 4)))
    with pytest.raises(ValueError, match=r"^bits a channel of a\.file must be at most 8: .*, got 16$"):
        decode("a.file", content)


@pytest.mark.parametrize("suffix", ["png", "tiff", "ppm", "bmp", "webp", "jpeg"])
def test_colour_of_8_bits_is_read(suffix):
    image = Image.new("RGB", (9, 7), (200, 100, 50))
    assert np.abs(np.asarray(decode("a", encoded(image, suffix))[0]).astype(int) - (200, 100, 50)).max() < 4


@pytest.mark.parametrize("suffix", ["png", "tiff", "webp", "jpeg"])
@pytest.mark.parametrize(("orientation", "white"), [(1, "above"), (3, "below"), (6, "right"), (8, "left")])
def test_a_photograph_lying_on_its_side_is_read_upright(suffix, orientation, white):
    pixels = np.zeros((16, 16, 3), np.uint8)
    pixels[:8] = 255  # as stored: the white half above
    exif = Image.Exif()
    exif[0x0112] = orientation
    seen = np.asarray(decode("a", encoded(Image.fromarray(pixels), suffix, exif=exif))[0]).astype(float)
    halves = {"above": seen[:7], "below": seen[9:], "left": seen[:, :7], "right": seen[:, 9:]}
    assert halves[white].mean() > 250


def test_an_exif_block_that_is_broken_leaves_the_image_as_it_is_stored():
    content = encoded(Image.new("RGB", (8, 8), (9, 9, 9)), "jpeg", exif=b"Exif\0\0no header of TIFF")
    assert decode("a", content)[0].size == (8, 8)


def test_what_programs_leave_in_folders_is_no_class_and_no_image(tmp_path):
    root = write_images(tmp_path / "data")
    for part in ("train", "test"):
        save(root / part / ".ipynb_checkpoints" / "0.png", Image.fromarray(noise(32, 32, 3)))
        save(root / part / "cat" / ".ipynb_checkpoints" / "0.png", Image.fromarray(noise(32, 32, 3)))
        (root / part / "__MACOSX").mkdir()
        (root / part / "dog" / "._0.png").write_bytes(b"\0\5\x16\7")  # AppleDouble
        (root / part / "dog" / ".DS_Store").write_bytes(b"\0\0\0\1Bud1")
    dataset = load_dataset(Data("folder", root), 0)
    assert dataset.classes == ["cat", "dog"]
    assert [len(split().labels) for split in (dataset.train, dataset.val, dataset.test)] == [18, 2, 20]


def test_classes_beside_git_are_divided(tmp_path):
    root = write_images(tmp_path, ("",))
    (root / ".git").mkdir()
    assert load_dataset(Data("folder", root), 0).classes == ["cat", "dog"]


def test_files_that_are_left_out_are_counted_by_their_endings(tmp_path, caplog):
    root = write_images(tmp_path / "data")
    for i in range(3):
        (root / "test" / "cat" / f"{i}.png").rename(root / "test" / "cat" / f"{i}.gif")
    (root / "test" / "dog" / "notes").write_text("of the photographer")
    assert len(load_dataset(Data("folder", root), 0).test().labels) == 17
    (words,) = [record.getMessage() for record in caplog.records]
    assert words.startswith(f"4 files in {root / 'test'} are left out")
    assert words.endswith("3 .gif, 1 without an ending")


def test_endings_in_upper_case_and_folders_within_classes_are_read(tmp_path):
    root = write_images(tmp_path / "data")
    (root / "test" / "cat" / "0.png").rename(root / "test" / "cat" / "0.PNG")
    save(root / "test" / "cat" / "winter" / "far" / "x.Jpeg", Image.fromarray(noise(32, 32, 3)))
    assert len(load_dataset(Data("folder", root), 0).test().labels) == 21


def test_jpegs_as_windows_names_them_are_read(tmp_path):
    root = write_images(tmp_path / "data")
    save(root / "test" / "cat" / "download.jfif", Image.fromarray(noise(32, 32, 3)), format="JPEG")
    assert len(load_dataset(Data("folder", root), 0).test().labels) == 21


def test_links_are_followed_and_one_to_a_folder_that_it_stands_in_is_not(tmp_path):
    root = write_images(tmp_path / "data")
    (root / "test" / "cat").rename(tmp_path / "cats")
    (root / "test" / "cat").symlink_to(tmp_path / "cats")
    (tmp_path / "cats" / "winter").mkdir()
    (tmp_path / "cats" / "itself").symlink_to(".")
    (tmp_path / "cats" / "winter" / "back").symlink_to(tmp_path / "cats")
    (tmp_path / "cats" / "winter" / "others").symlink_to(root / "train" / "cat")
    assert len(load_dataset(Data("folder", root), 0).test().labels) == 20 + 10


@pytest.mark.parametrize("part", ["val", "test"])
def test_one_part_alone_can_be_evaluated(part, tmp_path):
    dataset = load_dataset(Data("folder", write_images(tmp_path / "data", (part,))), 0)
    assert len(dataset.test().labels) == 20
    with pytest.raises(ValueError, match="data root must be one with train/CLASS/FILE to train or calibrate"):
        dataset.train()
