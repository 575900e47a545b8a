/*-------------------------------------------------------------------------
 *
 * segment.c
 *	  State of a mapped relation segment: its bits, its flag, its first open.
 *
 * Crash arguments:
 *
 * First open after a start.  The planes come from the overlay, the file's
 * size from the disk.  A file shorter than in the map was cut after the last
 * persisted bits (or never synced): the WAL of the cut will be replayed, but
 * until then nothing of the layers may show through past its end if redo
 * extends it first.  So blocks at or past floor(size / 8192) are local.  Any
 * process may be the first; two doing it at once do the same thing, and the
 * state byte is raised only when the bits are set.
 *
 * Flags are in a file mapping: they live exactly as long as the page cache,
 * so a kill -9 that forgets volatile bits keeps the knowledge that the file
 * differs from the one laid out and must really be synced.
 *
 * FLAG_REPLACED.  A file made under the name of one that was unlinked (a
 * relfilenumber reused) has bits for all its blocks, but volatile ones.  After
 * a crash the new file is there with its size and without its bits; redo
 * initialises every block WAL knows of, but upstream also extends files by
 * zero pages without WAL, and there the dropped relation's old pages, with
 * valid checksums, would come back to life.  The flag makes the whole file
 * local at the first open.  No checkpoint would make it durable: the file that
 * was unlinked is never synced.  So cut.c raises it and syncs the overlay
 * before it makes a file, whatever became of the old one (its unlink may be
 * of a life that was killed).  After a power cut the flag may be on disk and
 * the unlink not: then zeros are seen instead of a dropped relation's pages,
 * and nobody looks at them, since upstream unlinks only after the commit of
 * the drop is durable.
 *
 *-------------------------------------------------------------------------
 */
#include "segment.h"

#include <errno.h>

#include "real.h"

int32_t
segment_of(const struct path_class *c)
{
	return c->kind == PATH_RELATION ? map_find(&shim.map, &c->key) : -1;
}

void
segment_flag(int32_t index, uint8_t flag)
{
	_Atomic uint8_t *byte = &shim.overlay.flags[index];

	if ((atomic_load_explicit(byte, memory_order_relaxed) & flag) != flag)
		atomic_fetch_or(byte, flag);
}

bool
segment_cut_bits(int32_t index, uint64_t block)
{
	const struct segment *s = segment_at(index);

	if (block >= s->blocks)
		return false;
	return bits_set(shim.planes.now, s->first_bit + block, s->blocks - block);
}

bool
segment_opened(int32_t index, int fd)
{
	const struct segment *s = segment_at(index);
	_Atomic uint8_t *state = &shim.planes.states[index];
	uint8_t		unseen = SEGMENT_UNSEEN;
	uint64_t	local_from;
	struct stat st;

	if (atomic_load_explicit(state, memory_order_acquire) != SEGMENT_UNSEEN)
		return true;
	if (fstat(fd, &st) != 0)
		return false;
	local_from = (uint64_t) st.st_size / BLOCK_SIZE;
	if ((uint64_t) st.st_size != (uint64_t) s->blocks * BLOCK_SIZE)
		segment_flag(index, FLAG_TOUCHED);
	if (atomic_load(&shim.overlay.flags[index]) & FLAG_REPLACED)
		local_from = 0;
	segment_cut_bits(index, local_from);
	/* not a plain store: another process may have broken it meanwhile */
	atomic_compare_exchange_strong(state, &unseen, SEGMENT_OPEN);
	return true;
}

void
segment_break(int32_t index, const char *what)
{
	const struct segment *s = segment_at(index);

	report("could not %s segment %u/%u/%u fork %u.%u; it is unusable until a restart",
		   what, s->spc, s->db, s->rel, s->fork, s->seg);
	atomic_store(&shim.planes.states[index], SEGMENT_BROKEN);
}
