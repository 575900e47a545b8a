"""YAML as stack files may use it: plain documents, where a key given twice is an error, not a surprise."""

from __future__ import annotations

from typing import Any

import yaml

from neon_compose.errors import Malformed, TooLarge

MAX_CHARS = 1 << 20


class _Loader(yaml.SafeLoader):
    """SafeLoader that refuses repeated keys and aliases (a few of them can stand for gigabytes)."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            mark = self.peek_event().start_mark  # type: ignore[no-untyped-call]
            raise yaml.MarkedYAMLError(problem="aliases (*name) are not allowed", problem_mark=mark)
        return super().compose_node(parent, index)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> Any:
        seen: set[str] = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.value in seen:
                raise yaml.MarkedYAMLError(
                    problem=f"key {key.value!r} is given twice", problem_mark=key.start_mark
                )
            seen.add(str(key.value))
        return super().construct_mapping(node, deep)


def read_yaml(text: str, where: str) -> object:
    """The document in `text`; raises `Malformed` with line and column, or `TooLarge`."""
    if len(text) > MAX_CHARS:
        raise TooLarge(f'stack file "{where}" is over 1 MiB', code="stack_file_too_large")
    try:
        return yaml.load(text, Loader=_Loader)
    except yaml.YAMLError as error:
        raise Malformed(f'stack file "{where}" is not YAML', detail=_said(error), code="bad_yaml") from error
    except RecursionError as error:
        raise Malformed(f'stack file "{where}" is nested too deeply', code="bad_yaml") from error
    except ValueError as error:  # a date like 2026-99-99
        raise Malformed(f'stack file "{where}" is not YAML', detail=f"{error}.", code="bad_yaml") from error


def _said(error: yaml.YAMLError) -> str:
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark is not None:
        mark = error.problem_mark
        return f"Line {mark.line + 1}, column {mark.column + 1}: {error.problem}."
    return " ".join(str(error).split())
