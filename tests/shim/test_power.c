/*-------------------------------------------------------------------------
 *
 * test_power.c
 *	  Crashes, at the level of DESIGN 4's crash argument.
 *
 * A *life* is a process that opens the branch, does random calls and ends by
 * being killed at any of them.  Then either the page cache survives (kill -9),
 * or it doesn't: each block, size, flag and bit of the files is as at its last
 * sync or as last written, at random.  What is "on disk" is known because
 * the tests' fsync, fdatasync and syncfs copy the files aside, so a sync that
 * the shim wrongly skips is one that doesn't happen.
 *
 * Each block has a history of contents: the layers', then each version
 * written, and zeros wherever it was cut off or lies past the end.  Its
 * *floor* is the entry that was newest when an fsync began that ended before
 * the last successful pg_control write began.  The property, checked at the
 * start of each next life for each block below the file's end, and with "past
 * the end" taken as zeros:
 *
 *	  a block reads as one entry of its history, the floor's or a later one.
 *
 * From it follows what Postgres needs: what a checkpoint synced is never older
 * than at that checkpoint (WAL before it is not replayed again); a block not
 * synced reads as the layers' or as anything written since, never as a
 * mixture, never as a hole (zeros are not in the history of a block that
 * was never cut), never as another block.  WAL redo itself is not simulated.
 *
 *-------------------------------------------------------------------------
 */
#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../../images/compute/shim/fdtable.h"
#include "../../images/compute/shim/real.h"
#include "check.h"
#include "fixture.h"

#define N_FILES 3
#define MAX_BLOCKS 32
#define MAX_HISTORY 1500
#define EXIT_CRASH 9

static const struct segment segments[N_FILES] = {
	{1663, 5, 100, 0, 0, 24, 0, 0, 0},
	{1663, 5, 101, 0, 0, 0, 0, 0, 0},
	{1664, 0, 300, 0, 0, 9, 0, 0, 0},
};

struct history
{
	uint64_t	versions[MAX_HISTORY];
	int			n;
	int			synced;			/* newest when the last ended fsync began */
	int			floor;
};

/* Shared by the lives and their judge. */
struct world
{
	struct history blocks[N_FILES][MAX_BLOCKS];
	bool		unlinked[N_FILES];	/* and not synced since */
	uint64_t	next_version;
	long		judged;			/* how many blocks were looked at */
	long		lost;			/* how many of them read as before the last write */
};

static struct fixture f;
static struct world *world;
static uint32_t seed;
static uint32_t crash_in;		/* hooks left until a crash */
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
static void
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

static void
set_hooks(void)
{
	real.fsync = real.fdatasync = hook_sync;
	real.syncfs = hook_syncfs;
	real.pwrite = hook_pwrite;
	real.ftruncate = hook_ftruncate;
	real.unlinkat = hook_unlinkat;
}

/*----------------------------------------------------------------
 * A life.  History is written before the call: a call cut short may have
 * happened or not.
 *----------------------------------------------------------------
 */
static void
remember(int i, uint32_t block, uint64_t version)
{
	struct history *h = &world->blocks[i][block];

	CHECK(h->n < MAX_HISTORY);
	h->versions[h->n++] = version;
}

static void
remember_cut(int i, uint32_t from)
{
	for (uint32_t b = from; b < MAX_BLOCKS; b++)
		remember(i, b, VERSION_ZERO);
}

static int
open_file(int i)
{
	char		name[64];
	int			fd = open(segment_path(&segments[i], name, sizeof(name)), O_RDWR | O_CREAT, 0600);

	CHECK(fd >= 0);
	return fd;
}

static void
write_blocks(int i, int fd)
{
	static uint8_t buffer[4 * BLOCK_SIZE];
	uint32_t	first = draw(&seed, MAX_BLOCKS);
	uint32_t	count = 1 + draw(&seed, 4);

	if (count > MAX_BLOCKS - first)
		count = MAX_BLOCKS - first;
	for (uint32_t b = 0; b < count; b++)
	{
		uint64_t	version = world->next_version++;

		page_fill(buffer + b * BLOCK_SIZE, (uint32_t) i, first + b, version);
		remember(i, first + b, version);
	}
	CHECK(pwrite(fd, buffer, count * BLOCK_SIZE, (off_t) first * BLOCK_SIZE) ==
		  (ssize_t) count * BLOCK_SIZE);
}

static void
cut(int i, int fd)
{
	uint32_t	blocks = draw(&seed, MAX_BLOCKS + 1);

	/* zeros are what is past the end, and what an extension makes of it */
	if ((off_t) blocks * BLOCK_SIZE < lseek(fd, 0, SEEK_END))
		remember_cut(i, blocks);
	CHECK(ftruncate(fd, (off_t) blocks * BLOCK_SIZE) == 0);
}

static void
replace(int i)
{
	char		name[64];

	remember_cut(i, 0);
	world->unlinked[i] = true;
	CHECK(unlink(segment_path(&segments[i], name, sizeof(name))) == 0);
	if (draw(&seed, 2))
		close(open_file(i));
}

static void
note_synced(int i, const int *began)
{
	for (int b = 0; b < MAX_BLOCKS; b++)
		world->blocks[i][b].synced = began[b];
}

