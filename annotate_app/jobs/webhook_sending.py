"""Sends what webhooks are told, in threads of the worker: jobs are not held up, nor is one receiver by another.

Of one webhook one delivery is under way at a time, the oldest first; it is tried again, ever later, until the receiver
answers 2xx or it is given up, and only then the next one goes. A delivery may arrive twice (the worker died between the
answer and its note of it), never not at all.

A webhook must not be a way into the server's own network: names are resolved here, every address of a name is looked
at, and the connection goes to the address that was looked at. Redirects are not followed.
"""

from __future__ import annotations

import json
import logging
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from urllib.parse import urlsplit

import httpx

from annotate_app.access import Actor
from annotate_app.store.base.database import failure
from annotate_app.store.projects.webhook_deliveries import Parcel
from annotate_app.store.store import Store
from annotate_app.webhook_signature import DELIVERY_HEADER, EVENT_HEADER, HEADER, sign

logger = logging.getLogger(__name__)

POLL_S = 1.0
TIMEOUT_S = 10.0
AT_ONCE = 16
FORGET_EVERY_S = 3600.0
ANSWER_SHOWN = 200
"""Characters of an answer that are kept."""
NEVER = [ip_network(net) for net in ("169.254.0.0/16", "fe80::/10", "fd00:ec2::254/128", "100.100.100.200/32")]
"""Addresses of this link, where clouds hand out keys: no webhook goes there."""
_NAT64 = ip_network("64:ff9b::/96")


class UndeliveredError(ValueError):
    """Raised where a receiver did not take a delivery."""


def body_of(parcel: Parcel) -> bytes:
    """What is sent; the same bytes at every try."""
    envelope = {
        "id": parcel.id,
        "event": parcel.event,
        "created_at": parcel.created_at,
        "project": {"id": parcel.project_id, "name": parcel.project},
        "data": parcel.payload,
    }
    return json.dumps(envelope, ensure_ascii=False, separators=(",", ":")).encode()


def send(parcel: Parcel) -> str:
    """Sends a delivery once; what the receiver answered, in a few words.

    Raises:
        UndeliveredError: if it did not answer 2xx, or is not to be reached.
    """
    body = body_of(parcel)
    address = httpx.URL(parcel.url)
    pinned = address.copy_with(host=_address_of(parcel))
    headers = {
        "host": address.netloc.decode(),
        "content-type": "application/json",
        "user-agent": "tiebreak-webhooks/1",
        DELIVERY_HEADER: str(parcel.id) if parcel.id else f"test-{parcel.webhook_id}-{parcel.created_at:.0f}",
        EVENT_HEADER: parcel.event,
        HEADER: sign(parcel.secret, body, int(time.time())),
    }
    try:
        with (
            httpx.Client(timeout=TIMEOUT_S, follow_redirects=False, trust_env=False) as client,
            client.stream(
                "POST", pinned, content=body, headers=headers, extensions={"sni_hostname": address.host}
            ) as answer,
        ):
            text = b"" if answer.is_success else next(answer.iter_raw(ANSWER_SHOWN), b"")
    except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
        raise UndeliveredError(f"{type(error).__name__}: {error}"[:ANSWER_SHOWN]) from error
    said = f"answered {answer.status_code}"
    if not answer.is_success:
        shown = "".join(letter if letter.isprintable() else " " for letter in text.decode(errors="replace"))
        raise UndeliveredError(f"{said}: {shown}"[:ANSWER_SHOWN].rstrip(": "))
    return said


def send_test(store: Store, actor: Actor, project_id: int, webhook_id: int) -> str:
    """Sends the event `test` at once; what the receiver answered. Lead or above.

    Raises:
        UndeliveredError: if it did not answer 2xx, or is not to be reached.
    """
    return send(store.webhook_deliveries.trial(actor, project_id, webhook_id))


def _address_of(parcel: Parcel) -> str:
    """The address to connect to, once every address of the name was looked at."""
    parts = urlsplit(parcel.url)
    host, port = parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)
    try:
        found = [str(entry[4][0]) for entry in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]
    except (OSError, UnicodeError) as error:
        raise UndeliveredError(f"{host} has no address: {error}") from error
    for text in found:
        if reason := refuse_address(text, private=parcel.private):
            raise UndeliveredError(f"{host} is {text}, {reason}")
    return found[0]


def refuse_address(text: str, *, private: bool) -> str:
    """Why no webhook goes to an address; empty if one may."""
    for address in _meant(ip_address(text.partition("%")[0])):
        if any(address in net for net in NEVER) or address.is_link_local:
            return "an address of this link: no webhook goes there"
        if address.is_multicast or address.is_unspecified or (address.is_reserved and not address.is_loopback):
            return "no address of one receiver: no webhook goes there"
        if not address.is_global and not private:
            return "an address of the own network, which an admin has to allow"
    return ""


def _meant(address: IPv4Address | IPv6Address) -> Iterator[IPv4Address | IPv6Address]:
    """The address, or the one that it stands for: IPv4 in IPv6 goes by several names."""
    if isinstance(address, IPv4Address):
        yield address
    elif address.ipv4_mapped:
        yield address.ipv4_mapped
    elif address.sixtofour:
        yield address.sixtofour
    elif address.teredo:
        yield from address.teredo
    elif address in _NAT64:
        yield IPv4Address(int(address) & 0xFFFFFFFF)
    else:
        yield address


class Messenger:
    """Finds and sends deliveries while a block lasts."""

    def __init__(self, store: Store) -> None:
        self._deliveries = store.webhook_deliveries
        self._stop = threading.Event()
        self._wake = threading.Event()
        self._pool = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="webhook")
        self._thread = threading.Thread(target=self._run, name="webhooks", daemon=True)

    def __enter__(self) -> Messenger:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._wake.set()
        self._thread.join(TIMEOUT_S)
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _run(self) -> None:
        forgot_at = -FORGET_EVERY_S
        while not self._stop.is_set():
            self._wake.clear()
            try:
                self._deliveries.collect()
                for delivery_id in self._deliveries.due():
                    self._pool.submit(self._deliver, delivery_id)
                if time.monotonic() - forgot_at >= FORGET_EVERY_S:
                    self._deliveries.forget_old()
                    forgot_at = time.monotonic()
            except Exception as error:
                logger.warning("webhooks wait: %s", failure(error) or f"{type(error).__name__}: {error}")
            self._wake.wait(POLL_S)

    def _deliver(self, delivery_id: int) -> None:
        """Sends one delivery, if it is still to be sent, and lets the next one of its webhook be found at once."""
        try:
            parcel = None if self._stop.is_set() else self._deliveries.claim(delivery_id)
            if parcel is None:
                return
            try:
                answered = send(parcel)
            except UndeliveredError as error:
                self._deliveries.failed(parcel.id, parcel.tries, str(error))
            else:
                self._deliveries.arrived(parcel.id, answered)
                self._wake.set()
        except Exception as error:  # the claim runs out, and the delivery is tried again
            logger.warning("webhook delivery %d: %s", delivery_id, failure(error) or type(error).__name__)
