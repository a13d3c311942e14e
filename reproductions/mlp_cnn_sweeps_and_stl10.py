"""Report E: an MLP and a CNN on CIFAR-100, swept value by value, and the step to five classes of STL-10.

The report changes one setting at a time around a baseline, looks closer at optimizers, decay of the learning rate,
batch norm, augmentation and dropout, puts what was best together, and takes the tuned CNN over to STL-10: with a new
head, and with a layer appended on sharpened images of 32 px. It judges by test rows all along; here everything is
chosen on validation rows, and test rows are opened for the numbers that the report ends with.
"""

from __future__ import annotations

from _numbers import Step
from _steps import SHORT_LENS, SHORT_VAL, Asked, main

MLP, TUNED_MLP, LENET = "mlp", "mlp(hidden=(1024, 1024, 1024))", "lenet(activation='tanh')"
TUNED_CNN = (
    "cnn(channels=(32, 64, 128, 256, 256), pooling=('max', 'max', 'none', 'none', 'max'), batch_norm='before', "
    "dense=(512, 256), dense_dropout=0.55)"
)
THIN_CNN = TUNED_CNN.replace("32, 64, 128, 256, 256", "16, 32, 64, 64, 64").replace("512, 256", "128, 64")
AUGMENT = "flip(alternate=False) | colour_jitter | rotation(degrees=10)"
BASE = (
    "--recipe default --augment none --sizes 100% --loss cross_entropy --optimizer adamw --lr 0.001 "
    "--schedule constant --decay-on weights --weight-decay 1.0"
)
SGD = (
    "--recipe default --sizes 100% --loss cross_entropy --optimizer 'sgd(momentum=0.9, nesterov=False)' "
    "--decay-on weights --weight-decay 0.001"
)
RATE = "--lr 0.003 --batch-size 64"
DECAY = "step(every=10, gamma=0.5)"
COARSE = "\"cifar100(labels='coarse')\""
FIVE = "\"stl10(classes='airplane, bird, car, horse, ship')\""


def steps(asked: Asked) -> list[Step]:
    """Every row of report E."""
    return [*_data(), *_sweeps(asked), *_closer(asked), *_tuned(asked), *_stl10(asked)]


def _data() -> list[Step]:
    nets = (
        ("mlp", MLP, "3072-1024-100"),
        ("tuned-mlp", TUNED_MLP, "two more linear layers, the widths are not said"),
        ("lenet", LENET, "layer F6 has 10,164 parameters"),
        ("tuned-cnn", TUNED_CNN, "two more convolutions, one more dense layer, batch norm, dropout 0.55, ReLU"),
    )
    return [
        Step("E1", "E1-samples", "Five samples of every class, superclass by superclass",
             "look cifar100 --quick", "twenty pages of pictures", "The page has a picture for each superclass."),
        *(Step("E2", f"E2-{name}", f"The layers of {text.partition('(')[0]} ({name})", f'show "{text}"', said)
          for name, text, said in nets),
    ]  # fmt: skip


