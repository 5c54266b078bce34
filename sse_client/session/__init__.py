"""A stream that is followed: its thread, states and reconnections, and what users hold of it."""
