"""States and kinds as enums; a match over one ends in `assert_never`."""

from __future__ import annotations

from enum import StrEnum


class StorageType(StrEnum):
    NATIVE = "native"
    S3 = "s3"


class Durability(StrEnum):
    """What a commit's acknowledgement means (DESIGN 7); `quorum` needs safekeepers."""

    QUORUM = "quorum"
    LOCAL = "local"
    OFF = "off"


class Wanted(StrEnum):
    RUNNING = "running"
    STOPPED = "stopped"


class Component(StrEnum):
    CONTROLLER = "controller"
    MINIO = "minio"
    PAGESERVER = "pageserver"
    SAFEKEEPER = "safekeeper"
    COMPUTE = "compute"
    POD = "pod"


class PgState(StrEnum):
    CREATED = "created"  # documents only, never started
    STARTING = "starting"
    RUNNING = "running"
    STOPPED = "stopped"
    FAILED = "failed"  # wanted running, but its container is dead
