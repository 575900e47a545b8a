/*-------------------------------------------------------------------------
 *
 * cut.c
 *	  Calls that make, cut, extend or remove the file of a mapped segment.
 *
 * Cuts set the bits of all cut blocks *before* the call: were it after, a
 * reader or an extension in between would find blocks past the end that
 * still show the layers.  If the call then fails, bits are set that have no
 * data: the segment is broken and every use of it an error, until a restart
 * reads the bits back from the overlay (fsync fails on a broken segment, so
 * such bits never become synced).
 *
 * O_APPEND, O_DIRECT and hole-punching are refused: upstream doesn't use them
 * on relation files outside of developers' settings, and each would need
 * rules of its own.  Renames are refused in interpose_path.c.
 *
 *-------------------------------------------------------------------------
 */
#include <errno.h>
#include <linux/falloc.h>
#include <string.h>

#include "fdtable.h"
#include "io.h"
#include "real.h"
#include "segment.h"

static int
close_with_errno(int fd, int error)
{
	fd_forget(fd);
	real.close(fd);
	errno = error;
	return -1;
}

static bool
flags_allowed(int flags)
{
	if (flags & (O_APPEND | O_DIRECT))
		return false;
	return !(flags & O_TRUNC) || (flags & O_ACCMODE) != O_RDONLY;
}

/*
 * Open, and with O_CREAT make the file if it isn't there.  A file that comes
 * into being is not the one that was laid out: the overlay must say so on
 * disk before there is any such file (see FLAG_REPLACED in segment.c).  If
 * another process makes it between our two looks, it did the same before.
 */
static int
open_or_make(int32_t index, int dirfd, const char *path, int flags, mode_t mode)
{
	int			fd = real.openat(dirfd, path, flags & ~(O_CREAT | O_EXCL), mode);

	if (fd >= 0 && (flags & O_CREAT) && (flags & O_EXCL))
	{
		real.close(fd);
		errno = EEXIST;
		return -1;
	}
	if (fd >= 0 || errno != ENOENT || !(flags & O_CREAT))
		return fd;
	segment_flag(index, FLAG_REPLACED);
	if (!overlay_sync(&shim.overlay, &shim.planes, shim.mode != MODE_OFF))
	{
		report("could not sync overlay: %s; \"%s\" is not made", strerror(errno), path);
		errno = EIO;
		return -1;
	}
	return real.openat(dirfd, path, flags, mode);
}

/*
 * O_TRUNC becomes an ftruncate of the opened file: only then do we know that
 * the open succeeds and what the bits were.  O_CREAT raises the flag first,
 * whether or not the file exists.
 */
int
segment_open(int32_t index, int dirfd, const char *path, int flags, mode_t mode)
{
	int			save_errno = errno;
	int			fd;

	if (flags & O_PATH)
		return real.openat(dirfd, path, flags, mode);	/* can't do I/O */
	if (!flags_allowed(flags))
	{
		report("open flags %#x of \"%s\" are not supported on a branch", flags, path);
		errno = EINVAL;
		return -1;
	}
	if (flags & O_CREAT)
		segment_flag(index, FLAG_TOUCHED);
	fd = open_or_make(index, dirfd, path, flags & ~O_TRUNC, mode);
	if (fd < 0)
		return -1;
	if (!fd_remember(fd, index + 1))
	{
		report("descriptor %d of \"%s\" is past the table", fd, path);
		return close_with_errno(fd, EMFILE);
	}
	if (!segment_opened(index, fd) ||
		((flags & O_TRUNC) && segment_ftruncate(index, fd, 0) != 0))
		return close_with_errno(fd, errno);
	errno = save_errno;
	return fd;
}

/* Would the kernel refuse before doing anything? */
static bool
can_write(int fd)
{
	int			flags = real.fcntl(fd, F_GETFL);

	return flags >= 0 && (flags & O_ACCMODE) != O_RDONLY;
}

int
segment_ftruncate(int32_t index, int fd, off_t len)
{
	const struct segment *s = segment_at(index);
	uint64_t	block = (uint64_t) len / BLOCK_SIZE;
	bool		news;
	int			r;

	if (segment_broken(index))
	{
		errno = EIO;
		return -1;
	}
	if (len < 0 || !can_write(fd))
		return real.ftruncate(fd, len);

	/* what stays of a block that is cut in two must be there */
	if (len % BLOCK_SIZE != 0 && !block_is_local(s, block) &&
		!segment_copy_block(index, fd, (uint32_t) block))
		return -1;

	segment_flag(index, FLAG_TOUCHED);
	news = segment_cut_bits(index, block);
	do
		r = real.ftruncate(fd, len);
	while (r != 0 && errno == EINTR);
	if (r != 0 && news)
	{
		int			save_errno = errno;

		segment_break(index, "truncate");
		errno = save_errno;
	}
	return r;
}

int
segment_truncate(int32_t index, const char *path, off_t len)
{
	int			fd = segment_open(index, AT_FDCWD, path, O_RDWR | O_CLOEXEC, 0);
	int			r;

	if (fd < 0)
		return -1;
	r = segment_ftruncate(index, fd, len);
	if (r != 0)
		return close_with_errno(fd, errno);
	fd_forget(fd);
	real.close(fd);
	return 0;
}

/*
 * An absent file has all its bits set too, so ENOENT leaves nothing untrue.
 * These bits may be forgotten: FLAG_REPLACED is raised when, and only if, the
 * name is used again.
 */
int
segment_unlink(int32_t index, int dirfd, const char *path, int flags)
{
	_Atomic uint8_t *state = &shim.planes.states[index];
	bool		news;
	int			r;

	if (flags & AT_REMOVEDIR)
		return real.unlinkat(dirfd, path, flags);
	segment_flag(index, FLAG_TOUCHED);
	news = segment_cut_bits(index, 0);
	r = real.unlinkat(dirfd, path, flags);
	if (r == 0 || errno == ENOENT)
		atomic_store(state, SEGMENT_OPEN);	/* a broken one is whole again */
	else if (news)
	{
		int			save_errno = errno;

		segment_break(index, "unlink");
		errno = save_errno;
	}
	return r;
}

/*
 * Allocation changes no data.  Where it makes the file longer the new blocks
 * lie past its end and are local already, by the invariant.
 */
int
segment_fallocate(int32_t index, int fd, int mode, off_t at, off_t len)
{
	if (segment_broken(index))
		errno = EIO;
	else if (mode & ~FALLOC_FL_KEEP_SIZE)
	{
		report("fallocate mode %#x is not supported on a branch", mode);
		errno = EOPNOTSUPP;
	}
	else
	{
		segment_flag(index, FLAG_TOUCHED);
		return real.fallocate(fd, mode, at, len);
	}
	return -1;
}

/* Returns the error; glibc's fallback without fallocate writes zeros past the end only. */
int
segment_posix_fallocate(int32_t index, int fd, off_t at, off_t len)
{
	if (segment_broken(index))
		return EIO;
	segment_flag(index, FLAG_TOUCHED);
	return real.posix_fallocate(fd, at, len);
}
