"""The plan of the house as a test: import levels, lengths, names, types, public names, and what `--help` may import."""

from __future__ import annotations

import ast
import importlib
import json
import re
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

import pocketlens
from pocketlens.components import ROOMS, names, signature

SOURCE = Path(pocketlens.__file__ or "").parent
FILES = sorted(SOURCE.rglob("*.py"))
# The order of the rooms, lowest first: a file imports from rooms before its own and, without circles, from its own.
ORDER = (
    *(
        "errors",
        "files",
        "locks",
        "text",
        "events",
        "literals",
        "own_code",
        "components",
        "recipe",
        "draws",
    ),
    *("operations", "models", "augment", "optimizers", "schedules", "losses"),
    *("data", "datasets"),
    *("scoring", "training", "inference", "evaluation"),
    *("audit", "studies", "report"),
    *("display", "api", "pipeline", "cli"),
    *("__init__", "__main__"),
)
FORBIDDEN_STEMS = {"utils", "util", "helpers", "helper", "common", "core", "base", "manager", "misc", "tools"}
LONG_LOOP = ("fit.py", "fit")  # the one function that may have 120 lines
LONGEST_FILE, LONGEST_FUNCTION, LONGEST_LOOP, MOST_PARAMETERS = 400, 60, 120, 6
MOST_IMPORTS = 12  # of our own files, where they are more than types
ITERABLES = {"list", "set", "tuple", "Sequence", "Iterable", "Iterator", "Generator", "Collection"}
UNLIKE_TUPLES = {"objective": "scipy.optimize takes the loss and its gradient from one function"}


def room_of(path: Path) -> str:
    """`cli` for cli/train.py, `fit` for fit.py."""
    return path.relative_to(SOURCE).parts[0].removesuffix(".py")


def module_of(path: Path) -> str:
    parts = path.relative_to(SOURCE).with_suffix("").parts
    return ".".join(["pocketlens", *(part for part in parts if part != "__init__")])


KNOWN = {module_of(path) for path in FILES}


@cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


@cache
def imports_of(path: Path) -> frozenset[str]:
    """The modules of pocketlens that a file imports, at its top or inside functions; not those for type checking."""
    tree = tree_of(path)
    typing_only = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        for inner in ast.walk(node)
    }
    found = set()
    for node in ast.walk(tree):
        if id(node) in typing_only:
            continue
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            assert node.level == 0, f"{path}: imports are absolute"
            submodules = {f"{node.module}.{alias.name}" for alias in node.names} & KNOWN
            found |= submodules if submodules else {node.module}
    return frozenset(found & KNOWN)


def test_every_room_has_its_place_and_every_place_a_room() -> None:
    assert {room_of(path) for path in FILES} == set(ORDER)


def test_a_file_imports_only_from_rooms_before_its_own() -> None:
    found = []
    for path in FILES:
        room = room_of(path)
        others = {name.split(".")[1] for name in imports_of(path) - {"pocketlens"}} - {room}
        above = {other for other in others if ORDER.index(other) > ORDER.index(room)}
        found += [f"{path.relative_to(SOURCE)} imports from {other}" for other in sorted(above)]
    assert found == []


def test_a_file_outside_the_application_imports_few_of_ours() -> None:
    inner = [path for path in FILES if room_of(path) not in ("api", "cli", "__init__")]
    numbers = {str(path.relative_to(SOURCE)): len(imports_of(path) - {"pocketlens"}) for path in inner}
    assert {path: n for path, n in numbers.items() if n > MOST_IMPORTS} == {}


def test_there_are_no_cycles() -> None:
    graph = {module_of(path): imports_of(path) - {"pocketlens", module_of(path)} for path in FILES}
    while leaves := {name for name, needs in graph.items() if not needs & graph.keys()}:
        graph = {name: needs for name, needs in graph.items() if name not in leaves}
    assert not graph, f"these files import each other in a circle: {sorted(graph)}"


def test_the_levels_are_really_checked() -> None:
    assert "pocketlens.cli.terminal.options" in imports_of(SOURCE / "cli" / "train.py")
    assert "pocketlens.errors" in imports_of(SOURCE / "recipe.py")


def test_lengths_and_names() -> None:
    assert [f"{path.relative_to(SOURCE)}: {wrong}" for path in FILES for wrong in _wrong_in(path)] == []


