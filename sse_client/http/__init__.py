"""Everything that knows requests, urllib3 or niquests: to open, read and abort a connection."""
