"""Everything that knows requests, urllib3 or niquests: one response, from request to last byte."""
