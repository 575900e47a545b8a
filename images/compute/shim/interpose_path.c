/*-------------------------------------------------------------------------
 *
 * interpose_path.c
 *	  Calls by name: pg_control under its name on disk, segments cut and
 *	  unlinked, tablespaces refused.
 *
 * Renames of mapped segments, and of the directories that hold them, are
 * refused: upstream 17 never renames a relation file (durable_rename is for
 * WAL, pg_filenode.map, snapshots, slots and the like; rewrites make a new
 * relfilenumber), and a rename would need both names' bits to change at once.
 * Hard and symbolic links to or over segments are refused for the same reason.
 *
 * Not handled: ioctl(FICLONE) and the __xstat family of glibc before 2.33,
 * which no Postgres for the systems we build on imports.
 *
 *-------------------------------------------------------------------------
 */
#include <errno.h>
#include <string.h>

#include "interpose.h"

/*
 * stat and access are called a lot and mean pg_control rarely: look at the
 * last component before anything else.
 */
const char *
redirected(int dirfd, const char *path)
{
	static const char name[] = CONTROL_NAME;
	const size_t len = sizeof(name) - 1;
	size_t		n;

	if (!shim.active || path == NULL)
		return path;
	n = strlen(path);
	if (n < len || memcmp(path + n - len, name, len) != 0)
		return path;
	return shim_classify(dirfd, path).kind == PATH_CONTROL ? control_path() : path;
}

int
refuse_path(int error, const char *what, const char *path)
{
	report("%s of \"%s\" is not supported on a branch", what, path);
	errno = error;
	return -1;
}

int
refuse_fd(int error, const char *what, int fd)
{
	char		link[64];
	char		path[PATH_MAX];
	ssize_t		n;

	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	n = readlink(link, path, sizeof(path) - 1);
	path[n > 0 ? n : 0] = '\0';
	return refuse_path(error, what, path);
}

/*----------------------------------------------------------------
 * Looking
 *----------------------------------------------------------------
 */
EXPORT int
stat(const char *path, struct stat *buf)
{
	shim_ready();
	return real.stat(redirected(AT_FDCWD, path), buf);
}

EXPORT int
lstat(const char *path, struct stat *buf)
{
	shim_ready();
	return real.lstat(redirected(AT_FDCWD, path), buf);
}

EXPORT int
fstatat(int dirfd, const char *path, struct stat *buf, int flags)
{
	shim_ready();
	return real.fstatat(dirfd, redirected(dirfd, path), buf, flags);
}

EXPORT int
statx(int dirfd, const char *path, int flags, unsigned mask, struct statx *buf)
{
	shim_ready();
	return real.statx(dirfd, redirected(dirfd, path), flags, mask, buf);
}

EXPORT int
access(const char *path, int mode)
{
	shim_ready();
	return real.access(redirected(AT_FDCWD, path), mode);
}

EXPORT int
faccessat(int dirfd, const char *path, int mode, int flags)
{
	shim_ready();
	return real.faccessat(dirfd, redirected(dirfd, path), mode, flags);
}

EXPORT int	stat64(const char *path, struct stat64 *buf) __attribute__((alias("stat")));
EXPORT int	lstat64(const char *path, struct stat64 *buf) __attribute__((alias("lstat")));
EXPORT int	fstatat64(int dirfd, const char *path, struct stat64 *buf, int flags)
			__attribute__((alias("fstatat")));

static bool
is_global(DIR *dir)
{
	char		path[PATH_MAX + sizeof("/global")];
	struct stat here;
	struct stat global;

	snprintf(path, sizeof(path), "%s/global", shim.roots.resolved);
	return fstat(dirfd(dir), &here) == 0 && real.stat(path, &global) == 0 &&
		here.st_dev == global.st_dev && here.st_ino == global.st_ino;
}

/* The entry is the stream's own memory, and the shown name is the shorter one. */
EXPORT struct dirent *
readdir(DIR *dir)
{
	struct dirent *entry;

	shim_ready();
	entry = real.readdir(dir);
	if (entry != NULL && shim.active && strcmp(entry->d_name, CONTROL_NAME_ON_DISK) == 0)
	{
		int			save_errno = errno;

		if (is_global(dir))
			strcpy(entry->d_name, CONTROL_NAME);
		errno = save_errno;
	}
	return entry;
}

EXPORT struct dirent64 *readdir64(DIR *dir) __attribute__((alias("readdir")));

/*----------------------------------------------------------------
 * Cutting and removing
 *----------------------------------------------------------------
 */
