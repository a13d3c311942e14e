"""What an audit will do, in words, before it does it."""

from __future__ import annotations

from pocketlens.audit.nearest import is_exact
from pocketlens.audit.options import AuditOptions
from pocketlens.audit.predictors import feature_steps, predictor_steps


def plan(options: AuditOptions, n: int, *, with_body: bool = False) -> tuple[str, ...]:
    """What `audit` will do with `n` images, with a pretrained body or without, in order, a line for each step."""
    steps = ["measure the basics: classes, image sizes, pixel statistics, mean and sample images"]
    steps += feature_steps(options, with_body)
    if options.skipped("duplicates") is None:
        kind = "duplicates with equal pixels" if options.quick else "exact and near duplicates"
        how = "" if options.quick or is_exact(n) else ", by an approximate index"
        steps.append(f"find {kind}, within and across development and test images{how}")
    steps += predictor_steps(options, with_body)
    if options.skipped("classes") is None:
        steps.append("measure how difficult each class is")
    if options.skipped("outliers") is None:
        steps.append("rank outliers, by an autoencoder and by nearest neighbours")
    if options.skipped("labels") is None:
        steps.append("find label issues")
    if options.skipped("shift") is None:
        steps.append("measure the distribution shift between development and test images (test labels stay sealed)")
    if options.skipped("augment") is None:
        steps.append("draw augmentations, and test whether a model still recognises augmented images")
    return (*steps, "write the page, look.json and the CSV files")
