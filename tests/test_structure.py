"""The layout of the package: no circles between modules and no crowded folders."""

import ast
from collections import Counter
from graphlib import TopologicalSorter
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
