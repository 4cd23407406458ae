"""A thin client of the HTTP API, for scripts and notebooks.

    from annotate_app.client import Client

    project = Client("https://tiebreak.example.org", token).project("desk")
    project.add_comparisons(rows)
    for judgment in project.judgments(after=cursor):
        ...

Calls that the server asks to come again later (429, 503) are made again; everything else that is not done is an
`ApiError` with the field at fault. Only httpx is needed.
"""

from __future__ import annotations

import json
import time
import zlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

Row = dict[str, Any]
TRIES = 8
LONGEST_WAIT_S = 60.0
POLL_S = 1.0
ENDED = ("done", "failed", "cancelled", "lost")
ROWS_AT_ONCE, BYTES_AT_ONCE = 5000, 100 * 2**20
"""Rows that one call sends, and their bytes: rows may hold images, and the server takes 200 MB."""


class ApiError(ValueError):
    """What the server did not do.

    Attributes:
        status: of HTTP; 0 where the server was not reached.
        field, value, allowed: what was at fault, None where it is no field.
        rows: rows that cannot be used: `line`, `field`, `value`, `reason`, `message`.
    """

    def __init__(self, status: int, error: Mapping[str, Any]) -> None:
        super().__init__(str(error.get("message") or f"the server answered {status}"))
        self.status = status
        self.field: str | None = error.get("field")
        self.value: Any = error.get("value")
        self.allowed: str | None = error.get("allowed")
        self.rows: list[Row] = list(error.get("rows") or [])


@dataclass(frozen=True, kw_only=True)
class Added:
    """What became of rows that were sent; `rows` are those that were left out."""

    num_added: int
    num_existing: int
    rows: list[Row]


