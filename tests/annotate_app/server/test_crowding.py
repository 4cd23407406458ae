"""Memory that uploads and tabs may hold: by role, by person, by server."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any

import pytest

from annotate_app.server.crowding import MAX_TABS, MEGABYTE, PERSON_MB, SERVER_MB, Tabs, Uploads
from annotate_app.store.people.accounts import User


def account(user_id: int, role: str = "lead") -> User:
    return User(
        id=user_id,
        name=f"user {user_id}",
        role=role,  # type: ignore[arg-type]
        origin="local",
        active=True,
        has_password=True,
        created_at=0.0,
    )


class Sized:
    """A file's content that is only as long as it says."""

    def __init__(self, num_bytes: int) -> None:
        self.num_bytes = num_bytes

    def __len__(self) -> int:
        return self.num_bytes


@dataclass
class Stored:
    data: Any


@dataclass
class Memory:
    """Where files go, as Streamlit has it, and the application that puts them there."""

    file_storage: dict[str, dict[str, Stored]] = field(default_factory=dict)
    arriving: asyncio.Event | None = None

    def remove_file(self, session_id: str, file_id: str) -> None:
        self.file_storage[session_id].pop(file_id)

    async def app(self, scope, receive, send) -> None:
        if self.arriving is not None:
            await self.arriving.wait()
        tab, name = scope["path"].split("/")[-2:]
        self.file_storage.setdefault(tab, {})[name] = Stored(Sized(scope["actual"]))
        await send({"type": "http.response.start", "status": 204, "headers": []})

    def held(self) -> list[tuple[str, str]]:
        return [(tab, name) for tab, files in self.file_storage.items() for name in files]


async def put(uploads: Uploads, user: User, tab: str, name: str, megabytes: float, *, says_size: bool = True) -> tuple:
    size = int(megabytes * MEGABYTE)
    scope = {
        "type": "http",
        "method": "PUT",
        "path": f"/_stcore/upload_file/{tab}/{name}",
        "headers": [(b"content-length", str(size).encode())] if says_size else [],
        "actual": size,
    }
    sent: list[dict] = []

    async def send(message) -> None:
        sent.append(message)

    await uploads(scope, None, send, user)  # type: ignore[arg-type]
    return sent[0]["status"], sent[1]["body"].decode() if len(sent) > 1 else ""


@pytest.mark.parametrize("role", ["annotator", "adjudicator"])
def test_roles_without_an_uploader_upload_nothing(role: str) -> None:
    memory = Memory()
    uploads = Uploads(memory.app, lambda: memory)
    assert asyncio.run(put(uploads, account(1, role), "t", "f", 1)) == (403, "uploading asks for the role lead")
    assert memory.held() == []


def test_a_person_holds_so_much_over_all_tabs() -> None:
    memory = Memory()
    uploads = Uploads(memory.app, lambda: memory)

    async def story() -> list[int]:
        statuses = [(await put(uploads, account(1), f"tab{number}", "f", 150))[0] for number in range(6)]
        statuses.append((await put(uploads, account(2), "other", "f", 150))[0])
        return statuses

    assert asyncio.run(story()) == [204] * 4 + [413] * 2 + [204]
    assert memory.held() == [(f"tab{number}", "f") for number in range(4)] + [("other", "f")]
    _, words = asyncio.run(put(uploads, account(1), "tab9", "f", 150))
    assert (
        words == f"your uploads take up the {PERSON_MB} MB that one person may hold: close other tabs, then wait 15 min"
    )


def test_in_one_tab_earlier_files_make_room() -> None:
    memory = Memory()
    uploads = Uploads(memory.app, lambda: memory)

    async def story() -> None:
        for number in range(20):
            assert (await put(uploads, account(1), "tab", f"f{number}", 150))[0] == 204
            assert sum(len(file.data) for file in memory.file_storage["tab"].values()) <= PERSON_MB * MEGABYTE

    asyncio.run(story())
    assert memory.held() == [("tab", f"f{number}") for number in range(16, 20)]


def test_the_server_holds_so_much_of_all() -> None:
    memory = Memory()
    uploads = Uploads(memory.app, lambda: memory)
    fitting = SERVER_MB // 200

    async def story() -> list[tuple]:
        return [await put(uploads, account(number), f"tab{number}", "f", 200) for number in range(fitting + 1)]

    answers = asyncio.run(story())
    assert [status for status, _ in answers] == [204] * fitting + [503]
    assert answers[-1][1] == f"uploads take up the {SERVER_MB} MB that the server has for them: try again in 15 min"
    memory.file_storage.pop("tab0")  # its tab has ended
    assert asyncio.run(put(uploads, account(9), "tab9", "f", 200))[0] == 204


@pytest.mark.parametrize("says_size", [True, False])
def test_files_on_the_way_count(says_size: bool) -> None:
    """Without a size each counts as the largest file; what has arrived or failed counts as what it is."""

    async def story() -> list[int]:
        memory.arriving = asyncio.Event()
        sending = [
            asyncio.create_task(put(uploads, account(1), f"tab{number}", "f", 200, says_size=says_size))
            for number in range(5)
        ]
        await asyncio.sleep(0)
        memory.arriving.set()
        return [(await task)[0] for task in sending]

    memory = Memory()
    uploads = Uploads(memory.app, lambda: memory)
    assert asyncio.run(story()) == [204] * 3 + [413] * 2
    memory.file_storage.clear()
    assert asyncio.run(put(uploads, account(1), "late", "f", 200))[0] == 204


def test_an_account_opens_so_many_tabs() -> None:
    tabs, anna, ben = Tabs(), account(1), account(2)
    opened = [tabs.opened(anna) for _ in range(MAX_TABS)]
    for one in opened:
        assert not tabs.is_full(anna)
        one.__enter__()
    assert tabs.is_full(anna)
    assert not tabs.is_full(ben)
    opened[0].__exit__(None, None, None)
    assert not tabs.is_full(anna)
