"""``python -m sse_client``: the ``sse-client`` command."""

from __future__ import annotations

import sys

from sse_client.cli import main

if __name__ == "__main__":
    sys.exit(main())
