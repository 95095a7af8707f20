"""`commoncanvas catalog takedown`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated

from cyclopts import Parameter

from commoncanvas.cli.shared import Json, Uri, show
from commoncanvas.core.errors import CatalogError
from commoncanvas.core.text import visible

Numbers = Annotated[list[int] | None, Parameter(consume_multiple=True, negative="")]


def takedown(
    *,
    catalog: Uri,
    id: tuple[str, ...] = (),
    creator: str | None = None,
    url: tuple[str, ...] = (),
    list_: Annotated[str | None, Parameter(name="--list")] = None,
    file: tuple[str, ...] = (),
    near: bool = False,
    reason: str | None = None,
    purge: bool = False,
    exclusive: bool = False,
    dry_run: bool = False,
    from_requests: Annotated[bool, Parameter(negative="")] = False,
    accept: Numbers = None,
    refuse: Numbers = None,
    forget: int | None = None,
    requests: str | None = None,
    json_: Json = False,
) -> None:
    """Remove images from the catalog and keep them out. Lists the models whose tags contain them.

    Args:
        id: image id; repeat --id for more.
        creator: a creator's name, URL, or user id on the platform; also keeps their later images out.
        url: URL of a page or an image; repeat --url for more.
        list_: text file of ids or URLs, one per line.
        file: image file as it was published; repeat --file for more.
        near: also remove rows that look like FILE.
        reason: reason to store with the tombstone; with --refuse: what the person who asked can read.
        purge: also remove the images from every file, old version and tag, and check that no byte is left.
        exclusive: also delete files of killed processes; use it only if no other process uses the catalog.
        dry_run: only show what would be removed.
        from_requests: show the requests that people sent to `serve`, one by one, and ask what to do with each.
        accept: carry out the requests with these numbers, and ask nothing.
        refuse: refuse the requests with these numbers, and ask nothing.
        forget: delete requests that were decided so many days ago, or more, with the contact data in them.
        requests: folder of the requests, as for `serve`; default: beside the catalog.
    """
    if from_requests:
        if id or creator or url or list_ or file or near:
            raise CatalogError("--from-requests takes no --id, --creator, --url, --list, --file or --near")
        _from_requests(
            catalog, accept or [], refuse or [], reason, forget, requests, purge, exclusive, dry_run, json_
        )
        return
    if accept or refuse or forget is not None or requests is not None:
        raise CatalogError(
            "--accept, --refuse, --forget and --requests are for requests; add --from-requests"
        )
    from commoncanvas.catalog import takedown as run

    report = run(
        catalog,
        id=id,
        creator=creator,
        url=url,
        list_file=list_,
        file=file,
        near=near,
        reason=reason,
        purge=purge,
        exclusive=exclusive,
        dry_run=dry_run,
    )
    show(report, json_)


def _from_requests(
    catalog: str,
    accept: list[int],
    refuse: list[int],
    reason: str | None,
    forget: int | None,
    requests: str | None,
    purge: bool,
    exclusive: bool,
    dry_run: bool,
    json_: bool,
) -> None:
    from commoncanvas.catalog.takedown.from_requests import Desk, decide_each, takedown_from_requests

    if accept or refuse or reason or forget is not None or dry_run or json_:
        report = takedown_from_requests(
            catalog,
            accept=accept,
            refuse=refuse,
            reason=reason,
            forget=forget,
            requests=requests,
            purge=purge,
            exclusive=exclusive,
            dry_run=dry_run,
        )
        show(report, json_)
        return
    desk = Desk.of(catalog, requests)
    decide_each(desk, input, _print)
    desk.end(None, purge, exclusive)
    show(desk.report(effects=False), False)


def _print(lines: Iterable[str]) -> None:
    for line in lines:
        print(visible(line))
