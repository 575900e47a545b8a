"""Ways to break the shim, each with the test program that must notice.

An edit's text must occur exactly once in its file, so a mutant can't silently become the original when the
source changes.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Edit:
    file: str
    old: str
    new: str


@dataclass(frozen=True)
class Mutant:
    name: str
    caught_by: str
    edits: tuple[Edit, ...]


def _mutant(name: str, caught_by: str, file: str, old: str, new: str) -> Mutant:
    return Mutant(name, caught_by, (Edit(file, old, new),))


_PER_DESCRIPTOR = Mutant(
    "bits are vouched for per descriptor",
    "test_sync",
    (
        Edit(
            "write.c",
            "static ssize_t\nwrite_checked(",
            "uint64_t fd_bits[4096];\nstatic ssize_t\nwrite_checked(",
        ),
        Edit(
            "write.c",
            "	last = (uint64_t) (at + n - 1)",
            "	fd_bits[fd] |= 1ull << first;\n	last = (uint64_t) (at + n - 1)",
        ),
        Edit("sync.c", "static int\nreal_sync(", "extern uint64_t fd_bits[4096];\nstatic int\nreal_sync("),
        Edit(
            "sync.c",
            "		bits_merge(shim.planes.synced, s->first_bit, s->blocks, before);",
            "		for (int i = 0; i < 8; i++) before[i] &= (uint8_t) (fd_bits[fd] >> 8 * i);\n"
            "		bits_merge(shim.planes.synced, s->first_bit, s->blocks, before);",
        ),
    ),
)

_CUT_AFTERWARDS = Mutant(
    "the bits of cut blocks are set after the cut",
    "test_cut",
    (
        Edit("cut.c", "	news = segment_cut_bits(index, block);", "	news = true;"),
        Edit(
            "cut.c",
            "	if (r != 0 && news)",
            "	if (r == 0) segment_cut_bits(index, block);\n	if (r != 0 && news)",
        ),
    ),
)

_VOUCH_AFTERWARDS = Mutant(
    "fsync vouches for what was written while it ran",
    "test_sync",
    (
        Edit("sync.c", "		bits_copy(shim.planes.now, s->first_bit, s->blocks, before);\n", ""),
        Edit(
            "sync.c",
            "		bits_merge(shim.planes.synced, s->first_bit",
            "		bits_copy(shim.planes.now, s->first_bit, s->blocks, before);\n"
            "		bits_merge(shim.planes.synced, s->first_bit",
        ),
    ),
)

MUTANTS = (
    _PER_DESCRIPTOR,
    _CUT_AFTERWARDS,
    _VOUCH_AFTERWARDS,
    _mutant(
        "bits are synced before their data is",
        "test_sync",
        "sync.c",
        "		if (real_sync(fd, data_only) != 0)",
        "		bits_merge(shim.planes.synced, s->first_bit, s->blocks, before);\n"
        "		if (real_sync(fd, data_only) != 0)",
    ),
    _mutant(
        "bits are persisted before they are synced",
        "test_overlay",
        "overlay.c",
        "planes->synced + at, unsure",
        "planes->now + at, unsure",
    ),
    _mutant(
        "bits are persisted before they are synced (power)",
        "test_power",
        "overlay.c",
        "planes->synced + at, unsure",
        "planes->now + at, unsure",
    ),
    _mutant(
        "the bit of a write is set before its data",
        "test_readwrite",
        "write.c",
        "	n = count == 1 ? real.pwrite(",
        "	if (first < s->blocks) bits_set(shim.planes.now, s->first_bit + first, 1);\n"
        "	n = count == 1 ? real.pwrite(",
    ),
    _mutant(
        "fsync is skipped where all bits are persisted",
        "test_sync",
        "sync.c",
        "!bits_any(shim.planes.now, s->first_bit, s->blocks) &&",
        "__builtin_memcmp((const void *) (shim.planes.now + s->first_bit / 8),"
        " shim.overlay.bits + s->first_bit / 8, (s->blocks + 7) / 8) == 0 &&",
    ),
    _mutant(
        "fsync is skipped on every file",
        "test_power",
        "sync.c",
        "if (!nothing_local(index, fd))",
        "if (false)",
    ),
    _mutant(
        "fsync is skipped on a file that was cut or extended",
        "test_sync",
        "sync.c",
        "atomic_load(&shim.overlay.flags[index]) == 0 &&",
        "",
    ),
    _mutant(
        "posix_fallocate leaves no trace",
        "test_sync",
        "cut.c",
        "	segment_flag(index, FLAG_TOUCHED);\n	return real.posix_fallocate",
        "	return real.posix_fallocate",
    ),
    _mutant(
        "fallocate leaves no trace",
        "test_sync",
        "cut.c",
        "		segment_flag(index, FLAG_TOUCHED);\n		return real.fallocate",
        "		return real.fallocate",
    ),
    _mutant(
        "a write past the end leaves no trace",
        "test_sync",
        "write.c",
        "		segment_flag(index, FLAG_TOUCHED);",
        "		;",
    ),
    _mutant(
        "a truncate leaves no trace",
        "test_cut",
        "cut.c",
        "	segment_flag(index, FLAG_TOUCHED);\n	news = segment_cut_bits(index, block);",
        "	news = segment_cut_bits(index, block);",
    ),
    _mutant(
        "the flock is skipped",
        "test_overlay",
        "overlay.c",
        "if (flock(overlay->fd, LOCK_EX | LOCK_NB) == 0)",
        "if (true)",
    ),
    _mutant(
        "nobody waits for the marker", "test_names", "control.c", "		wait_for_marker();", "		;"
    ),
    _mutant(
        "a replaced file isn't remembered",
        "test_cut",
        "cut.c",
        "		segment_flag(index, FLAG_REPLACED);",
        "		;",
    ),
    _mutant(
        "unlink sets no bits",
        "test_cut",
        "cut.c",
        "	news = segment_cut_bits(index, 0);",
        "	news = false;",
    ),
    _mutant(
        "O_TRUNC cuts nothing",
        "test_cut",
        "cut.c",
        "((flags & O_TRUNC) && segment_ftruncate(index, fd, 0) != 0)",
        "false",
    ),
    _mutant(
        "a block cut in two loses its first part",
        "test_cut",
        "cut.c",
        "	if (len % BLOCK_SIZE != 0 && !block_is_local(s, block) &&",
        "	if (false &&",
    ),
    _mutant(
        "a failed truncate is forgotten",
        "test_cut",
        "cut.c",
        '		segment_break(index, "truncate");',
        "		;",
    ),
    _mutant(
        "a failed unlink is forgotten",
        "test_cut",
        "cut.c",
        '		segment_break(index, "unlink");',
        "		;",
    ),
    _mutant(
        "the first open looks at no size",
        "test_cut",
        "segment.c",
        "	segment_cut_bits(index, local_from);",
        "	;",
    ),
    _mutant(
        "a failed persist is tried again",
        "test_overlay",
        "overlay.c",
        "			atomic_store(&shared->persist_failed, 1);",
        "			;",
    ),
    _mutant(
        "a persist in the making isn't noted",
        "test_overlay",
        "overlay.c",
        "		atomic_store(&shared->persist_unsure, 1);",
        "		;",
    ),
    _mutant(
        "the first persist trusts the page cache",
        "test_overlay",
        "shim.c",
        "	atomic_store(&shim.planes.shared->persist_unsure, 1);",
        "	;",
    ),
    _mutant(
        "the overlay is written and not synced",
        "test_power",
        "overlay.c",
        "	if (wrote && durable && real.fdatasync(overlay->fd) != 0)",
        "	if (false)",
    ),
    _mutant(
        "pg_control is written without a persist",
        "test_power",
        "control.c",
        "	if (!overlay_persist(",
        "	if (false && !overlay_persist(",
    ),
    _mutant(
        "pg_control is renamed without a persist",
        "test_overlay",
        "control.c",
        "	return control_before_write(head, (size_t) n, 0);",
        "	return true;",
    ),
    _mutant(
        "a partial write doesn't copy the block",
        "test_readwrite",
        "write.c",
        "	if ((at % BLOCK_SIZE != 0 || end % BLOCK_SIZE != 0) && !copy_edges(",
        "	if (false && !copy_edges(",
    ),
    _mutant(
        "blocks are copied without a lock",
        "test_processes",
        "write.c",
        "	if (!overlay_lock(&shim.overlay, OVERLAY_LOCK_COPY))",
        "	if (false)",
    ),
    _mutant(
        "a short write leaves half a block",
        "test_readwrite",
        "write.c",
        "	if (n > 0 && (size_t) n < total)",
        "	if (false)",
    ),
    _mutant(
        "the last mask is one bit too long",
        "test_bits",
        "bits.c",
        "((1u << (end % 8)) - 1)",
        "((2u << (end % 8)) - 1)",
    ),
    _mutant(
        "the first mask is one bit too long",
        "test_bits",
        "bits.c",
        "(0xff << (first % 8))",
        "(0x7f << (first % 8))",
    ),
    _mutant(
        "bits are set without an atomic",
        "test_bits",
        "bits.c",
        "	return (atomic_fetch_or_explicit(byte, mask, memory_order_release) & mask) != mask;",
        # Now and then it sleeps between the halves: another process comes between them on any machine.
        "	static unsigned turn;\n	uint8_t before = *(volatile uint8_t *) byte;\n"
        "	if (++turn % 512 == 0) usleep(1);\n"
        "	*(volatile uint8_t *) byte = before | mask;\n	return true;",
    ),
    _mutant(
        "syncfs marks nothing",
        "test_sync",
        "sync.c",
        "		bits_merge(shim.planes.synced, 0, bits, before);",
        "		;",
    ),
    _mutant(
        "syncfs of another disk marks ours",
        "test_sync",
        "sync.c",
        "	if (st.st_dev != shim.pgdata_dev)",
        "	if (false)",
    ),
    _mutant(
        "a read run goes on past a local block",
        "test_model",
        "read.c",
        "	while (block < end && !block_is_local(s, block));",
        "	while (block < end);",
    ),
    _mutant(
        "a layer's page is off by one",
        "test_readwrite",
        "read.c",
        "(off_t) x->page * BLOCK_SIZE",
        "(off_t) (x->page + 1) * BLOCK_SIZE",
    ),
    _mutant(
        "dup forgets what it copies",
        "test_names",
        "interpose_open.c",
        "	return carry(entry, real.dup(fd));",
        "	return real.dup(fd);",
    ),
    _mutant(
        "fcntl's dup forgets what it copies",
        "test_names",
        "interpose_open.c",
        "		return carry(entry, real.fcntl(fd, command, argument));",
        "		return real.fcntl(fd, command, argument);",
    ),
    _mutant(
        "close leaves its entry",
        "test_names",
        "interpose_open.c",
        "	if (entry != FD_OTHER)\n		fd_forget(fd);\n	return real.close(fd);",
        "	return real.close(fd);",
    ),
    _mutant(
        "vfork shares the table",
        "test_names",
        "interpose_open.c",
        "	return fork();",
        "	return (pid_t) syscall(SYS_clone, 0x4100 | 17, 0, 0, 0, 0);",
    ),
    _mutant(
        "mmap is passed through",
        "test_names",
        "interpose_refuse.c",
        '	refuse_fd(EPERM, "mmap", fd);\n	return MAP_FAILED;',
        "	return real.mmap(address, len, protection, flags, fd, at);",
    ),
    _mutant(
        "segments are renamed",
        "test_names",
        "interpose_path.c",
        "	return c->kind == PATH_HOLDER || segment_of(c) >= 0;",
        "	return false;",
    ),
    _mutant(
        "tablespace folders are made",
        "test_names",
        "interpose_path.c",
        "	if (shim_classify(dirfd, path).kind == PATH_TABLESPACE)",
        "	if (false)",
    ),
    _mutant(
        "a map's checksum isn't looked at",
        "test_map",
        "map.c",
        "	if (crc32c(base + sizeof(*h), len - sizeof(*h)) != h->body_crc)",
        "	if (false)",
    ),
    _mutant(
        "an overlay's checksum isn't looked at",
        "test_overlay",
        "overlay.c",
        "	if (crc32c(h, offsetof(struct overlay_header, header_crc)) != h->header_crc)",
        "	if (false)",
    ),
    _mutant(
        "a layer of another size is taken",
        "test_overlay",
        "layers.c",
        "(uint64_t) st.st_size != layer->pages * BLOCK_SIZE",
        "false",
    ),
    _mutant(
        "a broken segment can be synced", "test_cut", "sync.c", "\tif (segment_broken(index))", "\tif (0)"
    ),
    _mutant(
        "the last block of a write gets no bit",
        "test_model",
        "write.c",
        "\tbits_set(shim.planes.now, s->first_bit + first, last - first + 1);\n\treturn n;",
        "\tbits_set(shim.planes.now, s->first_bit + first, last - first);\n\treturn n;",
    ),
    _mutant(
        "a file made anew is taken for the old one",
        "test_cut",
        "segment.c",
        "\tif (atomic_load(&shim.overlay.flags[index]) & FLAG_REPLACED)\n\t\tlocal_from = 0;\n",
        "",
    ),
    _mutant(
        "what isn't synced is persisted",
        "test_power",
        "overlay.c",
        "merge_page(overlay->bits + at, planes->synced + at, unsure, page)",
        "merge_page(overlay->bits + at, planes->now + at, unsure, page)",
    ),
    _mutant(
        "pg_control doesn't wait for the marker",
        "test_names",
        "control.c",
        "\twhile (real.access(shim.marker, F_OK) != 0)",
        "\twhile (0)",
    ),
    _mutant(
        "each process has bits of its own",
        "test_processes",
        "bits.c",
        "\t\t\t\t\t\t\t\t MAP_SHARED | MAP_ANONYMOUS, -1, 0);",
        "\t\t\t\t\t\t\t\t MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);",
    ),
    _mutant(
        "a start forgets what was persisted",
        "test_model",
        "shim.c",
        "\tplanes_load(&shim.planes, shim.overlay.bits);\n",
        "",
    ),
    _mutant(
        "zeros are read as whatever was in the buffer",
        "test_readwrite",
        "read.c",
        "\t\t\tmemset(iov[i].iov_base, 0, iov[i].iov_len);",
        "\t\t\t;",
    ),
    _mutant(
        "a run goes on into the next extent",
        "test_readwrite",
        "read.c",
        "\t\tif (end > (uint64_t) x->block + x->count)\n\t\t\tend = (uint64_t) x->block + x->count;\n",
        "",
    ),
    _mutant(
        "a copy in the kernel is passed through",
        "test_names",
        "interpose_refuse.c",
        '\tif (fd_entry(in) > 0)\n\t\treturn refuse_fd(EOPNOTSUPP, "copy_file_range", in);\n',
        "",
    ),
    _mutant(
        "a tablespace may be linked",
        "test_names",
        "interpose_path.c",
        '\tif (b.kind == PATH_TABLESPACE)\n\t\treturn refuse_path(EPERM, "tablespace link", path);\n',
        "",
    ),
)
