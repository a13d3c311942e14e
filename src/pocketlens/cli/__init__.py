"""The command line: turns words into one call, shows its result, and exits with a code. Only this room parses words.

Exit codes: 0 done; 2 a person's mistake, on one line; 3 everything asked for failed; 4 part of it failed; 130 and 143
stopped by a signal, with the state saved. torch is imported only by commands that compute, and only once the words,
the options and the paths of a command are known to be right.
"""

from __future__ import annotations

import argparse
import contextlib
import difflib
import importlib
import os
import sys
import time
from collections.abc import Mapping, Sequence

from pocketlens import __version__
from pocketlens.cli.terminal.parser import ALIASES, COMMANDS, Parser, add_summaries
from pocketlens.cli.terminal.synonyms import hint_for
from pocketlens.display.screen import safe_streams
from pocketlens.errors import NotEnoughMemory, PocketlensError, closest, is_out_of_memory
from pocketlens.text import printable
from pocketlens.training.ranks import asked_ranks

_WITH_TORCHRUN = ("train", "resume")  # what several processes do together
_PATIENCE = 5.0  # seconds in which the first of them has named a mistake

_EXAMPLES = """examples:
  pocketlens auto my_photos/ --minutes 30    everything: audit, compare, train, test once, report
  pocketlens train cifar100 --epochs 5       train, with a tenth of the images held out for validation
  pocketlens list models                     list the models and their options
DATASET is a folder with a folder of images for each class, or an archive of it, a .npz or .parquet file, or a name such
as digits or "cifar100(labels='coarse')". RUN is a run's folder, its id, its label, or last, the newest.
For the options of a command: pocketlens train --help"""


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command and returns its exit code."""
    safe_streams()
    args = argparse.Namespace()
    try:
        args = _parse(sys.argv[1:] if argv is None else argv)
        _check_torchrun(sys.argv[1:] if argv is None else argv)
        from pocketlens.own_code import forget_code, name_code

        forget_code()  # what a command before this one has named
        name_code(getattr(args, "code", ()))
        code: int = args.command(args)
        sys.stdout.flush()
        return code
    except SystemExit as finished:  # argparse, after --help and --version
        return finished.code if isinstance(finished.code, int) else 0
    except PocketlensError as error:
        return _complain(str(error), 2)
    except KeyboardInterrupt as stopped:
        return _complain(str(stopped) or "stopped; nothing was saved", 130)
    except BrokenPipeError:  # the reader has gone, as in `pocketlens list models | head -1`
        with contextlib.suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        return _complain(_describe(error), 2)
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        return _complain(str(error) if isinstance(error, NotEnoughMemory) else _memory_advice(args), 3)


def _parse(argv: Sequence[str]) -> argparse.Namespace:
    parser = Parser(
        prog="pocketlens",
        description="Train the best classifier of small images that your time allows, and test it honestly.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="store_true", help="print the version and exit")
    commands = parser.add_subparsers(metavar="COMMAND", title="commands", parser_class=Parser)
    first = argv[0] if argv else "--help"
    if first in ("-h", "--help", "--version"):
        add_summaries(commands)
    else:  # only the command that was named is imported, unless an option stands before it
        for name in COMMANDS if first.startswith("-") else COMMANDS.keys() & {ALIASES.get(first, first)}:
            importlib.import_module(f"pocketlens.cli.{name.replace('-', '_')}").add(commands)
    if not argv:
        parser.print_help()
        raise SystemExit(0)
    if not first.startswith("-") and first not in commands.choices:
        raise PocketlensError(f"there is no command {argv[0]!r}.{closest(argv[0], [*COMMANDS, *ALIASES])}")
    args, unknown = parser.parse_known_args(argv)
    if unknown:
        raise PocketlensError(_unknown_word(unknown[0], argv[0], commands.choices))
    if args.version:
        args.command = _print_version
    elif not hasattr(args, "command"):
        raise PocketlensError(f"a command must be given: {', '.join(COMMANDS)}.")
    return args


def _check_torchrun(argv: Sequence[str]) -> None:
    if asked_ranks(os.environ).n > 1 and argv[0] not in _WITH_TORCHRUN:
        raise PocketlensError(
            f"torchrun works only with {' and '.join(_WITH_TORCHRUN)}; run pocketlens {argv[0]} without it."
        )


def _unknown_word(word: str, command: str, parsers: Mapping[str, Parser]) -> str:
    if command not in parsers:
        return f"there is no option {word!r} before the command; see: pocketlens --help"
    name = word.partition("=")[0]
    meant = hint_for(name, parsers[command].option_names())
    if meant is not None:
        return f"{command}: {word!r} is an unknown option; {meant}"
    near = difflib.get_close_matches(name, parsers[command].option_names(), n=1, cutoff=0.7)
    hint = f"did you mean {near[0]!r}?" if near else f"see: pocketlens {command} --help"
    return f"{command}: {word!r} is an unknown option or an extra argument; {hint}"


def _print_version(_args: argparse.Namespace) -> int:
    print(f"pocketlens {__version__}")
    return 0


def _complain(message: str, code: int) -> int:
    ranks = asked_ranks(os.environ)
    if not ranks.is_first and "torch" not in sys.modules:
        time.sleep(_PATIENCE)  # torchrun ends all processes with the first one that ends
        return code  # a mistake in the words, which the first one names
    who = "" if ranks.is_first else f", process {ranks.rank + 1} of {ranks.n}"
    print(f"pocketlens{who}: {printable(' '.join(message.splitlines()))}", file=sys.stderr, flush=True)
    return code


def _describe(error: OSError) -> str:
    where = f"{error.filename}: " if error.filename else ""
    return f"{where}{error.strerror or error}"


def _memory_advice(args: argparse.Namespace) -> str:
    """What helps the command, by what it takes: the memory of a training depends on its batches and its model."""
    trains = hasattr(args, "recipe")
    what = ["a smaller --batch-size"] * (trains or hasattr(args, "batch_size")) + ["a smaller --model"] * trains
    rest = "close other programs, or use a machine with more memory"
    return f"out of memory; try {' or '.join(what)}, {rest}" if what else f"out of memory; {rest}"
