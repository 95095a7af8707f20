"""Find the rows with given addresses or creators, in any spelling.

Tables have millions of rows. So Python checks each person only once, and only addresses that can match.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from enum import Enum
from typing import TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from commoncanvas.creators.names import near_marks, normal_name
from commoncanvas.creators.urls import normal_url, user_id

Strings: TypeAlias = pa.Array | pa.ChunkedArray
_BETWEEN = "\x00"
_REMEMBERED = 1 << 20
"""Most non-matching people that are remembered (0.1 GB)."""

# Spellings that only `normal_url` can normalise.
_ODD = "|".join(
    (
        r"[^!-$&-~]",  # percent-encoding, other scripts, blanks
        r"/\.\.?(?:[/?#]|$)|^[^/]*//[^/?#]*/*(?:[?#].*)?$|#[!/]",  # dot segments, no path, pages of a script
        r"\.php|/thumb/|/wiki/[^/]*:[^/]*/",
        r"/;",  # a session id instead of the last part of a path
    )
)
# Platforms with several forms of address for the same page, and the forms that most rows have.
_PLATFORMS = r"^[^?#]*(?:flickr\.com|flic\.kr|inaturalist|naturalista\.|biodiversity4all|argentinat)"
_PLAIN = "|".join(
    (
        r"flickr\.com(?::\d+)?/photos/[^/?#]+/\d+/?$",
        r"flickr\.com/(?:\d+/)*\d+_\w+\.\w+$",
        r"/photos/\d+/(?:original|large|medium|small|square|thumb)\.[a-z]+$",
        r"inaturalist\.org/observations/\d+$",
    )
)
_END = r"(?:/(?:original|large|medium|small|square|thumb)\.[a-z]+)?/*(?:[?#].*)?$"
_REST = r"^(?:[a-z_]+:_*)+|[^a-z0-9].*$"


class Addresses:
    """A set of addresses of pages or images that matches any spelling (see urls.py)."""

    def __init__(self, urls: Iterable[str]) -> None:
        self._forms = frozenset(normal_url(url) for url in urls)
        self._tails = pc.unique(tails(pa.array(sorted(self._forms), pa.string())))

    def __contains__(self, url: str) -> bool:
        return normal_url(url) in self._forms

    def mask(self, urls: Strings) -> NDArray[np.bool_]:
        """[N] True if an address is in the set; False for null."""
        if not self._forms:
            return np.zeros(len(urls), np.bool_)
        possible = _numpy(pc.is_in(tails(urls), value_set=self._tails, skip_nulls=True)) | odd(urls)
        if not possible.any():
            return np.zeros(len(urls), np.bool_)
        possible[possible] = [url in self for url in urls.filter(pa.array(possible)).to_pylist()]
        return possible


def odd(urls: Strings) -> NDArray[np.bool_]:
    """[N] True for spellings that only `normal_url` can normalise."""
    one_of_many = pc.and_not(
        pc.match_substring_regex(urls, _PLATFORMS, ignore_case=True),
        pc.match_substring_regex(urls, _PLAIN, ignore_case=True),
    )
    return _numpy(pc.fill_null(pc.or_(one_of_many, pc.match_substring_regex(urls, _ODD)), False))


def tails(urls: Strings) -> Strings:
    """A part of each address that is the same in all its spellings, except in `odd` ones.

    It is the first letters and digits of the path's last part, in lower case.
    """
    path = pc.replace_substring_regex(pc.ascii_lower(urls), _END, "")
    return pc.replace_substring_regex(pc.replace_substring_regex(path, r"^.*/", ""), _REST, "")


class Who(Enum):
    SAME = "same"
    NEAR = "near"
    OTHER = "other"


class People:
    """Some creators, identified by address or user id; if a row has no address, by name.

    `ids`: user ids at the end of addresses. `names`: `name_hash` of names. `near`: `near_marks` of names; a row with
    the same or a similar name may belong to the person.
    """

    def __init__(
        self, urls: Iterable[str], ids: Iterable[str], names: frozenset[str], near: frozenset[int]
    ) -> None:
        self._urls = frozenset(normal_url(url) for url in urls)
        # An id with one of these characters would be split like an address, and a part may be another person's id.
        self._ids = frozenset(user_id(f"//x/{id}") for id in ids if not set("/?#") & set(id))
        self._names = names
        self._near = near
        self._others: set[int] = set()

    def __bool__(self) -> bool:
        return bool(self._urls or self._ids or self._names or self._near)

    def who(self, name: str | None, url: str | None) -> Who:
        """Whether a creator with this name and address is one of these people (SAME), or may be (NEAR)."""
        if url:
            if normal_url(url) in self._urls or (self._ids and user_id(url) in self._ids):
                return Who.SAME
        elif name and self._has_name(name):
            return Who.SAME
        if name and (
            self._has_name(name) or not self._near.isdisjoint(near_marks(name) if self._near else ())
        ):
            return Who.NEAR
        return Who.OTHER

    def masks(self, rows: pa.Table) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """[N] True for rows of these people, and [N] for rows that may be theirs. Rows may lack the columns."""
        if not self or not len(rows):
            return np.zeros(len(rows), np.bool_), np.zeros(len(rows), np.bool_)
        columns = [
            rows[name] if name in rows.column_names else pa.nulls(len(rows), pa.string())
            for name in ("creator", "creator_url")
        ]
        both = pc.binary_join_element_wise(*columns, _BETWEEN, null_handling="replace")
        found: dict[Who, list[str]] = {Who.SAME: [], Who.NEAR: []}
        for pair in pc.unique(both).to_pylist():
            key = hash(pair)
            if key in self._others:
                continue
            name, _, url = pair.rpartition(_BETWEEN)
            who = self.who(name, url)
            if who is not Who.OTHER:
                found[who].append(pair)
            elif len(self._others) < _REMEMBERED:
                self._others.add(key)
        same, near = (
            _numpy(pc.is_in(both, value_set=pa.array(pairs, both.type))) for pairs in found.values()
        )
        return same, near

    def _has_name(self, name: str) -> bool:
        return bool(self._names) and name_hash(name) in self._names


def called(names: Strings, name: str) -> NDArray[np.bool_]:
    """[N] True if an entry of `names` is a spelling of `name`."""
    wanted = normal_name(name)
    known = [each for each in pc.unique(names).to_pylist() if each and normal_name(each) == wanted]
    return _numpy(pc.is_in(names, value_set=pa.array(known, names.type), skip_nulls=True))


def person(name: str | None, url: str | None) -> str:
    """A key that is equal for all spellings of a creator's name and address."""
    return f"{normal_name(name or '')}{_BETWEEN}{normal_url(url) if url else ''}"


def name_hash(name: str) -> str:
    """Hash of a name's normal form."""
    return hashlib.sha256(f"creator:{normal_name(name)}".encode()).hexdigest()


def _numpy(mask: Strings) -> NDArray[np.bool_]:
    found: NDArray[np.bool_] = np.array(mask.to_numpy(zero_copy_only=False), np.bool_)
    return found
