"""`python -m neon_compose.engine [IMAGE...]`: an engine that answers and all images, in plain lines.

For `make test` and CI, which need both before there is a stack; `neon-compose up` does the same itself.
"""

from __future__ import annotations

import sys

from neon_compose.engine import bootstrap, images
from neon_compose.engine.progress import Step, StepState
from neon_compose.errors import NeonError


def _print(step: Step) -> None:
    if step.state is StepState.DONE:
        took = "" if step.ms is None else f"  {step.ms / 1000:.1f} s"
        print(f"{step.name}: {step.note or 'done'}{took}", flush=True)
    elif step.state is StepState.START:
        print(f"{step.name}…{' ' + step.note if step.note else ''}", flush=True)


def main(names: list[str]) -> int:
    try:
        bootstrap.install_engine(_print)
        images.ensure(names or images.ALL, _print)
    except NeonError as error:
        print(f"error: {error.message}", file=sys.stderr)
        for label, text in (("detail", error.detail), ("hint", error.hint)):
            if text:
                print(f"{label}: {text}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
