"""The command line: Typer commands that speak HTTP to the controller.

Only `up`, `down`, `logs`, `doctor`, `psql` and a lost token go through `engine/`, since they must work
with the controller dead or need a container's terminal. Results go to stdout, progress and errors to
stderr. A call must cost no more than 250 ms of its own, so modules import what is heavy (httpx, pydantic,
docker, rich) inside the functions that need it.

__main__   the composition root: argv in, exit code out, errors as text
app        the tree of commands
args       options and arguments many commands share
session    what one call knows: its stack, the client, the engine
stackname  which stack a call is about, and which stack file
access     URL and token of a stack, in a file of the user's
client     the one HTTP client: problem documents become errors, NDJSON becomes events
render     tables and JSON        progress  steps as they happen
upload     a dump as a stream of bytes
"""
