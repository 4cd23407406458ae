"""The configuration of each command: flat frozen dataclasses, one documented line a field, nothing heavy imported."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Literal

PRESET_NAMES = ("tiny", "small")
"""Neural models that are made here, from random weights; their shapes are `rewardkit.network.models.PRESETS`."""

Mode = Literal["full", "lora", "head"]
Members = Literal["heads", "lora", "full"]
Likelihood = Literal["auto", "bradley_terry", "rao_kupper", "davidson", "crowd", "plackett_luce"]
Precision = Literal["auto", "fp32", "bf16"]
FrozenWeights = Literal["auto", "fp32", "bf16"]
TrainedWeights = Literal["fp32", "bf16_stochastic", "bf16_kahan"]
OptimizerName = Literal["adamw", "adamw_8bit", "paged_adamw_8bit"]
RowsOf = Literal["auto", "pairs", "steps"]
Aggregation = Literal["min", "product", "last", "mean"]
ChoiceRule = Literal["epig", "log_det", "uncertainty", "coverage", "disagreement", "random"]
PairsOf = Literal["any", "between", "within"]
CutAnswers = Literal["leave_out", "keep"]
Rule = Literal["probability", "mutual_information", "std", "margin", "bal_pm", "epig", "log_det", "random"]
FeaturesOf = Literal["model", "joint"]


def parse_criterion_weights(text: str) -> dict[str, float]:
    """Reads `helpful=1,correct=2`; empty for an empty text.

    Raises:
        ValueError: if a part is not NAME=NUMBER, a name occurs twice or no weight differs from 0.
    """
    weights: dict[str, float] = {}
    for part in filter(None, map(str.strip, text.split(","))):
        name, equals, number = part.rpartition("=")
        name = name.strip()
        try:
            weight = float(number)
        except ValueError:
            weight = math.nan
        if not equals or not name or name in weights or not math.isfinite(weight):
            raise ValueError(f"criterion_weights is {text!r}: {part!r} is not NAME=NUMBER, each name once")
        weights[name] = weight
    if text.strip() and not any(weights.values()):
        raise ValueError(f"criterion_weights is {text!r}, allowed is one weight or more that is not 0")
    return weights


@dataclass(frozen=True, kw_only=True)
class RewardConfig:
    """Training of a reward model.

    Attributes:
        model: `tiny` or `small` (made here, from random weights), `tfidf`, a folder or a hub id.
        data: training preferences, or answers in steps: a file, a saved `datasets` folder or a hub id; or give
            `project`.
        rows: what the rows are: pairs of answers, or steps, answers in steps with labels, which make a process reward
            model; auto tells by the rows of `data`, and takes pairs of a project.
        project: name of a project of the app, whose released preferences are exported into the run directory first.
        db: URL of the database that holds the project; by default that of the app.
        eval_data: held-out preferences, in the forms of `data`; without it `eval_share` of the prompts is held out.
        out: the run directory.
        resume: whether the run in `out` continues from its last checkpoint.
        mode: what is trained: all weights, LoRA adapters, or only a head on frozen features; by default head for tfidf,
            else full.
        ensemble: number of members, K.
        members: what a member of its own has: a head, a LoRA adapter and a head, or all weights.
        bootstrap: whether every member draws its own rows with replacement.
        likelihood: how rewards explain votes: bradley_terry takes shares of votes, rao_kupper and davidson model ties
            as outcomes, crowd annotators' reliability, plackett_luce whole rankings and not their pairs; auto takes
            crowd where every row says how reliable its annotator is or, in mode head, who judged, else bradley_terry.
        criteria: whether one head per rubric criterion is trained too.
        criterion: name of a rubric criterion whose judgments are trained on in place of the overall ones; given
            repeatedly, a model for each, in a folder of `out` by its name.
        label_smoothing: share of labels taken to be flipped, 0 up to 0.5.
        use_margin: whether chosen has to lead by the row's margin, in reward units.
        centring: weight of the penalty on the squared sum of a pair's rewards, which keeps rewards near 0.
        batch_size: pairs per optimizer step.
        token_budget: tokens per micro-batch; steps do not depend on it.
        max_length: tokens kept of a conversation; a longer one loses its oldest turns, then the start of its prompt.
        learning_rate: peak learning rate; 0 chooses 5e-4 for tiny and small, 1e-4 for LoRA, 1e-5 for all weights.
        epochs: number of passes over the data.
        warmup_share: share of steps in which the learning rate rises; it then falls to 0 as a cosine.
        weight_decay: AdamW's weight decay of matrices; norms, biases and heads have none.
        max_grad_norm: largest norm of a step's gradient; a larger one is scaled down to it.
        eval_every: steps between held-out evaluations; 0 chooses ten per run.
        patience: evaluations without a better held-out NLL before training stops; 0 never stops early.
        eval_share: share of prompts held out when no eval_data is given.
        calibration: kind of calibration that is fitted on held-out pairs and saved with the model.
        precision: number format of matrix products; auto takes bf16 where the hardware multiplies it faster.
        gradient_checkpointing: whether activations are computed again in backward: less memory, more time.
        offload_activations: whether activations that backward needs lie in the CPU's memory in between; for a GPU.
        frozen_weights: number format in which weights that are not trained are held; auto takes bf16 where the hardware
            multiplies it natively.
        trained_weights: number format in which trained weights are held: fp32, or bf16 in which a step is rounded at
            random (bf16_stochastic) or remembers what rounding took (bf16_kahan).
        optimizer: what takes the steps: AdamW with its moments in fp32, or in 8 bits through bitsandbytes, paged ones
            on a GPU moved to the CPU's memory where they do not fit.
        lora_rank: rank of the LoRA adapters.
        lora_layers: number of top layers that get LoRA adapters; 0 adapts all layers.
        load_in_4bit: whether the frozen weights are held in 4 bits (QLoRA); needs bitsandbytes.
        checkpoint_every: steps between checkpoints; 0 writes one at each evaluation.
        on_bad_row: what a bad row does: stop the training, or be left out and listed in the run.
        allow_leakage: whether prompts may stand in both training and evaluation data.
        length_feature: whether tfidf counts the words of a completion too, beside which words they are.
        seed: number that decides everything random: weights, order of rows, bootstraps.
    """

    model: str
    out: str
    data: str = ""
    rows: RowsOf = "auto"
    project: str = ""
    db: str = ""
    eval_data: str = ""
    resume: bool = False
    mode: Mode | None = None
    ensemble: int = 1
    members: Members = "heads"
    bootstrap: bool = True
    likelihood: Likelihood = "auto"
    criteria: bool = False
    criterion: list[str] = field(default_factory=list, metadata={"repeated": True})
    label_smoothing: float = 0.0
    use_margin: bool = False
    centring: float = 0.0
    batch_size: int = 32
    token_budget: int = 4096
    max_length: int = 1024
    learning_rate: float = 0.0
    epochs: int = 1
    warmup_share: float = 0.05
    weight_decay: float = 0.0
    max_grad_norm: float = 1.0
    eval_every: int = 0
    patience: int = 3
    eval_share: float = 0.1
    calibration: Literal["temperature", "isotonic", "none"] = "temperature"
    precision: Precision = "auto"
    gradient_checkpointing: bool = False
    offload_activations: bool = False
    frozen_weights: FrozenWeights = "auto"
    trained_weights: TrainedWeights = "fp32"
    optimizer: OptimizerName = "adamw"
    lora_rank: int = 16
    lora_layers: int = 0
    load_in_4bit: bool = False
    checkpoint_every: int = 0
    on_bad_row: Literal["error", "skip"] = "error"
    allow_leakage: bool = False
    length_feature: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        if self.mode is None:
            object.__setattr__(self, "mode", "head" if self.model == "tfidf" else "full")
        if bool(self.data) == bool(self.project):
            raise ValueError("give either data or project")
        for name, least in (("ensemble", 1), ("batch_size", 1), ("token_budget", 1), ("max_length", 8), ("epochs", 1)):
            if getattr(self, name) < least:
                raise ValueError(f"{name} is {getattr(self, name)}, allowed is {least} or more")
        for name in ("learning_rate", "centring", "weight_decay", "patience", "eval_every", "checkpoint_every"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} is {getattr(self, name)}, allowed is 0 or more")
        if self.criterion and self.criteria:
            raise ValueError("criterion trains on one criterion, criteria on all beside the overall: give one")
        if not all(self.criterion) or len(set(self.criterion)) < len(self.criterion):
            raise ValueError(f"criterion is {', '.join(map(repr, self.criterion))}, allowed is each name once")
        if not 0 <= self.label_smoothing < 0.5:
            raise ValueError(f"label_smoothing is {self.label_smoothing}, allowed is 0 up to 0.5")
        if not 0 < self.eval_share < 1:
            raise ValueError(f"eval_share is {self.eval_share}, allowed is between 0 and 1")
        of_pairs = [name for name in ("label_smoothing", "centring") if getattr(self, name)]
        if self.likelihood == "plackett_luce" and of_pairs:
            name = of_pairs[0]
            raise ValueError(f"{name} is {getattr(self, name)}, likelihood plackett_luce has no use for it")
        if self.members == "lora" and self.ensemble > 1 and self.mode != "lora":
            raise ValueError(f"members lora needs mode lora, it is {self.mode}")
        if self.trained_weights != "fp32" and self.mode != "full":
            raise ValueError(
                f"trained_weights is {self.trained_weights}, adapters and heads are few and stay fp32: leave it out"
            )
        if self.load_in_4bit and self.mode == "full":
            raise ValueError("load_in_4bit trains adapters or a head on frozen weights: give mode lora or head")
        if self.model == "tfidf" and self.mode != "head":
            raise ValueError("model tfidf has no weights to train but its head: use mode head")
        if self.length_feature and self.model != "tfidf":
            raise ValueError(f"length_feature is a column of tfidf, the model is {self.model!r}: leave it out")


@dataclass(frozen=True, kw_only=True)
class RankConfig:
    """Ordering comparisons by what their labels would tell.

    Attributes:
        model: folder of a trained reward model. Features `joint` need none: they take in the states of the network that
            is given, which may be any encoder, else of the one of the extra `trunk` where it is installed, or of none.
        input: file of comparisons without a label, JSONL, JSON, CSV or Parquet; labels that are there are not read.
        out: file of priorities to write, which `annotate-app priorities import` takes; its name says the format.
        rule: what puts a comparison first: probability (nearest to a toss-up with the members averaged out),
            mutual_information (members are sure and disagree), std of the members' margins, margin (nearest to one by
            the mean reward), bal_pm (information and prompts unlike those chosen before), epig (the vote that would
            make the model surer of all comparisons) and log_det (votes that together tell most about the model), both
            one after the other with those before taken for answered, random.
        features: what is asked how sure it is: the model's members (model), or a head fitted here to the labels in
            `labelled`, on features of prompt and answer together (joint); then the headroom is told first.
        criterion_weights: weights of the model's heads in the reward, NAME=NUMBER separated by commas; `overall` is the
            overall head, which is the reward where no weights are given.
        labelled: file of comparisons or preferences that have a label already; bal_pm keeps away from their prompts,
            features `joint` learn from them, as preferences, and leave them out of the order.
        top: number of comparisons to write, the most informative ones; 0 writes all.
        on_bad_row: what a bad row does: stop the command, or be left out and named.
        json: whether the summary is printed as JSON.
        seed: number that decides the order of rule random and the prompt features of bal_pm.
    """

    input: str
    out: str
    model: str = ""
    rule: Rule = "probability"
    features: FeaturesOf = "model"
    criterion_weights: str = ""
    labelled: str = ""
    top: int = 0
    on_bad_row: Literal["error", "skip"] = "error"
    json: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        if self.top < 0:
            raise ValueError(f"top is {self.top}, allowed is 0 (all) or more")
        if self.features == "model" and not self.model:
            raise ValueError("model is missing: name the folder of a reward model, or take features joint")
        _check_joint(self.features, "labelled", self.labelled, self.criterion_weights)

    @property
    def model_folder(self) -> str:
        """What `model` names, empty where that is nothing."""
        return _folder_of(self.model, self.features)


def _folder_of(model: str, features: FeaturesOf) -> str:
    return "" if features == "joint" and model == "none" else model


def _check_joint(features: FeaturesOf, name: str, labels: str, criterion_weights: str) -> None:
    if features == "joint" and not labels:
        raise ValueError(f"features joint learn from labels: name preferences with {name}")
    if parse_criterion_weights(criterion_weights) and features == "joint":
        raise ValueError("criterion_weights weigh a model's heads, features joint use none")


@dataclass(frozen=True, kw_only=True)
class ChooseConfig:
    """Choosing which pairs of candidate answers to label next.

    Attributes:
        input: file of candidates, as `alignment sample` writes it, or any with responses, two responses, or a prompt
            and a completion a row; may be given repeatedly, one policy's answers in each, say.
        out: file of pairs to write, which `annotate-app import` takes; its name says the format.
        num_pairs: number of pairs to choose.
        rule: what puts a pair first: epig (the vote that would make the model, of several members, surer of all pairs),
            log_det (votes that together tell most about the model), uncertainty (nearest to a toss-up for the model,
            its members averaged out), coverage (prompts unlike those
            chosen or judged before), disagreement (near to judged pairs of which the model is surely wrong), random.
        random_share: share of the pairs drawn uniformly from all that may be labelled, without the rule, at least one:
            what is measured on them holds for all.
        features: what is asked how sure it is: the model's members (model), or a head fitted here to the labels in
            `judged`, on features of prompt and answer together (joint); then the headroom is told first.
        model: folder of a trained reward model; needed by uncertainty, epig, log_det and disagreement unless features
            are `joint`: these take in the states of the network that is given, which may be any encoder, else of the
            one of the extra `trunk` where it is installed, or of none.
        judged: preferences that people have given already: they are not chosen again, coverage keeps away from their
            prompts, disagreement compares them with the model, features `joint` learn from them.
        pairs: whether a pair is of two policies (between), of one (within), or of any.
        per_prompt: largest number of pairs of one prompt that the rule may bring it to.
        near_duplicate: share of the runs of three words that two answers have in common from which on they are one.
        cut: what an answer is that did not end by itself: left out, or kept like another.
        criterion_weights: weights of the model's heads in the reward, NAME=NUMBER separated by commas; `overall` is the
            overall head, which is the reward where no weights are given.
        on_bad_row: what a bad row does: stop the command, or be left out and named.
        json: whether the summary is printed as JSON.
        seed: number that decides the random share, and between equals.
    """

    input: list[str] = field(metadata={"repeated": True})
    out: str
    num_pairs: int
    rule: ChoiceRule = "epig"
    random_share: float = 0.2
    features: FeaturesOf = "model"
    model: str = ""
    judged: str = ""
    pairs: PairsOf = "any"
    per_prompt: int = 3
    near_duplicate: float = 0.9
    cut: CutAnswers = "leave_out"
    criterion_weights: str = ""
    on_bad_row: Literal["error", "skip"] = "error"
    json: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        if not self.input:
            raise ValueError("input is missing: name one file of candidates or more")
        for name, least in (("num_pairs", 1), ("per_prompt", 1), ("seed", 0)):
            if getattr(self, name) < least:
                raise ValueError(f"{name} is {getattr(self, name)}, allowed is {least} or more")
        for name in ("random_share", "near_duplicate"):
            if not 0 < getattr(self, name) <= 1:
                raise ValueError(f"{name} is {getattr(self, name)}, allowed is above 0 and up to 1")
        asks_model = self.rule in ("uncertainty", "epig", "log_det", "disagreement")
        if asks_model and not self.model and self.features == "model":
            raise ValueError(f"rule {self.rule} asks a reward model: name its folder with model, or use coverage")
        if self.rule == "disagreement" and not self.judged:
            raise ValueError("rule disagreement compares people with the model: name judged preferences with judged")
        if self.rule == "disagreement" and self.features == "joint":
            raise ValueError("features joint learn from judged, which rule disagreement needs a model for that did not")
        _check_joint(self.features, "judged", self.judged, self.criterion_weights)

    @property
    def model_folder(self) -> str:
        """What `model` names, empty where that is nothing."""
        return _folder_of(self.model, self.features)


@dataclass(frozen=True, kw_only=True)
class ScoreConfig:
    """Adding rewards to the rows of a file.

    Attributes:
        model: folder of a trained reward model.
        input: file of rows with prompt and completion, prompt and responses, chosen and rejected, or two responses:
            JSONL, JSON, CSV or Parquet, a saved `datasets` folder or a hub id.
        output: file to write, in the order of the input; its name says the format.
        criterion_weights: weights of the model's heads in the reward, NAME=NUMBER separated by commas; `overall` is the
            overall head, which is the reward where no weights are given.
        steps_by: what parts the steps of an answer for a process reward model: `line`, `blank_line`, `sentence`, or a
            text that stands between two steps; rows that list their steps have them as they are.
        aggregation: how the probabilities of an answer's steps become its reward: the smallest, their product, that of
            the last step, or their mean.
        resume: whether an unfinished run into the same output is continued.
        window: number of rows read, scored and saved at a time.
        precision: number format of matrix products; fp32 gives the numbers of plain transformers, bf16 is faster on
            hardware that has it, auto takes bf16 there.
        on_bad_row: what a row that cannot be scored does: stop the command, or get no reward and be named.
        json: whether the summary is printed as JSON.
    """

    model: str
    input: str
    output: str
    criterion_weights: str = ""
    steps_by: str = "line"
    aggregation: Aggregation = "min"
    resume: bool = False
    window: int = 1024
    precision: Precision = "fp32"
    on_bad_row: Literal["error", "skip"] = "error"
    json: bool = False

    def __post_init__(self) -> None:
        if self.window < 1:
            raise ValueError(f"window is {self.window}, allowed is 1 or more")
        if not self.steps_by:
            raise ValueError("steps_by is empty, allowed are line, blank_line, sentence, and a text that parts steps")
        parse_criterion_weights(self.criterion_weights)


@dataclass(frozen=True, kw_only=True)
class EvaluateConfig:
    """Evaluation of a reward model on preferences, on RewardBench, or of a process reward model on answers in steps.

    Attributes:
        model: folder of a reward model: what `train` wrote, any sequence classifier with one label, or any token
            classifier with one label or two.
        out: the run directory: evaluation.json and report.html.
        implicit: whether the model is a policy, whose reward is beta times its log-probability ratio to a reference.
        reference: folder of the implicit reward's reference; without it what the policy's run says it was trained from.
        beta: factor of the implicit reward; 0 takes that of the policy's run, or 0.1.
        criterion_weights: weights of the model's heads in the reward, NAME=NUMBER separated by commas; `overall` is the
            overall head, which is the reward where no weights are given.
        data: rows the model has not seen, as for `train`; without it those that its training held out.
        subset: columns of the data to report accuracy by, separated by commas; sources and criteria are always.
        train_data: preferences to fit the TF-IDF baseline on; without it what the model was trained on.
        ood: kinds of out-of-domain texts, separated by commas, of which the ensemble should be less sure.
        benchmark: benchmark that `data` is read and scored as: RewardBench (pairs) or RewardBench 2 (best of 4, ties).
        on_bad_row: what a bad row does: stop the command, or be left out and named.
        allow_leakage: whether prompts that the model was trained on are evaluated too, and named.
        json: whether figures are printed as JSON instead of the table.
        seed: number that decides the bootstrap intervals and the baseline.
    """

    model: str
    out: str
    implicit: bool = False
    reference: str = ""
    beta: float = 0.0
    criterion_weights: str = ""
    data: str = ""
    subset: str = ""
    train_data: str = ""
    ood: str = ""
    benchmark: Literal["none", "rewardbench", "rewardbench2"] = "none"
    on_bad_row: Literal["error", "skip"] = "error"
    allow_leakage: bool = False
    json: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        if (self.reference or self.beta) and not self.implicit:
            raise ValueError("reference and beta belong to an implicit reward: give implicit too")
        if not 0 <= self.beta < float("inf"):
            raise ValueError(f"beta is {self.beta}, allowed is more than 0, or 0 for that of the run")
        if parse_criterion_weights(self.criterion_weights) and self.implicit:
            raise ValueError(
                f"criterion_weights is {self.criterion_weights!r}, but an implicit reward has no criterion heads: "
                "leave one of the two out"
            )
        if self.benchmark != "none":
            if not self.data:
                raise ValueError(f"benchmark {self.benchmark} is read from a file: name it with data")
            for name in ("subset", "train_data", "ood"):
                if getattr(self, name):
                    raise ValueError(f"{name} goes with preferences, not with benchmark {self.benchmark}")


@dataclass(frozen=True, kw_only=True)
class MergeConfig:
    """Averaging of reward models fine-tuned from one initialisation.

    Attributes:
        models: folders of saved reward models, two or more.
        out: folder to write the average to.
    """

    models: list[str]
    out: str

    def __post_init__(self) -> None:
        if len(self.models) < 2:
            raise ValueError(f"models are {len(self.models)}, allowed is two or more")
