/*
 * A name used again: the file made under it never shows what the layers hold
 * of the one before, whatever is lost on the way.  See FLAG_REPLACED in
 * segment.c.
 */
#include "calls.h"

#define NEW_BLOCKS 12

static char durable_overlay[400];

/* The overlay as it is goes to disk, of which "durable_overlay" is the copy. */
static void
copy(const char *from, const char *to)
{
	static uint8_t bytes[1 << 16];
	int			in = real.openat(AT_FDCWD, from, O_RDONLY);
	int			out = real.openat(AT_FDCWD, to, O_CREAT | O_TRUNC | O_WRONLY, 0600);
	ssize_t		n = real.pread(in, bytes, sizeof(bytes), 0);

	CHECK(n > 0 && n < (ssize_t) sizeof(bytes) && real.pwrite(out, bytes, (size_t) n, 0) == n);
	real.close(in);
	real.close(out);
}

static int
copying_fdatasync(int fd)
{
	if (fd == shim.overlay.fd)
	{
		copy(f.overlay, durable_overlay);
		calls++;
	}
	return 0;
}

static void
open_branch(void)
{
	fixture_open(&f);
	snprintf(durable_overlay, sizeof(durable_overlay), "%s/durable", f.dir);
	copy(f.overlay, durable_overlay);
	real.fdatasync = copying_fdatasync;
}

/* As upstream extends a relation: by zeros, without WAL, synced all the same. */
static void
make_new_file(void)
{
	int			fd = open(PATH, O_RDWR | O_CREAT | O_EXCL, 0600);

	CHECK(fd >= 0 && posix_fallocate(fd, 0, NEW_BLOCKS * BLOCK_SIZE) == 0);
	CHECK(fsync(fd) == 0 && close(fd) == 0);
}

static void
in_a_life(void (*live) (void))
{
	int			status;

	if (fork() == 0)
	{
		open_branch();
		live();
		_exit(0);
	}
	CHECK(wait(&status) > 0 && status == 0);
}

static void
expect_zeros(void)
{
	int			fd;

	fixture_open(&f);
	fd = open(PATH, O_RDWR);
	CHECK(fd >= 0);
	for (uint32_t b = 0; b < NEW_BLOCKS; b++)
		expect_version(fd, b, VERSION_ZERO);
}

/* A dropped relation's file goes away, and a checkpoint is past its drop. */
static void
unlink_and_checkpoint(void)
{
	CHECK(write_control(6) == BLOCK_SIZE);	/* the first always syncs the overlay */
	CHECK(unlink(PATH) == 0);
	CHECK(write_control(6) == BLOCK_SIZE);
}

static void
unlink_and_reuse(void)
{
	unlink_and_checkpoint();
	make_new_file();
}

static void
a_power_loss_brings_no_page_of_the_layers_into_a_new_file(void)
{
	make();
	in_a_life(unlink_and_reuse);
	snprintf(durable_overlay, sizeof(durable_overlay), "%s/durable", f.dir);
	copy(durable_overlay, f.overlay);
	expect_zeros();
	fixture_remove(&f);
}

/* The same, with the unlink and the reuse in two lives. */
static void
an_unlink_of_a_life_before_is_no_excuse(void)
{
	make();
	in_a_life(unlink_and_checkpoint);
	snprintf(durable_overlay, sizeof(durable_overlay), "%s/durable", f.dir);
	copy(durable_overlay, f.overlay);
	in_a_life(make_new_file);
	copy(durable_overlay, f.overlay);
	expect_zeros();
	fixture_remove(&f);
}

/* A process may be killed between its unlink and what it notes about it. */
static void
a_file_gone_unnoticed_is_new_when_made(void)
{
	char		path[600];

	make();
	snprintf(path, sizeof(path), "%s/" PATH, f.pgdata);
	CHECK(real.unlinkat(AT_FDCWD, path, 0) == 0);
	in_a_life(make_new_file);
	expect_zeros();
	fixture_remove(&f);
}

static int	(*openat_below) (int, const char *, int,...);

static int
looking_openat(int dirfd, const char *path, int flags, ...)
{
	if ((flags & O_CREAT) && strcmp(path, PATH) == 0)
		CHECK(calls == 1 && (atomic_load(&shim.overlay.flags[0]) & FLAG_REPLACED));
	return openat_below(dirfd, path, flags, 0600);
}

static void
the_overlay_is_synced_before_the_file_is_made(void)
{
	make();
	open_branch();
	CHECK(unlink(PATH) == 0 && calls == 0);
	openat_below = real.openat;
	real.openat = looking_openat;
	CHECK(open(PATH, O_RDWR | O_CREAT, 0600) >= 0);
	CHECK(calls == 1);
	real_resolve();
	fixture_remove(&f);
}

static void
a_file_that_is_there_is_opened_without_a_sync(void)
{
	int			fd;

	make();
	open_branch();
	fd = open(PATH, O_RDWR | O_CREAT, 0600);
	expect_version(fd, 3, layer_version(&f, 0, 3));
	CHECK(open(PATH, O_RDWR | O_CREAT | O_EXCL, 0600) == -1 && errno == EEXIST);
	CHECK(calls == 0 && !(atomic_load(&shim.overlay.flags[0]) & FLAG_REPLACED));
	fixture_remove(&f);
}

static int
failing_fdatasync(int fd)
{
	if (fd != shim.overlay.fd)
		return 0;
	errno = EIO;
	return -1;
}

/* The one open file reports an error of the disk once: nobody may go on. */
static void
without_the_sync_there_is_no_file_and_no_checkpoint(void)
{
	make();
	open_branch();
	CHECK(unlink(PATH) == 0);
	real.fdatasync = failing_fdatasync;
	CHECK(open(PATH, O_RDWR | O_CREAT, 0600) == -1 && errno == EIO);
	real.fdatasync = copying_fdatasync;
	CHECK(open(PATH, O_RDWR | O_CREAT, 0600) == -1 && errno == EIO);
	CHECK(open(PATH, O_RDWR) == -1 && errno == ENOENT);
	CHECK(write_control(6) == -1 && errno == EIO);
	fixture_remove(&f);
}

static void
durability_off_syncs_nothing(void)
{
	struct shim_config config;
	struct why	why;

	make();
	config = fixture_config(&f);
	config.mode = "off";
	CHECK(shim_open(&config, &why) && chdir(f.pgdata) == 0);
	real.fdatasync = copying_fdatasync;
	CHECK(unlink(PATH) == 0);
	CHECK(open(PATH, O_RDWR | O_CREAT, 0600) >= 0 && calls == 0);
	CHECK(atomic_load(&shim.overlay.flags[0]) & FLAG_REPLACED);
	fixture_remove(&f);
}

int
main(void)
{
	RUN(a_power_loss_brings_no_page_of_the_layers_into_a_new_file);
	RUN(an_unlink_of_a_life_before_is_no_excuse);
	RUN(a_file_gone_unnoticed_is_new_when_made);
	RUN(the_overlay_is_synced_before_the_file_is_made);
	RUN(a_file_that_is_there_is_opened_without_a_sync);
	RUN(without_the_sync_there_is_no_file_and_no_checkpoint);
	RUN(durability_off_syncs_nothing);
	return 0;
}
