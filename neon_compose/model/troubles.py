"""Everything that can be found wrong with a stack or its machine, with its words: one table.

The controller finds what its documents and containers tell, the command line what it takes a user's machine
to see; both speak from here. Words are filled in with `stack` and the `name` of what is concerned.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum


class Trouble(StrEnum):
    # the machine and the engine
    ENGINE_GONE = "engine_gone"
    ENGINE_OLD = "engine_old"
    IMAGE_MISSING = "image_missing"
    API_PORT_TAKEN = "api_port_taken"
    DISK_FULL = "disk_full"
    DISK_UNKNOWN = "disk_unknown"
    CLOCK_OFF = "clock_off"
    PROXY_ON = "proxy_on"
    NO_PSQL = "no_psql"
    LEFTOVER = "leftover"
    # the controller
    NOT_UP = "not_up"
    CONTROLLER_ENDED = "controller_ended"
    CONTROLLER_SILENT = "controller_silent"
    TOKEN_READABLE = "token_readable"
    # containers
    NAME_TAKEN = "name_taken"
    CONTAINER_PAUSED = "container_paused"
    CONTAINER_ENDED = "container_ended"
    CONTAINER_GONE = "container_gone"
    CUT_OFF = "cut_off"
    IMAGE_OLD = "image_old"
    # storages
    VOLUME_LOST = "volume_lost"
    FOLDER_LOST = "folder_lost"
    STORAGE_EMPTY = "storage_empty"
    STORAGE_SILENT = "storage_silent"
    STORAGE_DAMAGED = "storage_damaged"
    HALF_ATTACHED = "half_attached"
    # safekeepers
    SAFEKEEPER_SILENT = "safekeeper_silent"
    WAL_LOST = "wal_lost"
    WAL_NOT_RECEIVED = "wal_not_received"
    # branches
    BRANCH_OVERDUE = "branch_overdue"
    # pgs
    DATA_DOUBTFUL = "data_doubtful"
    DATA_LOST = "data_lost"
    DATA_UNCLAIMED = "data_unclaimed"
    SETTLING = "settling"
    RESTART_NEEDED = "restart_needed"
    # the last bring-up
    PORT_TAKEN = "port_taken"
    SUBNET_TAKEN = "subnet_taken"
    NOT_OPENED = "not_opened"
    NOT_BROUGHT_UP = "not_brought_up"


@dataclass(frozen=True)
class Words:
    """What it means, and what to do about it. `wrong`: something doesn't work, or may soon not."""

    means: str
    hint: str
    wrong: bool = True


_UP = "neon-compose --stack {stack} up -d"

