"""Report B: CIFAR-100, ablations and grids on small convolutional nets.

The report asks what pooling, padding, batch norm, dropout, L2, activation and optimizer do to a small net, one
question at a time, and then trains a larger one on 600,000 augmented copies, for fine and for coarse labels. It gives
means and deviations over repeats, but no test; here every difference has a paired verdict. It uses Keras: pixels
divided by 255 (`--normalize minmax`), learning rate 0.001 for all optimizers, batches of 32, and 0.01
without momentum for sgd, which is about 0.001 with the momentum of 0.9 that ours has.
"""

from __future__ import annotations

from _numbers import Step
from _steps import SHORT_LENS, SHORT_VAL, Asked, main

BASELINE = "cnn(channels=(32, 64), padding='valid', pooling='none', dense=128)"
KERAS = (
    "rotation(degrees=90) | shear(degrees=0.2) | zoom(low=0.8, high=1.2) | channel_shift(strength=0.2) | "
    "flip(alternate=False) | vertical_flip"
)
PLAIN = (
    "--recipe default --val-fraction 0.2 --normalize minmax --augment none --sizes 100% --loss cross_entropy "
    "--optimizer adam --lr 0.001 --schedule constant --decay-on weights --weight-decay 0 --batch-size 32"
)
COARSE = "\"cifar100(labels='coarse')\""
OURS = (
    "Ours is not the report's net: the default recipe of pocketlens on all 50,000 development rows, in small budgets "
    "half as wide and shortened."
)


def steps(asked: Asked) -> list[Step]:
    """Every row of report B."""
    return [*_data(asked), *_hypotheses(asked), *_grid(asked), *_final(asked)]


def _data(asked: Asked) -> list[Step]:
    small = asked("--rows 500 --epochs 0.2", f"--rows 3000 --epochs 8 {SHORT_VAL}", "--epochs 30") + " --batch-size 128"
    copies = asked(1, 2, 14)
    n = asked(0.2, 4, 30)
    few = asked("--rows 500", f"--rows 2500 --jobs 2 {SHORT_VAL}", "")
    augmented = f"augment={KERAS}"
    look = asked("--quick", "--skip duplicates,classes,outliers,labels,parts", "")
    return [
        Step("B1", "B1-look", "Which classes and superclasses are there, and how many images?", f"look cifar100 {look}",
             "20 superclasses of 5 classes, 500 images a class, of which 400 train"),
        Step("B2", "B2-show", "The baseline CNN, layer by layer", f'show "{BASELINE}"', "6,454,948 parameters"),
        Step("B2", "B2-baseline", "Does the baseline memorise what it has seen?",
             f'train cifar100 --model "{BASELINE}" {PLAIN} {small}', "91.7 % on training rows, 11.39 % on test rows"),
        Step("B2", "B2-test", "And on test rows?", "test B2-baseline", "11.39 %"),
        Step("B3", "B3-sheets", "What does the augmentation do to images, before and after?",
             f'look cifar100 --run B2-baseline --skip duplicates,classes,outliers,labels,parts '
             f'--augment "{KERAS}"', "two pictures of it",
             "The page shows it, and the baseline net is asked whether it still sees the class."),
        Step("B3", "B3-copies", f"Are {copies} fixed augmented copies better than none, or than new draws?",
             f'compare cifar100 base "{augmented}; replicate={copies}; refresh=0; epochs={n / (copies + 1):.4g}" '
             f'"{augmented}" --model "{_net(asked)}" {PLAIN} {few} '
             f"--epochs {n} --repeat {asked(2, 3, 5)}",
             "copies up to 600,000 images; no number of their own",
             "All three take equally many optimizer steps."),
    ]  # fmt: skip


def _hypotheses(asked: Asked) -> list[Step]:
    size = asked("--rows 500 --epochs 0.2 --repeat 2", f"--rows 3000 --epochs 3 --repeat 5 --jobs 2 {SHORT_VAL}",
                 "--epochs 50 --keep best --patience 5 --repeat 5")  # fmt: skip
    fewer = size.replace("--repeat 5", asked("", "--repeat 4", "--repeat 5"))
    net, deep = _net(asked), asked(_net(asked), _net(asked), "cnn(channels=(32, 64, 128), repeats=2)")
    return [
        Step("B4", "B4-pooling", "Is max, average or mixed pooling best?",
             f"compare cifar100 model.pooling=max model.pooling=average model.pooling=mixed --model \"{net}\" "
             f"{PLAIN} {size}",
             "max 29.7 ± 1.5, average 34.0 ± 1.1, mixed 32.5 ± 1.0"),
        Step("B5", "B5-padding", "Is padding same or valid better?",
             f"compare cifar100 model.padding=same model.padding=valid --model \"{net}\" {PLAIN} {size}",
             "same 32.5 ± 1.1, valid 32.2 ± 0.5"),
        Step("B5", "B5-error", "What happens where valid padding shrinks a map to nothing?",
             f"train cifar100 --model \"cnn(channels=(32, 64, 128, 128), padding='valid')\" {PLAIN}",
             "a ValueError from the depths of Keras", exits=2),
        Step("B6", "B6-norm", "What do batch norm and dropout bring?",
             "compare cifar100 model.batch_norm=none model.batch_norm=before "
             f'"model.batch_norm=before; model.dropout=0.3" --model "{deep}" {PLAIN} {fewer}',
             "without 41.8 ± 0.9, batch norm 55.6 ± 0.9, with dropout 60.8 ± 1.4",
             "Dropout needs more epochs than a small budget has before it pays."),
        Step("B7", "B7-l2", "Which strength of L2?",
             "sweep cifar100 --try weight_decay=0.0001,0.001,0.01,0.1 "
             f"--model \"{deep[:-1]}, batch_norm='before')\" {PLAIN} {fewer.replace('--repeat 4', '--repeat 3')}",
             "about 49 and 55 % on validation, with strengths of 0.1 and 0.2 of Keras",
             "The base has none. Keras adds twice its strength times the weight to the gradient, ours once."),
    ]  # fmt: skip


