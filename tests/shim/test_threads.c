/*-------------------------------------------------------------------------
 *
 * test_threads.c
 *	  The stress with threads instead of processes, for ThreadSanitizer.
 *
 * Between processes a data race on the shared planes is as real and can't be
 * seen; here it can.  Upstream's processes have one thread each, but libraries
 * that extensions bring in may have more, and these open and close files.
 *
 * Settings: STRESS_SEED, STRESS_STEPS (of a thread in a life).
 *
 *-------------------------------------------------------------------------
 */
#include <fcntl.h>
#include <pthread.h>
#include <sys/wait.h>
#include <unistd.h>

#include "stress.h"

#define N_LIVES 2

static uint32_t seed;
static uint32_t steps_each;

static void *
work(void *worker)
{
	struct worker *w = worker;

	for (uint32_t i = 0; i < steps_each; i++)
		one_step(w);
	return NULL;
}

static int
no_sync(int fd)
{
	(void) fd;
	return 0;
}

static void
live(void)
{
	static struct worker workers[MAX_WORKERS];
	pthread_t	threads[MAX_WORKERS];

	fixture_open(&f);
	real.syncfs = no_sync;		/* of all the machine's disk */
	for (int i = 0; i < MAX_WORKERS; i++)
		worker_begin(&workers[i], i, draw(&seed, 0x7fffffff));
	redo_all(&workers[0]);
	compare_all(&workers[0]);
	for (int i = 0; i < MAX_WORKERS; i++)
		CHECK(pthread_create(&threads[i], NULL, work, &workers[i]) == 0);
	for (int i = 0; i < MAX_WORKERS; i++)
		CHECK(pthread_join(threads[i], NULL) == 0);
	compare_all(&workers[0]);
	exit(0);
}

static void
threads_see_plain_files(void)
{
	seed = setting("STRESS_SEED", 1) * 2654435761u | 1;
	steps_each = setting("STRESS_STEPS", 800);
	shim_boot();
	stress_make(seed);
	for (int i = 0; i < N_LIVES; i++)
	{
		int			status;

		draw(&seed, 0);
		if (fork() == 0)
			live();
		CHECK(wait(&status) > 0 && status == 0);
	}
	CHECK(atomic_load(&world->checkpoints) > 0 && atomic_load(&world->repairs) == 0);
	fixture_remove(&f);
}

static ssize_t
slow_pwritev(int fd, const struct iovec *iov, int count, off_t at)
{
	usleep(300);				/* so that two copies of a block overlap */
	CHECK(count == 1);
	return real.pwrite(fd, iov[0].iov_base, iov[0].iov_len, at);
}

static void *
write_halves(void *half)
{
	uint8_t		bytes[BLOCK_SIZE / 2];
	off_t		at = *(char *) half == 'b' ? BLOCK_SIZE / 2 : 0;
	int			fd = open("base/5/100", O_RDWR);

	memset(bytes, *(char *) half, sizeof(bytes));
	for (uint32_t b = 0; b < stress_segments[0].blocks; b++)
		CHECK(pwrite(fd, bytes, sizeof(bytes), at + (off_t) b * BLOCK_SIZE) == BLOCK_SIZE / 2);
	return NULL;
}

/* The kernel's locks are a process's: they don't keep its threads apart. */
static void
halves_written_at_once_by_threads_are_both_kept(void)
{
	static char halves[] = "ab";
	uint8_t		page[BLOCK_SIZE];
	pthread_t	threads[2];
	int			fd;

	shim_boot();
	stress_make(7);
	fixture_open(&f);
	real.pwritev = slow_pwritev;
	for (int i = 0; i < 2; i++)
		CHECK(pthread_create(&threads[i], NULL, write_halves, &halves[i]) == 0);
	for (int i = 0; i < 2; i++)
		CHECK(pthread_join(threads[i], NULL) == 0);
	fd = open("base/5/100", O_RDONLY);
	for (uint32_t b = 0; b < stress_segments[0].blocks; b++)
	{
		CHECK(pread(fd, page, BLOCK_SIZE, (off_t) b * BLOCK_SIZE) == BLOCK_SIZE);
		CHECK(page[0] == 'a' && memcmp(page, page + 1, BLOCK_SIZE / 2 - 1) == 0);
		CHECK(page[BLOCK_SIZE - 1] == 'b' && page[BLOCK_SIZE / 2] == 'b');
	}
	fixture_remove(&f);
}

int
main(void)
{
	RUN(halves_written_at_once_by_threads_are_both_kept);
	RUN(threads_see_plain_files);
	return 0;
}
