"""The advisor's answer: every way with whether it fits, its hours, cost, data and failures, and one recommendation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from alignment.advisor.failures import Failure, failures
from alignment.advisor.fit import Fit, StageHours, fits, peak_of
from alignment.advisor.gpus import Cluster, read_cluster
from alignment.advisor.needs import LearningCurve, Need, needs, read_learning_curve
from alignment.advisor.published import HIGH, LOW, PUBLISHED, data_sheet_rates
from alignment.advisor.ways import TITLES, WAYS, WayName, draws_with_model
from alignment.advisor.work import Rates
from alignment.config.advisor import AdvisorConfig

ONLINE: tuple[WayName, ...] = ("online-dpo", "grpo", "ppo")


@dataclass(frozen=True, kw_only=True)
class Way:
    """One way, and what it takes.

    Attributes:
        fits: whether a configuration of it fits into the GPUs' memory.
        options: flags of `alignment plan`, and of the training, that make it fit with the least hours.
        models: copies that each GPU holds, in words.
        peak: GiB on each GPU; of `limit` that may be used.
        token_budget, draw_budget: tokens of micro-batches; 0 where nothing is learned or drawn.
        stages: hours of each.
        hours, low, high: of all, and between which they are expected.
        cost: of the hours on all GPUs; None without a price.
        in_time: whether the high end is within the days; None where no days are given.
        needs, failures: what it asks of the data, how it fails.
        full: hours with all weights trained, where that fits and adapters are quicker; None else.
    """

    name: WayName
    title: str
    fits: bool
    options: Mapping[str, object]
    models: tuple[str, ...]
    peak: float
    limit: float
    token_budget: int
    draw_budget: int
    stages: tuple[StageHours, ...]
    hours: float
    low: float
    high: float
    cost: float | None
    in_time: bool | None
    needs: tuple[Need, ...]
    failures: tuple[Failure, ...]
    full: float | None

    @property
    def is_possible(self) -> bool:
        """Whether it fits, into the days too."""
        return self.fits and self.in_time is not False

    @property
    def too_few(self) -> Need | None:
        """The first need that is far from met."""
        return next((need for need in self.needs if need.verdict == "too few"), None)


@dataclass(frozen=True, kw_only=True)
class Recommendation:
    """What to do.

    Attributes:
        way: its name; empty where nothing is possible.
        reason: in words.
        after: what to try next, and when; empty where nothing else is possible.
    """

    way: WayName | None
    reason: str
    after: str


@dataclass(frozen=True, kw_only=True)
class Advice:
    """The whole answer.

    Attributes:
        question: the options that were asked.
        cluster: the GPUs' name.
        rates: where hours come from, in words.
        published: how many of the published runs lie between the low and high of their estimate, in words.
    """

    question: str
    cluster: str
    rates: str
    published: str
    ways: tuple[Way, ...]
    recommendation: Recommendation

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return asdict(self)


def advise(config: AdvisorConfig) -> Advice:
    """Answers for every way.

    Raises:
        ValueError: if the GPUs are not known, a model's shape cannot be read or the learning curve is none.
    """
    cluster = read_cluster(str(config.gpus), measured=config.measure)
    rates = _rates(config, cluster)
    curve = read_learning_curve(config.learning_curve) if config.learning_curve else None
    ways = tuple(_way(name, config, cluster, rates, curve) for name in WAYS)
    return Advice(
        question=_question(config),
        cluster=cluster.name,
        rates=rates.source,
        published=published_words(),
        ways=ways,
        recommendation=recommend(ways, config),
    )


def published_words() -> str:
    """How far the estimate is from published runs."""
    ratios = sorted(run.ratio for run in PUBLISHED)
    within = sum(LOW <= ratio <= HIGH for ratio in ratios)
    return (
        f"{within} of {len(ratios)} published runs took between {LOW:g} and {HIGH:g} times what is estimated for them "
        f"(all between {ratios[0]:.2f} and {ratios[-1]:.2f})"
    )


def recommend(ways: Sequence[Way], config: AdvisorConfig) -> Recommendation:
    """One way, by rules in this order.

    1. What does not fit into memory or days is out. 2. Where a program checks answers, GRPO: the reward cannot be
    wrong in the way a learned one is, and nothing is trained for it. 3. With far too few pairs, best of n: the policy
    stays as it is, so that a poor reward costs least. 4. Else SFT + DPO: the fewest parts and the fewest hours; what
    draws comes after, if a blind round says that it is needed.
    """
    possible: dict[WayName, Way] = {way.name: way for way in ways if way.is_possible}
    if not possible:
        late = min((way for way in ways if way.fits), key=lambda way: way.hours, default=None)
        if late is None:
            return Recommendation(
                way=None, reason="Nothing fits: take larger or more GPUs, or a smaller model.", after=""
            )
        reason = f"Nothing is done in {config.days:g} days: the quickest is {late.title}, up to {late.high:,.0f} hours."
        return Recommendation(way=None, reason=f"{reason} Draw for fewer prompts, or take more GPUs.", after="")
    dpo, bon, grpo = possible.get("sft+dpo"), possible.get("best-of-n"), possible.get("grpo")
    if config.verifiable and grpo is not None:
        reason = (
            "A program checks the answers, so the reward has no errors of a model to exploit and takes no training. "
            f"GRPO learns from whole groups of such answers without a value model, in {_span(grpo)}."
        )
        return Recommendation(way="grpo", reason=reason, after=_after(possible, "grpo"))
    short = dpo.too_few if dpo is not None else None
    if short is not None and bon is not None:
        reason = (
            f"There are few pairs ({short.words}). Best of n leaves the policy as it is, at most log n - (n - 1) / n "
            "nats away from it, so that a poor reward model does the least harm. Label more pairs meanwhile."
        )
        return Recommendation(way="best-of-n", reason=reason, after=_after(possible, "best-of-n"))
    if dpo is not None:
        least = min(possible.values(), key=lambda way: way.hours)
        quickest = "the fewest hours of all" if least.name == "sft+dpo" else f"{_span(dpo)}"
        reason = (
            f"SFT + DPO uses the {config.pairs:,} pairs directly: no reward model that could be exploited, nothing "
            f"drawn while it trains, one model in memory and {quickest}. {_left(dpo, config)}"
        )
        return Recommendation(way="sft+dpo", reason=reason.strip(), after=_after(possible, "sft+dpo"))
    way = min(possible.values(), key=lambda way: way.hours)
    reason = f"Of what fits, {way.title} takes the fewest hours: {_span(way)}."
    return Recommendation(way=way.name, reason=reason, after=_after(possible, way.name))


def _way(name: WayName, config: AdvisorConfig, cluster: Cluster, rates: Rates, curve: LearningCurve | None) -> Way:
    fitting = fits(name, config, cluster, rates)
    best = fitting[0] if fitting else None
    full = next((fit.hours for fit in fitting if not fit.lora), None) if best is not None and best.lora else None
    hours = best.hours if best else 0.0
    high = rates.high * hours
    return Way(
        name=name,
        title=TITLES[name] if name != "best-of-n" else f"Best of {config.n}",
        fits=best is not None,
        options=dict(best.options) if best else {},
        models=_models(name, best, config),
        peak=peak_of(name, best.plan) / 2**30 if best else 0.0,
        limit=best.plan.limit / 2**30 if best else 0.0,
        token_budget=best.plan.token_budget if best and name != "best-of-n" else 0,
        draw_budget=best.plan.draw_budget if best else 0,
        stages=best.stages if best else (),
        hours=hours,
        low=rates.low * hours,
        high=high,
        cost=hours * cluster.number * config.price_per_hour if best and config.price_per_hour else None,
        in_time=high <= 24 * config.days if best and config.days else None,
        needs=needs(name, config, curve),
        failures=failures(name),
        full=full,
    )


def _models(name: WayName, best: Fit | None, config: AdvisorConfig) -> tuple[str, ...]:
    if best is None:
        return ()
    if name != "best-of-n":
        return best.plan.models
    judge = "a reward model" if draws_with_model(name, config) else "a program that checks"
    return ("policy: as it is, drawn from", f"{judge}: scores what is drawn")


def _rates(config: AdvisorConfig, cluster: Cluster) -> Rates:
    if not config.measure:
        return data_sheet_rates(cluster.gpu)
    from alignment.advisor.measure import measure_rates

    return measure_rates(config.model, config.prompt_tokens, config.completion_tokens, cluster.gpu)


def _question(config: AdvisorConfig) -> str:
    drawn = f", {config.num_prompts:,} prompts to draw for, {config.drawn_tokens} new tokens"
    days = f", {config.days:g} days" if config.days else ""
    return f"{config.pairs:,} pairs, {config.model} on {config.gpus}{days}{drawn}"


def _span(way: Way) -> str:
    return f"{hours_words(way.low)} to {hours_words(way.high)} hours"


def hours_words(hours: float) -> str:
    """Two digits of small hours, whole ones of many."""
    return f"{hours:,.0f}" if hours >= 10 else f"{hours:.2g}"


def _left(way: Way, config: AdvisorConfig) -> str:
    if not config.days:
        return ""
    left = config.days - way.high / 24
    return f"At least {left:.1f} of the {config.days:g} days are left for a blind round and another try."


def _after(possible: Mapping[WayName, Way], first: WayName) -> str:
    """The next step: the first online way that is possible, those with fewer parts first."""
    then = next((possible[name] for name in ONLINE if name in possible), None)
    if then is None or first in ONLINE:
        return ""
    return (
        f"If a blind round shows that it is not enough, go on with {then.title} from there ({_span(then)}), and watch "
        f"for: {then.failures[0].title.lower()}."
    )
