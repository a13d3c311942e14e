"""Report D: CIFAR-100, small CNNs from scratch, a pretrained VGG-19, and a random forest on its features.

The report explores the data, trains a net of three and one of five convolutions, the second with augmentation and 90 %
of the rows too, then puts a new head on VGG-19 trained on ImageNet, its last six layers dropped, at 32 and at 96 px,
and a random forest on its features. Give VGG-19's weights as `--weights FILE` (safetensors or torch, names as
torchvision and timm have them) or with `--hub`. Without them, the same commands use EfficientNet-Lite0, whose ImageNet
weights are installed with pocketlens. Beside the frozen body stands one that is trained, too.
"""

from __future__ import annotations

from _numbers import Step
from _steps import SHORT_LENS, Asked, main

THREE = (
    "cnn(channels=(16, 32, 64), padding='valid', pooling=('max', 'none', 'average'), dense=(), "
    "batch_norm=('after', 'none', 'after'), dropout=(0.1, 0.2, 0.25))"
)
FIVE = (
    "cnn(channels=(16, 32, 64, 128, 256), padding='valid', pooling=('max', 'none', 'none', 'average', 'none'), "
    "dense=(), batch_norm='after', dropout=(0.2, 0.15, 0.25, 0.3, 0.45))"
)
KERAS = (
    "rotation(degrees=10) | translation(fraction=0.1) | shear(degrees=0.01) | zoom(low=0.95, high=1.05) | "
    "flip(alternate=False)"
)
PLAIN = (
    "--recipe default --sizes 100% --loss cross_entropy --optimizer adam --lr 0.001 --schedule constant "
    "--decay-on weights --weight-decay 0 --batch-size 64"
)
DENSE = "dense=(512, 256), dense_norm=(True, False), dropout=(0.3, 0.4)"
SMALL_HEAD, LARGE_HEAD = "gather='flatten'", f"gather='flatten', {DENSE}"
LITE = "timm(name='tf_efficientnet_lite0', pretrained=True)"


def steps(asked: Asked) -> list[Step]:
    """Every row of report D."""
    return [*_look(asked), *_scratch(asked), *_pretrained(asked), *_ours(asked), *_tracked()]


def _look(asked: Asked) -> list[Step]:
    look = asked("--quick", "--skip duplicates,outliers,labels,parts,augment", "")
    return [
        Step("D1", "D1-look", "Sizes, balance, samples of every label, easy and hard classes", f"look cifar100 {look}",
             "500 images of each of 100 labels, pictures of easy and hard ones",
             "Class difficulty is measured by cross-validation, on rows that the models were not trained on."),
    ]  # fmt: skip


def _scratch(asked: Asked) -> list[Step]:
    ten = asked("--rows 500 --epochs 0.2", "--epochs 4", "--epochs 10")
    more = asked("--rows 500 --epochs 0.2", "--rows 12000 --epochs 4", "--epochs 40 --keep best --patience 6")
    return [
        Step("D2", "D2-show", "Three blocks, layer by layer", f'show "{THREE}"', "184,004 with 160 statistics"),
        Step("D2", "D2-three", "How good is the net of three convolutions?",
             f'train cifar100 --model "{THREE}" {PLAIN} --val-fraction 0.2 --augment none --normalize none {ten}',
             "36.0 % validation, 50 % on its training rows, after 10 epochs"),
        Step("D2", "D2-test", "Validation beside test accuracy", "test D2-three", "36.0 % beside 38.7 %"),
        Step("D2", "D2-page", "What does it confuse, and which mistakes are near or far?", "report D2-three",
             "a confusion matrix; pictures of near and far mistakes", "The page counts both and shows their pictures."),
        Step("D3", "D3-show", "Five blocks, layer by layer", f'show "{FIVE}"', "497,092 with 992 statistics"),
        Step("D3", "D3-five", "Five blocks, more epochs, normalised pixels",
             f'train cifar100 --model "{FIVE}" {PLAIN} --val-fraction 0.2 --augment none --normalize minmax {more}',
             "43.93 % test"),
        Step("D3", "D3-test", "On test rows", "test D3-five", "43.93 %"),
        Step("D3", "D3-augmented", "And with augmentation, and 90 % of the rows",
             f'train cifar100 --model "{FIVE}" {PLAIN} --val-fraction 0.1 --normalize minmax '
             f'--augment "{KERAS}" {more}',
             "48.76 % test"),
        Step("D3", "D3-augmented-test", "On test rows", "test D3-augmented", "48.76 %"),
    ]  # fmt: skip


