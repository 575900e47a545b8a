"""The Docker seam.

runtime  the Protocols `Runtime` and `Reader`, and what they speak of: frozen specs and observations
docker   the only module that imports docker for them: both Protocols over the SDK's low-level client
labels   the labels by which everything is found; nothing is found by parsing a name

images     what each image is made from, its tag, and how to get the missing ones; context, rootfs,
           surroundings (of the network) are its parts, builder the Protocol, docker_builder the real one
bootstrap  an engine where none answers; packages and machine are its parts
progress   what both tell while they work
"""
