/*-------------------------------------------------------------------------
 *
 * test_stress.c
 *	  Processes that do anything to the same mapped files, and are killed.
 *
 * A postmaster starts the workers.  They die by kill -9, at any call of theirs
 * that reaches the kernel or of the postmaster's choosing, and are started
 * again; a life of the postmaster ends in order, or all are killed and the
 * next life has the bits that were persisted, and redo (stress.h).  A branch
 * has three lives: later nearly all its blocks are local, and nothing is left
 * to be forgotten.  Power loss is test_power.c's: so most syncs here don't
 * reach the disk, which is slow.
 *
 * Settings: STRESS_SEED, STRESS_BRANCHES, STRESS_STEPS (of a worker in a life).
 *
 *-------------------------------------------------------------------------
 */
#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "stress.h"

#define CALLS_A_DEATH 150		/* in which one is killed by itself, on average */
#define LIVES 3
#define STEPS_A_DEATH 400		/* of all workers, until one is killed from outside */

static struct real_calls disk;	/* the real ones below the hooks */
static uint32_t hook_seed;

static struct counts
{
	uint64_t	steps;
	uint64_t	kills;
	uint64_t	crashes;
	uint64_t	checkpoints;
	uint64_t	repairs;
}		   *counts;

/*----------------------------------------------------------------
 * A process that may die at any call
 *----------------------------------------------------------------
 */
static void
maybe_die(void)
{
	if (draw(&hook_seed, 2 * CALLS_A_DEATH) == 0)
		raise(SIGKILL);
}

#define DYING(type, name, parameters, arguments) \
	static type \
	dying_##name parameters \
	{ \
		type		r; \
\
		maybe_die(); \
		r = disk.name arguments; \
		maybe_die(); \
		return r; \
	}

DYING(ssize_t, pwrite, (int fd, const void *buf, size_t n, off_t at), (fd, buf, n, at))
DYING(ssize_t, pwritev, (int fd, const struct iovec *iov, int n, off_t at), (fd, iov, n, at))
DYING(int, ftruncate, (int fd, off_t len), (fd, len))
DYING(int, unlinkat, (int dir, const char *path, int flags), (dir, path, flags))
DYING(int, posix_fallocate, (int fd, off_t at, off_t len), (fd, at, len))
DYING(int, renameat2, (int a, const char *from, int b, const char *to, unsigned flags),
	  (a, from, b, to, flags))

static int
dying_sync(int fd)
{
	int			r = 0;

	maybe_die();
	if (draw(&hook_seed, 50) == 0)
		r = disk.fdatasync(fd);
	maybe_die();
	return r;
}

static void
become_mortal(uint32_t seed)
{
	disk = real;
	hook_seed = seed | 1;
	real.pwrite = dying_pwrite;
	real.pwritev = dying_pwritev;
	real.ftruncate = dying_ftruncate;
	real.unlinkat = dying_unlinkat;
	real.posix_fallocate = dying_posix_fallocate;
	real.renameat2 = dying_renameat2;
	real.fsync = real.fdatasync = real.syncfs = dying_sync;
}

/*----------------------------------------------------------------
 * A postmaster
 *----------------------------------------------------------------
 */
static uint32_t seed;
static uint32_t steps_each;
static pid_t workers[MAX_WORKERS];
static int	n_workers;			/* alive */

/* What the one before left over in our place, before we use it. */
static void
take_over(struct worker *w)
{
	for (int i = 0; i < N_FILES; i++)
		if (atomic_load(&world->intents[i][w->id].kind) != OP_NONE)
		{
			lock_whole(w, i);
			unlock(w, i);
		}
}

static void
start_worker(int id)
{
	uint32_t	worker_seed = draw(&seed, 0x7fffffff);
	struct worker w;

	workers[id] = fork();
	CHECK(workers[id] >= 0);
	n_workers += workers[id] > 0;
	if (workers[id] > 0)
		return;
	worker_begin(&w, id, worker_seed);
	take_over(&w);
	become_mortal(worker_seed);
	while (atomic_load(&world->steps[id]) < steps_each)
		one_step(&w);
	_exit(0);
}

