/* See recorder.h: the log itself. */
#include "recorder.h"

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define MAX_WATCHED (1 << 17)

struct header
{
	_Atomic uint64_t end;
	_Atomic uint32_t lock;
	uint32_t	zero;
	uint64_t	more_zeros[6];
};

struct record
{
	uint32_t	size;
	uint32_t	kind;
	uint64_t	inode;
	uint64_t	a;
	uint64_t	b;
	uint32_t	n;
	uint32_t	zero;
};

_Static_assert(sizeof(struct header) == 64, "header");
_Static_assert(sizeof(struct record) == 40, "record");

static struct header *header;
static uint64_t capacity;
static bool tried;
static sigset_t before;

/* Inherited by fork, at the same address; the shadow is shared. */
static const uint8_t *watched;
static uint8_t *shadow;
static size_t watched_len;
static uint64_t watched_inode;
static off_t watched_at;

/* By system calls: our own openat() and mmap() would come back here. */
bool
log_open(void)
{
	const char *path;
	struct stat st;
	int			fd;

	if (tried)
		return header != NULL;
	tried = true;
	path = getenv("POWER_LOG");
	if (path == NULL)
		return false;
	fd = (int) syscall(SYS_openat, AT_FDCWD, path, O_RDWR | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st) != 0)
		abort();
	capacity = (uint64_t) st.st_size;
	header = (void *) syscall(SYS_mmap, NULL, capacity, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (header == MAP_FAILED)
		abort();
	shadow = (void *) syscall(SYS_mmap, NULL, MAX_WATCHED, PROT_READ | PROT_WRITE,
							  MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (shadow == MAP_FAILED)
		abort();
	syscall(SYS_close, fd);
	if (header->end == 0)
		header->end = sizeof(*header);
	return true;
}

uint8_t *
log_room(enum kind kind, uint64_t inode, uint64_t a, size_t n)
{
	uint64_t	at = header->end;
	size_t		size = (sizeof(struct record) + n + 7) / 8 * 8;
	struct record *r = (struct record *) ((uint8_t *) header + at);

	if (at + size > capacity)
		abort();
	*r = (struct record) {(uint32_t) size, kind, inode, a, 0, (uint32_t) n, 0};
	header->end = at + size;
	return (uint8_t *) (r + 1);
}

uint64_t
log_append(enum kind kind, uint64_t inode, uint64_t a, uint64_t b, const void *data, size_t n)
{
	uint64_t	at = header->end;
	uint8_t    *room = log_room(kind, inode, a, n);

	((struct record *) room)[-1].b = b;
	if (n > 0)
		memcpy(room, data, n);
	return at;
}

void
log_watch(void *address, size_t len, uint64_t inode, off_t at)
{
	if (watched != NULL)
		return;
	if (len > MAX_WATCHED)
		abort();
	memcpy(shadow, address, len);
	watched_len = len;
	watched_inode = inode;
	watched_at = at;
	watched = address;
}

/*
 * A store made before a call is in the log before it, one made after it, after
 * it.  One that races with it in another process could be on either side.
 */
static void
log_stores(void)
{
	for (size_t i = 0; i < watched_len; i++)
	{
		uint8_t		now = ((const _Atomic uint8_t *) watched)[i];

		if (now != shadow[i])
		{
			shadow[i] = now;
			log_append(KIND_WRITE, watched_inode, (uint64_t) watched_at + i, 0, &now, 1);
		}
	}
}

/* A handler that writes while its own process holds the lock would wait forever. */
void
log_lock(void)
{
	sigset_t	all;
	sigset_t	old;
	uint32_t	free_lock = 0;

	sigfillset(&all);
	sigprocmask(SIG_BLOCK, &all, &old);
	while (!atomic_compare_exchange_weak(&header->lock, &free_lock, 1))
	{
		free_lock = 0;
		sched_yield();
	}
	before = old;
	log_stores();
}

void
log_unlock(void)
{
	sigset_t	old = before;

	log_stores();
	atomic_store(&header->lock, 0);
	sigprocmask(SIG_SETMASK, &old, NULL);
}

/* For workloads: found by dlsym, absent where nothing is recorded. */
void
power_note(const char *text)
{
	log_lock();
	log_append(KIND_NOTE, 0, 0, 0, text, strlen(text));
	log_unlock();
}
