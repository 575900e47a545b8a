/* What workers of the stress do: any call, on any range. See stress.h. */
#include "stress.h"

#include <fcntl.h>
#include <sys/uio.h>

#define ALL_BLOCKS 0, MAX_BLOCKS

void
random_bytes(uint8_t *to, size_t n, uint32_t seed)
{
	seed |= 1;
	for (size_t at = 0; at < n; at += 4)
		memcpy(to + at, &(uint32_t) {draw(&seed, 0x7fffffff)}, n - at < 4 ? n - at : 4);
}

/* Cut "len" bytes into a vector of up to 8 pieces. */
static int
draw_vector(uint32_t *seed, struct iovec *iov, uint8_t *base, size_t len)
{
	int			n = 0;

	while (n < 7 && len > 0)
	{
		size_t		piece = 1 + draw(seed, (uint32_t) len);

		iov[n++] = (struct iovec) {base, piece};
		base += piece;
		len -= piece;
	}
	if (len > 0)
		iov[n++] = (struct iovec) {base, len};
	return n;
}

static void
forget_fd(int *fd)
{
	if (*fd >= 0)
		CHECK(close(*fd) == 0);
	*fd = -1;
}

/* A descriptor of the file that is there now: opened, kept or duplicated. */
int
any_fd(struct worker *w, int file)
{
	uint32_t	generation = atomic_load(&world->generation[file]);
	int		   *fd = &w->fds[file][draw(&w->seed, N_FDS)];
	int			other;
	char		name[64];

	for (int k = 0; k < N_FDS && w->generation[file] != generation; k++)
		forget_fd(&w->fds[file][k]);
	w->generation[file] = generation;
	if (draw(&w->seed, 8) == 0)
		forget_fd(fd);
	other = w->fds[file][draw(&w->seed, N_FDS)];
	if (*fd >= 0)
		return *fd;
	if (other < 0)
		*fd = open(file_name(file, name, sizeof(name)), O_RDWR | O_CLOEXEC);
	else if (draw(&w->seed, 2))
		*fd = dup(other);
	else
		*fd = fcntl(other, F_DUPFD_CLOEXEC, 3);
	CHECK(*fd >= 0);
	return *fd;
}

/*----------------------------------------------------------------
 * The operations, on both sides
 *----------------------------------------------------------------
 */
void
apply_to_model(struct worker *w, int file, const struct op *op)
{
	int			fd = w->models[file];

	switch (op->kind)
	{
		case OP_WRITE:
		case OP_EXTEND:
			random_bytes(w->bytes[0], (size_t) op->len, op->content);
			CHECK(real.pwrite(fd, w->bytes[0], (size_t) op->len, op->at) == op->len);
			break;
		case OP_CUT:
			CHECK(real.ftruncate(fd, op->len) == 0);
			break;
		case OP_ALLOCATE:
			if (model_size(w, file) < op->at + op->len)
				CHECK(real.ftruncate(fd, op->at + op->len) == 0);
			break;
		case OP_REPLACE:
			CHECK(real.ftruncate(fd, 0) == 0);
			break;
		case OP_NONE:
			break;
	}
}

static ssize_t
write_somehow(struct worker *w, int file, const struct op *op)
{
	uint32_t	seed = op->content | 1;
	struct iovec iov[8];
	int			count = draw_vector(&seed, iov, w->bytes[0], (size_t) op->len);
	int			fd = any_fd(w, file);

	random_bytes(w->bytes[0], (size_t) op->len, op->content);
	switch (draw(&seed, 5))
	{
		case 0:
			return pwritev(fd, iov, count, op->at);
		case 1:
			return pwritev2(fd, iov, count, op->at, 0);
		case 2:
			CHECK(lseek(fd, op->at, SEEK_SET) == op->at);
			return writev(fd, iov, count);
		case 3:
			CHECK(lseek(fd, op->at, SEEK_SET) == op->at);
			return write(fd, w->bytes[0], (size_t) op->len);
		default:
			return pwrite(fd, w->bytes[0], (size_t) op->len, op->at);
	}
}

