"""Code of one's own: components in files that a person names, such as `mynet.py:net(depth=3)`, and Python functions.

Code runs only from a file that was named: in a component text that was typed, by `--code`, or as a function that was
given to a call. That is a fact of the process, as its working folder is, and is kept here. A run keeps the text and the
hash of each file. What stands in a run folder, a recipe file or a checkpoint names nothing: the text `mynet.py:net` in
it means the file whose hash stands beside it, and is refused where nobody has named that file.
"""

from __future__ import annotations

import ast
import hashlib
import importlib.util
import inspect
import re
import sys
import textwrap
import traceback
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from pocketlens.errors import PocketlensError, closest
from pocketlens.literals import IN_PYTHON, Reference, key_of, keys_in, references, show_reference, texts_in
from pocketlens.text import printable

Nameable = str | Path | Callable[..., Any]


@dataclass(frozen=True)
class CodeRecord:
    """What a run keeps of a file: what its component texts call it, and the hash of its text."""

    file: str
    hash: str


@dataclass(frozen=True)
class CodeFile:
    """A file that a person has named, as it was then; `path` is empty for functions that live in none."""

    key: str
    path: str
    text: str

    @property
    def hash(self) -> str:
        """16 hexadecimal digits of the text, whatever its line ends."""
        text = self.text.replace("\r\n", "\n")
        return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()

    @property
    def stored_name(self) -> str:
        """The name of its copy in a run folder, such as mynet-0123456789abcdef.py."""
        stem = Path(self.path).stem if self.path else self.key.rpartition(":")[2]
        return f"{re.sub(r'[^A-Za-z0-9_-]', '_', stem)[:64]}-{self.hash}.py"


_named: dict[str, CodeFile] = {}  # by hash
_bound: dict[str, CodeFile] = {}  # by what component texts call it
_functions: dict[tuple[str, str], Callable[..., Any]] = {}  # by hash and name


def name_code(code: Nameable | Iterable[Nameable]) -> None:
    """Names files, or functions, whose code may run from now on.

    Raises:
        PocketlensError: a file is absent, cannot be read, or is not Python.
    """
    for each in [code] if isinstance(code, (str, Path)) or callable(code) else code:
        if callable(each):
            from_function(each)
        else:
            _name_file(str(each))


def forget_code() -> None:
    """Forgets what was named."""
    for known in (_named, _bound, _functions):
        known.clear()


def name_typed(*texts: object) -> None:
    """Names the files in component texts that a person has typed, also of texts in quotes within them.

    Raises:
        PocketlensError: a file is absent, cannot be read, or is not Python.
    """
    for text in texts:
        for each in references(text) if isinstance(text, str) else ():
            if each.file != IN_PYTHON:
                _bound[each.key] = _name_file(each.file)
        for inside in texts_in(text):
            if any(Path(each.file).is_file() for each in references(inside)):
                name_typed(inside)


def from_function(function: Callable[..., Any]) -> str:
    """The component text of a Python function or class, which may run from now on.

    A component that comes with pocketlens is called by its name; a function or class at the top of a file by that
    file; any other, such as one of a notebook, is `<function>:name` and must be given again to resume its run.

    Raises:
        PocketlensError: it has no name by which it could be called.
    """
    name = getattr(function, "__name__", "")
    module = sys.modules.get(getattr(function, "__module__", None) or "")
    if not name.isidentifier() or not (inspect.isfunction(function) or inspect.isclass(function)):
        raise PocketlensError(f"a component must be a function or a class with a name, got {function!r}; use def.")
    parts = module.__name__.split(".") if module is not None else []
    if len(parts) == 3 and parts[0] == "pocketlens" and parts[2] == name:
        return name
    is_at_top = module is not None and getattr(module, name, None) is function and function.__qualname__ == name
    path = inspect.getsourcefile(function) if is_at_top else None
    if path is not None and path.endswith(".py") and Path(path).is_file():
        file = _shown_path(Path(path))
        code = _bound[file] = _name_file(file)
    else:
        file = IN_PYTHON
        code = CodeFile(key_of(file, name), "", _source_of(function))
        _named[code.hash] = _bound[code.key] = code
    _functions[code.hash, name] = function
    return show_reference(file, name)


