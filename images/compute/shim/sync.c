/*-------------------------------------------------------------------------
 *
 * sync.c
 *	  fsync, fdatasync and syncfs: what was volatile becomes synced.
 *
 * Bits are noted before the real call and only those are marked synced after
 * it: a block written meanwhile is not vouched for.  They are kept per file,
 * not per descriptor, since the checkpointer syncs through another descriptor
 * than the writers'.
 *
 * The real call is skipped only for a segment that has no local block, has
 * the size it was laid out with and never had its flag raised, not by an
 * earlier postmaster either: nothing was ever written to that file.  A block
 * rewritten under a persisted bit is dirty too, so any bit at all means a real
 * sync.  This spares upstream's pass over all files at start-up.
 *
 * syncfs must mark bits too (recovery_init_sync_method = syncfs): after a
 * backend crash redo skips blocks whose page LSN is new, the checkpoint
 * doesn't sync their files again, and without this their bits would never
 * become synced although the checkpoint moves the redo point past them.
 *
 *-------------------------------------------------------------------------
 */
#include <errno.h>

#include "io.h"
#include "real.h"
#include "segment.h"

static bool
nothing_local(int32_t index, int fd)
{
	const struct segment *s = segment_at(index);
	struct stat st;

	return atomic_load(&shim.overlay.flags[index]) == 0 &&
		!bits_any(shim.planes.now, s->first_bit, s->blocks) &&
		fstat(fd, &st) == 0 &&
		st.st_size == (off_t) s->blocks * BLOCK_SIZE;
}

static int
real_sync(int fd, bool data_only)
{
	if (shim.mode == MODE_OFF)
		return real.fcntl(fd, F_GETFD) < 0 ? -1 : 0;
	return data_only ? real.fdatasync(fd) : real.fsync(fd);
}

int
segment_fsync(int32_t index, int fd, bool data_only)
{
	const struct segment *s = segment_at(index);
	uint8_t		before[SEGMENT_BLOCKS / 8];
	int			save_errno = errno;

	if (segment_broken(index))
	{
		errno = EIO;
		return -1;
	}
	if (!nothing_local(index, fd))
	{
		bits_copy(shim.planes.now, s->first_bit, s->blocks, before);
		if (real_sync(fd, data_only) != 0)
			return -1;
		bits_merge(shim.planes.synced, s->first_bit, s->blocks, before);
	}
	errno = save_errno;
	return 0;
}

/* The whole plane is noted, in memory of our own: it may be megabytes. */
static int
syncfs_pgdata(int fd)
{
	uint64_t	bits = (uint64_t) shim.planes.plane_bytes * 8;
	uint8_t    *before;
	int			r;

	if (bits == 0)
		return real.syncfs(fd);
	before = real.mmap(NULL, shim.planes.plane_bytes, PROT_READ | PROT_WRITE,
					   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (before == MAP_FAILED)
		return -1;
	bits_copy(shim.planes.now, 0, bits, before);
	r = shim.mode == MODE_OFF ? 0 : real.syncfs(fd);
	if (r == 0)
		bits_merge(shim.planes.synced, 0, bits, before);
	munmap(before, shim.planes.plane_bytes);
	return r;
}

int
shim_syncfs(int fd)
{
	struct stat st;

	if (fstat(fd, &st) != 0)
		return -1;
	if (st.st_dev != shim.pgdata_dev)
		return shim.mode == MODE_OFF ? 0 : real.syncfs(fd);
	return syncfs_pgdata(fd);
}