/* Take the end of one; if it was killed and "again", start it anew. */
static void
take_end(pid_t child, int status, bool again)
{
	int			id = 0;

	while (workers[id] != child)
		CHECK(++id < MAX_WORKERS);
	workers[id] = 0;
	n_workers--;
	if (WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL)
	{
		counts->kills++;
		if (again)
			start_worker(id);
		return;
	}
	if (status != 0)
		fprintf(stderr, "worker %d ended with status %#x\n", id, status);
	CHECK(status == 0);
}

static uint64_t
steps_of_all(void)
{
	uint64_t	sum = 0;

	for (int i = 0; i < MAX_WORKERS; i++)
		sum += atomic_load(&world->steps[i]);
	return sum;
}

static void
kill_all(void)
{
	pid_t		child;
	int			status;

	for (int i = 0; i < MAX_WORKERS; i++)
		if (workers[i] > 0)
			kill(workers[i], SIGKILL);
	while (n_workers > 0 && (child = wait(&status)) > 0)
		take_end(child, status, false);
}

/* Until all workers are done, or all of them have done "crash_at" steps. */
static void
watch_workers(uint64_t crash_at)
{
	const struct timespec pause = {.tv_nsec = 1000000};
	uint64_t	next_kill = draw(&seed, 2 * STEPS_A_DEATH);

	while (n_workers > 0 && steps_of_all() < crash_at)
	{
		int			status;
		pid_t		child = waitpid(-1, &status, WNOHANG);
		pid_t		victim = workers[draw(&seed, MAX_WORKERS)];

		if (child > 0)
			take_end(child, status, true);
		else if (steps_of_all() >= next_kill && victim > 0)
		{
			kill(victim, SIGKILL);
			next_kill = steps_of_all() + draw(&seed, 2 * STEPS_A_DEATH);
		}
		else
			nanosleep(&pause, NULL);
	}
}

static void
live(bool crash)
{
	struct worker w;

	fixture_open(&f);
	worker_begin(&w, 0, draw(&seed, 0x7fffffff));
	redo_all(&w);
	compare_all(&w);
	for (int i = 0; i < MAX_WORKERS; i++)
		atomic_store(&world->steps[i], 0);
	for (int i = 0; i < MAX_WORKERS; i++)
		start_worker(i);
	watch_workers(crash ? 1 + draw(&seed, steps_each * MAX_WORKERS) : UINT64_MAX);
	kill_all();
	counts->steps += steps_of_all();
	if (crash)
		_exit(0);
	compare_all(&w);
	checkpoint(&w);
	_exit(0);
}

static void
run_branch(uint32_t number)
{
	stress_make(number);
	for (uint32_t i = 0; i < LIVES; i++)
	{
		bool		crash = i < LIVES - 1;
		int			status;

		seed = (number * LIVES + i) * 2654435761u | 1;
		if (fork() == 0)
			live(crash);
		CHECK(wait(&status) > 0);
		if (status != 0)
			fprintf(stderr, "branch %u life %u\n", number, i);
		CHECK(status == 0);
		counts->crashes += crash;
	}
	counts->checkpoints += atomic_load(&world->checkpoints);
	counts->repairs += atomic_load(&world->repairs);
	fixture_remove(&f);
}

static void
killed_processes_leave_what_plain_files_would_have(void)
{
	uint32_t	first = setting("STRESS_SEED", 1);
	uint32_t	branches = setting("STRESS_BRANCHES", 14);

	steps_each = setting("STRESS_STEPS", 100);
	shim_boot();
	counts = real.mmap(NULL, sizeof(*counts), PROT_READ | PROT_WRITE,
					   MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	CHECK(counts != MAP_FAILED);
	for (uint32_t i = 0; i < branches; i++)
		run_branch(first + i);
	printf("%llu steps, %llu kills, %llu ends of all, %llu checkpoints, %llu repairs\n",
		   (unsigned long long) counts->steps, (unsigned long long) counts->kills,
		   (unsigned long long) counts->crashes, (unsigned long long) counts->checkpoints,
		   (unsigned long long) counts->repairs);
	CHECK(counts->repairs > 0 && counts->checkpoints > 0);
}

int
main(void)
{
	RUN(killed_processes_leave_what_plain_files_would_have);
	return 0;
}
