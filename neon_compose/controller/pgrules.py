"""Rules of pgs that need no engine: identity, durability, what is not available yet. Pure."""

from __future__ import annotations

from neon_compose.controller.desired import PgDoc
from neon_compose.controller.ports import Ports, format_ports
from neon_compose.errors import Conflict, Invalid
from neon_compose.model.states import Durability
from neon_compose.wait import now
from neon_compose.wire.rest import PgAction, PgIn, PgVerb


def check_durability(durability: Durability | None, safekeepers: int) -> None:
    """`quorum` needs somebody who keeps WAL apart from the compute."""
    if durability is Durability.QUORUM and not safekeepers:
        raise Invalid(
            'durability "quorum" needs safekeepers, and this stack has none',
            detail="A commit would wait for a copy of its WAL that nobody makes.",
            hint='Say "safekeepers: 1" in the stack file and run neon-compose up -d, or use durability '
            '"local", with which a commit survives a crash of compute and machine.',
            code="no_safekeepers",
        )


def default_durability(safekeepers: int) -> Durability:
    """Of a pg that is made without being given one; it stays with that, however many there are later."""
    return Durability.QUORUM if safekeepers else Durability.LOCAL


def check_available(action: PgAction) -> None:
    """Words that don't go together, and what is not there yet, are refused by name."""
    if (action.action is PgVerb.CHECKOUT) != (action.branch is not None):
        raise Invalid(
            "a checkout needs a branch" if action.branch is None else "only a checkout takes a branch",
            hint='For example {"action": "checkout", "branch": "main"}; "-" is the one before.',
            code="no_branch_given",
        )
    if action.action is PgVerb.PROMOTE:
        what = f'action "{action.action}"'
    elif action.is_replica:
        what = "a replica"
    else:
        return
    raise Invalid(
        f"{what} is not available",
        detail="This version has primaries only.",
        hint="For a copy to read from, make a branch: neon-compose branch create NAME --from PG",
        code="not_available",
    )


def new_doc(request: PgIn, branch: str, port: int, pod_ports: Ports, safekeepers: int) -> PgDoc:
    """`safekeepers`: how many the stack has."""
    return PgDoc(
        name=request.name,
        storage_name=request.storage_name,
        branch=branch,
        from_=request.from_,
        port=port,
        ports=format_ports(pod_ports),
        durability=request.durability or default_durability(safekeepers),
        settings=request.settings or {},
        created_at=now(),
    )


def updated_doc(doc: PgDoc, request: PgIn, port: int, pod_ports: Ports) -> PgDoc:
    """`doc` with what `request` gives; what it doesn't give stays."""
    given = {
        "port": port,
        "ports": format_ports(pod_ports),
        "durability": request.durability or doc.durability,
        "settings": doc.settings if request.settings is None else request.settings,
    }
    return doc.model_copy(update=given)


def refuse_other_identity(doc: PgDoc, request: PgIn, branch: str) -> None:
    """Storage and branch of a pg never change by a request that makes it; a checkout since then stays."""
    pairs = [("storage", doc.storage_name, request.storage_name)]
    if request.branch is not None or request.from_ is not None:
        pairs.append(("branch", doc.branch if branch == doc.branch else doc.home or doc.branch, branch))
    if request.from_ is not None:
        pairs.append(("source", doc.from_ or "(none)", request.from_))
    for what, has, asked in pairs:
        if has != asked:
            raise Conflict(
                f'pg "{doc.name}" exists with another {what}',
                detail=f'It has {what} "{has}"; "{asked}" was asked for. That can\'t be changed.',
                hint=f"Use another name, or destroy it first: neon-compose pg destroy -n {doc.name}",
                code="pg_exists",
            )


def refuse_ending(doc: PgDoc) -> None:
    if doc.ending:
        raise Conflict(
            f'pg "{doc.name}" is being destroyed',
            detail="That was begun and did not come to its end.",
            hint=f"Finish it: neon-compose pg destroy -n {doc.name}; the next up does too.",
            code="ending",
        )
