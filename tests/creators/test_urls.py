"""One normal form for addresses: all spellings of one are equal, and those of different people are not."""

from __future__ import annotations

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from commoncanvas.creators.matching import Addresses, odd, tails
from commoncanvas.creators.urls import normal_url, user_id
from tests.creators.spellings import addresses

NSID = "61685594@N00"
FLICKR = tuple(f"/{view}" for view in (f"people/{NSID}", f"photos/{NSID}", NSID, f"photos/{NSID}/albums"))
WIKI = (
    "/wiki/User:Jane_Doe",
    "/wiki/user:jane Doe",
    "/wiki/User_talk:Jane_Doe",
    "/wiki/User:Jane_Doe/Photos",
)
PERSON = "https://www.flickr.com/people/61685594@N00/"


@settings(max_examples=200, derandomize=True)
@given(addresses("flickr.com", FLICKR))
def test_every_spelling_of_a_person_on_flickr_is_that_person(url: str) -> None:
    assert normal_url(url) == normal_url(PERSON)
    assert user_id(url) == NSID.casefold()


@settings(max_examples=200, derandomize=True)
@given(addresses("commons.wikimedia.org", WIKI))
def test_every_spelling_of_an_account_on_wikimedia_is_that_person(url: str) -> None:
    assert normal_url(url) == normal_url("https://commons.wikimedia.org/wiki/User:Jane_Doe")


@settings(max_examples=200, derandomize=True)
@given(addresses("museum.example", ("/people/José O'Neil",)))
def test_every_spelling_of_an_address_elsewhere_is_one(url: str) -> None:
    assert normal_url(url) == normal_url("https://museum.example/people/Jos%C3%A9%20O%27Neil")


ALIASES = [
    ("https://www.flickr.com/people/jdoe/", "https://flickr.com/photos/JDoe"),
    ("https://www.flickr.com/photos/jdoe/208/", "https://www.flickr.com/photos/9@N00/208/in/photostream/"),
    ("https://www.flickr.com/photos/jdoe/208/", "https://farm1.staticflickr.com/2/208_ab12_b.jpg"),
    ("https://live.staticflickr.com/2/208_ab12_o.jpg", "http://farm3.static.flickr.com/2/208_ab12.jpg"),
    ("https://www.flickr.com/photos/jdoe/208/", "https://flic.kr/p/4A"),
    ("https://www.flickr.com/photos/jdoe/208/", "https://www.flickr.com/photo.gne?id=208"),
    ("https://commons.wikimedia.org/wiki/User:Jane", "https://commons.m.wikimedia.org/wiki/User:Jane"),
    ("https://commons.wikimedia.org/wiki/User:Jane", "https://de.wikipedia.org/wiki/Benutzerin:Jane"),
    (
        "https://commons.wikimedia.org/wiki/User:Jane",
        "//commons.wikimedia.org/wiki/Special:Contributions/Jane",
    ),
    (
        "https://commons.wikimedia.org/wiki/User:Jane_Doe",
        "https://commons.wikimedia.org/w/index.php?title=User:Jane+Doe&action=edit&redlink=1",
    ),
    (
        "https://commons.wikimedia.org/wiki/File:A_b.jpg",
        "https://upload.wikimedia.org/wikipedia/commons/thumb/a/ab/A_b.jpg/800px-A_b.jpg",
    ),
    (
        "https://upload.wikimedia.org/wikipedia/commons/a/ab/A_b.jpg",
        "https://commons.wikimedia.org/wiki/Special:FilePath/A%20b.jpg?width=300",
    ),
    ("https://www.inaturalist.org/people/jdoe", "https://inaturalist.ca/people/JDoe"),
    ("https://www.inaturalist.org/people/jdoe", "https://mexico.inaturalist.org/observations?user_id=jdoe"),
    ("https://www.inaturalist.org/people/jdoe", "https://www.naturalista.mx/observations/jdoe"),
    (
        "https://www.inaturalist.org/photos/77",
        "https://inaturalist-open-data.s3.amazonaws.com/photos/77/original.jpeg",
    ),
    ("https://static.inaturalist.org/photos/77/large.jpg", "https://www.inaturalist.org/photos/77"),
    ("https://u:pw@a.example/x.jpg", "https://a.example/x.jpg?X-Amz-Signature=ab&X-Amz-Date=20261129"),
    ("https://a.example/x.jpg?sv=2024&sig=ab%3D&se=2027", "https://a.example/x.jpg"),
    ("https://münchen.example/x", "https://xn--mnchen-3ya.example/x"),
    ("https://a.example/x?a=1&b=2", "https://a.example/x?b=2&a=1"),
    ("https://a.example/%7Ejane", "https://a.example/~jane"),
    ("https://a.example/jane;jsessionid=1A", "https://a.example/jane"),
    ("https://a.example/jane/;jsessionid=1A", "https://a.example/jane"),
    ("https://www.flickr.com/photos/12345/albums", "https://www.flickr.com/photos/12345"),
    ("https://www.flickr.com/foo/albums", "https://www.flickr.com/photos/foo/"),
    ("https://www.inaturalist.org/calendar/jdoe/2020/5", "https://www.inaturalist.org/people/jdoe"),
]


