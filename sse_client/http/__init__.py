"""Opens, reads and aborts connections: everything that knows requests, urllib3 or niquests."""
