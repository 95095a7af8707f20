"""Ordinary spellings of addresses and names, for hypothesis to draw."""

from __future__ import annotations

import unicodedata
from urllib.parse import quote

from hypothesis import strategies as st

BLANKS = (" ", "  ", "\u00a0", "\u2009", "\u3000", "\t", " \u200b")
FORMAT = ("", "\u200b", "\u200e", "\u200f", "\u2060", "\ufeff", "\u00ad", "\u202a")
APOSTROPHES = ("'", "\u2019", "\u2018", "\u02bc", "\u2032", "\u00b4", "\u0060", "\uff07")
DASHES = ("-", "\u2010", "\u2011", "\u2013", "\u2212")


@st.composite
def names(draw: st.DrawFn, name: str) -> str:
    """A spelling of `name` that people read as the same name."""
    marks = {" ": BLANKS, "'": APOSTROPHES, "-": DASHES}
    text = "".join(
        draw(st.sampled_from(marks.get(mark, (mark,)))) + draw(st.sampled_from(FORMAT)) for mark in name
    )
    text = draw(st.sampled_from((str, str.upper, str.title, str.casefold)))(text)
    text = unicodedata.normalize(draw(st.sampled_from(("NFC", "NFD", "NFKC", "NFKD"))), text)
    return draw(st.sampled_from(("", " ", "\u200f"))) + text + draw(st.sampled_from(("", " ", "\u200e")))


@st.composite
def encoded(draw: st.DrawFn, text: str) -> str:
    """`text` with some of its characters percent-encoded, hexadecimal digits in either case."""
    made = ""
    for mark in text:
        kept = mark.isascii() and mark not in " %?#"
        if mark == "/" or (kept and draw(st.integers(0, 4))):
            made += mark
        else:
            code = "".join(f"%{byte:02x}" for byte in mark.encode())
            made += draw(st.sampled_from((code, code.upper()))) if kept else quote(mark)
    return made


@st.composite
def addresses(draw: st.DrawFn, host: str, paths: tuple[str, ...]) -> str:
    """A spelling of the address of `paths`, which are aliases, on `host`."""
    scheme, port = draw(
        st.sampled_from((("http", ""), ("https", ""), ("HTTPS", ":443"), ("http", ":80"), ("http", ":")))
    )
    front = draw(st.sampled_from(("", "www.", "m.", "WWW.")))
    name = draw(st.sampled_from((host, host.upper(), host.title(), f"{host}.")))
    path = draw(encoded(draw(st.sampled_from(paths))))
    dots = draw(st.sampled_from(("", "/.", "/x/..", "/")))
    end = draw(st.sampled_from(("", "/", "//", "/.")))
    query = draw(st.sampled_from(("", "?", "?utm=1", "?utm_source=a&utm_medium=b", "?fbclid=x")))
    fragment = draw(st.sampled_from(("", "#", "#about", "#top")))
    return f"{scheme}://{front}{name}{port}{dots}{path}{end}{query}{fragment}"