def find(key: str) -> CodeFile | None:
    """The file behind what a component text calls it, where a person has named it; one given by `--code` fits by name.

    Raises:
        PocketlensError: two files of that name were given.
    """
    if key in _bound:
        return _bound[key]
    fitting = [code for code in _named.values() if code.path and Path(code.path).name == _last_part(key)]
    if len(fitting) > 1:
        raise PocketlensError(f"--code must name one file called {_last_part(key)}, got {len(fitting)} different ones.")
    return fitting[0] if fitting else None


def bind(records: Sequence[CodeRecord], owner: str) -> None:
    """Lets component texts mean the files with the recorded hashes, where a person has named these.

    Raises:
        PocketlensError: a file was named that has changed since.
    """
    for record in records:
        if record.hash in _named:
            _bound[record.file] = _named[record.hash]
            continue
        now = find(record.file)
        if now is not None:
            raise PocketlensError(
                f"the code of {owner} has changed since (hash {record.hash} -> {now.hash}): {printable(record.file)}; "
                "give the file as it was, whose text is kept in the run's folder code/."
            )


def is_bound(records: Sequence[CodeRecord], *texts: str) -> bool:
    """Whether all code in the texts is recorded, and named as it was recorded."""
    return _unbound(records, texts) is None


def require_bound(records: Sequence[CodeRecord], *texts: str) -> None:
    """Refuses texts with code that is not recorded, or not named as it was recorded.

    Raises:
        PocketlensError: there is such code.
    """
    missing = _unbound(records, texts)
    if missing is not None:
        raise PocketlensError(not_named(missing.file, missing.name))


def require_records(records: Sequence[CodeRecord]) -> None:
    """Refuses to go on without the files of all records.

    Raises:
        PocketlensError: nobody has named one of them.
    """
    for record in records:
        if record.hash not in _named:
            raise PocketlensError(f"{printable(record.file)} is your own code: {_how_to_name(record.file)}")


def _unbound(records: Sequence[CodeRecord], texts: Iterable[str]) -> Reference | None:
    known = {record.file: record.hash for record in records}
    for each in (reference for text in texts for reference in references(text)):
        code = find(each.key)
        if code is None or known.get(each.key) != code.hash:
            return each
    return None


def records_in(*texts: str, kept: Sequence[CodeRecord] = ()) -> tuple[CodeRecord, ...]:
    """What to keep of the code in component texts; of a file that nobody has named, what was `kept` before."""
    before = {record.file: record.hash for record in kept}
    found: dict[str, str] = {}
    for key in keys_in(texts):
        code = find(key)
        if code is not None or key in before:
            found[key] = before[key] if code is None else code.hash
    return tuple(CodeRecord(*each) for each in found.items())


def records_from(value: Any, source: str) -> tuple[CodeRecord, ...]:
    """Records from JSON, [{"file": "mynet.py", "hash": "…"}, …].

    Raises:
        PocketlensError: the value is not like that.
    """
    if not isinstance(value, list) or not all(
        isinstance(each, dict) and each.keys() == {"file", "hash"} and all(isinstance(v, str) for v in each.values())
        for each in value
    ):
        raise PocketlensError(f'{source}: code must be a list of {{"file": "…", "hash": "…"}}.')
    return tuple(CodeRecord(each["file"], each["hash"]) for each in value)


def named() -> tuple[CodeFile, ...]:
    """Every file that was named, for processes that work for this one; functions that live in no file are left out."""
    bound = {code.hash: CodeFile(key, code.path, code.text) for key, code in _bound.items() if code.path}
    return tuple({**{key: code for key, code in _named.items() if code.path}, **bound}.values())


def name_again(files: Iterable[CodeFile]) -> None:
    """Names in this process what was `named` in another one, as it was there."""
    for code in files:
        _named[code.hash] = _bound[code.key] = code