static int
cut_somehow(struct worker *w, int file, const struct op *op)
{
	char		name[64];
	int			fd;

	file_name(file, name, sizeof(name));
	if (op->len == 0 && op->content % 2)
	{
		fd = open(name, O_RDWR | O_TRUNC);
		return fd < 0 ? -1 : close(fd);
	}
	return op->content % 3 == 0 ? truncate(name, op->len) : ftruncate(any_fd(w, file), op->len);
}

/* Descriptors of the old file are no good from here on, whoever has them. */
static void
replace(int file)
{
	char		name[64];
	int			fd;

	atomic_fetch_add(&world->generation[file], 1);
	file_name(file, name, sizeof(name));
	CHECK(unlink(name) == 0 || errno == ENOENT);
	fd = open(name, O_RDWR | O_CREAT | O_EXCL, 0600);
	CHECK(fd >= 0 && close(fd) == 0);
}

void
apply_to_mapped(struct worker *w, int file, const struct op *op)
{
	switch (op->kind)
	{
		case OP_WRITE:
		case OP_EXTEND:
			CHECK(write_somehow(w, file, op) == op->len);
			break;
		case OP_CUT:
			CHECK(cut_somehow(w, file, op) == 0);
			break;
		case OP_ALLOCATE:
			if (op->content % 2)
				CHECK(posix_fallocate(any_fd(w, file), op->at, op->len) == 0);
			else
				CHECK(fallocate(any_fd(w, file), 0, op->at, op->len) == 0);
			break;
		case OP_REPLACE:
			replace(file);
			break;
		case OP_NONE:
			break;
	}
}

/* Blocks mostly, any bytes else; at least one byte. */
static struct op
draw_op(struct worker *w, enum op_kind kind)
{
	struct op	op = {.kind = kind, .content = draw(&w->seed, 0x7fffffff)};

	if (draw(&w->seed, 3) == 0)
	{
		op.at = draw(&w->seed, MAX_BYTES);
		op.len = 1 + draw(&w->seed, 3 * BLOCK_SIZE);
	}
	else
	{
		op.at = (off_t) draw(&w->seed, MAX_BLOCKS) * BLOCK_SIZE;
		op.len = (off_t) (1 + draw(&w->seed, 8)) * BLOCK_SIZE;
	}
	if (op.len > MAX_BYTES - op.at)
		op.len = MAX_BYTES - op.at;
	return op;
}

static void
change(struct worker *w, int file, enum op_kind kind)
{
	struct op	op = draw_op(w, kind);
	uint32_t	last = (uint32_t) ((op.at + op.len - 1) / BLOCK_SIZE);

	if (kind == OP_CUT)			/* often to a whole block, and to nothing */
		op.len = draw(&w->seed, 4) == 0 ? 0 : op.at;
	if (kind == OP_WRITE)
	{
		lock_blocks(w, file, (uint32_t) (op.at / BLOCK_SIZE), last);
		if (op.at + op.len <= model_size(w, file))
		{
			do_op(w, file, &op);
			unlock(w, file);
			return;
		}
		unlock(w, file);
		op.kind = OP_EXTEND;
	}
	lock_whole(w, file);
	do_op(w, file, &op);
	unlock(w, file);
}

/*----------------------------------------------------------------
 * What changes nothing
 *----------------------------------------------------------------
 */
static ssize_t
read_somehow(struct worker *w, int fd, size_t len, off_t at)
{
	struct iovec iov[8];
	int			count = draw_vector(&w->seed, iov, w->bytes[0], len);
	ssize_t		n;

	switch (draw(&w->seed, 5))
	{
		case 0:
			return preadv(fd, iov, count, at);
		case 1:
			return preadv2(fd, iov, count, at, 0);
		case 2:
			CHECK(lseek(fd, at, SEEK_SET) == at);
			return readv(fd, iov, count);
		case 3:
			CHECK(lseek(fd, at, SEEK_SET) == at);
			n = read(fd, w->bytes[0], len);
			CHECK(lseek(fd, 0, SEEK_CUR) == at + n);
			return n;
		default:
			return pread(fd, w->bytes[0], len, at);
	}
}

