/*-------------------------------------------------------------------------
 *
 * power_disk.c
 *	  A disk whose power can fail: what was synced is copied aside.
 *
 * Copies are made by the tests' fsync, fdatasync and syncfs, so a sync that
 * the shim wrongly skips is one that didn't happen.
 *
 *-------------------------------------------------------------------------
 */
#include <unistd.h>

#include "../../images/compute/shim/fdtable.h"
#include "../../images/compute/shim/real.h"
#include "power.h"

static struct real_calls disk;	/* the real ones below the hooks */

static void
file_path(int i, char *out, size_t size, bool durable)
{
	char		name[64];

	if (durable)
		snprintf(out, size, "%s/durable%d", f.dir, i);
	else
		snprintf(out, size, "%s/%s", f.pgdata, segment_path(&segments[i], name, sizeof(name)));
}

/* Copy a file as it is, holes and all; absent becomes absent. */
static void
copy_file(const char *from, const char *to)
{
	static uint8_t bytes[1 << 20];
	int			in = disk.openat(AT_FDCWD, from, O_RDONLY);
	int			out;
	ssize_t		n;

	disk.unlinkat(AT_FDCWD, to, 0);
	if (in < 0)
		return;
	out = disk.openat(AT_FDCWD, to, O_CREAT | O_WRONLY, 0600);
	n = disk.pread(in, bytes, sizeof(bytes), 0);
	CHECK(out >= 0 && n >= 0 && disk.pwrite(out, bytes, (size_t) n, 0) == n);
	disk.close(in);
	disk.close(out);
}

static void
make_durable(int i)
{
	char		from[600];
	char		to[600];

	file_path(i, from, sizeof(from), false);
	file_path(i, to, sizeof(to), true);
	copy_file(from, to);
	world->unlinked[i] = false;
}

static void
make_overlay_durable(void)
{
	char		to[600];

	snprintf(to, sizeof(to), "%s/durable-overlay", f.dir);
	copy_file(f.overlay, to);
}

/*----------------------------------------------------------------
 * Hooks: a disk that remembers, and a process that may die anywhere
 *----------------------------------------------------------------
 */
void
crash_point(void)
{
	if (crash_in > 0 && --crash_in == 0)
		_exit(EXIT_CRASH);
}

static int
hook_sync(int fd)
{
	int32_t		entry = fd_entry(fd);

	crash_point();
	if (draw(&seed, 60) == 0 && (entry > 0 || fd == shim.overlay.fd))
	{
		errno = EIO;
		return -1;
	}
	if (entry > 0)
		make_durable(entry - 1);
	else if (fd == shim.overlay.fd)
		make_overlay_durable();
	crash_point();
	return 0;
}

static int
hook_syncfs(int fd)
{
	(void) fd;
	crash_point();
	for (int i = 0; i < N_FILES; i++)
		make_durable(i);
	crash_point();
	return 0;
}

static ssize_t
hook_pwrite(int fd, const void *buf, size_t n, off_t at)
{
	ssize_t		r;

	crash_point();
	r = disk.pwrite(fd, buf, n, at);
	crash_point();
	return r;
}

static int
hook_ftruncate(int fd, off_t len)
{
	int			r;

	crash_point();
	r = disk.ftruncate(fd, len);
	crash_point();
	return r;
}

static int
hook_unlinkat(int dirfd, const char *path, int flags)
{
	int			r;

	crash_point();
	r = disk.unlinkat(dirfd, path, flags);
	crash_point();
	return r;
}

void
disk_hook(void)
{
	real.fsync = real.fdatasync = hook_sync;
	real.syncfs = hook_syncfs;
	real.pwrite = hook_pwrite;
	real.ftruncate = hook_ftruncate;
	real.unlinkat = hook_unlinkat;
}

/*----------------------------------------------------------------
 * Power loss
 *----------------------------------------------------------------
 */

