"""Find the one licence for a work made from many works.

A model or a data set is treated as an adaptation of every work in it. Whether the law agrees is not settled and differs
by country. This is the safe reading, which Creative Commons describes for people who want to follow the licences in any
case (https://creativecommons.org/using-cc-licensed-works-for-ai-training-2/).

The rules come from Creative Commons:

- the adapter's licence chart: https://creativecommons.org/faq/#if-i-derive-or-adapt-material-offered-under-a-creative-commons-license-which-cc-licenses-can-i-use
- licences that ShareAlike accepts instead of itself: https://creativecommons.org/compatiblelicenses
- the later-version clause, which 1.0 lacks: https://wiki.creativecommons.org/wiki/License_Versions
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
    """The combination of `licenses`, which are unique and sorted by id."""

    licenses: tuple[License, ...]
    result: License | None
    """The licence for the whole work; None if no single licence satisfies all."""
    conflicts: tuple[str, ...]
    """One sentence per conflict: which ids, why, and what to do. Empty if there is a result."""
    notes: tuple[str, ...]
    """Assumptions by the caller. Show them together with the result."""

    @property
    def attribution(self) -> bool:
        """Whether any of the licences demands credit, even without a result."""
        return any(license.attribution for license in self.licenses)

    @property
    def message(self) -> str:
        """One line for people: the result, or every conflict."""
        if self.result is None:
            return "no single licence can cover all works: " + "; ".join(self.conflicts)
        return "; ".join([f"the whole may be shared under {self.result.id}", *self.notes])

    def require(self) -> License:
        """The result. If there is none, raises LicenseError with all conflicts."""
        if self.result is None:
            raise LicenseError(self.message)
        return self.result


def combine(licenses: Iterable[License], *, allow_no_derivatives: bool = False) -> Combination:
    """Find the licence for a work adapted from works under all of `licenses`, if there is one.

    Attribution, NonCommercial and ShareAlike propagate. The public domain adds no condition; without any licence the
    result is CC0-1.0. Order and repetition don't matter. Combining the results of groups is never more permissive than
    combining all at once.

    - Without ShareAlike any licence that keeps the conditions is possible; the result is the version 4.0 with just
      these conditions, as Creative Commons recommends.
    - With ShareAlike, the current licences since 2.0 (and their ports) accept a later version with the same elements:
      the result is version 4.0. Version 1.0 and the retired licences without BY accept only themselves. BY-SA and
      BY-NC-SA together have no result, since each demands itself. NC works can't be shared under BY-SA.
    - ShareAlike without a stated version could be 1.0: there is no result until the version is known.
    - NoDerivatives: adaptations may not be shared, so there is no result. With `allow_no_derivatives` the caller
      assumes that nothing was adapted; the other conditions still propagate, and `notes` says so.
    """
    members = tuple(sorted(set(licenses), key=lambda license: license.id))
    conflicts: list[str] = []
    notes: list[str] = []

    closed = [license for license in members if not license.reusable]
    if closed:
        conflicts.append(f"{_names(closed)} gives no permission to reuse those works; leave them out")

    fixed = [license for license in members if license.reusable and not license.derivatives]
    if fixed and allow_no_derivatives:
        notes.append(f"for {_names(fixed)}, the caller assumes that nothing was adapted")
    elif fixed:
        conflicts.append(
            f"{_names(fixed)} forbids sharing adaptations (NoDerivatives); leave those works out, or don't "
            "share the result"
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
            f"{_names(unstated)} states no version, but ShareAlike demands the same licence; find the "
            "version at the source or leave those works out"
        )
    groups: dict[License, list[License]] = {}
    for license in share_alike:
        if license.version is not None:
            groups.setdefault(_accepted(license), []).append(license)
    ordered = sorted(groups.items(), key=lambda item: item[0].id)
    if len(ordered) > 1:
        demands = ", ".join(f"{_names(group)} only under {accepted}" for accepted, group in ordered)
        conflicts.append(
            f"ShareAlike permits sharing {demands}; make one model per group, or leave out all groups but one"
        )
    for accepted, group in ordered:
        without_nc = [license for license in others if accepted.commercial and not license.commercial]
        without_by = [license for license in others if license.attribution and not accepted.attribution]
        for lost, clashing in (("NonCommercial", without_nc), ("Attribution", without_by)):
            if clashing:
                conflicts.append(
                    f"{_names(group)} must be shared under {accepted}, which lacks the {lost} condition of "
                    f"{_names(clashing)}; leave one of them out, or make two models"
                )
    return next(iter(groups), None), conflicts


def _accepted(license: License) -> License:
    """The licence that a ShareAlike licence with a stated version accepts for an adaptation."""
    if license.version == "1.0" or not license.attribution:
        return license
    return LICENSES[f"CC-BY-{'' if license.commercial else 'NC-'}SA-{_LATEST}"]


def _names(licenses: list[License]) -> str:
    """`A, B and C`; of more than six, the first ones and the number of others."""
    ids = sorted(license.id for license in licenses)
    if len(ids) > _NAMED:
        ids = [*ids[: _NAMED - 1], f"{len(ids) - _NAMED + 1} more"]
    return ids[0] if len(ids) == 1 else f"{', '.join(ids[:-1])} and {ids[-1]}"
