"""`make bench`: the numbers of DESIGN 14 on this machine, each against its floor in the same run.

A report, not a test: no time is ever asserted. Run as `python -m tests.bench`.

    pairs.py       how two sides are compared: alternating, warmed, one discard rule, ratios
    goals.py       what a number should be, and whether it is
    datasets.py    the databases: pgbench at a scale, or many relations
    engine.py      short containers of ours on the engine, labelled and removed
    vanilla.py     the floor: Postgres in a container on an existing data directory
    ours.py        the stack, through REST as its users drive it
    client.py      pgbench, placed alike for both sides
    branch.py disk.py fresh.py throughput.py receiving.py history.py layers.py many.py idle.py
                   one module per group of measures
    report.py      Markdown and JSON
"""
