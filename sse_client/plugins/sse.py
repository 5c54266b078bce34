"""The ``SSE`` plugin, which creates the sessions of a client."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sse_client.channel.incoming import IncomingChannel
from sse_client.clock import SYSTEM_CLOCK
from sse_client.cursors.keeper import PositionKeeper
from sse_client.plugins.sse_config import SSEConfig, refuse_unknown
from sse_client.session.followed_stream import FollowedStream
from sse_client.session.hooks import Hooks
from sse_client.session.reader import StreamReader
from sse_client.session.session_log import record_fields
from sse_client.session.sse_session import SSESession
from sse_client.typed.channel import TypedChannel
from sse_client.typed.decoding import Deserializer

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from typing_extensions import Unpack

    from sse_client.clock import Clock
    from sse_client.http.stream_connection import StreamConnection
    from sse_client.plugins.sse_config import SSEOptions
    from sse_client.session.options import StreamOptions
    from sse_client.session.shared_reader import SharedReader


class SSE:
    """The plugin that lets a client follow event streams: ``client.install(SSE, ...)``.

    Args:
        **options: The options of ``SSEConfig``. They are the defaults of the client's streams.

    Raises:
        TypeError, ValueError: An option is wrong or unknown. The message names it.
    """

    def __init__(self, **options: Unpack[SSEOptions]) -> None:
        given = dict(options)
        refuse_unknown(given)
        self.config = SSEConfig(**options)
        self._plans: dict[tuple[str, Clock], _Plan] = {}

    def new_session(
        self,
        connect: Callable[[], StreamConnection],
        *,
        method: str,
        name: str,
        options: Mapping[str, Any],
        has_one_body: bool = False,
        clock: Clock = SYSTEM_CLOCK,
        shared: SharedReader | None = None,
    ) -> tuple[SSESession[Any], StreamReader]:
        """Create a session that is not started yet, and its reader."""
        plan = self._plan(method, clock) if not options else None
        if plan is None:
            plan = _Plan.of(self.config.replace(options), method, clock)
        config = plan.config
        if has_one_body and plan.repeats:
            raise ValueError(
                "data can be read only once, but this stream reconnects: "
                "give a function that returns it each time, or reconnect='never'"
            )
        deserializer = plan.deserializer
        bounds = (config.capacity, config.capacity_bytes, config.overflow)
        channel: IncomingChannel[Any] = (
            TypedChannel(deserializer.typed, *bounds)
            if deserializer.is_typed
            else IncomingChannel(*bounds)
        )
        if config.cursor is not None:
            channel.keep_position(
                PositionKeeper(
                    config.cursor,
                    auto_acknowledge=config.auto_acknowledge,
                    log_fields=record_fields(name),
                )
            )
        stream = FollowedStream(connect, channel, plan.options, name)
        reader = StreamReader(stream, channel.room, shared)
        return SSESession(reader, channel, plan.hooks, deserializer), reader

    def _plan(self, method: str, clock: Clock) -> _Plan:
        """Return the plan of the streams without their own options."""
        plan = self._plans.get((method, clock))
        if plan is None:
            plan = self._plans[method, clock] = _Plan.of(self.config, method, clock)
        return plan


@dataclass(frozen=True, slots=True)
class _Plan:
    """The objects that all streams with the same options share."""

    config: SSEConfig
    options: StreamOptions
    repeats: bool
    hooks: Hooks
    deserializer: Deserializer

    @classmethod
    def of(cls, config: SSEConfig, method: str, clock: Clock) -> _Plan:
        """Return the plan for a method."""
        options = config.stream_options(method, clock)
        repeats = options.policy.reconnect != "never" or config.retry_first_connection
        return cls(
            config,
            options,
            repeats and config.max_reconnection_attempts != 0,
            Hooks(**{each.name: getattr(config, each.name) for each in dataclasses.fields(Hooks)}),
            Deserializer(
                config.types,
                config.deserialize,
                show_comment_events=config.show_comment_events,
                show_retry_events=config.show_retry_events,
            ),
        )
