"""All lessons in the order in which they are read. A new lesson is a line here."""

from __future__ import annotations

from annotate_app.lessons.from_pairs.dpo_beta import DPO_BETA
from annotate_app.lessons.from_pairs.side_by_side import SIDE_BY_SIDE
from annotate_app.lessons.lesson import Lesson
from annotate_app.lessons.policy_gradients.gae import GAE
from annotate_app.lessons.policy_gradients.group_advantages import GROUP_ADVANTAGES
from annotate_app.lessons.policy_gradients.kl_penalty import KL_PENALTY
from annotate_app.lessons.policy_gradients.ppo_clip import PPO_CLIP
from annotate_app.lessons.policy_gradients.reinforce import REINFORCE
from annotate_app.lessons.preferences.agreement import AGREEMENT
from annotate_app.lessons.preferences.best_of_n import BEST_OF_N
from annotate_app.lessons.preferences.bradley_terry import BRADLEY_TERRY
from annotate_app.lessons.preferences.ensembles import ENSEMBLES
from annotate_app.lessons.worlds.arrows_paradox import ARROWS_PARADOX
from annotate_app.lessons.worlds.debate import DEBATE
from annotate_app.lessons.worlds.judged_self_play import JUDGED_SELF_PLAY
from annotate_app.lessons.worlds.process_rewards import PROCESS_REWARDS
from annotate_app.lessons.worlds.recursive_rewards import RECURSIVE_REWARDS
from annotate_app.lessons.worlds.reward_hacking import REWARD_HACKING
from annotate_app.lessons.worlds.rlhf_and_dpo import RLHF_AND_DPO
from annotate_app.lessons.worlds.self_play import SELF_PLAY
from annotate_app.lessons.worlds.weak_to_strong import WEAK_TO_STRONG

TOPICS: tuple[tuple[str, tuple[Lesson, ...]], ...] = (
    ("Preferences", (BRADLEY_TERRY, AGREEMENT)),
    ("Policy gradients", (KL_PENALTY, PPO_CLIP, GAE, REINFORCE, GROUP_ADVANTAGES)),
    ("From pairs", (DPO_BETA, SIDE_BY_SIDE)),
    ("Using rewards", (BEST_OF_N, ENSEMBLES)),
    ("Small worlds: methods", (RLHF_AND_DPO, REWARD_HACKING, PROCESS_REWARDS, SELF_PLAY, JUDGED_SELF_PLAY)),
    ("Small worlds: who judges", (ARROWS_PARADOX, DEBATE, WEAK_TO_STRONG, RECURSIVE_REWARDS)),
)
"""Lessons by topic."""

LESSONS: tuple[Lesson, ...] = tuple(lesson for _, lessons in TOPICS for lesson in lessons)


def find(key: str) -> Lesson:
    """The lesson of a key.

    Raises:
        ValueError: if there is none.
    """
    for lesson in LESSONS:
        if lesson.key == key:
            return lesson
    raise ValueError(f"there is no lesson {key!r}: {', '.join(lesson.key for lesson in LESSONS)}")
