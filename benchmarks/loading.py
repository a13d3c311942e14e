"""How fast a folder of pictures is read for the first time: images a second and the most memory, side by side.

    python benchmarks/loading.py --small 60000 --photos 5000
    python benchmarks/loading.py --small 5000 --photos 100 --source OTHER/src     # beside another version's

It makes two folders, in `--folder` (kept and used again) or a temporary one: small pictures (PNG, 32 x 32 px) and
photos of 12 megapixels (JPEG, 4000 x 3000 px; ten different ones, each file with a comment of its own). Each is read
by a process of its own with an empty cache, `--rounds` times, the versions in turns; medians are printed.
"""

import argparse
import io
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image, ImageFilter

OURS = Path(__file__).resolve().parents[1] / "src"
CHILD = """
import json, resource, sys, time
from pocketlens.datasets import load
began = time.perf_counter()
dataset, sealed = load(sys.argv[1])
seconds, used = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_SELF)
n = len(dataset) + len(sealed)
print(json.dumps([n, seconds, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024]))
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--small", type=int, default=5000, help="small pictures")
    parser.add_argument("--photos", type=int, default=60, help="photos of 12 megapixels")
    parser.add_argument("--size", type=int, default=64, help="px, to which the photos are brought")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--source", type=Path, action="append", default=[], help="another version's folder src")
    parser.add_argument("--folder", type=Path, default=None)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = args.folder or Path(temporary)
        texts = {}
        if args.small:
            texts["small pictures"] = str(made(folder / f"small-{args.small}", args.small, small))
        if args.photos:
            texts["photos"] = (
                f"folder('{made(folder / f'photos-{args.photos}', args.photos, photo)}', size={args.size})"
            )
        for name, text in texts.items():
            measured: dict[Path, list[list[float]]] = {source: [] for source in (OURS, *args.source)}
            for _ in range(args.rounds):
                for source, rounds in measured.items():
                    rounds.append(read(text, source))
            for source, rounds in measured.items():
                n, seconds, used, memory = (statistics.median(each[place] for each in rounds) for place in range(4))
                speed = f"{n / seconds:,.1f} images/s ({n:,.0f} in {seconds:.1f} s, {used:.1f} s of all cores)"
                print(f"{name}, {source}: {speed}, {memory:,.0f} MB")


def read(text: str, source: Path) -> list[float]:
    """(images, seconds, seconds of all cores, MB at the most) of a first reading by the version in `source`."""
    with tempfile.TemporaryDirectory() as home:
        environment = {**os.environ, "PYTHONPATH": str(source), "POCKETLENS_HOME": home}
        words = [sys.executable, "-c", CHILD, text]
        out = subprocess.run(words, capture_output=True, text=True, check=True, env=environment)
        time.sleep(0.5)
    values: list[float] = json.loads(out.stdout)
    return values


def made(folder: Path, n: int, draw) -> Path:  # type: ignore[no-untyped-def]
    """A folder of two classes with `n` pictures, made unless it is there."""
    if not (folder / "done").exists():
        for i in range(n):
            target = folder / "ab"[i % 2]
            target.mkdir(parents=True, exist_ok=True)
            suffix, data = draw(i)
            (target / f"{i:06}{suffix}").write_bytes(data)
        (folder / "done").touch()
    return folder


def small(i: int) -> tuple[str, bytes]:
    pixels = np.random.default_rng(i).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    return ".png", encoded(Image.fromarray(pixels), "PNG")


def photo(i: int) -> tuple[str, bytes]:
    """The bytes of a photo; a comment of its own makes its file, not its pixels, another one."""
    if i % 10 not in _PHOTOS:
        coarse = np.random.default_rng(i).integers(0, 256, (60, 80, 3), dtype=np.uint8)
        image = Image.fromarray(coarse).resize((4000, 3000), Image.Resampling.BICUBIC)
        noisy = Image.effect_noise((4000, 3000), 20).filter(ImageFilter.GaussianBlur(1)).convert("RGB")
        _PHOTOS[i % 10] = encoded(Image.blend(image, noisy, 0.3), "JPEG")
    data = _PHOTOS[i % 10]
    comment = f"photo {i}".encode()
    return ".jpg", data[:2] + b"\xff\xfe" + (len(comment) + 2).to_bytes(2, "big") + comment + data[2:]


_PHOTOS: dict[int, bytes] = {}


def encoded(image: Image.Image, kind: str) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind)
    return buffer.getvalue()


if __name__ == "__main__":
    main()
