"""Own images: a folder with one folder for each class. Without an argument it paints some images to show how."""

import random
import sys
from pathlib import Path

from PIL import Image, ImageDraw

import pocketlens as pl


def main(images: Path, runs: Path, minutes: float) -> None:
    """Lets `auto` find a classifier for the images within the time, and asks it about one of them."""
    result = pl.auto(str(images), minutes=minutes, runs=runs)
    print(f"the page: {result.page}")
    picture = next(images.rglob("*.png"))
    for row in pl.predict(result, [picture], runs=runs):
        print(f"{row.file}: {row.classes[0]}, {row.probabilities[0]:.0%}")


def paint(folder: Path, n: int = 40) -> Path:
    """Two classes of 16 x 16 px images: discs and squares of random place, size and colour."""
    for kind in ("disc", "square"):
        (folder / kind).mkdir(parents=True, exist_ok=True)
        for number in range(n):
            image = Image.new("RGB", (16, 16), tuple(random.randrange(100) for _ in range(3)))
            x, y, size = random.randint(1, 7), random.randint(1, 7), random.randint(4, 7)
            draw = ImageDraw.Draw(image)
            shape = draw.ellipse if kind == "disc" else draw.rectangle
            shape((x, y, x + size, y + size), fill=tuple(random.randrange(150, 256) for _ in range(3)))
            image.save(folder / kind / f"{number}.png")
    return folder


if __name__ == "__main__":
    own = Path(sys.argv[1]) if len(sys.argv) > 1 else paint(Path("painted"))
    main(own, Path("pocketlens-runs"), 1.0)
