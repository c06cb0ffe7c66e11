"""One image file becomes 8-bit RGB, or is refused by name."""

import io
import struct

from PIL import Image, UnidentifiedImageError

from checks import require

EXTENSIONS = (".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp")  # as torchvision's ImageFolder
CONVERTED = ("1", "L", "LA", "P", "PA", "RGBA", "CMYK", "YCbCr")  # of 8 bits or fewer a channel


def decode(name: str, data: bytes) -> tuple[Image.Image, str]:
    """(the image as RGB, the mode it was stored in); alpha is dropped, as torchvision's ImageFolder drops it.

    PIL, because torchvision's own decoders are deprecated since 0.29.  ValueError names a file that is truncated, no
    image, or of more than 8 bits a channel, whose range no conversion can know.
    """
    try:
        image: Image.Image = Image.open(io.BytesIO(data))
        image.load()
    except UnidentifiedImageError:
        raise ValueError(f"image must be one that PIL can read, got {name}") from None
    except (OSError, SyntaxError, ValueError, struct.error, Image.DecompressionBombError) as error:
        raise ValueError(f"image must be a whole file, got {name} ({error})") from None
    mode = image.mode
    if mode == "RGB":
        return image, mode
    require(mode in CONVERTED, f"mode of {name}", mode, f"RGB, or one that becomes RGB: {', '.join(CONVERTED)}")
    if mode == "P" and "transparency" in image.info:
        image = image.convert("RGBA")  # by way of RGBA, or PIL warns that transparency is lost
    return image.convert("RGB"), mode
