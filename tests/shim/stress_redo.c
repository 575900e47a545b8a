/* What becomes of operations that were cut short. See stress.h. */
#include "stress.h"

#include <fcntl.h>

#define DISK_PAGE 4096			/* what the kernel copies at once, or not */

/* Number the operation and the blocks it changes; all under its lock. */
static void
number(struct worker *w, int file, const struct op *op)
{
	uint64_t	lsn = atomic_fetch_add(&world->lsn, 1) + 1;
	off_t		size = model_size(w, file);
	off_t		from = op->at;
	off_t		end = op->at + op->len;
	bool		cuts = op->kind == OP_CUT || op->kind == OP_REPLACE;

	if (op->kind == OP_CUT)
		from = op->len;
	if (from > size)
		from = size;			/* zeros come into being */
	if (cuts)
		end = MAX_BYTES;
	for (off_t b = from / BLOCK_SIZE; b * BLOCK_SIZE < end; b++)
	{
		atomic_store(&world->changed[file][b], lsn);
		if (cuts)
			atomic_store(&world->cut[file][b], lsn);
	}
}

static struct op
intended(const struct intent *intent)
{
	return (struct op) {(enum op_kind) atomic_load(&intent->kind), atomic_load(&intent->at),
		atomic_load(&intent->len), atomic_load(&intent->content)};
}

void
do_op(struct worker *w, int file, const struct op *op)
{
	struct intent *intent = &world->intents[file][w->id];

	number(w, file, op);
	atomic_store(&intent->at, op->at);
	atomic_store(&intent->len, op->len);
	atomic_store(&intent->content, op->content);
	atomic_store(&intent->kind, op->kind);
	apply_to_mapped(w, file, op);
	apply_to_model(w, file, op);
	atomic_store(&intent->kind, OP_NONE);
}

/* Bytes that a cut may have taken already, though the file has them still. */
static bool
old_or_zero(const uint8_t *actual, const uint8_t *old, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (actual[i] != old[i] && actual[i] != 0)
			return false;
	return true;
}

/* Each page of the disk is as before the operation or as after it. */
static void
check_pages(struct worker *w, int file, const struct op *op, off_t at, off_t end)
{
	bool		cuts = op->kind == OP_CUT || op->kind == OP_REPLACE;

	for (; at < end; at += DISK_PAGE)
	{
		size_t		len = (size_t) (end - at < DISK_PAGE ? end - at : DISK_PAGE);
		const uint8_t *actual = w->bytes[1] + at;

		if (memcmp(actual, w->bytes[2] + at, len) == 0 ||
			memcmp(actual, w->bytes[3] + at, len) == 0 ||
			(cuts && old_or_zero(actual, w->bytes[2] + at, len)))
			continue;
		fprintf(stderr, "file %d at %lld after op %d at %lld, %lld bytes\n", file,
				(long long) at, (int) op->kind, (long long) op->at, (long long) op->len);
		CHECK(!"a dead worker left old or new pages");
	}
}

static off_t
read_model(struct worker *w, int file, uint8_t *to)
{
	off_t		size = model_size(w, file);

	memset(to, 0, MAX_BYTES);
	CHECK(real.pread(w->models[file], to, MAX_BYTES, 0) == size);
	return size;
}

/* Do the operation on "bytes", which are a file's of that size; the new size. */
static off_t
apply_to_bytes(uint8_t *bytes, off_t size, const struct op *op)
{
	switch (op->kind)
	{
		case OP_WRITE:
		case OP_EXTEND:
			random_bytes(bytes + op->at, (size_t) op->len, op->content);
			return size > op->at + op->len ? size : op->at + op->len;
		case OP_ALLOCATE:
			return size > op->at + op->len ? size : op->at + op->len;
		case OP_CUT:
			memset(bytes + op->len, 0, (size_t) (MAX_BYTES - op->len));
			return op->len;
		case OP_REPLACE:
			memset(bytes, 0, MAX_BYTES);
			return 0;
		case OP_NONE:
			break;
	}
	return size;
}

/*
 * Look at the file before the operation is done again.  The model may have it
 * already; it has not if we were killed here before.  Outside of a write's
 * blocks other dead workers may have written.
 */
