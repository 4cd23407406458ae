"""`rewardkit evaluate` as it is typed, on models trained by the command line, and its report."""

from __future__ import annotations

import gzip
import json
import math
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rewardkit.__main__ import main
from rewardkit.evaluation.evaluate import Group
from rewardkit.evaluation.evaluation_text import Findings, sentences
from rewardkit.evaluation.report import html_report
from rewardkit.evaluation.rewardbench import BenchmarkResult
from rewardkit.report.charts import Axis, Line, axis_of, interval_chart, line_chart
from rewardkit.run.directory import read_status
from rewardkit.stats.metrics import Interval

pytest.importorskip("sklearn")
WORDS = ["parcel", "refund", "address", "desk", "reply", "today", "courier", "window", "label", "order"]
EMPTY = ("meta", "circle", "polyline", "line", "rect")


def make_rows(start: int, count: int, *, share_kind: float = 0.9) -> list[dict[str, Any]]:
    """Pairs whose better answer mostly is the kind one; every fifth has split votes."""
    rng = np.random.default_rng(start)
    rows = []
    for number in range(start, start + count):
        kind, rude = (" ".join(rng.choice(WORDS, rng.integers(3, 9))) for _ in range(2))
        pair = [f"{kind} gladly", f"{rude} never"]
        if rng.random() > share_kind:
            pair.reverse()
        split = number % 5 == 0
        rows.append(
            {
                "prompt": f"Question {number}?",
                "chosen": pair[0],
                "rejected": pair[1],
                "p_chosen": 2 / 3 if split else 1.0,
                "votes": {"chosen": 2 if split else 3, "rejected": 1 if split else 0},
                "source_chosen": "x" if number % 2 else "y",
                "source_rejected": "z",
                "meta": {"topic": "money" if number % 3 else "time <&>"},
            }
        )
    return rows


def write(path: Path, rows: list[dict[str, Any]]) -> Path:
    text = "".join(json.dumps(row) + "\n" for row in rows)
    path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Data, and an ensemble of TF-IDF heads trained on it by the command."""
    folder = tmp_path_factory.mktemp("evaluate")
    write(folder / "train.jsonl", make_rows(0, 120))
    write(folder / "test.jsonl.gz", make_rows(500, 50))
    words = ["--data", str(folder / "train.jsonl"), "--out", str(folder / "model"), "--ensemble", "4"]
    assert main(["train", "--model", "tfidf", "--mode", "head", *words]) == 0
    return folder


@pytest.fixture(scope="module")
def evaluated(folder: Path) -> Path:
    """An evaluation on the test pairs, by topic."""
    out = folder / "evaluated"
    assert evaluate(folder, out, "--data", str(folder / "test.jsonl.gz"), "--subset", "topic") == 0
    return out


def evaluate(folder: Path, out: Path, *words: str) -> int:
    return main(["evaluate", "--model", str(folder / "model"), "--out", str(out), *words])


class Page(HTMLParser):
    """Checks that every tag that opens closes, and gathers what would be fetched or run."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.headings: list[str] = []
        self.fetched: list[str] = []
        self.feed(text)
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in EMPTY:
            self.open.append(tag)
        self.fetched += [f"{tag} {name}" for name, _ in attrs if name in ("src", "href", "xlink:href", "onload")]
        if tag in ("script", "link", "img", "iframe"):
            self.fetched.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag in EMPTY

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] in ("h1", "h2"):
            self.headings.append(data)


