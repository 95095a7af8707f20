"""Which one licence a work made from many may carry.

A model or a data set is treated as an adaptation of every work in it. Whether the law sees it so is open and
differs by country; this is the reading that wrongs nobody, and the one that Creative Commons describes for
those who want to keep to the licences in any case
(https://creativecommons.org/using-cc-licensed-works-for-ai-training-2/).

The rules are Creative Commons' own:

- the adapter's licence chart: https://creativecommons.org/faq/#if-i-derive-or-adapt-material-offered-under-a-creative-commons-license-which-cc-licenses-can-i-use
- what ShareAlike accepts instead of itself: https://creativecommons.org/compatiblelicenses
- the later-version clause, absent from 1.0: https://wiki.creativecommons.org/wiki/License_Versions
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from commoncanvas.core.errors import LicenseError
from commoncanvas.licenses.values import CC0, LICENSES, License

_LATEST = "4.0"
_NAMED = 6


@dataclass(frozen=True, slots=True)
class Combination:
    """What `licenses`, without repetition and ordered by id, make together."""

    licenses: tuple[License, ...]
    result: License | None
    """The licence that the whole should carry; None where no one licence can satisfy all."""
    conflicts: tuple[str, ...]
    """One sentence for each reason why not: which ids, why, and what to do. Empty when there is a result."""
    notes: tuple[str, ...]
    """What the caller's own decisions left out of account; to stand wherever the result is shown."""

    @property
    def attribution(self) -> bool:
        """Whether a licence in it demands credit, result or not."""
        return any(license.attribution for license in self.licenses)

    @property
    def message(self) -> str:
        """One line for people: the result, or every conflict."""
        if self.result is None:
            return "no one licence can cover all: " + "; ".join(self.conflicts)
        return "; ".join([f"the whole may be shared under {self.result.id}", *self.notes])

    def require(self) -> License:
        """The result. Raises LicenseError with every conflict where there is none."""
        if self.result is None:
            raise LicenseError(self.message)
        return self.result


def combine(licenses: Iterable[License], *, allow_no_derivatives: bool = False) -> Combination:
    """Whether a work adapted from works under all of `licenses` can carry one licence, and which.

    Attribution, NonCommercial and ShareAlike propagate; the public domain imposes nothing, and nothing at all
    makes CC0-1.0. Order and repetition don't matter, and combining the results of groups is never more
    permissive than combining all.

    - Without ShareAlike the adapter may choose any licence that keeps the conditions; the result is the
      version 4.0 with just those, as Creative Commons recommends.
    - ShareAlike of the six current licences since 2.0, ports included, accepts a later version with the same
      elements: the result is that licence's 4.0. Version 1.0 and the retired licences without BY accept
      themselves only. BY-SA and BY-NC-SA each demand themselves: no result. NC material can't go under BY-SA.
    - ShareAlike of no stated version might be 1.0: no result until the version is known.
    - NoDerivatives: no adaptation may be shared, so no result. With `allow_no_derivatives` the caller holds
      that nothing was adapted; its other conditions still propagate, and `notes` says so.
    """
    members = tuple(sorted(set(licenses), key=lambda license: license.id))
    conflicts: list[str] = []
    notes: list[str] = []

    closed = [license for license in members if not license.reusable]
    if closed:
        conflicts.append(f"{_names(closed)} gives no permission to build on; leave those works out")

    fixed = [license for license in members if license.reusable and not license.derivatives]
    if fixed and allow_no_derivatives:
        notes.append(f"{_names(fixed)} counted as if nothing was adapted, on the caller's word")
    elif fixed:
        conflicts.append(
            f"{_names(fixed)} forbids sharing adaptations (NoDerivatives); leave those works out, or keep "
            "what comes of them to yourself"
        )

    open_ = [license for license in members if license.reusable and not license.share_alike]
    share_alike = [license for license in members if license.reusable and license.share_alike]
    result, more = _share_alike(share_alike, open_) if share_alike else (_free_choice(open_), [])
    conflicts += more
    return Combination(members, None if conflicts else result, tuple(conflicts), tuple(notes))


def _free_choice(licenses: list[License]) -> License:
    if any(not license.commercial for license in licenses):
        return LICENSES[f"CC-BY-NC-{_LATEST}"]
    if all(license.public_domain for license in licenses):
        return CC0
    return LICENSES[f"CC-BY-{_LATEST}"]


def _share_alike(share_alike: list[License], others: list[License]) -> tuple[License | None, list[str]]:
    conflicts = []
    unstated = [license for license in share_alike if license.version is None]
    if unstated:
        conflicts.append(
            f"{_names(unstated)} states no version, and ShareAlike asks for the very licence; find the "
            "version at the source or leave those works out"
        )
    groups: dict[License, list[License]] = {}
    for license in share_alike:
        if license.version is not None:
            groups.setdefault(_accepted(license), []).append(license)
    ordered = sorted(groups.items(), key=lambda item: item[0].id)
    if len(ordered) > 1:
        demands = ", ".join(f"{_names(group)} only as {accepted}" for accepted, group in ordered)
        conflicts.append(f"ShareAlike lets {demands}; make one model of each group, or leave all but one out")
    for accepted, group in ordered:
        without_nc = [license for license in others if accepted.commercial and not license.commercial]
        without_by = [license for license in others if license.attribution and not accepted.attribution]
        for lost, clashing in (("NonCommercial", without_nc), ("Attribution", without_by)):
            if clashing:
                conflicts.append(
                    f"{_names(group)} must go on as {accepted}, which lacks the {lost} of "
                    f"{_names(clashing)}; leave one or the other out, or make two models"
                )
    return next(iter(groups), None), conflicts


def _accepted(license: License) -> License:
    """What a ShareAlike licence of a stated version lets an adaptation carry."""
    if license.version == "1.0" or not license.attribution:
        return license
    return LICENSES[f"CC-BY-{'' if license.commercial else 'NC-'}SA-{_LATEST}"]


def _names(licenses: list[License]) -> str:
    """`A, B and C`; past six, the first and how many more, since a catalog can hold hundreds of ports."""
    ids = sorted(license.id for license in licenses)
    if len(ids) > _NAMED:
        ids = [*ids[: _NAMED - 1], f"{len(ids) - _NAMED + 1} more"]
    return ids[0] if len(ids) == 1 else f"{', '.join(ids[:-1])} and {ids[-1]}"
