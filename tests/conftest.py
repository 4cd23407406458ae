"""Fixtures for all tests: a store on both databases, people of every role, a sample project, the shared data."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as commands do: on a busy machine threads that spin take forever
os.environ.setdefault("ONEDNN_MAX_CPU_ISA", "AVX512_CORE")  # `auto` is fp32 here and numbers those of any other CPU
if "PYTEST_XDIST_WORKER" in os.environ:  # the workers share the cores; read when torch and numpy are first imported
    os.environ.setdefault("OMP_NUM_THREADS", "1")

import psycopg
import pytest
from hypothesis import settings

from annotate_app.access import Actor, UserRole
from annotate_app.protocol.collection_design import Design
from annotate_app.store.projects.projects import Project
from annotate_app.store.store import Store
from rewardkit.data.records import Comparison, Message

# A loaded machine is no reason to fail; slowness is measured in benchmarks.
# CI takes the same examples every time: it fails by what changed, not by chance.
settings.register_profile("tiebreak", deadline=None, derandomize="CI" in os.environ)
settings.load_profile("tiebreak")

ADMIN = Actor.command_line()
RUBRIC = """\
title: Which reply helps more?
guidelines: |
  Read both replies to the end. Prefer the one that solves the customer's problem.
scale:
  steps: 7
"""


@pytest.fixture(autouse=True)
def own_main_module() -> Iterator[None]:
    """After a page has run: Streamlit leaves it as `__main__`, which processes spawned later would run."""
    main = sys.modules["__main__"]
    yield
    sys.modules["__main__"] = main


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real data beside the repository; tests that need it are skipped, loudly, where it is absent."""
    default = Path(__file__).resolve().parents[2] / "shared" / "data"
    folder = Path(os.environ.get("TIEBREAK_SHARED_DATA", default))
    if not folder.is_dir():
        pytest.skip(f"REAL DATA ABSENT: {folder} (set TIEBREAK_SHARED_DATA)")
    return folder


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty database of the newest schema, to copy."""
    path = tmp_path_factory.mktemp("sqlite") / "template.db"
    Store.open(f"sqlite:///{path}").close()
    return path


@pytest.fixture
def sqlite_url(sqlite_template: Path, tmp_path: Path) -> str:
    """An empty SQLite database of the newest schema."""
    path = tmp_path / "tiebreak.db"
    shutil.copy(sqlite_template, path)
    return f"sqlite:///{path}"


def postgresql_programs() -> Path | None:
    """The folder of PostgreSQL's server programs, None where it is not installed."""
    found = shutil.which("initdb")
    folders = [Path(found).resolve().parent] if found else []
    folders += sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    return next((folder for folder in folders if (folder / "initdb").exists() and (folder / "postgres").exists()), None)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if postgresql_programs() is None:
        terminalreporter.section("PostgreSQL IS NOT INSTALLED", sep="!", red=True, bold=True)
        terminalreporter.line("Every store test was SKIPPED on it. tests/system_packages.sh installs it.")


@pytest.fixture(scope="session")
def postgresql_server() -> Iterator[str]:
    """A throw-away PostgreSQL server of this test process, as the URL of its databases up to the name.

    It runs as the user postgres where tests run as root (initdb refuses root), without fsync, and ends with its
    standard input, so that it never outlives the tests, however they end.
    """
    programs = postgresql_programs()
    if programs is None:
        pytest.skip("POSTGRESQL IS NOT INSTALLED: tests/system_packages.sh installs it")
    folder = Path(tempfile.mkdtemp(prefix="tiebreak-pg-"))
    user = pwd.getpwuid(os.getuid()).pw_name
    become: list[str] = []
    if os.getuid() == 0:
        user, become = "postgres", ["runuser", "-u", "postgres", "--"]
        shutil.chown(folder, "postgres")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    data = folder / "data"
    initdb = [programs / "initdb", "-D", data, "-U", user, "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync"]
    subprocess.run([*become, *initdb], check=True, capture_output=True, cwd="/")
    settings = f"fsync=off synchronous_commit=off full_page_writes=off port={port} listen_addresses=127.0.0.1"
    options = " ".join(f"-c {setting}" for setting in f"{settings} unix_socket_directories={folder}".split())
    script = f"{programs}/postgres -D {data} {options} >{folder}/log 2>&1 </dev/null & read -r _; kill -QUIT $!; wait"
    server = subprocess.Popen([*become, "sh", "-c", script], stdin=subprocess.PIPE, cwd="/")
    try:
        _wait_for_server(port, user, folder / "log")
        yield f"postgresql+psycopg://{user}@127.0.0.1:{port}/"
    finally:
        server.communicate()
        shutil.rmtree(folder)


