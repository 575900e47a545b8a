"""What GET /events tells, one JSON object a line (or one SSE message each).

    {"id": 1795842000123456, "at": "2026-11-28T05:00:00.123456Z", "kind": "pg_started", "name": "main"}

`id` grows from event to event and is about its time in microseconds, so that it can be asked for with
`since` also from a controller that was started meanwhile. Events are news, not a record: what was before
the oldest one kept is not told any more, and a reader who was too slow gets one of kind `missed`.
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

from pydantic import BaseModel, ConfigDict

from neon_compose.model.states import Component


class EventKind(StrEnum):
    # what the engine says
    CONTAINER_CREATED = "container_created"
    CONTAINER_STARTED = "container_started"
    CONTAINER_ENDED = "container_ended"
    CONTAINER_REMOVED = "container_removed"
    CONTAINER_PAUSED = "container_paused"
    CONTAINER_RESUMED = "container_resumed"
    CONTAINER_OUT_OF_MEMORY = "container_out_of_memory"
    # what the controller did
    PG_CREATED = "pg_created"
    PG_CHANGED = "pg_changed"  # its settings, port, durability or branch
    PG_STARTED = "pg_started"  # clients get in
    PG_STOPPING = "pg_stopping"  # `container_ended` tells the end of it
    PG_DESTROYED = "pg_destroyed"
    BRANCH_CREATED = "branch_created"
    BRANCH_DELETED = "branch_deleted"
    BRANCH_UNDELETED = "branch_undeleted"
    BRANCH_RESTORED = "branch_restored"  # it is another under the same name
    SNAPSHOT_CREATED = "snapshot_created"
    SNAPSHOT_DELETED = "snapshot_deleted"
    STORAGE_INITIALISED = "storage_initialised"
    IMPORT_FINISHED = "import_finished"
    STORAGE_REFRESHED = "storage_refreshed"  # main has a newer copy of its source
    STORAGE_ATTACHED = "storage_attached"
    STORAGE_MOVED = "storage_moved"  # its folder
    STORAGE_CHANGED = "storage_changed"  # the history it keeps
    STORAGE_DETACHED = "storage_detached"
    STEP_FAILED = "step_failed"
    TAKEN_BACK = "taken_back"  # what a failed request had made
    # the whole stack
    STACK_STARTING = "stack_starting"
    STACK_READY = "stack_ready"
    STACK_STOPPING = "stack_stopping"
    STACK_STOPPED = "stack_stopped"
    # the stream itself
    MISSED = "missed"


class EventOut(BaseModel):
    """One event. `name` is what it is about: a pg, "storage/branch", a storage, a container."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    id: int
    at: datetime
    kind: EventKind
    name: str
    component: Component | None = None  # of a container
    exit_code: int | None = None  # of one that ended
    note: str | None = None
