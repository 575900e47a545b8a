"""neon-compose: Neon's storage model on plain Docker.

How data flows (each arrow is a seam with a Protocol or a wire message):

    cli --HTTP--> api -> controller: observe -> plan -> execute -> engine (Docker)
                                |                                     |
                                +--wire/HTTP--> pageserver            v
                                                  | objectstore    compute container: postgres + shim
                                                  | layer            reads layers through the branch map,
                                                  | compute          writes its own pages locally
                                                  v
                              storage: layers, manifests, refs (a volume or a host folder)

errors       the tree of errors, one table kind -> HTTP status -> exit code
wait         the only clock and sleep; every wait has a deadline and a subject
settings     the only reader of os.environ
log          one line per event on stderr
metrics      figures in Prometheus's text format
durable      files that commit by rename
disks        a full or failing disk in words that name the volume
model        nouns: names, ids, LSNs, sources, states. Frozen, no I/O
postgres     what we know of Postgres's own files and programs
terms        who may write to a branch, and what is committed: the safekeepers' protocol, pure
layer        our formats: layer file, index, branch map, overlay, meta archive
objectstore  where documents and layers live; manifests by compare-and-swap
wire         messages between controller and pageserver, and the typed client
engine       the Docker seam, images and labels
controller   which containers should exist: desired, observe, plan, execute
compute      layout, gate and settings of a compute; a library of the pageserver
api          REST on :3000: parse, call one function, render
pageserver   one per storage: branches, imports, opening computes
safekeeper   durable WAL of running branches: state, segments, receivers
cli          the command line; HTTP only, but for up, down, logs, doctor and psql
"""

__version__ = "0.1.0"
