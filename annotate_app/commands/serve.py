"""`serve` opens the app, `worker` runs its jobs."""

from __future__ import annotations

import argparse
import os

from annotate_app.commands.command import ACTOR, Command

SINGLE_USER = "you"
"""The account behind an app without sign-in."""
BESIDE_SERVER = 10
"""Niceness of a worker that shares its machine with a server: what people click goes before what jobs compute."""


def _serve_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on, 0.0.0.0 for all")
    parser.add_argument("--port", type=int, default=8501, help="port to listen on")
    parser.add_argument(
        "--demo",
        action="store_true",
        help="make the demo project, open without sign-in, localhost",
    )
    parser.add_argument("--single-user", action="store_true", help="open without sign-in, localhost only")
    parser.add_argument("--no-worker", action="store_true", help="start no worker: jobs wait for `annotate-app worker`")
    parser.add_argument("--no-browser", action="store_true", help="do not open the browser")
    parser.add_argument("--allowed-host", type=str, nargs="*", default=[], help="host names to answer to")
    parser.add_argument("--proxy-header", default="", help="header in which a trusted proxy names the account")
    parser.add_argument("--trusted-proxy", type=str, nargs="*", default=[], help="addresses of trusted proxies")


def _serve(options: argparse.Namespace) -> int:
    from annotate_app.server.server import Serving, bind, prepare, serve
    from annotate_app.store.base.database import database_url

    serving = Serving(
        url=database_url(options.db),
        host=options.host,
        port=options.port,
        open_as=SINGLE_USER if options.demo or options.single_user else "",
        demo=options.demo,
        allowed_hosts=tuple(options.allowed_host),
        proxy_header=options.proxy_header,
        trusted_proxies=tuple(options.trusted_proxy),
        worker=not options.no_worker,
        browser=(options.demo or options.single_user) and not options.no_browser,
    )
    listener = bind(serving.host, serving.port)
    for line in prepare(serving, ACTOR):
        print(line, flush=True)
    return serve(serving, listener)


def _worker_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--limit", type=int, default=1, help="jobs to run at the same time")
    parser.add_argument("--parent", type=int, default=0, help="end when this process, which started the worker, ends")


def _worker(options: argparse.Namespace) -> int:
    from annotate_app.demo_loop import go_on
    from annotate_app.jobs.webhook_sending import Messenger
    from annotate_app.jobs.worker import work
    from annotate_app.store.store import Store
    from annotate_app.trainings.refresh import start_due
    from annotate_app.turns.stages.wheel import advance_all

    def look(store: Store) -> None:
        start_due(store)
        advance_all(store)
        go_on(store)

    if options.parent:
        os.nice(BESIDE_SERVER)  # jobs inherit it
    store = Store.open(options.db)
    with Messenger(store):
        return work(store, start_due=look, limit=options.limit, parent=options.parent)


COMMANDS = (
    Command(name="serve", help="open the app", arguments=_serve_arguments, run=_serve),
    Command(name="worker", help="run queued jobs, tell webhooks", arguments=_worker_arguments, run=_worker),
)
