/*-------------------------------------------------------------------------
 *
 * test_io_errors.c
 *	  A disk that fails at the n-th call, for every n.
 *
 * A layer below the shim (the members of `real`) answers EIO to one call that
 * touches a file: data, overlay, pg_control or layer.  A block is on the disk
 * once a sync after its write has succeeded.  The same work is done for
 * n = 1, 2, ... until no call is left to fail; like Postgres, which panics,
 * it does not go on after a failed sync or write of pg_control.
 *
 * What must hold, for every n: the call in which the error came fails with
 * EIO (or, a read of several blocks, is short); what a read gives is right;
 * a bit is synced or persisted only if the disk has the block; pg_control is
 * not written over bits that could not be persisted, also not later; and a
 * postmaster after it sees a persisted block as written, any other as in the
 * layers (WAL's redo repeats it).
 *
 *-------------------------------------------------------------------------
 */
#include "calls.h"

#define WRITTEN 12				/* blocks the work writes: 3, 6, ... */
#define NEVER (-1)

enum on
{
	ON_DATA,
	ON_OVERLAY,
	ON_CONTROL,
	ON_LAYER,
	ON_KINDS,
};

static struct real_calls disk;	/* that works */
static int	countdown;			/* calls until the one that fails */
static int	failed_on = NEVER;

static int *seen;				/* how often each kind failed, over all n */

static uint64_t in_cache[BLOCKS];	/* version written, 0: none */
static uint64_t on_disk[BLOCKS];

static enum on
kind_of(int fd)
{
	char		link[64];
	char		path[512];
	ssize_t		n;

	if (fd == shim.overlay.fd)
		return ON_OVERLAY;
	for (int i = 0; i < FIXTURE_LAYERS; i++)
		if (fd == shim.layer_fds[i])
			return ON_LAYER;
	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	n = readlink(link, path, sizeof(path) - 1);
	CHECK(n > 0);
	path[n] = '\0';
	return strstr(path, "pg_control") != NULL ? ON_CONTROL : ON_DATA;
}

static bool
fails(int fd)
{
	if (--countdown != 0)
		return false;
	failed_on = (int) kind_of(fd);
	seen[failed_on]++;
	errno = EIO;
	return true;
}

#define FAILING(name, type, args, ...) \
	static type bad_##name args { return fails(fd) ? -1 : disk.name(__VA_ARGS__); }

FAILING(pread, ssize_t, (int fd, void *buf, size_t n, off_t at), fd, buf, n, at)
FAILING(preadv, ssize_t, (int fd, const struct iovec *v, int n, off_t at), fd, v, n, at)
FAILING(pwrite, ssize_t, (int fd, const void *buf, size_t n, off_t at), fd, buf, n, at)
FAILING(pwritev, ssize_t, (int fd, const struct iovec *v, int n, off_t at), fd, v, n, at)
FAILING(write, ssize_t, (int fd, const void *buf, size_t n), fd, buf, n)
FAILING(fallocate, int, (int fd, int mode, off_t at, off_t n), fd, mode, at, n)
FAILING(ftruncate, int, (int fd, off_t n), fd, n)

static int
synced(int fd)
{
	if (fails(fd))
		return -1;
	if (kind_of(fd) == ON_DATA)
		for (int b = 0; b < BLOCKS; b++)
			if (in_cache[b] != 0)
				on_disk[b] = in_cache[b];
	return 0;
}

static void
have_it_fail_at(int n)
{
	disk = real;
	countdown = n;
	real.pread = bad_pread;
	real.preadv = bad_preadv;
	real.pwrite = bad_pwrite;
	real.pwritev = bad_pwritev;
	real.write = bad_write;
	real.fallocate = bad_fallocate;
	real.ftruncate = bad_ftruncate;
	real.fsync = real.fdatasync = synced;
}

static bool
persisted(uint32_t block)
{
	uint64_t	bit = segment_at(0)->first_bit + block;

	return shim.overlay.bits[bit / 8] >> bit % 8 & 1;
}

static void
nothing_is_vouched_for_that_is_not_on_disk(void)
{
	for (uint32_t b = 0; b < BLOCKS; b++)
	{
		if (bit_test(shim.planes.synced, segment_at(0)->first_bit + b))
			CHECK(on_disk[b] != 0);
		if (persisted(b))
			CHECK(on_disk[b] != 0);
	}
}

/* Right after a call: it failed if and only if the disk did. */
static bool
told(bool failed, int before)
{
	int			error = errno;

	CHECK(failed == (before == NEVER && failed_on != NEVER));
	if (failed)
		CHECK(error == EIO);
	nothing_is_vouched_for_that_is_not_on_disk();
	return !failed;
}

