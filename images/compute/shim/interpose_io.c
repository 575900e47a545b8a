/*-------------------------------------------------------------------------
 *
 * interpose_io.c
 *	  Reads, writes, syncs and seeks by descriptor.
 *
 *-------------------------------------------------------------------------
 */
#include <errno.h>
#include <string.h>

#include "interpose.h"

/* glibc's answer to a buffer overflow seen by _FORTIFY_SOURCE. */
extern void __chk_fail(void) __attribute__((noreturn));

/*----------------------------------------------------------------
 * Reads
 *----------------------------------------------------------------
 */
EXPORT ssize_t
pread(int fd, void *buf, size_t n, off_t at)
{
	int32_t		entry = entry_of(fd);

	if (entry <= 0)
		return real.pread(fd, buf, n, at);
	return segment_pread(entry - 1, fd, buf, n, at);
}

EXPORT ssize_t
preadv(int fd, const struct iovec *iov, int count, off_t at)
{
	int32_t		entry = entry_of(fd);

	if (entry <= 0)
		return real.preadv(fd, iov, count, at);
	return segment_preadv(entry - 1, fd, iov, count, at);
}

EXPORT ssize_t
read(int fd, void *buf, size_t n)
{
	int32_t		entry = entry_of(fd);
	struct iovec one = {.iov_base = buf, .iov_len = n};

	if (LIKELY(entry <= 0))
		return real.read(fd, buf, n);
	return segment_readv(entry - 1, fd, &one, 1);
}

EXPORT ssize_t
readv(int fd, const struct iovec *iov, int count)
{
	int32_t		entry = entry_of(fd);

	if (LIKELY(entry <= 0))
		return real.readv(fd, iov, count);
	return segment_readv(entry - 1, fd, iov, count);
}

/* Flags are hints but for RWF_APPEND and the like: only none is taken. */
EXPORT ssize_t
preadv2(int fd, const struct iovec *iov, int count, off_t at, int flags)
{
	int32_t		entry = entry_of(fd);

	if (LIKELY(entry <= 0))
		return real.preadv2(fd, iov, count, at, flags);
	if (flags != 0)
		return refuse_fd(EOPNOTSUPP, "flags of preadv2", fd);
	if (at == -1)
		return segment_readv(entry - 1, fd, iov, count);
	return segment_preadv(entry - 1, fd, iov, count, at);
}

extern ssize_t __read_chk(int fd, void *buf, size_t n, size_t room);
extern ssize_t __pread_chk(int fd, void *buf, size_t n, off_t at, size_t room);

EXPORT ssize_t
__read_chk(int fd, void *buf, size_t n, size_t room)
{
	if (n > room)
		__chk_fail();
	return read(fd, buf, n);
}

EXPORT ssize_t
__pread_chk(int fd, void *buf, size_t n, off_t at, size_t room)
{
	if (n > room)
		__chk_fail();
	return pread(fd, buf, n, at);
}

ALIAS(pread64, pread);
ALIAS(preadv64, preadv);
ALIAS(preadv64v2, preadv2);
ALIAS(__pread64_chk, __pread_chk);

/*----------------------------------------------------------------
 * Writes
 *----------------------------------------------------------------
 */

/* control_before_write for a vector: the state may not lie in its first part. */
static bool
before_control_writev(const struct iovec *iov, int count, off_t at)
{
	char		head[64];
	size_t		n = 0;

	for (int i = 0; i < count && n < sizeof(head); i++)
	{
		size_t		piece = iov[i].iov_len;

		if (piece > sizeof(head) - n)
			piece = sizeof(head) - n;
		memcpy(head + n, iov[i].iov_base, piece);
		n += piece;
	}
	return control_before_write(head, n, at);
}

EXPORT ssize_t
pwritev(int fd, const struct iovec *iov, int count, off_t at)
{
	int32_t		entry = entry_of(fd);

	if (entry > 0)
		return segment_pwritev(entry - 1, fd, iov, count, at);
	if (entry == FD_CONTROL && !before_control_writev(iov, count, at))
		return -1;
	return real.pwritev(fd, iov, count, at);
}

EXPORT ssize_t
pwrite(int fd, const void *buf, size_t n, off_t at)
{
	int32_t		entry = entry_of(fd);
	struct iovec one = {.iov_base = (void *) buf, .iov_len = n};

	if (entry > 0)
		return segment_pwritev(entry - 1, fd, &one, 1, at);
	if (entry == FD_CONTROL && !control_before_write(buf, n, at))
		return -1;
	return real.pwrite(fd, buf, n, at);
}

EXPORT ssize_t
writev(int fd, const struct iovec *iov, int count)
{
	int32_t		entry = entry_of(fd);

	if (entry > 0)
		return segment_writev(entry - 1, fd, iov, count);
	if (entry == FD_CONTROL &&
		!before_control_writev(iov, count, real.lseek(fd, 0, SEEK_CUR)))
		return -1;
	return real.writev(fd, iov, count);
}

