"""The methods paragraph: what was done, written from what was recorded, in sentences that can go into a paper."""

from __future__ import annotations

from pocketlens.recipe import Recipe, parse_optimizer
from pocketlens.report.run.facts import Facts
from pocketlens.report.titles import run_title
from pocketlens.scoring.ledger import ordinal
from pocketlens.text import counted, format_duration, times


def write_methods(facts: Facts) -> str:
    """One paragraph of plain text; it says nothing that the run did not record."""
    return " ".join([*_data(facts), *_training(facts), *_judging(facts)])


def write_title(facts: Facts) -> str:
    """The heading of its page."""
    return run_title(facts.label, facts.data)


def _data(facts: Facts) -> list[str]:
    image = (
        f", images of {facts.shape[0]} x {facts.shape[1]} px with {_channels(facts.shape[2])}" if facts.shape else ""
    )
    classes = f", {counted(len(facts.scores.classes), 'class')}" if facts.scores is not None else ""
    total = facts.n_train + facts.n_val
    fewer, n_dropped = facts.experiment.get("rows") is not None, facts.experiment.get("n_dropped", 0)
    some = fewer or n_dropped > 0
    said = [
        f"Of the development images of {facts.data}{classes}{image}, {total:,} were used."
        if some
        else f"The data are the {counted(total, 'development image')} of {facts.data}{classes}{image}."
    ]
    if facts.n_val and facts.experiment["given_split"]:
        kept = ", chosen among the others," if fewer else ""
        said.append(
            f"{facts.n_val:,} of them, given as such, are for validation; {facts.n_train:,}{kept} were trained on."
        )
    elif facts.n_val:
        said.append(
            f"{facts.n_val:,} of them, stratified by class and chosen by the hash of the image (split seed "
            f"{facts.experiment['split_seed']}), were held out for validation and {facts.n_train:,}"
            f"{', a stratified subset of the others,' if fewer else ''} were trained on."
        )
    else:
        said.append("All of them were used for training; there was no validation set.")
    n_corrected = facts.experiment.get("n_relabelled")
    if n_corrected:
        said.append(f"{n_corrected:,} of their labels were corrected by hand before training.")
    if n_dropped:
        said.append(f"{counted(n_dropped, 'other image was', 'other images were')} dropped by hand.")
    if facts.recipe.prepare != "none":
        said.append(f"Every image was prepared by {facts.recipe.prepare}.")
    return said


def _training(facts: Facts) -> list[str]:
    if facts.experiment.get("features_of"):
        return _fitting(facts)
    if facts.recipe.is_probe:
        return _probing(facts)
    recipe, done = facts.recipe, facts.experiment["n_done"]
    augment = "no augmentation" if recipe.augment == "none" else f"the augmentation {recipe.augment}"
    epochs = len(facts.history)
    done_text = f"{counted(done, 'step')} of at most {counted(recipe.batch_size, 'image')} ({counted(epochs, 'epoch')})"
    said = [
        f"The network {recipe.model} was trained for {done_text} with {recipe.optimizer}, a peak learning rate of "
        f"{recipe.lr:g} under the schedule {recipe.schedule}, weight decay {recipe.weight_decay:g} on "
        f"{recipe.decay_on}, the loss {recipe.loss}, {augment} and image sizes {recipe.sizes}, in {recipe.precision}, "
        f"with seed {facts.experiment['seed']} (recipe {facts.experiment['recipe_id']})."
    ]
    if recipe.start is not None:
        said.append(f"It started from the weights of {recipe.start} (freeze {recipe.freeze}, head {recipe.head}).")
    if recipe.head == "probe":
        said.append("Before the first step the head was fitted by logistic regression on the features of the body.")
    if recipe.class_weight == "balanced":
        said.append("The loss weighted each image by the inverse frequency of its class among the training images.")
    if recipe.sampling == "balanced":
        said.append("Every epoch drew equally many training images of each class.")
    if facts.experiment["minutes"] is not None:
        said.append(
            f"The number of steps was set beforehand from a limit of {counted(facts.experiment['minutes'], 'minute')}."
        )
    if recipe.patience is not None and facts.n_val:
        said.append(
            f"Training was to stop after {counted(recipe.patience, 'epoch')} without a better validation accuracy."
        )
    if facts.seconds:
        said.append(f"Training took {format_duration(facts.seconds)}.")
    if facts.status != "complete":
        said.append(f"The run is not finished: it is {facts.status}.")
    elif recipe.keep == "best" and facts.n_val:
        said.append("The result is the weights of the epoch with the highest validation accuracy.")
    else:
        said.append("The result is the weights after the last step.")
    kept = _remembered(recipe)
    if kept and facts.status == "complete":
        said.append(f"These weights are {kept}.")
    said += _interpolated(facts)
    return said


