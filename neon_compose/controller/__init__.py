"""Which containers should exist, and how they come to.

    desired   documents in the state volume: what should exist
    observe   documents + labels of containers: one frozen snapshot
    steps     what can be done, as data;  specs: the containers themselves
    plan      snapshot + request -> steps. Pure, printable
    execute   does steps, registers each undo before the next. Decides nothing
    storages, pgs, branches, stack   one function per request: lock, observe, plan, execute, render
    ports, pods, network, folder, minio, secrets, sources, locks, pageservers   what those need

Invariant: nothing that matters lives in memory; kill the controller at any moment, it comes back
knowing everything.
"""
