/*-------------------------------------------------------------------------
 *
 * test_model.c
 *	  Random calls on mapped files, compared with the same calls on plain ones.
 *
 * One process: every kind of call, at any offset and length, on several
 * descriptors of a file, with clean restarts in between.  (What holds after
 * crashes is test_power.c's.)
 *
 *-------------------------------------------------------------------------
 */
#include <sys/wait.h>
#include <unistd.h>

#include "../../images/compute/shim/real.h"
#include "check.h"
#include "fixture.h"

#define N_FILES 4
#define MAX_BLOCKS 60
#define MAX_BYTES (MAX_BLOCKS * BLOCK_SIZE)
#define N_FDS 3

static const struct segment segments[N_FILES] = {
	{1663, 5, 100, 0, 0, 50, 0, 0, 0},
	{1663, 5, 100, 1, 0, 3, 0, 0, 0},
	{1663, 5, 101, 0, 0, 0, 0, 0, 0},
	{1664, 0, 300, 0, 0, 17, 0, 0, 0},
};

static struct fixture f;
static char names[N_FILES][64];
static char models[N_FILES][600];
static uint8_t buffer[MAX_BYTES];
static uint8_t expected[MAX_BYTES];

struct file
{
	int			fds[N_FDS];		/* of the mapped file */
	int			model;
};

static struct file files[N_FILES];
static uint32_t seed;

static void
make_models(void)
{
	for (uint32_t i = 0; i < N_FILES; i++)
	{
		int			fd;

		snprintf(models[i], sizeof(models[i]), "%s/model%u", f.dir, i);
		segment_path(&segments[i], names[i], sizeof(names[i]));
		fd = open(models[i], O_CREAT | O_RDWR, 0600);
		CHECK(fd >= 0);
		for (uint32_t b = 0; b < segments[i].blocks; b++)
		{
			page_fill(buffer, i, b, layer_version(&f, i, b));
			CHECK(write(fd, buffer, BLOCK_SIZE) == BLOCK_SIZE);
		}
		close(fd);
	}
}

static int
any_fd(int i)
{
	int		   *fd = &files[i].fds[draw(&seed, N_FDS)];

	if (*fd >= 0 && draw(&seed, 8) == 0)
	{
		CHECK(close(*fd) == 0);
		*fd = -1;
	}
	if (*fd < 0)
	{
		int			other = files[i].fds[draw(&seed, N_FDS)];

		*fd = other >= 0 ? dup(other) : open(names[i], O_RDWR);
	}
	CHECK(*fd >= 0);
	return *fd;
}

static off_t
size_of(int i)
{
	return real.lseek(files[i].model, 0, SEEK_END);
}

static void
random_bytes(size_t n)
{
	for (size_t at = 0; at < n; at += 4)
		memcpy(buffer + at, &(uint32_t) {draw(&seed, 0x7fffffff)}, n - at < 4 ? n - at : 4);
}

/* Blocks mostly, any bytes else. */
static void
draw_range(off_t *at, size_t *len)
{
	if (draw(&seed, 3) == 0)
	{
		*at = draw(&seed, MAX_BYTES);
		*len = draw(&seed, 3 * BLOCK_SIZE);
	}
	else
	{
		*at = (off_t) draw(&seed, MAX_BLOCKS) * BLOCK_SIZE;
		*len = (size_t) (1 + draw(&seed, 12)) * BLOCK_SIZE;
	}
	if (*len > (size_t) (MAX_BYTES - *at))
		*len = (size_t) (MAX_BYTES - *at);
}

/* Cut "len" bytes of the buffer into a vector of up to 16 pieces. */
static int
draw_vector(struct iovec *iov, uint8_t *base, size_t len)
{
	int			n = 0;

	while (n < 15 && len > 0)
	{
		size_t		piece = 1 + draw(&seed, (uint32_t) len);

		iov[n++] = (struct iovec) {base, piece};
		base += piece;
		len -= piece;
	}
	if (len > 0)
		iov[n++] = (struct iovec) {base, len};
	return n;
}

static void
compare_read(int i)
{
	struct iovec iov[16];
	off_t		at;
	size_t		len;
	ssize_t		n;
	ssize_t		m;
	int			fd = any_fd(i);

	draw_range(&at, &len);
	m = real.pread(files[i].model, expected, len, at);
	switch (draw(&seed, 3))
	{
		case 0:
			n = pread(fd, buffer, len, at);
			break;
		case 1:
			n = preadv(fd, iov, draw_vector(iov, buffer, len), at);
			break;
		default:
			CHECK(lseek(fd, at, SEEK_SET) == at);
			n = read(fd, buffer, len);
			CHECK(lseek(fd, 0, SEEK_CUR) == at + n);
	}
	CHECK(n == m);
	CHECK(memcmp(buffer, expected, (size_t) n) == 0);
}

