"""The streams of ``sse-client relay``: of a file, or of the command line."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from sse_client.cli import values
from sse_client.cli.request_options import join_fields
from sse_client.relay import RelayConfig, RelayedStream, load_config
from sse_client.relay.templates import value_of

if TYPE_CHECKING:
    from sse_client.relay.config import HeaderValue


def read_config(options: argparse.Namespace) -> RelayConfig:
    """Read the file that the options name, or return the stream that they define.

    Raises:
        OSError, ValueError: The file can't be read, or something in it is wrong.
    """
    if options.config is not None:
        config = load_config(options.config)
        for number, each in enumerate(config.streams, 1):
            try:
                values.url(each.url)
            except argparse.ArgumentTypeError as error:
                raise ValueError(f"stream {number}: url {error}") from None
        return config
    try:
        stream = RelayedStream(
            options.url or "", options.stream, read_headers(options), options.max_length
        )
    except ValueError as error:
        raise ValueError(f"--{error}") from None  # it begins with the name: stream
    return RelayConfig((stream,))


def read_headers(options: argparse.Namespace) -> dict[str, HeaderValue]:
    """Return the headers of the command line."""
    headers: dict[str, HeaderValue] = dict(join_fields(options.header))
    if options.bearer_env:
        headers["Authorization"] = f"Bearer {options.bearer_env}"
    if options.bearer_file:
        # It is read for each attempt, because a token may be replaced.
        headers["Authorization"] = value_of(
            "--bearer-file", f"Bearer ${{file:{options.bearer_file}}}"
        )
    return headers