class Client:
    """The server, as somebody's token lets one use it.

    Args:
        url: of the server, for example `https://tiebreak.example.org`.
        token: as the page Account shows it once.
        timeout_s: for one answer.
        tries: how often a call is made that the server asks to make again.
    """

    def __init__(self, url: str, token: str, *, timeout_s: float = 120.0, tries: int = TRIES) -> None:
        self._http = httpx.Client(
            base_url=url.rstrip("/"), headers={"authorization": f"Bearer {token}"}, timeout=timeout_s
        )
        self._tries = tries

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Closes the connections."""
        self._http.close()

    def whoami(self) -> Row:
        """Whom the token acts for, and how far it reaches."""
        return self.call("GET", "/whoami")

    def projects(self) -> list[Row]:
        """The projects that the token reaches."""
        return list(self.pages("/projects"))

    def project(self, name_or_id: str | int) -> ProjectClient:
        """A project by its name, or by its number.

        Raises:
            ApiError: if there is none that the token reaches.
        """
        if isinstance(name_or_id, int):
            return ProjectClient(self, self.call("GET", f"/projects/{name_or_id}"))
        found = self.call("GET", "/projects", params={"name": name_or_id})["items"]
        if not found:
            raise ApiError(404, {"message": f"there is no project {name_or_id!r}", "field": "name"})
        return ProjectClient(self, found[0])

    def create_project(self, name: str, **fields: Any) -> ProjectClient:
        """Makes a project; the fields are `protocol` or `rubric`, `description` and `design`."""
        return ProjectClient(self, self.call("POST", "/projects", json={"name": name, **fields}))

    def job(self, job_id: int) -> Row:
        """A job as it is now."""
        return self.call("GET", f"/jobs/{job_id}")

    def call(self, method: str, path: str, **options: Any) -> Any:
        """One call of the API; what it answered, None where that is nothing.

        Args:
            method: of HTTP.
            path: behind `/api/v1`, or a whole path as links of answers are.
            **options: of `httpx.Client.request`: `params`, `json`, `content`.

        Raises:
            ApiError: if it was not done.
        """
        answer = self._ask(method, path, **options)
        return answer.json() if answer.content else None

    def pages(self, path: str, **params: Any) -> Iterator[Row]:
        """The items of all pages."""
        page = self.call("GET", path, params=params)
        yield from page["items"]
        while page.get("next"):
            page = self.call("GET", page["next"])
            yield from page["items"]

    def download(self, path: str, to: str | Path, *, unpack: bool = False, **params: Any) -> Path:
        """Fetches a file under a name of its own first, so that what is there at the end is whole.

        Args:
            path: as of `call`.
            to: the file; one that is there is replaced.
            unpack: takes the gzip away that the file comes in.
            **params: behind the question mark.

        Raises:
            ApiError: if there is no such file.
        """
        target = Path(to)
        draft = target.with_name(f".{target.name}.partial")
        gunzip = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)
        try:
            with closing(self._ask("GET", path, stream=True, params=params)) as answer, draft.open("wb") as file:
                for part in answer.iter_bytes():
                    file.write(gunzip.decompress(part) if unpack else part)
            draft.replace(target)
        finally:
            draft.unlink(missing_ok=True)
        return target

    def _ask(self, method: str, path: str, *, stream: bool = False, **options: Any) -> httpx.Response:
        for tried in range(1, self._tries + 1):
            last = tried == self._tries
            try:
                answer = self._http.send(self._http.build_request(method, _whole(path), **options), stream=stream)
            except httpx.ConnectError as error:  # nothing was sent: it may be sent again
                if last:
                    raise ApiError(0, {"message": f"{self._http.base_url} is not reached: {error}"}) from error
                time.sleep(min(2.0**tried / 10, LONGEST_WAIT_S))
                continue
            if answer.is_success:
                return answer
            answer.read()
            if answer.status_code not in (429, 503) or last:
                raise _error_of(answer)
            time.sleep(_wait_s(answer, tried))
        raise AssertionError("the last try answers or raises")


class ProjectClient:
    """One project on the server; `about` is what the server said of it."""

    def __init__(self, client: Client, about: Row) -> None:
        self.client = client
        self.about = about
        self._path = f"/projects/{about['id']}"

    @property
    def webhooks(self) -> WebhooksClient:
        """What is told to other servers."""
        return WebhooksClient(self.client, self._path)

    def add_comparisons(self, rows: Iterable[Mapping[str, Any]], **options: Any) -> Added:
        """Adds comparisons, at most 5000 a call; those that are there already are counted and stay.

        Args:
            rows: in any form that files may have.
            **options: `form`, `pairs`, `overlap`, `labels`, `on_bad_row`, `map`.

        Raises:
            ApiError: with the bad rows; those of earlier calls are stored.
        """
        return self._send("/comparisons", rows, options)

    def add_judgments(self, rows: Iterable[Mapping[str, Any]], **options: Any) -> Added:
        """Adds judgments made elsewhere; options are `layout`, `scale`, `choice_map`, `on_bad_row`, `map`."""
        return self._send("/judgments", rows, options)

    def comparisons(self, **filters: Any) -> Iterator[Row]:
        """Comparisons with how far each is; filters are `text`, `state`, `view`, `id`."""
        return self.client.pages(f"{self._path}/comparisons", **filters)

    def change_comparisons(self, changes: Iterable[Mapping[str, Any]]) -> int:
        """Sets `gold`, `priority` and `overlap` by `id`, all of them or none; how many were changed."""
        body = {"changes": list(changes)}
        return self.client.call("PATCH", f"{self._path}/comparisons", json=body)["num_changed"]

    def judgments(self, *, after: int = 0, names: bool = False, follow: bool = False) -> Iterator[Row]:
        """What was said behind a cursor, oldest first; `id` of each is the cursor behind it.

        Args:
            after: the cursor; 0 is the beginning.
            names: real names in place of pseudonyms.
            follow: waits for more at the end, for good.
        """
        while True:
            params = {"after": after, "limit": 1000, "names": names}
            page = self.client.call("GET", f"{self._path}/judgments", params=params)
            yield from page["items"]
            after = page["after"]
            if page["next"] is None:
                if not follow:
                    return
                time.sleep(POLL_S)

    def progress(self) -> Row:
        """How far the project is."""
        return self.client.call("GET", f"{self._path}/progress")

    def rubric(self) -> Row:
        """The newest rubric."""
        return self.client.call("GET", f"{self._path}/rubric")

    def save_rubric(self, text: str) -> Row:
        """Stores the rubric's next version."""
        return self.client.call("PUT", f"{self._path}/rubric", json={"text": text})

    def jobs(self) -> list[Row]:
        """The project's newest jobs."""
        return self.client.call("GET", f"{self._path}/jobs")["items"]

    def export(self, to: str | Path, *, form: str = "preference", **options: Any) -> Path:
        """Exports the project into a file: at once where that is possible, else by a job that is waited for.

        Images that rows show lie beside the file afterwards, in `NAME.images.zip`.

        Args:
            to: the file; one that is there is replaced. Where its name ends in `.gz`, a job's file stays packed.
            form: of `annotate-app export`: preference, judgments, ranking, everything, ...
            **options: `format`, `ties`, `names`; for a job also other fields of `NewExport`, but no `splits`.

        Raises:
            ApiError: if the job failed.
            ValueError: for splits, which are several files.
        """
        if options.get("splits"):
            raise ValueError("splits become several files: start the export by `call`, and fetch the job's `files`")
        at_once = set(options) <= {"format", "ties", "names"}
        if at_once:
            try:
                return self.client.download(f"{self._path}/export", to, form=form, **options)
            except ApiError as error:
                if error.status != 409:
                    raise
        job = self.client.call("POST", f"{self._path}/exports", json={"form": form, **options})
        while job["state"] not in ENDED:
            time.sleep(POLL_S)
            job = self.client.job(job["id"])
        if job["state"] != "done":
            raise ApiError(409, {"message": f"the export {job['state']}: {job['message']}"})
        target = Path(to)
        for path in job["files"]:
            if path.endswith(".images.zip"):
                self.client.download(path, target.with_name(f"{target.name.partition('.')[0]}.images.zip"))
            elif not path.endswith(".README.md"):
                self.client.download(path, target, unpack=path.endswith(".gz") and target.suffix != ".gz")
        return target

    def _send(self, place: str, rows: Iterable[Mapping[str, Any]], options: Mapping[str, Any]) -> Added:
        num_added = num_existing = 0
        refused: list[Row] = []
        for body in _in_parts(json.dumps(row, ensure_ascii=False).encode() for row in rows):
            done = self.client.call(
                "POST",
                f"{self._path}{place}",
                params=dict(options),
                content=body,
                headers={"content-type": "application/x-ndjson"},
            )
            num_added += done["num_added"]
            num_existing += done["num_existing"]
            refused += done["rows"]
        return Added(num_added=num_added, num_existing=num_existing, rows=refused)


