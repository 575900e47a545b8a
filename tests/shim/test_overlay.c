/* The overlay: taken by one postmaster, right or refused, durable before pg_control. */
#include <sys/wait.h>
#include <unistd.h>

#include "../../images/compute/shim/crc32c.h"
#include "../../images/compute/shim/real.h"
#include "check.h"
#include "fixture.h"

static const struct segment segments[] = {
	{1663, 5, 100, 0, 0, 20, 0, 0, 0},
	{1664, 0, 200, 0, 0, 9, 0, 0, 0},
};

static struct fixture f;

static void
make(void)
{
	shim_boot();
	fixture_make(&f, segments, 2, 3);
}

/* In a process of its own: one that was refused still holds its flock. */
static const char *
verdict(struct shim_config config)
{
	static struct why *why;
	int			status;

	if (why == NULL)
		why = real.mmap(NULL, sizeof(*why), PROT_READ | PROT_WRITE,
						MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (fork() == 0)
		_exit(shim_open(&config, why) ? 1 : 0);
	CHECK(wait(&status) > 0);
	return status == 0 ? why->text : "good";
}

static void
patch(const char *path, off_t at, const void *bytes, size_t n)
{
	int			fd = real.openat(AT_FDCWD, path, O_RDWR);

	CHECK(fd >= 0 && real.pwrite(fd, bytes, n, at) == (ssize_t) n);
	real.close(fd);
}

static void
a_wrong_overlay_is_refused(void)
{
	struct overlay_header h;
	int			fd;

	make();
	fd = real.openat(AT_FDCWD, f.overlay, O_RDONLY);
	CHECK(real.pread(fd, &h, sizeof(h), 0) == sizeof(h));
	real.close(fd);

	for (off_t at = 0; at < (off_t) sizeof(h); at += 7)
	{
		uint8_t		byte = ((uint8_t *) &h)[at] ^ 4;

		patch(f.overlay, at, &byte, 1);
		CHECK(strcmp(verdict(fixture_config(&f)), "good") != 0);
		patch(f.overlay, at, (uint8_t *) &h + at, 1);
	}
	h.map_body_crc++;
	h.header_crc = crc32c(&h, offsetof(struct overlay_header, header_crc));
	patch(f.overlay, 0, &h, sizeof(h));
	CHECK(strstr(verdict(fixture_config(&f)), "belongs to another map"));
	h.map_body_crc--;
	h.tip_layer[3] ^= 1;
	h.header_crc = crc32c(&h, offsetof(struct overlay_header, header_crc));
	patch(f.overlay, 0, &h, sizeof(h));
	CHECK(strstr(verdict(fixture_config(&f)), "belongs to another map"));
	h.tip_layer[3] ^= 1;
	h.flags_offset += 4096;
	h.header_crc = crc32c(&h, offsetof(struct overlay_header, header_crc));
	patch(f.overlay, 0, &h, sizeof(h));
	CHECK(strstr(verdict(fixture_config(&f)), "parts don't fill the file"));
	h.flags_offset -= 4096;
	h.header_crc = crc32c(&h, offsetof(struct overlay_header, header_crc));
	patch(f.overlay, 0, &h, sizeof(h));
	CHECK(real.truncate(f.overlay, (off_t) h.file_size - 1) == 0);
	CHECK(strstr(verdict(fixture_config(&f)), "header says"));
	CHECK(real.truncate(f.overlay, (off_t) h.file_size) == 0);
	CHECK(strcmp(verdict(fixture_config(&f)), "good") == 0);
	fixture_remove(&f);
}

static void
what_is_missing_or_misplaced_is_refused(void)
{
	struct shim_config good;
	struct shim_config c;
	char		path[600];
	char		uuid_path[600];

	make();
	good = fixture_config(&f);
	c = good;
	c.pgdata = "data";
	CHECK(strstr(verdict(c), "not an absolute path"));
	c.pgdata = "/nonexistent";
	CHECK(strstr(verdict(c), "not a directory"));
	c = good;
	c.mode = "fast";
	CHECK(strstr(verdict(c), "neither"));
	c = good;
	c.overlay = "/nonexistent";
	CHECK(strstr(verdict(c), "could not open overlay"));
	c = good;
	c.layers = "/nonexistent";
	CHECK(strstr(verdict(c), "could not open layer"));

	snprintf(path, sizeof(path), "%s/global/pg_control", f.pgdata);
	CHECK(symlink("pg_control.neon", path) == 0);
	CHECK(strstr(verdict(good), "not a branch"));
	CHECK(real.unlinkat(AT_FDCWD, path, 0) == 0);

	snprintf(uuid_path, sizeof(uuid_path),
			 "%s/layers/a0a0a0a0-a0a0-a0a0-a0a0-a0a0a0a0a0a0.pages", f.dir);
	CHECK(real.truncate(uuid_path, (off_t) (f.parts.layers[0].pages + 1) * 8192) == 0);
	CHECK(strstr(verdict(good), "the map says"));
	fixture_remove(&f);
}

/* Also after the first postmaster died, as long as a child of it lives. */
static void
a_second_postmaster_is_refused(void)
{
	int			ready[2];
	int			leave[2];
	int			status;
	char		byte;
	pid_t		postmaster;

	make();
	CHECK(pipe(ready) == 0 && pipe(leave) == 0);
	postmaster = fork();
	if (postmaster == 0)
	{
		fixture_open(&f);
		if (fork() == 0)
		{
			real.close(leave[1]);
			CHECK(real.write(ready[1], "x", 1) == 1);
			_exit(real.read(leave[0], &byte, 1) != 0);
		}
		_exit(0);
	}
	CHECK(waitpid(postmaster, &status, 0) == postmaster && status == 0);
	CHECK(real.read(ready[0], &byte, 1) == 1);
	CHECK(strstr(verdict(fixture_config(&f)), "in use by another postmaster"));
	real.close(leave[1]);
	real.close(ready[1]);
	CHECK(real.read(ready[0], &byte, 1) == 0);	/* the orphan is gone */
	CHECK(strcmp(verdict(fixture_config(&f)), "good") == 0);
	fixture_remove(&f);
}

static int	syncs;
static int	fail_with;

static int
counting_fdatasync(int fd)
{
	if (fd == shim.overlay.fd)
	{
		syncs++;
		if (fail_with != 0)
		{
			errno = fail_with;
			return -1;
		}
	}
	return 0;
}

static bool
persisted(uint32_t bit)
{
	return (shim.overlay.bits[bit / 8] >> (bit % 8)) & 1;
}

static void
only_synced_bits_are_persisted_and_only_news_is_written(void)
{
	uint8_t		page[BLOCK_SIZE] = {1};
	int			fd;

	make();
	fixture_open(&f);
	real.fdatasync = counting_fdatasync;
	fd = open("base/5/100", O_RDWR);
	CHECK(pwrite(fd, page, BLOCK_SIZE, 3 * BLOCK_SIZE) == BLOCK_SIZE);
	CHECK(fsync(fd) == 0);
	CHECK(pwrite(fd, page, BLOCK_SIZE, 4 * BLOCK_SIZE) == BLOCK_SIZE);

	CHECK(write_control(6) == BLOCK_SIZE);
	CHECK(persisted(3) && !persisted(4) && syncs == 1);
	CHECK(write_control(6) == BLOCK_SIZE);
	CHECK(syncs == 1);			/* nothing new */
	CHECK(fsync(fd) == 0);
	CHECK(write_control(6) == BLOCK_SIZE);
	CHECK(persisted(4) && syncs == 2);
	fixture_remove(&f);
}

/* See "persist_unsure" in overlay.c. */
static void
the_first_persist_after_a_start_always_syncs(void)
{
	make();
	fixture_open(&f);
	real.fdatasync = counting_fdatasync;
	CHECK(write_control(1) == BLOCK_SIZE);
	CHECK(syncs == 1);
	atomic_store(&shim.planes.shared->persist_unsure, 1);
	CHECK(write_control(1) == BLOCK_SIZE);
	CHECK(syncs == 2);
	fixture_remove(&f);
}

static int
dying_fdatasync(int fd)
{
	(void) fd;
	_exit(0);
}

static void
a_process_that_dies_while_persisting_is_followed_by_a_sync(void)
{
	uint8_t		page[BLOCK_SIZE] = {1};
	int			fd;
	int			status;

	make();
	fixture_open(&f);
	real.fdatasync = counting_fdatasync;
	CHECK(write_control(1) == BLOCK_SIZE && syncs == 1);
	fd = open("base/5/100", O_RDWR);
	CHECK(pwrite(fd, page, BLOCK_SIZE, 0) == BLOCK_SIZE && fsync(fd) == 0);
	if (fork() == 0)
	{
		real.fdatasync = dying_fdatasync;
		write_control(1);
	}
	CHECK(wait(&status) > 0 && status == 0);
	CHECK(persisted(0));		/* in the page cache */
	CHECK(write_control(1) == BLOCK_SIZE && syncs == 2);
	fixture_remove(&f);
}

static void
a_failed_persist_stays_failed_in_every_process(void)
{
	uint8_t		page[BLOCK_SIZE] = {1};
	int			fd;
	int			status;

	make();
	fixture_open(&f);
	real.fdatasync = counting_fdatasync;
	fd = open("base/5/100", O_RDWR);
	CHECK(pwrite(fd, page, BLOCK_SIZE, 0) == BLOCK_SIZE && fsync(fd) == 0);
	if (fork() == 0)
	{
		fail_with = ENOSPC;
		CHECK(write_control(6) == -1 && errno == EIO);
		_exit(0);
	}
	CHECK(wait(&status) > 0 && status == 0);
	CHECK(write_control(6) == -1 && errno == EIO);
	CHECK(creat("global/new", 0600) >= 0);
	CHECK(rename("global/new", "global/pg_control") == -1 && errno == EIO);
	CHECK(truncate("global/pg_control", 0) == -1 && errno == EIO);
	fixture_remove(&f);
}

static ssize_t
failing_pwrite(int fd, const void *buf, size_t n, off_t at)
{
	static int	calls;

	if (fd == shim.overlay.fd && calls++ % 3 == 0)
	{
		errno = EINTR;
		return -1;
	}
	return pwritev(fd, &(struct iovec) {(void *) buf, n > 1000 ? 1000 : n}, 1, at);
}

static void
short_and_interrupted_writes_of_the_overlay_are_finished(void)
{
	uint8_t		page[BLOCK_SIZE] = {1};
	int			fd;

	make();
	fixture_open(&f);
	fd = open("base/5/100", O_RDWR);
	for (off_t b = 0; b < 20; b += 3)
		CHECK(pwrite(fd, page, BLOCK_SIZE, b * BLOCK_SIZE) == BLOCK_SIZE);
	CHECK(fsync(fd) == 0);
	real.pwrite = failing_pwrite;
	CHECK(write_control(6) == BLOCK_SIZE);
	for (uint32_t b = 0; b < 20; b++)
		CHECK(persisted(b) == (b % 3 == 0));
	fixture_remove(&f);
}

static void
a_lock_dies_with_its_process(void)
{
	int			status;

	make();
	fixture_open(&f);
	if (fork() == 0)
	{
		CHECK(overlay_lock(&shim.overlay, OVERLAY_LOCK_PERSIST));
		_exit(0);
	}
	CHECK(wait(&status) > 0 && status == 0);
	CHECK(overlay_lock(&shim.overlay, OVERLAY_LOCK_PERSIST));
	overlay_unlock(&shim.overlay, OVERLAY_LOCK_PERSIST);
	fixture_remove(&f);
}

int
main(void)
{
	RUN(a_wrong_overlay_is_refused);
	RUN(what_is_missing_or_misplaced_is_refused);
	RUN(a_second_postmaster_is_refused);
	RUN(only_synced_bits_are_persisted_and_only_news_is_written);
	RUN(the_first_persist_after_a_start_always_syncs);
	RUN(a_process_that_dies_while_persisting_is_followed_by_a_sync);
	RUN(a_failed_persist_stays_failed_in_every_process);
	RUN(short_and_interrupted_writes_of_the_overlay_are_finished);
	RUN(a_lock_dies_with_its_process);
	return 0;
}