static void
sync_file(int i, int fd)
{
	int			began[MAX_BLOCKS];

	for (int b = 0; b < MAX_BLOCKS; b++)
		began[b] = world->blocks[i][b].n - 1;
	if ((draw(&seed, 2) ? fsync(fd) : fdatasync(fd)) != 0)
		_exit(EXIT_CRASH);		/* upstream PANICs */
	note_synced(i, began);
}

static void
sync_all(void)
{
	int			began[N_FILES][MAX_BLOCKS];
	int			dir = open(".", O_RDONLY);

	for (int i = 0; i < N_FILES; i++)
		for (int b = 0; b < MAX_BLOCKS; b++)
			began[i][b] = world->blocks[i][b].n - 1;
	CHECK(syncfs(dir) == 0);
	close(dir);
	for (int i = 0; i < N_FILES; i++)
		note_synced(i, began[i]);
}

/* Is what was written now safe to forget the WAL of? */
static void
checkpoint(void)
{
	int			began[N_FILES][MAX_BLOCKS];

	for (int i = 0; i < N_FILES; i++)
		for (int b = 0; b < MAX_BLOCKS; b++)
			began[i][b] = world->blocks[i][b].synced;
	if (write_control(6) != BLOCK_SIZE)
	{
		CHECK(errno == EIO);
		CHECK(write_control(6) == -1 && errno == EIO);
		_exit(EXIT_CRASH);
	}
	for (int i = 0; i < N_FILES; i++)
		for (int b = 0; b < MAX_BLOCKS; b++)
			world->blocks[i][b].floor = began[i][b];
}

static bool
acceptable(const struct history *h, uint64_t version)
{
	for (int k = h->floor; k < h->n; k++)
		if (h->versions[k] == version)
			return true;
	return false;
}

static void
judge_file(int i)
{
	static uint8_t page[BLOCK_SIZE];
	char		name[64];
	int			fd = open(segment_path(&segments[i], name, sizeof(name)), O_RDONLY);

	for (uint32_t b = 0; b < MAX_BLOCKS; b++)
	{
		struct history *h = &world->blocks[i][b];
		uint64_t	version = VERSION_ZERO;

		if (fd >= 0 && pread(fd, page, BLOCK_SIZE, (off_t) b * BLOCK_SIZE) == BLOCK_SIZE)
			version = page_version(page, (uint32_t) i, b);
		if (!acceptable(h, version))
		{
			fprintf(stderr, "file %d block %u reads as version %llu; floor %d of %d is %llu\n",
					i, b, (unsigned long long) version, h->floor, h->n,
					(unsigned long long) h->versions[h->floor]);
			CHECK(!"acceptable");
		}
		world->judged++;
		world->lost += version != h->versions[h->n - 1];
		h->synced = h->floor;	/* the synced plane is gone */
		remember(i, b, version);
	}
	if (fd >= 0)
		close(fd);
}

static void
live(void)
{
	fixture_open(&f);
	for (int i = 0; i < N_FILES; i++)
		judge_file(i);
	set_hooks();
	for (;;)
	{
		int			i = (int) draw(&seed, N_FILES);
		int			fd = open_file(i);
		uint32_t	what = draw(&seed, 100);

		if (what < 50)
			write_blocks(i, fd);
		else if (what < 60)
			cut(i, fd);
		else if (what < 64)
			replace(i);
		else if (what < 86)
			sync_file(i, fd);
		else if (what < 88)
			sync_all();
		else
			checkpoint();
		close(fd);
		crash_point();
	}
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

static void
run_life(unsigned run, unsigned number)
{
	int			status;
	pid_t		child;

	seed = run * 7919 + number * 104729 + 1;
	crash_in = 1 + draw(&seed, 250);
	child = fork();
	CHECK(child >= 0);
	if (child == 0)
		live();
	CHECK(waitpid(child, &status, 0) == child);
	if (!WIFEXITED(status) || WEXITSTATUS(status) != EXIT_CRASH)
	{
		fprintf(stderr, "run %u life %u\n", run, number);
		CHECK(!"the life ended by a crash of its own");
	}
	if (draw(&seed, 2))
	{
		for (int i = 0; i < N_FILES; i++)
			lose_file(i);
		lose_overlay();
	}
}

static void
begin_history(void)
{
	memset(world, 0, sizeof(*world));
	world->next_version = 2;
	for (int i = 0; i < N_FILES; i++)
		for (uint32_t b = 0; b < MAX_BLOCKS; b++)
			remember(i, b, b < segments[i].blocks
					 ? layer_version(&f, (uint32_t) i, b) : VERSION_ZERO);
}

static void
no_crash_makes_a_block_older_than_its_checkpoint(void)
{
	long		judged = 0;
	long		lost = 0;

	real_resolve();
	disk = real;
	world = mmap(NULL, sizeof(*world), PROT_READ | PROT_WRITE,
				 MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	CHECK(world != MAP_FAILED);
	for (unsigned run = 1; run <= 80; run++)
	{
		fixture_make(&f, segments, N_FILES, run);
		for (int i = 0; i < N_FILES; i++)
			make_durable(i);
		make_overlay_durable();
		begin_history();
		for (unsigned number = 1; number <= 8; number++)
			run_life(run, number);
		judged += world->judged;
		lost += world->lost;
		fixture_remove(&f);
	}
	printf("%ld blocks judged after crashes, %ld had lost their last write\n", judged, lost);
	CHECK(lost > judged / 100);	/* else the test tests nothing */
}

int
main(void)
{
	RUN(no_crash_makes_a_block_older_than_its_checkpoint);
	return 0;
}
