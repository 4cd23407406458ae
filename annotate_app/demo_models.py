"""The demo's models: trainings on its judgments as the page Train would start them, queued once in a database's life.

Two reward models, a policy taught by demonstrations, and the same policy trained by the second reward model: enough for
Runs, reports and Playground to show something. They come in this order, and a later one begins from the models of those
before it. The demo's own jobs are the memory of what was queued, so that nothing comes back: neither what failed, nor
what somebody cancelled, nor what was deleted.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from annotate_app.access import Actor
from annotate_app.store.jobs import Job
from annotate_app.store.projects.projects import Project
from annotate_app.store.store import Store
from annotate_app.trainings.options import make_config
from annotate_app.trainings.plans import TrainingPlan, missing_packages
from annotate_app.trainings.sampling_plans import SamplingPlan
from annotate_app.trainings.training_jobs import KIND, MODEL, start

DEMO = Actor(user_id=None, name="the demo", role="admin")
"""Who starts these trainings, so that they are told from people's."""
NUM_MODELS = 4
MOST_JOBS = 1_000_000  # more than a project has: the demo's are the oldest


def plan_model(number: int, project: str, models: Sequence[str]) -> TrainingPlan | SamplingPlan:
    """Plans the demo model `number` (from 0): small and short, so that all four take two minutes on two cores.

    Args:
        models: folders of the models before it.
    """
    match number:
        case 0:
            return TrainingPlan(project=project, config=make_config("reward", {"model": "tfidf", "mode": "head"}))
        case 1:
            options = {"model": "tiny", "ensemble": 4, "epochs": 2, "eval_every": 4}
            return TrainingPlan(project=project, config=make_config("reward", options))
        case 2:
            options = {"epochs": 2, "batch_size": 8, "learning_rate": 3e-3, "eval_every": 11, "sample_every": 4}
            return TrainingPlan(project=project, config=make_config("sft", {"model": "tiny"} | options))
        case 3:
            options = {"model": models[2], "reward": [models[1]], "penalty": "uwo", "audit_reward": [models[0]]}
            options |= {"max_steps": 8, "prompts_per_step": 4, "completions_per_prompt": 4, "max_new_tokens": 48}
            options |= {"audit_every": 4, "audit_prompts": 8}
            return SamplingPlan(project=project, config=make_config("grpo", options))
        case _:
            raise ValueError(f"number is {number}, allowed are 0 to {NUM_MODELS - 1}")


def queue_models(store: Store, project: Project) -> list[Job]:
    """Queues those of the demo's models that were never queued and can be trained with what is installed here."""
    queued: list[Job] = []
    with store.together():
        store.projects.update(DEMO, project.id)  # changes nothing, but lets in one server after another (PostgreSQL)
        jobs = demo_jobs(store, DEMO, project.id)
        models = [_model_folder(job) for job in jobs] if len(jobs) < NUM_MODELS else []
        for number in range(len(jobs), NUM_MODELS):
            plan = plan_model(number, project.name, models)
            if missing_packages(plan.config.model):
                break
            queued.append(start(store, DEMO, plan))
            models.append(_model_folder(queued[-1]))
    return queued


def _model_folder(job: Job) -> str:
    """Where a job leaves its model. The folder is made now: a plan refuses a reward that is no folder yet."""
    folder = Path(job.run_dir).resolve() / MODEL
    folder.mkdir(parents=True, exist_ok=True)
    return str(folder)


def demo_jobs(store: Store, actor: Actor, project_id: int) -> list[Job]:
    """The jobs of the demo's models, oldest first; of one that somebody continued, the newest. Lead or above."""
    newest: dict[str, Job] = {}
    trainings = [job for job in store.jobs.list(actor, project_id, limit=MOST_JOBS) if job.kind == KIND]
    for job in reversed(trainings):
        if job.created_by == DEMO.name or job.run_dir in newest:
            newest[job.run_dir] = job
    return list(newest.values())
