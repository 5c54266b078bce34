"""The address of a stream: its problems are reported at the call, without any secret."""

from __future__ import annotations

import pytest
from canaries import CANARY, tells
from support import sse_client_for_tests
from tables import each_of

from sse_client import DefaultRequest


@pytest.fixture
def client():
    with sse_client_for_tests() as client:
        yield client


def refusal_of(client, *args, kind=ValueError, **arguments):
    with pytest.raises(kind) as caught:
        client.sse(*args, **arguments)
    assert type(caught.value) is kind
    assert caught.value.__cause__ is None
    return str(caught.value)


BEGIN = "url must begin with http:// or https:// and a host, not "


class TestAnAddress:
    @each_of(
        ("url", "said"),
        [
            (
                "localhost:8090/x",
                "'localhost:8090/x': the scheme is missing; did you mean 'http://localhost:8090/x'?",
            ),
            (
                "example.org",
                "'example.org': the scheme is missing; did you mean 'http://example.org'?",
            ),
            (
                "//h/x",
                "'//h/x': the scheme is missing; did you mean 'http://h/x'?",
            ),
            (
                "/x",
                "'/x': scheme and host are missing; the plugin DefaultRequest can add them",
            ),
            (
                "user:password@h/x",
                "'h/x': the scheme is missing; did you mean 'http://h/x'?",
            ),
            ("ftp://h", "'ftp://h': the scheme is 'ftp'"),
            ("http+unix://%2Fx/y", "'http+unix://%2Fx/y': the scheme is 'http+unix'"),
            ("http://", "'http://': the host is missing"),
            ("https:///x", "'https:///x': the host is missing"),
            ("HTTP://?q", "'HTTP://': the host is missing"),
        ],
    )
    def test_that_is_not_complete_is_reported_as_it_was_passed(self, client, url, said):
        assert refusal_of(client, url) == BEGIN + said

    def test_that_is_empty_is_reported(self, client):
        assert refusal_of(client, "") == "url must not be empty"

    @pytest.mark.parametrize(
        "url",
        [
            f"user:{CANARY}@h/x",
            f"//user:{CANARY}@h/x",
            f"ftp://user:{CANARY}@h/x",
            f"h/x?token={CANARY}",
            f"/x?token={CANARY}",
            f"h/x#{CANARY}",
            f"http://?{CANARY}",
            f"http://user:{CANARY}@",
            f"http://user:{CANARY}@:80/x",
            f"http://user:{CANARY}@[::1/x",
            f"http://user:{CANARY}@h:port/x",
            f"ftp://user:{CANARY}/@h/x",
            f"user:{CANARY}/@h/x",
            f"user:{CANARY}?@h/x",
            f"//user:{CANARY}#@h/x",
            f"http:/user:{CANARY}@h/x",
            f"http:user:{CANARY}@h/x",
            f"ftp:user:{CANARY}@h/x",
        ],
    )
    def test_never_shows_user_info_or_a_query(self, client, url, caplog):
        caplog.set_level("DEBUG")
        said = refusal_of(client, url)
        assert not tells(said), said
        assert not tells(caplog.text), caplog.text

    def test_shows_no_control_characters(self, client):
        assert "\x1b" not in refusal_of(client, "h\x1b[2J/x")

    @pytest.mark.parametrize("url", [" {}", "{} ", "\t{}"])
    def test_may_have_blanks_around_it(self, client, server, url):
        server.serve(["one"], then="stall")
        with client.sse(url.format(server.url)) as session:
            assert session.incoming.get().data == "one"

    def test_that_a_plugin_completes_is_accepted(self, client, server):
        server.serve(["one"], then="stall")
        client.install(DefaultRequest, base_url=server.url)
        with client.sse("/x") as session:
            assert session.incoming.get().data == "one"
        assert server.requests[0].target == "/x"

    @pytest.mark.parametrize("url", [1, b"http://h"])
    def test_of_another_type_is_refused_by_name(self, client, url):
        said = refusal_of(client, url, kind=TypeError)
        assert said == f"url must be a str, not {type(url).__name__}"


