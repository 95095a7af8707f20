"""Carry out or refuse requests that people sent to a server.

An accepted request is marked first, then its rows are taken down, then it is marked as done. `finish` does what a
killed process left between these steps.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pyarrow.compute as pc

from commoncanvas.catalog.takedown.command import TakedownReport, takedown
from commoncanvas.catalog.takedown.requests import Requests, Stored
from commoncanvas.core.errors import CatalogError, NoSuchCreatorError
from commoncanvas.table.table import Catalog
from commoncanvas.table.tombstones import Tombstones


@dataclass(frozen=True)
class Effect:
    """What a request would take down. `found` is None if that can't be said; `problem` is why, in one line."""

    found: TakedownReport | None
    problem: str = ""

    @property
    def lines(self) -> Iterator[str]:
        """For the terminal."""
        if self.found is None:
            yield f"it can't be carried out: {self.problem}"
        elif self.found.rows == 0:
            yield "nothing is left to take down: the catalog no longer has it"
        else:
            yield from self.found.found()


def effect(catalog: Catalog, request: Stored) -> Effect:
    """Look what a request would take down, and change nothing."""
    try:
        return Effect(_take_down(catalog, request, dry_run=True))
    except CatalogError as error:
        return Effect(None, str(error))


def accept(catalog: Catalog, requests: Requests, request: Stored) -> int:
    """Carry out an open request; returns how many rows it took down. Raises CatalogError."""
    _take_down(catalog, request, dry_run=True)  # what can't be carried out stays open
    if not requests.accept(request.number):
        raise CatalogError(f"request {request.number} was decided by somebody else meanwhile")
    return _carry_out(catalog, requests, request)


def refuse(requests: Requests, request: Stored, answer: str) -> None:
    """Refuse an open request; its person can read the answer. Raises CatalogError."""
    if not requests.refuse(request.number, answer):
        raise CatalogError(f"request {request.number} was decided by somebody else meanwhile")


def finish(catalog: Catalog, requests: Requests) -> dict[int, int]:
    """Carry out what was accepted and is not done: a process was killed. Returns request -> rows taken down."""
    done: dict[int, int] = {}
    for request in requests.with_states("accepted"):
        try:
            done[request.number] = _carry_out(catalog, requests, request)
        except CatalogError:
            requests.reopen(request.number)  # whoever decides it next sees why it can't be carried out
    return done


def reason_of(request: Stored) -> str:
    """What the tombstones keep: no word of the person who asked."""
    return f"request {request.number} of {request.asked_at[:10]}"


def _carry_out(catalog: Catalog, requests: Requests, request: Stored) -> int:
    _take_down(catalog, request)
    rows = _rows_of(catalog, request)
    requests.done(request.number, rows)
    return rows


def _take_down(catalog: Catalog, request: Stored, dry_run: bool = False) -> TakedownReport:
    creator = (request.creator_url or request.creator) if request.scope == "creator" else None

    def of(creator: str | None) -> TakedownReport:
        reason = reason_of(request)
        return takedown(catalog, id=[request.image_id], creator=creator, reason=reason, dry_run=dry_run)

    try:
        return of(creator)
    except NoSuchCreatorError:  # all rows of that name are gone; without an address it keeps nobody out
        return of(None)


def _rows_of(catalog: Catalog, request: Stored) -> int:
    """Rows that were taken down for a request, also by a process that was killed before it could count them."""
    stones = Tombstones(catalog.uri, catalog.storage_options)
    stones.refresh()
    table = stones.table
    # A tombstone of an id that no row had has no windows.
    mine = pc.and_(pc.equal(table["reason"], reason_of(request)), pc.is_valid(table["windows"]))
    return int(pc.sum(pc.and_(mine, pc.is_valid(table["image_id"]))).as_py() or 0)
