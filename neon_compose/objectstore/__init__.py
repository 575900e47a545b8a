"""Where layers and documents live, and the storage's branches and snapshots in it.

store      the seam: a Protocol and its contract     local      a folder
documents  the JSON documents as dataclasses         codec      their JSON, strict
cas        one document by compare-and-swap          manifests  branches and snapshots, crash-safe
refreshes  another content of main
"""
