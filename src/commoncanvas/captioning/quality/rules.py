"""What is wrong with a caption, by its words alone. Pure.

A rule is a function of a caption; `min-words=3` is a rule with a number. Each is a line in RULES.
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
"""A phrase of up to so many words is looked for."""
REPEATED_TIMES = 3


def words(caption: str) -> list[str]:
    """The words of a caption, small, without punctuation."""
    return _WORD.findall(caption.lower())


def opening(caption: str) -> str | None:
    """The words by which it says that it is a picture ("a photo of"); None if it opens otherwise."""
    found = _OPENING.match(" ".join(words(caption)))
    return found[0] if found else None


def boilerplate(caption: str) -> bool:
    """Whether it opens by saying that it is a picture."""
    return opening(caption) is not None


def repeats(caption: str) -> bool:
    """Whether a phrase of at most REPEATED_WORDS words comes REPEATED_TIMES times in a row ("a dog a dog a dog")."""
    said = words(caption)
    for length in range(1, REPEATED_WORDS + 1):
        same = 0  # words in a row that are as the one `length` before
        for place in range(length, len(said)):
            same = same + 1 if said[place] == said[place - length] else 0
            if same == length * (REPEATED_TIMES - 1):
                return True
    return False


def leftovers(caption: str) -> bool:
    """Whether it holds markup, an address, or what could not be decoded."""
    return bool(_LEFTOVER.search(caption))


Bad = Callable[[str], bool]

RULES: dict[str, tuple[Callable[[int], Bad], str]] = {
    "empty": (lambda _: lambda caption: not words(caption), "no words"),
    "repeats": (lambda _: repeats, "a phrase three times in a row"),
    "refusal": (lambda _: refusal, "the model refuses, or speaks of itself"),
    "not-a-caption": (lambda _: not_a_caption, "JSON, code, a model's thoughts, words to the user"),
    "boilerplate": (lambda _: boilerplate, 'opens with "a picture of" and the like'),
    "leftovers": (lambda _: leftovers, "markup, an address, or what could not be decoded"),
    "min-words": (lambda least: lambda caption: len(words(caption)) < least, "fewer words than so many"),
    "max-words": (lambda most: lambda caption: len(words(caption)) > most, "more words than so many"),
}
"""Name -> the rule with its number, and what it takes, in words."""
NUMBERED = ("min-words", "max-words")


@dataclass(frozen=True)
class Rule:
    name: str
    text: str
    """As it was given, with its number."""
    bad: Bad

    @property
    def status(self) -> str:
        return status(self.name)


MIN_CLIP = "min-clip"
"""The rule that looks at the image too; see `dropping`."""


def status(name: str) -> str:
    """What a caption that the rule `name` took has for a status."""
    return f"dropped_{name.replace('-', '_')}"


STATUSES = tuple(map(status, (*RULES, MIN_CLIP)))


def parse_rules(names: Sequence[str]) -> list[Rule]:
    """Rules by name, `min-words=3` with their number. Raises CatalogError for others, and for one that comes twice."""
    rules = []
    for text in names:
        name, equals, number = text.partition("=")
        if name not in RULES:
            raise CatalogError(f"there is no rule {text!r}; there are: {known()}")
        if (name in NUMBERED) != bool(equals) or (equals and not number.isdecimal()):
            raise CatalogError(f"rule {text!r}: write {_shown(name)}")
        rules.append(Rule(name, text, RULES[name][0](int(number or 0))))
    for rule in rules:
        if [other.name for other in rules].count(rule.name) > 1:
            raise CatalogError(f"rule {rule.name} was given twice; give it once")
    return rules


def known() -> str:
    """All rules, as one writes them."""
    return ", ".join(map(_shown, RULES))


def _shown(name: str) -> str:
    return f"{name}=N" if name in NUMBERED else name
