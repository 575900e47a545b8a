/*-------------------------------------------------------------------------
 *
 * read.c
 *	  Reads of mapped segments: each run of blocks from where it is.
 *
 * A *run* is a stretch of the request that one system call can serve: local
 * blocks, or blocks of one extent.  A request that is one run, which is
 * nearly every one, is one call with the caller's own vector.  No malloc, no
 * lock, no stdio here.
 *
 * By the invariant in segment.h the end of the file can only be met in a
 * local run, where the kernel clamps the read as always; a layer that ends
 * early is damage and reported as EIO.
 *
 * A reader that saw a bit unset just before a writer set it returns the old
 * block, as if it had come a moment earlier: no more than pread(2) promises.
 *
 *-------------------------------------------------------------------------
 */
#include <errno.h>
#include <limits.h>
#include <string.h>

#include "io.h"
#include "layers.h"
#include "real.h"
#include "segment.h"

enum run_kind
{
	RUN_LOCAL,
	RUN_LAYER,
	RUN_ZEROS,
};

struct run
{
	enum run_kind kind;
	int			fd;
	off_t		at;				/* in that file */
	size_t		len;
};

/* The first block after "block" that is local again, at most "end". */
static uint64_t
end_of_layer_run(const struct segment *s, uint64_t block, uint64_t end)
{
	do
		block++;
	while (block < end && !block_is_local(s, block));
	return block;
}

static uint64_t
end_of_local_run(const struct segment *s, uint64_t block, uint64_t end)
{
	do
		block++;
	while (block < end && block_is_local(s, block));
	return block;
}

/* The run at the start of [at, at + len), len > 0. */
static struct run
next_run(const struct segment *s, int fd, off_t at, size_t len)
{
	uint64_t	block = (uint64_t) at / BLOCK_SIZE;
	uint64_t	end = ((uint64_t) at + len - 1) / BLOCK_SIZE + 1;
	struct run	run = {.kind = RUN_LOCAL, .fd = fd, .at = at, .len = len};

	if (block >= s->blocks)
		return run;				/* all past the map, all local */
	if (block_is_local(s, block))
		block = end_of_local_run(s, block, end);
	else
	{
		const struct extent *x = map_extent(&shim.map, s, (uint32_t) block);

		if (end > (uint64_t) x->block + x->count)
			end = (uint64_t) x->block + x->count;
		block = end_of_layer_run(s, block, end);
		if (x->layer == ZERO_EXTENT)
			run.kind = RUN_ZEROS;
		else
		{
			run.kind = RUN_LAYER;
			run.fd = shim.layer_fds[x->layer];
			run.at = at - (off_t) x->block * BLOCK_SIZE + (off_t) x->page * BLOCK_SIZE;
		}
	}
	if (run.len > block * BLOCK_SIZE - (uint64_t) at)
		run.len = block * BLOCK_SIZE - (uint64_t) at;
	return run;
}

static ssize_t
read_vector(const struct run *run, const struct iovec *iov, int count)
{
	if (run->kind == RUN_ZEROS)
	{
		for (int i = 0; i < count; i++)
			memset(iov[i].iov_base, 0, iov[i].iov_len);
		return (ssize_t) run->len;
	}
	if (count == 1)
		return real.pread(run->fd, iov[0].iov_base, iov[0].iov_len, run->at);
	return real.preadv(run->fd, iov, count, run->at);
}

/*
 * Postgres will name the relation's file, which is as it should be: say which
 * layer it was.
 */
static void
report_layer(const struct run *run, const char *what)
{
	char		name[37] = "?";

	for (uint32_t i = 0; i < shim.map.header->n_layers; i++)
		if (shim.layer_fds[i] == run->fd)
			uuid_text(shim.map.layers[i].id, name);
	report("layer %s of the storage %s at byte %lld", name, what, (long long) run->at);
}

/*
 * Read one run.  A short count of a local run is the end of the file; of a
 * layer run it is not, and the caller asks again for the rest.
 */
static ssize_t
read_run(const struct run *run, const struct iovec *iov, int count)
{
	ssize_t		n = read_vector(run, iov, count);

	if (n == 0 && run->kind == RUN_LAYER)
	{
		report_layer(run, "ends early");
		errno = EIO;
		return -1;
	}
	if (n < 0 && run->kind == RUN_LAYER && errno == EIO)
		report_layer(run, "can't be read (EIO)");
	return n;
}

static ssize_t
read_in_runs(const struct segment *s, int fd, const struct iovec *iov, int count,
			 off_t at, size_t total)
{
	struct iovec slice[IOV_MAX];
	int			save_errno = errno;
	size_t		done = 0;

	while (done < total)
	{
		struct run	run = next_run(s, fd, at + (off_t) done, total - done);
		int			n_slices = iovec_slice(iov, count, done, run.len, slice);
		ssize_t		n = read_run(&run, slice, n_slices);

		if (n < 0 && done == 0)
			return -1;
		if (n <= 0)
			break;
		done += (size_t) n;
		if ((size_t) n < run.len && run.kind == RUN_LOCAL)
			break;
	}
	errno = save_errno;
	return (ssize_t) done;
}

ssize_t
segment_preadv(int32_t index, int fd, const struct iovec *iov, int count, off_t at)
{
	const struct segment *s = segment_at(index);
	size_t		total;
	struct run	run;
	ssize_t		n;

	if (segment_broken(index))
	{
		errno = EIO;
		return -1;
	}
	/* what the kernel refuses or answers by itself, it does */
	if (at < 0 || !iovec_total(iov, count, &total) || total == 0 ||
		total > (size_t) (INT64_MAX - at))
		return real.preadv(fd, iov, count, at);
	run = next_run(s, fd, at, total);
	if (run.len < total)
		return read_in_runs(s, fd, iov, count, at, total);
	n = read_run(&run, iov, count);
	if (n > 0 && (size_t) n < total && run.kind == RUN_LAYER)
		return read_in_runs(s, fd, iov, count, at, total);
	return n;
}

ssize_t
segment_pread(int32_t index, int fd, void *buf, size_t n, off_t at)
{
	struct iovec one = {.iov_base = buf, .iov_len = n};

	return segment_preadv(index, fd, &one, 1, at);
}

ssize_t
segment_readv(int32_t index, int fd, const struct iovec *iov, int count)
{
	off_t		at = real.lseek(fd, 0, SEEK_CUR);
	ssize_t		n;

	if (at < 0)
		return -1;
	n = segment_preadv(index, fd, iov, count, at);
	if (n > 0 && real.lseek(fd, at + n, SEEK_SET) < 0)
		return -1;
	return n;
}

/*
 * WILLNEED goes to the files the blocks are in.  Other advice is about pages
 * we may hold dirty, or about access patterns of a file that has few pages of
 * its own: it goes to the local file, where it does no harm.
 */
int
segment_fadvise(int32_t index, int fd, off_t at, off_t len, int advice)
{
	const struct segment *s = segment_at(index);
	off_t		end = (off_t) s->blocks * BLOCK_SIZE;

	if (advice != POSIX_FADV_WILLNEED || at < 0 || len < 0 || at >= end)
		return real.posix_fadvise(fd, at, len, advice);
	if (len == 0 || len > end - at)
		len = end - at;			/* zero means: to the end */
	while (len > 0)
	{
		struct run	run = next_run(s, fd, at, (size_t) len);
		int			error = 0;

		if (run.kind != RUN_ZEROS)
			error = real.posix_fadvise(run.fd, run.at, (off_t) run.len, advice);
		if (error != 0)
			return error;
		at += (off_t) run.len;
		len -= (off_t) run.len;
	}
	return 0;
}
