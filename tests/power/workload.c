/*-------------------------------------------------------------------------
 *
 * workload.c
 *	  What one life of a branch does, and how a next one finds it.
 *
 *	  workload write FIRST-VERSION SEED CALLS		random calls on the segments below
 *	  workload read									their contents to stdout: u64 size, bytes
 *
 * Runs in PGDATA under the shim, and for "write" under the recorder, which it
 * tells what it is about to do and what it has done; test_model.py judges.
 * A page says whose it is and which version.
 *
 *-------------------------------------------------------------------------
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define BLOCK 8192
#define MAX_BLOCKS 32

/* The last one is in no map: a relation made after the branch. */
static const char *const segments[] = {"base/5/100", "base/5/101", "global/300", "base/5/16400"};

#define N_SEGMENTS ((uint32_t) (sizeof(segments) / sizeof(segments[0])))

static uint64_t state;
static uint64_t version;
static void (*tell) (const char *text);

static uint32_t
draw(uint32_t below)
{
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return (uint32_t) (state >> 32) % below;
}

static void
note(const char *format,...)
{
	char		text[200];
	va_list		args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	tell(text);
}

static void
must(int ok, const char *what)
{
	if (ok)
		return;
	perror(what);
	exit(1);
}

static void
put(uint32_t s, int fd, uint32_t first, uint32_t count)
{
	static uint32_t words[4 * BLOCK / 4];

	for (uint32_t w = 0; w < count * BLOCK / 4; w += 4)
	{
		words[w] = s;
		words[w + 1] = first + w / (BLOCK / 4);
		words[w + 2] = (uint32_t) (version + w / (BLOCK / 4));
		words[w + 3] = 0x4e454f4e;
	}
	note("write %u %u %u %llu", s, first, count, (unsigned long long) version);
	version += count;
	must(pwrite(fd, words, count * BLOCK, (off_t) first * BLOCK) == (ssize_t) count * BLOCK, "write");
}

/* Upstream drops a relation so, and only after a checkpoint takes its name away. */
static void
drop(uint32_t s)
{
	uint32_t	blocks = draw(6);
	int			fd = open(segments[s], O_RDWR);

	if (fd >= 0 && draw(2))
	{
		note("cut %u 0", s);
		must(ftruncate(fd, 0) == 0, "truncate");
	}
	if (fd >= 0)
		close(fd);
	must(unlink(segments[s]) == 0 || errno == ENOENT, "unlink");
	if (draw(3) == 0)
		return;
	fd = open(segments[s], O_RDWR | O_CREAT | O_EXCL, 0600);
	must(fd >= 0, "create");
	if (blocks > 0 && draw(2))
		must(posix_fallocate(fd, 0, blocks * BLOCK) == 0, "fallocate");
	else if (blocks > 0)
		put(s, fd, draw(blocks), 1);
	close(fd);
}

static void
cut(uint32_t s, int fd)
{
	uint32_t	blocks = draw(MAX_BLOCKS);

	if ((off_t) blocks * BLOCK >= lseek(fd, 0, SEEK_END))
		return;
	note("cut %u %u", s, blocks);
	must(ftruncate(fd, (off_t) blocks * BLOCK) == 0, "truncate");
}

static void
sync_one(uint32_t s, int fd)
{
	note("sync %u", s);
	must((draw(2) ? fsync(fd) : fdatasync(fd)) == 0, "sync");
	note("synced %u", s);
}

static void
sync_all(void)
{
	int			fd = open(".", O_RDONLY);

	for (uint32_t s = 0; s < N_SEGMENTS; s++)
		note("sync %u", s);
	must(syncfs(fd) == 0, "syncfs");
	for (uint32_t s = 0; s < N_SEGMENTS; s++)
		note("synced %u", s);
	close(fd);
}

static void
checkpoint(void)
{
	static uint8_t control[BLOCK];
	uint32_t	in_production = 6;
	int			fd = open("global/pg_control", O_RDWR);

	must(fd >= 0, "pg_control");
	memcpy(control + 16, &in_production, 4);
	note("checkpoint");
	must(write(fd, control, BLOCK) == BLOCK, "pg_control");
	note("checkpointed");
	must(fsync(fd) == 0, "pg_control");
	close(fd);
}

static void
one_call(void)
{
	uint32_t	s = draw(N_SEGMENTS);
	uint32_t	first = draw(MAX_BLOCKS);
	uint32_t	count = 1 + draw(4);
	uint32_t	what = draw(100);
	int			fd = open(segments[s], O_RDWR | O_CREAT, 0600);

	must(fd >= 0, "open");
	if (what < 50)
		put(s, fd, first, count < MAX_BLOCKS - first ? count : MAX_BLOCKS - first);
	else if (what < 56)
		cut(s, fd);
	else if (what < 62)
		drop(s);
	else if (what < 84)
		sync_one(s, fd);
	else if (what < 86)
		sync_all();
	else
		checkpoint();
	close(fd);
}

/* Every third call in a process of its own, as the checkpointer is one. */
static void
live(int calls)
{
	for (int i = 0; i < calls; i++)
	{
		uint64_t	ours[2];
		int			ends[2];
		int			status;

		if (draw(3) != 0)
		{
			one_call();
			continue;
		}
		must(pipe(ends) == 0, "pipe");
		if (fork() == 0)
		{
			one_call();
			ours[0] = state;
			ours[1] = version;
			must(write(ends[1], ours, sizeof(ours)) == sizeof(ours), "pipe");
			_exit(0);
		}
		must(wait(&status) > 0 && status == 0, "child");
		must(read(ends[0], ours, sizeof(ours)) == sizeof(ours), "pipe");
		state = ours[0];
		version = ours[1];
		close(ends[0]);
		close(ends[1]);
	}
}

static void
show(const char *path)
{
	static uint8_t bytes[(MAX_BLOCKS + 8) * BLOCK];
	int			fd = open(path, O_RDONLY);
	ssize_t		n = fd < 0 ? 0 : pread(fd, bytes, sizeof(bytes), 0);
	uint64_t	size = (uint64_t) n;

	must(n >= 0 && (fd >= 0 || errno == ENOENT), path);
	must(fwrite(&size, sizeof(size), 1, stdout) == 1 &&
		 fwrite(bytes, 1, size, stdout) == size, "stdout");
	if (fd >= 0)
		close(fd);
}

int
main(int argc, char **argv)
{
	if (argc == 2 && strcmp(argv[1], "read") == 0)
	{
		for (uint32_t s = 0; s < N_SEGMENTS; s++)
			show(segments[s]);
		return fflush(stdout);
	}
	must(argc == 5 && strcmp(argv[1], "write") == 0, "usage");
	*(void **) &tell = dlsym(RTLD_DEFAULT, "power_note");
	must(tell != NULL, "no recorder");
	version = strtoull(argv[2], NULL, 10);
	state = strtoull(argv[3], NULL, 10) * 2654435761u + 88172645463325252u;
	live(atoi(argv[4]));
	return 0;
}
