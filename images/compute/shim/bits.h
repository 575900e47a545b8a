/*-------------------------------------------------------------------------
 *
 * bits.h
 *	  Which blocks are local: the planes of bits all our processes share.
 *
 * Bit i of a plane says "the local file has this block".  There are three:
 *
 *	volatile	  set once the data is in the local file; what readers ask
 *	synced		  the data was fsynced after the bit was set
 *	persisted	  the overlay file; what a start after a crash sees
 *
 * The first two lie in one anonymous shared mapping made before the first
 * fork: they outlive a crashed backend and die with the postmaster.  Both
 * start as a copy of the third.  Bits only go from 0 to 1.
 *
 *-------------------------------------------------------------------------
 */
#ifndef NEONSHIM_BITS_H
#define NEONSHIM_BITS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What is the same for all processes, beside the planes. */
struct shared_state
{
	_Atomic uint32_t persist_failed;	/* never write pg_control again */
	_Atomic uint32_t persist_unsure;	/* overlay may have pages not on disk */
	_Atomic uint32_t opened;	/* pg_control said "in production" once */
};

enum segment_state
{
	SEGMENT_UNSEEN = 0,			/* not opened since the postmaster started */
	SEGMENT_OPEN = 1,
	SEGMENT_BROKEN = 2,			/* a cut failed half-way: every use is EIO */
};

struct planes
{
	struct shared_state *shared;
	_Atomic uint8_t *states;	/* enum segment_state, one a segment */
	_Atomic uint8_t *now;		/* the volatile plane ("volatile" is a keyword) */
	_Atomic uint8_t *synced;
	size_t		plane_bytes;	/* a multiple of OVERLAY_PAGE */
};

/* Make the shared mapping; planes are all zero. */
extern bool planes_make(struct planes *planes, uint64_t n_bits, uint32_t n_segments);

/* Set both planes to at least what "persisted" (plane_bytes long) says. */
extern void planes_load(struct planes *planes, const uint8_t *persisted);

/*
 * Acquire: who sees the bit also sees the data behind it.  This is the
 * read path's only shared access.
 */
static inline bool
bit_test(const _Atomic uint8_t *plane, uint64_t bit)
{
	return (atomic_load_explicit(&plane[bit / 8], memory_order_acquire) >> (bit % 8)) & 1;
}

/* Set bits [first, first + count); true if any was not set before. */
extern bool bits_set(_Atomic uint8_t *plane, uint64_t first, uint64_t count);

/* Is any of them set? */
extern bool bits_any(const _Atomic uint8_t *plane, uint64_t first, uint64_t count);

/*
 * Copy the bits of a range that starts at a whole byte into "copy", of
 * (count + 7) / 8 bytes; and OR such a copy into a plane.
 */
extern void bits_copy(const _Atomic uint8_t *plane, uint64_t first, uint64_t count,
					  uint8_t *copy);
extern void bits_merge(_Atomic uint8_t *plane, uint64_t first, uint64_t count,
					   const uint8_t *copy);

#endif							/* NEONSHIM_BITS_H */