def _interpolated(facts: Facts) -> list[str]:
    """Of a run whose result lies between its first and its last weights."""
    chosen = facts.experiment["interpolation"]
    if chosen is None:
        return []
    points, share = chosen["points"], f"{100 * chosen['alpha']:g} %"
    how = f"chosen among {len(points)} by the validation images" if points else "set beforehand"
    return [f"The classifier lies {share} of the way from the weights before the first step to these (WiSE-FT), {how}."]


def _fitting(facts: Facts) -> list[str]:
    """Of a run in which nothing was trained: what was fitted on the features of another run."""
    seconds = f" It took {format_duration(facts.seconds)}." if facts.seconds else ""
    return [
        f"{_body(facts)} was not trained further: {facts.experiment['features_of']} was fitted "
        f"on the inputs of its head for the training images, without augmentation.{seconds}"
    ]


def _probing(facts: Facts) -> list[str]:
    """Of a linear head that was fitted on the features of a frozen body."""
    seconds = f" It took {format_duration(facts.seconds)}." if facts.seconds else ""
    return [
        f"{_body(facts)} was not trained further: its head is a multinomial logistic regression on the features of the "
        "training images, without augmentation, with an L2 penalty that was chosen by the log-loss of five-fold "
        f"cross-validation inside the training images (recipe {facts.experiment['recipe_id']}).{seconds}"
    ]


def _body(facts: Facts) -> str:
    if facts.recipe.start is None:
        return f"The network {facts.recipe.model} with its pretrained weights"
    weights = facts.experiment["start_weights"]
    return f"The network {facts.recipe.model} of the run {facts.recipe.start} (weights {weights})"


def _remembered(recipe: Recipe) -> str:
    names = [part.name for part in parse_optimizer(recipe.optimizer)[1:]]
    if "ema" in names:
        return "the exponential moving average of those of the steps"
    return "the slow weights of lookahead" if "lookahead" in names else ""


def _judging(facts: Facts) -> list[str]:
    scores = facts.scores
    if scores is None:
        return ["There are no scores yet."]
    said = []
    if scores.part == "test" and scores.opening is not None:
        total = max(len(facts.openings), scores.openings or 0)
        said.append(
            f"The {counted(scores.n, 'test image was', 'test images were')} sealed during training and "
            "selection; the ledger records that this "
            f"test set has been opened {times(total)}, and these scores are of the {ordinal(scores.opening)} opening."
        )
    else:
        said.append(
            f"Scores are those of the {counted(scores.n, 'validation image')}; the test images stayed "
            "sealed, so these numbers "
            "are optimistic to the extent that validation was used for selection."
        )
    said.append(
        "Intervals hold the true value in 95 % of cases: Wilson's for proportions and, carried over from "
        "tp / (tp + fp + fn), for F1; basic bootstrap over images (1,000 resamples, fixed seed) for macro and "
        "weighted means; normal for log-loss. They cover the sampling of images, not the choice of the seed."
    )
    said.append(
        "Classes are named as low or high if their F1 differs significantly from the median, with Bonferroni's "
        "correction for the number of classes."
    )
    if facts.reliability is not None and facts.reliability.temperature is not None:
        said.append(f"Probabilities are {facts.reliability.temperature.said()}.")
    if facts.robustness is not None:
        said.append(
            f"Robustness was measured on {counted(facts.robustness.n, 'validation image')} under the 15 corruptions of "
            "Hendrycks and Dietterich (2019) at 5 severities; frost was made of noise instead of photographs."
        )
    if scores.coarse is not None:
        said.append("Superclass accuracy takes the superclass with the largest sum of its classes' probabilities.")
    return said


def _channels(count: int) -> str:
    return "one grey channel" if count == 1 else counted(count, "channel")
