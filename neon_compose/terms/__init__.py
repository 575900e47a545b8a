"""Terms of a branch: who may write to it, whose WAL a log holds, and what is committed. Pure.

    history   whose WAL a log holds: terms and where each began
    members   one safekeeper's durable state of one branch: promise, adopt, receive, report
    register  the invariants; what the manifest keeps; a new term out of a majority's answers, the commit LSN
    names     what a member is called on the wire

No I/O, no clock: tests/model walks through all interleavings with exactly these functions.
"""