def _wait_for_server(port: int, user: str, log: Path) -> None:
    deadline = time.monotonic() + 30
    while True:
        try:
            psycopg.connect(f"host=127.0.0.1 port={port} user={user} dbname=postgres").close()
            return
        except psycopg.OperationalError as error:
            if time.monotonic() > deadline:
                raise RuntimeError(f"PostgreSQL did not start: {log.read_text()}") from error
            time.sleep(0.05)


@pytest.fixture(scope="session")
def postgresql_template(postgresql_server: str) -> str:
    """The name of an empty database of the newest schema, to copy."""
    postgresql_statement(postgresql_server, "CREATE DATABASE template_tiebreak")
    Store.open(f"{postgresql_server}template_tiebreak").close()
    return "template_tiebreak"


@pytest.fixture
def make_postgresql(postgresql_server: str, postgresql_template: str) -> Iterator[Callable[[], str]]:
    """Makes empty PostgreSQL databases of the newest schema."""
    names: list[str] = []

    def make() -> str:
        names.append(f"test_{uuid.uuid4().hex}")
        postgresql_statement(postgresql_server, f"CREATE DATABASE {names[-1]} TEMPLATE {postgresql_template}")
        return postgresql_server + names[-1]

    yield make
    for name in names:
        postgresql_statement(postgresql_server, f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def postgresql_url(make_postgresql: Callable[[], str]) -> str:
    """An empty PostgreSQL database of the newest schema."""
    return make_postgresql()


def postgresql_statement(server: str, statement: str) -> None:
    """Runs one statement outside of any transaction."""
    address = server.replace("+psycopg", "") + "postgres"
    with psycopg.connect(address, autocommit=True) as connection:
        connection.execute(statement.encode())


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest) -> str:
    """An empty database of the newest schema, once on SQLite and once on PostgreSQL."""
    return request.getfixturevalue(f"{request.param}_url")


@pytest.fixture
def store(database_url: str) -> Iterator[Store]:
    """A store of an empty database, once on SQLite and once on PostgreSQL."""
    store = Store.open(database_url, migrate=False)
    yield store
    store.close()


@pytest.fixture
def sqlite_store(sqlite_url: str) -> Iterator[Store]:
    """A store of an empty SQLite database, for tests in which the database does not matter."""
    store = Store.open(sqlite_url, migrate=False)
    yield store
    store.close()


@pytest.fixture
def make_project() -> Callable[..., Project]:
    """Makes a project with comparisons c0, c1, ...: `make_project(store, num_comparisons=5, design=Design(...))`."""

    def make(
        store: Store,
        name: str = "support desk",
        *,
        num_comparisons: int = 5,
        design: Design | None = None,
        rubric_text: str = RUBRIC,
    ) -> Project:
        project = store.projects.create(ADMIN, name, rubric_text=rubric_text, design=design or Design())
        store.comparisons.add(ADMIN, project.id, sample_comparisons(num_comparisons))
        return project

    return make


def sample_comparisons(count: int) -> list[Comparison]:
    """Comparisons c0, c1, ...; every two neighbours share their prompt."""
    return [
        Comparison(
            id=f"c{number}",
            prompt=(Message(role="user", content=f"Question {number // 2}: where is my parcel?"),),
            completion_a=f"It is on its way. ({number})",
            completion_b=f"Please send us the order number, then we look it up at once. ({number})",
            source_a="short model",
            source_b="polite model",
            meta={"row": number},
        )
        for number in range(count)
    ]


@pytest.fixture
def make_actor() -> Callable[..., Actor]:
    """Makes an account and acts as it: `make_actor(store, "annotator", "anna", project)`; a project makes a member."""

    def make(
        store: Store, role: UserRole, name: str | None = None, project: Project | None = None, group: str = ""
    ) -> Actor:
        user = store.people.add(ADMIN, name or f"the {role}", role=role)
        if project is not None:
            store.projects.add_member(ADMIN, project.id, user.id, group)
        return store.people.actor_of(user)

    return make


@pytest.fixture
def project(store: Store, make_project: Callable[..., Project]) -> Project:
    """A project of `store` with the comparisons c0 to c4, each wanted three times."""
    return make_project(store)


@pytest.fixture
def lead(store: Store, project: Project, make_actor: Callable[..., Actor]) -> Actor:
    """A lead who is a member of `project`."""
    return make_actor(store, "lead", "lea", project)


@pytest.fixture
def adjudicator(store: Store, project: Project, make_actor: Callable[..., Actor]) -> Actor:
    """An adjudicator who is a member of `project`."""
    return make_actor(store, "adjudicator", "addy", project)


@pytest.fixture
def annotator(store: Store, project: Project, make_actor: Callable[..., Actor]) -> Actor:
    """An annotator who is a member of `project`."""
    return make_actor(store, "annotator", "anna", project)


@pytest.fixture
def one_thread() -> Iterator[None]:
    """As many threads as the processes have: another number adds up in another order."""
    import torch

    num_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(num_threads)
