/*-------------------------------------------------------------------------
 *
 * test_processes.c
 *	  Several processes on the same files don't lose each other's blocks.
 *
 * Each writes and reads blocks of its own, so that neighbouring bits of one
 * byte are set by different processes, while all of them fsync and write
 * pg_control.
 *
 *-------------------------------------------------------------------------
 */
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../../images/compute/shim/real.h"
#include "check.h"
#include "fixture.h"

#define N_FILES 3
#define MAX_BLOCKS 60

static const struct segment segments[N_FILES] = {
	{1663, 5, 100, 0, 0, 50, 0, 0, 0},
	{1663, 5, 101, 0, 0, 0, 0, 0, 0},
	{1664, 0, 300, 0, 0, 17, 0, 0, 0},
};

static struct fixture f;
static int	fds[N_FILES];
static uint32_t seed;

#define N_WORKERS 4

typedef uint64_t versions_of[N_FILES][MAX_BLOCKS];

static versions_of *versions_shared;	/* each worker writes its own blocks' */
#define versions (*versions_shared)

static void
work(uint32_t me)
{
	static uint8_t page[BLOCK_SIZE];

	seed = me + 77;
	for (int step = 0; step < 1500; step++)
	{
		uint32_t	i = draw(&seed, N_FILES);
		uint32_t	block = me + N_WORKERS * draw(&seed, MAX_BLOCKS / N_WORKERS);
		off_t		at = (off_t) block * BLOCK_SIZE;
		int			fd = fds[i];

		if (draw(&seed, 25) == 0)
			CHECK(fsync(fd) == 0);
		if (draw(&seed, 200) == 0)
			CHECK(write_control(6) == BLOCK_SIZE);
		if (draw(&seed, 2))
		{
			versions[i][block] = 2 + me + N_WORKERS * (uint64_t) step;
			page_fill(page, i, block, versions[i][block]);
			if (draw(&seed, 4) == 0)	/* in two parts: the copying path */
			{
				CHECK(pwrite(fd, page, 5000, at) == 5000);
				CHECK(pwrite(fd, page + 5000, BLOCK_SIZE - 5000, at + 5000) == BLOCK_SIZE - 5000);
			}
			else
				CHECK(pwrite(fd, page, BLOCK_SIZE, at) == BLOCK_SIZE);
		}
		else if (pread(fd, page, BLOCK_SIZE, at) == BLOCK_SIZE)
			CHECK(page_version(page, i, block) ==
				  (versions[i][block] ? versions[i][block] : layer_version(&f, i, block)));
	}
	_exit(0);
}

/* All of them, by a process that wrote none. */
static void
every_block_is_as_last_written(void)
{
	static uint8_t page[BLOCK_SIZE];

	for (uint32_t i = 0; i < N_FILES; i++)
		for (uint32_t block = 0; block < MAX_BLOCKS; block++)
			if (versions[i][block])
			{
				CHECK(pread(fds[i], page, BLOCK_SIZE, (off_t) block * BLOCK_SIZE) == BLOCK_SIZE);
				CHECK(page_version(page, i, block) == versions[i][block]);
			}
}

static void
several_processes_dont_lose_each_others_blocks(void)
{
	fixture_make(&f, segments, N_FILES, 99);
	fixture_open(&f);
	for (int i = 0; i < N_FILES; i++)
	{
		char		name[64];

		fds[i] = open(segment_path(&segments[i], name, sizeof(name)), O_RDWR);
		CHECK(fds[i] >= 0);
	}
	versions_shared = mmap(NULL, sizeof(versions_of), PROT_READ | PROT_WRITE,
						   MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	CHECK(versions_shared != MAP_FAILED);
	for (uint32_t w = 0; w < N_WORKERS; w++)
		if (fork() == 0)
			work(w);
	for (int w = 0; w < N_WORKERS; w++)
	{
		int			status;

		CHECK(wait(&status) > 0 && status == 0);
	}
	every_block_is_as_last_written();
	fixture_remove(&f);
}

static ssize_t
slow_pwritev(int fd, const struct iovec *iov, int count, off_t at)
{
	usleep(300);				/* so that two copies of a block overlap */
	CHECK(count == 1);
	return real.pwrite(fd, iov[0].iov_base, iov[0].iov_len, at);
}

/* Two processes copy the same block for a part each: neither undoes the other's. */
static void
halves_written_at_once_are_both_kept(void)
{
	static const uint8_t halves[2][BLOCK_SIZE / 2] = {{[0 ... 4095] = 'a'}, {[0 ... 4095] = 'b'}};
	uint8_t		page[BLOCK_SIZE];
	int			status;
	int			fd;
	const off_t half = BLOCK_SIZE / 2;

	fixture_make(&f, segments, N_FILES, 99);
	fixture_open(&f);
	fd = open("base/5/100", O_RDWR);
	real.pwritev = slow_pwritev;
	for (off_t b = 0; b < (off_t) segments[0].blocks; b++)
	{
		if (fork() == 0)
			_exit(pwrite(fd, halves[1], BLOCK_SIZE / 2, b * BLOCK_SIZE + half) != half);
		CHECK(pwrite(fd, halves[0], BLOCK_SIZE / 2, b * BLOCK_SIZE) == half);
		CHECK(wait(&status) > 0 && status == 0);
		CHECK(pread(fd, page, BLOCK_SIZE, b * BLOCK_SIZE) == BLOCK_SIZE);
		CHECK(memcmp(page, halves, BLOCK_SIZE) == 0);
	}
	fixture_remove(&f);
}

int
main(void)
{
	RUN(halves_written_at_once_are_both_kept);
	RUN(several_processes_dont_lose_each_others_blocks);
	return 0;
}
