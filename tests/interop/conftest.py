"""Third-party servers, each started once for all tests, and some for a single test."""

from __future__ import annotations

import queue
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import pytest
import trustme
from commands import MISSING
from environments import Environments
from servers import NGINX, Flask, HttpServer, Nginx, Origin, Uvicorn

from sse_client import SSE, HttpClient

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


class Loss(NamedTuple):
    """The arguments of ``on_disconnect``."""

    error: Exception | None
    delay: float | None


@pytest.fixture
def losses() -> queue.Queue[Loss]:
    """The lost connections and failed attempts of the client's streams."""
    return queue.Queue()


@pytest.fixture
def client(losses: queue.Queue[Loss]) -> Iterator[HttpClient]:
    """A client that reconnects soon."""
    with HttpClient() as installed:
        installed.install(
            SSE,
            reconnection_time=0.01,
            reconnection_jitter=0.0,
            max_reconnection_time=0.1,
            on_disconnect=lambda _, error, delay: losses.put(Loss(error, delay)),
        )
        yield installed


@dataclass(frozen=True)
class Certificate:
    """Files: a server's certificate with its key, and the bundle that trusts it."""

    server: Path
    ca_bundle: Path


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    folder = tmp_path_factory.mktemp("certificate")
    files = Certificate(folder / "server.pem", folder / "ca.pem")
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(files.ca_bundle))
    issued = authority.issue_cert("127.0.0.1")
    issued.private_key_and_cert_chain_pem.write_to_path(str(files.server))
    return files


@pytest.fixture(scope="session")
def uvicorn(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Uvicorn]:
    """uvicorn with sse-starlette, shared by all tests."""
    with Uvicorn(tmp_path_factory.mktemp("uvicorn")) as started:
        yield started


@pytest.fixture
def own_uvicorn(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Uvicorn]:
    """uvicorn with sse-starlette, to be ended by the test."""
    with Uvicorn(tmp_path_factory.mktemp("uvicorn")) as started:
        yield started


@pytest.fixture(scope="session")
def http_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HttpServer]:
    """The standard library's server, shared by all tests."""
    with HttpServer(tmp_path_factory.mktemp("http_server")) as started:
        yield started


@pytest.fixture(scope="session")
def flask(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Flask]:
    """Flask on its own server, shared by all tests."""
    with Flask(tmp_path_factory.mktemp("flask")) as started:
        yield started


@pytest.fixture(scope="session")
def nginx(
    tmp_path_factory: pytest.TempPathFactory, flask: Flask, certificate: Certificate
) -> Iterator[Nginx]:
    """nginx in front of Flask, shared by all tests."""
    need_nginx()
    with Nginx(tmp_path_factory.mktemp("nginx"), flask, certificate.server) as started:
        yield started


@pytest.fixture(scope="session")
def nginx_and_uvicorn(
    tmp_path_factory: pytest.TempPathFactory, uvicorn: Uvicorn, certificate: Certificate
) -> Iterator[Nginx]:
    """nginx in front of uvicorn, shared by all tests: HTTP/1.1, and HTTP/2 over TLS."""
    need_nginx()
    with Nginx(tmp_path_factory.mktemp("nginx"), uvicorn, certificate.server) as started:
        yield started


@pytest.fixture
def own_flask_and_nginx(
    tmp_path_factory: pytest.TempPathFactory, certificate: Certificate
) -> Iterator[tuple[Flask, Nginx]]:
    """nginx in front of Flask, to be reloaded and ended by the test."""
    need_nginx()
    with Flask(tmp_path_factory.mktemp("flask")) as upstream:
        folder = tmp_path_factory.mktemp("nginx")
        with Nginx(folder, upstream, certificate.server) as started:
            yield upstream, started


def need_nginx() -> None:
    if NGINX is None:
        pytest.skip(MISSING["nginx"])


@pytest.fixture(scope="session")
def flask_address(flask: Flask) -> Origin:
    return Origin(flask.url)


@pytest.fixture(scope="session")
def uvicorn_address(uvicorn: Uvicorn) -> Origin:
    return Origin(uvicorn.url)


@pytest.fixture(scope="session")
def http_server_address(http_server: HttpServer) -> Origin:
    return Origin(http_server.url)


@pytest.fixture(scope="session")
def nginx_address(nginx: Nginx) -> Origin:
    return Origin(nginx.url)


@pytest.fixture(scope="session")
def tls_address(nginx: Nginx, certificate: Certificate) -> Origin:
    return Origin(nginx.tls_url, verify=str(certificate.ca_bundle))


@pytest.fixture(scope="session")
def python_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Return the Python of an environment, which is created when it is first needed."""
    return Environments(tmp_path_factory).python_of
