"""Decoding JSON into Python types, without a library."""

from __future__ import annotations

import enum
import sys
from dataclasses import InitVar, dataclass, field
from datetime import date, datetime, timedelta, timezone
from decimal import Decimal
from typing import (
    Annotated,
    Any,
    Generic,
    Literal,
    NamedTuple,
    NewType,
    Optional,
    TypedDict,
    TypeVar,
    Union,
)

import pytest
from tables import each_of
from typing_extensions import NotRequired, Required
from typing_extensions import TypedDict as NewerTypedDict

from sse_client.typed.plain_json import json_decoder

T = TypeVar("T")
CustomerId = NewType("CustomerId", int)


class Colour(enum.Enum):
    RED = "red"
    NONE = 0


class Pair(enum.Enum):
    ONE = (1, 2)


@dataclass
class Item:
    name: str
    price: float = 1.0
    tags: list[str] = field(default_factory=list)
    total: int = field(init=False, default=0)


@dataclass(frozen=True)
class Order:
    id: CustomerId
    items: tuple[Item, ...]
    colour: Colour | None = None
    at: datetime | None = None


@dataclass
class Tree:
    value: int
    children: list[Tree] = field(default_factory=list)


@dataclass
class Checked:
    value: int

    def __post_init__(self) -> None:
        if self.value < 0:
            raise ValueError("value is negative")


class Address(TypedDict, total=False):
    street: Required[str]
    number: int


class Person(NewerTypedDict):
    name: str
    nick: NotRequired[str]
    address: NotRequired[Address]


@dataclass
class Box(Generic[T]):
    value: T


@dataclass
class WithInitVar:
    value: InitVar[int]


@dataclass
class Unknown:
    value: NoSuchName  # noqa: F821  # what is tested


@dataclass
class WithSet:
    values: dict[str, set[int]]


class Point(NamedTuple):
    x: int


RED = Colour.RED
UTC_NOON = datetime(2026, 1, 2, 12, tzinfo=timezone.utc)


@each_of(
    ("wanted", "data", "expected"),
    [
        (None, "null", None),
        (bool, "true", True),
        (int, "1", 1),
        (float, "1.5", 1.5),
        (float, "2", 2.0),
        (str, '"a"', "a"),
        (Any, '{"a": [1, null]}', {"a": [1, None]}),
        (object, "[1]", [1]),
        (list, "[1, []]", [1, []]),
        (list[int], "[1, 2]", [1, 2]),
        (dict, '{"a": 1}', {"a": 1}),
        (dict[str, list[bool]], '{"a": [true]}', {"a": [True]}),
        (tuple, '[1, "a"]', (1, "a")),
        (tuple[int, ...], "[1, 2]", (1, 2)),
        (tuple[int, str], '[1, "a"]', (1, "a")),
        (tuple[()], "[]", ()),
        (Optional[int], "null", None),  # noqa: UP045  # the older way to write it
        (int | None, "3", 3),
        (Union[int, str, Item], '{"name": "n"}', Item("n")),  # noqa: UP007  # the older way
        (int | float, "1", 1),
        (int | float, "1.0", 1.0),
        (float | int, "1", 1),
        (list[int] | int, "[1]", [1]),
        (Literal["a", 1] | None, "1", 1),
        (Colour, '"red"', Colour.RED),
        (Colour | None, "0", Colour.NONE),
        (datetime, '"2026-01-02T12:00:00Z"', UTC_NOON),
        (datetime, '"2026-01-02T14:00:00+02:00"', UTC_NOON),
        (datetime, '"2026-01-02T12:00:00"', datetime(2026, 1, 2, 12)),  # noqa: DTZ001  # without one
        (date, '"2026-01-02"', date(2026, 1, 2)),
        (CustomerId, "7", 7),
        (Annotated[int, "metadata"], "7", 7),
        (Item, '{"name": "n", "unknown": 1, "total": 5}', Item("n")),
        (Item, '{"name": "n", "price": 2, "tags": ["t"]}', Item("n", 2.0, ["t"])),
        (
            Order,
            '{"id": 1, "items": [{"name": "n"}], "colour": "red"}',
            Order(1, (Item("n"),), RED),
        ),
        (Tree, '{"value": 1, "children": [{"value": 2}]}', Tree(1, [Tree(2)])),
        (Checked, '{"value": 1}', Checked(1)),
        (Address, '{"street": "s", "more": 1}', {"street": "s"}),
        (Person, '{"name": "n"}', {"name": "n"}),
        (
            list[Person],
            '[{"name": "n", "nick": "k", "address": {"street": "s", "number": 1}}]',
            [{"name": "n", "nick": "k", "address": {"street": "s", "number": 1}}],
        ),
    ],
)
def test_it_can_do_this(wanted, data, expected):
    decoded = json_decoder(wanted)(data)
    assert decoded == expected
    assert type(decoded) is type(expected)


