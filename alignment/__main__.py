"""`alignment`: training and judging of policies from the command line."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from alignment.commands.table import COMMANDS
from rewardkit.run.command import CommandLine

COMMAND_LINE = CommandLine(
    package="alignment",
    description="Language models brought in line with what people prefer.",
    commands=COMMANDS,
)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command; the exit code is 0 done, 1 failed, 2 bad input."""
    return COMMAND_LINE.run(argv)


if __name__ == "__main__":
    sys.exit(main())