def _wrong_in(path: Path) -> list[str]:
    """Which rules of length and naming a file breaks."""
    n_lines = len(path.read_text(encoding="utf-8").splitlines())
    wrong = [f"{n_lines} lines"] if n_lines > LONGEST_FILE else []
    wrong += ["the name must say what it is for"] if path.stem.strip("_") in FORBIDDEN_STEMS else []
    wrong += [] if ast.get_docstring(tree_of(path)) else ["a file starts with a docstring that says what it is for"]
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.ClassDef):
            wrong += [node.name] if re.search(r"(Manager|Handler|Helper|Utils?)$", node.name) else []
        elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            wrong += [f"{node.name} {each}" for each in _wrong_with(node, path)]
    return wrong


def _wrong_with(node: ast.FunctionDef | ast.AsyncFunctionDef, path: Path) -> list[str]:
    """Which rules a function breaks."""
    limit = LONGEST_LOOP if (path.name, node.name) == LONG_LOOP else LONGEST_FUNCTION
    wrong = ["is too long"] if (node.end_lineno or 0) - node.lineno + 1 > limit else []
    wrong += ["must say by its name what it does"] if re.match(r"_?(get|do|handle)_", node.name) else []
    positional = [arg for arg in (*node.args.posonlyargs, *node.args.args) if arg.arg not in ("self", "cls", "ctx")]
    is_component = room_of(path) in ROOMS and node.name == path.stem
    too_many = not is_component and len(positional) + len(node.args.kwonlyargs) > MOST_PARAMETERS
    wrong += ["has too many parameters"] if too_many else []
    wrong += ["passes **kwargs through"] if node.args.kwarg and _passes_on(node, node.args.kwarg.arg) else []
    return wrong


def _passes_on(function: ast.FunctionDef | ast.AsyncFunctionDef, name: str) -> bool:
    calls = (node for node in ast.walk(function) if isinstance(node, ast.Call))
    return any(
        keyword.arg is None and isinstance(keyword.value, ast.Name) and keyword.value.id == name
        for call in calls
        for keyword in call.keywords
    )


def unlike_tuples(annotation: ast.AST, is_item: bool = False) -> list[str]:
    """The tuples of unlike things in an annotation, which should be a dataclass or a NamedTuple.

    Items (name, value) of an iterable are no such tuples: they are those of a mapping, as `dict.items` gives them.
    """
    if isinstance(annotation, ast.Constant) and isinstance(annotation.value, str):  # a forward reference
        return unlike_tuples(ast.parse(annotation.value, mode="eval").body, is_item)
    if not isinstance(annotation, ast.Subscript):
        return [text for child in ast.iter_child_nodes(annotation) for text in unlike_tuples(child)]
    name = ast.unparse(annotation.value).rpartition(".")[2]
    if name == "Literal":
        return []
    inner = annotation.slice.elts if isinstance(annotation.slice, ast.Tuple) else [annotation.slice]
    kinds = [ast.unparse(each) for each in inner]
    is_row = name == "tuple" and kinds[-1] != "..."
    is_named_value = is_item and len(kinds) == 2 and kinds[0] == "str"
    found = [ast.unparse(annotation)] if is_row and len(set(kinds)) > 1 and not is_named_value else []
    items_inside = name in ITERABLES and not is_row
    return found + [text for each in inner for text in unlike_tuples(each, items_inside)]


def annotations_of(tree: ast.Module) -> list[tuple[str, ast.expr]]:
    """(name, annotation) of what functions take and give, of fields of classes, and of types that are given a name."""
    found: list[tuple[str, ast.expr | None]] = []
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            given = node.args
            taken = [*given.posonlyargs, *given.args, *given.kwonlyargs, given.vararg, given.kwarg]
            found += [(node.name, arg.annotation) for arg in taken if arg is not None] + [(node.name, node.returns)]
        elif isinstance(node, ast.ClassDef):
            found += [(node.name, each.annotation) for each in node.body if isinstance(each, ast.AnnAssign)]
        elif isinstance(node, ast.Module):
            named = [each for each in node.body if isinstance(each, ast.Assign)]
            found += [(ast.unparse(e.targets[0]), e.value) for e in named if isinstance(e.value, ast.Subscript)]
    return [(name, annotation) for name, annotation in found if annotation is not None]


