"""Our formats: layer files, index, branch map, overlay, meta archive. Bytes in, bytes out.

keys       which file of PGDATA is a relation segment
tables     CRC-checked headers and tables, shared by the formats
cluster    what of a stopped PGDATA goes into a layer, and what is refused
pages      the .pages file: dense blocks           index     the .index file
meta       the .meta.tar.zst file                  pack      a stopped PGDATA -> an image layer
stacking   layers over each other (pure)           branchmap the .map file of a tip
overlay    one compute's own blocks                verify    every checksum of a layer
delta      what a replayed tip has of its own      fold      a stack of layers -> an image layer
history    which layers open a moment (pure)

Each module's docstring holds the byte table of the format it owns; tests/golden pins them for Python and C.
"""
