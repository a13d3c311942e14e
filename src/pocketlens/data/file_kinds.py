"""What a file is, by its first bytes and not by its name, which kinds are read, and what to do about the others."""

from __future__ import annotations

import importlib.util
import math
import warnings
from functools import cache

from pocketlens.errors import PocketlensError

N_HEAD = 132  # bytes that decide what a file is
SUFFIXES = frozenset(
    ".png .apng .jpg .jpeg .jpe .jfif .webp .bmp .dib .gif .tif .tiff .ppm .pgm .pbm .pnm".split(" ")
)  # names by which a file in a folder counts as an image, unread; its content decides what it is
INSTALL_HEIC = 'pip install "pocketlens[formats]"'

ALWAYS = ("PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF", "PPM")
_OPTIONAL = {"AVIF": "avif", "JPEG2000": "jpg_2000"}  # formats that Pillow may read, and its names of these features
_NO_IMAGES = frozenset(
    ".txt .csv .tsv .json .jsonl .xml .yaml .yml .toml .ini .cfg .log .md .rst .html .htm .css .js .py .ipynb .r .m "
    ".sh .npy .npz .parquet .pkl .pt .pth .safetensors .onnx .h5 .hdf5 .db .sqlite .xls .xlsx .doc .docx .pdf .zip "
    ".tar .gz .tgz .7z .rar .mp4 .avi .mov .mkv .webm .wav .mp3 .bak .tmp .part .crdownload .old .lock".split()
)  # names that say that a file is no image, or a leftover of one; it is never opened
_RAW = frozenset(".nef .nrw .cr2 .cr3 .crw .arw .srf .sr2 .dng .orf .rw2 .raf .pef .srw .x3f .3fr .iiq".split(" "))
_SLIDES = frozenset(".svs .ndpi .scn .mrxs .vms .bif .czi .lif .nd2 .vsi .oib .oif .lsm .stk .qptiff".split(" "))
_VOLUMES = frozenset(".nii .mha .mhd .nrrd .hdr .img .mgz .mnc".split(" "))
_MAGIC = (  # where in the file, the bytes there, what it is
    (0, b"\x89PNG\r\n\x1a\n", "PNG"),
    (0, b"\xff\xd8\xff", "JPEG"),
    (0, b"GIF87a", "GIF"),
    (0, b"GIF89a", "GIF"),
    (8, b"WEBP", "WEBP"),
    (0, b"II*\0", "TIFF"),
    (0, b"MM\0*", "TIFF"),
    (0, b"II+\0", "TIFF"),
    (0, b"MM\0+", "TIFF"),
    (0, b"\0\0\0\x0cjP  \r\n\x87\n", "JPEG2000"),
    (0, b"\xff\x4f\xff\x51", "JPEG2000"),
    (0, b"\0\0\0\x0cJXL \r\n\x87\n", "JPEG XL"),
    (0, b"\xff\x0a", "JPEG XL"),
    (128, b"DICM", "DICOM"),
    (0, b"8BPS", "PSD"),
    (0, b"%!PS", "EPS"),
    (0, b"%PDF", "PDF"),
    (0, b"SIMPLE  =", "FITS"),
    (0, b"v/1\x01", "OpenEXR"),
    (0, b"<svg", "SVG"),
)
_HEIC_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs")
_REMEDIES = {
    "DICOM": "convert them to 16-bit PNG or TIFF first",
    "JPEG XL": "convert them to PNG or JPEG first",
    "PSD": "export them as PNG or TIFF first",
    "EPS": "export them as PNG first",
    "PDF": "export their pages as PNG first",
    "SVG": "export them as PNG first",
    "FITS": "convert them to 16-bit or float TIFF first",
    "OpenEXR": "convert them to float TIFF first",
    "raw photo": "export them as JPEG or TIFF first",
    "slide or stack of a microscope": "export them as PNG or TIFF first",
    "volume": "export their slices as 16-bit PNG or TIFF first",
    "video": "extract their frames as PNG or JPEG first",
    "archive": "unpack them first",
}
_BY_SUFFIX = {
    **dict.fromkeys(_RAW, "raw photo"),
    **dict.fromkeys(_SLIDES, "slide or stack of a microscope"),
    **dict.fromkeys(_VOLUMES, "volume"),
    **dict.fromkeys((".mp4", ".avi", ".mov", ".mkv", ".webm"), "video"),
    **dict.fromkeys((".zip", ".tar", ".gz", ".tgz", ".7z", ".rar"), "archive"),
    **dict.fromkeys((".dcm", ".dicom", ".ima"), "DICOM"),
    **dict.fromkeys((".heic", ".heif", ".hif"), "HEIC"),
    **dict.fromkeys((".jp2", ".j2k", ".jpx", ".jpf", ".j2c", ".jpc"), "JPEG2000"),
    ".avif": "AVIF",
    ".jxl": "JPEG XL",
    ".psd": "PSD",
    ".eps": "EPS",
    ".pdf": "PDF",
    ".svg": "SVG",
    ".fits": "FITS",
    ".exr": "OpenEXR",
}