static void
check_cut_short(struct worker *w, int file, const struct op *op)
{
	bool		cuts = op->kind == OP_CUT || op->kind == OP_REPLACE;
	off_t		before = read_model(w, file, w->bytes[2]);
	off_t		after;
	off_t		from = 0;
	char		name[64];
	ssize_t		n = 0;
	int			fd = open(file_name(file, name, sizeof(name)), O_RDONLY);

	CHECK(fd >= 0 || (op->kind == OP_REPLACE && errno == ENOENT));
	if (fd >= 0)
		n = pread(fd, w->bytes[1], MAX_BYTES, 0);
	CHECK(n >= 0 && (fd < 0 || close(fd) == 0));
	memcpy(w->bytes[3], w->bytes[2], MAX_BYTES);
	after = apply_to_bytes(w->bytes[3], before, op);
	CHECK(cuts ? n == before || n == after || n == 0 : n >= before && n <= after);

	if (op->kind == OP_WRITE)
	{
		from = op->at / BLOCK_SIZE * BLOCK_SIZE;
		if (n > (op->at + op->len + BLOCK_SIZE - 1) / BLOCK_SIZE * BLOCK_SIZE)
			n = (op->at + op->len + BLOCK_SIZE - 1) / BLOCK_SIZE * BLOCK_SIZE;
	}
	check_pages(w, file, op, from, n);
}

/* Under a lock of the whole file: every intent on it is a dead worker's. */
void
repair(struct worker *w, int file)
{
	for (int k = 0; k < MAX_WORKERS; k++)
	{
		struct intent *intent = &world->intents[file][k];
		struct op	op = intended(intent);

		if (op.kind == OP_NONE)
			continue;
		check_cut_short(w, file, &op);
		apply_to_mapped(w, file, &op);
		apply_to_model(w, file, &op);
		atomic_store(&intent->kind, OP_NONE);
		atomic_fetch_add(&world->repairs, 1);
	}
}

/*----------------------------------------------------------------
 * After a death of all: bits that were not persisted are forgotten
 *----------------------------------------------------------------
 */
static void
redo_block(struct worker *w, int file, int fd, uint32_t b, off_t size)
{
	off_t		at = (off_t) b * BLOCK_SIZE;
	size_t		len = (size_t) (size - at < BLOCK_SIZE ? size - at : BLOCK_SIZE);

	CHECK(real.pread(w->models[file], w->bytes[0], len, at) == (ssize_t) len);
	CHECK(pwrite(fd, w->bytes[0], len, at) == (ssize_t) len);
}

static void
redo_file(struct worker *w, int file)
{
	uint64_t	redo = atomic_load(&world->redo);
	off_t		size = model_size(w, file);
	uint32_t	low = 0;
	char		name[64];
	int			fd = open(file_name(file, name, sizeof(name)), O_RDWR | O_CREAT, 0600);

	CHECK(fd >= 0);
	while (low < MAX_BLOCKS && atomic_load(&world->cut[file][low]) <= redo)
		low++;
	if (lseek(fd, 0, SEEK_END) > (off_t) low * BLOCK_SIZE)
		CHECK(ftruncate(fd, (off_t) low * BLOCK_SIZE) == 0);
	CHECK(low < MAX_BLOCKS || lseek(fd, 0, SEEK_END) <= size);
	for (uint32_t b = 0; (off_t) b * BLOCK_SIZE < size; b++)
		if (atomic_load(&world->changed[file][b]) > redo)
			redo_block(w, file, fd, b, size);
	if (lseek(fd, 0, SEEK_END) < size)
		CHECK(ftruncate(fd, size) == 0);
	CHECK(close(fd) == 0);
}

void
redo_all(struct worker *w)
{
	for (int i = 0; i < N_FILES; i++)
	{
		for (int k = 0; k < MAX_WORKERS; k++)
		{
			struct op	op = intended(&world->intents[i][k]);

			if (op.kind != OP_NONE)
				apply_to_model(w, i, &op);
			atomic_store(&world->intents[i][k].kind, OP_NONE);
		}
		redo_file(w, i);
	}
}
