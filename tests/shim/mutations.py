"""The shim, broken on purpose: what each break does, and which test program must notice.

An edit replaces text that stands exactly once in its file. Only .c files: the tests share the headers.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Mutation:
    """`edits` are (old, new) in `file`; `caught_by` is a program of tests/shim that must fail over it."""

    name: str
    file: str
    edits: tuple[tuple[str, str], ...]
    caught_by: str


def one(name: str, file: str, old: str, new: str, caught_by: str) -> Mutation:
    return Mutation(name, file, ((old, new),), caught_by)


_SYNC_BEFORE_MERGE = """\
		if (real_sync(fd, data_only) != 0)
			return -1;
		bits_merge(shim.planes.synced, s->first_bit, s->blocks, before);
"""
_MERGE_BEFORE_SYNC = """\
		bits_merge(shim.planes.synced, s->first_bit, s->blocks, before);
		if (real_sync(fd, data_only) != 0)
			return -1;
"""
_NOTE_BEFORE_SYNC = """\
		bits_copy(shim.planes.now, s->first_bit, s->blocks, before);
		if (real_sync(fd, data_only) != 0)
			return -1;
"""
_NOTE_AFTER_SYNC = """\
		if (real_sync(fd, data_only) != 0)
			return -1;
		bits_copy(shim.planes.now, s->first_bit, s->blocks, before);
"""
_ALL_PERSISTED = """\
	bool		all = true;

	for (uint64_t b = 0; b < (s->blocks + 7) / 8; b++)
		all &= (shim.planes.now[s->first_bit / 8 + b] & ~shim.overlay.bits[s->first_bit / 8 + b]) == 0;
	if (all && bits_any(shim.planes.now, s->first_bit, s->blocks))
		return true;
	return atomic_load(&shim.overlay.flags[index]) == 0 &&
"""

SYNC = (
    one(
        "bits count as synced before their data is",
        "sync.c",
        _SYNC_BEFORE_MERGE,
        _MERGE_BEFORE_SYNC,
        "test_sync",
    ),
    one(
        "fsync vouches for what came while it ran", "sync.c", _NOTE_BEFORE_SYNC, _NOTE_AFTER_SYNC, "test_sync"
    ),
    one(
        "fsync is skipped on a file whose bits are all persisted",
        "sync.c",
        "	return atomic_load(&shim.overlay.flags[index]) == 0 &&\n",
        _ALL_PERSISTED,
        "test_power",
    ),
    one(
        "fsync is skipped on a file that was cut",
        "sync.c",
        "	return atomic_load(&shim.overlay.flags[index]) == 0 &&\n",
        "	return\n",
        "test_sync",
    ),
    one(
        "syncfs marks nothing",
        "sync.c",
        "		bits_merge(shim.planes.synced, 0, bits, before);\n",
        "		;\n",
        "test_sync",
    ),
    one(
        "a broken segment can be synced", "sync.c", "	if (segment_broken(index))", "	if (0)", "test_cut"
    ),
)

WRITE = (
    one(
        "a bit is set before its data is written",
        "write.c",
        "	n = count == 1 ? real.pwrite(",
        "	if (first < s->blocks)\n"
        "		bits_set(shim.planes.now, s->first_bit + first,\n"
        "				 (last = (uint64_t) (end - 1) / BLOCK_SIZE) < s->blocks ? last - first + 1 : 1);\n"
        "	n = count == 1 ? real.pwrite(",
        "test_readwrite",
    ),
    one(
        "a partial write doesn't copy its block first",
        "write.c",
        "	if ((at % BLOCK_SIZE != 0 || end % BLOCK_SIZE != 0) && !copy_edges(index, fd, at, end))",
        "	if (0 && !copy_edges(index, fd, at, end))",
        "test_readwrite",
    ),
    one(
        "a short write leaves half a block",
        "write.c",
        "		n = finish_block(s, fd, iov, count, at, n);",
        "		n = finish_block(s, fd, iov, count, at, n) > 0 ? n : -1;",
        "test_readwrite",
    ),
    one(
        "a write past the end raises no flag",
        "write.c",
        "	if ((uint64_t) (end - 1) / BLOCK_SIZE >= s->blocks)\n		segment_flag(index, FLAG_TOUCHED);\n",
        "",
        "test_sync",
    ),
    one(
        "the last block of a write gets no bit",
        "write.c",
        "	bits_set(shim.planes.now, s->first_bit + first, last - first + 1);\n	return n;",
        "	bits_set(shim.planes.now, s->first_bit + first, last - first);\n	return n;",
        "test_model",
    ),
)

CUT = (
    one(
        "the bits of a cut are set after it",
        "cut.c",
        """\
	news = segment_cut_bits(index, block);
	do
		r = real.ftruncate(fd, len);
	while (r != 0 && errno == EINTR);
