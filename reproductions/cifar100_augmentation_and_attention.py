"""Report A: CIFAR-100 with fine and coarse labels, augmentation, and nets of convolution and attention.

The report looks at the data, compares eleven compositions of augmentations with replicated copies, and nets from a
VGG-like one to CoAtNet, searches learning rate, weight decay and momentum from a checkpointed model, takes the fine
model over to coarse labels, trains on all training data and tests once. Its comparisons are one run each; here they
have repeats and paired verdicts. In small budgets the comparisons use small nets and few rows.
"""

from __future__ import annotations

from _numbers import Step
from _steps import SHORT_LENS, SHORT_VAL, Asked, main

PYRAMID = (
    "cnn(channels=(64, 128, 256, 512), repeats=2, batch_norm='before', pooling=('max', 'max', 'max', 'none'), dense={})"
)
NETS = (  # name, text, classes, what the report counts and reaches on validation rows
    ("vgg-like", PYRAMID.format("(512, 512)"), 100, "9,198,276; 53.37 %, coarse 68.80 %"),
    ("resnet", "resnet(depth=50, stem='imagenet')", 100, "23,712,932, called ResNet34; 48.86 %"),
    ("resnext", "resnext(stem='imagenet')", 100, "23,184,804; 48.89 %, coarse 60.92 %"),
    ("coatnet", "coatnet(blocks=(2, 2, 6, 14, 2))", 100, "32,396,096; 54.66 %, coarse 64.04 %"),
    ("densenet", "densenet(depth=201, stem='imagenet')", 1000, "20,013,928 with 1,000 outputs; 49.75 %"),
    ("coatnet-17", "coatnet", 100, "about 17M; 59.95 %"),
    ("coatnet-22", "coatnet(blocks=(2, 2, 4, 8, 2))", 100, "about 22M; 63.85 %"),
    ("coatnet-50", "coatnet(blocks=(2, 2, 12, 24, 2))", 100, "about 50M; 56.92 %"),
    ("vgg-like-7", PYRAMID.format("(272, 272)"), 20, "about 7M; coarse 75.03 %"),
    ("vgg-like-13", PYRAMID.format("1024"), 20, "about 13M; coarse 74.26 %"),
)
CUSTOM = "colour_jitter | rotation | perspective(distortion=0.3) | solarize(p=0.2) | flip"
AUTO, IMAGENET = "autoaugment(policy='cifar10')", "autoaugment(policy='imagenet')"
SETS = (  # augmentations, extra copies, validation accuracy
    (AUTO, 0, 49.41), ("augmix", 0, 36.12), (IMAGENET, 0, 46.17), (CUSTOM, 0, 44.15), (f"{AUTO} | cutmix", 1, 57.16),
    (f"{IMAGENET} | cutmix", 1, 55.71), (f"{AUTO} | {IMAGENET}", 3, 55.29), (f"{AUTO} | {IMAGENET}", 4, 53.67),
    (AUTO, 5, 56.50), (IMAGENET, 5, 56.72), ("augmix", 5, 45.45),
)  # fmt: skip
COARSE_SETS = (
    (f"{AUTO} | cutmix", 1, 74.06),
    (f"{IMAGENET} | cutmix", 1, 73.76),
    (AUTO, 5, 72.69),
    (IMAGENET, 5, 71.22),
)
COARSE = "\"cifar100(labels='coarse')\""
ADAM = (
    "--recipe default --val-fraction 0.2 --sizes 100% --loss cross_entropy --optimizer adam --lr 0.001 "
    "--schedule cosine --decay-on weights --weight-decay 0.0001"
)


def steps(asked: Asked) -> list[Step]:
    """Every row of report A."""
    return [*_data(asked), *_augmentation(asked), *_nets(asked), *_search(asked), *_final(asked), *_wished(asked)]


def _data(asked: Asked) -> list[Step]:
    look = asked("--quick", "--run A3-split --skip duplicates,classes,labels,parts,augment", "--run A3-split")
    first = asked("--rows 500 --epochs 0.5", "--epochs 1", "--epochs 9")
    return [
        Step("A1", "A1-look", "Class distribution, a glance at each class, the average image of each label",
             "look cifar100 --quick", "500 images of each fine class"),
        Step("A1", "A1-coarse", "The same for coarse labels", f"look {COARSE} --quick", "2,500 of each coarse class"),
        Step("A3", "A3-split", "40,000 rows to train, 10,000 to validate, 10,000 to test",
             f'train cifar100 --recipe default --val-fraction 0.2 --model "{_searched(asked)}" {first}',
             "40,000 / 10,000 / 10,000", "This model finds odd images in A2, and is where the search of A7 begins."),
        Step("A2", "A2-outliers", "Which images are odd, overall and within their class?", f"look cifar100 {look}",
             "outliers by an autoencoder; it wished for finer-grained ones",
             "The page ranks by an autoencoder and by neighbours, over all images and within each class."),
    ]  # fmt: skip


