"""The configuration of a judge that edits answers. Nothing heavy."""

from __future__ import annotations

from dataclasses import dataclass

from alignment.config.training import OnBadRow, check_least
from rewardkit.traits.traits import TRAITS


@dataclass(frozen=True, kw_only=True)
class EditsConfig:
    """Answers that a judge edits: one trait added or removed, the content left, as `rewardkit audit --edits` reads it.

    Attributes:
        data: rows with answers to edit, in any form that holds some: a file, a saved `datasets` folder or a hub id.
        judge: what edits: the address of an OpenAI-compatible endpoint up to its version (http://host:8000/v1), the
            folder of a local model, or a YAML or JSON file with the fields of a judge; FILE#NAME takes one of a list,
            such as `judge list --json` of the app prints.
        judge_model: name of the model at the endpoint.
        judge_key_variable: name of the environment variable that holds the endpoint's key.
        traits: names of the traits to edit, separated by commas; all of an audit where it is left out.
        out: file to write, rows of prompt, trait, without and having; its name says the format.
        num_answers: number of answers to edit, of different prompts; the judge is asked once for each trait of each.
        least_kept: smallest share of the words of the answer without the trait that the other has too, in their order.
        resume: whether an unfinished run into the same output is continued.
        window: number of questions asked and saved at a time.
        on_bad_row: what a row without an answer does: stop the command, or be left out and counted.
        json: whether the summary is printed as JSON.
        seed: number that decides which answers are edited, and what the judge draws.
    """

    data: str
    judge: str
    judge_model: str = ""
    judge_key_variable: str = ""
    traits: str = ""
    out: str
    num_answers: int = 100
    least_kept: float = 0.7
    resume: bool = False
    window: int = 64
    on_bad_row: OnBadRow = "error"
    json: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        check_least(self, num_answers=1, window=1, seed=0)
        if not 0 <= self.least_kept <= 1:
            raise ValueError(f"least_kept is {self.least_kept}, allowed is 0 to 1")
        assert self.trait_names

    @property
    def trait_names(self) -> tuple[str, ...]:
        """The traits, in the order of an audit.

        Raises:
            ValueError: if one is none.
        """
        names = {name.strip() for name in self.traits.split(",")} if self.traits else set(TRAITS)
        if unknown := sorted(names - set(TRAITS)):
            raise ValueError(f"traits names {unknown[0]!r}, allowed are {', '.join(TRAITS)}")
        return tuple(name for name in TRAITS if name in names)
