"""Print the response of a language model while it is being written.

    API_KEY=... python examples/llm_chat.py https://llm.example/v1/chat/completions

The response to a POST is a stream that ends with "[DONE]". Without an address it asks its own
server.
"""

from __future__ import annotations

import json
import os
import sys
from typing import TYPE_CHECKING

from sse_client import SSE, HttpClient, SSEClientError
from sse_client.testing import SSEServer

if TYPE_CHECKING:
    from sse_client.testing import Exchange


def ask(url: str, prompt: str) -> None:
    """Print the tokens as they arrive."""
    question = {"messages": [{"role": "user", "content": prompt}], "stream": True}
    headers = {"Authorization": f"Bearer {os.environ.get('API_KEY', '')}"}
    with (
        HttpClient().install(SSE, end_of_stream="[DONE]") as client,
        client.sse(url, method="POST", headers=headers, json=question, timeout=60) as session,
    ):
        for event in session.incoming:
            if not event.data:
                continue  # a keep-alive
            for choice in event.json().get("choices") or []:
                text = (choice.get("delta") or {}).get("content")
                print(text or "", end="", flush=True)
    print()


def respond(exchange: Exchange) -> None:
    """Simulate a model that repeats the last message, word by word."""
    words = json.loads(exchange.request.body)["messages"][-1]["content"].split()
    for word in ["You", "said:", *words]:
        exchange.send(json.dumps({"choices": [{"delta": {"content": f"{word} "}}]}))
        exchange.wait_closed(timeout=0.05)  # think, unless the client has gone
    exchange.send("[DONE]")


def main() -> None:
    """Ask the given address, or our own server."""
    prompt = "Hello, stream!"
    try:
        if len(sys.argv) > 1:
            ask(sys.argv[1], prompt)
        else:
            with SSEServer(respond) as server:
                ask(server.url, prompt)
    except SSEClientError as error:
        # A POST is not repeated automatically: a response that breaks off is an error.
        sys.exit(f"\nthe response is incomplete: {error}")


if __name__ == "__main__":
    main()