/*
 * An unlink was lost: the file of a dropped relation is back.  Nobody reads it
 * (upstream unlinks once the drop is durable), and FLAG_REPLACED may have
 * survived: what its blocks really hold becomes acceptable.
 */
static void
resurrect(int i, const char *now, const char *durable)
{
	static uint8_t page[BLOCK_SIZE];
	int			fd = disk.openat(AT_FDCWD, durable, O_RDONLY);

	copy_file(durable, now);
	for (uint32_t b = 0; fd >= 0 && b < MAX_BLOCKS; b++)
		if (disk.pread(fd, page, BLOCK_SIZE, (off_t) b * BLOCK_SIZE) == BLOCK_SIZE)
			remember(i, b, page_version(page, (uint32_t) i, b));
	if (fd >= 0)
		disk.close(fd);
}

/* Each block as last written or as in "old" (or zeros), one of both sizes. */
static void
mix(const char *now, int old)
{
	static uint8_t block[BLOCK_SIZE];
	int			fd = disk.openat(AT_FDCWD, now, O_RDWR);
	off_t		size = disk.lseek(fd, 0, SEEK_END);

	if (draw(&seed, 2))
		size = old < 0 ? 0 : disk.lseek(old, 0, SEEK_END);
	for (off_t at = 0; at < size; at += BLOCK_SIZE)
		if (draw(&seed, 2))
		{
			memset(block, 0, BLOCK_SIZE);
			CHECK(old < 0 || disk.pread(old, block, BLOCK_SIZE, at) >= 0);
			CHECK(disk.pwrite(fd, block, BLOCK_SIZE, at) == BLOCK_SIZE);
		}
	CHECK(disk.ftruncate(fd, size) == 0);
	disk.close(fd);
}

static void
lose_file(int i)
{
	char		now[600];
	char		durable[600];
	struct stat st;
	bool		exists;
	int			old = -1;

	file_path(i, now, sizeof(now), false);
	file_path(i, durable, sizeof(durable), true);
	exists = disk.stat(now, &st) == 0;
	if (world->unlinked[i] && draw(&seed, 2))
		resurrect(i, now, durable);
	else if (exists)
	{
		if (!world->unlinked[i])
			old = disk.openat(AT_FDCWD, durable, O_RDONLY);
		if (old < 0 && draw(&seed, 3) == 0)
			disk.unlinkat(AT_FDCWD, now, 0);	/* the creation was lost */
		else
			mix(now, old);
		disk.close(old);
	}
	make_durable(i);
}

/* Persisted bits and flags beyond the last sync: any subset of them. */
static void
lose_overlay(void)
{
	static uint8_t now[1 << 16];
	static uint8_t durable[1 << 16];
	char		path[600];
	int			fd = disk.openat(AT_FDCWD, f.overlay, O_RDWR);
	int			old;
	ssize_t		n;

	snprintf(path, sizeof(path), "%s/durable-overlay", f.dir);
	old = disk.openat(AT_FDCWD, path, O_RDONLY);
	n = disk.pread(fd, now, sizeof(now), 0);
	CHECK(n > 0 && disk.pread(old, durable, sizeof(durable), 0) == n);
	for (ssize_t k = OVERLAY_PAGE; k < n; k++)
		now[k] = durable[k] | (now[k] & (uint8_t) draw(&seed, 256));
	CHECK(disk.pwrite(fd, now, (size_t) n, 0) == n);
	disk.close(fd);
	disk.close(old);
	make_overlay_durable();
}

void
remember(int i, uint32_t block, uint64_t version)
{
	struct history *h = &world->blocks[i][block];

	CHECK(h->n < MAX_HISTORY);
	h->versions[h->n++] = version;
}

void
disk_begin(void)
{
	real_resolve();
	disk = real;
	for (int i = 0; i < N_FILES; i++)
		make_durable(i);
	make_overlay_durable();
}

void
disk_lose_power(void)
{
	for (int i = 0; i < N_FILES; i++)
		lose_file(i);
	lose_overlay();
}
