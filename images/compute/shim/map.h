/*-------------------------------------------------------------------------
 *
 * map.h
 *	  The branch map: which layer holds which block.
 *
 *-------------------------------------------------------------------------
 */
#ifndef NEONSHIM_MAP_H
#define NEONSHIM_MAP_H

#include "format.h"
#include "key.h"
#include "report.h"

struct map
{
	const struct map_header *header;
	const struct map_layer *layers;
	const struct segment *segments;
	const struct extent *extents;
};

/*
 * Map the file at "path" read-only and validate all of it: afterwards every
 * index in it can be followed unchecked.  Durable or not is no concern here.
 */
extern bool map_open(struct map *map, const char *path, struct why *why);

/* Validate a map already in memory; map_open without the file. */
extern bool map_check(struct map *map, const void *bytes, size_t len, struct why *why);

/* The index of a segment, or -1. */
extern int32_t map_find(const struct map *map, const struct segment_key *key);

/* The extent that holds "block", which must be below segment->blocks. */
static inline const struct extent *
map_extent(const struct map *map, const struct segment *segment, uint32_t block)
{
	const struct extent *first = map->extents + segment->first_extent;
	uint32_t	lo = 0;
	uint32_t	hi = segment->n_extents;

	/* the last extent that starts at or before the block */
	while (hi - lo > 1)
	{
		uint32_t	mid = lo + (hi - lo) / 2;

		if (first[mid].block <= block)
			lo = mid;
		else
			hi = mid;
	}
	return first + lo;
}

#endif							/* NEONSHIM_MAP_H */