class TestTheParts:
    @pytest.mark.parametrize(
        ("port", "kind", "said"),
        [
            ("x@127.0.0.1:1", TypeError, "port must be an int or None, not str"),
            ("8080", TypeError, "port must be an int or None, not str"),
            (True, TypeError, "port must be an int or None, not bool"),
            (80.0, TypeError, "port must be an int or None, not float"),
            (0, ValueError, "port must be from 1 to 65535, not 0"),
            (-1, ValueError, "port must be from 1 to 65535, not -1"),
            (65_536, ValueError, "port must be from 1 to 65535, not 65536"),
        ],
    )
    def test_port_is_a_number(self, client, port, kind, said):
        assert refusal_of(client, host="127.0.0.1", port=port, kind=kind) == said

    @each_of(
        "host",
        [
            *("", "a/b", "a?b", "a#b", "a b", " a", "a\t", "a\n", "a\x00", "a\\b", "a%2fb", "<a>"),
            *("h:80", "h:", ":80", "[::1", "::1]", "[h]:80", "[]", "a|b", "a^b", "[::1]:80", "[h]"),
            *("127.0.0.1/x", "h@", "@h", "\x7f", "::g", "[::1%25eth0/]"),
        ],
    )
    def test_host_is_a_name_or_an_address(self, client, host):
        said = refusal_of(client, host=host)
        assert said.startswith("host must be a host name or an IP address")
        assert not any(ord(character) < 32 for character in said)

    @pytest.mark.parametrize(
        "host", [f"user:{CANARY}@h", f"{CANARY}@[::1]", f"user:{CANARY}@h:80", f"{CANARY}@"]
    )
    def test_host_never_shows_user_info(self, client, host):
        assert not tells(refusal_of(client, host=host))

    @pytest.mark.parametrize("host", ["::1", "[::1]"])
    def test_host_may_be_ipv6_with_or_without_brackets(self, client, host):
        with pytest.raises(Exception, match=r"cannot connect to http://\[::1\]:1/x: "):
            client.sse(host=host, port=1, path="x")

    @pytest.mark.parametrize("host", [1, b"h", ["h"]])
    def test_host_of_another_type_is_refused_by_name(self, client, host):
        said = refusal_of(client, host=host, kind=TypeError)
        assert said == f"host must be a str, not {type(host).__name__}"

    @pytest.mark.parametrize(
        "path", ["/a\nb", "/a\r\nHost: x", "/\x00", "/\x1b[2J", "/\x7f", "\t/"]
    )
    def test_path_has_no_control_characters(self, client, path):
        said = refusal_of(client, host="h", path=path)
        assert said == "path must not contain a line break or another control character"

    @pytest.mark.parametrize("path", [1, None, b"/"])
    def test_path_of_another_type_is_refused_by_name(self, client, path):
        said = refusal_of(client, host="h", path=path, kind=TypeError)
        assert said == f"path must be a str, not {type(path).__name__}"

    @pytest.mark.parametrize(
        ("path", "target"),
        [
            ("/x", "/x"),
            ("x", "/x"),
            ("/", "/"),
            ("/x?q=1", "/x?q=1"),
            ("//other/x", "//other/x"),
            ("/@other:1/", "/@other:1/"),
            ("@other:1/", "/@other:1/"),
            (":1/x", "/:1/x"),
        ],
    )
    def test_path_never_changes_the_host(self, client, server, path, target):
        server.serve(["one"], then="stall")
        with client.sse(host="127.0.0.1", port=server.port, path=path) as session:
            assert session.incoming.get().data == "one"
        # Older versions of requests replace two slashes at the beginning by one.
        assert server.requests[0].target in {target, target.replace("//", "/")}

    @pytest.mark.parametrize("scheme", ["ftp", "", "http:", "HTTP", None])
    def test_scheme_is_http_or_https(self, client, scheme):
        said = refusal_of(client, host="h", scheme=scheme)
        assert said == f"scheme must be 'http' or 'https', not {scheme!r}"

    @pytest.mark.parametrize(
        "parts", [{"host": "h"}, {"port": 1}, {"path": "/x"}, {"scheme": "https"}]
    )
    def test_do_not_go_with_an_address(self, client, parts):
        said = refusal_of(client, "http://h", kind=TypeError, **parts)
        assert said == "give either url, or scheme, host, port and path"

    @pytest.mark.parametrize("parts", [{}, {"port": 80}, {"path": "/x", "port": 80}])
    def test_need_a_host(self, client, parts):
        assert refusal_of(client, kind=TypeError, **parts) == "url or host is missing"
