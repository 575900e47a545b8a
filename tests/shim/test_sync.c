/* A bit is synced only if its data is. */
#include "calls.h"

static int	sync_result;

static int
counting_fsync(int fd)
{
	(void) fd;
	calls++;
	errno = EIO;
	return sync_result;
}

static bool
synced(uint32_t block)
{
	return bit_test(shim.planes.synced, segment_at(0)->first_bit + block);
}

static void
only_an_untouched_file_skips_its_fsync(void)
{
	int			fd = begin();
	int			empty = open("base/5/200", O_RDWR);

	real.fsync = real.fdatasync = counting_fsync;
	CHECK(fsync(fd) == 0 && fdatasync(fd) == 0 && fsync(empty) == 0 && calls == 0);
	put_version(fd, 5, 90);
	CHECK(fsync(fd) == 0 && calls == 1);
	CHECK(fsync(fd) == 0 && calls == 2);	/* a set bit may be dirty again */
	put_version(empty, 0, 90);	/* past the map: no bit, but the flag */
	CHECK(fsync(empty) == 0 && calls == 3);
	fixture_remove(&f);
}

static void
a_block_rewritten_under_a_persisted_bit_is_synced_again(void)
{
	int			fd = begin();

	real.fsync = counting_fsync;
	put_version(fd, 5, 90);
	CHECK(fsync(fd) == 0 && calls == 1);
	CHECK(write_control(6) == BLOCK_SIZE && shim.overlay.bits[0] == 1 << 5);
	put_version(fd, 5, 91);
	CHECK(fsync(fd) == 0 && calls == 2);
	fixture_remove(&f);
}

static void
the_flag_keeps_fsync_real_after_a_kill(void)
{
	int			status;
	int			fd;

	make();
	if (fork() == 0)
	{
		fixture_open(&f);
		CHECK(truncate(PATH, 0) == 0 && truncate(PATH, BLOCKS * BLOCK_SIZE) == 0);
		_exit(0);
	}
	CHECK(wait(&status) > 0 && status == 0);
	fixture_open(&f);
	fd = open(PATH, O_RDWR);
	real.fsync = counting_fsync;
	CHECK(fsync(fd) == 0 && calls == 1);
	fixture_remove(&f);
}

static void
every_change_of_size_raises_the_flag(void)
{
	int			fd = begin();

	CHECK(atomic_load(&shim.overlay.flags[0]) == 0);
	put_version(fd, BLOCKS, 90);	/* longer than in the map */
	CHECK(atomic_load(&shim.overlay.flags[0]) == FLAG_TOUCHED);
	fd = open("base/5/200", O_RDWR);
	CHECK(atomic_load(&shim.overlay.flags[1]) == 0);
	CHECK(posix_fallocate(fd, 0, BLOCK_SIZE) == 0);
	CHECK(atomic_load(&shim.overlay.flags[1]) == FLAG_TOUCHED);
	atomic_store(&shim.overlay.flags[1], 0);
	CHECK(fallocate(fd, 0, 0, 2 * BLOCK_SIZE) == 0);
	CHECK(atomic_load(&shim.overlay.flags[1]) == FLAG_TOUCHED);
	CHECK(real.truncate("global/300", 0) == 0);	/* shorter at its first open */
	fd = open("global/300", O_RDWR);
	CHECK(atomic_load(&shim.overlay.flags[2]) == FLAG_TOUCHED);
	fixture_remove(&f);
}

static void
an_allocation_raises_the_flag(void)
{
	int			fd;

	begin();
	fd = open("base/5/200", O_RDWR);
	CHECK(fallocate(fd, 0, 0, BLOCK_SIZE) == 0);
	CHECK(atomic_load(&shim.overlay.flags[1]) == FLAG_TOUCHED);
	fixture_remove(&f);
}

static int
writing_fsync(int fd)
{
	CHECK(!synced(5));			/* not before it has ended */
	put_version(fd, 6, 91);		/* comes while the sync runs */
	return 0;
}

static void
fsync_vouches_for_what_was_there_before_it(void)
{
	int			fd = begin();
	int			other = open(PATH, O_RDONLY);

	put_version(fd, 5, 90);
	real.fsync = writing_fsync;
	CHECK(fsync(fd) == 0);
	CHECK(synced(5) && !synced(6) && local(6));
	real.fsync = counting_fsync;
	sync_result = -1;
	CHECK(fsync(other) == -1 && !synced(6));
	sync_result = 0;
	CHECK(fsync(other) == 0 && synced(6));	/* through another descriptor */
	fixture_remove(&f);
}

static void
syncfs_vouches_for_all_files_of_pgdata(void)
{
	int			fd = begin();
	int			dir = open(".", O_RDONLY);

	put_version(fd, 5, 90);
	real.syncfs = counting_fsync;
	CHECK(syncfs(dir) == 0 && calls == 1 && synced(5));
	put_version(fd, 6, 90);
	sync_result = -1;
	CHECK(syncfs(dir) == -1 && !synced(6));
	sync_result = 0;
	dir = open("/dev", O_RDONLY);
	CHECK(syncfs(dir) == 0 && !synced(6));
	fixture_remove(&f);
}

static void
mode_off_marks_without_syncing(void)
{
	struct shim_config config;
	struct why	why;
	int			fd;

	make();
	config = fixture_config(&f);
	config.mode = "off";
	CHECK(shim_open(&config, &why) && chdir(f.pgdata) == 0);
	fd = open(PATH, O_RDWR);
	real.fsync = real.fdatasync = counting_fsync;
	put_version(fd, 5, 90);
	CHECK(fsync(fd) == 0 && synced(5));
	CHECK(write_control(6) == BLOCK_SIZE);
	CHECK(shim.overlay.bits[0] == 1 << 5);
	CHECK(fsync(open("/dev/null", O_RDWR)) == 0 && fsync(-1) == -1);
	CHECK(calls == 0);
	fixture_remove(&f);
}

int
main(void)
{
	RUN(only_an_untouched_file_skips_its_fsync);
	RUN(a_block_rewritten_under_a_persisted_bit_is_synced_again);
	RUN(the_flag_keeps_fsync_real_after_a_kill);
	RUN(every_change_of_size_raises_the_flag);
	RUN(an_allocation_raises_the_flag);
	RUN(fsync_vouches_for_what_was_there_before_it);
	RUN(syncfs_vouches_for_all_files_of_pgdata);
	RUN(mode_off_marks_without_syncing);
	return 0;
}