def test_evaluate_says_it_on_screen_in_json_and_in_a_page(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = str(folder / "test.jsonl.gz")
    assert evaluate(folder, tmp_path / "out", "--data", data, "--subset", "topic") == 0
    screen = capsys.readouterr().out
    found = json.loads((tmp_path / "out" / "evaluation.json").read_text())
    figures = found["evaluation"]
    right = figures["overall"]["accuracy"]["value"]
    assert 0.7 < right <= 1.0  # nine in ten pairs follow the words
    assert f"{100 * right:.1f}%" in screen
    assert figures["num_members"] == 4
    assert [each["name"] for each in figures["uncertainty"]] == [
        *("probability", "relative_std", "vote_entropy", "std", "mutual_information")
    ]
    assert {each["column"]: len(each["groups"]) for each in figures["subsets"]} == {"sources": 2, "topic": 2}
    assert [each["name"] for each in found["baselines"]] == ["longer answer", "TF-IDF"]
    # Both train on the same words; the model held out a tenth of the pairs, the baseline is fitted on the same rows.
    assert found["baselines"][1]["num_train"] < 120
    assert figures["human"]["counted"] is True
    # Ten of 50 pairs are split 2 to 1 (a vote left out finds 1/3), the others 3 to 0.
    assert figures["human"]["ceiling"]["value"] == pytest.approx((10 / 3 + 40) / 50)
    assert found["notes"] == []
    status = read_status(tmp_path / "out")
    assert status["state"] == "done"
    page = Page((tmp_path / "out" / "report.html").read_text())
    assert page.fetched == []
    assert "Does it know when it is wrong?" in page.headings
    assert "By topic" in page.headings
    assert screen.splitlines()[-1] == str(tmp_path / "out" / "report.html")


def test_texts_of_the_data_stay_texts_in_the_page(evaluated: Path) -> None:
    page = (evaluated / "report.html").read_text()
    assert "time &lt;&amp;&gt;" in page
    assert "time <&>" not in page


def test_the_page_shows_the_figures_of_the_json(evaluated: Path) -> None:
    found = json.loads((evaluated / "evaluation.json").read_text())["evaluation"]
    page = (evaluated / "report.html").read_text()
    for figures in found["calibration"].values():
        assert f"{figures['nll']:.4f}" in page
    accuracy = found["overall"]["accuracy"]
    assert f"{100 * accuracy['value']:.1f}% ({100 * accuracy['low']:.1f} to {100 * accuracy['high']:.1f})" in page


def test_json_on_screen_is_the_file_and_the_same_at_every_run(
    folder: Path, evaluated: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--data", str(folder / "test.jsonl.gz"), "--subset", "topic", "--json"]
    assert evaluate(folder, tmp_path / "out", *words) == 0
    assert json.loads(capsys.readouterr().out) == json.loads((evaluated / "evaluation.json").read_text())


def test_without_data_the_held_out_pairs_are_taken_and_said_to_be_known(folder: Path, tmp_path: Path) -> None:
    assert evaluate(folder, tmp_path / "out") == 0
    found = json.loads((tmp_path / "out" / "evaluation.json").read_text())
    recorded = json.loads((folder / "model" / "data.json").read_text())
    assert found["evaluation"]["num_pairs"] == recorded["held_out"]["num_rows"]
    assert "choose a checkpoint" in found["notes"][0]


def test_prompts_that_were_trained_on_are_refused_unless_told(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    leaking = write(tmp_path / "leaking.jsonl", make_rows(500, 20) + make_rows(0, 30))
    assert evaluate(folder, tmp_path / "out", "--data", str(leaking)) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "were trained on" in said
    assert not (tmp_path / "out").exists()
    assert evaluate(folder, tmp_path / "out", "--data", str(leaking), "--allow-leakage") == 0
    found = json.loads((tmp_path / "out" / "evaluation.json").read_text())
    assert "accuracy is too high" in found["notes"][0]
    assert found["baselines"][1]["num_train"] <= 120 - 25  # the baseline never sees an evaluated prompt


def test_unlike_texts_are_compared_with_the_evaluation_data(folder: Path, tmp_path: Path) -> None:
    like = write(
        tmp_path / "like.jsonl", [{"question": row["prompt"], "answer": row["chosen"]} for row in make_rows(900, 60)]
    )
    numbers = write(tmp_path / "numbers.jsonl", [{"prompt": "How many?", "final": 3.5 + n} for n in range(40)])
    words = ["--data", str(folder / "test.jsonl.gz"), "--ood", f"{like}, {numbers}"]
    assert evaluate(folder, tmp_path / "out", *words) == 0
    alike, unlike = json.loads((tmp_path / "out" / "evaluation.json").read_text())["out_of_domain"]
    assert (alike["num_texts"], unlike["num_texts"]) == (60, 40)
    assert 0.6 < alike["ratio"]["value"] < 1.6
    assert alike["std_in_domain"] == unlike["std_in_domain"] > 0
    assert unlike["ratio"]["low"] <= unlike["ratio"]["value"] <= unlike["ratio"]["high"]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--data", "nowhere.jsonl"], "nowhere.jsonl"),
        (["--data", "TEST", "--subset", "colour"], "'colour' is not in the data"),
        (["--benchmark", "rewardbench"], "name it with data"),
        (["--benchmark", "rewardbench", "--data", "TEST"], "subset"),
        (["--benchmark", "rewardbench2", "--data", "TEST", "--ood", "x"], "ood goes with preferences"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str], says: str
) -> None:
    given = [str(folder / "test.jsonl.gz") if word == "TEST" else word for word in words]
    assert evaluate(folder, tmp_path / "out", *given) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert says in said


def test_a_model_from_elsewhere_needs_data_and_says_what_is_not_known(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = tmp_path / "elsewhere"
    model.mkdir()
    for name in ("rewardkit.json", "terms.json", "tfidf.npz"):
        (model / name).write_bytes((folder / "model" / name).read_bytes())
    assert main(["evaluate", "--model", str(model), "--out", str(tmp_path / "one")]) == 2
    assert "data is empty" in capsys.readouterr().err
    words = ["--data", str(folder / "test.jsonl.gz")]
    assert main(["evaluate", "--model", str(model), "--out", str(tmp_path / "two"), *words]) == 0
    found = json.loads((tmp_path / "two" / "evaluation.json").read_text())
    assert [each["name"] for each in found["baselines"]] == ["longer answer"]
    assert "trained on is not known" in found["notes"][0]
    assert "--train-data" in found["notes"][1]
    more = ["--train-data", str(folder / "train.jsonl")]
    assert main(["evaluate", "--model", str(model), "--out", str(tmp_path / "three"), *words, *more]) == 0
    found = json.loads((tmp_path / "three" / "evaluation.json").read_text())
    assert found["baselines"][1]["num_train"] == 120


def test_rewardbench_from_a_file(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    row = {"id": 1, "prompt": "Where?", "chosen": "desk gladly", "rejected": "desk never", "subset": "donotanswer"}
    path = write(
        tmp_path / "bench.jsonl", [row, row | {"subset": "hep-cpp", "chosen": "x never", "rejected": "x gladly"}]
    )
    assert evaluate(folder, tmp_path / "out", "--data", str(path), "--benchmark", "rewardbench") == 0
    found = json.loads((tmp_path / "out" / "evaluation.json").read_text())["benchmark"]
    assert found["sections"] == {"Safety": 1.0, "Reasoning": 0.0}
    assert found["score"] == 0.5
    assert "not comparable" in capsys.readouterr().out
    assert "RewardBench" in Page((tmp_path / "out" / "report.html").read_text()).headings


@pytest.mark.slow
def test_a_neural_ensemble_is_evaluated_alike(folder: Path, tmp_path: Path) -> None:
    pytest.importorskip("transformers")
    words = ["--data", str(folder / "train.jsonl"), "--out", str(tmp_path / "model"), "--ensemble", "3"]
    assert main(["train", "--model", "tiny", "--epochs", "6", *words]) == 0
    words = ["--data", str(folder / "test.jsonl.gz")]
    assert main(["evaluate", "--model", str(tmp_path / "model"), "--out", str(tmp_path / "out"), *words]) == 0
    found = json.loads((tmp_path / "out" / "evaluation.json").read_text())
    assert found["evaluation"]["num_members"] == 3
    assert found["evaluation"]["overall"]["accuracy"]["value"] > 0.6
    assert found["baselines"][1]["num_train"] > 90


def test_words_say_no_more_than_the_intervals() -> None:
    unsure = Group(name="all", num_pairs=9, num_prompts=9, accuracy=Interval(value=0.6, low=0.3, high=0.9))
    result = BenchmarkResult(version=2, num_items=3, subsets=[unsure], sections={}, score=0.6, missing=["Ties"])
    findings = Findings(model="a/m", data="b/d.jsonl", about={}, benchmark=result)
    assert sentences(findings) == [
        "RewardBench 2 score 60.0 on 3 prompts.",
        "The file lacks 1 of the benchmark's subsets (Ties): the score is not comparable with published ones.",
    ]
    assert "<h1>m on d.jsonl</h1>" in html_report(findings)


def test_what_is_not_known_is_null_in_json() -> None:
    unknown = Group(name="Ties", num_pairs=1, num_prompts=1, accuracy=Interval(value=0.5, low=math.nan, high=math.nan))
    result = BenchmarkResult(version=2, num_items=1, subsets=[unknown], sections={}, score=0.5, missing=[])
    values = Findings(model="m", data="d", about={}, benchmark=result).values()
    assert values["benchmark"]["subsets"][0]["accuracy"] == {"value": 0.5, "low": None, "high": None}
    json.dumps(values, allow_nan=False)


@pytest.mark.parametrize(
    ("values", "low", "high", "step"),
    [
        ([0.0, 0.48], 0.0, 0.5, 0.1),
        ([0.39, 0.69], 0.3, 0.7, 0.1),
        ([0.5, 0.5], 0.5, 0.5, 0.01),
        ([1.0, 1.0], 0.99, 1.0, 0.01),
        ([-0.1, 1.0], -0.25, 1.0, 0.25),
    ],
)
def test_axes_hold_their_values_with_few_marks(values: list[float], low: float, high: float, step: float) -> None:
    axis = axis_of("", values)
    assert (axis.low, axis.step) == (pytest.approx(low), step)
    assert axis.high == pytest.approx(max(high, low + step))
    assert len(axis.marks()) <= 7


def test_dots_stand_where_their_values_are() -> None:
    rows = [("one", Interval(value=0.25, low=0.0, high=0.5)), ("two", Interval(value=0.5, low=0.25, high=1.0))]
    chart = interval_chart("Chart", rows, 0.5)
    dots = [float(x) for x in re.findall(r'<circle class="dot s1" cx="([\d.]+)"', chart)]
    bars = [[float(x) for x in pair] for pair in re.findall(r'<line class="bar s1" x1="([\d.]+)" x2="([\d.]+)"', chart)]
    assert dots[0] == pytest.approx((bars[0][0] + bars[0][1]) / 2, abs=0.1)
    assert dots[1] == pytest.approx(bars[0][1], abs=0.1)
    assert bars[1][0] == pytest.approx(dots[0], abs=0.1)
    shares = Axis(name="x", low=0, high=1, step=0.5)
    drawn = line_chart("Chart", shares, shares, [Line(name="<a>", x=[0, 0.5, 1], y=[0, 0.5, 1], series=1, dots=3)])
    points = [tuple(map(float, point)) for point in re.findall(r'cx="([\d.]+)" cy="([\d.]+)"', drawn)]
    assert points[1] == (
        pytest.approx((points[0][0] + points[2][0]) / 2),
        pytest.approx((points[0][1] + points[2][1]) / 2),
    )
    assert points[0][1] > points[2][1]  # up is more
    assert "&lt;a&gt;" in drawn
