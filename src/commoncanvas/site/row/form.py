"""The form of a request to take pictures out: what people wrote, and what is wrong with it. Pure."""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, cast

from commoncanvas.catalog.takedown.requests import Asked, Scope
from commoncanvas.core.text import counted

MOST_REASON, MOST_CONTACT = 2000, 300
"""Characters."""
_CODE = re.compile(r"[\w-]{22,64}", re.ASCII)


def new_code() -> str:
    """What a person reads their request by later: 128 random bits. A form has its code from the beginning."""
    return secrets.token_urlsafe(16)


@dataclass(frozen=True)
class Form:
    """What a form holds. `problems`: field -> a sentence for the person."""

    scope: str = "image"
    reason: str = ""
    contact: str = ""
    good_faith: bool = False
    code: str = field(default_factory=new_code)
    problems: Mapping[str, str] = field(default_factory=dict)

    def asked(self, row: Mapping[str, Any]) -> Asked:
        """The request, with what the row says. Only for a form without problems."""
        about = {name: row[name] for name in ("title", "creator", "creator_url", "license", "page_url")}
        return Asked(
            image_id=row["image_id"],
            scope=cast(Scope, self.scope),
            reason=self.reason,
            contact=self.contact,
            **about,
        )


def filled(fields: Mapping[str, str], has_creator: bool) -> Form:
    """A form as it was sent."""
    given = {
        name: fields.get(name, "").replace("\r\n", "\n").strip() for name in ("scope", "reason", "contact")
    }
    code, good_faith = fields.get("code", ""), fields.get("good_faith") == "yes"
    problems = {
        name: f"Please use at most {counted(most, 'characters')}; this has {len(given[name]):,}."
        for name, most in (("reason", MOST_REASON), ("contact", MOST_CONTACT))
        if len(given[name]) > most
    }
    if given["scope"] not in ("image", "creator") or (given["scope"] == "creator" and not has_creator):
        problems["scope"] = "Please choose what to take out."
    if not good_faith:
        problems["good_faith"] = "Please confirm this sentence; without it nobody can act on the request."
    return Form(
        **given,
        good_faith=good_faith,
        code=code if _CODE.fullmatch(code) else new_code(),
        problems=problems,
    )
