"""Python functions in workers: how they are called, and every way in which they can fail to answer."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from alignment.rewards.functions import FunctionReward
from alignment.rewards.source import RewardBatch, RewardError, ask
from alignment.rewards.spans import SpanReward
from rewardkit.data.records import Message

PROMPTS = [(Message(role="user", content=f"Question {number}"),) for number in range(3)]
BATCH = RewardBatch(
    prompts=PROMPTS,
    completions=["a", "bb", "ccc"],
    completion_ids=[(1,), (2, 2), (3, 3, 3)],
    columns={"answer": ["1", "2", "3"], "other": [0, 0, 0]},
)
Make = Callable[..., FunctionReward]


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    """Makes the source of a function `reward` from its file's text; their workers end with the test."""
    made: list[FunctionReward] = []

    def build(text: str, **options) -> FunctionReward:
        path = tmp_path / "judge.py"
        path.write_text(textwrap.dedent(text))
        made.append(FunctionReward(f"{path}:reward", name="judge", **options))
        return made[-1]

    yield build
    for each in made:
        each.close()


def rewards(source: FunctionReward, batch: RewardBatch = BATCH) -> list[float]:
    return ask(source, batch).members.tolist()[0]


def failure(source: FunctionReward, batch: RewardBatch = BATCH) -> RewardError:
    with pytest.raises(RewardError) as caught:
        rewards(source, batch)
    assert "\n" not in str(caught.value)
    return caught.value


