"""Rules that find bad captions by their words. Pure.

A rule is a function of a caption. Some rules have a number, such as `min-words=3`. Each rule is a line in RULES.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from commoncanvas.captioning.answers import not_a_caption, refusal
from commoncanvas.core.errors import CatalogError

_WORD = re.compile(r"\w+(?:['’-]\w+)*")
_OPENING = re.compile(
    r"(?:this is |here is |there is |it is |it's )?(?:an? |the |this |one )?"
    r"(?:close[- ]?up |black and white |colou?r |digital |old )*"
    r"(?:image|picture|photo|photograph|pic|drawing|illustration|view|shot|close[- ]?up)"
    r"(?: (?:of|showing|shows|depicting|depicts|features|featuring|with|that shows)\b|$)"
)
_LEFTOVER = re.compile(r"<[a-z/!|][^>]*>|https?://|www\.|\[/?[a-z]+\]|\ufffd|```", re.IGNORECASE)
REPEATED_WORDS = 4
"""Longest repeated phrase to search for, in words."""
REPEATED_TIMES = 3


def words(caption: str) -> list[str]:
    """The words of a caption, in lower case, without punctuation."""
    return _WORD.findall(caption.lower())


def opening(caption: str) -> str | None:
    """The first words, if they say that this is a picture, such as "a photo of"; else None."""
    found = _OPENING.match(" ".join(words(caption)))
    return found[0] if found else None


def boilerplate(caption: str) -> bool:
    """Whether the caption begins by saying that this is a picture."""
    return opening(caption) is not None


def repeats(caption: str) -> bool:
    """Whether a phrase of up to REPEATED_WORDS words occurs REPEATED_TIMES times in a row ("a dog a dog a dog")."""
    found = words(caption)
    for length in range(1, REPEATED_WORDS + 1):
        same = 0  # consecutive words equal to the word `length` places before
        for place in range(length, len(found)):
            same = same + 1 if found[place] == found[place - length] else 0
            if same == length * (REPEATED_TIMES - 1):
                return True
    return False


def leftovers(caption: str) -> bool:
    """Whether the caption contains markup, a URL, or undecodable characters."""
    return bool(_LEFTOVER.search(caption))


Bad = Callable[[str], bool]

RULES: dict[str, tuple[Callable[[int], Bad], str]] = {
    "empty": (lambda _: lambda caption: not words(caption), "no words"),
    "repeats": (lambda _: repeats, "a phrase three times in a row"),
    "refusal": (lambda _: refusal, "the model refuses, or speaks about itself"),
    "not-a-caption": (lambda _: not_a_caption, "JSON, code, a model's thoughts, words to the user"),
    "boilerplate": (lambda _: boilerplate, 'begins with "a picture of" or similar words'),
    "leftovers": (lambda _: leftovers, "markup, a URL, or undecodable characters"),
    "min-words": (lambda least: lambda caption: len(words(caption)) < least, "fewer than N words"),
    "max-words": (lambda most: lambda caption: len(words(caption)) > most, "more than N words"),
}
"""Name -> a function that makes the rule from its number, and a description of the captions that it drops."""
NUMBERED = ("min-words", "max-words")


@dataclass(frozen=True)
class Rule:
    name: str
    text: str
    """As the user wrote it, with its number."""
    bad: Bad

    @property
    def status(self) -> str:
        return status(self.name)


MIN_CLIP = "min-clip"
"""The rule that also uses the image; see `drop`."""


def status(name: str) -> str:
    """The status of a caption that the rule `name` dropped."""
    return f"dropped_{name.replace('-', '_')}"


STATUSES = tuple(map(status, (*RULES, MIN_CLIP)))


def parse_rules(names: Sequence[str]) -> list[Rule]:
    """Rules by name, with their number as in `min-words=3`. Raises CatalogError for unknown and repeated rules."""
    rules = []
    for text in names:
        name, equals, number = text.partition("=")
        if name not in RULES:
            raise CatalogError(f"there is no rule {text!r}; the rules are: {known()}")
        if (name in NUMBERED) != bool(equals) or (equals and not number.isdecimal()):
            raise CatalogError(f"rule {text!r}: write {_shown(name)}")
        rules.append(Rule(name, text, RULES[name][0](int(number or 0))))
    for rule in rules:
        if [other.name for other in rules].count(rule.name) > 1:
            raise CatalogError(f"rule {rule.name} was given twice; give it once")
    return rules


def known() -> str:
    """All rules, as users write them."""
    return ", ".join(map(_shown, RULES))


def _shown(name: str) -> str:
    return f"{name}=N" if name in NUMBERED else name
