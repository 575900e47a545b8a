/*-------------------------------------------------------------------------
 *
 * write.c
 *	  Writes to mapped segments: always to the local file.
 *
 * Data first, bit after: between the two a reader still gets the layers'
 * block and an fsync doesn't vouch for this write, as if it had not happened
 * yet.  The other way round a concurrent fsync could mark a hole as synced.
 *
 * A write of part of a block that is not local copies the block first.
 * Processes that do this at once are kept apart by a lock, which a process
 * killed in the middle gives up: the block is then still the layers'.  Not
 * handled: a partial write racing with a whole write of the same, not yet
 * local block; the copy may undo the whole write.  Safe: upstream writes
 * whole blocks only, and one process at a time writes a given block (buffer
 * I/O lock); partial writes happen only as the rest of a short one, when
 * the block is local already by finish_block().
 *
 *-------------------------------------------------------------------------
 */
#include <errno.h>
#include <limits.h>

#include "io.h"
#include "real.h"
#include "segment.h"

/* All of it, or -1; zero bytes written means a full disk. */
static bool
write_all(int fd, const struct iovec *iov, int count, size_t len, off_t at)
{
	struct iovec slice[IOV_MAX];
	size_t		done = 0;

	while (done < len)
	{
		int			n_slices = iovec_slice(iov, count, done, len - done, slice);
		ssize_t		n = real.pwritev(fd, slice, n_slices, at + (off_t) done);

		if (n > 0)
			done += (size_t) n;
		else if (n == 0)
		{
			errno = ENOSPC;
			return false;
		}
		else if (errno != EINTR)
			return false;
	}
	return true;
}

static bool
copy_locked(int32_t index, int fd, uint32_t block)
{
	uint8_t		page[BLOCK_SIZE];
	struct iovec one = {.iov_base = page, .iov_len = BLOCK_SIZE};
	const struct segment *s = segment_at(index);
	off_t		at = (off_t) block * BLOCK_SIZE;

	if (block_is_local(s, block))
		return true;			/* somebody else was faster */
	if (segment_pread(index, fd, page, BLOCK_SIZE, at) != BLOCK_SIZE ||
		!write_all(fd, &one, 1, BLOCK_SIZE, at))
		return false;
	bits_set(shim.planes.now, s->first_bit + block, 1);
	return true;
}

bool
segment_copy_block(int32_t index, int fd, uint32_t block)
{
	bool		ok;

	if (!overlay_lock(&shim.overlay, OVERLAY_LOCK_COPY))
		return false;
	ok = copy_locked(index, fd, block);
	overlay_unlock(&shim.overlay, OVERLAY_LOCK_COPY);
	return ok;
}

/* Blocks of which [at, end) covers only a part must be local before it. */
static bool
copy_edges(int32_t index, int fd, off_t at, off_t end)
{
	const struct segment *s = segment_at(index);
	uint64_t	first = (uint64_t) at / BLOCK_SIZE;
	uint64_t	last = (uint64_t) (end - 1) / BLOCK_SIZE;

	if (at % BLOCK_SIZE != 0 && !block_is_local(s, first) &&
		!segment_copy_block(index, fd, (uint32_t) first))
		return false;
	if (end % BLOCK_SIZE != 0 && !block_is_local(s, last) &&
		!segment_copy_block(index, fd, (uint32_t) last))
		return false;
	return true;
}

/*
 * The kernel wrote only "n" bytes and stopped within a block that is not
 * local: its first part is in the local file, its bit can't be set.  Write
 * the rest of the block, else report only the blocks before it.
 */
static ssize_t
finish_block(const struct segment *s, int fd, const struct iovec *iov, int count,
			 off_t at, ssize_t n)
{
	struct iovec rest[IOV_MAX];
	off_t		stop = at + n;
	size_t		missing = BLOCK_SIZE - (size_t) (stop % BLOCK_SIZE);
	ssize_t		whole = n - (ssize_t) (stop % BLOCK_SIZE);
	int			n_rest;

	if (stop % BLOCK_SIZE == 0 || block_is_local(s, (uint64_t) stop / BLOCK_SIZE))
		return n;
	n_rest = iovec_slice(iov, count, (size_t) n, missing, rest);
	if (write_all(fd, rest, n_rest, missing, stop))
		return n + (ssize_t) missing;
	return whole > 0 ? whole : -1;
}

/*
 * Writing at or past the map's end may make the file longer, which the flag
 * must tell before it happens.  Below it no flag is needed: a file shorter
 * than in the map got its flag when it was cut, or when it was first opened.
 */
static ssize_t
write_checked(int32_t index, int fd, const struct iovec *iov, int count, off_t at,
			  size_t total)
{
	const struct segment *s = segment_at(index);
	off_t		end = at + (off_t) total;
	uint64_t	first = (uint64_t) at / BLOCK_SIZE;
	uint64_t	last;
	ssize_t		n;

	if ((at % BLOCK_SIZE != 0 || end % BLOCK_SIZE != 0) && !copy_edges(index, fd, at, end))
		return -1;
	if ((uint64_t) (end - 1) / BLOCK_SIZE >= s->blocks)
		segment_flag(index, FLAG_TOUCHED);

	n = count == 1 ? real.pwrite(fd, iov[0].iov_base, iov[0].iov_len, at)
		: real.pwritev(fd, iov, count, at);
	if (n > 0 && (size_t) n < total)
		n = finish_block(s, fd, iov, count, at, n);
	if (n <= 0 || first >= s->blocks)
		return n;

	last = (uint64_t) (at + n - 1) / BLOCK_SIZE;
	if (last >= s->blocks)
		last = s->blocks - 1;
	bits_set(shim.planes.now, s->first_bit + first, last - first + 1);
	return n;
}

ssize_t
segment_pwritev(int32_t index, int fd, const struct iovec *iov, int count, off_t at)
{
	size_t		total;

	if (segment_broken(index))
	{
		errno = EIO;
		return -1;
	}
	/* what the kernel refuses or answers by itself, it does */
	if (at < 0 || !iovec_total(iov, count, &total) || total == 0 ||
		total > (size_t) (INT64_MAX - at))
		return real.pwritev(fd, iov, count, at);
	return write_checked(index, fd, iov, count, at, total);
}

ssize_t
segment_writev(int32_t index, int fd, const struct iovec *iov, int count)
{
	off_t		at = real.lseek(fd, 0, SEEK_CUR);
	ssize_t		n;

	if (at < 0)
		return -1;
	n = segment_pwritev(index, fd, iov, count, at);
	if (n > 0 && real.lseek(fd, at + n, SEEK_SET) < 0)
		return -1;
	return n;
}
