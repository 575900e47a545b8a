/*
 * See recorder.h: the calls, each with its record.
 *
 * Linked with -Bsymbolic-functions: what is defined here calls itself directly,
 * and everything the shim interposes too is called by NEXT, else it would come
 * round through the shim.
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include "recorder.h"

/* libc's own version of the function this is used in. */
#define NEXT(name) ({ \
	static __typeof__(name) *next; \
	if (next == NULL) \
	{ \
		void	   *found = dlsym(RTLD_NEXT, #name); \
		if (found == NULL) \
			abort(); \
		memcpy(&next, &found, sizeof(next)); \
	} \
	next; })

/* The inode of a regular file or folder, 0 for anything else: pipes, sockets. */
static uint64_t
inode_of(int fd)
{
	int			save_errno = errno;
	struct stat st;
	uint64_t	inode = 0;

	if (log_open() && NEXT(fstat) (fd, &st) == 0 && (S_ISREG(st.st_mode) || S_ISDIR(st.st_mode)))
		inode = st.st_ino;
	errno = save_errno;
	return inode;
}

/* 0 if there is none. */
static uint64_t
inode_at(int dirfd, const char *path)
{
	int			save_errno = errno;
	struct stat st;
	uint64_t	inode = NEXT(fstatat) (dirfd, path, &st, AT_SYMLINK_NOFOLLOW) == 0 ? st.st_ino : 0;

	errno = save_errno;
	return inode;
}

static const char *
name_of(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? slash + 1 : path;
}

static uint64_t
folder_of(int dirfd, const char *path)
{
	char		folder[PATH_MAX];
	size_t		n = (size_t) (name_of(path) - path);

	if (n >= sizeof(folder))
		abort();
	memcpy(folder, path, n);
	strcpy(folder + n, ".");
	return inode_at(dirfd, folder);
}

static void
log_name(enum kind kind, uint64_t inode, uint64_t is_folder, int dirfd, const char *path)
{
	log_append(kind, inode, folder_of(dirfd, path), is_folder, name_of(path), strlen(name_of(path)));
}

/* ---- Contents ---- */

static void
log_vector(uint64_t inode, const struct iovec *iov, off_t at, ssize_t done)
{
	uint8_t    *out;

	if (done <= 0)
		return;
	out = log_room(KIND_WRITE, inode, (uint64_t) at, (size_t) done);
	for (size_t left = (size_t) done; left > 0; iov++)
	{
		size_t		n = iov->iov_len < left ? iov->iov_len : left;

		memcpy(out, iov->iov_base, n);
		out += n;
		left -= n;
	}
}

ssize_t
pwritev(int fd, const struct iovec *iov, int count, off_t at)
{
	uint64_t	inode = inode_of(fd);
	ssize_t		n;

	if (inode == 0)
		return NEXT(pwritev) (fd, iov, count, at);
	log_lock();
	n = NEXT(pwritev) (fd, iov, count, at);
	log_vector(inode, iov, at, n);
	log_unlock();
	return n;
}

ssize_t
writev(int fd, const struct iovec *iov, int count)
{
	uint64_t	inode = inode_of(fd);
	ssize_t		n;

	if (inode == 0)
		return NEXT(writev) (fd, iov, count);
	log_lock();
	n = NEXT(writev) (fd, iov, count);
	/* where it ended, so that O_APPEND needs no thought */
	log_vector(inode, iov, NEXT(lseek) (fd, 0, SEEK_CUR) - n, n);
	log_unlock();
	return n;
}

ssize_t
pwritev2(int fd, const struct iovec *iov, int count, off_t at, int flags)
{
	(void) flags;
	return at == -1 ? writev(fd, iov, count) : pwritev(fd, iov, count, at);
}

ssize_t
pwrite(int fd, const void *buf, size_t len, off_t at)
{
	struct iovec iov = {(void *) buf, len};

	return pwritev(fd, &iov, 1, at);
}

ssize_t
write(int fd, const void *buf, size_t len)
{
	struct iovec iov = {(void *) buf, len};

	return writev(fd, &iov, 1);
}

int
ftruncate(int fd, off_t len)
{
	uint64_t	inode = inode_of(fd);
	int			r;

	if (inode == 0)
		return NEXT(ftruncate) (fd, len);
	log_lock();
	r = NEXT(ftruncate) (fd, len);
	if (r == 0)
		log_append(KIND_TRUNCATE, inode, (uint64_t) len, 0, NULL, 0);
	log_unlock();
	return r;
}

int
truncate(const char *path, off_t len)
{
	int			r;

	if (!log_open())
		return NEXT(truncate) (path, len);
	log_lock();
	r = NEXT(truncate) (path, len);
	if (r == 0)
		log_append(KIND_TRUNCATE, inode_at(AT_FDCWD, path), (uint64_t) len, 0, NULL, 0);
	log_unlock();
	return r;
}

int
fallocate(int fd, int mode, off_t at, off_t len)
{
	uint64_t	inode = inode_of(fd);
	int			r;

	if (inode == 0)
		return NEXT(fallocate) (fd, mode, at, len);
	log_lock();
	r = NEXT(fallocate) (fd, mode, at, len);
	if (r == 0 && mode == 0)
		log_append(KIND_EXTEND, inode, (uint64_t) (at + len), 0, NULL, 0);
	log_unlock();
	return r;
}

