"""The floor of a line: the products of its own steps, which take a part of what the steps take."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")
sys.path.insert(0, str(Path(__file__).parent))

from floors import step_figures, table, write_data

ROOT = Path(__file__).parents[2]


def test_the_figures_of_a_step_are_medians_over_those_that_count() -> None:
    product = [1, 64, 64, 64, False, False, "float32", False]
    products = [[[*product, 1.0]], [[*product, 10.0]], [[*product, 30.0]], [[*product, 20.0]]]
    times = {"wall": [9.0, 1.0, 4.0, 2.0], "cpu": [9.0, 2.0, 8.0, 4.0]}
    figures = step_figures(times, products, [5.0, 8.0, 8.0, 8.0], warm_up=1)
    assert (figures["step_s"], figures["cpu_s"], figures["num_products"]) == (2.0, 4.0, 1)
    assert figures["units_per_s"] == 4.0  # 8, 2 and 4 in the counted steps
    assert figures["gflop"] == pytest.approx(20 * 2 * 64**3 / 1e9)
    assert figures["gflop_per_s"] == pytest.approx(20 * 2 * 64**3 / 1e9 / figures["products_s"])
    # one product a second is a share of 10, 7.5 and 10 times its time
    assert figures["share"] == pytest.approx(10 * figures["products_s"] / 20)
    row = {"line": "a line", "unit": "pairs"} | figures
    assert table([row]).splitlines()[-1].startswith("| a line | 4 pairs | 2.000 |")


def test_the_data_made_here_has_prompts_of_several_lengths(tmp_path: Path) -> None:
    rows = [json.loads(line) for line in write_data(tmp_path / "pairs.jsonl", "", 0).read_text().splitlines()]
    assert {len(row["prompt"]) for row in rows} == {1, 3, 5, 7}
    assert len({json.dumps(row["prompt"]) for row in rows}) == len(rows) > 600
    assert all(row["chosen"] != row["rejected"] for row in rows)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_line_is_measured_by_one_command(tmp_path: Path) -> None:
    out = tmp_path / "floors.json"
    words = ["tests/benchmarks/floors.py", "--model=tiny", "--threads=1", "--lines", "reward model", f"--json={out}"]
    done = subprocess.run([sys.executable, *words], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    (line,) = json.loads(out.read_text())["lines"]
    assert 0.0 < line["cpu_share"] < 1.0
    assert line["gflop"] > 1.0
    assert "| reward model |" in done.stdout