def test_a_time_keeps_its_offset():
    decoded = json_decoder(datetime)('"2026-01-02T14:00:00+02:00"')
    assert decoded.utcoffset() == timedelta(hours=2)


@each_of(
    ("wanted", "data", "message"),
    [
        (int, '"1"', "the document must be an int, not a string"),
        (int, "true", "the document must be an int, not a bool"),
        (int, "1.0", "the document must be an int, not a float"),
        (float, "true", "the document must be a float, not a bool"),
        (float, "NaN", "NaN is not JSON"),
        (int, "nonsense", "Expecting value"),
        (int, "", "Expecting value"),
        (str, "null", "the document must be a string, not null"),
        (list[int], '[1, "a"]', r"\[1\] must be an int, not a string"),
        (list[int], "{}", "the document must be an array, not an object"),
        (tuple[()], "[1]", "the document must be an array of length 0"),
        (tuple[int, int], "[1]", "the document must be an array of length 2"),
        (tuple[int, int], "{}", "the document must be an array of length 2"),
        (dict[str, int], '{"a": []}', "a must be an int, not an array"),
        (dict[str, int], "1", "the document must be an object, not an int"),
        (int | str, "[]", "the document must be an int or a string, not an array"),
        (Literal["a", 1], '"b"', "the document is not a value of typing.Literal"),
        (Literal["a", 1], "true", "the document is not a value of typing.Literal"),
        (Literal["a", 1], "[]", "the document is not a value of typing.Literal"),
        (Colour, '"blue"', "the document is not a value of Colour"),
        (datetime, '"noon"', "the document is not an ISO 8601 datetime"),
        (datetime, "1", "the document must be a string with a datetime, not an int"),
        (Item, "[]", "the document must be an object with a Item, not an array"),
        (Item, "{}", "the document lacks 'name', which a Item has"),
        (
            Order,
            '{"id": 1, "items": [{"name": "n"}, {"name": 2}]}',
            r"^items\[1\].name must be a string, not an int$",
        ),
        (Person, '{"name": "n", "address": {}}', "address lacks 'street', which a Address has"),
        (Checked, '{"value": -1}', "value is negative"),
    ],
)
def test_what_does_not_fit_is_told_with_its_place(wanted, data, message):
    with pytest.raises(ValueError, match=message):
        json_decoder(wanted)(data)


@each_of(
    ("wanted", "message"),
    [
        (set[int], r"plain JSON cannot be decoded as set\[int\]"),
        (bytes, "plain JSON cannot be decoded as bytes"),
        (Decimal, "plain JSON cannot be decoded as Decimal"),
        (Point, "plain JSON cannot be decoded as Point"),
        (T, "plain JSON cannot be decoded as ~T"),
        (Box, "plain JSON cannot be decoded as ~T"),
        (Box[int], r"plain JSON cannot be decoded as test_plain_json.Box\[int\]"),
        (WithInitVar, "plain JSON cannot be decoded as WithInitVar: .*InitVar"),
        (Unknown, "plain JSON cannot be decoded as Unknown: name 'NoSuchName' is not defined"),
        (WithSet, r"plain JSON cannot be decoded as set\[int\]"),
        (
            dict[int, str],
            r"plain JSON cannot be decoded as dict\[int, str\]: the keys of a JSON object",
        ),
        (Item | Order, "its members cannot be distinguished"),
        (str | datetime, "its members cannot be distinguished"),
        (Item | dict[str, int], "its members cannot be distinguished"),
        (Pair, "plain JSON cannot be decoded as Pair: its values are not JSON values"),
        (Literal[Colour.RED], "its values are not JSON values"),
        (7, "plain JSON cannot be decoded as 7"),
        (Item("n"), "plain JSON cannot be decoded as Item"),
    ],
)
def test_a_type_that_it_cannot_do_is_refused_at_once(wanted, message):
    with pytest.raises(TypeError, match=message):
        json_decoder(wanted)


class TypeAliasType:
    """The result of a type statement, for versions of Python without it."""

    def __init__(self, value=None):
        self.__value__ = value


def test_it_knows_aliases():
    assert json_decoder(TypeAliasType(list[int]))("[1]") == [1]


def test_an_alias_that_holds_itself_is_refused():
    alias = TypeAliasType()
    alias.__value__ = list[alias]
    with pytest.raises(TypeError, match="it contains itself, but is not a class"):
        json_decoder(alias)


@pytest.mark.skipif(sys.version_info < (3, 12), reason="the type statement came with Python 3.12")
def test_it_knows_the_alias_of_the_type_statement():
    names: dict[str, Any] = {}
    exec("type Json = None | int | list[Json]\ntype Ids = list[int]", names)
    assert json_decoder(names["Ids"])("[1]") == [1]
    with pytest.raises(TypeError, match="it contains itself, but is not a class"):
        json_decoder(names["Json"])