@pytest.mark.parametrize(("one", "other"), ALIASES)
def test_aliases_of_one_place_are_equal(one: str, other: str) -> None:
    assert normal_url(one) == normal_url(other)


DIFFERENT = [
    ("https://www.flickr.com/people/61685594@N00", "https://www.flickr.com/people/61685595@N00"),
    ("https://www.flickr.com/people/61685594@N00", "https://www.flickr.com/people/61685594@N01"),
    ("https://www.flickr.com/people/jdoe", "https://www.flickr.com/people/jdoe2"),
    ("https://www.flickr.com/people/jdoe", "https://www.inaturalist.org/people/jdoe"),
    ("https://www.flickr.com/photos/jdoe", "https://www.flickr.com/photos/jdoe/208"),
    ("https://www.flickr.com/photos/jdoe/208", "https://www.flickr.com/photos/jdoe/209"),
    ("https://www.flickr.com/photos/jdoe/albums/7", "https://www.flickr.com/photos/jdoe/albums/8"),
    ("https://www.flickr.com/explore", "https://www.flickr.com/groups"),
    ("https://commons.wikimedia.org/wiki/User:Jane", "https://commons.wikimedia.org/wiki/User:JAne"),
    ("https://commons.wikimedia.org/wiki/User:Jane", "https://commons.wikimedia.org/wiki/File:Jane"),
    ("https://en.wikipedia.org/wiki/File:A.jpg", "https://commons.wikimedia.org/wiki/File:A.jpg"),
    ("https://www.inaturalist.org/people/jdoe", "https://www.inaturalist.org/people/jdoes"),
    ("https://www.inaturalist.org/observations/77", "https://www.inaturalist.org/photos/77"),
    ("https://a.example/x?id=1", "https://a.example/x?id=2"),
    ("https://a.example/x?key=1", "https://a.example/x?key=2"),
    ("https://a.example/a%2Fb", "https://a.example/a/b"),
    ("https://a.example/a%3Fb", "https://a.example/a?b"),
    ("https://a.example/a%2541", "https://a.example/a%41"),
    ("https://a.example/Jane", "https://a.example/jane"),
    ("https://a.example:8080/x", "https://a.example/x"),
    ("https://a.example/#!/jane", "https://a.example/#!/june"),
    ("https://jane.a.example/", "https://a.example/"),
    ("file:///x/a.jpg", "https://x/a.jpg"),
]


@pytest.mark.parametrize(("one", "other"), DIFFERENT)
def test_different_places_stay_different(one: str, other: str) -> None:
    assert normal_url(one) != normal_url(other)


@given(st.text(max_size=12), st.text(alphabet="ab/%.?#&=@:\\ 4é", max_size=30))
def test_any_text_has_a_normal_form(front: str, rest: str) -> None:
    for text in (front, front + rest, f"https://{rest}", f"http://a.example/{rest}", f"//flickr.com/{rest}"):
        assert isinstance(normal_url(text), str)