def _sweeps(asked: Asked) -> list[Step]:
    few = "lr=0.01; batch_size=64"
    values = (
        f"lr=0.01,0.0001; batch_size={asked('8', '4,16,128', '32,64,128,256,1024')}; "
        f"epochs={asked('1', '0.4,2,20', '10,50,200,500')}; "
        f"weight_decay={asked('0.01', '0.8,0.4,0.01', '0.8,0.6,0.4,0.2,0.01')}; "
        "augment=flip(alternate=False),rotation(degrees=10),colour_jitter; "
    )
    base = f"{BASE} --batch-size {asked(64, 64, 512)}"
    own = {"mlp": f"model={TUNED_MLP}", "cnn": f"model.activation=relu; model={THIN_CNN}"}
    size = asked("--rows 500 --epochs 0.2 --repeat 2", f"--rows 400 --epochs 4 --repeat 2 --jobs 2 {SHORT_VAL}",
                 "--epochs 100 --repeat 3")  # fmt: skip
    best = {
        "mlp": "better with a lower rate, other batches, less decay, transformations, layers (bars without numbers)",
        "cnn": "better with less decay, transformations, layers; batches and epochs change little",
    }
    made = []
    for name, model in (("mlp", MLP), ("cnn", LENET)):
        lists = asked(few, values + own[name], values + own[name].replace(THIN_CNN, TUNED_CNN))
        made += [
            Step("E3", f"E3-{name}", f"What does each setting of the {name.upper()} do, alone?",
                 f'sweep cifar100 --pointwise --try "{lists}" --model "{model}" {base} {size}', best[name],
                 "In small budgets the report's epochs (10, 50, 100, 200, 500) are divided by twenty-five, and its "
                 "batches (512 in the base) by eight; values between the others are left out."),
            Step("E3", f"E3-{name}-optimizers", f"And the optimizer of the {name.upper()}?",
                 "compare cifar100 base \"optimizer='sgd(momentum=0.9, nesterov=False)'; weight_decay=0.01\" "
                 f"\"optimizer=rmsprop; weight_decay=0.01\" --model \"{model}\" {base} {size}", "AdamW",
                 "As in the report, SGD and RMSProp have a weight decay of 0.01, added to the gradient."),
        ]  # fmt: skip
    return made


def _closer(asked: Asked) -> list[Step]:
    net = asked(THIN_CNN, THIN_CNN, TUNED_CNN)
    size = asked("--rows 500 --epochs 0.2 --repeat 2", f"--rows 1500 --epochs 4 --repeat 3 --jobs 2 {SHORT_VAL}",
                 "--epochs 30 --repeat 5")  # fmt: skip
    every, data = asked(1, 1, 10), asked(COARSE, COARSE, "cifar100")
    sgd = _sgd(asked)
    sets = "In small budgets by superclass and in small batches: few images say nothing about 100 classes."
    no_dropout = net.replace(", dense_dropout=0.55", "")
    return [
        Step("E4", "E4-optimizers", "SGD or Adam, at the same rate and decay?",
             f"compare {data} base optimizer=adam --model \"{no_dropout}\" {sgd} --lr 0.003 "
             f"--augment '{AUGMENT}' --schedule '{DECAY}' {size}",
             "SGD, in accuracy and in the generalisation gap", sets, curves=True),
        Step("E4", "E4-decay", "How strong a decay of the learning rate?",
             f"sweep {data} --try 'schedule=constant,step(every={every}, gamma=0.5),step(every={every}, gamma=0.1)' "
             f"--model \"{no_dropout}\" {sgd} --augment '{AUGMENT}' --schedule 'step(every={every}, gamma=0.8)' {size}",
             "medium is best; strong keeps the gap small and stops learning; weak overfits",
             f"The base decays by 0.8 every {every} epochs. {sets}", curves=True),
        Step("E5", "E5-four", "With and without augmentation, with and without batch norm?",
             f"sweep {data} --grid --try \"augment=none,{AUGMENT}; model.batch_norm='before','none'\" "
             f"--model \"{no_dropout}\" {sgd} --augment none --schedule '{DECAY}' {size}",
             "both together are best; without augmentation the gap is large, without batch norm accuracy is far lower",
             sets, curves=True),
        Step("E5", "E5-dropout", "And with dropout?",
             f"compare {data} model.dense_dropout=0.0 model.dense_dropout=0.55 --model \"{net}\" {sgd} "
             f"--augment '{AUGMENT}' --schedule '{DECAY}' {size}",
             "the gap becomes a little smaller", sets, curves=True),
    ]  # fmt: skip


