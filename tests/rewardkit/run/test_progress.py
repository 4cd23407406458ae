"""What is shown while training, what signals do, how rows are dealt out to processes."""

from __future__ import annotations

import io
import os
import signal

import pytest

from rewardkit.run.progress import Progress
from rewardkit.run.training_command import Interruption


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_log_gets_plain_lines_at_evaluations_and_at_the_end() -> None:
    log = io.StringIO()
    progress = Progress(stream=log)
    progress.step(1, 1000, {"loss": 0.7})
    progress.step(2, 1000, {"loss": 0.6})
    progress.step(3, 1000, {"loss": 0.5, "eval/nll": 0.65})
    progress.step(1000, 1000, {"loss": 0.4})
    progress.close()
    lines = log.getvalue().splitlines()
    assert [line.split("  ")[0] for line in lines] == ["step 1 of 1,000", "step 3 of 1,000", "step 1,000 of 1,000"]
    assert "loss 0.500  held-out NLL 0.650" in lines[1]
    assert "loss 0.400  held-out NLL 0.650" in lines[2]
    assert "\r" not in log.getvalue()


def test_a_terminal_gets_one_line_that_redraws_itself() -> None:
    terminal = Terminal()
    progress = Progress(stream=terminal)
    progress.step(5, 10, {"loss": 0.7, "eval/nll": 0.6})
    progress.say("a word")  # above the bar
    progress.step(10, 10, {"loss": 0.6})
    progress.say("done")
    shown = terminal.getvalue()
    assert shown.endswith("\ndone\n")
    assert shown.count("\n") == 3
    assert "━" * 10 + "╌" * 10 + " step 5 of 10  loss 0.700  held-out NLL 0.600" in shown
    assert "━" * 20 + " step 10 of 10  loss 0.600  held-out NLL 0.600" in shown.splitlines()[-2].split("\r")[-1]


def test_a_count_says_how_many_of_how_many_and_ends_its_line(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr("rewardkit.run.progress.time.monotonic", lambda: now[0])
    log = io.StringIO()
    progress = Progress("rows scored", log)
    for seconds, done in ((0, 1000), (10, 1100), (31, 1310), (40, 1400), (50, 2000)):
        now[0] = 100.0 + seconds
        progress.count(done, 2000)
    # a line after 30 s, one at the end; 310 rows in 31 s, so 690 more take 69 s
    assert [" ".join(line.split()) for line in log.getvalue().splitlines()] == [
        "1,310 of 2,000 rows scored 10.00/s, 01:09 left",
        "2,000 of 2,000 rows scored 20.00/s, 00:00 left",
    ]


def test_a_count_without_a_total_shows_nothing_where_all_is_done_soon() -> None:
    terminal, log = Terminal(), io.StringIO()
    for stream in (terminal, log):
        progress = Progress("rows read", stream, delay_s=60)
        for done in range(100):
            progress.count(done)
        progress.close()
        assert stream.getvalue().strip() == ""


def test_another_total_begins_a_new_bar() -> None:
    terminal = Terminal()
    progress = Progress(stream=terminal)
    progress.step(8, 10, {})
    progress.step(1, 4, {})
    progress.close()
    first, second, _ = terminal.getvalue().split("\n")
    assert "step 8 of 10" in first
    assert "step 1 of 4" in second


def test_a_signal_raises_unless_training_is_patient() -> None:
    with Interruption().listening() as interruption:
        with interruption.patient():
            os.kill(os.getpid(), signal.SIGTERM)
        assert interruption.asked
        with pytest.raises(KeyboardInterrupt), interruption.patient():
            os.kill(os.getpid(), signal.SIGINT)  # the second one
    with Interruption().listening() as interruption, pytest.raises(KeyboardInterrupt):
        os.kill(os.getpid(), signal.SIGTERM)
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