static void
write_both(int i)
{
	struct iovec iov[16];
	off_t		at;
	size_t		len;
	ssize_t		n;
	int			fd = any_fd(i);

	draw_range(&at, &len);
	random_bytes(len);
	switch (draw(&seed, 3))
	{
		case 0:
			n = pwrite(fd, buffer, len, at);
			break;
		case 1:
			n = pwritev(fd, iov, draw_vector(iov, buffer, len), at);
			break;
		default:
			CHECK(lseek(fd, at, SEEK_SET) == at);
			n = write(fd, buffer, len);
	}
	CHECK(n == (ssize_t) len);
	CHECK(real.pwrite(files[i].model, buffer, len, at) == n);
}

static void
cut_both(int i)
{
	off_t		len = draw(&seed, 2) ? draw(&seed, MAX_BYTES)
		: (off_t) draw(&seed, MAX_BLOCKS) * BLOCK_SIZE;

	if (draw(&seed, 2))
		CHECK(ftruncate(any_fd(i), len) == 0);
	else
		CHECK(truncate(names[i], len) == 0);
	CHECK(real.ftruncate(files[i].model, len) == 0);
}

static void
extend_both(int i)
{
	off_t		at = draw(&seed, MAX_BYTES - 1);
	off_t		len = 1 + draw(&seed, (uint32_t) (MAX_BYTES - at));

	if (draw(&seed, 2))
		CHECK(posix_fallocate(any_fd(i), at, len) == 0);
	else
		CHECK(fallocate(any_fd(i), 0, at, len) == 0);
	if (size_of(i) < at + len)
		CHECK(real.ftruncate(files[i].model, at + len) == 0);
}

static void
replace_both(int i)
{
	for (int k = 0; k < N_FDS; k++)
	{
		if (files[i].fds[k] >= 0)
			CHECK(close(files[i].fds[k]) == 0);
		files[i].fds[k] = -1;
	}
	if (draw(&seed, 2))
	{
		CHECK(unlink(names[i]) == 0);
		files[i].fds[0] = open(names[i], O_RDWR | O_CREAT | O_EXCL, 0600);
	}
	else
		files[i].fds[0] = open(names[i], O_RDWR | O_TRUNC);
	CHECK(files[i].fds[0] >= 0);
	CHECK(real.ftruncate(files[i].model, 0) == 0);
}

static void
hint(int i)
{
	off_t		at = draw(&seed, MAX_BYTES);
	off_t		len = draw(&seed, MAX_BYTES);

	CHECK(posix_fadvise(any_fd(i), at, len, POSIX_FADV_WILLNEED) == 0);
	CHECK(sync_file_range(any_fd(i), at, len, SYNC_FILE_RANGE_WRITE) == 0);
	CHECK(lseek(any_fd(i), 0, SEEK_END) == size_of(i));
}

static void
one_step(void)
{
	int			i = (int) draw(&seed, N_FILES);
	uint32_t	what = draw(&seed, 100);

	if (what < 45)
		compare_read(i);
	else if (what < 80)
		write_both(i);
	else if (what < 85)
		cut_both(i);
	else if (what < 89)
		extend_both(i);
	else if (what < 91)
		replace_both(i);
	else if (what < 94)
		hint(i);
	else if (what < 98)
		CHECK(fsync(any_fd(i)) == 0);
	else
		CHECK(write_control(6) == BLOCK_SIZE);
}

static void
open_all(void)
{
	fixture_open(&f);
	for (int i = 0; i < N_FILES; i++)
	{
		for (int k = 0; k < N_FDS; k++)
			files[i].fds[k] = -1;
		files[i].model = real.openat(AT_FDCWD, models[i], O_RDWR);
		CHECK(files[i].model >= 0);
	}
}

static void
compare_all(void)
{
	for (int i = 0; i < N_FILES; i++)
	{
		int			fd = open(names[i], O_RDONLY);
		ssize_t		n = pread(fd, buffer, MAX_BYTES, 0);

		CHECK(n == size_of(i) && real.pread(files[i].model, expected, MAX_BYTES, 0) == n);
		CHECK(memcmp(buffer, expected, (size_t) n) == 0);
		close(fd);
	}
}

static void
live_and_sync(void)
{
	open_all();
	compare_all();				/* what the life before synced */
	for (int step = 0; step < 400; step++)
		one_step();
	compare_all();
	for (int i = 0; i < N_FILES; i++)
		CHECK(fsync(any_fd(i)) == 0);
	CHECK(write_control(1) == BLOCK_SIZE);
	exit(0);
}

static void
in_a_life(void (*live) (void))
{
	int			status;
	pid_t		child = fork();

	CHECK(child >= 0);
	if (child == 0)
		live();
	CHECK(waitpid(child, &status, 0) == child);
	if (status != 0)
		fprintf(stderr, "seed %u\n", seed);
	CHECK(status == 0);
}

static void
one_process_sees_plain_files(void)
{
	for (unsigned run = 1; run <= 6; run++)
	{
		fixture_make(&f, segments, N_FILES, run);
		make_models();
		for (unsigned life = 1; life <= 6; life++)
		{
			seed = run * 1000 + life;
			in_a_life(live_and_sync);
		}
		fixture_remove(&f);
	}
}

int
main(void)
{
	RUN(one_process_sees_plain_files);
	return 0;
}
