"""A lesson and its parts. What a lesson shows is computed when it is shown, and by the functions that trainings call.

Nothing here draws: `annotate_app.pages.learn` shows a lesson in the app, `annotate_app.lessons.catalogue.notebooks`
writes it as a notebook. Torch is imported inside of a lesson's functions.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from annotate_app.pages.charts.charts import Drawing, Rows

Values = Mapping[str, float]
"""What the sliders stand at, by name; of a choice the number of the option, from 0."""


@dataclass(frozen=True, kw_only=True)
class Slider:
    """A number that the reader moves.

    Attributes:
        name: what `move` finds it by.
        label: what stands above it.
        low, high: its ends.
        step: how far one key press moves it.
        default: where it stands at first.
    """

    name: str
    label: str
    low: float
    high: float
    step: float
    default: float


@dataclass(frozen=True, kw_only=True)
class Choice:
    """One of some named options, as a slider of their numbers.

    Attributes:
        name: what `move` finds its number by.
        label: what stands above it.
        options: their words.
        default: number of the one chosen at first.
    """

    name: str
    label: str
    options: tuple[str, ...]
    default: int = 0


@dataclass(frozen=True, kw_only=True)
class Picture:
    """What a move shows.

    Attributes:
        figures: rows of a small table; the first column names the row, the others are numbers or words.
        chart: one chart, as `annotate_app.pages.charts` makes them.
        words: what to see in it, one or two sentences.
    """

    figures: Rows
    chart: Drawing
    words: str


@dataclass(frozen=True, kw_only=True)
class Question:
    """A question whose answer is computed.

    Attributes:
        text: the question.
        answer: computes the answer: a number, or one of the choices.
        why: the reason, shown with the answer.
        choices: what can be chosen; empty where a number is asked.
        tolerance: how far a number may lie off.
    """

    text: str
    answer: Callable[[], float | str]
    why: str
    choices: tuple[str, ...] = ()
    tolerance: float = 0.0

    def accepts(self, given: float | str | None) -> bool:
        """Whether an answer is right."""
        right = self.answer()
        if isinstance(given, str) or isinstance(right, str):
            return given == right
        return given is not None and abs(given - right) <= self.tolerance + 1e-9


@dataclass(frozen=True, kw_only=True)
class Finding:
    """What came of running a claim.

    Attributes:
        figures: rows of a small table, as in `Picture`.
        is_wrong: whether they contradict the claim.
    """

    figures: Rows
    is_wrong: bool


@dataclass(frozen=True, kw_only=True)
class Mistake:
    """Something that texts get wrong.

    Attributes:
        claim: as the texts say it.
        run: holds it against our functions.
        instead: what is right.
    """

    claim: str
    run: Callable[[], Finding]
    instead: str


@dataclass(frozen=True, kw_only=True)
class Paper:
    """Where it comes from.

    Attributes:
        title: authors, year and what it is.
        link: its address.
    """

    title: str
    link: str


@dataclass(frozen=True, kw_only=True)
class Lesson:
    """A lesson of five minutes.

    Attributes:
        key: names it in addresses and file names: small letters and hyphens.
        title: its title.
        text: what it says before anything is moved, Markdown.
        sliders: what the reader moves.
        move: computes what is shown, in under a second.
        question: asked at the end.
        mistakes: what texts get wrong.
        papers: where it comes from.
        needs_torch: whether `move`, the answer or a mistake computes with torch.
    """

    key: str
    title: str
    text: str
    sliders: tuple[Slider | Choice, ...]
    move: Callable[[Values], Picture]
    question: Question
    mistakes: tuple[Mistake, ...]
    papers: tuple[Paper, ...]
    needs_torch: bool = False

    def defaults(self) -> dict[str, float]:
        """Where the sliders stand at first."""
        return {slider.name: slider.default for slider in self.sliders}

    def runs_here(self) -> bool:
        """Whether this installation has what the lesson computes with."""
        return not self.needs_torch or importlib.util.find_spec("torch") is not None
