"""A safekeeper: durable WAL of running branches, and what a majority of them makes of it.

    history   whose WAL a log holds: terms and where each began
    members   one safekeeper's durable state of one branch: promise, adopt, receive, report
    terms     the invariants; a new term out of a majority's answers, seats, the commit LSN
    segments  the WAL of one branch and term on disk
    receiver  the supervised pg_receivewal that fills it: subject (whose WAL), condition (how it is)

The first three are pure: no I/O, no clock, so that tests/model can walk through all their interleavings. The
controller doesn't make a safekeeper yet.
"""
