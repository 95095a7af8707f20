"""`takedown --from-requests`: show the requests of people one by one, and carry out or refuse them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from commoncanvas.catalog.takedown import deciding
from commoncanvas.catalog.takedown.command import NOT_PURGED, purge_lines, takedown
from commoncanvas.catalog.takedown.deciding import Effect
from commoncanvas.catalog.takedown.requests import Requests, Stored, kept_requests
from commoncanvas.core.console import Printed
from commoncanvas.core.errors import CatalogError
from commoncanvas.core.text import clean, counted, one_line, visible, web_address
from commoncanvas.creators.names import NO_CREATOR
from commoncanvas.table.purge import PurgeReport
from commoncanvas.table.table import Catalog
from commoncanvas.table.tombstones import Tombstones

if TYPE_CHECKING:
    from rich.console import RenderableType

Show = Callable[[Iterable[str]], object]
"""Prints lines."""
QUESTION = "take down, refuse, later or quit? [t/r/l/q] "
WHY = "why is it refused? The person can read this: "


@dataclass(frozen=True, repr=False)
class RequestsReport(Printed):
    """What was done with the requests of a catalog."""

    uri: str
    finished: dict[int, int]
    """Requests that a killed process had begun to carry out -> rows taken down."""
    accepted: dict[int, int]
    """Requests -> rows taken down."""
    refused: dict[int, str]
    """Requests -> why."""
    open: int
    """Requests that wait for a decision."""
    waiting: tuple[tuple[Stored, Effect], ...]
    """These and what they would take down; empty if the call decided some."""
    forgotten: int | None
    """Decided requests that were deleted."""
    purged: PurgeReport | None

    def to_dict(self) -> dict[str, Any]:
        waiting = [
            {
                **asdict(request),
                "rows": each.found.rows if each.found else None,
                "problem": each.problem or None,
            }
            for request, each in self.waiting
        ]
        return {**asdict(replace(self, waiting=())), "waiting": waiting}

    def render(self) -> RenderableType:
        """What the terminal shows."""
        from rich.text import Text

        return Text("\n".join(self._lines()))

    def _lines(self) -> Iterator[str]:
        for number, (request, what) in enumerate(self.waiting, 1):
            yield from described(request, what, f"{number} of {len(self.waiting)}")
        for number, rows in self.finished.items():
            yield f"request {number} was begun by a process that was stopped: {counted(rows, 'rows')} taken down"
        for number, rows in self.accepted.items():
            yield f"request {number}: {counted(rows, 'rows')} taken down"
        for number, answer in self.refused.items():
            yield f"request {number}: refused, {one_line(answer)}"
        if self.forgotten is not None:
            yield f"{counted(self.forgotten, 'decided requests')} deleted, with the contact data in them"
        if self.purged is not None:
            yield from purge_lines(self.purged)
        elif any((*self.finished.values(), *self.accepted.values())):
            yield NOT_PURGED
        yield f"{counted(self.open, 'open requests')} for {self.uri}"


def takedown_from_requests(
    catalog: Catalog | str | Path,
    *,
    accept: Sequence[int] = (),
    refuse: Sequence[int] = (),
    reason: str | None = None,
    forget: int | None = None,
    requests: str | Path | None = None,
    purge: bool = False,
    exclusive: bool = False,
    dry_run: bool = False,
) -> RequestsReport:
    """Carry out the requests with the numbers `accept`, and refuse those with the numbers `refuse`.

    `reason`: why they are refused; the people who asked can read it. `forget`: delete requests that were decided so
    many days ago, or more, with the contact data in them. `requests`: the folder that `serve` was given; default:
    beside the catalog. `purge`, `exclusive`: as for `takedown`. What a killed call left is finished first. With
    `dry_run` nothing changes. Raises CatalogError.
    """
    if refuse and not (reason or "").strip():
        raise CatalogError('a refusal needs a reason, which the person can read; pass --reason "..."')
    if reason and not refuse:
        raise CatalogError("--reason says why requests are refused; pass --refuse with their numbers")
    if forget is not None and forget < 0:
        raise CatalogError(f"--forget {forget}: give days, 0 or more")
    desk = Desk.of(catalog, requests)
    chosen = desk.chosen([*accept, *refuse])
    if dry_run:
        return desk.report(effects=True)
    desk.finish()
    for number in accept:
        desk.accept(chosen[number])
    for number in refuse:
        desk.refuse(chosen[number], reason or "")
    desk.end(forget, purge, exclusive)
    return desk.report(effects=not chosen and forget is None)


class Desk:
    """The requests of one catalog, and what was done with them so far."""

    def __init__(self, catalog: Catalog, requests: Requests | None) -> None:
        self.catalog = catalog
        self.requests = requests
        self.finished: dict[int, int] = {}
        self.accepted: dict[int, int] = {}
        self.refused: dict[int, str] = {}
        self.forgotten: int | None = None
        self.purged: PurgeReport | None = None

    @classmethod
    def of(cls, catalog: Catalog | str | Path, folder: str | Path | None) -> Desk:
        """Raises CatalogError."""
        if not isinstance(catalog, Catalog):
            catalog = Catalog.open(catalog)
        return cls(catalog, kept_requests(catalog.uri, folder))

    def waiting(self) -> list[Stored]:
        """The open requests, oldest first."""
        return self.requests.with_states("open") if self.requests else []

    def chosen(self, numbers: Sequence[int]) -> dict[int, Stored]:
        """Open requests by number. Raises CatalogError for a number that is not open, or is there twice."""
        waiting = {request.number: request for request in self.waiting()}
        for number in numbers:
            if numbers.count(number) > 1:
                raise CatalogError(f"request {number} is given twice; give it once")
            if number not in waiting:
                listed = ", ".join(map(str, waiting)) or "none"
                raise CatalogError(f"request {number} of {self.catalog.uri} is not open; open are: {listed}")
        return {number: waiting[number] for number in numbers}

    def finish(self) -> None:
        """Carry out what a killed process had begun."""
        if self.requests is not None:
            self.finished |= deciding.finish(self.catalog, self.requests)

    def accept(self, request: Stored) -> None:
        assert self.requests is not None
        self.accepted[request.number] = deciding.accept(self.catalog, self.requests, request)

    def refuse(self, request: Stored, answer: str) -> None:
        assert self.requests is not None
        deciding.refuse(self.requests, request, answer.strip())
        self.refused[request.number] = answer.strip()

    def end(self, forget: int | None, purge: bool, exclusive: bool) -> None:
        """Purge once, for all requests; also for those of a call that was killed before its purge."""
        if forget is not None and self.requests is not None:
            self.forgotten = self.requests.forget(forget)
        if purge and _anything_taken_down(self.catalog):
            self.purged = takedown(self.catalog, purge=True, exclusive=exclusive).purged

    def report(self, effects: bool) -> RequestsReport:
        """`effects`: look what each open request would take down; this reads the whole table for each."""
        waiting = self.waiting()
        return RequestsReport(
            uri=self.catalog.uri,
            finished=self.finished,
            accepted=self.accepted,
            refused=self.refused,
            open=len(waiting),
            waiting=tuple((each, deciding.effect(self.catalog, each)) for each in waiting if effects),
            forgotten=self.forgotten,
            purged=self.purged,
        )


def decide_each(desk: Desk, ask: Callable[[str], str], show: Show) -> None:
    """Show each open request, and ask what to do with it. The end of the input is `quit`."""
    desk.finish()
    waiting = desk.waiting()
    for place, request in enumerate(waiting, 1):
        show(described(request, deciding.effect(desk.catalog, request), f"{place} of {len(waiting)}"))
        try:
            if not _decide(desk, request, ask, show):
                return
        except EOFError:
            return


def _decide(desk: Desk, request: Stored, ask: Callable[[str], str], show: Show) -> bool:
    """Ask until there is an answer; False: quit."""
    while True:
        answer = ask(QUESTION).strip().lower()[:1]
        try:
            if answer == "t":
                desk.accept(request)
                rows = desk.accepted[request.number]
                show([f"request {request.number}: {counted(rows, 'rows')} taken down"])
            elif answer == "r":
                why = ask(WHY).strip()
                if not why:
                    continue
                desk.refuse(request, why)
        except CatalogError as error:
            show([str(error)])
            continue
        if answer and answer in "trlq":
            return answer != "q"


def described(request: Stored, what: Effect, place: str) -> Iterator[str]:
    """A request for the terminal. Each line of the person's own words has a mark, so that none looks like ours."""
    scope = "this picture"
    if request.scope == "creator":
        scope = f"all pictures by {one_line(clean(request.creator) or request.creator_url)}"
    asked_at = request.asked_at[:16].replace("T", " ")
    yield f"request {request.number} of {asked_at} UTC: {scope} ({place})"
    title, creator = (clean(text) for text in (request.title, request.creator))
    credit = (
        f"{title or 'Untitled'} by {creator or NO_CREATOR}, {clean(request.license) or 'licence not stated'}"
    )
    yield f"  picture  {one_line(credit)}"
    yield f"  id       {one_line(request.image_id)}"
    for name, url in (("page", request.page_url), ("creator", request.creator_url)):
        if web_address(url):
            yield f"  {name:<8} {web_address(url)}"
    yield f"  contact  {one_line(request.contact) or 'none'}"
    yield "  reason" if request.reason.strip() else "  reason   none"
    for line in visible(request.reason.strip()).splitlines():
        yield f"    | {line}"
    yield from (f"  {line}" for line in what.lines)


def _anything_taken_down(catalog: Catalog) -> bool:
    stones = Tombstones(catalog.uri, catalog.storage_options)
    stones.refresh()
    return len(stones.table) > 0
