/*-------------------------------------------------------------------------
 *
 * segment.h
 *	  State of a mapped relation segment: its bits, its flag, its first open.
 *
 * The invariant all of the shim rests on, for every segment that was opened,
 * cut or unlinked since the postmaster started:
 *
 *	  a block below segment->blocks whose bit is not set lies wholly below
 *	  the end of the local file, and its content is the layers'.
 *
 * So no read needs the file's size, and no write past the end has bits to
 * set for the hole it leaves.
 *
 *-------------------------------------------------------------------------
 */
#ifndef NEONSHIM_SEGMENT_H
#define NEONSHIM_SEGMENT_H

#include "shim.h"

static inline const struct segment *
segment_at(int32_t index)
{
	return &shim.map.segments[index];
}

static inline bool
segment_broken(int32_t index)
{
	return __builtin_expect(atomic_load_explicit(&shim.planes.states[index],
												 memory_order_acquire) == SEGMENT_BROKEN, 0);
}

/* Is this block to be read from the local file? */
static inline bool
block_is_local(const struct segment *s, uint64_t block)
{
	return block >= s->blocks || bit_test(shim.planes.now, s->first_bit + block);
}

/* The index of the segment a path means, or -1. */
extern int32_t segment_of(const struct path_class *c);

/* Raise a flag of the segment; before the call that makes it true. */
extern void segment_flag(int32_t index, uint8_t flag);

/* After a successful open: first-open rule, see segment.c. */
extern bool segment_opened(int32_t index, int fd);

/* Mark blocks [block, end of the segment in the map) local; true if any is new. */
extern bool segment_cut_bits(int32_t index, uint64_t block);

/* A cut failed after its bits were set: no more use until a restart. */
extern void segment_break(int32_t index, const char *what);

#endif							/* NEONSHIM_SEGMENT_H */
