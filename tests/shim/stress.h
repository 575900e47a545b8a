/*-------------------------------------------------------------------------
 *
 * stress.h
 *	  Many workers on the same mapped files, each call compared with plain ones.
 *
 * Workers are processes that may be killed anywhere (test_stress.c) or
 * threads (test_threads.c).  As under upstream, a lock lies around what must
 * not happen at once: an *operation* locks the blocks it changes, one that
 * changes the file's size all of them.  What an operation is going to do is
 * its *intent*, in memory that outlives the worker, as WAL would: whoever
 * locks blocks of a dead worker's intent first looks whether they are as such
 * a death may leave them, then does the operation again.
 *
 * Operations are numbered (lsn), and a checkpoint notes the number before
 * which all is synced and persisted.  When everything was killed, redo makes
 * anew what operations after it changed, and nothing else: if then a file
 * differs from its model, the shim forgot a block.
 *
 *-------------------------------------------------------------------------
 */
#ifndef NEONSHIM_STRESS_H
#define NEONSHIM_STRESS_H

#include <stdatomic.h>

#include "../../images/compute/shim/real.h"
#include "check.h"
#include "fixture.h"

#define N_FILES 6
#define MAX_BLOCKS 40
#define MAX_BYTES (MAX_BLOCKS * BLOCK_SIZE)
#define N_FDS 3
#define MAX_WORKERS 8

enum op_kind
{
	OP_NONE,
	OP_WRITE,					/* "len" bytes at "at", within the file */
	OP_EXTEND,					/* the same, past its end */
	OP_CUT,						/* to "len" bytes, or up to them */
	OP_ALLOCATE,				/* "len" bytes at "at" */
	OP_REPLACE,					/* unlink, and make an empty file */
};

struct op
{
	enum op_kind kind;
	off_t		at;
	off_t		len;
	uint32_t	content;		/* seed of the bytes, and of which call does it */
};

/* An op in shared memory: others look while it changes. */
struct intent
{
	_Atomic uint32_t kind;
	_Atomic off_t at;
	_Atomic off_t len;
	_Atomic uint32_t content;
};

/* Shared by all workers, and by the lives of a postmaster. */
struct world
{
	struct intent intents[N_FILES][MAX_WORKERS];
	_Atomic uint64_t lsn;		/* of the newest operation */
	_Atomic uint64_t redo;		/* none up to here needs redo */
	_Atomic uint64_t changed[N_FILES][MAX_BLOCKS];	/* lsn of the last change */
	_Atomic uint64_t cut[N_FILES][MAX_BLOCKS];	/* lsn of the last cut */
	_Atomic uint32_t generation[N_FILES];	/* how often it was replaced */
	_Atomic uint32_t steps[MAX_WORKERS];
	_Atomic uint64_t checkpoints;
	_Atomic uint64_t repairs;
};

struct worker
{
	int			id;
	uint32_t	seed;
	int			locks;			/* descriptor of the file of locks, its own */
	int			models[N_FILES];
	int			fds[N_FILES][N_FDS];	/* of the mapped files; -1 is none */
	uint32_t	generation[N_FILES];	/* of "fds" */
	uint8_t    *bytes[4];		/* buffers of MAX_BYTES; apply_to_*() use the first */
};

extern const struct segment stress_segments[N_FILES];
extern struct fixture f;
extern struct world *world;

/* stress_model.c: the branch, its plain copy, what binds the two */
extern void stress_make(unsigned seed);
extern void worker_begin(struct worker *w, int id, uint32_t seed);
extern const char *file_name(int file, char *out, size_t size);
extern off_t model_size(const struct worker *w, int file);
extern void lock_shared(struct worker *w, int file, uint32_t first, uint32_t last);
extern void lock_blocks(struct worker *w, int file, uint32_t first, uint32_t last);
extern void lock_whole(struct worker *w, int file);
extern void unlock(struct worker *w, int file);
extern void compare_all(struct worker *w);

/* stress_redo.c: operations cut short, and all that was killed */
extern void do_op(struct worker *w, int file, const struct op *op);
extern void repair(struct worker *w, int file);
extern void redo_all(struct worker *w);

/* stress_ops.c: the calls */
extern void random_bytes(uint8_t *to, size_t n, uint32_t seed);
extern int	any_fd(struct worker *w, int file);
extern void apply_to_model(struct worker *w, int file, const struct op *op);
extern void apply_to_mapped(struct worker *w, int file, const struct op *op);
extern void checkpoint(struct worker *w);
extern void one_step(struct worker *w);

/* A number from the environment. */
extern uint32_t setting(const char *name, uint32_t otherwise);

#endif							/* NEONSHIM_STRESS_H */
