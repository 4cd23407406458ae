"""The walls of the house: who may import whom, what stays light, how large a file and a folder may grow.

Each test collects the places that break its rule and asserts that there are none.
"""

from __future__ import annotations

import ast
import re
import resource
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

from source_trees import tree_of

ROOT = Path(__file__).parents[1]
PACKAGES = ("rewardkit", "alignment", "annotate_app")  # from the ground floor up
HEAVY = {"torch", "transformers", "peft", "accelerate", "datasets"}
LIGHT_FOLDERS = {
    "rewardkit": (
        "data",
        "run",
        "stats",
        "heads",
        "evaluation",
        "scoring",
        "simulation",
        "report",
        "commands",
        "traits",
        "audit",
    ),
    "alignment": ("config", "constitution", "verifiers", "watch", "commands"),
}
LIGHT = (
    *(f"{package}.{folder}" for package, folders in LIGHT_FOLDERS.items() for folder in folders),
    "rewardkit.__main__",
    "alignment.__main__",
    "annotate_app",
)
MIGRATIONS = ROOT / "annotate_app" / "store" / "migrations"
PAGES = ROOT / "annotate_app" / "pages"
STREAMLIT = ("annotate_app/app.py", "annotate_app/pages/", "annotate_app/server/server.py")
MOST_LINES, MOST_FUNCTION_LINES, MOST_TRAIN_LINES = 450, 70, 120
LEAST_FILES, MOST_FILES = 2, 14

FILES = sorted(
    path for package in PACKAGES for path in (ROOT / package).rglob("*.py") if MIGRATIONS not in path.parents
)


def name_of(path: Path) -> str:
    """Dotted name of a module, of a package for its `__init__.py`."""
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


MODULES = {name_of(path): path for path in FILES}


def place(path: Path) -> str:
    return str(path.relative_to(ROOT))


def statements(node: ast.AST, *, at_import: bool) -> Iterator[ast.AST]:
    """All nodes below a node; with `at_import` only those that run when the module is imported."""
    for child in ast.iter_child_nodes(node):
        is_type_checking = isinstance(child, ast.If) and "TYPE_CHECKING" in ast.dump(child.test)
        if at_import and (isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef) or is_type_checking):
            continue
        yield child
        yield from statements(child, at_import=at_import)


@cache
def imports(path: Path, *, at_import: bool = False) -> frozenset[str]:
    """Dotted names that a file imports: modules, and names taken from them."""
    names: set[str] = set()
    for node in statements(tree_of(path), at_import=at_import):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            names.add("." * node.level + (node.module or ""))
            names.update(f"{node.module}.{alias.name}" for alias in node.names)
    return frozenset(names)


def roots(names: Iterable[str]) -> set[str]:
    return {name.partition(".")[0] for name in names}


@cache
def modules_used(path: Path, *, at_import: bool = False) -> frozenset[str]:
    """Our own modules and packages that a file imports."""
    return frozenset(name for name in imports(path, at_import=at_import) if name in MODULES and name != name_of(path))


def cycle(arrows: Mapping[str, set[str]]) -> list[str]:
    """One circle of a graph, or nothing."""
    try:
        tuple(TopologicalSorter(arrows).static_order())
    except CycleError as error:
        return error.args[1]
    return []


def floor_of(module: str) -> str:
    """The folder of a module; a module at the top of a package is a floor by itself."""
    return module if module.count(".") <= 1 else module.rpartition(".")[0]


def test_imports_are_absolute() -> None:
    assert not [place(path) for path in FILES if any(name.startswith(".") for name in imports(path))]


def test_arrows_between_packages_point_down() -> None:
    offenders = []
    for path in FILES:
        above = PACKAGES[PACKAGES.index(path.relative_to(ROOT).parts[0]) + 1 :]
        offenders += [f"{place(path)} imports {package}" for package in roots(imports(path)) & set(above)]
    assert not offenders


def test_no_upward_arrow_hides_in_a_string() -> None:
    """Such as `python -m annotate_app` started from rewardkit; docstrings may speak of the floors above."""
    offenders = []
    for path in FILES:
        package = path.relative_to(ROOT).parts[0]
        above = "|".join(name.replace("_", "[_-]") for name in PACKAGES[PACKAGES.index(package) + 1 :])
        docstrings = {
            id(node.value)
            for parent in ast.walk(tree_of(path))
            for node in ast.iter_child_nodes(parent)
            if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        }
        offenders += [
            f"{place(path)}:{node.lineno} {node.value[:60]!r}"
            for node in ast.walk(tree_of(path))
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings
            if above and re.search(rf"\b({above})\b", node.value)
        ]
    assert not offenders


def test_there_is_no_circle_of_files() -> None:
    assert not cycle({name: set(modules_used(path)) for name, path in MODULES.items() if path.name != "__init__.py"})


def test_there_is_no_circle_of_folders() -> None:
    arrows: dict[str, set[str]] = {}
    for name, path in MODULES.items():
        if path.name == "__init__.py":
            continue
        floors = arrows.setdefault(floor_of(name), set())
        floors.update(floor_of(used) for used in modules_used(path) if MODULES[used].name != "__init__.py")
    assert not cycle({floor: below - {floor} for floor, below in arrows.items()})


