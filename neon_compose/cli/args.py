"""Options and arguments that many commands share, and the rules between them."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from neon_compose.errors import Invalid
from neon_compose.model.names import Name, parse_name


class Output(StrEnum):
    TABLE = "table"
    JSON = "json"


NameArgument = Annotated[str | None, typer.Argument(metavar="NAME", show_default=False)]
NameOption = Annotated[
    str | None, typer.Option("-n", "--name", metavar="NAME", help="The same as NAME.", show_default=False)
]
OutputOption = Annotated[Output, typer.Option("-o", "--output", help="How to print the result.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Print the plan and change nothing.")]
DiscardWrites = Annotated[
    bool, typer.Option("--discard-writes", help="Give up what was written since the branch began.")
]

GLOBAL_WITH_VALUE = ("--stack",)
GLOBAL_FLAGS = ("--debug",)


def one_name(argument: str | None, option: str | None, what: str) -> Name:
    """The name given positionally or as -n. Raises `Invalid` when there is none, two, or a bad one."""
    if argument is not None and option is not None and argument != option:
        raise Invalid(
            f"two names for one {what}: {argument[:60]!a} and {option[:60]!a}",
            hint="Give NAME or -n NAME, not both.",
            code="two_names",
        )
    name = argument if argument is not None else option
    if name is None:
        raise Invalid(f"no name of a {what}", hint="Give it as NAME or -n NAME.", code="no_name")
    return parse_name(name, what)


def hoist(argv: list[str]) -> list[str]:
    """`argv` with the global options first, wherever they stood before a `--`.

    `neon-compose up --stack ci` is what people type; Typer takes a global option only before the command.
    """
    own, rest = (argv[: argv.index("--")], argv[argv.index("--") :]) if "--" in argv else (argv, [])
    first: list[str] = []
    left: list[str] = []
    words = iter(own)
    for word in words:
        if word in GLOBAL_WITH_VALUE:
            first.append(word)
            first.extend(value for value in [next(words, None)] if value is not None)
        elif word in GLOBAL_FLAGS or word.startswith(tuple(f"{name}=" for name in GLOBAL_WITH_VALUE)):
            first.append(word)
        else:
            left.append(word)
    return first + left + rest
