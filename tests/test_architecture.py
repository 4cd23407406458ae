"""The walls of the house: who may import whom, what stays light, how large a file may grow."""

from __future__ import annotations

import ast
import resource
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("rewardkit", "alignment", "annotate_app")
HEAVY = {"torch", "transformers", "peft", "accelerate", "datasets"}
SOURCES = sorted(
    path for package in PACKAGES for path in (ROOT / package).rglob("*.py") if "migrations" not in path.parts
)


def place(path: Path) -> str:
    return str(path.relative_to(ROOT))


def imports(path: Path, *, module_level: bool = False) -> set[str]:
    """Dotted names a file imports; with `module_level`, only those that run when it is imported."""
    tree = ast.parse(path.read_text())
    found: set[str] = set()

    def visit(node: ast.AST) -> None:
        for child in ast.iter_child_nodes(node):
            is_type_checking = isinstance(child, ast.If) and "TYPE_CHECKING" in ast.dump(child.test)
            if module_level and (isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef) or is_type_checking):
                continue
            if isinstance(child, ast.Import):
                found.update(alias.name for alias in child.names)
            elif isinstance(child, ast.ImportFrom):
                assert child.level == 0, f"{place(path)}:{child.lineno} imports relatively"
                found.add(child.module or "")
                found.update(f"{child.module}.{alias.name}" for alias in child.names)
            visit(child)

    visit(tree)
    return found


def roots(names: set[str]) -> set[str]:
    return {name.partition(".")[0] for name in names}


@pytest.mark.parametrize("path", SOURCES, ids=place)
def test_arrows_point_down(path: Path) -> None:
    package = path.relative_to(ROOT).parts[0]
    above = PACKAGES[PACKAGES.index(package) + 1 :]
    assert not roots(imports(path)) & set(above)


@pytest.mark.parametrize("path", [p for p in SOURCES if "annotate_app" in p.parts], ids=place)
def test_streamlit_stays_in_pages(path: Path) -> None:
    inside = path.relative_to(ROOT / "annotate_app")
    allowed = inside.parts[0] == "pages" or str(inside) in ("app.py", "server/server.py")
    assert allowed or "streamlit" not in roots(imports(path))


@pytest.mark.parametrize("path", [p for p in SOURCES if "annotate_app" in p.parts], ids=place)
def test_sql_stays_in_the_store(path: Path) -> None:
    inside = path.relative_to(ROOT / "annotate_app")
    assert inside.parts[0] == "store" or "sqlalchemy" not in roots(imports(path))


@pytest.mark.parametrize("path", [p for p in SOURCES if "annotate_app" in p.parts], ids=place)
def test_the_app_never_imports_heavy_libraries_at_module_level(path: Path) -> None:
    assert not roots(imports(path, module_level=True)) & HEAVY


@pytest.mark.parametrize("path", [p for p in SOURCES if "pages" in p.parts], ids=place)
def test_pages_hold_functions_only(path: Path) -> None:
    tree = ast.parse(path.read_text())
    assert not [node.name for node in ast.walk(tree) if isinstance(node, ast.ClassDef)]


@pytest.mark.parametrize("path", [p for p in SOURCES if p.parent.name == "annotate_app"], ids=place)
def test_no_module_shadows_the_standard_library(path: Path) -> None:
    assert path.stem not in sys.stdlib_module_names - {"__init__", "__main__"}


@pytest.mark.parametrize("path", SOURCES, ids=place)
def test_files_and_functions_stay_small(path: Path) -> None:
    text = path.read_text()
    assert text.count("\n") <= 320, "a noun is missing: give it a room"
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            size = (node.end_lineno or node.lineno) - node.lineno + 1
            limit = 120 if node.name == "train" else 70
            assert size <= limit, f"{node.name} has {size} lines"


@pytest.mark.parametrize("package", [p for p in SOURCES if p.name == "__init__.py"], ids=place)
def test_package_files_hold_a_docstring_and_nothing_else(package: Path) -> None:
    body = ast.parse(package.read_text()).body
    assert len(body) == 1
    assert isinstance(body[0], ast.Expr)


@pytest.mark.parametrize(
    "modules",
    [
        "rewardkit.data.records, rewardkit.data.files, rewardkit.simulation.annotators, rewardkit.scoring.acquisition",
        "alignment.__main__, alignment.config.training, alignment.config.online, alignment.commands.bon",
        "alignment.watch.alarms, alignment.watch.watcher, alignment.watch.completion_metrics",
        "annotate_app.__main__, annotate_app.server.server, annotate_app.agreement.report, annotate_app.store.store",
    ],
)
def test_light_modules_load_without_torch(modules: str) -> None:
    code = f"import sys, {modules}; print(*sorted({HEAVY!r} & set(sys.modules)))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert found.stdout.strip() == ""


def test_light_half_of_rewardkit_loads_without_streamlit_and_pandas() -> None:
    code = "import sys, rewardkit.data.comparison_rows; print({'streamlit', 'pandas'} & set(sys.modules))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert found.stdout.strip() == "set()"


def test_help_answers_within_a_second() -> None:
    """Processor time, which a busy machine does not lengthen as it does the wall clock."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-m", "annotate_app", "--help"], capture_output=True, check=True, cwd=ROOT)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 1.0
