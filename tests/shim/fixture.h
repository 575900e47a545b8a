/*-------------------------------------------------------------------------
 *
 * fixture.h
 *	  Makes branches to test on: layers, a map, an overlay, a PGDATA of sparse
 *	  files.  Independent of the Python package that does it for real.
 *
 *-------------------------------------------------------------------------
 */
#ifndef NEONSHIM_FIXTURE_H
#define NEONSHIM_FIXTURE_H

#include "../../images/compute/shim/shim.h"

#define FIXTURE_LAYERS 2
#define FIXTURE_SEGMENTS 16
#define FIXTURE_EXTENTS 256

/* A map in parts, to be changed by tests before map_write(). */
struct map_parts
{
	struct map_header header;
	struct map_layer layers[FIXTURE_LAYERS];
	struct segment segments[FIXTURE_SEGMENTS];
	struct extent extents[FIXTURE_EXTENTS];
};

struct fixture
{
	char		dir[256];
	char		pgdata[300];
	char		map[300];
	char		overlay[300];
	char		marker[300];
	struct map_parts parts;
};

/* Fill header fields that follow from the counts, and both checksums. */
extern size_t map_finish(struct map_parts *parts, void *out, size_t room);

/*
 * Make a branch in a new temporary directory.  "segments" gives keys and
 * sizes in blocks, ascending; extents are drawn from "seed" over two layers
 * and zeros.
 */
extern void fixture_make(struct fixture *f, const struct segment *segments, int n,
						 unsigned seed);

/* A new overlay (all bits clear), and sparse files as in the map. */
extern void fixture_lay_out(const struct fixture *f);

extern struct shim_config fixture_config(const struct fixture *f);

/* shim_open() on it and chdir to PGDATA; dies if refused. */
extern void fixture_open(const struct fixture *f);

extern void fixture_remove(const struct fixture *f);

/* Path of a segment's file relative to PGDATA. */
extern const char *segment_path(const struct segment *s, char *out, size_t size);

/* The content of a page: zeros for version 0, else telling of who it is. */
extern void page_fill(uint8_t *page, uint32_t segment, uint32_t block, uint64_t version);

/* The version a page holds for this place: UINT64_MAX if it is no such page. */
extern uint64_t page_version(const uint8_t *page, uint32_t segment, uint32_t block);

/* Version 1 is what the layers hold; zero extents hold version 0. */
#define VERSION_ZERO 0
#define VERSION_LAYER 1
extern uint64_t layer_version(const struct fixture *f, uint32_t segment, uint32_t block);

/* A write to pg_control with this state, as upstream does it. */
extern ssize_t write_control(uint32_t state);

/* xorshift: the same numbers everywhere for one seed. */
extern uint32_t draw(uint32_t *state, uint32_t below);

#endif							/* NEONSHIM_FIXTURE_H */
