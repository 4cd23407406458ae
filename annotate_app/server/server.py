"""The launcher: Streamlit's own app behind our door, on our uvicorn, with the settings that were measured to matter.

The socket is bound here and with its protocol named: only then does asyncio set TCP_NODELAY on what it accepts (6 ms a
click; 47 ms without). Streamlit collects garbage after every rerun unless told not to, which costs a tenth of a second
of everybody's time (`runner.postScriptGC`). Neither shows from the outside, so both are tested.

The theme is ink on paper by day and paper on ink by night, with one accent: a deep teal, which unlike red and green
says nothing about which response is better.
"""

from __future__ import annotations

import logging
import os
import signal
import socket
import subprocess
import sys
import threading
import webbrowser
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import streamlit as st
import uvicorn
from starlette.types import ASGIApp
from streamlit import config
from streamlit.auth_util import encode_provider_token, get_secrets_auth_section
from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.runtime import Runtime
from streamlit.runtime.pages_manager import PagesManager
from streamlit.web.server.starlette.starlette_server_config import USER_COOKIE_NAME
from streamlit.web.server.starlette.starlette_websocket import (
    _get_signed_cookie_with_chunks,
    _parse_decoded_user_cookie,
)

from annotate_app.access import Actor
from annotate_app.api.gate import Gate
from annotate_app.installation import cookie_secret
from annotate_app.jobs.model_processes import model_processes
from annotate_app.server.authentication import Door
from annotate_app.server.crowding import MAX_FILE_MB, UploadedFiles
from annotate_app.server.first_page import FirstPage
from annotate_app.server.routes import image_route, leaving_route, run_routes
from annotate_app.server.sessions import open_sessions
from annotate_app.server.sign_in_pages import invite_address
from annotate_app.store.store import Store

_LIGHT = {
    "primaryColor": "#0f6b66",
    "backgroundColor": "#fbfaf7",
    "secondaryBackgroundColor": "#f1efe9",
    "textColor": "#1f2421",
    "linkColor": "#0f6b66",
    "borderColor": "#dcd8ce",
    "codeBackgroundColor": "#f1efe9",
    "codeTextColor": "#1f2421",
    "sidebar.backgroundColor": "#f1efe9",
    "sidebar.secondaryBackgroundColor": "#e6e3da",
    "sidebar.borderColor": "#dcd8ce",
    "blueColor": "#0f6b66",  # of what informs: the accent, no second one
    "blueBackgroundColor": "#e2eeeb",
    "blueTextColor": "#0b4f4b",
}
_DARK = {
    "primaryColor": "#5cc0b6",
    "backgroundColor": "#15191a",
    "secondaryBackgroundColor": "#1f2526",
    "textColor": "#e9e7e1",
    "linkColor": "#7fd1c8",
    "borderColor": "#343c3d",
    "codeBackgroundColor": "#1f2526",
    "codeTextColor": "#e9e7e1",
    "sidebar.backgroundColor": "#1a1f20",
    "sidebar.secondaryBackgroundColor": "#262d2e",
    "sidebar.borderColor": "#343c3d",
    "blueColor": "#5cc0b6",
    "blueBackgroundColor": "#1d3432",
    "blueTextColor": "#a9dfd8",
}
_SERIES = ["#0f6b66", "#c8702a", "#5a6acf", "#a23b72", "#6b8e23", "#8a6d3b", "#4b8bbe", "#7a7a7a"]
_SERIES_BY_NIGHT = ["#5cc0b6", "#e8975a", "#8f9bea", "#d678a9", "#a3c45a", "#c5a36a", "#7db8e0", "#a8a8a8"]

THEME: dict[str, object] = {
    "theme.paddingTop": "2.5rem",
    "theme.baseRadius": "0.4rem",
    "theme.buttonRadius": "0.4rem",
    "theme.baseFontSize": 15,
    "theme.headingFontWeights": [650, 600, 600, 600, 600, 600],
    "theme.headingFontSizes": ["1.75rem", "1.15rem", "1.05rem", "1rem", "0.95rem", "0.9rem"],
    "theme.showWidgetBorder": True,
    "theme.light.chartCategoricalColors": _SERIES,
    "theme.dark.chartCategoricalColors": _SERIES_BY_NIGHT,
    **{f"theme.light.{name}": value for name, value in _LIGHT.items()},
    **{f"theme.dark.{name}": value for name, value in _DARK.items()},
}


