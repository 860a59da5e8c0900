"""Imports go one way, and heavy libraries stay where they belong. The imports are read, not believed."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

PACKAGE = Path(__file__).parent.parent / "spectral_ssl"

# From the ground up: a module imports from its own layer and those above it in this list, never from those below.
LAYERS = [
    ["errors", "_version"],
    ["spec", "progress", "runs"],
    ["linalg", "data"],
    ["kernels", "graph", "relations", "moments", "embedding"],
    ["free", "spectrum", "extension", "solve", "classical", "positive_pair", "comparison"],
    ["methods", "losses", "theory", "alpha_cl"],
    ["training"],
    ["report"],  # reads run directories, so experiments may draw theirs
    ["scale", "experiments"],
    ["estimators"],
    ["cli"],
    ["__main__"],
]
HEIGHT = {module: height for height, layer in enumerate(LAYERS) for module in layer}

# Where a library may be imported at all, and where only inside functions, so that importing our module stays cheap.
ALLOWED = {
    "torch": {"alpha_cl", "methods", "losses", "training", "linalg", "scale.distributed"},
    "kornia": {"training.vision"},
    "networkx": {"graph"},
    "matplotlib": {"report"},
    "pandas": {"data"},
    "pyarrow": {"data"},
    "PIL": {"data"},
    "rich": {"progress", "cli", "report"},
    "click": {"cli"},
}
INSIDE_FUNCTIONS_ONLY = {
    "torch": {"linalg"},
    "kornia": {"training"},
    "networkx": {"graph"},
    "rich": {"progress", "cli"},
}
SOLVERS = {"eig", "eigh", "eigs", "eigsh", "eigvals", "eigvalsh", "lobpcg", "svd", "svds", "svdvals", "svd_lowrank"}


class Import(NamedTuple):
    module: str  # who imports, relative to the package: "methods.vicreg"
    target: str  # what: "spectral_ssl.linalg", "numpy"
    line: int
    inside_function: bool
    for_typing: bool

    def __str__(self) -> str:
        return f"{self.module}, line {self.line}: imports {self.target}"


def module_name(path: Path) -> str:
    return ".".join(["spectral_ssl", *path.relative_to(PACKAGE).with_suffix("").parts]).removesuffix(".__init__")


TREES = {module_name(path): ast.parse(path.read_text(encoding="utf-8")) for path in sorted(PACKAGE.rglob("*.py"))}
PARTS = {name.removeprefix("spectral_ssl."): tree for name, tree in TREES.items() if name != "spectral_ssl"}


def imports_of(module: str, node: ast.AST, inside: bool = False, typing: bool = False) -> Iterator[Import]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import):
            yield from (Import(module, alias.name, child.lineno, inside, typing) for alias in child.names)
        elif isinstance(child, ast.ImportFrom):
            assert child.level == 0, f"{module}, line {child.lineno}: write the whole name, not a relative import"
            for alias in child.names:
                part = f"{child.module}.{alias.name}"  # from spectral_ssl import linalg
                yield Import(module, part if part in TREES else str(child.module), child.lineno, inside, typing)
        else:
            functions = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda
            guard = isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test)
            yield from imports_of(module, child, inside or isinstance(child, functions), typing or guard)


IMPORTS = [found for module, tree in PARTS.items() for found in dict.fromkeys(imports_of(module, tree))]
OURS = [found for found in IMPORTS if found.target.split(".")[0] == "spectral_ssl"]


def top(name: str) -> str:
    return name.removeprefix("spectral_ssl.").split(".")[0]


def test_every_module_has_its_place() -> None:
    assert {top(module) for module in PARTS} <= HEIGHT.keys()


@pytest.mark.parametrize("found", OURS, ids=str)
def test_imports_go_one_way(found: Import) -> None:
    assert found.target != "spectral_ssl", (
        "the package itself imports from its modules: import from the module that has it"
    )
    if not found.for_typing:  # a type may be named from below
        assert HEIGHT[top(found.target)] <= HEIGHT[top(found.module)]


def test_no_cycles() -> None:
    needs: dict[str, set[str]] = {module: set() for module in PARTS}
    for found in OURS:
        target = found.target.removeprefix("spectral_ssl.")
        if not found.inside_function and not found.for_typing and target in needs and target != found.module:
            needs[found.module].add(target)
    while free := [module for module, targets in needs.items() if not targets]:
        for module in free:
            del needs[module]
        for targets in needs.values():
            targets.difference_update(free)
    assert not needs, f"these import each other: {sorted(needs)}"


@pytest.mark.parametrize("library", ALLOWED)
def test_libraries_stay_where_they_belong(library: str) -> None:
    for found in IMPORTS:
        if found.target.split(".")[0] != library or found.for_typing:
            continue
        assert {found.module, top(found.module)} & ALLOWED[library], str(found)
        if top(found.module) in INSIDE_FUNCTIONS_ONLY.get(library, set()):
            assert found.inside_function, f"{found}: do it inside the function that needs it"


def test_one_door_to_the_eigensolver() -> None:
    for module, tree in PARTS.items():
        if module == "linalg":
            continue
        ours = {"linalg"} if any(f.target == "spectral_ssl.linalg" for f in OURS if f.module == module) else set()
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in SOLVERS:
                call = f"{module}, line {node.lineno}: {ast.unparse(node.func)} is linalg's to call"
                assert ast.unparse(node.func.value) in ours, call


def test_results_are_returned_not_printed() -> None:
    for module, tree in PARTS.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print":
                assert top(module) in {"cli", "progress", "runs", "report"}, f"{module}, line {node.lineno}: print"


def test_importing_the_package_is_cheap() -> None:
    heavy = ("torch", "sklearn", "networkx", "matplotlib", "pandas", "pyarrow", "PIL", "rich", "click")
    program = f"import sys, spectral_ssl; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, cwd=PACKAGE.parent, check=True
    )
    assert done.stdout == "[]\n"
