"""The position of a stream in Redis."""

from __future__ import annotations

import pytest
from numbered_server import Numbered, wait_for
from support import sse_client_for_tests

from sse_client import CursorError, CursorStore
from sse_client.relay import RedisCursor


def cursor_of(redis, name="orders", **options):
    return RedisCursor(name, redis=redis.url, **options)


def test_it_is_a_cursor_store():
    assert isinstance(RedisCursor("orders", redis="redis://127.0.0.1"), CursorStore)


def test_what_was_saved_is_loaded_by_the_next(redis):
    with cursor_of(redis) as cursor:
        assert cursor.load() is None
        cursor.save("é 1")
        cursor.save("é 1")
        assert cursor.load() == "é 1"
        cursor.save("")
    with cursor_of(redis) as cursor:
        assert cursor.load() == ""
        assert "orders" in repr(cursor)
    with cursor_of(redis, "others") as cursor:
        cursor.save("2")
        assert cursor.load() == "2"


def test_two_cannot_use_it_at_once(redis):
    with cursor_of(redis) as one, cursor_of(redis) as other:
        one.load()
        with pytest.raises(CursorError, match="in use"):
            other.load()
        one.close()
        one.close()
        other.load()


def test_a_lease_is_kept_while_nothing_is_saved(redis):
    key = "sse-client:{orders:cursor}:lease"
    with cursor_of(redis, lease_time=0.3) as cursor:
        cursor.load()
        lease = redis.client.get(key)
        before = redis.client.pttl(key)
        wait_for(lambda: redis.client.pttl(key) < before - 80)
        wait_for(lambda: redis.client.pttl(key) > before - 40)
        assert redis.client.get(key) == lease


@pytest.mark.parametrize("noticed", [False, True], ids=["by the save", "by the keeper"])
def test_who_has_lost_it_saves_no_more(redis, noticed):
    with cursor_of(redis, lease_time=1.0 if noticed else 60.0) as cursor:
        cursor.save("1")
        redis.client.set("sse-client:{orders:cursor}:lease", "somebody 9")
        if noticed:
            wait_for(cursor._lease.lost.is_set)
        for _ in range(2):
            with pytest.raises(CursorError, match="lost"):
                cursor.save("2")
    assert redis.client.hget("sse-client:{orders:cursor}:state", "id") == b"1"


def test_a_redis_that_is_gone_is_told(redis):
    with cursor_of(redis) as cursor:
        cursor.save("1")
        redis.kill()
        with pytest.raises(CursorError, match="cannot be saved: ConnectionError"):
            cursor.save("2")
        with pytest.raises(CursorError, match="cannot be loaded"):
            cursor.load()
        redis.start()


def test_a_session_goes_on_where_it_was(redis):
    with Numbered() as numbered, sse_client_for_tests() as client:
        for last in (3, 5):
            numbered.last = last
            with client.sse(numbered.url, cursor=cursor_of(redis)) as session:
                seen = [int(event.data) for event in session.incoming]
        assert seen == [4, 5]


def test_a_wrong_option_is_refused_by_name(redis):
    with pytest.raises(TypeError, match="name"):
        cursor_of(redis, 5)
    with pytest.raises(ValueError, match="lease_time"):
        cursor_of(redis, lease_time=-1)
    with cursor_of(redis) as cursor, pytest.raises(TypeError, match="event_id"):
        cursor.save(5)