logger = logging.getLogger(__name__)

LOOPBACK = ("127.0.0.1", "localhost", "::1")
MAX_MESSAGE = 4 * 2**20
"""Largest WebSocket message from a browser, in bytes; files come another way."""


@dataclass(frozen=True, kw_only=True)
class Serving:
    """How to serve.

    Attributes:
        url: of the database.
        open_as: name of the account that everybody is, without sign-in; empty asks everybody to sign in.
        allowed_hosts: Host names answered to; empty answers to localhost on localhost, to any name elsewhere.
        proxy_header: request header in which a trusted proxy names the account; empty trusts none.
        trusted_proxies: addresses whose forwarding headers are believed.
        worker: whether to start a worker process beside the server.
        demo: whether the demo project must be there.
        browser: whether to open a browser, where there is a display.
    """

    url: str
    host: str = "127.0.0.1"
    port: int = 8501
    open_as: str = ""
    allowed_hosts: tuple[str, ...] = ()
    proxy_header: str = ""
    trusted_proxies: tuple[str, ...] = ()
    worker: bool = True
    demo: bool = False
    browser: bool = False

    def __post_init__(self) -> None:
        if not 1 <= self.port <= 65535:
            raise ValueError(f"--port is {self.port}, allowed is 1 to 65535")
        if self.open_as and self.host not in LOOPBACK:
            raise ValueError(
                f"--host is {self.host!r}: without sign-in the app serves this machine only, {', '.join(LOOPBACK)}"
            )
        if self.proxy_header and not self.trusted_proxies:
            raise ValueError("--proxy-header needs --trusted-proxy: the addresses that may name an account")

    @property
    def address(self) -> str:
        """The URL to open on this machine."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{'localhost' if self.host in ('0.0.0.0', '::', '127.0.0.1') else host}:{self.port}"


class StreamlitSignIn:
    """Streamlit's OIDC sign-in (`st.login`), set up by the section `[auth]` of `.streamlit/secrets.toml`."""

    def providers(self) -> tuple[str, ...]:
        """The providers' names; the one without a name of its own is `default`."""
        section = get_secrets_auth_section()
        named = tuple(name for name, value in section.items() if isinstance(value, Mapping) and "client_id" in value)
        return (("default",) if "client_id" in section else ()) + named

    def address(self, provider: str) -> str:
        """Streamlit's route to a provider; what it carries is good for a few minutes."""
        return f"/auth/login?provider={encode_provider_token(provider)}"

    def email(self, cookies: Mapping[str, str], origin: str) -> str:
        """The verified address in Streamlit's signed identity cookie, if that was issued for this origin."""
        raw = _get_signed_cookie_with_chunks(dict(cookies), USER_COOKIE_NAME)
        claims = _parse_decoded_user_cookie(raw, origin) if raw else {}
        signed_in = claims.get("is_logged_in") is True and claims.get("email_verified", True) is True
        return str(claims.get("email") or "").strip() if signed_in else ""


def streamlit_options(serving: Serving) -> dict[str, object]:
    """Streamlit's options. Its environment variables do not reach a server started like this one."""
    return {
        "browser.gatherUsageStats": False,
        "client.allowedOrigins": [],
        "client.showErrorDetails": "none",
        "client.showErrorLinks": False,
        "client.toolbarMode": "minimal",
        "global.developmentMode": False,
        "runner.magicEnabled": False,
        "runner.postScriptGC": False,
        "server.address": serving.host,
        "server.allowRunOnSave": False,
        "server.allowedHosts": list(serving.allowed_hosts),
        "server.cookieSecret": cookie_secret(serving.url),
        "server.corsAllowedOrigins": [],
        "server.disconnectedSessionTTL": 900,
        "server.enableAgentApi": False,
        "server.fileWatcherType": "none",
        "server.headless": True,
        "server.maxUploadSize": MAX_FILE_MB,
        "server.port": serving.port,
        **THEME,
    }