class WebhooksClient:
    """The webhooks of a project."""

    def __init__(self, client: Client, project_path: str) -> None:
        self._client = client
        self._project_path = project_path
        self._path = f"{project_path}/webhooks"

    def list(self) -> list[Row]:
        """All of them."""
        return self._client.call("GET", self._path)["items"]

    def create(self, url: str, **fields: Any) -> Row:
        """Makes one; `secret` in the answer is told only here. Fields are `events` and `private`."""
        return self._client.call("POST", self._path, json={"url": url, **fields})

    def change(self, webhook_id: int, **fields: Any) -> Row:
        """Changes `url`, `events`, `active` or `private`."""
        return self._client.call("PATCH", f"{self._path}/{webhook_id}", json=fields)

    def remove(self, webhook_id: int) -> None:
        """Ends one."""
        self._client.call("DELETE", f"{self._path}/{webhook_id}")

    def test(self, webhook_id: int) -> Row:
        """Sends the event `test`; whether it was delivered, and what the receiver answered."""
        return self._client.call("POST", f"{self._path}/{webhook_id}/test")

    def deliveries(self, webhook_id: int) -> Iterator[Row]:
        """What it was told and is still to be told, newest first."""
        return self._client.pages(f"{self._path}/{webhook_id}/deliveries")

    def send_again(self, delivery_id: int) -> None:
        """Puts a delivery that was given up first in line."""
        self._client.call("POST", f"{self._project_path}/deliveries/{delivery_id}/again")


def _whole(path: str) -> str:
    return path if path.startswith("/api/") else f"/api/v1{path}"


def _in_parts(lines: Iterable[bytes]) -> Iterator[bytes]:
    part: list[bytes] = []
    num_bytes = 0
    for line in lines:
        if len(part) == ROWS_AT_ONCE or (part and num_bytes + len(line) > BYTES_AT_ONCE):
            yield b"\n".join(part)
            part, num_bytes = [], 0
        part.append(line)
        num_bytes += len(line) + 1
    if part:
        yield b"\n".join(part)


def _wait_s(answer: httpx.Response, tried: int) -> float:
    told = answer.headers.get("retry-after", "")
    return min(float(told) if told.isdigit() else 2.0**tried / 10, LONGEST_WAIT_S)


def _error_of(answer: httpx.Response) -> ApiError:
    try:
        error = answer.json()["error"]
    except (ValueError, KeyError, TypeError):
        error = {"message": f"the server answered {answer.status_code}: {answer.text[:200]}"}
    return ApiError(answer.status_code, error)
