"""How long our servers keep an idle connection.

Longer than any client of ours does (httpx: 5 s). A server that is first to close a connection does so under
the hands of a client that is just sending its next request: that gets no answer, and can't know whether it
was done. uvicorn's default is 5 s as well, so with two equal clocks it happened (50 clients, 1 in 1,000).
"""

SERVER_S = 75
