"""One image file becomes 8-bit RGB, upright, or is refused by name."""

import io
import struct
from pathlib import Path

from PIL import Image, ImageOps, UnidentifiedImageError
from PIL.PpmImagePlugin import PpmImageFile
from PIL.TiffImagePlugin import BITSPERSAMPLE, TiffImageFile

from checks import require

JPEG = (".jpg", ".jpeg", ".jpe", ".jfif")  # Windows names downloaded JPEGs .jfif
EXTENSIONS = (*JPEG, ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp")  # else as torchvision's ImageFolder
CONVERTED = ("1", "L", "LA", "P", "PA", "RGBA", "CMYK", "YCbCr")  # of 8 bits or fewer a channel
ORIENTATION = 0x0112  # the EXIF tag; 1 is upright


def opens(path: Path) -> bool:
    """Tell whether the head of a file is that of an image; the rest is not read."""
    try:
        with Image.open(path):
            return True
    except (OSError, SyntaxError, ValueError, struct.error, Image.DecompressionBombError):
        return False


def bits(image: Image.Image, data: bytes) -> int:
    """Return the bits a channel has in the file, which PIL hides: it opens 48-bit colour as RGB, without its low bytes.

    `image` is opened and not loaded, `data` its file; 8 for formats that have no more.
    """
    if image.format == "PNG":
        return data[24]  # IHDR comes first: signature 8, length 4, name 4, width 4, height 4
    if isinstance(image, TiffImageFile):
        return max(image.tag_v2.get(BITSPERSAMPLE, (1,)))
    if isinstance(image, PpmImageFile) and image.tile and isinstance(image.tile[0][3], tuple):
        return int(image.tile[0][3][1]).bit_length()  # (raw mode, the largest value a channel may have)
    return 8


def upright(image: Image.Image) -> Image.Image:
    """Turn the image as its EXIF orientation says; it stays as it is stored where that cannot be read."""
    try:
        turned = image.getexif().get(ORIENTATION, 1) != 1
    except (SyntaxError, ValueError, OSError, struct.error):  # a broken EXIF block tells no orientation
        return image
    return ImageOps.exif_transpose(image) if turned else image


def decode(name: str, data: bytes) -> tuple[Image.Image, str]:
    """Return (the image as RGB, the mode it was stored in); alpha is dropped, as torchvision's ImageFolder drops it.

    PIL, because torchvision's own decoders are deprecated since 0.29.  ValueError names a file that is truncated, no
    image, or of more than 8 bits a channel, whose range no conversion can know.
    """
    try:
        image: Image.Image = Image.open(io.BytesIO(data))
        depth = bits(image, data)
        image.load()
    except UnidentifiedImageError:
        raise ValueError(f"image must be one that PIL can read, got {name}") from None
    except (OSError, SyntaxError, ValueError, IndexError, struct.error, Image.DecompressionBombError) as error:
        raise ValueError(f"image must be a whole file, got {name} ({error})") from None
    mode = image.mode
    allowed = f"RGB, or one that becomes RGB: {', '.join(CONVERTED)}"
    require(mode == "RGB" or mode in CONVERTED, f"mode of {name}", mode, allowed)
    require(depth <= 8, f"bits a channel of {name}", depth, "at most 8: of more the range is not known")
    image = upright(image)
    if mode == "RGB":
        return image, mode
    if mode == "P" and "transparency" in image.info:
        image = image.convert("RGBA")  # by way of RGBA, or PIL warns that transparency is lost
    return image.convert("RGB"), mode
