"""Remove passwords, tokens and signatures from URLs before they are shown. A fetch needs them; readers don't. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from urllib.parse import unquote

# Names of query parameters, in lower case and without punctuation. _SIGNING never identifies a file. _AMBIGUOUS may
# (`photo.php?key=7`): it is kept when URLs are compared, but not shown.
_SIGNING = re.compile(
    "access(?:key|keyid|token)|api(?:key|token)|auth(?:key|token|orization)|awsaccesskeyid|bearer|clientsecret"
    "|(?:asp(?:net)?|j|php)sess(?:ion)?id|credentials?|expires|googleaccessid|hdn(?:ea|ts)|hmac|idtoken|jwt"
    "|keypairid|ossaccesskey(?:id)?|passphrase|passw(?:or)?d|privatekey|pwd|refreshtoken|resourcekey|rlkey"
    "|secret(?:key)?|(?:security|session)token|sharedkey|sig|sign|signature|signedheaders|subscriptionkey|token"
)
_AMBIGUOUS = re.compile("auth|hash|key|md5|pass|policy|pw|session(?:id)?|sid|ticket|user(?:name)?")
# Used by the stores of Amazon, Google, Alibaba, Huawei and Tencent: X-Amz-Signature, q-sign-time, ...
_SIGNING_FAMILY = re.compile(r"(?:x-)?(?:amz|goog|oss|obs|cos|tos)-|q-(?:sign|ak|key|header|url)")
# Azure's shared access signature: https://learn.microsoft.com/rest/api/storageservices/create-service-sas
_SAS = re.compile("s[vspetri]|srt|spr|sip|sig|sk(?:oid|tid|t|e|s|v)|s[au]oid|scid|ses")
# Files of Discord, Instagram and Facebook. One of these names alone may mean something else, so all must be present.
_TOGETHER = (
    (frozenset(("ex", "is", "hm")), re.compile("ex|is|hm")),
    (frozenset(("oh", "oe")), re.compile("oh|oe|_nc_(?:gid|ohc|sid)")),
)
_PATH_PARAMETER = re.compile(r";([\w.-]+)=[^/;?#]*")

# A URL in any text: it ends at a space, a double quote or an angle bracket. An apostrophe may be a part of it.
_ADDRESS = re.compile(
    r"(?P<front>\b[a-z][a-z0-9+.-]{0,30}://)(?P<host>[^\s/?#<>]*)(?P<path>[^\s?#\"<>]*)"
    r"(?P<query>\?[^\s#\"<>]*)?(?P<fragment>#[^\s\"<>]*)?",
    re.IGNORECASE,
)
_INNER_USER = re.compile(r"((?::|%3a)(?://|%2f%2f))[^\s/?#&@\"<>]*(?:@|%40)", re.IGNORECASE)
"""User and password of a URL inside the path, query or fragment of another URL."""


def signing(names: Iterable[str]) -> Callable[[str], bool]:
    """A test for the query parameters `names` of one URL: True for a name that only signs or unlocks the URL."""
    plain = {unquote(name).lower() for name in names}
    families = [family for known, family in _TOGETHER if known <= plain]
    if "sig" in plain and not plain.isdisjoint(("sv", "se")):
        families.append(_SAS)

    def signs(name: str) -> bool:
        lower = unquote(name).lower()
        known = _SIGNING.fullmatch(re.sub(r"[^a-z0-9]", "", lower)) or _SIGNING_FAMILY.match(lower)
        return bool(known or any(family.fullmatch(lower) for family in families))

    return signs


def without_session(path: str) -> str:
    """A URL's path without signing parameters: `/a;jsessionid=1/b` -> `/a/b`."""
    if ";" not in path:
        return path
    signs = signing(())
    return _PATH_PARAMETER.sub(lambda found: "" if signs(found[1]) else found[0], path)


def redacted(text: str) -> str:
    """`text` without the passwords, tokens and signatures in its URLs. Such URLs may no longer work."""
    return _ADDRESS.sub(_without_secrets, text) if "://" in text else text


def _without_secrets(address: re.Match[str]) -> str:
    front, host, path = address["front"], address["host"].rpartition("@")[2], without_session(address["path"])
    query, fragment = (_kept(address[part] or "") for part in ("query", "fragment"))
    if not host.startswith("[") and re.search(r":.*\D", host) and "@" in (rest := f"{path}{query}{fragment}"):
        # This is no port: it is a password that contains a slash, a question mark or a number sign.
        return front + rest.rpartition("@")[2]
    return f"{front}{host}" + _INNER_USER.sub(r"\1", f"{path}{query}{fragment}")


def _kept(query: str) -> str:
    """A query or fragment (with its `?` or `#`) without secret parameters; empty if none is left."""
    if "=" not in query:
        return query
    pairs = re.split("[&;]", query[1:])
    names = [pair.partition("=")[0] for pair in pairs]
    signs = signing(names)
    kept = [
        pair
        for pair, name in zip(pairs, names, strict=True)
        if not signs(name) and not _AMBIGUOUS.fullmatch(re.sub(r"[^a-z0-9]", "", unquote(name).lower()))
    ]
    return query if len(kept) == len(pairs) else query[:1] + "&".join(kept) if kept else ""