static void
write_block(int fd, uint32_t block, uint64_t version)
{
	int			before = failed_on;

	page_fill(page, 0, block, version);
	if (told(pwrite(fd, page, BLOCK_SIZE, (off_t) block * BLOCK_SIZE) != BLOCK_SIZE, before))
		in_cache[block] = version;
}

static void
read_block(int fd, uint32_t block)
{
	uint64_t	want = in_cache[block] != 0 ? in_cache[block] : layer_version(&f, 0, block);
	int			before = failed_on;

	if (told(pread(fd, page, BLOCK_SIZE, (off_t) block * BLOCK_SIZE) != BLOCK_SIZE, before))
		CHECK(page_version(page, 0, block) == want);
}

/* All blocks in one call: short, and right as far as it goes, or an error. */
static void
read_all(int fd)
{
	static uint8_t all[BLOCKS * BLOCK_SIZE];
	int			before = failed_on;
	ssize_t		n = pread(fd, all, sizeof(all), 0);
	bool		broke = before == NEVER && failed_on != NEVER;

	CHECK(broke == (n < (ssize_t) sizeof(all)));
	CHECK(n >= 0 || errno == EIO);
	for (uint32_t b = 0; b < n / BLOCK_SIZE; b++)
		CHECK(page_version(all + b * BLOCK_SIZE, 0, b) ==
			  (in_cache[b] != 0 ? in_cache[b] : layer_version(&f, 0, b)));
}

/* A checkpoint: sync the data, then pg_control; as Postgres, no further after a failure. */
static bool
checkpoint(int fd)
{
	int			before = failed_on;

	if (!told(fsync(fd) != 0, before))
		return false;
	before = failed_on;
	if (!told(write_control(6) != BLOCK_SIZE, before))
		return false;
	for (uint32_t b = 0; b < BLOCKS; b++)
		CHECK(in_cache[b] == 0 || persisted(b));
	return true;
}

/* A persist that failed is not tried again: the kernel may have thrown its pages away. */
static void
pg_control_stays_after_a_failed_persist(void)
{
	if (failed_on == ON_OVERLAY)
		CHECK(write_control(6) == -1 && errno == EIO);
}

static void
work(void)
{
	int			fd = open(PATH, O_RDWR);

	CHECK(fd >= 0);
	for (uint64_t version = 50; version < 52; version++)
	{
		for (uint32_t i = 0; i < WRITTEN; i++)
			write_block(fd, 3 * (i + 1), version);
		for (uint32_t b = 0; b < BLOCKS; b++)
			read_block(fd, b);
		read_all(fd);
		if (!checkpoint(fd))
			break;
	}
	pg_control_stays_after_a_failed_persist();
}

/* What a postmaster after this one finds, the power having stayed on. */
static void
look_again(const uint8_t *was_persisted)
{
	int			fd;

	fixture_open(&f);
	fd = open(PATH, O_RDWR);
	for (uint32_t b = 0; b < BLOCKS; b++)
	{
		CHECK(pread(fd, page, BLOCK_SIZE, (off_t) b * BLOCK_SIZE) == BLOCK_SIZE);
		if (was_persisted[b] == 0)
			CHECK(page_version(page, 0, b) == layer_version(&f, 0, b));
		else
			CHECK(page_version(page, 0, b) == was_persisted[b]);
	}
}

/* One run of the work in a process of its own; true if a call was left to fail. */
static bool
run_failing_at(int n, uint8_t *left)
{
	int			status;
	int			again;

	make();
	if (fork() == 0)
	{
		fixture_open(&f);
		have_it_fail_at(n);
		work();
		for (uint32_t b = 0; b < BLOCKS; b++)
			left[b] = persisted(b) ? (uint8_t) in_cache[b] : 0;
		_exit(failed_on == NEVER ? 0 : 1);
	}
	CHECK(wait(&status) > 0 && WIFEXITED(status));
	if (fork() == 0)
	{
		look_again(left);
		_exit(0);
	}
	CHECK(wait(&again) > 0 && again == 0);
	fixture_remove(&f);
	return WEXITSTATUS(status) == 1;
}

static void
an_error_at_any_call_is_told_and_nothing_is_lost(void)
{
	size_t		bytes = 4096;
	uint8_t    *shared = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	int			n = 1;

	CHECK(shared != MAP_FAILED);
	seen = (int *) (shared + 1024);
	while (run_failing_at(n, shared))
		n++;
	CHECK(n > 100);
	CHECK(seen[ON_DATA] > 20 && seen[ON_OVERLAY] >= 2 && seen[ON_CONTROL] >= 2 &&
		  seen[ON_LAYER] > 10);
}

int
main(void)
{
	RUN(an_error_at_any_call_is_told_and_nothing_is_lost);
	return 0;
}