WORDS: Mapping[Trouble, Words] = {
    Trouble.ENGINE_GONE: Words(
        "Everything runs in containers, so nothing can be done or seen without an engine.",
        "neon-compose up says what to do.",
    ),
    Trouble.ENGINE_OLD: Words(
        "Older engines lack what computes need of their containers.",
        "Install Docker Engine 20.10 or newer.",
    ),
    Trouble.IMAGE_MISSING: Words(
        "Containers are made from images that are built on this machine once.",
        "neon-compose up builds them.",
        wrong=False,
    ),
    Trouble.API_PORT_TAKEN: Words(
        "The stack that has the default name answers on port 3000.",
        "Stacks with a name of their own take another.",
        wrong=False,
    ),
    Trouble.DISK_FULL: Words(
        "A disk that runs full makes Postgres panic; what was committed stays.",
        "Images and one database want 5 GiB: docker system df shows what takes the room, "
        "neon-compose pg list what each pg has of its own.",
    ),
    Trouble.DISK_UNKNOWN: Words(
        "The engine's disk can't be looked at from here.",
        "On the engine's machine: df -h /var/lib/docker.",
        wrong=False,
    ),
    Trouble.CLOCK_OFF: Words(
        "Times of branches, snapshots and logs are the engine's: they would be wrong, or go back. "
        "No data depends on it.",
        "Set the clock by NTP (timedatectl set-ntp true). With Docker in a virtual machine, which a sleeping "
        "laptop leaves behind, restart that.",
    ),
    Trouble.PROXY_ON: Words(
        "Each packet to a published port passes a process of the engine.",
        'neon-compose url --direct avoids it, or {{"userland-proxy": false}} in /etc/docker/daemon.json.',
        wrong=False,
    ),
    Trouble.NO_PSQL: Words(
        "A psql of your own would have your history and settings.",
        "neon-compose psql uses the one in the container.",
        wrong=False,
    ),
    Trouble.LEFTOVER: Words(
        "They have no controller any more: a down was cut off, or the container was removed by hand.",
        "neon-compose --stack {name} down removes what is left of it; data stays.",
        wrong=False,
    ),
    Trouble.NOT_UP: Words("It has no controller.", _UP, wrong=False),
    Trouble.CONTROLLER_ENDED: Words(
        "Pgs that run go on running, but nothing can be changed and nothing is started again.",
        f"{_UP} starts it; neon-compose logs controller shows why it ended.",
    ),
    Trouble.CONTROLLER_SILENT: Words(
        "Its container runs, but its API gives no answer. Pgs that run go on running.",
        "neon-compose logs controller shows what it does. If it hangs: docker kill {stack}_controller, which "
        f"stops nothing else, and {_UP}.",
    ),
    Trouble.TOKEN_READABLE: Words(
        "Whoever can read the token can do with the stack and its data as they like.",
        "chmod 600 {name}",
    ),
    Trouble.NAME_TAKEN: Words(
        "A container that is not of this stack has the name of one of its own, which so can't be made.",
        f"docker rename {{name}} another-name, or docker rm it if nobody needs it; then {_UP}.",
    ),
    Trouble.CONTAINER_PAUSED: Words(
        "Somebody paused it with docker pause: its processes stand still, and clients wait.",
        f"docker unpause {{name}}, or {_UP}, which does the same.",
    ),
    Trouble.CONTAINER_ENDED: Words(
        "It should run, and has ended. Its data is where it was.",
        f"neon-compose logs shows why it ended. {_UP} starts it again.",
    ),
    Trouble.CONTAINER_GONE: Words(
        "It should run, but somebody removed its container. Its data is in a volume, and so still there.",
        f"{_UP} makes it again, with the data it had.",
    ),
    Trouble.CUT_OFF: Words(
        "It runs, but its network was taken away, as by a restart of its pod: no client reaches it.",
        f"{_UP} brings it back into the network. Commits that clients were told of are kept.",
    ),
    Trouble.IMAGE_OLD: Words(
        "It was made by another version. It works on, and gets the new one when it starts anew.",
        "neon-compose pg restart NAME does so for a pg, neon-compose up -d for the others.",
        wrong=False,
    ),
    Trouble.VOLUME_LOST: Words(
        "The volume with the storage's data is not there any more: somebody removed it.",
        "If there is a copy, make the volume from that before all else. Else: neon-compose storage detach "
        "-n {name} forgets the storage, after its pgs.",
    ),
    Trouble.FOLDER_LOST: Words(
        "A folder that a container needs is not at its place on the engine's machine: moved, or not mounted.",
        "Move it back, or tell where it is now: neon-compose storage attach -n NAME --path NEW "
        "(the storage is known again by its id).",
    ),
    Trouble.STORAGE_EMPTY: Words(
        "There is nothing where its data should be: its volume was removed and made anew, or a disk is not "
        "mounted. Nothing is written there meanwhile.",
        "Bring the data back to its place, and restart container {name}. If it is lost: "
        "neon-compose storage detach.",
    ),
    Trouble.STORAGE_SILENT: Words(
        "Its pageserver runs but gives no answer. Pgs that run go on; none can be started or branched.",
        f"neon-compose logs shows what it does. If it hangs: docker kill {{name}}, then {_UP}.",
    ),
    Trouble.STORAGE_DAMAGED: Words(
        "What is kept in it is not what was written. Nothing of it is opened on a guess; other storages "
        "go on.",
        "Bring the file named there back from a copy, then neon-compose up -d.",
    ),
    Trouble.HALF_ATTACHED: Words(
        "The controller ended while it was being attached: what there is of it is not whole.",
        "Attach it again, which begins anew, or neon-compose storage detach -n {name}.",
    ),
    Trouble.SAFEKEEPER_SILENT: Words(
        "It runs but gives no answer. Commits with durability quorum wait, unless enough others answer.",
        f"neon-compose logs shows what it does. If it hangs: docker kill {{name}}, then {_UP}.",
    ),
    Trouble.WAL_LOST: Words(
        "The volume with a safekeeper's copy of WAL is not there any more: somebody removed it. What others "
        "and the computes have is untouched.",
        f"If there is a copy, make the volume from that before all else. Else {_UP} makes an empty one.",
    ),
    Trouble.WAL_NOT_RECEIVED: Words(
        "A safekeeper does not get the WAL of a pg. With durability quorum its commits wait, unless enough "
        "others get it.",
        "If it stays so, what is named there has to go: neon-compose logs safekeeper has more.",
    ),
    Trouble.DATA_DOUBTFUL: Words(
        "The machine went down before its new files were known to be on disk, so they can't be trusted. "
        "Without writes of its own it is laid out again when it starts; with some, you are asked.",
        "neon-compose pg start {name} says which of the two it is, and what can be done.",
    ),
    Trouble.BRANCH_OVERDUE: Words(
        "It goes by itself as soon as nothing needs it; until then it is as before.",
        "Delete what needs it, or have it stay: neon-compose branch expire {name} --never",
        wrong=False,
    ),
    Trouble.DATA_LOST: Words(
        "What it had written since its branch began was in a volume that is gone. The branch is there.",
        "Bring the volume back if there is a copy. Else give the writes up: neon-compose pg destroy "
        "--discard-writes, and make the pg again on its branch.",
    ),
    Trouble.DATA_UNCLAIMED: Words(
        "Its data directory has writes that its branch knows nothing of: an older copy of the storage came "
        "back, or a destroy was cut off.",
        "If the storage is the right one: neon-compose pg destroy --discard-writes, and make the pg again.",
    ),
    Trouble.SETTLING: Words(
        "Its new files are being written to disk: a commit survives a kill, but not yet a power cut.",
        "Nothing is to be done: it takes seconds, or a minute on a slow disk. If it stays so, a write to the "
        "disk failed (the log of its pageserver says so): copy its data out, and make the pg anew.",
        wrong=False,
    ),
    Trouble.RESTART_NEEDED: Words(
        "It runs with what it was started with.", "neon-compose pg restart {name}", wrong=False
    ),
    Trouble.PORT_TAKEN: Words(
        "A port that a pg has had was taken by something else meanwhile.",
        f"End what has it (the message says what), then {_UP}; "
        "or destroy the pg and make it again with another port: its branch stays.",
    ),
    Trouble.SUBNET_TAKEN: Words(
        "The stack's network lies where another network, or a route of the machine, is now.",
        "neon-compose --stack {stack} down, then up -d: the network is made where there is room; data stays.",
    ),
    Trouble.NOT_OPENED: Words(
        "It ran, but let nobody in for too long: its recovery had much to do, or hangs.",
        "neon-compose pg start goes on where it was; neon-compose logs -f shows what it does.",
    ),
    Trouble.NOT_BROUGHT_UP: Words(
        "The last start of the stack could not do this; everything else was started.",
        f"{_UP} tries again; neon-compose logs controller has more.",
    ),
}

OF_CODES: Mapping[str, Trouble] = {
    "path_missing": Trouble.FOLDER_LOST,
    "image_missing": Trouble.IMAGE_MISSING,
    "exists": Trouble.NAME_TAKEN,
    "port_taken": Trouble.PORT_TAKEN,
    "subnet_taken": Trouble.SUBNET_TAKEN,
    "not_opened": Trouble.NOT_OPENED,
    "doubtful": Trouble.DATA_DOUBTFUL,
    "data_lost": Trouble.DATA_LOST,
    "unclaimed": Trouble.DATA_UNCLAIMED,
    "compute_ended": Trouble.CONTAINER_ENDED,
    "safekeeper_down": Trouble.CONTAINER_ENDED,
    "pageserver_down": Trouble.CONTAINER_ENDED,
    "pageserver_cut_off": Trouble.CONTAINER_ENDED,
}  # an error's code -> what it is a sign of; any other is `NOT_BROUGHT_UP`


def words_of(kind: Trouble, stack: str, name: str) -> Words:
    """The words, filled in."""
    words = WORDS[kind]
    return Words(words.means, words.hint.format(stack=stack, name=name), words.wrong)
