"""What a turn of the loop is to do: one part a stage, with defaults; as plain values in the store, as YAML in files.

    policy: run-12
    auto: true
    write: {num_prompts: 200, candidates: 4}
    choose: {num_pairs: 200, rule: uncertainty, random_share: 0.2}
    judge: {overlap: 3, judges: [gpt]}
    learn: {config: {model: tfidf}, replay: 1.0}
    align: {trains: grpo, config: {max_steps: 100}}
    check: {num_prompts: 100}

Where nothing is said, a turn does as the turn before it did. Nothing here reads the store.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any, Literal, get_args

import yaml

from annotate_app.protocol.collection_design import MOST_OVERLAP
from annotate_app.trainings.options import TRAININGS, check_options
from rewardkit.config import ChoiceRule, CutAnswers

Align = Literal["sft", "dpo", "grpo", "ppo", "online-dpo"]
Base = Literal["present", "first"]
Against = Literal["previous", "first"]
PRESENT, PREVIOUS = "present", "previous"
SET_BY_TURN = ("model", "reward")
"""Options of trainings that follow from the turn's place in the loop."""


@dataclass(frozen=True, kw_only=True)
class WritePlan:
    """The policies write candidates.

    Attributes:
        policies: `present` (what the turn before left), `previous` (the one before that), a run's number, a folder, a
            hub id.
        prompts: file with prompts; empty for the project's.
        num_prompts: different prompts to answer, drawn at random; 0 takes all.
        candidates: answers of each policy to a prompt.
        temperature, max_new_tokens: how they are drawn.
    """

    policies: tuple[str, ...] = (PRESENT,)
    prompts: str = ""
    num_prompts: int = 200
    candidates: int = 4
    temperature: float = 1.0
    max_new_tokens: int = 128

    def __post_init__(self) -> None:
        object.__setattr__(self, "policies", tuple(self.policies))
        if not self.policies or len(set(self.policies)) < len(self.policies):
            raise ValueError("write.policies is empty or names one twice, allowed are one or more different policies")
        _least("write", self, num_prompts=0, candidates=1, max_new_tokens=1)
        if not self.temperature > 0:
            raise ValueError(f"write.temperature is {self.temperature}, allowed is more than 0: candidates differ")
        if self.candidates * len(self.policies) < 2:
            raise ValueError("write.candidates is 1 of one policy, allowed are 2 or more answers to a prompt")


@dataclass(frozen=True, kw_only=True)
class ChoosePlan:
    """Pairs of candidates are chosen to be judged.

    Attributes:
        rule: of `rewardkit choose`; the first turn, which has no reward model yet, chooses by chance where the rule
            asks one.
        num_pairs: pairs to choose.
        random_share: share of them that is chosen by chance, always above 0: they measure honestly.
        cut: what an answer is that did not end by itself: left out, or kept like another.
    """

    rule: ChoiceRule = "uncertainty"
    num_pairs: int = 200
    random_share: float = 0.2
    cut: CutAnswers = "leave_out"

    def __post_init__(self) -> None:
        _one_of("choose.cut", self.cut, get_args(CutAnswers))
        _one_of("choose.rule", self.rule, get_args(ChoiceRule))
        _least("choose", self, num_pairs=1)
        if not 0 < self.random_share <= 1:
            raise ValueError(f"choose.random_share is {self.random_share}, allowed is above 0 and up to 1")


@dataclass(frozen=True, kw_only=True)
class JudgePlan:
    """People judge the pairs, or judges that are no people, or both.

    Attributes:
        people: whether the stage waits for people.
        overlap: judgments of people wanted of each pair; 0 for what the project's design asks.
        judges: names of judges of the project that judge the pairs too, or instead.
    """

    people: bool = True
    overlap: int = 0
    judges: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "judges", tuple(self.judges))
        if not 0 <= self.overlap <= MOST_OVERLAP:
            raise ValueError(f"judge.overlap is {self.overlap}, allowed is 0 to {MOST_OVERLAP}")
        if not self.people and not self.judges:
            raise ValueError("judge.people is false and judge.judges empty: somebody has to judge")


@dataclass(frozen=True, kw_only=True)
class LearnPlan:
    """A reward model learns from what was judged so far.

    Attributes:
        config: options of `rewardkit train`, its model among them.
        from_previous: whether a neural model begins with the weights of the turn before, not anew.
        replay: share of the votes before this turn that it learns from too, 0 to 1.
    """

    config: Mapping[str, Any] = field(default_factory=lambda: {"model": "tfidf"})
    from_previous: bool = False
    replay: float = 1.0

    def __post_init__(self) -> None:
        if not self.config.get("model"):
            raise ValueError("learn.config has no model: name tfidf, tiny, small, a folder or a hub id")
        _options("learn", self.config, "reward")
        if not 0 <= self.replay <= 1:
            raise ValueError(f"learn.replay is {self.replay}, allowed is 0 to 1")
        if self.from_previous and self.config["model"] == "tfidf":
            raise ValueError("learn.from_previous is for neural models: tfidf is fitted anew in seconds")


@dataclass(frozen=True, kw_only=True)
class AlignPlan:
    """A policy is aligned with the reward model, or with the votes.

    Attributes:
        trains: how: sft and dpo learn from the votes, the others from samples that the reward model rewards.
        config: options of that command of `alignment`, without its model and reward.
        base: the policy to begin with: the present one, or turn 0's.
    """

    trains: Align = "grpo"
    config: Mapping[str, Any] = field(default_factory=dict)
    base: Base = "present"

    def __post_init__(self) -> None:
        _one_of("align.trains", self.trains, get_args(Align))
        _one_of("align.base", self.base, get_args(Base))
        for name in SET_BY_TURN:
            if name in self.config:
                raise ValueError(f"align.config has {name}, which the turn sets itself")
        _options("align", self.config, self.trains)


