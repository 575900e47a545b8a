/*-------------------------------------------------------------------------
 *
 * interpose_refuse.c
 *	  Ways to a segment's data that go past read and write: refused.
 *
 * A mapping, a stream or a copy in the kernel would see the holes of the
 * local file where the layers' blocks should be.  Passing them on is the one
 * thing that must not happen; upstream uses none of them on relation files.
 * For pg_control they would bypass the persist, so only reading is allowed.
 *
 * The errno of data calls is EOPNOTSUPP, which programs that try the fast
 * way first take as a hint to read and write.
 *
 *-------------------------------------------------------------------------
 */
#include <errno.h>
#include <string.h>

#include "interpose.h"

/*
 * The path to open as a stream, or NULL with errno set.
 */
static const char *
stream_path(const char *path, const char *mode)
{
	if (mapped_segment(AT_FDCWD, path) >= 0)
	{
		refuse_path(EPERM, "stream", path);
		return NULL;
	}
	if (redirected(AT_FDCWD, path) != path && (mode[0] != 'r' || strchr(mode, '+')))
	{
		refuse_path(EPERM, "stream for writing", path);
		return NULL;
	}
	return redirected(AT_FDCWD, path);
}

EXPORT FILE *
fopen(const char *path, const char *mode)
{
	shim_ready();
	path = stream_path(path, mode);
	return path ? real.fopen(path, mode) : NULL;
}

EXPORT FILE *
freopen(const char *path, const char *mode, FILE *stream)
{
	shim_ready();
	if (path == NULL)
		return real.freopen(path, mode, stream);	/* only another mode */
	path = stream_path(path, mode);
	return path ? real.freopen(path, mode, stream) : NULL;
}

EXPORT FILE *
fdopen(int fd, const char *mode)
{
	if (entry_of(fd) == FD_OTHER)
		return real.fdopen(fd, mode);
	refuse_fd(EPERM, "stream", fd);
	return NULL;
}

ALIAS(fopen64, fopen);
ALIAS(freopen64, freopen);

EXPORT void *
mmap(void *address, size_t len, int protection, int flags, int fd, off_t at)
{
	int32_t		entry;

	shim_ready();
	entry = (flags & MAP_ANONYMOUS) ? FD_OTHER : fd_entry(fd);
	if (LIKELY(entry == FD_OTHER) ||
		(entry == FD_CONTROL && !(flags & MAP_SHARED)))
		return real.mmap(address, len, protection, flags, fd, at);
	refuse_fd(EPERM, "mmap", fd);
	return MAP_FAILED;
}

ALIAS(mmap64, mmap);

EXPORT ssize_t
copy_file_range(int in, off_t *in_at, int out, off_t *out_at, size_t len, unsigned flags)
{
	shim_ready();
	if (fd_entry(in) > 0)
		return refuse_fd(EOPNOTSUPP, "copy_file_range", in);
	if (fd_entry(out) != FD_OTHER)
		return refuse_fd(EOPNOTSUPP, "copy_file_range", out);
	return real.copy_file_range(in, in_at, out, out_at, len, flags);
}

EXPORT ssize_t
sendfile(int out, int in, off_t *at, size_t len)
{
	shim_ready();
	if (fd_entry(in) > 0)
		return refuse_fd(EOPNOTSUPP, "sendfile", in);
	if (fd_entry(out) != FD_OTHER)
		return refuse_fd(EOPNOTSUPP, "sendfile", out);
	return real.sendfile(out, in, at, len);
}

ALIAS(sendfile64, sendfile);

EXPORT ssize_t
splice(int in, off_t *in_at, int out, off_t *out_at, size_t len, unsigned flags)
{
	shim_ready();
	if (fd_entry(in) > 0)
		return refuse_fd(EOPNOTSUPP, "splice", in);
	if (fd_entry(out) != FD_OTHER)
		return refuse_fd(EOPNOTSUPP, "splice", out);
	return real.splice(in, in_at, out, out_at, len, flags);
}
