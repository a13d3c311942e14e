"""What the project says about itself is true: its files, its licence, its documents, its examples of components."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

from pocketlens.cli import COMMANDS
from pocketlens.recipe import Recipe, named_recipes, read_recipe

ROOT = Path(__file__).parent.parent
DOCUMENTS = ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")


def read(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def code_blocks(name: str, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", read(name), re.DOTALL)


def test_the_package_says_what_it_needs() -> None:
    project = tomllib.loads(read("pyproject.toml"))["project"]
    assert project["requires-python"] == ">=3.11"
    assert project["license"] == "Apache-2.0"
    assert project["scripts"] == {"pocketlens": "pocketlens.cli:main"}
    assert "Apache License" in read("LICENSE")
    assert "END OF TERMS AND CONDITIONS" in read("LICENSE")
    assert (ROOT / "src/pocketlens/py.typed").exists()


def test_every_import_from_outside_is_a_dependency() -> None:
    import ast
    import sys

    named_otherwise = {
        "PIL": "pillow",
        "faiss": "faiss-cpu",
        "sklearn": "scikit-learn",
        "mlflow": "mlflow-skinny",
        "pillow_heif": "pillow-heif",
        "yaml": "pyyaml",
    }
    project = tomllib.loads(read("pyproject.toml"))["project"]
    extras = [text for name, texts in project["optional-dependencies"].items() if name != "dev" for text in texts]
    wanted = {re.split(r"[>=<\[]", text)[0] for text in (*project["dependencies"], *extras)}
    for path in (ROOT / "src").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            modules = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            modules += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            for top in {module.split(".")[0] for module in modules} - {"pocketlens"} - sys.stdlib_module_names:
                assert named_otherwise.get(top, top) in wanted, f"{path} imports {top}"


def test_the_readme_names_every_command_and_no_other() -> None:
    named = set(re.findall(r"^pocketlens ([\w-]+)", read("README.md"), re.MULTILINE))
    assert named == set(COMMANDS)


def test_the_readme_tree_is_true() -> None:
    tree = read("README.md").split("## Where things are")[1].split("```")[1]
    source = ROOT / "src/pocketlens"
    named = set(re.findall(r"[\w.]+/?", re.sub(r"   +.*", "", tree)))
    for path in source.iterdir():
        if path.name.startswith("_") or path.suffix in (".typed",) or path.name == "__pycache__":
            continue
        name = f"{path.name}/" if path.is_dir() else path.name
        assert name in named or path.stem in named, f"the README's tree does not name {name}"


def test_the_make_targets_in_the_documents_exist() -> None:
    targets = set(re.findall(r"^([\w-]+):", read("Makefile"), re.MULTILINE))
    for document in DOCUMENTS:
        assert set(re.findall(r"^make ([\w-]+)", read(document), re.MULTILINE)) <= targets


@pytest.mark.parametrize("name", DOCUMENTS)
def test_links_between_documents_lead_somewhere(name: str) -> None:
    for target in re.findall(r"\]\((?!https?:)([^)#]+)", read(name)):
        assert (ROOT / target).exists(), target


def test_nothing_names_the_place_where_it_was_made() -> None:
    suffixes = {".py", ".toml", ".md", ".json", ".j2", ""}
    folders = ("src", "tests", "examples", "benchmarks", ".ci")
    files = [path for folder in folders for path in (ROOT / folder).rglob("*") if path.is_file()]
    files += [path for path in ROOT.iterdir() if path.is_file() and path.name not in (".git", Path(__file__).name)]
    place = "/" + "work/"
    for path in files:
        if path.suffix in suffixes and path.name != ".gitignore":
            assert place not in path.read_text(encoding="utf-8", errors="replace"), path


@pytest.mark.parametrize("name", sorted(named_recipes()))
def test_a_named_recipe_is_valid_and_says_only_what_differs(name: str) -> None:
    recipe = read_recipe(name)
    fields = json.loads(named_recipes()[name].read_text(encoding="utf-8"))
    assert all(fields[key] != getattr(Recipe(), key) for key in fields)
    assert recipe.changed() == recipe


def namespace_of(block: str) -> dict[str, Any]:
    names: dict[str, Any] = {"__name__": "example"}
    exec(compile(block, "CONTRIBUTING.md", "exec"), names)
    return names


def test_the_examples_of_components_work() -> None:
    import torch

    from pocketlens.draws import Draws

    model, data, augmentation = code_blocks("CONTRIBUTING.md", "python")
    linear = namespace_of(model)["linear"]
    assert linear((8, 8, 1), 10)(torch.zeros(2, 1, 8, 8)).shape == (2, 10)

    parts = namespace_of(data)["stripes"](None, n=20, size=12)
    assert parts.test is None
    assert parts.development.shape == (12, 12, 1)
    assert sorted(set(parts.development.labels.tolist())) == [0, 1]

    noise = namespace_of(augmentation)["noise"]
    draws = Draws(0, torch.arange(4), torch.zeros(4, dtype=torch.int64), 0)
    images, targets = torch.full((4, 3, 8, 8), 0.5), torch.eye(4)
    noisy, same = noise(images, targets, draws, strength=0.2)
    assert noisy.shape == images.shape
    assert same is targets
    assert 0 < float((noisy - images).abs().mean()) < 0.2
    assert not torch.equal(noisy[0], noisy[1])
