/* Blocks that were cut never show the layers again. */
#include "calls.h"

static void
cut_blocks_never_show_the_layers_again(void)
{
	int			fd = begin();

	CHECK(ftruncate(fd, 10 * BLOCK_SIZE) == 0);
	CHECK(local(10) && local(BLOCKS - 1) && !local(9));
	put_version(fd, BLOCKS - 1, 80);	/* leaves a hole of zeros */
	for (uint32_t b = 10; b < BLOCKS - 1; b++)
		expect_version(fd, b, VERSION_ZERO);
	expect_version(fd, 9, layer_version(&f, 0, 9));
	fixture_remove(&f);
}

static int
looking_ftruncate(int fd, off_t len)
{
	(void) fd;
	CHECK(local((uint32_t) (len / BLOCK_SIZE)) && local(BLOCKS - 1));
	CHECK(atomic_load(&shim.overlay.flags[0]) & FLAG_TOUCHED);
	calls++;
	return 0;
}

static int
looking_unlinkat(int dirfd, const char *path, int flags)
{
	(void) dirfd;
	(void) path;
	(void) flags;
	CHECK(local(0) && (atomic_load(&shim.overlay.flags[0]) & FLAG_TOUCHED));
	calls++;
	return 0;
}

static void
bits_are_set_before_the_cut(void)
{
	int			fd = begin();

	real.ftruncate = looking_ftruncate;
	CHECK(ftruncate(fd, 10 * BLOCK_SIZE) == 0 && calls == 1);
	real.unlinkat = looking_unlinkat;
	CHECK(unlink(PATH) == 0 && calls == 2);
	real_resolve();
	fixture_remove(&f);
}

static void
a_cut_within_a_block_keeps_its_first_part(void)
{
	uint8_t		expected[BLOCK_SIZE] = {0};
	int			fd = begin();

	page_fill(page, 0, 10, layer_version(&f, 0, 10));
	memcpy(expected, page, 1000);
	CHECK(ftruncate(fd, 10 * BLOCK_SIZE + 1000) == 0);
	CHECK(ftruncate(fd, 12 * BLOCK_SIZE) == 0);
	CHECK(pread(fd, page, BLOCK_SIZE, 10 * BLOCK_SIZE) == BLOCK_SIZE);
	CHECK(memcmp(page, expected, BLOCK_SIZE) == 0);
	expect_version(fd, 11, VERSION_ZERO);
	fixture_remove(&f);
}

static void
every_way_to_cut_a_file_is_seen(void)
{
	int			fd;

	begin();
	CHECK(truncate(PATH, 3 * BLOCK_SIZE) == 0);
	CHECK(local(3) && !local(2));
	close(open("global/300", O_RDWR));	/* its size is known from here on */
	fd = open("global/300", O_RDWR | O_TRUNC);
	CHECK(fd >= 0 && block_is_local(segment_at(2), 0));
	CHECK(unlink(PATH) == 0);
	CHECK(local(0));
	fd = open(PATH, O_RDWR | O_CREAT | O_EXCL, 0600);
	CHECK(posix_fallocate(fd, 0, 9 * BLOCK_SIZE) == 0);
	for (uint32_t b = 0; b < 9; b++)
		expect_version(fd, b, VERSION_ZERO);
	fixture_remove(&f);
}

static void
a_cut_of_a_file_never_opened_counts_its_size_first(void)
{
	make();
	fixture_open(&f);
	CHECK(real.truncate(PATH, 20 * BLOCK_SIZE) == 0);	/* before this start */
	CHECK(truncate("./" PATH, 30 * BLOCK_SIZE) == 0);
	CHECK(!local(19) && local(20) && local(35));
	fixture_remove(&f);
}

static void
a_file_shorter_than_in_the_map_is_local_past_its_end(void)
{
	int			fd;

	make();
	CHECK(real.truncate(f.pgdata, 0) == -1);
	CHECK(chdir(f.pgdata) == 0 && real.truncate(PATH, 10 * BLOCK_SIZE + 17) == 0);
	CHECK(real.unlinkat(AT_FDCWD, "global/300", 0) == 0);
	fixture_open(&f);
	CHECK(open("global/300", O_RDWR) == -1 && errno == ENOENT);
	fd = open(PATH, O_RDWR);
	CHECK(local(10) && !local(9));
	CHECK(ftruncate(fd, BLOCKS * BLOCK_SIZE) == 0);
	expect_version(fd, 9, layer_version(&f, 0, 9));
	expect_version(fd, 11, VERSION_ZERO);
	fd = open("global/300", O_RDWR | O_CREAT, 0600);
	CHECK(fd >= 0 && block_is_local(segment_at(2), 0));
	fixture_remove(&f);
}

/* See FLAG_REPLACED in segment.c: kill -9 forgets the volatile bits. */
static void
a_name_used_again_stays_local_after_a_kill(void)
{
	int			status;
	int			fd;

	make();
	if (fork() == 0)
	{
		fixture_open(&f);
		CHECK(unlink(PATH) == 0);
		fd = open(PATH, O_RDWR | O_CREAT, 0600);
		CHECK(ftruncate(fd, 12 * BLOCK_SIZE) == 0);
		_exit(0);
	}
	CHECK(wait(&status) > 0 && status == 0);
	fixture_open(&f);
	fd = open(PATH, O_RDWR);
	for (uint32_t b = 0; b < 12; b++)
		expect_version(fd, b, VERSION_ZERO);
	fixture_remove(&f);
}

static int
failing_ftruncate(int fd, off_t len)
{
	(void) fd;
	(void) len;
	errno = EIO;
	return -1;
}

static int
failing_unlinkat(int dirfd, const char *path, int flags)
{
	(void) dirfd;
	(void) path;
	(void) flags;
	errno = EROFS;
	return -1;
}

static void
a_failed_cut_makes_the_segment_an_error(void)
{
	int			fd = begin();

	real.ftruncate = failing_ftruncate;
	CHECK(ftruncate(fd, 0) == -1 && errno == EIO);
	CHECK(pread(fd, page, BLOCK_SIZE, 0) == -1 && errno == EIO);
	CHECK(pwrite(fd, page, BLOCK_SIZE, 0) == -1 && errno == EIO);
	CHECK(fsync(fd) == -1 && errno == EIO);

	fd = open("global/300", O_RDONLY);
	CHECK(ftruncate(fd, 0) == -1);	/* read-only: refused before anything */
	CHECK(pread(fd, page, BLOCK_SIZE, 0) == BLOCK_SIZE);
	real.unlinkat = failing_unlinkat;
	CHECK(unlink("global/300") == -1 && errno == EROFS);
	CHECK(pread(fd, page, BLOCK_SIZE, 0) == -1 && errno == EIO);
	real_resolve();
	CHECK(unlink("global/300") == 0);	/* gone is gone */
	fd = open("global/300", O_RDWR | O_CREAT, 0600);
	CHECK(pwrite(fd, page, BLOCK_SIZE, 0) == BLOCK_SIZE);
	fixture_remove(&f);
}

int
main(void)
{
	RUN(cut_blocks_never_show_the_layers_again);
	RUN(bits_are_set_before_the_cut);
	RUN(a_cut_within_a_block_keeps_its_first_part);
	RUN(every_way_to_cut_a_file_is_seen);
	RUN(a_cut_of_a_file_never_opened_counts_its_size_first);
	RUN(a_file_shorter_than_in_the_map_is_local_past_its_end);
	RUN(a_name_used_again_stays_local_after_a_kill);
	RUN(a_failed_cut_makes_the_segment_an_error);
	return 0;
}