def _augmentation(asked: Asked) -> list[Step]:
    net = asked("cnn(channels=(8, 16, 32))", "cnn(channels=(16, 32, 64), batch_norm='before')",
                "coatnet(blocks=(2, 2, 6, 14, 2))")  # fmt: skip
    coarse = asked(net, net, PYRAMID.format("(512, 512)"))
    n = asked(0.6, 4, 100)
    size = asked("--rows 500 --repeat 2", f"--rows 1000 --repeat 2 --jobs 2 --batch-size 32 {SHORT_VAL}",
                 "--keep best --patience 18 --repeat 2 --batch-size 128")  # fmt: skip

    def variants(sets: tuple[tuple[str, int, float], ...]) -> str:
        return " ".join(
            f'"augment={text}; replicate={copies}; epochs={n / (copies + 1):.4g}"' for text, copies, _ in sets
        )

    sheets = asked(f'"{CUSTOM}"', "all", "all")
    return [
        Step("A4", "A4-pictures", "What does each augmentation do to images?",
             f"look cifar100 --skip duplicates,classes,outliers,labels,parts --augment {sheets}",
             "pictures of Custom, AutoAugment (two policies), AugMix, CutMix"),
        Step("A4", "A4-sets", "Which composition is best, with how many extra copies?",
             f'compare cifar100 base {variants(SETS[: asked(1, 11, 11)])} --model "{net}" {ADAM} --augment flip '
             f"--refresh 2 --epochs {n} {size}",
             "; ".join(f"{text}, sample:{copies}: {score}" for text, copies, score in SETS),
             "Drawn anew every 2 epochs, as there. All take equally many optimizer steps; there each set had its own "
             "number of epochs."),
        Step("A4", "A4-coarse", "And for coarse labels?",
             f'compare {COARSE} base {variants(COARSE_SETS[: asked(1, 4, 4)])} --model "{coarse}" {ADAM} '
             f"--augment flip --refresh 2 --epochs {n} {size}",
             "; ".join(f"{text}, sample:{copies}: {score}" for text, copies, score in COARSE_SETS)),
        Step("A4", "A4-refresh", "Augmentation redrawn every epoch, every 2, or once?",
             f'sweep cifar100 --try refresh=2,0 --model "{net}" {ADAM} --augment "{AUTO}" --epochs {n} {size}',
             "every 2 epochs at first, every epoch in the search"),
    ]  # fmt: skip


def _nets(asked: Asked) -> list[Step]:
    shown = NETS[: asked(1, 10, 10)]
    trained = NETS[: asked(1, 5, 8)]
    size = asked("--rows 200 --epochs 0.2", "--rows 400 --epochs 2 --batch-size 16 --val-fraction 0.01",
                 "--epochs 200 --batch-size 128 --keep best --patience 18")  # fmt: skip
    made = [
        Step("A5", f"A5-show-{name}", f"Parameters of {name}", f'show "{text}" --classes {n_classes}', said)
        for name, text, n_classes, said in shown
    ]
    made += [
        Step("A5", f"A5-{name}", f"Training {name}", f'train cifar100 --model "{text}" {ADAM} --refresh 2 {size}', said)
        for name, text, _, said in trained
    ]
    made += [
        Step("A5", "A5-coarse", "Training the VGG-like net on coarse labels",
             f'train {COARSE} --model "{NETS[0][1]}" {ADAM} --refresh 2 {size}', "68.80 %"),
    ]  # fmt: skip
    names = " ".join(f"A5-{name}" for name, *_ in trained) + " A5-coarse"
    return [
        *made,
        Step("A6", "A6-table", "Lowest loss, highest accuracy, epoch of the best, parameters; learning curves",
             f"report {names}", "such a table; CoAtNet-S best with 54.66 % fine, the VGG-like net with 68.80 % coarse"),
    ]  # fmt: skip


def _search(asked: Asked) -> list[Step]:
    net = _searched(asked)
    tuned = asked("--rows 500 --epochs 0.2 --trials 3 --repeat 2",
                  f"--rows 1500 --epochs 0.5 --trials 6 --repeat 2 {SHORT_VAL}",
                  "--epochs 4 --trials 32 --repeat 3")  # fmt: skip
    taken = asked("--rows 500 --epochs 0.2 --repeat 2", f"--rows 2000 --epochs 1 --repeat 2 {SHORT_VAL}",
                  "--epochs 4 --repeat 3")  # fmt: skip
    patient = asked("--rows 500 --epochs 2 --patience 1", f"--rows 2000 --epochs 25 --patience 3 {SHORT_VAL}",
                    "--epochs 200 --patience 18")  # fmt: skip
    space = "lr=log(0.0003,0.1); weight_decay=log(1e-7,1e-3); optimizer.momentum=range(0.85,0.98)"
    return [
        Step("A7", "A7-search", "Learning rate, weight decay and momentum, from the model of A3",
             f"search cifar100 --from A3-split --recipe default --model \"{net}\" --optimizer 'sgd(momentum=0.92)' "
             f"--lr 0.01 --decay-on weights --weight-decay 0.00001 --sizes 100% --schedule cosine --space '{space}' "
             f"--method coarse-to-fine {tuned}",
             "32 trials, 1,002 minutes, 63.94 (after 200 epochs) → 69.52 % validation at lr 0.0001, weight decay "
             "0.000006, momentum 0.92"),
        Step("A8", "A8-transfer", "From fine to coarse labels: the same body, a new layer of 20",
             f"transfer A3-split {COARSE} --recipe small --model \"{net}\" --augment 'flip | crop(pad=2)' {taken}",
             "79.57 % validation; above 75 % within 5 epochs"),
        Step("A9", "A9-stop", "Early stopping that says how many epochs brought nothing",
             f'train cifar100 --model "cnn(channels=(16, 32, 64), batch_norm={chr(39)}before{chr(39)})" {ADAM} '
             f"--schedule constant --augment none --batch-size 64 --keep best {patient}",
             "EarlyStopper after 42 epochs; no better for 18; best in epoch 24"),
    ]  # fmt: skip


