"""PNG files with the settings of their image, so that other tools can read them and a later run can find them."""

from __future__ import annotations

import os
import re
import zlib
from collections.abc import Callable, Iterator, Mapping
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from commoncanvas.core.files import replace_bytes

if TYPE_CHECKING:
    from PIL.Image import Image

PARAMETERS = "parameters"
"""The text that AUTOMATIC1111's web UI writes, and that most other tools read."""
MAGIC = b"\x89PNG\r\n\x1a\n"
MOST_TEXT, MOST_TEXTS = 1 << 16, 100
SAMPLERS = {
    "DDIMScheduler": "DDIM",
    "DDPMScheduler": "DDPM",
    "DPMSolverMultistepScheduler": "DPM++ 2M",
    "DPMSolverSinglestepScheduler": "DPM++ 2S",
    "EulerAncestralDiscreteScheduler": "Euler a",
    "EulerDiscreteScheduler": "Euler",
    "HeunDiscreteScheduler": "Heun",
    "LMSDiscreteScheduler": "LMS",
    "PNDMScheduler": "PLMS",
    "UniPCMultistepScheduler": "UniPC",
}
"""diffusers' classes, and what these tools call them."""


def parameters(info: Mapping[str, Any]) -> str:
    """An image's settings as one text. See PARAMETERS."""
    settings = {
        "Steps": info["steps"],
        "Sampler": SAMPLERS.get(info["scheduler"], str(info["scheduler"]).removesuffix("Scheduler")),
        "CFG scale": f"{info['guidance_scale']:g}",
        "Seed": info["seed"],
        "Size": f"{info['width']}x{info['height']}",
        "Model hash": info["model_sha256"][:10],
        "Model": _quoted(info["model"]),
        "Version": _quoted(info["software"]),
    }
    lines = [info["prompt"]]
    lines += [f"Negative prompt: {info['negative_prompt']}"] if info["negative_prompt"] else []
    return "\n".join([*lines, ", ".join(f"{name}: {value}" for name, value in settings.items())])


def _quoted(value: str) -> str:
    """Text that contains what separates settings is in quotes."""
    return f'"{value}"' if re.search("[,:\n]", value) else value


def has_chunk(path: Path, kind: bytes) -> bool:
    """Whether a PNG file has a chunk of this kind (https://www.w3.org/TR/png-3/#5Chunk-layout)."""
    with path.open("rb") as file:
        file.seek(8)
        while len(head := file.read(8)) == 8:
            if head[4:] == kind:
                return True
            file.seek(int.from_bytes(head[:4]) + 4, os.SEEK_CUR)
    return False


def texts_of(data: bytes) -> dict[str, str]:
    """The texts of a PNG file (https://www.w3.org/TR/png-3/#11textinfo), also of a broken one: what can be read. At
    most MOST_TEXT bytes of each, and MOST_TEXTS texts.
    """
    found: dict[str, str] = {}
    place = len(MAGIC)
    while data.startswith(MAGIC) and place + 8 <= len(data) and len(found) < MOST_TEXTS:
        size, kind = int.from_bytes(data[place : place + 4]), data[place + 4 : place + 8]
        content = data[place + 8 : place + 8 + size]
        place += 12 + size
        if kind in (b"tEXt", b"zTXt", b"iTXt"):
            name, _, rest = content.partition(b"\0")
            found.setdefault(name.decode("latin-1"), _text(kind, rest))
    return found


def _text(kind: bytes, rest: bytes) -> str:
    """The text after the name of a chunk; what can't be decompressed is left out."""
    packed, code = kind == b"zTXt", "latin-1"
    if kind == b"zTXt":
        rest = rest[1:]
    elif kind == b"iTXt":
        packed, code = rest[:1] == b"\1", "utf-8"
        rest = b"".join(rest[2:].split(b"\0", 2)[2:])  # after its language, and its name in it
    if packed:
        try:
            rest = zlib.decompressobj().decompress(rest, MOST_TEXT)
        except zlib.error:
            rest = b""
    return rest[:MOST_TEXT].decode(code, "replace")


def made_before(info: Mapping[str, Any], folder: Path) -> Image | None:
    """The image with these settings in `folder`, with its `info` and file; None if there is none."""
    from PIL import Image

    wanted = {name: str(value) for name, value in info.items()}
    for path in _names(info, folder):
        if not path.exists():
            return None
        try:
            with Image.open(path) as image:
                image.load()
                if {name: image.info.get(name) for name in wanted} == wanted:
                    found = image.convert("RGB")
                    found.info.clear()
                    found.info.update(info, file=str(path))
                    return found
        except OSError:
            continue
    return None


def save(image: Image, folder: Path, signed: Callable[[bytes], bytes]) -> Path:
    """Write an image with its `info` into `folder`. A file of the same name is kept: the new one gets a number.

    `signed`: what adds credentials to the file.
    """
    content = signed(encoded(image))
    folder.mkdir(parents=True, exist_ok=True)
    path = next(path for path in _names(image.info, folder) if not path.exists())
    replace_bytes(path, content)
    return path


def encoded(image: Image) -> bytes:
    """An image as a PNG file, with its `info` as texts."""
    from PIL.PngImagePlugin import PngInfo

    info = {str(name): value for name, value in image.info.items()}
    text = PngInfo()
    for name, value in info.items():
        text.add_itxt(name, str(value))
    text.add_itxt(PARAMETERS, parameters(info))
    png = BytesIO()
    image.save(png, "PNG", pnginfo=text)
    return png.getvalue()


def has_settings(path: Path, info: Mapping[str, Any]) -> bool:
    """Whether a file is there with these texts. The pixels are not read."""
    from PIL import Image

    try:
        with Image.open(path) as image:
            return {name: image.info.get(name) for name in info} == {
                name: str(value) for name, value in info.items()
            }
    except OSError:
        return False


def name_of(info: Mapping[Any, Any]) -> str:
    """The name of a file: what was drawn, and its seed."""
    prompt = re.sub(r"[^\w]+", "-", info["prompt"].lower()).strip("-")[:60] or "image"
    return f"{prompt}-{info['seed']}.png"


def _names(info: Mapping[Any, Any], folder: Path) -> Iterator[Path]:
    """NAME.png, NAME-2.png, ...: the names that an image with these settings may have."""
    name, number = name_of(info).removesuffix(".png"), 1
    yield folder / f"{name}.png"
    while True:
        number += 1
        yield folder / f"{name}-{number}.png"
