/*-------------------------------------------------------------------------
 *
 * interpose_open.c
 *	  Calls that make and end descriptors: the keepers of the table.
 *
 * Not handled: descriptors received over sockets, and open_by_handle_at; no
 * Postgres does either with relation files.
 *
 *-------------------------------------------------------------------------
 */
#include <errno.h>
#include <stdarg.h>
#include <sys/syscall.h>

#include "interpose.h"

static bool
needs_mode(int flags)
{
	return (flags & O_CREAT) || (flags & O_TMPFILE) == O_TMPFILE;
}

static int
open_control(int flags, mode_t mode)
{
	int			fd = real.openat(AT_FDCWD, control_path(), flags, mode);

	if (fd >= 0 && !fd_remember(fd, FD_CONTROL))
	{
		real.close(fd);
		errno = EMFILE;
		return -1;
	}
	return fd;
}

static int
open_any(int dirfd, const char *path, int flags, mode_t mode)
{
	struct path_class c;
	int32_t		index;

	shim_ready();
	c = shim_classify(dirfd, path);
	if (c.kind == PATH_CONTROL)
	{
		/* a cut is a write, and can't be held back once the file is open */
		if ((flags & O_TRUNC) && !control_before_write(NULL, 0, 0))
			return -1;
		return open_control(flags, mode);
	}
	index = segment_of(&c);
	if (index >= 0)
		return segment_open(index, dirfd, path, flags, mode);
	return real.openat(dirfd, path, flags, mode);
}

#define MODE_ARGUMENT(flags, mode) \
	if (needs_mode(flags)) \
	{ \
		va_list		args; \
		va_start(args, flags); \
		mode = va_arg(args, mode_t); \
		va_end(args); \
	}

EXPORT int
open(const char *path, int flags, ...)
{
	mode_t		mode = 0;

	MODE_ARGUMENT(flags, mode);
	return open_any(AT_FDCWD, path, flags, mode);
}

EXPORT int
openat(int dirfd, const char *path, int flags, ...)
{
	mode_t		mode = 0;

	MODE_ARGUMENT(flags, mode);
	return open_any(dirfd, path, flags, mode);
}

EXPORT int
creat(const char *path, mode_t mode)
{
	return open_any(AT_FDCWD, path, O_CREAT | O_WRONLY | O_TRUNC, mode);
}

ALIAS(open64, open);
ALIAS(openat64, openat);
ALIAS(creat64, creat);

/* What open() becomes with _FORTIFY_SOURCE. */
extern int	__open_2(const char *path, int flags);
extern int	__openat_2(int dirfd, const char *path, int flags);

EXPORT int
__open_2(const char *path, int flags)
{
	return open_any(AT_FDCWD, path, flags, 0);
}

EXPORT int
__openat_2(int dirfd, const char *path, int flags)
{
	return open_any(dirfd, path, flags, 0);
}

ALIAS(__open64_2, __open_2);
ALIAS(__openat64_2, __openat_2);

EXPORT int
close(int fd)
{
	int32_t		entry = entry_of(fd);

	if (entry == FD_OURS)
	{
		errno = EBADF;			/* to the program it isn't open */
		return -1;
	}
	if (entry != FD_OTHER)
		fd_forget(fd);
	return real.close(fd);
}

/* Close all in [first, last] but ours. */
EXPORT int
close_range(unsigned first, unsigned last, int flags)
{
	unsigned	from = first;

	shim_ready();
	if (first > last || (flags & CLOSE_RANGE_CLOEXEC))
		return real.close_range(first, last, flags);
	for (unsigned fd = first; fd <= last && fd < FD_TABLE_SIZE; fd++)
	{
		if (fd_entry((int) fd) != FD_OURS)
			fd_forget((int) fd);
		else
		{
			if (fd > from && real.close_range(from, fd - 1, flags) != 0)
				return -1;
			from = fd + 1;
		}
	}
	return from <= last ? real.close_range(from, last, flags) : 0;
}

EXPORT void
closefrom(int lowest)
{
	close_range(lowest < 0 ? 0 : (unsigned) lowest, ~0u, 0);
}

/* "fresh" is a duplicate of "fd": it means the same file. */
static int
carry(int32_t entry, int fresh)
{
	if (fresh >= 0 && !fd_remember(fresh, entry))
	{
		report("descriptor %d is past the table", fresh);
		real.close(fresh);
		errno = EMFILE;
		return -1;
	}
	return fresh;
}

EXPORT int
dup(int fd)
{
	int32_t		entry = entry_of(fd);

	if (entry == FD_OURS)
	{
		errno = EBADF;
		return -1;
	}
	return carry(entry, real.dup(fd));
}

/* May "target" be replaced by a duplicate of something with this entry? */
static bool
may_replace(int32_t entry, int target)
{
	errno = EBADF;
	if (entry == FD_OURS || fd_entry(target) == FD_OURS)
		return false;
	return entry == FD_OTHER || target < FD_TABLE_SIZE;
}

EXPORT int
dup2(int fd, int target)
{
	int32_t		entry = entry_of(fd);
	int			save_errno = errno;

	if (!may_replace(entry, target))
		return -1;
	errno = save_errno;
	return carry(entry, real.dup2(fd, target));
}

EXPORT int
dup3(int fd, int target, int flags)
{
	int32_t		entry = entry_of(fd);
	int			save_errno = errno;

	if (!may_replace(entry, target))
		return -1;
	errno = save_errno;
	return carry(entry, real.dup3(fd, target, flags));
}

EXPORT int
fcntl(int fd, int command, ...)
{
	int32_t		entry = entry_of(fd);
	va_list		args;
	void	   *argument;

	va_start(args, command);
	argument = va_arg(args, void *);
	va_end(args);

	if (LIKELY(entry == FD_OTHER))
		return real.fcntl(fd, command, argument);
	if (entry == FD_OURS)
	{
		errno = EBADF;
		return -1;
	}
	if (command == F_DUPFD || command == F_DUPFD_CLOEXEC)
		return carry(entry, real.fcntl(fd, command, argument));
	if (command == F_SETFL && ((long) argument & (O_APPEND | O_DIRECT)))
		return refuse_fd(EINVAL, "O_APPEND and O_DIRECT", fd);
	return real.fcntl(fd, command, argument);
}

ALIAS(fcntl64, fcntl);

/*
 * A vfork child shares our memory: its close() would forget descriptors the
 * parent still has.  fork() may stand in for vfork().
 */
EXPORT pid_t
vfork(void)
{
	return fork();
}

EXPORT int
chdir(const char *path)
{
	int			r;

	shim_ready();
	r = real.chdir(path);
	if (r == 0)
		shim_note_cwd();
	return r;
}

EXPORT int
fchdir(int fd)
{
	int			r;

	shim_ready();
	r = real.fchdir(fd);
	if (r == 0)
		shim_note_cwd();
	return r;
}
