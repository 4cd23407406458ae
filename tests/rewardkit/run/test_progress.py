"""What is shown while training, what signals do, how rows are dealt out to processes."""

from __future__ import annotations

import io
import os
import signal

import pytest

from rewardkit.run.progress import Progress, duration
from rewardkit.run.training_command import Interruption


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_log_gets_plain_lines_at_evaluations_and_at_the_end() -> None:
    log = io.StringIO()
    progress = Progress(log)
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
    progress = Progress(terminal)
    progress.step(5, 10, {"loss": 0.7, "eval/nll": 0.6})
    progress.step(10, 10, {"loss": 0.6})
    progress.say("done")
    shown = terminal.getvalue()
    assert shown.count("\r") == 2
    assert shown.endswith("\ndone\n")
    assert shown.count("\n") == 2
    assert "━" * 10 + "╌" * 10 + " step 5 of 10" in shown


def test_durations() -> None:
    assert [duration(seconds) for seconds in (0, 59.6, 61, 3725)] == ["0:00", "1:00", "1:01", "1:02:05"]


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
