"""Bytes to events: the event stream of WHATWG HTML, section 9.2. No I/O, no threads."""