def _pretrained(asked: Asked) -> list[Step]:
    lite = asked.weights is None and not asked.hub
    given = ", pretrained=True" if asked.hub else f", weights='{asked.weights}'"
    vgg = f"vgg(depth=19, batch_norm=False, until=(4, 4), {{}}{given})"
    small, large = (LITE, f"{LITE[:-1]}, {DENSE})") if lite else (vgg.format(SMALL_HEAD), vgg.format(LARGE_HEAD))
    body = "EfficientNet-Lite0" if lite else "VGG-19 without its last six layers"
    note = (
        "**The body is EfficientNet-Lite0 with the weights of ImageNet: VGG-19's are no package (neither --weights nor "
        "--hub was given).**"
        if lite
        else "The body has the weights of ImageNet."
    )
    head = asked("--rows 500 --epochs 0.2", "--rows 12000 --epochs 5", "--epochs 20")
    wide = asked("--rows 200 --epochs 0.2", "--rows 12000 --epochs 5", "--epochs 50 --keep best --patience 5")
    side = asked(48, 96, 96)
    forest = f"--with forest --trees {asked(5, 100, 500)}{asked('', ' --rows 10000', '')}"
    normalize = "--normalize body " if lite else ""
    frozen = f"{PLAIN} {normalize}--augment none --freeze body --val-fraction {asked(0.02, 0.1, 0.2)}"
    tuned = asked("--rows 200 --epochs 0.2 --prepare 'resize(48)' --augment none", "--rows 12000 --epochs 2", "")
    return [
        Step("D4", "D4-show", "VGG-19 at 96 px, in its full width",
             f'show "vgg(depth=19, batch_norm=False, until=(4, 4), {LARGE_HEAD})" --size 96',
             "48,493,476 parameters with statistics, of which 37,907,300 train"),
        Step("D4", "D4-32", f"{body}, frozen, and a dense layer of 100, at 32 px",
             f'train cifar100 --model "{small}" {frozen} {head}', "51.2 % test, after 20 epochs", note),
        Step("D4", "D4-32-test", "On test rows", "test D4-32", "51.2 %", note),
        Step("D4", "D4-96", f"The same at {side} px, with dense layers of 512 and 256, batch norm and dropout",
             f"train cifar100 --model \"{large}\" --prepare 'resize({side})' {frozen} {wide}",
             "60 % validation and test, stopped after 23 of 50 epochs", note),
        Step("D4", "D4-96-test", "On test rows", "test D4-96", "60 % (also 48 % from scratch)", note),
        Step("D4", "D4-tuned", "And with the body trained, too, at 64 and then at 96 px",
             f"train cifar100 --recipe pretrained --val-fraction {asked(0.02, 0.1, 0.04)} {tuned}",
             "nothing of the kind", "EfficientNet-Lite0 with the weights of ImageNet, by our recipe `pretrained`."),
        Step("D4", "D4-tuned-test", "On test rows", "test D4-tuned", "60 % with a frozen body"),
        Step("D5", "D5-32", "A random forest on the deep features, at 32 px",
             f"features D4-32 cifar100 --layer head {forest}", "40 % test", note),
        Step("D5", "D5-32-test", "On test rows", "test D5-32", "40 %", note),
        Step("D5", "D5-96", f"A random forest on the features of its last dense layer, at {side} px",
             f"features D4-96 cifar100 --layer last {forest}", "57 % test", note),
        Step("D5", "D5-96-test", "On test rows", "test D5-96", "57 %", note),
        Step("D5", "D5-tuned", "A random forest on the features of the trained body",
             f"features D4-tuned cifar100 {forest}", "57 % test, on a frozen body"),
        Step("D5", "D5-tuned-test", "On test rows", "test D5-tuned", "57 %"),
    ]  # fmt: skip


def _ours(asked: Asked) -> list[Step]:
    ours = asked("--epochs 0.005", SHORT_LENS, "--epochs 9")
    trees = asked(5, 20, 500)
    return [
        Step("D3", "D3-ours", "Can 48.76 % from scratch be reached in minutes?",
             f"train cifar100 --recipe default --val-fraction 0 {ours}", "48.76 % test",
             "Ours is not the report's net: the default recipe, in small budgets half as wide and shortened."),
        Step("D3", "D3-ours-test", "On test rows", "test D3-ours", "48.76 % from scratch, 60 % from ImageNet"),
        Step("D5", "D5-ours", "A random forest on the features of that run",
             f"features D3-ours cifar100 --with forest --val-fraction 0 --trees {trees}", "57 % test",
             "No ImageNet weights: the features are those of our own CIFAR-100 run."),
        Step("D5", "D5-ours-test", "On test rows", "test D5-ours", "57 %"),
    ]  # fmt: skip


def _tracked() -> list[Step]:
    runs = "D2-three D3-five D3-augmented D4-32 D4-96 D4-tuned D3-ours"
    return [
        Step("D6", "D6-list", "Which experiments were there, and what came of them?", "list runs",
             "all of them tracked at Neptune, whose service has ended",
             "Every run is a folder of plain files; nothing leaves this machine."),
        Step("D6", "D6-side-by-side", "All experiments with settings and results", f"report {runs}",
             "a table at Neptune", "Also as CSV and LaTeX beside the page."),
    ]  # fmt: skip


if __name__ == "__main__":
    raise SystemExit(main(__doc__, steps))
