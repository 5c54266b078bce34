"""The forms of an address of Redis."""

from __future__ import annotations

import pytest
import redis as library
import redis.sentinel
from tables import each_of

from sse_client.relay.address import Address, client_for, close_client, parse_address
from sse_client.relay.connection import RedisServer

TWO = (("a", 1), ("b", 26379))


@each_of(
    ("text", "address"),
    [
        ("redis://:p@a:1/2?socket_timeout=3", None),
        ("rediss://a", None),
        ("unix:///run/redis.sock", None),
        ("valkeys://a", Address("single", "rediss://a")),
        ("valkey://a", Address("single", "redis://a")),
        (
            "redis+sentinel://u:p@a:1,b/main/3",
            Address("sentinel", "redis://u:p@a:1/3?", TWO, "main"),
        ),
        ("redis-sentinel://a:1,b", Address("sentinel", "redis://a:1/0?", TWO, "mymaster")),
        (
            "rediss-sentinel://a:1,b/2?sentinelMasterId=main&ssl_check_hostname=false",
            Address("sentinel", "rediss://a:1/2?ssl_check_hostname=false", TWO, "main"),
        ),
        (
            "sentinel://a:1;sentinel://b:26379/main?sentinel_password=s&sentinel_username=t",
            Address(
                "sentinel",
                "redis://a:1/0?",
                TWO,
                "main",
                {"username": "t", "password": "s"},
            ),
        ),
        (
            "rediss+cluster://p@[::1]:7000,b",
            Address("cluster", "rediss://p@[::1]:7000/0?", (("::1", 7000), ("b", 6379))),
        ),
        ("redis-cluster://a/0", Address("cluster", "redis://a:6379/0?", (("a", 6379),))),
    ],
)
def test_what_an_address_says(text, address):
    assert parse_address(text) == (address or Address("single", text))


@each_of(
    "text",
    [
        "",
        "http://secret",
        "redis://",
        "secret",
        "redis://secret,b",
        "redis://secret;redis://b",
        "redis+cluster://",
        "redis+cluster://?a=secret",
        "redis+cluster://secret/1",
        "redis+cluster://:6379",
        "redis+cluster://secret:x",
        "redis+sentinel://secret/main/x",
        "redis+sentinel://secret/main/0/1",
        "redis+sentinel://secret/main?unknown=1",
        "redis+cluster://secret?unknown=1",
    ],
)
def test_what_is_not_an_address_is_refused_without_being_repeated(text):
    with pytest.raises(ValueError, match="redis must be an address") as caught:
        RedisServer(text)
    assert "secret" not in str(caught.value)


def test_the_options_of_an_address_are_those_of_the_master_and_its_sentinels():
    address = parse_address(
        "rediss+sentinel://u:p@a,b/main/3?sentinel_password=s&ssl_check_hostname=false"
    )
    client = client_for(library, address, {"socket_timeout": 1.5, "protocol": 2})
    pool = client.connection_pool
    assert pool.connection_class is redis.sentinel.SentinelManagedSSLConnection
    options = pool.connection_kwargs
    assert (options["username"], options["password"], options["db"]) == ("u", "p", 3)
    assert options["ssl_check_hostname"] is False
    for sentinel in pool.sentinel_manager.sentinels:
        given = sentinel.connection_pool.connection_kwargs
        assert given["password"] == "s"
        assert given["socket_timeout"] == 1.5
        assert given["ssl_check_hostname"] is False
        assert "db" not in given or given["db"] == 0
    close_client(client)