def test_light_folders_name_nothing_heavy_at_import() -> None:
    """Followed through our own modules, to whatever library the last of them imports."""
    offenders = []

    def heavy_way(name: str, way: tuple[str, ...]) -> tuple[str, ...]:
        path = MODULES[name]
        if libraries := roots(imports(path, at_import=True)) & HEAVY:
            return (*way, name, *libraries)
        for used in modules_used(path, at_import=True):
            if used not in seen:
                seen.add(used)
                if longer := heavy_way(used, (*way, name)):
                    return longer
        return ()

    for name in MODULES:
        if any(name == light or name.startswith(f"{light}.") for light in LIGHT):
            seen = {name}
            if way := heavy_way(name, ()):
                offenders.append(" -> ".join(way))
    assert not offenders


def test_light_folders_load_nothing_heavy() -> None:
    """The same by running it: what libraries import in their turn counts too. Pages need a server to be imported."""
    light = [
        name
        for name in MODULES
        if any(name == floor or name.startswith(f"{floor}.") for floor in LIGHT)
        and not name.startswith(("annotate_app.pages", "annotate_app.app"))
    ]
    code = f"import importlib, sys\nfor name in {light}: importlib.import_module(name)\n"
    done = subprocess.run(
        [sys.executable, "-c", code + f"print(*sorted({HEAVY} & set(sys.modules)))"],
        capture_output=True, text=True, check=True, cwd=ROOT,
    )  # fmt: skip
    assert done.stdout.strip() == ""


def test_reading_data_loads_neither_streamlit_nor_pandas() -> None:
    code = "import sys, rewardkit.data.comparison_rows; print({'streamlit', 'pandas'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.strip() == "set()"


def test_streamlit_stays_in_pages() -> None:
    inside = [path for path in FILES if "streamlit" in roots(imports(path))]
    assert not [place(path) for path in inside if not place(path).startswith(STREAMLIT)]


def test_sql_stays_in_the_store() -> None:
    inside = [path for path in FILES if "sqlalchemy" in roots(imports(path))]
    assert not [place(path) for path in inside if not place(path).startswith("annotate_app/store/")]


def test_pages_hold_functions_only() -> None:
    inside = [path for path in FILES if PAGES in path.parents]
    assert not [
        f"{place(path)}:{node.lineno}"
        for path in inside
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.ClassDef)
    ]


def test_nothing_beside_the_streamlit_script_shadows_the_standard_library() -> None:
    """Its folder is the first on the path."""
    names = {path.stem for path in (ROOT / "annotate_app").iterdir()} - {"__init__", "__main__"}
    assert not names & sys.stdlib_module_names


def test_files_hold_one_noun_and_functions_stay_small() -> None:
    offenders = []
    for path in FILES:
        num_lines = path.read_text().count("\n")
        if num_lines > MOST_LINES:
            offenders.append(f"{place(path)}: {num_lines} lines, a noun is missing")
        for node in ast.walk(tree_of(path)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                size = (node.end_lineno or node.lineno) - node.lineno + 1
                if size > (MOST_TRAIN_LINES if node.name == "train" else MOST_FUNCTION_LINES):
                    offenders.append(f"{place(path)}:{node.lineno} {node.name}: {size} lines")
    assert not offenders


def test_a_folder_is_read_at_a_glance() -> None:
    """Pages may have a file a menu entry."""
    counts = Counter(path.parent for path in FILES if path.name != "__init__.py")
    assert not [
        f"{place(folder)}: {number} files"
        for folder, number in counts.items()
        if number < LEAST_FILES or (number > MOST_FILES and folder != PAGES)
    ]


def test_package_files_hold_a_docstring_and_public_names() -> None:
    """A package of the top level may offer names, lazily; the others hold a docstring and nothing else."""
    offenders = []
    for path in FILES:
        if path.name == "__init__.py":
            body = tree_of(path).body
            is_top = path.parent.parent == ROOT
            if ast.get_docstring(tree_of(path)) is None or (len(body) > 1 and not is_top):
                offenders.append(place(path))
    assert not offenders


def test_help_answers_within_a_second() -> None:
    """Processor time, which a busy machine does not lengthen as it does the wall clock."""
    for package in PACKAGES:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, "-m", package, "--help"], capture_output=True, check=True, cwd=ROOT)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 1.0, package


def test_modules_named_in_texts_exist() -> None:
    """Docstrings and documentation name modules by their dotted names; a move leaves no old one behind."""
    texts = [*FILES, *(ROOT / "docs").rglob("*.md"), *(ROOT / "tests").rglob("*.py"), ROOT / "README.md"]
    dotted = re.compile(rf"(?<![\w./-])(?:{'|'.join(PACKAGES)})(?:\.[a-z_0-9]+)+\b(?!\()")
    offenders = set()
    for path in texts:
        for name in dotted.findall(path.read_text(encoding="utf-8")):
            parts = name.split(".")
            known = next(n for n in range(len(parts), 0, -1) if ".".join(parts[:n]) in MODULES)
            is_package = MODULES[".".join(parts[:known])].name == "__init__.py"
            is_file = parts[1] in ("json", "md", "yaml", "__file__")
            is_public = known == 1 and re.search(rf"\b{parts[1]}\b", MODULES[parts[0]].read_text())
            if known < len(parts) and is_package and not is_file and not is_public:
                offenders.add(f"{place(path)}: {name}")
    assert not sorted(offenders)