@dataclass(frozen=True, kw_only=True)
class CheckPlan:
    """People check the policy blindly.

    Attributes:
        against: the policy of the turn before, turn 0's, or both.
        num_prompts: pairs of each round, one a prompt.
        prompts: file with prompts; empty for those that the alignment held out, or else the project's.
        overlap: judgments wanted of each pair; 0 for what the project's design asks.
        temperature: how both policies answer.
    """

    against: tuple[Against, ...] = ("previous", "first")
    num_prompts: int = 100
    prompts: str = ""
    overlap: int = 0
    temperature: float = 0.7

    def __post_init__(self) -> None:
        object.__setattr__(self, "against", tuple(self.against))
        if not self.against:
            raise ValueError("check.against is empty, allowed are previous, first or both; or skip the stage")
        for name in self.against:
            _one_of("check.against", name, get_args(Against))
        _least("check", self, num_prompts=1)
        if not 0 <= self.overlap <= MOST_OVERLAP:
            raise ValueError(f"check.overlap is {self.overlap}, allowed is 0 to {MOST_OVERLAP}")
        if self.temperature < 0:
            raise ValueError(f"check.temperature is {self.temperature}, allowed is 0 or more")


@dataclass(frozen=True, kw_only=True)
class TurnPlan:
    """A turn.

    Attributes:
        policy: turn 0's, with which the first turn writes: a run's number, a folder, a hub id, or a preset (tiny,
            small), which learns to write from the project's answers first. Later turns carry it on.
        auto: whether the worker begins each stage as soon as the one before is done.
        seed: of all that is random; the turn's number is added.
    """

    policy: str
    auto: bool = False
    seed: int = 0
    write: WritePlan = field(default_factory=WritePlan)
    choose: ChoosePlan = field(default_factory=ChoosePlan)
    judge: JudgePlan = field(default_factory=JudgePlan)
    learn: LearnPlan = field(default_factory=LearnPlan)
    align: AlignPlan = field(default_factory=AlignPlan)
    check: CheckPlan = field(default_factory=CheckPlan)

    def __post_init__(self) -> None:
        if not self.policy.strip():
            raise ValueError("policy is empty: name a run, a folder, a hub id, tiny or small")
        _least("", self, seed=0)


PARTS = {
    "write": WritePlan,
    "choose": ChoosePlan,
    "judge": JudgePlan,
    "learn": LearnPlan,
    "align": AlignPlan,
    "check": CheckPlan,
}


def plan_values(plan: TurnPlan) -> dict[str, Any]:
    """A plan as plain values for JSON and YAML."""
    return _plain(asdict(plan))


def read_plan(values: Mapping[str, Any], before: TurnPlan | None = None) -> TurnPlan:
    """Reads a plan from plain values; what they leave out is as in `before`, or else the default.

    Raises:
        ValueError: naming the field, where it is unknown or its value not allowed.
    """
    _known("plan", values, TurnPlan)
    made: dict[str, Any] = {}
    for name, kind in PARTS.items():
        if name not in values:
            continue
        part = values[name]
        if not isinstance(part, Mapping):
            raise ValueError(f"{name} is {part!r}, allowed are its fields {', '.join(_names(kind))}")
        _known(name, part, kind)
        try:
            made[name] = replace(getattr(before, name), **part) if before else kind(**part)
        except TypeError as error:
            raise ValueError(f"{name}: {error}") from error
    own = {name: value for name, value in values.items() if name not in PARTS}
    for name, kind in (("policy", str), ("auto", bool), ("seed", int)):
        if name in own and not isinstance(own[name], kind):
            own[name] = str(own[name]) if name == "policy" else _wrong(name, own[name], kind)
    if before:
        return replace(before, **own, **made)
    if "policy" not in own:
        raise ValueError("policy is missing: name a run, a folder, a hub id, tiny or small")
    return TurnPlan(**own, **made)


def read_plan_text(text: str) -> dict[str, Any]:
    """The values of a YAML text.

    Raises:
        ValueError: if it is none, or no mapping.
    """
    try:
        values = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ValueError("plan: " + " ".join(str(error).split())) from error
    if values is not None and not isinstance(values, dict):
        raise ValueError(f"a plan has the fields {', '.join(_names(TurnPlan))}, this is a {type(values).__name__}")
    return values or {}


def _wrong(name: str, value: object, kind: type) -> Any:
    raise ValueError(f"{name} is {value!r}, allowed is a {kind.__name__}")


def _known(name: str, values: Mapping[str, Any], kind: type) -> None:
    if unknown := next((key for key in values if key not in _names(kind)), None):
        raise ValueError(f"{name} has a field {unknown!r}, allowed are {', '.join(_names(kind))}")


def _names(kind: type) -> list[str]:
    return [field.name for field in fields(kind)]


def _plain(value: Any) -> Any:
    match value:
        case dict():
            return {key: _plain(item) for key, item in value.items()}
        case tuple() | list():
            return [_plain(item) for item in value]
        case _:
            return value


def _least(part: str, plan: object, **least: int) -> None:
    for name, lowest in least.items():
        value = getattr(plan, name)
        if not isinstance(value, int) or isinstance(value, bool) or value < lowest:
            raise ValueError(f"{part}{'.' if part else ''}{name} is {value!r}, allowed is {lowest} or more")


def _one_of(name: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise ValueError(f"{name} is {value!r}, allowed are {', '.join(allowed)}")


def _options(part: str, config: Mapping[str, Any], trains: Any) -> None:
    assert trains in TRAININGS
    try:
        check_options(config, trains)
    except ValueError as error:
        raise ValueError(f"{part}.config: {error}") from error