def copies(records: Iterable[CodeRecord]) -> list[CodeFile]:
    """The files behind records, of those that were named."""
    return [_named[record.hash] for record in records if record.hash in _named]


def load(file: str, name: str) -> Callable[..., Any]:
    """The function of a file that was named; runs the file, once, if it has not been.

    Raises:
        PocketlensError: nobody has named the file, it raises, or it has no such function.
    """
    code = find(key_of(file, name))
    if code is None:
        raise PocketlensError(not_named(file, name))
    if (code.hash, name) not in _functions:
        function = getattr(_module(code), name, None)
        if not callable(function):
            raise PocketlensError(f"{printable(file)} must hold a function {name}, and has none.")
        _functions[code.hash, name] = function
    return _functions[code.hash, name]


def given_function(file: str, name: str) -> Callable[..., Any] | None:
    """A function that lives in no file, as it was given to a call."""
    code = find(key_of(file, name)) if file == IN_PYTHON else None
    return None if code is None else _functions.get((code.hash, name))


def definition(code: CodeFile, name: str) -> ast.FunctionDef | ast.ClassDef:
    """A function or class at the top of a file, read without running it.

    Raises:
        PocketlensError: there is none of that name.
    """
    nodes = [node for node in ast.parse(code.text).body if isinstance(node, (ast.FunctionDef, ast.ClassDef))]
    for node in nodes:
        if node.name == name:
            return node
    hint = closest(name, [node.name for node in nodes]) if nodes else ""
    raise PocketlensError(f"{printable(code.key)} has no function {name!r} at its top.{hint}")


def not_named(file: str, name: str) -> str:
    """Why a component of one's own cannot run."""
    return f"{printable(show_reference(file, name))} is your own code: {_how_to_name(key_of(file, name))}"


def _how_to_name(key: str) -> str:
    if key.startswith(IN_PYTHON):
        return f"a function that lives in no file must be given again, code={key.rpartition(':')[2]}"
    return f"it runs only when its file is named; add --code {printable(key)}"


def _name_file(file: str) -> CodeFile:
    path = Path(file).expanduser()
    try:
        text = path.read_text(encoding="utf-8")
        ast.parse(text)
    except FileNotFoundError:
        raise PocketlensError(f"{printable(file)} must be a Python file that exists, and does not.") from None
    except (OSError, UnicodeDecodeError) as error:
        raise PocketlensError(f"{printable(file)} must be a Python file that can be read: {_brief(error)}.") from None
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        line = f"line {error.lineno}: {error.msg}" if isinstance(error, SyntaxError) else _brief(error)
        raise PocketlensError(f"{printable(file)} must be Python, and is not: {line}.") from None
    code = CodeFile(file, str(path.absolute()), text)
    _named[code.hash] = code
    return code


def _module(code: CodeFile) -> ModuleType:
    """Runs the text that was read when the file was named, as a module of a name of its own."""
    name = f"pocketlens_own_{code.stored_name.removesuffix('.py').replace('-', '_')}"
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, code.path)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        # A person has named this file.
        exec(compile(code.text, code.path, "exec", dont_inherit=True), module.__dict__)  # noqa: S102
    except (Exception, SystemExit) as error:
        del sys.modules[name]
        lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == code.path]
        where = f" in line {lines[-1]}" if lines else ""
        raise PocketlensError(
            f"{printable(code.key)} could not be imported: {type(error).__name__}{where}: {_brief(error)}"
        ) from None
    return module


def _shown_path(path: Path) -> str:
    absolute, here = path.resolve(), Path.cwd().resolve()
    return str(absolute.relative_to(here) if absolute.is_relative_to(here) else absolute)


def _last_part(key: str) -> str:
    return re.split(r"[/\\]", key)[-1]


def _source_of(function: Callable[..., Any]) -> str:
    try:
        return textwrap.dedent(inspect.getsource(function))
    except (OSError, TypeError):
        return ""


def _brief(error: BaseException) -> str:
    return printable(" ".join(str(error).split()))[:200] or type(error).__name__