EXPORT ssize_t
write(int fd, const void *buf, size_t n)
{
	int32_t		entry = entry_of(fd);
	struct iovec one = {.iov_base = (void *) buf, .iov_len = n};

	if (LIKELY(entry == FD_OTHER))
		return real.write(fd, buf, n);
	if (entry > 0)
		return segment_writev(entry - 1, fd, &one, 1);
	if (entry == FD_CONTROL && !control_before_write(buf, n, real.lseek(fd, 0, SEEK_CUR)))
		return -1;
	return real.write(fd, buf, n);
}

EXPORT ssize_t
pwritev2(int fd, const struct iovec *iov, int count, off_t at, int flags)
{
	int32_t		entry = entry_of(fd);

	if (LIKELY(entry == FD_OTHER))
		return real.pwritev2(fd, iov, count, at, flags);
	if (flags != 0)
		return refuse_fd(EOPNOTSUPP, "flags of pwritev2", fd);
	return at == -1 ? writev(fd, iov, count) : pwritev(fd, iov, count, at);
}

ALIAS(pwrite64, pwrite);
ALIAS(pwritev64, pwritev);
ALIAS(pwritev64v2, pwritev2);

/*----------------------------------------------------------------
 * Size
 *----------------------------------------------------------------
 */
EXPORT int
ftruncate(int fd, off_t len)
{
	int32_t		entry = entry_of(fd);

	if (entry > 0)
		return segment_ftruncate(entry - 1, fd, len);
	if (entry == FD_CONTROL && !control_before_write(NULL, 0, 0))
		return -1;
	return real.ftruncate(fd, len);
}

EXPORT int
fallocate(int fd, int mode, off_t at, off_t len)
{
	int32_t		entry = entry_of(fd);

	if (entry > 0)
		return segment_fallocate(entry - 1, fd, mode, at, len);
	if (entry == FD_CONTROL)
		return refuse_fd(EOPNOTSUPP, "fallocate", fd);
	return real.fallocate(fd, mode, at, len);
}

EXPORT int
posix_fallocate(int fd, off_t at, off_t len)
{
	int32_t		entry = entry_of(fd);

	if (entry > 0)
		return segment_posix_fallocate(entry - 1, fd, at, len);
	return real.posix_fallocate(fd, at, len);
}

/*
 * Holes of the local file say nothing about data.  A file system may always
 * answer as if there were no holes, so we do.
 */
EXPORT off_t
lseek(int fd, off_t at, int whence)
{
	struct stat st;

	if (LIKELY(whence <= SEEK_END) || entry_of(fd) <= 0)
	{
		shim_ready();
		return real.lseek(fd, at, whence);
	}
	if (whence != SEEK_DATA && whence != SEEK_HOLE)
		return real.lseek(fd, at, whence);
	if (fstat(fd, &st) != 0)
		return -1;
	if (at < 0 || at >= st.st_size)
	{
		errno = ENXIO;
		return -1;
	}
	return real.lseek(fd, whence == SEEK_DATA ? at : st.st_size, SEEK_SET);
}

ALIAS(ftruncate64, ftruncate);
ALIAS(fallocate64, fallocate);
ALIAS(posix_fallocate64, posix_fallocate);
ALIAS(lseek64, lseek);

/*----------------------------------------------------------------
 * Syncs and hints
 *
 * In mode "off" another boot discards the whole volume, so no sync of any
 * file is worth its time, WAL and pg_control included.
 *----------------------------------------------------------------
 */
static int
sync_nothing(int fd)
{
	return real.fcntl(fd, F_GETFD) < 0 ? -1 : 0;
}

EXPORT int
fsync(int fd)
{
	int32_t		entry = entry_of(fd);

	if (entry > 0)
		return segment_fsync(entry - 1, fd, false);
	return shim.mode == MODE_OFF ? sync_nothing(fd) : real.fsync(fd);
}

EXPORT int
fdatasync(int fd)
{
	int32_t		entry = entry_of(fd);

	if (entry > 0)
		return segment_fsync(entry - 1, fd, true);
	return shim.mode == MODE_OFF ? sync_nothing(fd) : real.fdatasync(fd);
}

EXPORT int
syncfs(int fd)
{
	shim_ready();
	return shim.active ? shim_syncfs(fd) : real.syncfs(fd);
}

EXPORT int
sync_file_range(int fd, off_t at, off_t len, unsigned flags)
{
	shim_ready();
	return shim.mode == MODE_OFF ? sync_nothing(fd)
		: real.sync_file_range(fd, at, len, flags);
}

EXPORT int
posix_fadvise(int fd, off_t at, off_t len, int advice)
{
	int32_t		entry = entry_of(fd);

	if (entry > 0)
		return segment_fadvise(entry - 1, fd, at, len, advice);
	return real.posix_fadvise(fd, at, len, advice);
}

EXPORT ssize_t
readahead(int fd, off_t at, size_t len)
{
	int32_t		entry = entry_of(fd);
	int			error;

	if (entry <= 0)
		return real.readahead(fd, at, len);
	error = segment_fadvise(entry - 1, fd, at, (off_t) len, POSIX_FADV_WILLNEED);
	if (error == 0)
		return 0;
	errno = error;
	return -1;
}

ALIAS(posix_fadvise64, posix_fadvise);
