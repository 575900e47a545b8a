"""Read the stack file that a call is about, else the built-in one."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

from neon_compose.cli.stackname import Choice
from neon_compose.errors import Invalid
from neon_compose.model.stackfile import StackFile, read_stack


def load(choice: Choice) -> StackFile:
    """The checked stack file with the chosen name and absolute host paths. Raises `Invalid`, `Malformed`."""
    if choice.file is None:
        stack = read_stack(_built_in("default.yaml"), where="default.yaml")
    else:
        stack = read_stack(_text(choice.file), where=str(choice.file), folder=choice.file.parent)
    return stack.model_copy(update={"name": choice.stack})


def _text(file: Path) -> str:
    try:
        return file.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise Invalid(
            f"could not read stack file {str(file)!a}", detail=f"{error}.", code="bad_stack_file"
        ) from error


def _built_in(name: str) -> str:
    """A file of compose/: in the wheel it lies under the package, in a clone beside it."""
    package = resources.files("neon_compose")
    carried = package / "_data" / "compose" / name
    if carried.is_file():
        return carried.read_text()
    return (Path(str(package)).parent / "compose" / name).read_text()
