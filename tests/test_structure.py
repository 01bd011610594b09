"""The layout of the package: no circles, no crowded folders, and documents that describe it."""

import ast
import re
import tomllib
from collections import Counter
from graphlib import TopologicalSorter
from itertools import pairwise
from pathlib import Path

PACKAGE = Path(__file__).parents[1] / "ct_vae"
FILES = {
    ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(".__init__"): path
    for path in sorted(PACKAGE.rglob("*.py"))
}


def imported(path):
    """Modules of the package that a file imports anywhere, for type checking included."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            whole = (f"{node.module}.{alias.name}" for alias in node.names)
            found |= {name if name in FILES else node.module for name in whole}
    return found & FILES.keys()


def test_no_module_imports_itself_by_way_of_others_not_even_inside_a_function():
    # The sorter raises an error that lists the circle.
    order = list(
        TopologicalSorter({name: imported(path) for name, path in FILES.items()}).static_order()
    )
    assert set(order) == FILES.keys()


def test_no_folder_holds_more_than_twenty_modules():
    folders = Counter(str(path.parent.relative_to(PACKAGE)) for path in FILES.values())
    assert max(folders.values()) <= 20, folders.most_common(3)


def test_the_diagram_of_the_architecture_shows_the_layers_of_the_import_contract():
    project = tomllib.loads((PACKAGE.parent / "pyproject.toml").read_text("utf-8"))
    contracts = project["tool"]["importlinter"]["contracts"]
    layers = next(each["layers"] for each in contracts if each["type"] == "layers")
    page = (PACKAGE.parent / "docs" / "architecture.md").read_text("utf-8")
    diagram = re.search(r"```mermaid\n(.*?)```", page, re.DOTALL)
    assert diagram is not None
    labels = dict(re.findall(r'(\w+)\["([^"]+)"\]', diagram[1]))
    assert list(labels.values()) == layers
    names = list(labels)
    edges = re.findall(r"(\w+)(?:\[[^]]+\])? --> (\w+)", diagram[1])
    assert edges == list(pairwise(names))
    rows = set(re.findall(r"`ct_vae/(\w+)(?:\.py)?`", page))
    assert {name for layer in layers for name in layer.split(" | ")} <= rows


def test_paths_that_the_documents_name_exist():
    root = PACKAGE.parent
    for document in ("docs/architecture.md", "CONTRIBUTING.md"):
        text = (root / document).read_text("utf-8")
        named = re.findall(r"`((?:ct_vae|tests|scripts|configs)/[\w./]+)`", text)
        assert named
        assert [path for path in named if not (root / path).exists()] == []


def test_each_class_has_a_name_of_its_own():
    names = Counter(
        node.name
        for path in FILES.values()
        for node in ast.parse(path.read_text("utf-8")).body
        if isinstance(node, ast.ClassDef)
    )
    assert [name for name, count in names.items() if count > 1] == []


# Modules with functions and without a test file of their own, and why.
UNMIRRORED = {
    "io/dicom/codecs/gdcm_worker.py": "script of the processes that gdcm_pool starts and tests",
}


def has_logic(path):
    """Return True if a module has a function that does more than to declare an interface."""
    functions = (
        node
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.FunctionDef)
    )
    return any(
        not (isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant))
        for function in functions
        for statement in function.body
    )


def test_every_module_with_logic_has_a_test_file_of_its_own():
    lacking = set()
    for path in FILES.values():
        module = path.relative_to(PACKAGE)
        stem = path.parent.name if path.name == "__init__.py" else path.stem
        test = Path(__file__).parent / module.parent / f"test_{stem.strip('_')}.py"
        tested = test.is_file() and "def test_" in test.read_text("utf-8")
        if has_logic(path) and not tested:
            lacking.add(module.as_posix())
    assert lacking == UNMIRRORED.keys()
