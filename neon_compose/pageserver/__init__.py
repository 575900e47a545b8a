"""The pageserver of one storage: makes it, keeps its branches, and opens computes on them.

    dump       reading a dump as it arrives             birth      a storage, or its next content
    script     looking into a dump's SQL                content    what a storage's cluster is made of
    fetches    what fetching containers bring           branches   branches and snapshots
    restore    psql and pg_restore with progress        computes   prepare, layout, open, delete
    jobs       long requests as NDJSON                  app        HTTP: parse, call one function, render
    redo       WAL over a tip -> a delta layer      growing    a branch gets one more layer
    redoing    when, and one job at a time          collecting layers that can go
    ages       how old layers are                   layering   these put together
    __main__   composition

State is what is on disk (/storage, /work); memory holds caches and locks only. A start cleans scratch and
what a dead import left, and finds everything else.
"""
