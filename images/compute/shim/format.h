/*-------------------------------------------------------------------------
 *
 * format.h
 *	  Layout on disk of the branch map and of the overlay.
 *
 * Written by neon_compose/layer (Python), read here.  Little endian, all
 * checksums are CRC-32C.  The same tables stand in the docstrings of the
 * Python modules; tests/golden pins both sides.
 *
 *-------------------------------------------------------------------------
 */
#ifndef NEONSHIM_FORMAT_H
#define NEONSHIM_FORMAT_H

#include <assert.h>
#include <stddef.h>
#include <stdint.h>

#define BLOCK_SIZE 8192
#define SEGMENT_BLOCKS 131072	/* 1 GiB: upstream's RELSEG_SIZE */
#define OVERLAY_PAGE 4096

#define MAP_MAGIC "NEONMAP1"
#define MAP_VERSION 1
#define OVERLAY_MAGIC "NEONOVL1"
#define OVERLAY_VERSION 1

#define ZERO_EXTENT UINT32_MAX	/* extent.layer of a run of zero blocks */

#define SPC_DEFAULT 1663		/* base/<db>/ */
#define SPC_GLOBAL 1664			/* global/ */

enum fork_number
{
	FORK_MAIN = 0,
	FORK_FSM = 1,
	FORK_VM = 2,
	FORK_INIT = 3,
};

struct map_header
{
	char		magic[8];
	uint32_t	version;
	uint32_t	header_size;
	uint8_t		tip_layer[16];
	uint8_t		storage[16];
	uint64_t	file_size;
	uint32_t	n_layers;
	uint32_t	n_segments;
	uint64_t	n_extents;
	uint64_t	layers_offset;
	uint64_t	segments_offset;
	uint64_t	extents_offset;
	uint64_t	n_bits;
	uint32_t	block_size;
	uint32_t	body_crc;		/* of [128, file_size) */
	uint8_t		zero[12];
	uint32_t	header_crc;		/* of [0, 124) */
};

struct map_layer
{
	uint8_t		id[16];
	uint64_t	pages;			/* in <id>.pages */
	uint8_t		zero[8];
};

struct segment
{
	uint32_t	spc;
	uint32_t	db;
	uint32_t	rel;
	uint32_t	fork;
	uint32_t	seg;
	uint32_t	blocks;			/* size of the segment in the tip */
	uint32_t	first_extent;
	uint32_t	n_extents;
	uint64_t	first_bit;		/* a multiple of 8 */
};

struct extent
{
	uint32_t	block;			/* first block, counted in the segment */
	uint32_t	count;
	uint32_t	layer;			/* index of the layers table, or ZERO_EXTENT */
	uint32_t	page;			/* first page in that layer's .pages */
};

struct overlay_header
{
	char		magic[8];
	uint32_t	version;
	uint32_t	header_size;
	uint8_t		branch[16];
	uint8_t		tip_layer[16];
	uint32_t	map_body_crc;
	uint32_t	n_segments;
	uint64_t	n_bits;
	uint64_t	bits_offset;
	uint64_t	flags_offset;
	uint64_t	file_size;
	uint8_t		zero[4004];
	uint32_t	header_crc;		/* of [0, 4092) */
};

/*
 * Values of a segment's flag byte.  TOUCHED: created, cut or extended at least
 * once since layout, so its fsync may never be skipped.  REPLACED: made anew
 * after an unlink, so nothing of the layers shows through whatever file stands
 * there now (see segment.c for the crash this is about).
 */
#define FLAG_TOUCHED 1
#define FLAG_REPLACED 2

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "formats are little endian");
_Static_assert(sizeof(struct map_header) == 128, "map header");
_Static_assert(offsetof(struct map_header, file_size) == 48, "map header");
_Static_assert(offsetof(struct map_header, n_bits) == 96, "map header");
_Static_assert(offsetof(struct map_header, body_crc) == 108, "map header");
_Static_assert(offsetof(struct map_header, header_crc) == 124, "map header");
_Static_assert(sizeof(struct map_layer) == 32, "map layer");
_Static_assert(sizeof(struct segment) == 40, "map segment");
_Static_assert(offsetof(struct segment, first_bit) == 32, "map segment");
_Static_assert(sizeof(struct extent) == 16, "map extent");
_Static_assert(sizeof(struct overlay_header) == OVERLAY_PAGE, "overlay header");
_Static_assert(offsetof(struct overlay_header, map_body_crc) == 48, "overlay header");
_Static_assert(offsetof(struct overlay_header, n_bits) == 56, "overlay header");
_Static_assert(offsetof(struct overlay_header, file_size) == 80, "overlay header");
_Static_assert(offsetof(struct overlay_header, header_crc) == 4092, "overlay header");

#endif							/* NEONSHIM_FORMAT_H */