class BadImage(PocketlensError):
    """An image that cannot be read; the message is the reason, without the file's name."""


class TooLarge(BadImage):
    """An image of more pixels than are decoded."""

    def __init__(self, n_pixels: int, max_pixels: int) -> None:
        found, most = round(n_pixels / 1e6), round(max_pixels / 1e6)
        is_clear = most > 0 and found > most
        text = f"{found} Mpx > {most} Mpx" if is_clear else f"{n_pixels / 1e6:g} Mpx > {max_pixels / 1e6:g} Mpx"
        super().__init__(text)
        self.n_pixels = n_pixels

    @property
    def limit(self) -> int:
        """The `max_pixels` that reads it, in whole megapixels."""
        return math.ceil(self.n_pixels / 1e6) * 1_000_000


@cache
def formats() -> tuple[str, ...]:
    """The formats that Pillow reads here, by its names; HEIC comes from pillow-heif (see `reads_heic`)."""
    from PIL import features

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # an older Pillow warns of features that it does not know
        return (*ALWAYS, *(name for name, feature in _OPTIONAL.items() if features.check(feature)))


@cache
def reads_heic() -> bool:
    """Whether pillow-heif is installed."""
    return importlib.util.find_spec("pillow_heif") is not None


def kind_of(head: bytes) -> str | None:
    """What a file is by its first `N_HEAD` bytes: a name such as PNG, HEIC or DICOM, or None where that is unknown."""
    if head[4:8] == b"ftyp":
        return _kind_of_box(head)
    for offset, magic, kind in _MAGIC:
        if head[offset : offset + len(magic)] == magic:
            return kind
    if head[:2] == b"BM" and head[14:18] in (bytes([size, 0, 0, 0]) for size in (12, 40, 52, 56, 64, 108, 124)):
        return "BMP"
    if head[:1] == b"P" and head[1:2] in tuple(b"%d" % digit for digit in range(1, 7)) and head[2:3].isspace():
        return "PPM"
    return None


def reads(kind: str | None) -> bool:
    """Whether files of this kind are read as images."""
    return kind in formats() or (kind == "HEIC" and reads_heic())


def may_be_image(suffix: str) -> bool:
    """Whether a file that ends like this, in lower case, may be an image by its content.

    Raw photos and microscopes' files begin like a TIFF and would show a thumbnail or one layer: they are none.
    """
    return suffix not in _NO_IMAGES and suffix not in _RAW and suffix not in _SLIDES and not suffix.endswith("~")


def remedy(suffix: str, kind: str | None) -> str:
    """What a person can do about files that are not read as images: `to read them: …`, or nothing where none are.

    Args:
        suffix: how their names end, in lower case, or nothing.
        kind: what they are by their content, where that is known.
    """
    what = kind if kind in _REMEDIES or kind == "HEIC" or kind in _OPTIONAL else _BY_SUFFIX.get(suffix)
    if what == "HEIC":
        return "" if reads_heic() else f"to read them: {INSTALL_HEIC}"
    if what in _OPTIONAL:
        return "" if what in formats() else f"to read {what}: pip install --upgrade pillow"
    return _REMEDIES.get(what or "", "")


def unreadable(kind: str | None, error: Exception) -> str:
    """The reason why a file that nothing opened is no image."""
    if kind == "HEIC" and not reads_heic():
        return f"it is HEIC; to read it: {INSTALL_HEIC}"
    if kind in _OPTIONAL and kind not in formats():
        return f"it is {kind}, which this Pillow does not read; to read it: pip install --upgrade pillow"
    if reads(kind):
        text = " ".join(str(error).split())
        unknown = type(error).__name__ == "UnidentifiedImageError" or not text
        return f"it is {kind} but cannot be read" + ("" if unknown else f" ({text})")
    known = f"it is {kind}, " if kind is not None else "it is "
    return f"{known}not one of {', '.join(formats())}"


def _kind_of_box(head: bytes) -> str | None:
    """AVIF and HEIC are boxes of one kind, told apart by their brands."""
    length = int.from_bytes(head[:4], "big")
    brands = [head[8:12], *(head[at : at + 4] for at in range(16, min(length, len(head)), 4))]
    if any(brand in (b"avif", b"avis") for brand in brands):
        return "AVIF"
    return "HEIC" if any(brand in _HEIC_BRANDS for brand in brands) else None