def _tuned(asked: Asked) -> list[Step]:
    epochs = asked("--rows 500 --epochs 0.2", "--epochs 2", "--epochs 100")
    once = asked("--rows 500 --epochs 0.2", "--epochs 1", "--epochs 100")
    cnn = asked("--rows 500 --epochs 0.2", "--rows 6000 --epochs 4", "--epochs 50")
    ours = asked("--epochs 0.005", SHORT_LENS, "--epochs 9")
    tuned = "--augment 'flip(alternate=False) | rotation(degrees=10) | random_resized_crop(scale=(0.5, 1.0))'"
    trained = (
        ("mlp", f'--model "{MLP}" {BASE} --batch-size 512 {epochs}', "22.84 % test, F1 0.219"),
        ("tuned-mlp", f'--model "{TUNED_MLP}" {BASE} {tuned} --lr 0.0001 --batch-size 64 --weight-decay 0.8 {once}',
         "25.63 % test, F1 0.251"),
        ("lenet", f'--model "{LENET}" {BASE} --batch-size 512 {epochs}', "20.16 % test, F1 0.179"),
        ("tuned-cnn", f"--model \"{TUNED_CNN}\" {SGD} {RATE} --augment '{AUGMENT}' --schedule '{DECAY}' "
         f"{cnn}", "51.69 % test, F1 0.514"),
        ("ours", f"--recipe default {ours}", "51.69 % test with the tuned CNN"),
    )  # fmt: skip
    made = []
    for name, words, said in trained:
        made += [
            Step("E6", f"E6-{name}", f"Training: {name}", f"train cifar100 {words}", said),
            Step("E6", f"E6-{name}-test", f"Accuracy, precision, recall, F1, top and bottom classes: {name}",
                 f"test E6-{name}", said),
        ]  # fmt: skip
    names = " ".join(f"E6-{name}" for name, _, _ in trained)
    return [
        *made,
        Step("E6", "E6-side-by-side", "Curves side by side", f"report {names}", "accuracy and loss by epoch"),
    ]


def _stl10(asked: Asked) -> list[Step]:
    n = asked("--rows 500 --epochs 0.2", "--epochs 3", "--epochs 50")
    large = asked("--rows 500 --epochs 0.1 --prepare 'resize(32)'", "--prepare 'resize(48)' --epochs 3",
                  "--epochs 16")  # fmt: skip
    started = f"--start E6-tuned-cnn --model \"{TUNED_CNN}\" {SGD} {RATE} --augment '{AUGMENT}' {n}"
    few = f"--recipe small --model '{asked('lens', 'lens(width=0.5)', 'lens')}' --augment 'flip | crop(pad=2)'"
    ways = asked("--rows 500 --epochs 0.2 --repeat 2", "--rows 1000 --epochs 2 --repeat 2", "--epochs 16 --repeat 5")
    return [
        Step("E7", "E7-new", "All weights but the last layer from CIFAR-100, five named classes of STL-10",
             f"train {FIVE} {started} --head new --prepare 'resize(32)' --schedule '{DECAY}'",
             "learning curves without numbers",
             "The report's five classes are not named in its text; these are those of the data at hand."),
        Step("E7", "E7-test", "On test rows", "test E7-new", "not given"),
        Step("E8", "E8-append", "Resized to 32 px and sharpened, a layer of 5 on top of the 100",
             f"train {FIVE} {started} --head append --prepare 'resize(32) | sharpen(2)' "
             f"--schedule '{DECAY}'", "58.25 %"),
        Step("E8", "E8-test", "On test rows", "test E8-append", "58.25 %"),
        Step("E8", "E8-ways", "Is the start worth it: frozen, partial, full, or from scratch?",
             f"transfer E6-ours {FIVE} --prepare 'resize(32)' {few} {ways}", "not asked",
             "From our own CIFAR-100 run."),
        Step("E8", "E8-ours", "How far does our own CIFAR-100 run carry, at a larger size?",
             f"train {FIVE} --start E6-ours --head new {few} --val-fraction 0 {large}", "58.25 %"),
        Step("E8", "E8-ours-test", "On test rows", "test E8-ours", "58.25 %"),
    ]  # fmt: skip


def _sgd(asked: Asked) -> str:
    """At the report's rate; where few images train, smaller batches and a larger one, or nothing is learned."""
    few = "--lr 0.02 --batch-size 16"
    return f"{SGD} {asked(few, few, RATE)}"


if __name__ == "__main__":
    raise SystemExit(main(__doc__, steps))
