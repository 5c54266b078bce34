"""Soaks: ``make soak MINUTES=60 [SEED=n]``, or ``python tests/chaos/soak.py --minutes 60``."""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
from pathlib import Path

from certificates import issue
from kills import kill_again_and_again
from processes import start_watchman
from storm import Storm

#: The part of the time during which the client's process is killed repeatedly.
KILLING = 0.2


def main() -> int:
    """Run, print the figures, and return 0 if nothing went wrong."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=1.0)
    parser.add_argument("--seed", type=int, help="repeat the faults of this seed")
    parser.add_argument("--faults", type=int, default=0, help="the minimum number of faults")
    parser.add_argument("--json", type=Path, help="a file for the figures")
    options = parser.parse_args()
    seed = random.SystemRandom().randrange(2**32) if options.seed is None else options.seed
    print(f"seed {seed}", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        certificates = issue(Path(folder))
        start_watchman()  # before the storm, which reports descriptors that are new at its end
        seconds, began = options.minutes * 60, time.monotonic()
        summary = Storm(seed, certificates).run(seconds * (1 - KILLING), options.faults)
        if not summary.violations:
            kills = kill_again_and_again(seed, Path(folder), 1, seconds * KILLING)
            summary.add_kills(kills)
            summary.minutes = (time.monotonic() - began) / 60
    print(summary)
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(summary.as_json() + "\n")
    return 1 if summary.violations else 0


if __name__ == "__main__":
    sys.exit(main())
