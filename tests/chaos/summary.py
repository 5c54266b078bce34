"""The figures of a run."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kills import Kills

MIB = 1024 * 1024


@dataclass
class Summary:
    """The figures of a run.

    Attributes:
        seed: The seed of the faults.
        minutes: The duration.
        rounds: The number of rounds.
        faults: The number of faults of each kind.
        delivered: Events that consumers took.
        lost: Events that the origin offered and no consumer got.
        doubled: Events that a consumer got again.
        in_hand: Events that were processed again after a kill, at most one per kill.
        sessions: Sessions that were opened, one after another on each stream.
        connections: Connections that were opened successfully.
        losses: Connections that were lost, and attempts that failed.
        longest_stall: The longest wait for an event, in seconds, after the end of both the fault
            and the requested wait.
        longest_unnoticed: The longest silence of a connection before it was given up.
        longest_close: The longest time to close a session or a client, in seconds.
        warm_memory: Resident memory after the first rounds, in bytes.
        peak_memory: The maximum at the end of any round.
        last_memory: After the last round.
        violations: Descriptions of all problems.
    """

    seed: int
    minutes: float = 0.0
    rounds: int = 0
    faults: Counter[str] = field(default_factory=Counter)
    delivered: int = 0
    lost: int = 0
    doubled: int = 0
    in_hand: int = 0
    sessions: int = 0
    connections: int = 0
    losses: int = 0
    longest_stall: float = 0.0
    longest_unnoticed: float = 0.0
    longest_close: float = 0.0
    warm_memory: int = 0
    peak_memory: int = 0
    last_memory: int = 0
    violations: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        injected = ", ".join(f"{kind} {count}" for kind, count in self.faults.most_common())
        memories = (self.warm_memory, self.peak_memory, self.last_memory)
        memory = ", ".join(f"{each / MIB:.1f}" for each in memories)
        lines = [
            f"seed                  {self.seed}",
            f"minutes               {self.minutes:.1f}",
            f"faults                {self.faults.total()} in {self.rounds} rounds: {injected}",
            f"events delivered      {self.delivered}",
            f"events lost           {self.lost}",
            f"events doubled        {self.doubled}",
            f"again after a kill    {self.in_hand}",
            f"sessions              {self.sessions}",
            f"connections           {self.connections}, and {self.losses} losses",
            f"longest stall         {self.longest_stall:.3f} s over the required wait",
            f"longest unnoticed     {self.longest_unnoticed:.3f} s of silence",
            f"longest close         {self.longest_close:.3f} s",
            f"memory                {memory} MiB: warm, at its peak, at the end",
            f"violations            {len(self.violations)}",
            *(f"  {violation}" for violation in self.violations),
        ]
        return "\n".join(lines)

    def add_kills(self, kills: Kills) -> None:
        """Add the result of killing the client."""
        self.faults["client killed"] += kills.count
        self.delivered += kills.processed + kills.doubled
        self.in_hand += kills.doubled
        self.violations += kills.violations

    def as_json(self) -> str:
        return json.dumps({**vars(self), "faults": dict(self.faults)}, indent=2)
