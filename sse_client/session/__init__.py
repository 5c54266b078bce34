"""Follows a stream: its thread, states and reconnections, and the session for users."""
