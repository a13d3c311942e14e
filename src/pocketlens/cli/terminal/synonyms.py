"""What people mean by options that other programs have: `--learning-rate` is `--lr` here."""

from __future__ import annotations

from collections.abc import Collection

_SAME = {  # other names of our options
    "--lr": ("learning-rate", "learningrate", "base-lr", "max-lr", "rate", "eta"),
    "--epochs": ("epoch", "max-epochs", "num-epochs", "n-epochs", "num-train-epochs"),
    "--batch-size": ("batch", "bs", "batchsize", "batches", "train-batch-size"),
    "--weight-decay": ("wd", "l2", "decay", "regularization"),
    "--optimizer": ("optim", "opt", "solver"),
    "--schedule": ("scheduler", "lr-schedule", "lr-scheduler", "sched"),
    "--loss": ("criterion", "loss-function", "objective"),
    "--model": ("arch", "architecture", "net", "network", "backbone"),
    "--augment": ("aug", "augmentation", "augmentations", "transform", "transforms"),
    "--val-fraction": ("val-split", "validation-split", "validation-fraction", "val-size", "valid-size", "holdout"),
    "--patience": ("early-stopping", "early-stop"),
    "--minutes": ("time", "time-limit", "max-time", "budget", "timeout"),
    "--label": ("name", "run-name", "tag", "title", "experiment"),
    "--seed": ("random-state", "random-seed", "manual-seed", "rng"),
    "--repeat": ("repeats", "repetitions", "n-runs", "num-runs"),
    "--device": ("gpu", "gpus", "cuda", "accelerator"),
    "--threads": ("workers", "num-workers", "cpus", "cores", "n-jobs"),
    "--jobs": ("parallel", "num-processes", "n-parallel"),
    "--precision": ("amp", "fp16", "bf16", "half", "mixed-precision", "dtype"),
    "--start": ("checkpoint", "weights", "init", "resume-from", "finetune-from", "from"),
    "--runs": ("output-dir", "outdir", "log-dir", "logdir", "save-dir", "run-dir", "project"),
    "--out": ("output", "out-dir", "save", "save-to", "dest"),
    "--data": ("data-dir", "datadir", "data-root", "root", "data-path"),
    "--rows": ("samples", "n-samples", "subset", "limit", "max-samples", "num-train"),
    "--folds": ("cv", "k-folds", "kfold", "cross-validation"),
    "--views": ("tta", "test-time-augmentation"),
    "--top": ("top-k", "topk", "k"),
    "--trials": ("n-trials", "num-trials", "max-trials"),
    "--space": ("search-space", "params", "param-grid"),
    "--recipe": ("config", "cfg", "preset", "config-file"),
    "--track": ("tracker", "logger", "log", "wandb", "tensorboard", "mlflow"),
    "--relabel": ("labels", "corrected-labels"),
    "--open": ("show", "browser", "view", "live"),
}
_INSIDE = {  # options of components
    "momentum": ("--optimizer", '--optimizer "sgd(momentum=0.9)"'),
    "nesterov": ("--optimizer", '--optimizer "sgd(momentum=0.9)"'),
    "dropout": ("--model", '--model "cnn(dropout=0.5)"'),
    "label-smoothing": ("--loss", '--loss "cross_entropy(smoothing=0.1)"'),
    "smoothing": ("--loss", '--loss "cross_entropy(smoothing=0.1)"'),
    "warmup": ("--schedule", '--schedule "cosine(warmup=0.1)"'),
    "warmup-epochs": ("--schedule", '--schedule "cosine(warmup=0.1)"'),
    "image-size": ("--prepare", '--prepare "resize(64)"'),
    "img-size": ("--prepare", '--prepare "resize(64)"'),
    "imgsz": ("--prepare", '--prepare "resize(64)"'),
    "resize": ("--prepare", '--prepare "resize(64)"'),
    "mixup": ("--augment", '--augment "flip | mixup"'),
    "cutmix": ("--augment", '--augment "flip | cutmix"'),
    "ema": ("--optimizer", '--optimizer "sgd | ema"'),
    "pretrained": ("--recipe", "--recipe finetune"),
    "class-weights": ("--class-weight", "--class-weight balanced"),
}


def hint_for(name: str, known: Collection[str]) -> str | None:
    """What to type for an option of another program, where this command has it; None where nothing is known.

    Args:
        name: the unknown option, with its dashes.
        known: the options of the command.
    """
    word = name.strip("-").lower().replace("_", "-")
    for ours, others in _SAME.items():
        if ours in known and (word in others or f"--{word}" == ours):
            return f"did you mean {ours!r}?"
    if word in _INSIDE:
        option, example = _INSIDE[word]
        return f"type it as {example}" if option in known else None
    return None
