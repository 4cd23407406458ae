"""Generalised advantage estimation: between one token's surprise and all that came after."""

from __future__ import annotations

from annotate_app.lessons.lesson import Finding, Lesson, Mistake, Paper, Picture, Question, Slider, Values
from annotate_app.pages.charts.curves import curves

VALUES_OF_TOKENS = (0.2, 0.3, 0.25, 0.5, 0.6, 0.7)
KL_OF_TOKENS = (0.1, 0.0, 0.3, 0.05, 0.0, 0.2)
SCORE, BETA = 1.0, 0.1


def rewards_of_tokens() -> list[float]:
    """The penalty at each token, and the score at the last."""
    import torch

    from alignment.losses.advantages import token_rewards

    lengths = torch.tensor([len(KL_OF_TOKENS)])
    return token_rewards(torch.tensor([SCORE]), torch.tensor(KL_OF_TOKENS), lengths, beta=BETA).tolist()


def advantages_of(rewards: list[float], values: tuple[float, ...], *, gamma: float, lam: float) -> list[float]:
    """The advantage of each token of one answer."""
    import torch

    from alignment.losses.advantages import generalised_advantages

    lengths = torch.tensor([len(rewards)])
    return generalised_advantages(
        torch.tensor(rewards, dtype=torch.float64),
        torch.tensor(values, dtype=torch.float64),
        lengths,
        gamma=gamma,
        lam=lam,
    ).advantages.tolist()


def move(values: Values) -> Picture:
    """Advantages of six tokens at a discount and a lambda."""
    gamma, lam = values["gamma"], values["lam"]
    rewards = rewards_of_tokens()
    advantages = advantages_of(rewards, VALUES_OF_TOKENS, gamma=gamma, lam=lam)
    figures = [
        {"token": str(place + 1), "reward": reward, "value": value, "advantage": advantage, "return": value + advantage}
        for place, (reward, value, advantage) in enumerate(zip(rewards, VALUES_OF_TOKENS, advantages, strict=True))
    ]
    lines = {
        f"lambda {lam:g}, the slider": advantages,
        "lambda 0": advantages_of(rewards, VALUES_OF_TOKENS, gamma=gamma, lam=0.0),
        "lambda 1": advantages_of(rewards, VALUES_OF_TOKENS, gamma=gamma, lam=1.0),
    }
    rows = [
        {"at": place + 1, "value": advantage, "series": name}
        for name, line in lines.items()
        for place, advantage in enumerate(line)
    ]
    return Picture(
        figures=figures,
        chart=curves(rows, axis="advantage", across="token"),
        words="Lambda 0 believes the value head: each token gets the change it made. Lambda 1 believes the score: each "
        "token gets all that came after it, with all the noise of that.",
    )


def first_advantage() -> float:
    """Of the first token at gamma and lambda 1."""
    return advantages_of(rewards_of_tokens(), VALUES_OF_TOKENS, gamma=1.0, lam=1.0)[0]


def lambda_zero() -> Finding:
    """The first token's advantage with the score as it is, and doubled."""
    rewards = rewards_of_tokens()
    doubled = [*rewards[:-1], rewards[-1] + SCORE]
    firsts = {
        lam: [advantages_of(line, VALUES_OF_TOKENS, gamma=1.0, lam=lam)[0] for line in (rewards, doubled)]
        for lam in (0.0, 1.0)
    }
    return Finding(
        figures=[
            {"lambda": f"{lam:g}", "first token, score 1": once, "first token, score 2": twice}
            for lam, (once, twice) in firsts.items()
        ],
        is_wrong=firsts[0.0][0] == firsts[0.0][1] and firsts[1.0][0] != firsts[1.0][1],
    )


def score_at_the_padding() -> Finding:
    """The score at the answer's last token, and at the end of a row that is padded to twelve places."""
    rewards = rewards_of_tokens()
    padding = 12 - len(rewards)
    padded = [*rewards[:-1], rewards[-1] - SCORE, *[0.0] * (padding - 1), SCORE]
    right = advantages_of(rewards, VALUES_OF_TOKENS, gamma=0.99, lam=0.95)
    wrong = advantages_of(padded, (*VALUES_OF_TOKENS, *[0.0] * padding), gamma=0.99, lam=0.95)
    last = len(rewards) - 1
    return Finding(
        figures=[
            {"score read": "at the last token", "first token": right[0], "last token": right[last]},
            {"score read": "at the row's end", "first token": wrong[0], "last token": wrong[last]},
        ],
        is_wrong=right[last] > 0.0 > wrong[last],
    )


GAE = Lesson(
    key="gae",
    title="GAE: whom to believe, the value head or the score",
    text="""The score comes once, at the end. Which token earned it? A value head forecasts, before each token, what is
still to come, and a token's surprise is

    delta_t = reward_t + gamma value_{t+1} - value_t
    advantage_t = sum over i of (gamma lambda)^i delta_{t+i}

Six tokens have a penalty each and the last one a score of 1. After the last token the value is 0.""",
    sliders=(
        Slider(name="lam", label="lambda", low=0, high=1, step=0.05, default=0.95),
        Slider(name="gamma", label="gamma, the discount", low=0.5, high=1, step=0.05, default=1.0),
    ),
    move=move,
    question=Question(
        text="At gamma 1 and lambda 1, what is the advantage of the first token? Its value is 0.2, the penalties "
        "sum to "
        "0.065 and the score is 1. (Three decimals.)",
        answer=first_advantage,
        tolerance=0.0006,
        why="All values between cancel: the sum of the rewards, 1 - 0.065, less the first value, 0.2.",
    ),
    mistakes=(
        Mistake(
            claim="Lambda 0 is the Monte Carlo estimate, which looks at the whole answer.",
            run=lambda_zero,
            instead="It is the other way round: at lambda 0 the first token does not see the score, at lambda 1 it "
            "does.",
        ),
        Mistake(
            claim="The score stands at the end of the row, padding or not.",
            run=score_at_the_padding,
            instead="It stands at the answer's last token. Read at the padding, the end of a good answer looks bad.",
        ),
    ),
    papers=(
        Paper(
            title="Schulman et al. 2016, High-dimensional continuous control using GAE (eq. 16)",
            link="https://arxiv.org/abs/1506.02438",
        ),
    ),
    needs_torch=True,
)