PAGES = [
    *(url for pair in (*ALIASES, *DIFFERENT) for url in pair),
    "https://example.com",
    "/x/local.jpg",
    "https://www.flickr.com/photos/jdoe/albums/7",
]


@pytest.mark.parametrize("url", PAGES)
def test_a_set_of_addresses_finds_each_and_only_those_that_are_equal(url: str) -> None:
    found = Addresses([url]).mask(pa.array([*PAGES, None]))
    assert found.tolist() == [normal_url(page) == normal_url(url) for page in PAGES] + [False]


@settings(max_examples=300, derandomize=True)
@given(
    st.one_of(
        addresses(
            "flickr.com", (*FLICKR, "/photos/jdoe/208", "/photos/9@N00/208/in/photostream", "/photos/7/208")
        ),
        addresses("commons.wikimedia.org", (*WIKI, "/wiki/File:A_b.jpg", "/wiki/Special:FilePath/A_b.jpg")),
        addresses("inaturalist.org", ("/people/jdoe", "/photos/77/large.jpg", "/observations/jdoe")),
        addresses("a.example", ("/", "/x.jpg", "/a/b_c.php", "/_x", "/Jane:Doe/b", "/people/jane/work")),
    )
)
def test_what_is_looked_at_in_columns_never_loses_a_spelling(url: str) -> None:
    assert Addresses([normal_url(url), url]).mask(pa.array([url])).all()
    (tail,) = tails(pa.array([url])).to_pylist()
    (wanted,) = tails(pa.array([normal_url(url)])).to_pylist()
    assert tail == wanted or odd(pa.array([url])).all()


PARTS = "photos people users calendar journal observations jdoe 9@N00 208 albums sets 7 in photo.gne p 4Wx large.jpg"


@settings(max_examples=500, derandomize=True)
@given(
    st.sampled_from(["flickr.com", "www.flickr.com", "flic.kr", "inaturalist.org", "naturalista.mx"]),
    st.lists(st.sampled_from(PARTS.split()), max_size=5),
    st.sampled_from(["", "/", "?user_id=jdoe", "?id=208", "?x=1", "#a", ";jsessionid=1", "/;jsessionid=1"]),
)
def test_every_shape_of_a_platform_s_address_is_looked_at(host: str, parts: list[str], end: str) -> None:
    url = "/".join([f"https://{host}", *parts]) + end
    assert Addresses([normal_url(url)]).mask(pa.array([url])).all()
    assert Addresses([url]).mask(pa.array([url])).all()


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (
            "https://commons.wikimedia.org/w/index.php?curid=111",
            "https://commons.wikimedia.org/w/index.php?curid=222",
        ),
        (
            "https://commons.wikimedia.org/wiki/Special:FilePath?file=A.jpg",
            "https://commons.wikimedia.org/wiki/Special:FilePath?file=B.jpg",
        ),
        ("https://www.flickr.com/photo.gne?short=aB1", "https://www.flickr.com/photo.gne?short=aB2"),
        ("https://www.flickr.com/photo_zoom.gne?id=1", "https://www.flickr.com/photo_zoom.gne?id=2"),
        ("https://www.flickr.com/buddyicons/1@N00.jpg", "https://www.flickr.com/buddyicons/2@N00.jpg"),
    ],
)
def test_pages_that_their_query_tells_apart_stay_apart(one: str, other: str) -> None:
    assert normal_url(one) != normal_url(other)


@pytest.mark.parametrize(
    "url",
    [
        "https://www.flickr.com/photos/",
        "https://flickr.com/people",
        "https://flickr.com/",
        "https://flic.kr/p/" + "z" * 5000,
    ],
)
def test_an_address_of_nobody_has_a_normal_form_too(url: str) -> None:
    assert normal_url(url)
    assert user_id(url) is None or isinstance(user_id(url), str)