def test_no_tuple_of_unlike_things() -> None:
    found = [
        f"{path.relative_to(SOURCE)}: {name} has {unlike}"
        for path in FILES
        for name, annotation in annotations_of(tree_of(path))
        if name not in UNLIKE_TUPLES and (unlike := unlike_tuples(annotation))
    ]
    assert found == []


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("def f(a: int) -> tuple[int, str]: ...", ["tuple[int, str]"]),
        ("def f(*, a: list[tuple[int, str]] | None) -> None: ...", ["tuple[int, str]"]),
        ("async def f(*a: Callable[[int], tuple[str, int]]) -> None: ...", ["tuple[str, int]"]),
        ("def f() -> 'tuple[str, int]': ...", ["tuple[str, int]"]),
        ("def f() -> Iterator[tuple[str, int, int]]: ...", ["tuple[str, int, int]"]),
        ("def f() -> list[tuple[str, tuple[str, int]]]: ...", ["tuple[str, int]"]),
        ("class A:\n    rows: tuple[tuple[int, str], ...]", ["tuple[int, str]"]),
        ("Rows = list[tuple[float, str]]", ["tuple[float, str]"]),
        ("def f(a: tuple[int, int], b: tuple[str, ...]) -> tuple[Tensor, Tensor]: ...", []),
        ("def f(a: Iterable[tuple[str, Module]]) -> tuple[tuple[str, Any], ...]: ...", []),
    ],
)
def test_tuples_of_unlike_things_are_really_found(text: str, found: list[str]) -> None:
    annotations = annotations_of(ast.parse(text))
    assert [each for _, annotation in annotations for each in unlike_tuples(annotation)] == found


def test_a_component_file_holds_its_function_and_says_what_it_is() -> None:
    for room in ROOMS:
        for name in names(room):
            about = signature(room, name).about
            assert about.endswith((".", ":")) or len(about) > 20, f"{room}/{name}"
            assert "=" not in about.split(" ")[0], f"{room}/{name}"


def test_every_room_has_components() -> None:
    assert all(names(room) for room in ROOMS)


def test_public_names_are_few_and_there() -> None:
    assert len(pocketlens._MODULE_OF_NOUN) <= 25, "beside one call for each command"
    for path in SOURCE.iterdir():  # a room of the same name must not take the place of a call
        if (path / "__init__.py").exists():
            importlib.import_module(f"pocketlens.{path.name}")
    for name in pocketlens.__all__:
        assert callable(getattr(pocketlens, name)), name
    assert sorted(pocketlens.__all__) == sorted(dir(pocketlens))


def test_a_public_name_that_is_not_there_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = pocketlens.nonsense


ABSENT = {
    ("torch", "numpy", "rich", "matplotlib", "timm"): (
        ["--help"],
        ["train", "--help"],
    ),
    ("torch", "numpy", "timm"): (
        ["list", "models"],
        ["list", "bodies"],
        ["list", "datasets"],
        ["list", "recipes"],
    ),
    ("torch",): (
        ["list", "runs"],
        ["train", "digitz"],
        ["train", "digits", "--lr", "fast"],
        ["train", "digits", "--model", "lenz"],
        ["train", "digits", "--model", "absent.py:net"],
        ["predict", "nothing", "a.png", "--code", "absent.py"],
        ["train", "digits", "--data", "/nonexistent/data"],
        ["resume", "nothing"],
        ["compare", "digits", "base", "lrr=0.1"],
        ["compare", "digits", "small", "lenet", "--plan", "--spread", "0.3"],
        ["sweep", "digits", "--try", "lr=fast"],
        ["search", "digits", "--space", "lr=log(1,0)"],
        ["study", "list"],
        ["show", "lenz"],
        ["predict", "nothing", "a.png"],
        ["export", "nothing"],
        ["serve", "nothing"],
        ["review", "digits"],
    ),
}


@pytest.mark.parametrize(("absent", "commands"), list(ABSENT.items()), ids=lambda value: "-".join(map(str, value[:1])))
def test_torch_is_imported_only_where_something_is_computed(
    absent: tuple[str, ...], commands: tuple[list[str], ...], tmp_path: Path
) -> None:
    snippet = """
import json, sys
from pocketlens.cli import main
absent, commands = json.loads(sys.argv[1])
for argv in commands:
    main(argv)
    if there := sorted(set(absent) & set(sys.modules)):
        sys.exit(f"{' '.join(argv)} imports {', '.join(there)}")
"""
    command = [sys.executable, "-c", snippet, json.dumps([absent, commands])]
    result = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert result.returncode == 0, result.stderr


def test_import_pocketlens_is_instant() -> None:
    snippet = "import sys, pocketlens; print(len([n for n in sys.modules if n.split('.')[0] in ('numpy', 'torch')]))"
    result = subprocess.run([sys.executable, "-c", snippet], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "0"
