"""Lines in the form of YFCC100M's dump."""

from __future__ import annotations

from urllib.parse import quote_plus

LICENSES = (
    ("Attribution License", "http://creativecommons.org/licenses/by/2.0/"),
    ("Attribution-NonCommercial-ShareAlike License", "http://creativecommons.org/licenses/by-nc-sa/2.0/"),
    ("Attribution-NoDerivs License", "http://creativecommons.org/licenses/by-nd/2.0/"),
    ("Attribution-ShareAlike License", "http://creativecommons.org/licenses/by-sa/2.0/"),
    ("Attribution-NonCommercial License", "http://creativecommons.org/licenses/by-nc/2.0/"),
    ("Attribution-NonCommercial-NoDerivs License", "http://creativecommons.org/licenses/by-nc-nd/2.0/"),
)


def fields(number: int, **changes: str) -> dict[str, str]:
    """The 25 columns of one made-up photo, encoded as the dump has them."""
    uid, photo = f"{number % 997:08}@N00", str(10_000_000 + number)
    name, url = LICENSES[number % len(LICENSES)]
    return {
        "line": str(number),
        "photoid": photo,
        "hash": f"{number:032x}",
        "uid": uid,
        "unickname": quote_plus(f"Zoë +{number % 997}"),
        "datetaken": "2010-05-23 16:29:58.0",
        "dateuploaded": "1274700598",
        "capturedevice": "Canon+EOS+40D",
        "title": quote_plus(f"Título nº {number}: 50% of it, a+b"),
        "description": quote_plus("A morning walk by the river; <b>fog</b>\nand more of it. " * (number % 4)),
        "usertags": "fog,river+bank,one%2Ctwo",
        "machinetags": "",
        "longitude": "13.4",
        "latitude": "52.5",
        "accuracy": "16",
        "pageurl": f"http://www.flickr.com/photos/{uid}/{photo}/",
        "downloadurl": f"http://farm1.staticflickr.com/2/{photo}_0123456789.jpg",
        "licensename": name,
        "licenseurl": url,
        "serverid": "2",
        "farmid": "1",
        "secret": "0123456789",
        "secretoriginal": "9876543210",
        "ext": "jpg",
        "marker": "0",
        **changes,
    }


def line(number: int, older: bool = False, **changes: str) -> str:
    cells = fields(number, **changes)
    if older:
        cells = {name: value for name, value in cells.items() if name not in ("line", "hash")}
    return "\t".join(cells.values()) + "\n"