""",
        """\
	do
		r = real.ftruncate(fd, len);
	while (r != 0 && errno == EINTR);
	news = segment_cut_bits(index, block);
""",
        "test_cut",
    ),
    one(
        "a truncate sets no bits",
        "cut.c",
        "	news = segment_cut_bits(index, block);",
        "	news = false;",
        "test_model",
    ),
    one(
        "an unlink sets no bits",
        "cut.c",
        "	news = segment_cut_bits(index, 0);",
        "	news = false;",
        "test_cut",
    ),
    one(
        "an unlink is forgotten by a kill",
        "cut.c",
        "	if (r == 0)\n		segment_flag(index, FLAG_REPLACED);\n",
        "",
        "test_cut",
    ),
    one(
        "a block cut in two loses its first part",
        "cut.c",
        "	if (len % BLOCK_SIZE != 0 && !block_is_local(s, block) &&",
        "	if (0 && !block_is_local(s, block) &&",
        "test_cut",
    ),
    one(
        "a failed cut goes unnoticed",
        "segment.c",
        "	atomic_store(&shim.planes.states[index], SEGMENT_BROKEN);",
        "",
        "test_cut",
    ),
    one(
        "a shorter file's first open sets no bits",
        "segment.c",
        "	segment_cut_bits(index, local_from);\n",
        "",
        "test_cut",
    ),
    one(
        "a file made anew is taken for the old one",
        "segment.c",
        "	if (atomic_load(&shim.overlay.flags[index]) & FLAG_REPLACED)\n		local_from = 0;\n",
        "",
        "test_cut",
    ),
    one(
        "fallocate raises no flag",
        "cut.c",
        "		segment_flag(index, FLAG_TOUCHED);\n		return real.fallocate(",
        "		return real.fallocate(",
        "test_sync",
    ),
    one(
        "posix_fallocate raises no flag",
        "cut.c",
        "	segment_flag(index, FLAG_TOUCHED);\n	return real.posix_fallocate(",
        "	return real.posix_fallocate(",
        "test_sync",
    ),
    one(
        "O_TRUNC cuts without bits",
        "cut.c",
        "	fd = real.openat(dirfd, path, flags & ~O_TRUNC, mode);",
        "	fd = real.openat(dirfd, path, flags, mode);\n	flags &= ~O_TRUNC;",
        "test_cut",
    ),
)

OVERLAY = (
    one(
        "the overlay has no lock",
        "overlay.c",
        "	if (flock(overlay->fd, LOCK_EX | LOCK_NB) == 0)\n		return true;",
        "	return true;",
        "test_overlay",
    ),
    one(
        "what isn't synced is persisted",
        "overlay.c",
        "merge_page(overlay->bits + at, planes->synced + at, unsure, page)",
        "merge_page(overlay->bits + at, planes->now + at, unsure, page)",
        "test_power",
    ),
    one(
        "a persist isn't synced",
        "overlay.c",
        "	if (wrote && durable && real.fdatasync(overlay->fd) != 0)\n		return false;\n",
        "",
        "test_power",
    ),
    one(
        "a failed persist is tried again",
        "overlay.c",
        "			atomic_store(&shared->persist_failed, 1);",
        "			;",
        "test_overlay",
    ),
    one(
        "a persist that was cut off is taken for done",
        "overlay.c",
        "		atomic_store(&shared->persist_unsure, 1);\n",
        "",
        "test_overlay",
    ),
    one(
        "a start trusts the page cache",
        "shim.c",
        "	atomic_store(&shim.planes.shared->persist_unsure, 1);\n",
        "",
        "test_overlay",
    ),
    one(
        "an overlay of another map is taken",
        "overlay.c",
        "	if (memcmp(h->tip_layer, map->tip_layer, 16) != 0 ||",
        "	if (0 && memcmp(h->tip_layer, map->tip_layer, 16) != 0 ||",
        "test_overlay",
    ),
    one(
        "pg_control is written without a persist",
        "control.c",
        "	if (!overlay_persist(&shim.overlay, &shim.planes, shim.mode != MODE_OFF))",
        "	if (0)",
        "test_power",
    ),
    one(
        "pg_control doesn't wait for the marker",
        "control.c",
        "	while (real.access(shim.marker, F_OK) != 0)",
        "	while (0)",
        "test_names",
    ),
)

REST = (
    one(
        "each process has bits of its own",
        "bits.c",
        "								 MAP_SHARED | MAP_ANONYMOUS, -1, 0);",
        "								 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);",
        "test_processes",
    ),
    one(
        "the first bit of a range is left out",
        "bits.c",
        "		mask &= (uint8_t) (0xff << (first % 8));",
        "		mask &= (uint8_t) (0xfe << (first % 8));",
        "test_bits",
    ),
    one(
        "setting a bit loses a neighbour's",
        "bits.c",
        "	return (atomic_fetch_or_explicit(byte, mask, memory_order_release) & mask) != mask;",
        "	uint8_t		old = atomic_load(byte);\n"
        "	for (volatile int i = 0; i < 50; i++);\n"
        "	atomic_store(byte, old | mask);\n"
        "	return (old & mask) != mask;",
        "test_bits",
    ),
    one(
        "a start forgets what was persisted",
        "shim.c",
        "	planes_load(&shim.planes, shim.overlay.bits);\n",
        "",
        "test_model",
    ),
    one(
        "zeros are read as whatever was in the buffer",
        "read.c",
        "			memset(iov[i].iov_base, 0, iov[i].iov_len);",
        "			;",
        "test_readwrite",
    ),
    one(
        "a run goes on into the next extent",
        "read.c",
        "		if (end > (uint64_t) x->block + x->count)\n			end = (uint64_t) x->block + x->count;\n",
        "",
        "test_readwrite",
    ),
    one(
        "a map's checksum is not looked at",
        "map.c",
        "	if (crc32c(base + sizeof(*h), len - sizeof(*h)) != h->body_crc)",
        "	if (0)",
        "test_map",
    ),
    one(
        "a layer of the wrong size is taken",
        "layers.c",
        "		(uint64_t) st.st_size != layer->pages * BLOCK_SIZE)",
        "		0)",
        "test_overlay",
    ),
    one(
        "a duplicate is not known",
        "interpose_open.c",
        "	if (fresh >= 0 && !fd_remember(fresh, entry))",
        "	if (0 && !fd_remember(fresh, entry))",
        "test_names",
    ),
    one(
        "a closed descriptor is still known",
        "interpose_open.c",
        "	if (entry != FD_OTHER)\n		fd_forget(fd);\n",
        "",
        "test_names",
    ),
    one(
        "a vfork child forgets for its parent",
        "interpose_open.c",
        "	return fork();",
        "	return (pid_t) syscall(SYS_vfork);",
        "test_names",
    ),
    one(
        "a mapping is passed through",
        "interpose_refuse.c",
        "	if (LIKELY(entry == FD_OTHER) ||",
        "	if (1 ||",
        "test_names",
    ),
    one(
        "a copy in the kernel is passed through",
        "interpose_refuse.c",
        '	if (fd_entry(in) > 0)\n		return refuse_fd(EOPNOTSUPP, "copy_file_range", in);\n',
        "",
        "test_names",
    ),
    one(
        "a relation file may be renamed",
        "interpose_path.c",
        '	if (holds_segments(&a))\n		return refuse_path(EPERM, "rename", from);\n',
        "",
        "test_names",
    ),
    one(
        "a tablespace may be linked",
        "interpose_path.c",
        '	if (b.kind == PATH_TABLESPACE)\n		return refuse_path(EPERM, "tablespace link", path);\n',
        "",
        "test_names",
    ),
    one(
        "a tablespace may be made in place",
        "interpose_path.c",
        "	if (shim_classify(dirfd, path).kind == PATH_TABLESPACE)",
        "	if (0)",
        "test_names",
    ),
)

MUTATIONS = SYNC + WRITE + CUT + OVERLAY + REST
