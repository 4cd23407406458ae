"""The public names of the packages: all of them load, and asking for none of them loads nothing heavy."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

import alignment
import rewardkit

ROOT = Path(__file__).parents[2]
PACKAGES = (rewardkit, alignment)


def stated_names(package: ModuleType) -> dict[str, str]:
    """By public name, the place that the imports for type checkers say."""
    tree = ast.parse(Path(str(package.__file__)).read_text())
    block = next(node for node in tree.body if isinstance(node, ast.If))
    places = {}
    for node in block.body:
        assert isinstance(node, ast.ImportFrom)
        for alias in node.names:
            public = alias.asname or alias.name
            places[public] = f"{node.module}:{alias.name}" if public != alias.name else f"{node.module}"
    return places


@pytest.mark.parametrize("package", PACKAGES, ids=lambda package: package.__name__)
def test_every_public_name_loads_from_where_the_type_checker_finds_it(package: ModuleType) -> None:
    assert stated_names(package) == package._HOMES
    assert sorted(package.__all__) == sorted(package._HOMES)
    assert [name for name in package.__all__ if not hasattr(package, name)] == []
    assert set(package.__all__) <= set(dir(package))


@pytest.mark.parametrize("package", PACKAGES, ids=lambda package: package.__name__)
def test_an_unknown_name_is_an_attribute_error(package: ModuleType) -> None:
    with pytest.raises(AttributeError, match=f"module '{package.__name__}' has no attribute 'dpo_losss'"):
        package.dpo_losss  # noqa: B018


def test_packages_and_their_nouns_load_without_anything_heavy() -> None:
    code = (
        "import sys, rewardkit, alignment; bare = {'torch', 'numpy', 'pandas'} & set(sys.modules);"
        "from rewardkit import Comparison, Judgment, Preference, read_preferences;"
        "print(bare, {'torch', 'transformers', 'pandas'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.strip() == "set() set()"