def is_running(pid: int) -> bool:
    """Whether a process is there and no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def wait_until_gone(pid: int) -> bool:
    deadline = time.monotonic() + 10
    while is_running(pid) and time.monotonic() < deadline:
        time.sleep(0.05)
    return not is_running(pid)


def test_a_function_gets_the_keywords_it_takes(make: Make) -> None:
    source = make("""
        def reward(completions, answer, hint="none"):
            assert hint == "none"
            return [len(text) + float(one) / 10 for text, one in zip(completions, answer)]
    """)
    assert rewards(source) == [1.1, 2.2, 3.3]


def test_a_function_with_any_keywords_gets_all(make: Make) -> None:
    source = make("""
        def reward(prompts, **columns):
            assert sorted(columns) == ["answer", "completion_ids", "completions", "other"], sorted(columns)
            assert prompts == ["Question 0", "Question 1", "Question 2"], prompts
            return [sum(ids) for ids in columns["completion_ids"]]
    """)
    assert rewards(source) == [1, 4, 9]


def test_longer_conversations_come_as_one_text(make: Make) -> None:
    source = make("""
        def reward(prompts, completions):
            assert prompts == ["Human: a\\n\\nAssistant: b\\n\\nHuman: c\\n\\nAssistant:"], prompts
            return [1]
    """)
    turns = (
        Message(role="user", content="a"),
        Message(role="assistant", content="b"),
        Message(role="user", content="c"),
    )
    assert rewards(source, RewardBatch(prompts=[turns], completions=["x"])) == [1]


def test_bools_arrays_and_numpy_numbers_are_numbers(make: Make) -> None:
    assert rewards(make("def reward(completions): return (True, False, 2)")) == [1, 0, 2]
    assert rewards(make("import numpy\ndef reward(completions): return numpy.arange(3)")) == [0, 1, 2]
    source = make(
        "import numpy\ndef reward(completions): return [numpy.float32(0.5), numpy.bool_(True), numpy.array(2)]"
    )
    assert rewards(source) == [0.5, 1, 2]


def test_a_module_of_the_working_folder_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "own_module.py").write_text("def reward(completions): return [7 for _ in completions]")
    monkeypatch.chdir(tmp_path)
    source = FunctionReward("own_module:reward", name="own")
    assert rewards(source) == [7, 7, 7]
    source.close()


def test_neighbours_of_a_file_are_found(make: Make, tmp_path: Path) -> None:
    (tmp_path / "neighbour_of_judge.py").write_text("VALUE = 3")
    assert rewards(make("from neighbour_of_judge import VALUE\ndef reward(completions): return [VALUE] * 3")) == [3] * 3


def test_the_worker_is_started_once(make: Make) -> None:
    source = make("import os\ndef reward(completions): return [os.getpid()] * len(completions)")
    (first, *_), (second, *_) = rewards(source), rewards(source)
    assert first == second != os.getpid()


def test_what_it_prints_is_no_answer(make: Make, capfd: pytest.CaptureFixture[str]) -> None:
    source = make("""
        import os, sys
        print("while loading")
        def reward(completions):
            print("x" * 10_000)
            os.write(1, b"from below")
            sys.stdout.flush()
            return [1, 2, 3]
    """)
    assert rewards(source) == [1, 2, 3]
    said = capfd.readouterr()
    assert said.out == ""
    assert "while loading" in said.err
    assert "from below" in said.err


def test_large_batches_go_both_ways(make: Make) -> None:
    source = make("def reward(completions): return [len(text) for text in completions]")
    batch = RewardBatch(prompts=PROMPTS[:1] * 50, completions=["é" * 100_000] * 50)
    assert rewards(source, batch) == [100_000] * 50


def test_raising_names_the_sample_and_the_line(make: Make) -> None:
    source = make("""
        def reward(completions):
            return [parse(text) for text in completions]
        def parse(text):
            return 1 / (len(text) - 2)
    """)
    error = failure(source)
    assert error.index == 1
    place = source.target.removesuffix(":reward")
    assert str(error) == (
        f"reward judge ({place}:2) at sample 1 of 3 (prompt 'Question 1', completion 'bb'): "
        f"ZeroDivisionError: division by zero, at {place}:5"
    )
    assert rewards(source, BATCH.take([0, 2])) == [-1, 1]  # the worker goes on


def test_raising_for_the_whole_batch_says_that_the_sample_is_not_known(make: Make) -> None:
    source = make("""
        def reward(completions):
            if len(completions) > 1:
                raise KeyError("too many")
            return [0]
    """)
    error = failure(source)
    assert error.index is None
    assert "in a batch of 3, which sample is not known (the first: prompt 'Question 0'" in str(error)
    assert "KeyError: 'too many', at" in str(error)


def test_a_function_may_not_leave(make: Make) -> None:
    assert "SystemExit: 3" in str(failure(make("import sys\ndef reward(completions): sys.exit(3)")))


@pytest.mark.parametrize(
    ("returned", "index", "message"),
    [
        ("[0.0, float('nan'), 1]", 1, "the reward is nan, allowed is a finite number"),
        ("[0, 1, float('-inf')]", 2, "the reward is -inf"),
        ("[None, 1, 2]", 0, "the reward is None, allowed is a number"),
        ("[0, '1', 2]", 1, "the reward is '1', allowed is a number"),
        ("[0, 1, [2]]", 2, "the reward is [2], allowed is a number"),
        ("[0, 1j, 2]", 1, "the reward is 1j"),
        ("[0, 1]", None, "it returned 2 rewards for 3 completions"),
        ("None", None, "it returned NoneType, allowed is a list of numbers"),
        ("1.0", None, "it returned float"),
        ("'abc'", None, "it returned str"),
        ("(x for x in [1, 2, 3])", None, "it returned generator"),
    ],
)
def test_anything_but_a_number_for_each_is_an_error(make: Make, returned: str, index: int | None, message: str) -> None:
    error = failure(make(f"def reward(completions):\n    return {returned} if len(completions) == 3 else [0]"))
    assert message in str(error)
    assert error.index == index
    assert "judge.py:1)" in str(error)


def test_hanging_ends_after_its_time_and_leaves_no_process(make: Make) -> None:
    source = make(
        """
        import os, time
        def reward(completions):
            if "hang" in completions:
                open(__file__ + ".pid", "w").write(str(os.getpid()))
                time.sleep(1000)
            return [0] * len(completions)
        """,
        timeout_s=0.5,
    )
    assert rewards(source) == [0, 0, 0]
    start = time.monotonic()
    error = failure(source, RewardBatch(prompts=PROMPTS[:2], completions=["fine", "hang"]))
    assert time.monotonic() - start < 5
    assert "no answer within 0.5 s; reward_timeout_s allows more" in str(error)
    assert error.index is None
    assert wait_until_gone(int(Path(source.target.removesuffix(":reward") + ".pid").read_text()))
    assert failure(source, RewardBatch(prompts=PROMPTS[:1], completions=["hang"])).index == 0  # the only one
    assert rewards(source) == [0, 0, 0]  # the next call starts anew


def test_a_worker_that_dies_once_is_started_again(make: Make, caplog: pytest.LogCaptureFixture) -> None:
    source = make("""
        import os, pathlib
        seen = pathlib.Path(__file__ + ".seen")
        def reward(completions):
            if not seen.exists():
                seen.touch()
                os._exit(7)
            return [1, 2, 3]
    """)
    assert rewards(source) == [1, 2, 3]
    assert "ended with exit code 7 and is started again" in caplog.text


@pytest.mark.parametrize(
    ("body", "how"),
    [
        ("os._exit(7)", "ended with exit code 7"),
        ("os.kill(os.getpid(), 11)", "ended by SIGSEGV"),
    ],
)
def test_a_worker_that_dies_twice_is_one_error(make: Make, body: str, how: str) -> None:
    error = failure(make(f"import os\ndef reward(completions): {body}"))
    assert f"the worker {how}, and again after it was started anew" in str(error)
    assert error.index is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("def other(): pass", "has no function reward; it has other"),
        ("reward = 3", "has no function reward; it has none"),
        ("import no_such_module", "cannot be loaded: ModuleNotFoundError: No module named 'no_such_module', at"),
        ("def reward(:", "cannot be loaded: SyntaxError"),
        ("raise SystemExit(1)", "cannot be loaded: SystemExit: 1"),
        ("import os; os._exit(4)", "the worker ended with exit code 4 while"),
        ("def reward(completions, /): return []", "it takes completions by position, allowed are keywords"),
    ],
)
def test_what_cannot_be_loaded_is_said(make: Make, text: str, message: str) -> None:
    source = make(text)
    with pytest.raises(RewardError) as caught:
        source.start()
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_missing_columns_are_named(make: Make) -> None:
    error = failure(make("def reward(completions, gold, level): return []"))
    assert "it takes gold, level, there are answer, completion_ids, completions, other, prompts" in str(error)


def test_an_argument_makes_the_function(tmp_path: Path) -> None:
    source = FunctionReward("alignment.verifiers.verifiers:make_length", argument="2", name="length")
    batch = RewardBatch(prompts=PROMPTS[:2], completions=["a b", "a"])
    assert rewards(source, batch) == [1, 0.5]
    source.close()


def test_closing_ends_what_the_function_started_too(make: Make) -> None:
    source = make("""
        import os, subprocess, sys
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(1000)"])
        def reward(completions): return [os.getpid(), child.pid, 0]
    """)
    worker, child, _ = map(int, rewards(source))
    source.close()
    assert wait_until_gone(worker)
    assert wait_until_gone(child)
    assert rewards(source)[0] != worker


PARENT = """
import sys, time
from alignment.rewards.functions import FunctionReward
from alignment.rewards.source import RewardBatch
from rewardkit.data.records import Message
source = FunctionReward(sys.argv[1], name="judge")
batch = RewardBatch(prompts=[(Message(role="user", content="q"),)], completions=["a"])
source(batch)
print("ready", flush=True)
source(RewardBatch(prompts=batch.prompts, completions=["hang"]))
"""


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_no_worker_outlives_its_parent(make: Make, tmp_path: Path, how: signal.Signals) -> None:
    source = make("""
        import os, time
        def reward(completions):
            open(__file__ + ".pid", "w").write(str(os.getpid()))
            if completions == ["hang"]:
                time.sleep(1000)
            return [0]
    """)
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, source.target], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    assert parent.stdout is not None
    with parent.stdout:
        assert parent.stdout.readline() == "ready\n"
        time.sleep(0.3)
        parent.send_signal(how)
        parent.wait(timeout=20)
    worker = int(Path(source.target.removesuffix(":reward") + ".pid").read_text())
    assert wait_until_gone(worker)


def test_a_call_costs_little(make: Make) -> None:
    source = make("def reward(completions): return [0.0] * len(completions)")
    batch = RewardBatch(prompts=PROMPTS[:1] * 512, completions=["word " * 60] * 512)
    rewards(source, batch)
    start = time.process_time()
    rewards(source, batch)
    assert time.process_time() - start < 0.5
    assert isinstance(source(batch).members, np.ndarray)


def test_rewards_of_spans_and_of_tokens(make: Make) -> None:
    source = make("""
        import numpy
        def reward(completions):
            return [1, [(1, 0.5), (2, numpy.float64(0.25))], [[3, -1]]]
    """)
    spans = ask(source, BATCH)
    assert isinstance(spans, SpanReward)
    assert (spans.completion.tolist(), spans.ends.tolist(), spans.unit) == ([0, 1, 1, 2], [1, 1, 2, 3], "characters")
    assert spans.members.tolist() == [[1.0, 0.5, 0.25, -1.0]]
    by_token = ask(make("def reward(completion_ids): return [[0.5] * len(ids) for ids in completion_ids]"), BATCH)
    assert isinstance(by_token, SpanReward)
    assert (by_token.ends.tolist(), by_token.unit) == ([1, 1, 2, 1, 2, 3], "tokens")
    error = failure(make("def reward(completions): return [1, [(5, 0.5)], 2]"))
    assert error.index == 1
    assert "allowed are rising numbers from 1 to 2" in str(error)
