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
 * One exception: a file whose unlink was lost with the power is a dropped
 * relation's, and reads as whatever its blocks held (power_disk.c, resurrect).
 *
 *-------------------------------------------------------------------------
 */
#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../../images/compute/shim/real.h"
#include "power.h"

struct fixture f;
struct world *world;
uint32_t	seed;
uint32_t	crash_in;

const struct segment segments[N_FILES] = {
	{1663, 5, 100, 0, 0, 24, 0, 0, 0},
	{1663, 5, 101, 0, 0, 0, 0, 0, 0},
	{1664, 0, 300, 0, 0, 9, 0, 0, 0},
};

/*----------------------------------------------------------------
 * A life.  History is written before the call: a call cut short may have
 * happened or not.
 *----------------------------------------------------------------
 */
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

	if (fd < 0)
	{
		CHECK(errno == EIO);	/* the overlay could not be synced before */
		_exit(EXIT_CRASH);
	}
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

/* Unlinked and not made again: WAL won't repeat what its blocks were before. */
static bool
is_absent(int i)
{
	char		name[64];

	return access(segment_path(&segments[i], name, sizeof(name)), F_OK) != 0;
}

/* Is what was written now safe to forget the WAL of? */
static void
checkpoint(void)
{
	int			began[N_FILES][MAX_BLOCKS];

	for (int i = 0; i < N_FILES; i++)
		for (int b = 0; b < MAX_BLOCKS; b++)
			began[i][b] = is_absent(i) ? world->blocks[i][b].n - 1 : world->blocks[i][b].synced;
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

/* A name used again, at once or after a checkpoint, and extended by a hole. */
static void
replace(int i)
{
	char		name[64];
	uint32_t	how = draw(&seed, 3);
	int			fd;

	remember_cut(i, 0);
	world->unlinked[i] = true;
	CHECK(unlink(segment_path(&segments[i], name, sizeof(name))) == 0);
	if (how == 0)
		return;
	if (how == 1)
		checkpoint();
	fd = open_file(i);
	if (how == 1)
	{
		CHECK(ftruncate(fd, (off_t) draw(&seed, MAX_BLOCKS + 1) * BLOCK_SIZE) == 0);
		sync_file(i, fd);
	}
	close(fd);
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
	disk_hook();
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
		disk_lose_power();
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
	world = mmap(NULL, sizeof(*world), PROT_READ | PROT_WRITE,
				 MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	CHECK(world != MAP_FAILED);
	for (unsigned run = 1; run <= 80; run++)
	{
		fixture_make(&f, segments, N_FILES, run);
		disk_begin();
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
