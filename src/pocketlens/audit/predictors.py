"""What predicts every row of an audit: a linear probe on a pretrained body, or cross-validated small models.

Small models are trained beside the body for outliers, which the body was not measured to find better, and for
distribution shift and augmentations, which follow the first one.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from pocketlens.audit.body import NAME, BodyFeatures, BodyView, body_features, predict_by_probe
from pocketlens.audit.cross_validation import N_FOLDS, CrossValidation, cross_validate
from pocketlens.audit.options import AuditOptions, Skipped
from pocketlens.audit.out_of_fold import OutOfFold, obstacle
from pocketlens.audit.phases import Phases
from pocketlens.data.dataset import Dataset
from pocketlens.events import Work
from pocketlens.training.linear_probe import N_FOLDS as N_PROBE_FOLDS

_OF_MODELS = ("shift", "augment")  # the checks that follow a small model where there is one


@dataclass(frozen=True, eq=False)
class Predictors:
    """What predicts every row, and the small models, or why there are none.

    Attributes:
        rows: the predictions.
        models: at least the first one, with the predictions of its fold.
    """

    rows: OutOfFold | Skipped
    models: CrossValidation | Skipped

    def kept_in(self, phases: Phases) -> Phases:
        """Where to keep what follows from the predictions: nowhere if they are by a body, which phases do not tell."""
        return phases if self.rows is self.models else Phases()


def feature_steps(options: AuditOptions, with_body: bool) -> Iterator[str]:
    """What `find_features` will do, a line for each step."""
    if with_body and body_is_needed(options):
        yield f"compute the features of {NAME}, where they are not cached"


def predictor_steps(options: AuditOptions, with_body: bool) -> Iterator[str]:
    """What `find_predictors` will do, a line for each step."""
    if with_body and options.needs_predictions:
        yield f"predict every image by a linear probe on the features, in {N_PROBE_FOLDS} folds"
        if _models_are_wanted(options):
            yield f"cross-validate a small model in up to {N_FOLDS} folds, for the checks that follow it"
    elif options.needs_predictions:
        yield f"cross-validate a small model in {N_FOLDS} folds, to predict every image"


def body_is_needed(options: AuditOptions) -> bool:
    """Whether a check looks at the features of a pretrained body, where there is one."""
    return not options.quick and (options.skipped("duplicates") is None or options.needs_predictions)


def find_features(body: BodyView | None, options: AuditOptions) -> Work[BodyFeatures | None]:
    """The features of a body that a check looks at, as `body_features` does."""
    if body is None or not body_is_needed(options):
        return None
    return (yield from body_features(body, options.device, with_test=options.skipped("duplicates") is None))


def find_predictors(
    dataset: Dataset, features: BodyFeatures | None, options: AuditOptions, phases: Phases
) -> Work[Predictors]:
    """Predicts every row by the probe where there are features of a body, otherwise by small models.

    The small models, which do not depend on a body, are kept in `phases`; the probe is fitted again.

    Raises:
        PocketlensError: a training diverged.
    """
    if not options.needs_predictions:
        nothing = Skipped("no check needs it")
        return Predictors(nothing, nothing)
    if (reason := obstacle(dataset)) is not None:
        return Predictors(Skipped(reason), Skipped(reason))
    rows = None
    if features is not None:
        rows = yield from predict_by_probe(dataset, features.development)
    if rows is not None and not _models_are_wanted(options):
        return Predictors(rows, Skipped("no check needs it"))
    n_models = N_FOLDS if rows is None or _outliers_need_models(options) else 1
    models = yield from cross_validate(
        dataset, seed=options.seed, device=options.device, n_models=n_models, phases=phases
    )
    return Predictors(models if rows is None else rows, models)


def _outliers_need_models(options: AuditOptions) -> bool:
    return options.skipped("outliers") is None and options.run is None


def _models_are_wanted(options: AuditOptions) -> bool:
    return _outliers_need_models(options) or any(options.skipped(check) is None for check in _OF_MODELS)
