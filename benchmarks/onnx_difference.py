"""How far an exported ONNX file is from `predict` on photos as they lie on disk: the largest difference.

    python benchmarks/onnx_difference.py RUN photos/ --photos 1000

The ONNX file gets the decoded pixels of each photo at its own size: it resizes, prepares and calibrates by itself.
`predict` reads the file itself. The photos need not be of the classes of the run.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path

import numpy as np
import onnxruntime
from PIL import Image, ImageOps

import pocketlens as pl


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--photos", type=int, default=1000, help="at most so many, evenly taken")
    parser.add_argument("--runs", type=Path, default=Path("pocketlens-runs"))
    args = parser.parse_args()
    found = sorted(path for path in args.folder.rglob("*") if path.suffix.lower() in (".jpg", ".jpeg", ".png"))
    photos = found[:: max(1, len(found) // args.photos)][: args.photos]
    with tempfile.TemporaryDirectory() as folder:
        exported = pl.export(args.run, format="onnx", out=Path(folder) / "model.onnx", runs=args.runs)
        session = onnxruntime.InferenceSession(exported.path, providers=["CPUExecutionProvider"])
    classes = json.loads(session.get_modelmeta().custom_metadata_map["pocketlens"])["classifier"]["classes"]
    rows = pl.predict(args.run, photos, top=len(classes), runs=args.runs).rows
    differences, n_same = [], 0
    for photo, row in zip(photos, rows, strict=True):
        with Image.open(photo) as image:
            pixels = np.asarray(ImageOps.exif_transpose(image).convert("RGB"))
        (theirs,) = session.run(["probabilities"], {"images": pixels[None]})
        of = dict(zip(row.classes, row.probabilities, strict=True))
        ours = np.array([of[name] for name in classes])
        differences.append(float(np.abs(theirs[0] - ours).max()))
        n_same += int(np.argmax(theirs[0]) == np.argmax(ours))
    print(
        f"{len(photos):,} photos: largest difference of a probability {max(differences):.2g}, median "
        f"{np.median(differences):.2g}; the same class first for {n_same:,}"
    )


if __name__ == "__main__":
    main()