EXPORT int
truncate(const char *path, off_t len)
{
	int32_t		index;

	shim_ready();
	index = mapped_segment(AT_FDCWD, path);
	if (index >= 0)
		return segment_truncate(index, path, len);
	if (redirected(AT_FDCWD, path) != path && !control_before_write(NULL, 0, 0))
		return -1;
	return real.truncate(redirected(AT_FDCWD, path), len);
}

ALIAS(truncate64, truncate);

EXPORT int
unlinkat(int dirfd, const char *path, int flags)
{
	int32_t		index;

	shim_ready();
	index = mapped_segment(dirfd, path);
	if (index >= 0)
		return segment_unlink(index, dirfd, path, flags);
	return real.unlinkat(dirfd, redirected(dirfd, path), flags);
}

EXPORT int
unlink(const char *path)
{
	return unlinkat(AT_FDCWD, path, 0);
}

EXPORT int
remove(const char *path)
{
	shim_ready();
	if (mapped_segment(AT_FDCWD, path) >= 0)
		return unlinkat(AT_FDCWD, path, 0);
	return real.remove(redirected(AT_FDCWD, path));
}

/*----------------------------------------------------------------
 * Renaming and linking
 *----------------------------------------------------------------
 */
static bool
holds_segments(const struct path_class *c)
{
	return c->kind == PATH_HOLDER || segment_of(c) >= 0;
}

EXPORT int
renameat2(int from_dir, const char *from, int to_dir, const char *to, unsigned flags)
{
	struct path_class a;
	struct path_class b;

	shim_ready();
	a = shim_classify(from_dir, from);
	b = shim_classify(to_dir, to);
	if (holds_segments(&a))
		return refuse_path(EPERM, "rename", from);
	if (holds_segments(&b) || b.kind == PATH_TABLESPACE)
		return refuse_path(EPERM, "rename", to);
	/* an exchange would put another file in pg_control's place from either side */
	if ((flags & ~RENAME_NOREPLACE) && (a.kind == PATH_CONTROL || b.kind == PATH_CONTROL))
		return refuse_path(EPERM, "exchange", from);
	if (a.kind == PATH_CONTROL)
		from = control_path();
	if (b.kind == PATH_CONTROL)
	{
		if (!control_before_rename(from_dir, from))
			return -1;
		to = control_path();
	}
	return real.renameat2(from_dir, from, to_dir, to, flags);
}

EXPORT int
renameat(int from_dir, const char *from, int to_dir, const char *to)
{
	return renameat2(from_dir, from, to_dir, to, 0);
}

EXPORT int
rename(const char *from, const char *to)
{
	return renameat2(AT_FDCWD, from, AT_FDCWD, to, 0);
}

EXPORT int
linkat(int from_dir, const char *from, int to_dir, const char *to, int flags)
{
	struct path_class a;
	struct path_class b;

	shim_ready();
	a = shim_classify(from_dir, from);
	b = shim_classify(to_dir, to);
	if (segment_of(&a) >= 0 || a.kind == PATH_CONTROL)
		return refuse_path(EPERM, "link", from);
	if (segment_of(&b) >= 0 || b.kind == PATH_CONTROL)
		return refuse_path(EPERM, "link", to);
	return real.linkat(from_dir, from, to_dir, to, flags);
}

EXPORT int
link(const char *from, const char *to)
{
	return linkat(AT_FDCWD, from, AT_FDCWD, to, 0);
}

EXPORT int
symlinkat(const char *target, int dirfd, const char *path)
{
	struct path_class a;
	struct path_class b;

	shim_ready();
	a = shim_classify(AT_FDCWD, target);
	b = shim_classify(dirfd, path);
	if (b.kind == PATH_TABLESPACE)
		return refuse_path(EPERM, "tablespace link", path);
	if (segment_of(&a) >= 0 || segment_of(&b) >= 0 ||
		a.kind == PATH_CONTROL || b.kind == PATH_CONTROL)
		return refuse_path(EPERM, "symbolic link", path);
	return real.symlinkat(target, dirfd, path);
}

EXPORT int
symlink(const char *target, const char *path)
{
	return symlinkat(target, AT_FDCWD, path);
}

EXPORT int
mkdirat(int dirfd, const char *path, mode_t mode)
{
	shim_ready();
	if (shim_classify(dirfd, path).kind == PATH_TABLESPACE)
		return refuse_path(EPERM, "tablespace directory", path);
	return real.mkdirat(dirfd, path, mode);
}

EXPORT int
mkdir(const char *path, mode_t mode)
{
	return mkdirat(AT_FDCWD, path, mode);
}
