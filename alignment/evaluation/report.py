"""The evaluation of a policy in words, as lines for a terminal, and as one HTML file. No torch."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from alignment.config.sampling import SUITE
from alignment.evaluation.results import Answered, PolicyEvaluation, PolicyFigures
from alignment.watch.text_metrics import WinRate
from rewardkit.data.export_formats import SPEAKER
from rewardkit.report.charts import interval_chart
from rewardkit.report.page import render_page
from rewardkit.report.table import interval_text, number_text, percent, points_text, signed_text, text_table
from rewardkit.stats.small_samples import LEAST

TEMPLATES = Path(__file__).parent / "templates"
LONG_CUT = 0.2  # share of cut completions from which on they deserve a sentence
LENGTH_RATIO = 1.2


def sentences(evaluation: PolicyEvaluation) -> Iterator[str]:
    """Yields the figures as sentences; where an interval includes chance, the sentence says that nothing is shown."""
    base, trained = evaluation.base, evaluation.trained
    if (wins := evaluation.win_rate) and (gain := evaluation.reward_gain):
        verdict = {1: "better", 0: "not shown to be better", -1: "worse"}[wins.rate.against(0.5)]
        yield (
            f"By the reward model {trained.name} is {verdict}: it wins {interval_text(wins.rate)} of "
            f"{wins.num_pairs:,} pairs, ties ({percent(wins.tie_share)}) counted half."
        )
        yield f"Its reward is {signed_text(gain)} above that of {base.name}."
    if members := evaluation.member_win_rates:
        yield f"Members of the reward model, one by one, say {percent(min(members))} to {percent(max(members))}."
    for kl in evaluation.kl:
        yield (
            f"KL to {base.name} ({kl.estimator}): {number_text(kl.per_sequence)} nats a completion, "
            f"{number_text(kl.per_token, 4)} a token."
        )
    # lengths that are all alike (cut at the limit) have no interval: of enough prompts the value itself says it
    is_alike = evaluation.num_prompts >= LEAST and not trained.length.is_known
    shortest = trained.length.value if is_alike else trained.length.low
    if shortest > LENGTH_RATIO * base.length.value and evaluation.win_rate:
        yield "Its completions are longer: check that the reward does not pay for length."
    if trained.cut.value > LONG_CUT:
        yield f"{percent(trained.cut.value)} of its completions were cut: allow more tokens before judging them."
    if trained.distinct_2 < 0.5 * base.distinct_2:
        yield "It repeats itself: completions have less than half of the base's variety of word pairs."


def screen_lines(evaluation: PolicyEvaluation) -> Iterator[str]:
    """Returns the table's lines for a terminal."""
    base, trained = evaluation.base, evaluation.trained
    yield f"{trained.name} beside {base.name}, {evaluation.num_prompts:,} prompts x {evaluation.num_samples}"
    for note in evaluation.notes:
        yield f"NOTE: {note}"
    yield ""
    yield text_table(("", base.name, trained.name), list(_figures(base, trained)))
    if evaluation.suite:
        yield ""
        yield text_table(suite_header(evaluation), suite_rows(evaluation))
    yield ""
    yield from sentences(evaluation)


def suite_header(evaluation: PolicyEvaluation) -> list[str]:
    """The columns of `suite_rows`."""
    return ["", evaluation.base.name, evaluation.trained.name, "difference", "items"]


def suite_rows(evaluation: PolicyEvaluation) -> list[list[str]]:
    """A row for each part of the suite; differences of shares are in points."""
    return [
        [
            SUITE[figure.name],
            *(
                number_text(one, 3) if figure.name == "text" else interval_text(one)
                for one in (figure.base, figure.trained)
            ),
            signed_text(figure.difference, 3) if figure.name == "text" else points_text(figure.difference),
            f"{figure.num_items:,}",
        ]
        for figure in evaluation.suite
    ]


def html_report(evaluation: PolicyEvaluation) -> str:
    """Returns the whole page (template `policy.html`)."""
    base, trained = evaluation.base, evaluation.trained
    return render_page(
        "policy.html",
        folder=TEMPLATES,
        title=f"{trained.name} beside {base.name}",
        evaluation=evaluation,
        sentences=list(sentences(evaluation)),
        figure_rows=list(_figures(base, trained)),
        kl_rows=[[kl.estimator, number_text(kl.per_sequence), number_text(kl.per_token, 4)] for kl in evaluation.kl],
        suite_header=suite_header(evaluation),
        suite_rows=suite_rows(evaluation),
        prompt_text=_prompt,
        **(_wins(evaluation, evaluation.win_rate) if evaluation.win_rate else {}),
    )


def _figures(base: PolicyFigures, trained: PolicyFigures) -> Iterator[tuple[str, str, str]]:
    if base.reward and trained.reward:
        yield "reward", number_text(base.reward), number_text(trained.reward)
        yield "std over members", f"{base.reward_std:.2f}", f"{trained.reward_std:.2f}"
    yield "tokens", number_text(base.length, 1), number_text(trained.length, 1)
    yield "cut", interval_text(base.cut), interval_text(trained.cut)
    yield "distinct-1", f"{base.distinct_1:.3f}", f"{trained.distinct_1:.3f}"
    yield "distinct-2", f"{base.distinct_2:.3f}", f"{trained.distinct_2:.3f}"
    yield "repetition", number_text(base.repetition, 3), number_text(trained.repetition, 3)


def _wins(evaluation: PolicyEvaluation, wins: WinRate) -> dict[str, Any]:
    rows = [["wins", f"{wins.wins:,}"], ["ties", f"{wins.ties:,}"], ["losses", f"{wins.losses:,}"]]
    rows += [
        [f"win rate by member {number}", percent(rate)] for number, rate in enumerate(evaluation.member_win_rates, 1)
    ]
    chart = interval_chart("Win rate by the reward model", [(evaluation.trained.name, wins.rate)], 0.5)
    return {"win_chart": chart, "win_rows": rows}


def _prompt(answered: Answered) -> str:
    turns = answered.prompt
    if len(turns) == 1:
        return turns[0].content
    return " · ".join(f"{SPEAKER[turn.role]}: {turn.content}" for turn in turns)
