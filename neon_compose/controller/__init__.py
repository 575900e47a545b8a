"""Which containers should exist, and how they come to.

    desired   documents in the state volume: what should exist
    observe   documents + labels of containers: one frozen snapshot
    steps     what can be done, as data;  specs: the containers themselves
    plan      snapshot + request -> steps. Pure, printable
    execute   does steps, registers each undo before it. Decides nothing
    storages, pgs, branches, stack, status   one function per request: lock, observe, plan, execute, render
    bringup, progress   many of those at once, of which one may fail

What those need: site (everything put together), locks, pageservers (their clients), sources, contents
(what a storage is filled with), pgrules, render (pure); ports, pods, network (where computes can be
reached); probe, folder, hostpath, dumps (the engine's machine); gate (a compute's start), minio, secrets.

Invariant: nothing that matters lives in memory; kill the controller at any moment, it comes back
knowing everything.
"""
