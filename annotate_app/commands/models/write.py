"""`write`: policies of a project answer a prompt, side by side."""

from __future__ import annotations

import argparse
from itertools import combinations
from typing import TYPE_CHECKING

from annotate_app.commands.command import ACTOR, Command, print_json
from annotate_app.commands.project_votes import project_arguments

if TYPE_CHECKING:
    from collections.abc import Sequence

    from annotate_app.store.store import Store
    from annotate_app.writing.asking import Written
    from rewardkit.data.records import Message


def _arguments(parser: argparse.ArgumentParser) -> None:
    project_arguments(parser)
    parser.add_argument(
        "--run",
        action="append",
        required=True,
        help="number of a policy's run, or with -base behind it of the model that it began from; up to three times",
    )
    parser.add_argument("--prompt", default="", help="text to answer")
    parser.add_argument("--item", default="", help="id of a comparison of the project, whose prompt is answered")
    parser.add_argument("--prompts", default="", help="file of prompts, in any form that `alignment sample` reads")
    parser.add_argument("--temperature", type=float, default=1.0, help="divisor of the logits, 0 takes the likeliest")
    parser.add_argument("--top-p", dest="top_p", type=float, default=1.0, help="probability of the tokens drawn from")
    parser.add_argument(
        "--max-new-tokens", dest="max_new_tokens", type=int, default=256, help="largest number of tokens of an answer"
    )
    parser.add_argument("--n", type=int, default=1, help="answers of each policy to a prompt")
    parser.add_argument("--seed", type=int, default=0, help="number that decides the answers")
    parser.add_argument("--reward", default="", help="number of a reward model's run, which scores the answers")
    parser.add_argument(
        "--send",
        action="store_true",
        help="add the first answers of every two policies to the project as comparisons to judge",
    )


def _prompts(store: Store, project_id: int, options: argparse.Namespace) -> list[tuple[str, tuple[Message, ...]]]:
    """Items with their prompts; the item of a prompt of one's own is empty."""
    from annotate_app.writing.asking import item_prompt
    from rewardkit.data.prompts import distinct, read_prompts
    from rewardkit.data.records import Message

    if sum(map(bool, (options.prompt, options.item, options.prompts))) != 1:
        raise ValueError("give one of --prompt, --item and --prompts")
    if options.item:
        return [(options.item, item_prompt(store, ACTOR, project_id, options.item))]
    if options.prompt:
        return [("", (Message(role="user", content=options.prompt),))]
    return [("", prompt) for prompt in distinct(read_prompts(options.prompts).rows)]


def _write(options: argparse.Namespace) -> int:
    from annotate_app.jobs.model_processes import ModelProcesses
    from annotate_app.labeling.pair_payload import excerpt
    from annotate_app.store.store import Store
    from annotate_app.writing.asking import WriteRequest, send_pair, write, written_values
    from annotate_app.writing.writers import list_models
    from rewardkit.data.export_formats import turns

    store, processes = Store.open(options.db), ModelProcesses()
    results: list[dict[str, object]] = []
    problems = 0
    try:
        project = store.projects.get(ACTOR, options.project)
        models = list_models(store, ACTOR, project.id)
        requests = [
            WriteRequest(
                writers=tuple(options.run),
                prompt=prompt,
                item=item,
                temperature=options.temperature,
                top_p=options.top_p,
                max_new_tokens=options.max_new_tokens,
                n=options.n,
                seed=options.seed,
                scorer=options.reward,
            )
            for item, prompt in _prompts(store, project.id, options)
        ]
        for request in requests:
            if not options.json:
                print(f"> {excerpt(request.prompt)}")
            written: list[Written] = []
            for one in write(request, models, processes=processes):
                written.append(one)
                problems += bool(one.problem)
                if not options.json:
                    print("\n".join(_lines(one)), flush=True)
            firsts = [one.answers[0] for one in written if one.answers]
            pairs = combinations(firsts, 2) if options.send else ()
            sent = [send_pair(store, ACTOR, project.id, request, one, other) for one, other in pairs]
            if sent and not options.json:
                print(f"sent into {project.name} as {', '.join(sent)}")
            by_key = {one.writer.key: written_values(one) for one in written}
            results.append(
                {
                    "item": request.item,
                    "prompt": turns(request.prompt),
                    "written": [by_key[key] for key in request.writers],
                    "sent": sent,
                }
            )
    finally:
        processes.close()
        store.close()
    if options.json:
        print_json({"project": project.name, "seed": options.seed, "prompts": results})
    return 1 if problems else 0


def _lines(written: Written) -> Sequence[str]:
    lines = []
    for one in written.answers:
        reward = "" if one.reward is None else f", reward {one.reward:+.3f}"
        end = "" if one.finished else ", cut"
        figures = f"{one.num_words} words, {one.num_tokens} tokens{end}, log-probability {one.logp:.2f}{reward}"
        lines += [f"\n[{one.source}, answer {one.number}: {figures}]", one.text]
    if written.problem:
        lines.append(f"\n[{written.writer.source}: {written.problem}]")
    return lines


COMMANDS = (
    Command(
        name="write", help="let policies of a project answer a prompt, side by side", arguments=_arguments, run=_write
    ),
)