def prepare(serving: Serving, actor: Actor) -> list[str]:
    """Makes what must be there before anybody comes in; lines to print."""
    sessions = open_sessions(serving.url)
    sessions.single_user = serving.open_as
    store = sessions.store
    lines = [f"Tiebreak is at {serving.address}"]
    if serving.open_as:
        host = store.people.by_name(actor, serving.open_as) or store.people.add(actor, serving.open_as, role="admin")
        lines.append(f"without sign-in, for this machine only: everybody here is {host.name!r}")
        if serving.demo:
            from annotate_app.demo import create_demo
            from annotate_app.demo_models import queue_models

            queued = queue_models(store, create_demo(store))
            if queued and serving.worker:
                lines.append(f"training {len(queued)} models from the demo's judgments meanwhile; see the page Runs")
    elif not any(user.role == "admin" and user.active for user in store.people.list(actor)):
        token = store.people.create_invite(actor, role="admin")
        lines.append("No admin yet. Create the account within three days, by a link that works once:\n")
        lines.append(f"    {invite_address(serving.address, token)}\n")
    return lines


def build(serving: Serving) -> Door:
    """The whole ASGI application; the database must be there."""
    for name, value in streamlit_options(serving).items():
        config.set_option(name, value)
    PagesManager.uses_pages_directory = False  # `navigation` lists the pages, also for who comes by a deep link first
    sessions = open_sessions(serving.url)
    routes = [leaving_route(sessions), image_route(sessions), *run_routes(sessions)]
    app = st.App(Path(__file__).parents[1] / "app.py", routes=routes)
    page = FirstPage((Path(st.__file__).parent / "static" / "index.html").read_text())
    plain_rerun = BackMsg()
    plain_rerun.rerun_script.SetInParent()
    return Door(
        app,
        sessions,
        api=Gate(sessions.store, _load_api),
        secret=cookie_secret(serving.url),
        openid=StreamlitSignIn(),
        open_as=serving.open_as,
        allowed_hosts=serving.allowed_hosts or (LOOPBACK if serving.host in LOOPBACK else ()),
        proxy_header=serving.proxy_header,
        trusted_proxies=serving.trusted_proxies,
        inline_scripts=page.inline_scripts,
        first_page=page,
        uploaded_files=_uploaded_files,
        harmless_message=plain_rerun.SerializeToString(),
    )


def _load_api(store: Store) -> ASGIApp:
    """Makes the API when somebody asks for it first: its libraries would hold up every start."""
    from annotate_app.api.application import build_api

    return build_api(store)


def _uploaded_files() -> UploadedFiles:
    return Runtime.instance().uploaded_file_mgr  # type: ignore[return-value]  # st.App makes the one that holds them in memory


def bind(host: str, port: int) -> socket.socket:
    """A listening socket; ValueError in one line where the address cannot be had."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP, flags=socket.AI_PASSIVE
        )[0]
    except OSError as error:
        raise ValueError(f"--host is {host!r}: {error.strerror}") from error
    listener = socket.socket(family, kind, protocol)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind(address)
    except OSError as error:
        listener.close()
        raise ValueError(f"port {port} on {host}: {error.strerror}; choose another with --port") from error
    listener.listen(512)
    listener.set_inheritable(False)
    return listener


def serve(serving: Serving, listener: socket.socket) -> int:
    """Serves on a listening socket until interrupted; the exit code."""
    os.environ["TIEBREAK_DB"] = serving.url  # the pages and the worker open the same database
    server = uvicorn.Server(
        uvicorn.Config(
            build(serving),
            lifespan="on",
            ws="websockets-sansio",
            ws_max_size=MAX_MESSAGE,
            ws_per_message_deflate=False,
            ws_ping_interval=30,
            ws_ping_timeout=30,
            proxy_headers=False,
            server_header=False,
            access_log=False,
            log_level="warning",
            timeout_graceful_shutdown=5,
        )
    )
    worker = start_worker(serving.url) if serving.worker else None
    if serving.browser and (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY") or sys.platform != "linux"):
        threading.Thread(target=webbrowser.open, args=(serving.address,), daemon=True).start()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: None)  # uvicorn raises what stopped it once more when it has shut down
    try:
        server.run(sockets=[listener])
    finally:
        if worker is not None:
            worker.terminate()
            worker.wait(10)
        model_processes().close()
        open_sessions(serving.url).store.close()
    return 0 if server.started else 1


def start_worker(url: str) -> subprocess.Popen[bytes]:
    """The process that runs jobs; it ends with this one, the jobs it started go on."""
    return subprocess.Popen(
        [sys.executable, "-m", "annotate_app", "worker", "--parent", str(os.getpid())],
        env=os.environ | {"TIEBREAK_DB": url},  # not as an argument: it may hold a password
        stdin=subprocess.DEVNULL,
    )
