"""Turns bytes into events (WHATWG HTML, section 9.2), without I/O or threads."""
