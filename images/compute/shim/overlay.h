/*-------------------------------------------------------------------------
 *
 * overlay.h
 *	  One compute's overlay file: its persisted bits and its flags.
 *
 *-------------------------------------------------------------------------
 */
#ifndef NEONSHIM_OVERLAY_H
#define NEONSHIM_OVERLAY_H

#include "bits.h"
#include "format.h"
#include "report.h"

struct overlay
{
	int			fd;				/* high, inherited, holds the flock: never closed */
	const struct overlay_header *header;
	const uint8_t *bits;		/* the file, for looking; written by pwrite only */
	_Atomic uint8_t *flags;		/* the file, writable: one byte a segment */
	size_t		bits_bytes;		/* as in the file, a multiple of OVERLAY_PAGE */
};

/*
 * Open the overlay that belongs to "map", take it for ourselves with
 * flock(LOCK_EX), validate it and map it.  The descriptor is moved to
 * lowest_fd or above.
 */
extern bool overlay_open(struct overlay *overlay, const char *path,
						 const struct map_header *map, int lowest_fd, struct why *why);

/* Things a process may hold for itself alone, of all that share the overlay. */
enum overlay_lock
{
	OVERLAY_LOCK_PERSIST = 0,
	OVERLAY_LOCK_COPY = 1,
};

extern bool overlay_lock(const struct overlay *overlay, enum overlay_lock which);
extern void overlay_unlock(const struct overlay *overlay, enum overlay_lock which);

/*
 * Make every synced bit durable in the overlay file ("durable" false: write
 * only).  False with errno set on failure, and from then on always, in every
 * process.
 */
extern bool overlay_persist(const struct overlay *overlay, const struct planes *planes,
							bool durable);

/*
 * Make the flags durable, and whatever else the overlay file holds ("durable"
 * false: nothing).  Fails as overlay_persist() does, and so does each of both
 * after the other failed.
 */
extern bool overlay_sync(const struct overlay *overlay, const struct planes *planes,
						 bool durable);

#endif							/* NEONSHIM_OVERLAY_H */
