"""Breaks of what a crash or a power loss must not undo: bits, cuts, syncs, the overlay, pg_control."""

from __future__ import annotations

from tests.shim.mutants.mutant import Edit, Mutant, mutant

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
    mutant(
        "bits are synced before their data is",
        "test_sync",
        "sync.c",
        "		if (real_sync(fd, data_only) != 0)",
        "		bits_merge(shim.planes.synced, s->first_bit, s->blocks, before);\n"
        "		if (real_sync(fd, data_only) != 0)",
    ),
    mutant(
        "bits are persisted before they are synced",
        "test_overlay",
        "overlay.c",
        "planes->synced + at, unsure",
        "planes->now + at, unsure",
    ),
    mutant(
        "bits are persisted before they are synced (power)",
        "test_power",
        "overlay.c",
        "planes->synced + at, unsure",
        "planes->now + at, unsure",
    ),
    mutant(
        "fsync is skipped where all bits are persisted",
        "test_sync",
        "sync.c",
        "!bits_any(shim.planes.now, s->first_bit, s->blocks) &&",
        "__builtin_memcmp((const void *) (shim.planes.now + s->first_bit / 8),"
        " shim.overlay.bits + s->first_bit / 8, (s->blocks + 7) / 8) == 0 &&",
    ),
    mutant(
        "fsync is skipped on every file",
        "test_power",
        "sync.c",
        "if (!nothing_local(index, fd))",
        "if (false)",
    ),
    mutant(
        "fsync is skipped on a file that was cut or extended",
        "test_sync",
        "sync.c",
        "atomic_load(&shim.overlay.flags[index]) == 0 &&",
        "",
    ),
    mutant(
        "posix_fallocate leaves no trace",
        "test_sync",
        "cut.c",
        "	segment_flag(index, FLAG_TOUCHED);\n	return real.posix_fallocate",
        "	return real.posix_fallocate",
    ),
    mutant(
        "fallocate leaves no trace",
        "test_sync",
        "cut.c",
        "		segment_flag(index, FLAG_TOUCHED);\n		return real.fallocate",
        "		return real.fallocate",
    ),
    mutant(
        "a truncate leaves no trace",
        "test_cut",
        "cut.c",
        "	segment_flag(index, FLAG_TOUCHED);\n	news = segment_cut_bits(index, block);",
        "	news = segment_cut_bits(index, block);",
    ),
    mutant(
        "the flock is skipped",
        "test_overlay",
        "overlay.c",
        "if (flock(overlay->fd, LOCK_EX | LOCK_NB) == 0)",
        "if (true)",
    ),
    mutant(
        "nobody waits for the marker", "test_names", "control.c", "		wait_for_marker();", "		;"
    ),
    mutant(
        "a replaced file isn't remembered",
        "test_cut",
        "cut.c",
        "	segment_flag(index, FLAG_REPLACED);",
        "	;",
    ),
    mutant(
        "a file is made before the disk knows that it is another one",
        "test_reuse",
        "cut.c",
        "	if (!overlay_sync(&shim.overlay, &shim.planes, shim.mode != MODE_OFF))",
        "	if (false)",
    ),
    mutant(
        "a file is made before the disk knows that it is another one (power)",
        "test_power",
        "cut.c",
        "	if (!overlay_sync(&shim.overlay, &shim.planes, shim.mode != MODE_OFF))",
        "	if (false)",
    ),
    mutant(
        "pg_control is renamed without a persist (killed)",
        "test_stress",
        "control.c",
        "	return control_before_write(head, (size_t) n, 0);",
        "	return true;",
    ),
    mutant(
        "each process has bits of its own (killed)",
        "test_stress",
        "bits.c",
        "								 MAP_SHARED | MAP_ANONYMOUS, -1, 0);",
        "								 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);",
    ),
    Mutant(
        "threads aren't kept apart",
        "test_threads",
        (
            Edit(
                "overlay.c",
                "	pthread_mutex_lock(&threads[which]);",
                "	pthread_mutex_trylock(&threads[which]);",
            ),
            # Only time between lock and unlock, without which two threads rarely meet there.
            Edit(
                "overlay.c",
                "	if (change_lock(overlay, which, F_WRLCK))\n		return true;",
                "	if (change_lock(overlay, which, F_WRLCK))\n		return usleep(300), true;",
            ),
        ),
    ),
    mutant(
        "a sync of the overlay that failed is forgotten",
        "test_reuse",
        "overlay.c",
        "			atomic_store(&shared->persist_failed, 1);",
        "			;",
    ),
    mutant(
        "unlink sets no bits",
        "test_cut",
        "cut.c",
        "	news = segment_cut_bits(index, 0);",
        "	news = false;",
    ),
    mutant(
        "O_TRUNC cuts nothing",
        "test_cut",
        "cut.c",
        "((flags & O_TRUNC) && segment_ftruncate(index, fd, 0) != 0)",
        "false",
    ),
    mutant(
        "a block cut in two loses its first part",
        "test_cut",
        "cut.c",
        "	if (len % BLOCK_SIZE != 0 && !block_is_local(s, block) &&",
        "	if (false &&",
    ),
    mutant(
        "a failed truncate is forgotten",
        "test_cut",
        "cut.c",
        '		segment_break(index, "truncate");',
        "		;",
    ),
    mutant(
        "a failed unlink is forgotten",
        "test_cut",
        "cut.c",
        '		segment_break(index, "unlink");',
        "		;",
    ),
    mutant(
        "the first open looks at no size",
        "test_cut",
        "segment.c",
        "	segment_cut_bits(index, local_from);",
        "	;",
    ),
    mutant(
        "a failed persist is tried again",
        "test_overlay",
        "overlay.c",
        "			atomic_store(&shared->persist_failed, 1);",
        "			;",
    ),
    mutant(
        "a persist in the making isn't noted",
        "test_overlay",
        "overlay.c",
        "		atomic_store(&shared->persist_unsure, 1);",
        "		;",
    ),
    mutant(
        "the first persist trusts the page cache",
        "test_overlay",
        "shim.c",
        "	atomic_store(&shim.planes.shared->persist_unsure, 1);",
        "	;",
    ),
    mutant(
        "the overlay is written and not synced",
        "test_power",
        "overlay.c",
        "	if (wrote && durable && real.fdatasync(overlay->fd) != 0)",
        "	if (false)",
    ),
    mutant(
        "pg_control is written without a persist",
        "test_power",
        "control.c",
        "	if (!overlay_persist(",
        "	if (false && !overlay_persist(",
    ),
    mutant(
        "pg_control is renamed without a persist",
        "test_overlay",
        "control.c",
        "	return control_before_write(head, (size_t) n, 0);",
        "	return true;",
    ),
    mutant(
        "the last mask is one bit too long",
        "test_bits",
        "bits.c",
        "((1u << (end % 8)) - 1)",
        "((2u << (end % 8)) - 1)",
    ),
    mutant(
        "the first mask is one bit too long",
        "test_bits",
        "bits.c",
        "(0xff << (first % 8))",
        "(0x7f << (first % 8))",
    ),
    mutant(
        "bits are set without an atomic",
        "test_bits",
        "bits.c",
        "	return (atomic_fetch_or_explicit(byte, mask, memory_order_release) & mask) != mask;",
        # Now and then it sleeps between the halves: another process comes between them on any machine.
        "	static unsigned turn;\n	uint8_t before = *(volatile uint8_t *) byte;\n"
        "	if (++turn % 64 == 0) usleep(20);\n"
        "	*(volatile uint8_t *) byte = before | mask;\n	return true;",
    ),
    mutant(
        "syncfs marks nothing",
        "test_sync",
        "sync.c",
        "		bits_merge(shim.planes.synced, 0, bits, before);",
        "		;",
    ),
    mutant(
        "syncfs of another disk marks ours",
        "test_sync",
        "sync.c",
        "	if (st.st_dev != shim.pgdata_dev)",
        "	if (false)",
    ),
    mutant(
        "an overlay's checksum isn't looked at",
        "test_overlay",
        "overlay.c",
        "	if (crc32c(h, offsetof(struct overlay_header, header_crc)) != h->header_crc)",
        "	if (false)",
    ),
    mutant(
        "a broken segment can be synced", "test_cut", "sync.c", "\tif (segment_broken(index))", "\tif (0)"
    ),
    mutant(
        "a file made anew is taken for the old one",
        "test_cut",
        "segment.c",
        "\tif (atomic_load(&shim.overlay.flags[index]) & FLAG_REPLACED)\n\t\tlocal_from = 0;\n",
        "",
    ),
    mutant(
        "what isn't synced is persisted",
        "test_power",
        "overlay.c",
        "merge_page(overlay->bits + at, planes->synced + at, unsure, page)",
        "merge_page(overlay->bits + at, planes->now + at, unsure, page)",
    ),
    mutant(
        "pg_control doesn't wait for the marker",
        "test_names",
        "control.c",
        "\twhile (real.access(shim.marker, F_OK) != 0)",
        "\twhile (0)",
    ),
    mutant(
        "each process has bits of its own",
        "test_processes",
        "bits.c",
        "\t\t\t\t\t\t\t\t MAP_SHARED | MAP_ANONYMOUS, -1, 0);",
        "\t\t\t\t\t\t\t\t MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);",
    ),
    mutant(
        "a start forgets what was persisted",
        "test_model",
        "shim.c",
        "\tplanes_load(&shim.planes, shim.overlay.bits);\n",
        "",
    ),
)