def _final(asked: Asked) -> list[Step]:
    ours = asked("--epochs 0.005", SHORT_LENS, "--epochs 9")
    coarse = asked("--epochs 0.005", '--model "lens(width=0.5)" --epochs 0.4', "--epochs 3")
    return [
        Step("A10", "A10-final", "The final model, from scratch, on all 50,000 development rows",
             f"train cifar100 --recipe default --val-fraction 0 {ours}", "the checkpoint, 46 epochs on all rows",
             "Not the report's net, but the default recipe, in small budgets half as wide and shortened; from "
             "scratch, as it wished."),
        Step("A10", "A10-test", "On test rows, once", "test A10-final",
             "69.64 % fine (loss 1.302), 79.65 % coarse (loss 0.710); lowest F1 otter 0.34, then lizard, seal, girl",
             "The coarse score sums the fine probabilities of each superclass."),
        Step("A10", "A10-coarse", "The coarse model, by transfer from it",
             f"train {COARSE} --recipe default --start A10-final --head new --lr 0.02 --optimizer 'muon(rest_lr=0.3)' "
             "--sizes 100% --val-fraction 0 "
             f"{coarse}", "25 epochs from the fine model"),
        Step("A10", "A10-coarse-test", "On test rows, once", "test A10-coarse", "79.65 % coarse (loss 0.710)",
             "The second opening of these images: the first was for the fine labels."),
        Step("A11", "A11-lowest", "Precision, recall, F1 and support of every class", "report A10-final",
             "lowest F1: otter 0.34, lizard, seal, girl, man, woman, shrew, mouse, boy, bear",
             "The ten lowest stand above, under A10; the page has all classes, with intervals."),
        Step("A12", "A12-wrong", "Wrong samples with predicted and actual class", "report A10-coarse", "pictures",
             "The pages of A11 and of this row show them, by cause and by superclass."),
        Step("A13", "A13-maps", "Feature maps of the first layers, before and behind norm and activation",
             "explain A3-split", "the original, 64 filters, and after batch norm and activation"),
    ]  # fmt: skip


def _wished(asked: Asked) -> list[Step]:
    phi = asked("-8", "-9,-8", "-2,0,2")
    size = asked("--rows 500 --epochs 0.2 --repeat 2", f"--rows 1000 --epochs 3 --repeat 2 --jobs 2 {SHORT_VAL}",
                 "--epochs 60 --repeat 3")  # fmt: skip
    net = asked("cnn(channels=(8, 16, 32))", "cnn(channels=(16, 32, 64), batch_norm='before')", NETS[0][1])
    return [
        Step("A14", "A14-fmix", "FMix, and smaller batches",
             f"sweep cifar100 --try 'augment=flip | cutmix,flip | fmix; batch_size=32,64' --model \"{net}\" {ADAM} "
             f"--augment flip --batch-size 256 {size}", "not tried"),
        Step("A14", "A14-scaling", "EfficientNet's compound scaling",
             f"sweep cifar100 --try model.phi={phi} --model 'efficientnet(phi={asked('-9', '-10', '-4')})' {ADAM} "
             f"--augment flip --batch-size {asked(32, 32, 256)} {size.replace(SHORT_VAL, '--val-fraction 0.02')}",
             "not tried"),
        Step("A14", "A14-coarse", "Tuning of the coarse model",
             f"search {COARSE} --model \"{net}\" {ADAM} --augment 'flip | crop(pad=2)' --batch-size 64 "
             f"--space 'lr=log(0.0003,0.01); weight_decay=log(1e-6,1e-2)' --trials {asked(3, 6, 32)} {size}",
             "not tried for want of time", "Training from scratch on all data is row A10."),
    ]  # fmt: skip


def _searched(asked: Asked) -> str:
    """The model of A3, with which A7 and A8 go on."""
    return asked("lens(width=0.1)", "lens(width=0.5)", "lens")


if __name__ == "__main__":
    raise SystemExit(main(__doc__, steps))
