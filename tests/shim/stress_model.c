/* The branch of the stress, plain files beside it, and locks. See stress.h. */
#include "stress.h"

#include <fcntl.h>

#define LOCKS_OF_A_FILE 1000

const struct segment stress_segments[N_FILES] = {
	{1663, 5, 100, 0, 0, 36, 0, 0, 0},
	{1663, 5, 100, 1, 0, 3, 0, 0, 0},
	{1663, 5, 101, 0, 0, 0, 0, 0, 0},
	{1663, 5, 102, 0, 0, 9, 0, 0, 0},
	{1663, 5, 102, 0, 1, 25, 0, 0, 0},
	{1664, 0, 300, 0, 0, 17, 0, 0, 0},
};

struct fixture f;
struct world *world;

uint32_t
setting(const char *name, uint32_t otherwise)
{
	const char *text = getenv(name);

	return text ? (uint32_t) strtoul(text, NULL, 10) : otherwise;
}

const char *
file_name(int file, char *out, size_t size)
{
	return segment_path(&stress_segments[file], out, size);
}

static int
open_model(int file)
{
	char		path[600];
	int			fd;

	snprintf(path, sizeof(path), "%s/model%d", f.dir, file);
	fd = real.openat(AT_FDCWD, path, O_CREAT | O_RDWR | O_CLOEXEC, 0600);
	CHECK(fd >= 0);
	return fd;
}

void
stress_make(unsigned seed)
{
	static uint8_t page[BLOCK_SIZE];

	fixture_make(&f, stress_segments, N_FILES, seed);
	for (uint32_t i = 0; i < N_FILES; i++)
	{
		int			fd = open_model((int) i);

		for (uint32_t b = 0; b < stress_segments[i].blocks; b++)
		{
			page_fill(page, i, b, layer_version(&f, i, b));
			CHECK(real.pwrite(fd, page, BLOCK_SIZE, (off_t) b * BLOCK_SIZE) == BLOCK_SIZE);
		}
		real.close(fd);
	}
	if (world != NULL)
		munmap(world, sizeof(*world));
	world = real.mmap(NULL, sizeof(*world), PROT_READ | PROT_WRITE,
					  MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	CHECK(world != MAP_FAILED);
}

void
worker_begin(struct worker *w, int id, uint32_t seed)
{
	char		path[600];

	memset(w, 0, sizeof(*w));
	w->id = id;
	w->seed = seed * 2654435761u | 1;
	snprintf(path, sizeof(path), "%s/locks", f.dir);
	w->locks = real.openat(AT_FDCWD, path, O_CREAT | O_RDWR | O_CLOEXEC, 0600);
	CHECK(w->locks >= 0);
	for (int i = 0; i < N_FILES; i++)
	{
		w->models[i] = open_model(i);
		for (int k = 0; k < N_FDS; k++)
			w->fds[i][k] = -1;
	}
	for (int i = 0; i < 4; i++)
		CHECK((w->bytes[i] = calloc(1, MAX_BYTES)) != NULL);
}

off_t
model_size(const struct worker *w, int file)
{
	return real.lseek(w->models[file], 0, SEEK_END);
}

/*----------------------------------------------------------------
 * Locks: of the open file, so that threads have some too, and the kernel
 * drops a killed process's.  One worker holds at most one file's.
 *----------------------------------------------------------------
 */
static void
set_lock(struct worker *w, int file, short type, uint32_t first, uint32_t last)
{
	struct flock lock = {
		.l_type = type,
		.l_whence = SEEK_SET,
		.l_start = (off_t) file * LOCKS_OF_A_FILE + first,
		.l_len = last - first + 1,
	};

	CHECK(real.fcntl(w->locks, F_OFD_SETLKW, &lock) == 0);
}

void
unlock(struct worker *w, int file)
{
	set_lock(w, file, F_UNLCK, 0, LOCKS_OF_A_FILE - 1);
}

/*
 * Under our lock an intent on these blocks is a dead worker's.  One that is
 * being replaced by its living worker may look like it: lock_whole() sees.
 */
static bool
left_over(int file, uint32_t first, uint32_t last)
{
	for (int k = 0; k < MAX_WORKERS; k++)
	{
		struct intent *intent = &world->intents[file][k];
		uint32_t	kind = atomic_load(&intent->kind);
		off_t		at = atomic_load(&intent->at);
		off_t		end = at + atomic_load(&intent->len);

		if (kind == OP_NONE)
			continue;
		if (kind != OP_WRITE)
			return true;		/* has the whole file */
		if (at < (off_t) (last + 1) * BLOCK_SIZE && end > (off_t) first * BLOCK_SIZE)
			return true;
	}
	return false;
}

void
lock_whole(struct worker *w, int file)
{
	set_lock(w, file, F_WRLCK, 0, LOCKS_OF_A_FILE - 1);
	repair(w, file);
}

static void
lock_range(struct worker *w, int file, short type, uint32_t first, uint32_t last)
{
	for (;;)
	{
		set_lock(w, file, type, first, last);
		if (!left_over(file, first, last))
			return;
		unlock(w, file);
		lock_whole(w, file);
		unlock(w, file);
	}
}

void
lock_shared(struct worker *w, int file, uint32_t first, uint32_t last)
{
	lock_range(w, file, F_RDLCK, first, last);
}

void
lock_blocks(struct worker *w, int file, uint32_t first, uint32_t last)
{
	lock_range(w, file, F_WRLCK, first, last);
}

/*----------------------------------------------------------------
 * The property
 *----------------------------------------------------------------
 */
void
compare_all(struct worker *w)
{
	for (int i = 0; i < N_FILES; i++)
	{
		off_t		n;

		lock_whole(w, i);
		n = model_size(w, i);
		CHECK(pread(any_fd(w, i), w->bytes[0], MAX_BYTES, 0) == n);
		CHECK(real.pread(w->models[i], w->bytes[1], MAX_BYTES, 0) == n);
		for (off_t at = 0; at < n; at += BLOCK_SIZE)
			if (memcmp(w->bytes[0] + at, w->bytes[1] + at,
					   (size_t) (n - at < BLOCK_SIZE ? n - at : BLOCK_SIZE)) != 0)
			{
				uint64_t	lsn = atomic_load(&world->changed[i][at / BLOCK_SIZE]);

				fprintf(stderr, "file %d block %lld differs; changed at %llu, redo from %llu\n", i,
						(long long) at / BLOCK_SIZE, (unsigned long long) lsn,
						(unsigned long long) atomic_load(&world->redo));
				CHECK(!"the file is as its model");
			}
		unlock(w, i);
	}
}
