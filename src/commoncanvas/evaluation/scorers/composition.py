"""GenEval's checks (Ghosh et al., arXiv 2310.11513, section 3) of the objects that a detector found. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

FAR = 0.1
"""Boxes whose centres are nearer than this share of their sizes, by axis, have no position to each other."""

Box = tuple[float, float, float, float]
"""Left, top, right, bottom, in pixels."""


class Found(NamedTuple):
    """One object that was found."""

    box: Box
    score: float


Colours = Callable[[str, Sequence[Found]], list[str]]
"""The colours of objects of one class."""


def relations(a: Box, b: Box) -> set[str]:
    """Where `a` is, seen from `b`: left of, right of, above, below.

    The distance of the centres counts only as far as it is more than FAR of the boxes' sizes. A direction holds if it
    has more than half of the whole distance.
    """
    boxes = np.array([a, b], dtype=np.float64).reshape(2, 2, 2)
    centres, sizes = boxes.mean(1), np.abs(boxes[:, 1] - boxes[:, 0])
    offset = centres[0] - centres[1]
    beyond = np.maximum(np.abs(offset) - FAR * sizes.sum(0), 0) * np.sign(offset)
    if (np.abs(beyond) < 1e-3).all():
        return set()
    x, y = beyond / np.linalg.norm(offset)
    named = {"left of": x < -0.5, "right of": x > 0.5, "above": y < -0.5, "below": y > 0.5}
    return {name for name, holds in named.items() if holds}


def check(
    record: Mapping[str, Any], found: Mapping[str, Sequence[Found]], colours: Colours
) -> list[tuple[str, bool, str]]:
    """(kind of the check, whether it holds, what was found instead) for each check of a GenEval record.

    `found`: objects by class, the surest first. All must hold. Of a class, only the `count` surest objects are looked
    at for colour and position.
    """
    checks: list[tuple[str, bool, str]] = []
    groups: list[Sequence[Found] | None] = []
    for each in record.get("include", ()):
        own = _included(each, found, colours, groups)
        checks += own
        whole = all(holds for _, holds, _ in own)
        groups.append(found.get(each["class"], ())[: each["count"]] if whole else None)
    for each in record.get("exclude", ()):
        seen = len(found.get(each["class"], ()))
        said = "" if seen < each["count"] else f"{seen} {each['class']}, fewer than {each['count']} wanted"
        checks.append(("count", not said, said))
    return checks


def _included(
    wanted: Mapping[str, Any],
    found: Mapping[str, Sequence[Found]],
    colours: Colours,
    groups: Sequence[Sequence[Found] | None],
) -> list[tuple[str, bool, str]]:
    """The checks of one object that must be there. `groups`: the objects of those before it, None if a check failed."""
    name, count = wanted["class"], wanted["count"]
    objects = found.get(name, ())[:count]
    kind = "object" if count == 1 else "count"
    if len(objects) < count:
        return [(kind, False, f"{len(objects)} {name}, at least {count} wanted")]
    checks = [(kind, True, "")]
    if "color" in wanted:
        seen = colours(name, objects)
        good = seen.count(wanted["color"]) >= count
        checks.append(
            ("colour", good, "" if good else f"{name}: {', '.join(seen)}, {wanted['color']} wanted")
        )
    if "position" in wanted and all(holds for _, holds, _ in checks):
        relation, target = wanted["position"]
        others = groups[target]
        good = others is not None and all(
            relation in relations(one.box, other.box) for one in objects for other in others
        )
        checks.append(("position", good, "" if good else f"{name} is not {relation} object {target + 1}"))
    return checks
