"""The composition root of the command line: argv in, exit code out.

Errors become text on stderr and the exit codes of `neon_compose.errors`; a bug prints one line, its
trace only with --debug. An interrupted call exits 130, a reader that went away (`| head`) 141.
"""

from __future__ import annotations

import os
import sys
import traceback

from neon_compose import settings
from neon_compose.errors import Bug, Invalid, NeonError

INTERRUPTED = 130
BROKEN_PIPE = 141


def main() -> None:
    """The program `neon-compose`."""
    from neon_compose.cli.session import Outside

    sys.exit(run(sys.argv[1:], Outside()))


def run(argv: list[str], outside: object) -> int:
    """Run one call; its exit code. Never raises."""
    debug = bool(settings.text("NEON_DEBUG")) or "--debug" in argv
    try:
        code = _invoke(argv, outside)
        sys.stdout.flush()
        return code
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        os.dup2(
            os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno()
        )  # the exit's flush must not raise again
        return BROKEN_PIPE
    except NeonError as error:
        return _report(error, debug)
    except Exception as error:  # the border: what nobody translated is ours
        return _report(_bug(error), debug, error)


def _invoke(argv: list[str], outside: object) -> int:
    import typer
    from typer.main import get_command

    from neon_compose.cli.app import app
    from neon_compose.cli.args import hoist
    from neon_compose.cli.light import spare_pydantic
    from neon_compose.cli.session import Outside, Session

    assert isinstance(outside, Outside)
    spare_pydantic()
    command = get_command(app)
    try:
        code = command.main(
            hoist(argv), prog_name="neon-compose", standalone_mode=False, obj=Session(outside)
        )
    except typer.TyperException as error:
        return _usage(error)
    except typer.Abort:
        return INTERRUPTED
    return code if isinstance(code, int) else 0


def _usage(error: Exception) -> int:
    """A wrong command line; help that was asked for by giving no command is not an error's text."""
    message = getattr(error, "format_message", lambda: str(error))()
    context = getattr(error, "ctx", None)
    path = context.command_path if context is not None else "neon-compose"
    if type(error).__name__ == "NoArgsIsHelpError":
        print(message, file=sys.stderr)
        return Invalid.exit_code
    text = message.strip().rstrip(".").replace("Value error, ", "").replace("'", '"')
    return _report(
        Invalid(text[:1].lower() + text[1:], hint=f"{path} --help shows what it takes."), debug=False
    )


def _bug(error: Exception) -> Bug:
    return Bug(
        f"{type(error).__name__}: {error}".split("\n")[0],
        detail="This is a bug of neon-compose.",
        hint="Run it again with --debug (or NEON_DEBUG=1) and report what it prints.",
    )


def _report(error: NeonError, debug: bool, cause: BaseException | None = None) -> int:
    if debug:
        traceback.print_exception(cause or error, file=sys.stderr)
    for label, text in (("error", error.message), ("detail", error.detail), ("hint", error.hint)):
        if text:
            print(f"{label}: {text}".replace("\n", f"\n{' ' * (len(label) + 2)}"), file=sys.stderr)
    return error.exit_code


if __name__ == "__main__":
    main()
