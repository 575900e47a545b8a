/* Reads come from where the block is, writes go to the local file, whole. */
#include <sys/syscall.h>

#include "calls.h"

static ssize_t
counting_preadv(int fd, const struct iovec *iov, int count, off_t at)
{
	ssize_t		total = 0;

	calls++;
	for (int i = 0; i < count; i++)
	{
		ssize_t		n = real.pread(fd, iov[i].iov_base, iov[i].iov_len, at + total);

		CHECK(n == (ssize_t) iov[i].iov_len);
		total += n;
	}
	return total;
}

static void
a_new_branch_reads_as_its_layers(void)
{
	int			fd = begin();

	for (uint32_t b = 0; b < BLOCKS; b++)
	{
		expect_version(fd, b, layer_version(&f, 0, b));
		CHECK(!local(b));
	}
	CHECK(pread(fd, page, BLOCK_SIZE, BLOCKS * BLOCK_SIZE) == 0);
	CHECK(lseek(fd, 0, SEEK_END) == BLOCKS * BLOCK_SIZE);
	CHECK(pread(fd, page, BLOCK_SIZE, BLOCKS * BLOCK_SIZE - 100) == 100);
	CHECK(pread(fd, page, BLOCK_SIZE, -1) == -1 && errno == EINVAL);
	CHECK(pread(fd, page, 0, 0) == 0);
	fixture_remove(&f);
}

static void
written_blocks_are_local_and_others_stay(void)
{
	int			fd = begin();

	put_version(fd, 7, 50);
	for (uint32_t b = 0; b < BLOCKS; b++)
	{
		CHECK(local(b) == (b == 7));
		expect_version(fd, b, b == 7 ? 50 : layer_version(&f, 0, b));
	}
	CHECK(atomic_load(&shim.overlay.flags[0]) == 0);	/* not cut, not extended */
	fixture_remove(&f);
}

/* DESIGN: a request within one run is one system call with its own vector. */
static void
a_request_within_one_extent_is_one_call(void)
{
	static uint8_t buffer[8 * BLOCK_SIZE];
	struct iovec iov[8];
	int			fd = begin();
	const struct segment *s = segment_at(0);

	for (int i = 0; i < 8; i++)
		iov[i] = (struct iovec) {buffer + i * BLOCK_SIZE, BLOCK_SIZE};
	real.preadv = counting_preadv;
	for (uint32_t i = 0; i < s->n_extents; i++)
	{
		const struct extent *x = &shim.map.extents[s->first_extent + i];
		ssize_t		len = (ssize_t) x->count * BLOCK_SIZE;

		if (x->layer == ZERO_EXTENT || x->count < 2)
			continue;
		calls = 0;
		CHECK(preadv(fd, iov, (int) x->count, (off_t) x->block * BLOCK_SIZE) == len);
		CHECK(calls == 1);
	}
	fixture_remove(&f);
}

static void
a_partial_write_keeps_the_rest_of_the_block(void)
{
	uint8_t		expected[BLOCK_SIZE];
	int			fd = begin();

	for (uint32_t b = 0; b < 8; b++)
	{
		page_fill(expected, 0, b, layer_version(&f, 0, b));
		memset(expected + 100 * b, 0x5a, 50);
		memset(page, 0x5a, 50);
		CHECK(pwrite(fd, page, 50, (off_t) b * BLOCK_SIZE + 100 * b) == 50);
		CHECK(pread(fd, page, BLOCK_SIZE, (off_t) b * BLOCK_SIZE) == BLOCK_SIZE);
		CHECK(memcmp(page, expected, BLOCK_SIZE) == 0);
	}
	fixture_remove(&f);
}

static int	budget;				/* bytes a write may still take */

static ssize_t
short_pwritev(int fd, const struct iovec *iov, int count, off_t at)
{
	size_t		n = iov[0].iov_len;

	(void) count;
	if (n > (size_t) budget)
		n = (size_t) budget;
	if (n == 0)
	{
		errno = ENOSPC;
		return -1;
	}
	budget -= (int) n;
	return syscall(SYS_pwrite64, fd, iov[0].iov_base, n, at);
}

static ssize_t
short_pwrite(int fd, const void *buf, size_t n, off_t at)
{
	return short_pwritev(fd, &(struct iovec) {(void *) buf, n}, 1, at);
}

static void
a_short_write_never_leaves_half_a_block(void)
{
	static uint8_t buffer[3 * BLOCK_SIZE];
	int			fd = begin();
	ssize_t		n;

	for (uint32_t i = 0; i < 3; i++)
		page_fill(buffer + i * BLOCK_SIZE, 0, 4 + i, 60);
	real.pwrite = short_pwrite;
	real.pwritev = short_pwritev;

	budget = BLOCK_SIZE - 1;	/* a disk that fills up in the first block */
	n = pwrite(fd, buffer, sizeof(buffer), 4 * BLOCK_SIZE);
	CHECK(n == -1 && errno == ENOSPC);
	expect_version(fd, 4, layer_version(&f, 0, 4));

	budget = 2 * BLOCK_SIZE + 5000;	/* ... and in the third */
	n = pwrite(fd, buffer, sizeof(buffer), 4 * BLOCK_SIZE);
	CHECK(n == 2 * BLOCK_SIZE);
	expect_version(fd, 4, 60);
	expect_version(fd, 5, 60);
	expect_version(fd, 6, layer_version(&f, 0, 6));
	CHECK(!local(6));
	fixture_remove(&f);
}

static ssize_t
looking_pwrite(int fd, const void *buf, size_t n, off_t at)
{
	ssize_t		r;

	CHECK(!local((uint32_t) (at / BLOCK_SIZE)));
	r = syscall(SYS_pwrite64, fd, buf, n, at);
	CHECK(!local((uint32_t) (at / BLOCK_SIZE)));
	calls++;
	return r;
}

static void
a_bit_is_set_only_after_its_data_is_written(void)
{
	int			fd = begin();

	real.pwrite = looking_pwrite;
	put_version(fd, 7, 50);
	CHECK(calls == 1 && local(7));
	fixture_remove(&f);
}

static void
read_and_write_move_the_offset(void)
{
	static uint8_t all[BLOCKS * BLOCK_SIZE];
	int			fd = begin();
	size_t		done = 0;
	ssize_t		n;

	while ((n = read(fd, all + done, 5000)) > 0)
		done += (size_t) n;
	CHECK(n == 0 && done == sizeof(all));
	for (uint32_t b = 0; b < BLOCKS; b++)
		CHECK(page_version(all + b * BLOCK_SIZE, 0, b) == layer_version(&f, 0, b));
	CHECK(lseek(fd, 2 * BLOCK_SIZE, SEEK_SET) == 2 * BLOCK_SIZE);
	page_fill(page, 0, 2, 70);
	CHECK(write(fd, page, BLOCK_SIZE) == BLOCK_SIZE);
	CHECK(lseek(fd, 0, SEEK_CUR) == 3 * BLOCK_SIZE);
	expect_version(fd, 2, 70);
	fixture_remove(&f);
}

int
main(void)
{
	RUN(a_new_branch_reads_as_its_layers);
	RUN(written_blocks_are_local_and_others_stay);
	RUN(a_request_within_one_extent_is_one_call);
	RUN(a_partial_write_keeps_the_rest_of_the_block);
	RUN(a_short_write_never_leaves_half_a_block);
	RUN(a_bit_is_set_only_after_its_data_is_written);
	RUN(read_and_write_move_the_offset);
	return 0;
}