int
posix_fallocate(int fd, off_t at, off_t len)
{
	uint64_t	inode = inode_of(fd);
	int			error;

	if (inode == 0)
		return NEXT(posix_fallocate) (fd, at, len);
	log_lock();
	error = NEXT(posix_fallocate) (fd, at, len);
	if (error == 0)
		log_append(KIND_EXTEND, inode, (uint64_t) (at + len), 0, NULL, 0);
	log_unlock();
	return error;
}

void *
mmap(void *address, size_t len, int protection, int flags, int fd, off_t at)
{
	void	   *r = NEXT(mmap) (address, len, protection, flags, fd, at);
	uint64_t	inode;

	if (r == MAP_FAILED || fd < 0 || !(protection & PROT_WRITE) || !(flags & MAP_SHARED))
		return r;
	if ((inode = inode_of(fd)) != 0)
		log_watch(r, len, inode, at);
	return r;
}

/* ---- Names ---- */

int
openat(int dirfd, const char *path, int flags,...)
{
	mode_t		mode;
	va_list		args;
	uint64_t	was;
	int			fd;

	va_start(args, flags);
	mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(args, mode_t) : 0;
	va_end(args);
	if (!(flags & (O_CREAT | O_TRUNC)) || !log_open())
		return NEXT(openat) (dirfd, path, flags, mode);
	log_lock();
	was = inode_at(dirfd, path);
	fd = NEXT(openat) (dirfd, path, flags, mode);
	if (fd >= 0 && was == 0)
		log_name(KIND_CREATE, inode_of(fd), 0, dirfd, path);
	else if (fd >= 0 && (flags & O_TRUNC))
		log_append(KIND_TRUNCATE, inode_of(fd), 0, 0, NULL, 0);
	log_unlock();
	return fd;
}

int
mkdirat(int dirfd, const char *path, mode_t mode)
{
	int			r;

	if (!log_open())
		return NEXT(mkdirat) (dirfd, path, mode);
	log_lock();
	r = NEXT(mkdirat) (dirfd, path, mode);
	if (r == 0)
		log_name(KIND_CREATE, inode_at(dirfd, path), 1, dirfd, path);
	log_unlock();
	return r;
}

int
unlinkat(int dirfd, const char *path, int flags)
{
	uint64_t	inode;
	int			r;

	if (!log_open())
		return NEXT(unlinkat) (dirfd, path, flags);
	log_lock();
	inode = inode_at(dirfd, path);
	r = NEXT(unlinkat) (dirfd, path, flags);
	if (r == 0)
		log_name(KIND_UNLINK, inode, 0, dirfd, path);
	log_unlock();
	return r;
}

int
unlink(const char *path)
{
	return unlinkat(AT_FDCWD, path, 0);
}

int
rmdir(const char *path)
{
	return unlinkat(AT_FDCWD, path, AT_REMOVEDIR);
}

int
remove(const char *path)
{
	return unlinkat(AT_FDCWD, path, 0) == 0 ? 0 : errno == EISDIR ? rmdir(path) : -1;
}

int
linkat(int from, const char *old, int to, const char *new, int flags)
{
	int			r;

	if (!log_open())
		return NEXT(linkat) (from, old, to, new, flags);
	log_lock();
	r = NEXT(linkat) (from, old, to, new, flags);
	if (r == 0)
		log_name(KIND_LINK, inode_at(to, new), 0, to, new);
	log_unlock();
	return r;
}

int
renameat2(int from, const char *old, int to, const char *new, unsigned flags)
{
	char		names[2 * NAME_MAX + 2];
	uint64_t	inode;
	int			n;
	int			r;

	if (!log_open())
		return NEXT(renameat2) (from, old, to, new, flags);
	log_lock();
	inode = inode_at(from, old);
	r = NEXT(renameat2) (from, old, to, new, flags);
	if (r == 0)
	{
		n = snprintf(names, sizeof(names), "%s%c%s", name_of(old), 0, name_of(new));
		log_append(KIND_RENAME, inode, folder_of(from, old), folder_of(to, new), names, (size_t) n);
	}
	log_unlock();
	return r;
}

int
rename(const char *old, const char *new)
{
	return renameat2(AT_FDCWD, old, AT_FDCWD, new, 0);
}

/* ---- Syncs.  Only what was written before one began is on disk when it ends. ---- */

static int
sync_inode(uint64_t inode)
{
	uint64_t	began;

	log_lock();
	began = log_append(KIND_SYNC_BEGIN, inode, 0, 0, NULL, 0);
	log_unlock();
	usleep(100);				/* for others to write in, and to lose it */
	log_lock();
	log_append(KIND_SYNC_END, inode, began, 0, NULL, 0);
	log_unlock();
	return 0;
}

int
fsync(int fd)
{
	uint64_t	inode = inode_of(fd);

	return inode == 0 ? NEXT(fsync) (fd) : sync_inode(inode);
}

int
fdatasync(int fd)
{
	return fsync(fd);
}

int
syncfs(int fd)
{
	return inode_of(fd) == 0 ? NEXT(syncfs) (fd) : sync_inode(0);
}

/* It promises nothing, so it does nothing. */
int
sync_file_range(int fd, off_t at, off_t len, unsigned flags)
{
	return inode_of(fd) == 0 ? NEXT(sync_file_range) (fd, at, len, flags) : 0;
}
