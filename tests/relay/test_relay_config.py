"""The file that names the streams of a pool."""

from __future__ import annotations

import sys
from types import MappingProxyType

import pytest
from tables import each_of

from sse_client.relay import RelayConfig, RelayedStream, load_config
from sse_client.relay.templates import Template

WHOLE = """
redis = "$TEST_REDIS"
pool = "market"
lease_time = 5

[[streams]]
url = "https://example.com/events"
stream = "orders"
headers = { Authorization = "Bearer $TEST_TOKEN", A = "de", Price = "$$5 ${TEST_TOKEN}" }
max_length = 1000
batch_time = 0.5
last_event_id = "7"
resends_unnumbered = false

[[streams]]
url = "https://example.com/others"
stream = "others"
"""


@pytest.fixture
def written(tmp_path):
    def write(text):
        path = tmp_path / "relays.toml"
        path.write_text(text, encoding="utf-8")
        return path

    return write


def test_what_a_file_may_hold(written, monkeypatch):
    monkeypatch.setenv("TEST_REDIS", "redis://:secret@127.0.0.1")
    monkeypatch.setenv("TEST_TOKEN", "secret")
    config = load_config(written(WHOLE))
    headers = {"Authorization": "Bearer secret", "A": "de", "Price": "$5 secret"}
    orders = RelayedStream(
        "https://example.com/events", "orders", headers, 1000, 0.5, "7", resends_unnumbered=False
    )
    others = RelayedStream("https://example.com/others", "others")
    assert config == RelayConfig((orders, others), "redis://:secret@127.0.0.1", "market", 5)
    assert "secret" not in repr(config)
    assert orders.arguments() == {"headers": headers, "last_event_id": "7"}


STREAM = '[[streams]]\nurl = "https://example.com"\nstream = "s"\n'


@each_of(
    ("text", "named"),
    [
        ("x", "is not valid TOML"),
        ("", r"\[\[streams\]\]"),
        ("streams = []", r"\[\[streams\]\]"),
        ("streams = [5]", "stream 1: must be a table"),
        ("wrong = 1\n" + STREAM, "no option 'wrong'"),
        (STREAM + "wrong = 1", "stream 1: there is no option 'wrong'"),
        ("pool = 1\n" + STREAM, "pool"),
        ("lease_time = 'x'\n" + STREAM, "lease_time"),
        ("lease_time = true\n" + STREAM, "lease_time"),
        ("lease_time = 0\n" + STREAM, "lease_time"),
        ("redis = 1\n" + STREAM, "redis"),
        ("redis = '$NOT_SET_AT_ALL'\n" + STREAM, "redis: the environment variable"),
        ('[[streams]]\nurl = "x"', "stream 1: .*stream"),
        ('[[streams]]\nurl = 1\nstream = "s"', "stream 1: url"),
        (STREAM + "max_length = 0", "stream 1: max_length"),
        (STREAM + "batch_time = -1", "stream 1: batch_time"),
        (STREAM + "resends_unnumbered = 1", "resends_unnumbered"),
        (STREAM + "headers = 'secret'", "headers"),
        (STREAM + "headers = { A = 1 }", "headers"),
        (STREAM + "headers = { A = '$NOT_SET_AT_ALL' }", "stream 1: A: the environment"),
        (STREAM + "headers = { A = 'x ${NOT_SET_AT_ALL}' }", "stream 1: A: the environment"),
        (
            STREAM + "headers = { A = '${file:/no/such/file}' }",
            "A: /no/such/file can't be read: No",
        ),
        (STREAM + STREAM, "streams 1 and 2 both name the Redis Stream 's'"),
    ],
)
def test_what_is_wrong_is_named(written, text, named):
    with pytest.raises(ValueError, match=named) as caught:
        load_config(written(text))
    assert "secret" not in str(caught.value)


def test_a_token_in_a_file_may_be_replaced(written, tmp_path, caplog):
    token = tmp_path / "token"
    token.write_text("secret-1\n")
    text = STREAM + f"headers = {{ Authorization = 'Bearer ${{file:{token}}}' }}"
    path = written(text)
    value = load_config(path).streams[0].headers["Authorization"]
    assert value() == "Bearer secret-1"
    token.write_text("secret-2")
    assert value() == "Bearer secret-2"
    token.write_bytes(b"\xff")
    assert value() == "Bearer secret-2"
    token.unlink()
    assert value() == "Bearer secret-2"
    said = "\n".join(each.getMessage() for each in caplog.records)
    assert "it is not in UTF-8" in said
    assert "No such file" in said
    assert "secret" not in said + repr(value)
    token.write_text("secret-3")
    assert load_config(path) == load_config(path)
    token.unlink()
    with pytest.raises(ValueError, match="can't be read"):
        Template("a", f"${{file:{token}}}")()


def test_a_file_of_another_encoding_is_told(tmp_path):
    path = tmp_path / "relays.toml"
    path.write_text(STREAM + "# ä", encoding="latin-1")
    with pytest.raises(ValueError, match=r"relays\.toml is not in UTF-8"):
        load_config(path)


def test_what_an_address_holds_is_not_shown():
    stream = RelayedStream("http://user:secret@example.com/?token=secret", "s")
    assert "secret" not in repr(RelayConfig((stream,)))


def test_headers_may_be_any_mapping():
    headers = MappingProxyType({"A": "b"})
    assert RelayedStream("http://example.com", "s", headers).arguments()["headers"] == headers


def test_without_a_parser_the_error_names_the_extra(written, monkeypatch):
    monkeypatch.setitem(sys.modules, "tomli", None)
    monkeypatch.setattr(sys, "version_info", (3, 10))  # newer versions have their own parser
    with pytest.raises(ImportError, match=r"\[redis\]"):
        load_config(written(STREAM))
