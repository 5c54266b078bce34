"""An application that opens a stream during its import, and reports what its process sees of it.

For gunicorn and uWSGI it is ``app``, and for Celery it is the task ``look`` of ``celery``.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys

from sse_client import SSE, HttpClient, SSEClientError

sys.path.append(os.environ["HELPERS"])
from quiet import wait_until_quiet

URL = os.environ["STREAM"]

client = HttpClient().install(SSE)
session = client.sse(URL)
event = session.incoming.get()
importer = os.getpid()
wait_until_quiet()  # uWSGI forks now


def _name_of_error(act):
    try:
        act()
    except SSEClientError as error:
        return type(error).__name__
    return None


def look():
    """Return what this process sees of the inherited session and of its own session."""
    own = client.sse(URL, block=lambda opened: opened.incoming.get().data)
    return json.dumps(
        {
            "is the importer": os.getpid() == importer,
            "state": session.state.name,
            "error": type(session.error).__name__,
            "get": _name_of_error(session.incoming.get),
            "iteration": _name_of_error(lambda: list(session.incoming)),
            "reconnect": _name_of_error(session.reconnect),
            "acknowledge": _name_of_error(lambda: session.acknowledge(event)),
            "close": _name_of_error(session.close),
            "own": own,
        }
    )


def app(environ, start_response):
    start_response("200 OK", [("Content-Type", "application/json")])
    return [look().encode()]


with contextlib.suppress(ImportError):
    from celery import Celery

    celery = Celery("inherited_app")
    celery.task(look, name="look")