def _grid(asked: Asked) -> list[Step]:
    lists = asked(
        "model.activation=relu,elu; optimizer=adam,sgd",
        "model.activation=relu,selu,elu,tanh,leaky_relu; optimizer=adam,sgd,rmsprop,adagrad,adadelta,adamax,nadam",
        "model.activation=relu,selu,elu,tanh,leaky_relu; optimizer=adam,sgd,rmsprop,adagrad,adadelta,adamax,nadam",
    )
    size = asked("--rows 500 --epochs 0.2 --repeat 2", "--rows 1200 --epochs 2 --repeat 2 --jobs 2 --val-fraction 0.04",
                 "--epochs 50 --keep best --patience 5 --repeat 3")  # fmt: skip
    return [
        Step("B8", "B8-grid", "Which pair of activation and optimizer is best?",
             f"sweep cifar100 --grid --try '{lists}' --model \"{_net(asked)[:-1]}, activation='relu')\" {PLAIN} {size}",
             "three days; selu+adam 39.73, elu+nadam 39.35, elu+adam 38.93, selu+adamax 38.69, nadam with relu 38.14",
             "● marks the pairs that cannot be told from the best one."),
    ]  # fmt: skip


def _final(asked: Asked) -> list[Step]:
    wide, narrow, more = asked(
        ("(16, 32)", "(16,)", ""), ("(32, 64, 128)", "(32, 128)", ""), ("(64, 128, 256)", "(64, 256)", "repeats=2, ")
    )
    elu = f"cnn(channels={wide}, {more}activation='elu', batch_norm='before', dropout=0.3)"
    fine, coarse = elu.replace("0.3", "0.4"), elu.replace("0.3", "0.4").replace(wide, narrow)
    size = asked("--rows 500 --epochs 0.2", f"--rows 3000 --epochs 4 {SHORT_VAL}",
                 "--epochs 50 --keep best --patience 5")  # fmt: skip
    copies = asked("--replicate 1 --refresh 0 --rows 500 --epochs 0.1",
                   f"--replicate 2 --refresh 0 --rows 3000 --epochs 2 {SHORT_VAL}",
                   "--replicate 14 --refresh 0 --epochs 10 --keep best --patience 3")  # fmt: skip
    best = asked("--epochs 0.005", SHORT_LENS, "--epochs 9")
    plain = PLAIN.replace("--augment none ", "")
    flips = "flip | crop(pad=2)"
    alex = (
        f"cnn(channels={asked('(16, 48, 96, 64, 64)', '(16, 48, 96, 64, 64)', '(64, 192, 384, 256, 256)')}, "
        f"pooling=('max', 'max', 'none', 'none', 'max'), dense={asked((64,), (256, 256), (4096, 4096))})"
    )
    wished = asked("--rows 500 --epochs 0.2 --repeat 2", f"--rows 1200 --epochs 3 --repeat 2 --jobs 2 {SHORT_VAL}",
                   "--epochs 100 --repeat 3")  # fmt: skip
    return [
        Step("B9", "B9-elu", "Model 1: ELU", f'train cifar100 --model "{elu}" {PLAIN} {size}', "54.76 % validation",
             "The report shows no layers; ours is a reading with the parts that it names."),
        Step("B9", "B9-fine", "The final fine model: dropout 0.4, L2 0.1, augmented copies of every image",
             f'train cifar100 --model "{fine}" {plain.replace("--weight-decay 0 ", "--weight-decay 0.0001 ")} '
             f'--augment "{flips}" {copies}', "61.98 % validation, 61.88 % test (loss 1.524)",
             "L2 of 0.1 on every weight holds our reading of the net at chance; 0.0001 is used."),
        Step("B9", "B9-coarse", "Its architecture for coarse labels, with two layers removed",
             f'train {COARSE} --model "{coarse}" {plain.replace("--weight-decay 0 ", "--weight-decay 0.0002 ")} '
             f'--augment "{flips}" {copies}', "70.6 % validation as it was; without two layers 72.49 % test (0.954)"),
        Step("B9", "B9-confusion", "What does the coarse model confuse?", "report B9-coarse", "a confusion matrix"),
        Step("B9", "B9-ours", "Can the report's numbers be had in minutes?",
             f"train cifar100 --recipe default --val-fraction 0 {best}", "61.88 % fine, 72.49 % coarse", OURS),
        Step("B9", "B9-test", "Fine and coarse on test rows, once", "test B9-ours",
             "61.88 % fine (loss 1.524), 72.49 % coarse (loss 0.954)",
             "The coarse score sums the fine probabilities of a superclass; no second model is trained."),
        Step("B9", "B9-wished", "VGG, EfficientNet and augmentation on the fly, which it wished for",
             f'compare cifar100 "model=vgg(depth=11, width={asked(0.125, 0.125, 1)})" "model={alex}" '
             f'"model=efficientnet(phi={asked(-8, -6, 0)})" --recipe default --val-fraction 0.2 --optimizer adam '
             f"--lr 0.001 --batch-size 32 --sizes 100% {wished}", "not tried",
             "Augmentation is drawn anew for every image in every epoch here."),
    ]  # fmt: skip


def _net(asked: Asked) -> str:
    """Convolution and pool three times, then two dense layers; thinner in small budgets."""
    return asked("cnn(channels=(8, 16, 32))", "cnn(channels=(16, 32, 64))", "cnn(channels=(32, 64, 128))")


if __name__ == "__main__":
    raise SystemExit(main(__doc__, steps))
