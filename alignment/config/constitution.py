"""The configuration of critique and revision under a constitution, and of its experiment. Nothing heavy."""

from __future__ import annotations

from dataclasses import dataclass, field

from alignment.config.sampling import DrawConfig
from alignment.config.training import check_least


@dataclass(frozen=True, kw_only=True)
class ConstitutionConfig(DrawConfig):
    """Answers criticised, revised and compared by a judge under the principles of a constitution.

    Attributes:
        prompts: rows with a prompt that the policy answers; with model.
        model: folder of the policy that answers, or a hub id.
        input: rows of a prompt with responses, or with one completion, as `alignment sample` writes them; in place of
            model and prompts.
        judge: what criticises, revises and compares: the address of an OpenAI-compatible endpoint up to its version
            (http://host:8000/v1), the folder of a local model, or a YAML or JSON file with the fields of a judge;
            FILE#NAME takes one of a list, such as `judge list --json` of the app prints.
        judge_model: name of the model at the endpoint.
        judge_key_variable: name of the environment variable that holds the endpoint's key.
        constitution: file of principles; the shipped one where it is left out.
        out: the run directory: steps.jsonl, sft.jsonl, pairs.jsonl, summary.json.
        rounds: number of critiques and revisions of an answer, each under a principle of its own; 0 for none.
        feedback: whether the judge says which of a prompt's first two answers is better.
        n: number of answers drawn of each prompt: the first is revised, the first two are compared.
        resume: whether a run that was stopped continues.
        window: number of prompts asked about and saved at a time.
        json: whether the summary is printed as JSON.
    """

    prompts: str = ""
    model: str = ""
    input: str = ""
    judge: str
    judge_model: str = ""
    judge_key_variable: str = ""
    constitution: str = ""
    out: str
    rounds: int = 1
    feedback: bool = True
    n: int = 2
    resume: bool = False
    window: int = field(default=32, metadata={"may_change": True})
    json: bool = field(default=False, metadata={"may_change": True})

    def __post_init__(self) -> None:
        super().__post_init__()
        check_least(self, rounds=0, n=1, window=1)
        if bool(self.input) == bool(self.model) or bool(self.model) != bool(self.prompts):
            raise ValueError("give model and prompts together, or input with answers that are there already")
        if not self.rounds and not self.feedback:
            raise ValueError("rounds is 0 and feedback off: there is nothing to ask")
        if self.model and self.n > 1 and self.temperature == 0:
            raise ValueError(f"n is {self.n} at temperature 0, where all answers to a prompt are the same")


@dataclass(frozen=True, kw_only=True)
class FeedbackLabConfig:
    """Training sets made by people, by a judge under a constitution, and by both, where gold is known.

    Attributes:
        out: the run directory: feedback-lab.json, table.txt, and a file a seed.
        resume: whether an experiment that was stopped continues; finished seeds are not done again.
        seeds: number of worlds, each with its own messages, replies, votes and reward models.
        first_seed: seed of the first world; the others follow.
        constitution: file of principles for the judge; the shipped one where it is left out. Its ids are those of the
            shipped one, or some of them: each stands for traits of the world's replies.
        labels: number of labels of each training set at equal labels; also the money: the price of so many people's
            votes.
        judge_price: price of a judge's label, both orders, where a person's vote costs 1.
        revision_price: price of a critique, a revision and the judge's vote on it, where a person's vote costs 1.
        judge_sharpness: logits that the judge sees in one trait of the principle that it is asked about.
        judge_noise: standard deviation of the judge's error on a pair, logits; asking again gives the same error.
        judge_length_bias: logits that the judge adds for a reply e times as long.
        judge_left_bias: logits that the judge adds for the reply that it is shown first.
        reviser_error: share of revisions that do something else than the principle asks for.
        reviser_padding: share of revisions that grow by a sentence without content.
        json: whether figures are printed as JSON instead of the table.
    """

    out: str
    resume: bool = False
    seeds: int = 10
    first_seed: int = 0
    constitution: str = ""
    labels: int = 300
    judge_price: float = 0.05
    revision_price: float = 0.1
    judge_sharpness: float = 2.0
    judge_noise: float = 1.0
    judge_length_bias: float = 1.0
    judge_left_bias: float = 0.5
    reviser_error: float = 0.2
    reviser_padding: float = 0.3
    json: bool = False

    def __post_init__(self) -> None:
        check_least(self, seeds=1, first_seed=0, labels=40, judge_noise=0)
        for name in ("judge_price", "revision_price"):
            if not 0.01 <= getattr(self, name) <= 1:
                raise ValueError(
                    f"{name} is {getattr(self, name)}, allowed is 0.01 to 1, as a share of a person's vote"
                )
        if not self.judge_sharpness > 0:
            raise ValueError(f"judge_sharpness is {self.judge_sharpness}, allowed is more than 0")
        for name in ("reviser_error", "reviser_padding"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} is {getattr(self, name)}, allowed is 0 to 1")

    @property
    def numbers(self) -> range:
        return range(self.first_seed, self.first_seed + self.seeds)
