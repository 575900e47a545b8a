"""A compute's data directory: laying it out, its settings, and the gate. A library of the pageserver.

    paths      where things are, seen from here and from the compute's container
    record     compute.json: how far a generation got
    command    the container's command, postgresql.conf, pg_hba.conf
    plan       what a layer's layout needs, kept in memory
    layout     PGDATA's files, the overlay
    moment     the WAL of a layout that opens later than its tip, and the proof that it did
    marker     "everything laid out is on disk"
    gate       opens a started compute to clients once it is what it should be
    writes     has it writes, and how many bytes are its own

It starts no containers and knows no branches: the pageserver says which tip, the controller runs Postgres.
"""
