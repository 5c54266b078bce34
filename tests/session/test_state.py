"""The state that the threads of a session share: requests, and the state after the end."""

from __future__ import annotations

from support import sse_client_for_tests

from sse_client import ReadyState
from sse_client.clock import Doorbell
from sse_client.session.state import Opening, Request, StreamState


def test_a_request_to_stop_outlasts_a_later_one_to_drain():
    state = StreamState(Doorbell())
    state.ask(Request.STOP)
    state.ask(Request.DRAIN)
    assert state.request is Request.STOP


def test_the_first_outcome_of_the_first_connection_stays():
    state = StreamState(Doorbell())
    state.settle(Opening.ACCEPTED)
    state.ask(Request.STOP)
    assert (state.opening, state.ready_state) == (Opening.ACCEPTED, ReadyState.CLOSED)


def test_what_breaks_after_a_close_is_not_the_error_of_the_session(server):
    def close_and_exit(session, text):
        session.close()
        raise SystemExit

    server.serve([b": comment\n\n"], then="stall")
    with sse_client_for_tests(on_comment=close_and_exit) as client:
        session = client.sse(server.url)
        assert list(session.incoming) == []
        session.close()
        assert session.error is None
