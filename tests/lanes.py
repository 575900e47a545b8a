"""All tests, in two lanes at the same time: those of running stacks, and beside them all others.

The former mostly wait for containers and disks, the latter compute: one after the other, each would leave
half the machine idle. Within a lane there is one process and one order. What the first lane says is seen at
once, what the second said when both are over. Ctrl-C reaches both, since they are of our process group; each
then takes down what it made, and we wait for that.
"""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence

PYTEST = (sys.executable, "-m", "pytest")
STACKS = "tests/e2e"


def run(seen: Sequence[str], beside: Sequence[str]) -> int:
    """The status to exit with once both commands have ended: the first that isn't 0."""
    with tempfile.TemporaryFile() as said:
        other = subprocess.Popen(beside, stdin=subprocess.DEVNULL, stdout=said, stderr=subprocess.STDOUT)
        lanes = (subprocess.Popen(seen), other)
        found = [_ended(lane) for lane in lanes]
        said.seek(0)
        shutil.copyfileobj(said, sys.stdout.buffer)
    for lane, status in zip(lanes, found, strict=True):
        print(f"-- {' '.join(map(str, lane.args))}: {f'ended with {status}' if status else 'passed'}")
    sys.stdout.flush()
    return next(filter(None, found), 0)


def _ended(lane: subprocess.Popen[bytes]) -> int:
    """Its status as a shell would say it."""
    while True:
        try:
            status = lane.wait()
        except KeyboardInterrupt:
            continue  # it has got that too; ending before it would leave its containers to nobody
        return status if status >= 0 else 128 + signal.Signals(-status)


if __name__ == "__main__":
    sys.exit(run([*PYTEST, STACKS], [*PYTEST, f"--ignore={STACKS}"]))
