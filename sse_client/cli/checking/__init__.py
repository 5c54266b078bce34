"""``sse-client check``: observes a stream, and draws conclusions about its server."""