static void
compare_read(struct worker *w, int file)
{
	struct op	op = draw_op(w, OP_NONE);
	ssize_t		n;

	lock_shared(w, file, (uint32_t) (op.at / BLOCK_SIZE),
				(uint32_t) ((op.at + op.len - 1) / BLOCK_SIZE));
	n = read_somehow(w, any_fd(w, file), (size_t) op.len, op.at);
	CHECK(n == real.pread(w->models[file], w->bytes[1], (size_t) op.len, op.at));
	CHECK(memcmp(w->bytes[0], w->bytes[1], (size_t) n) == 0);
	unlock(w, file);
}

static void
hint_and_refuse(struct worker *w, int file)
{
	struct op	op = draw_op(w, OP_NONE);
	char		name[64];
	int			fd;

	lock_shared(w, file, ALL_BLOCKS);
	fd = any_fd(w, file);
	CHECK(lseek(fd, 0, SEEK_END) == model_size(w, file));
	CHECK(posix_fadvise(fd, op.at, op.len, POSIX_FADV_WILLNEED) == 0);
	CHECK(sync_file_range(fd, op.at, op.len, SYNC_FILE_RANGE_WRITE) == 0);
	file_name(file, name, sizeof(name));
	CHECK(rename(name, "base/5/999") == -1 && errno == EPERM);
	CHECK(rename("global/pg_control", name) == -1 && errno == EPERM);
	CHECK(link(name, "base/5/999") == -1 && errno == EPERM);
	unlock(w, file);
}

static void
sync_file(struct worker *w, int file)
{
	int			fd;

	/* what began before is done after this; what begins later needn't be */
	lock_shared(w, file, ALL_BLOCKS);
	fd = any_fd(w, file);
	unlock(w, file);
	CHECK((draw(&w->seed, 2) ? fsync(fd) : fdatasync(fd)) == 0);
}

static void
rename_control(const struct worker *w)
{
	uint8_t		page[BLOCK_SIZE] = {[16] = 6};
	char		aside[64];
	int			fd;

	snprintf(aside, sizeof(aside), "global/aside%d", w->id);
	fd = open(aside, O_CREAT | O_TRUNC | O_WRONLY, 0600);
	CHECK(fd >= 0 && write(fd, page, sizeof(page)) == sizeof(page) && close(fd) == 0);
	CHECK(rename(aside, "global/pg_control") == 0);
}

void
checkpoint(struct worker *w)
{
	uint64_t	redo = atomic_load(&world->lsn);
	uint64_t	before = atomic_load(&world->redo);

	if (draw(&w->seed, 4) == 0)
	{
		for (int i = 0; i < N_FILES; i++)
		{
			lock_shared(w, i, ALL_BLOCKS);
			unlock(w, i);
		}
		CHECK(syncfs(w->models[0]) == 0);
	}
	else
		for (int i = 0; i < N_FILES; i++)
			sync_file(w, i);
	if (draw(&w->seed, 3) == 0)
		rename_control(w);
	else
		CHECK(write_control(6) == BLOCK_SIZE);
	while (before < redo && !atomic_compare_exchange_weak(&world->redo, &before, redo))
		;
	atomic_fetch_add(&world->checkpoints, 1);
}

/* Cuts and replacements are few: after them the layers are of no interest. */
void
one_step(struct worker *w)
{
	int			file = (int) draw(&w->seed, N_FILES);
	uint32_t	what = draw(&w->seed, 1000);

	if (what < 450)
		compare_read(w, file);
	else if (what < 870)
		change(w, file, OP_WRITE);
	else if (what < 885)
		change(w, file, OP_CUT);
	else if (what < 900)
		change(w, file, OP_ALLOCATE);
	else if (what < 904)
		change(w, file, OP_REPLACE);
	else if (what < 930)
		hint_and_refuse(w, file);
	else if (what < 990)
		sync_file(w, file);
	else
		checkpoint(w);
	atomic_fetch_add(&world->steps[w->id], 1);
}
