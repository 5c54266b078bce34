"""Run the cases of ``greenlet_cases.py`` with gevent or eventlet, in an environment that has it.

``python run_greenlets.py HOW`` runs all cases, and ``python run_greenlets.py HOW ENDING`` leaves
something open at the end of the process. HOW is the library that patches the standard library:
``gevent``, ``gevent-without-queue``, ``eventlet``; with ``-late`` the package is imported before.
"""

from __future__ import annotations

import sys
import warnings


def patch(how: str) -> list[object]:
    """Patch, and return the clients that were created before."""
    library, _, manner = how.partition("-")
    clients: list[object] = []
    if manner == "late":
        import sse_client.testing  # and everything that it imports
    if library == "gevent":
        from gevent import monkey

        if manner == "late":  # eventlet warns about each existing RLock
            clients.append(sse_client.HttpClient().install(sse_client.SSE))
        monkey.patch_all(queue=manner != "without-queue")
    else:
        import eventlet

        eventlet.monkey_patch()
    return clients


with warnings.catch_warnings():
    # The warnings that eventlet is deprecated, and that gevent should have been imported first.
    warnings.simplefilter("ignore")
    older_clients = patch(sys.argv[1])

if __name__ == "__main__":
    import greenlet_cases

    greenlet_cases.OLDER_CLIENTS.extend(older_clients)
    if len(sys.argv) == 2:
        sys.exit(not greenlet_cases.run_cases())
    left_open = greenlet_cases.end(sys.argv[2])  # until the interpreter ends
