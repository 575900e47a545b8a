/*-------------------------------------------------------------------------
 *
 * map.c
 *	  Open, validate and search the branch map.
 *
 * Everything is checked once at start-up, so that the read path can follow
 * indexes without looking: a map that is wrong must stop the postmaster, not
 * return some other relation's page.  Not handled: a map changed under our
 * feet.  Safe: maps are written aside and renamed, and never changed.
 *
 *-------------------------------------------------------------------------
 */
#include "map.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "crc32c.h"
#include "real.h"

static bool
check_header(const struct map_header *h, size_t len, struct why *why)
{
	uint64_t	segments;
	uint64_t	extents;

	if (len < sizeof(*h))
		return refuse(why, "file has %zu bytes, less than a header", len);
	if (memcmp(h->magic, MAP_MAGIC, 8) != 0)
		return refuse(why, "not a branch map (bad magic)");
	if (h->version != MAP_VERSION || h->header_size != sizeof(*h))
		return refuse(why, "version %u is not %u", h->version, MAP_VERSION);
	if (crc32c(h, offsetof(struct map_header, header_crc)) != h->header_crc)
		return refuse(why, "header checksum mismatch");
	if (h->block_size != BLOCK_SIZE)
		return refuse(why, "block size %u is not %u", h->block_size, BLOCK_SIZE);
	if (h->file_size != len)
		return refuse(why, "file has %zu bytes, header says %" PRIu64, len, h->file_size);
	if (h->n_extents > UINT32_MAX || h->n_segments > INT32_MAX - 1)
		return refuse(why, "too many segments or extents");
	segments = sizeof(*h) + (uint64_t) h->n_layers * sizeof(struct map_layer);
	extents = segments + (uint64_t) h->n_segments * sizeof(struct segment);
	if (h->layers_offset != sizeof(*h) || h->segments_offset != segments ||
		h->extents_offset != extents ||
		len != extents + h->n_extents * sizeof(struct extent))
		return refuse(why, "tables don't fill the file");
	return true;
}

static bool
check_extents(const struct map *map, const struct segment *s, struct why *why)
{
	const struct map_header *h = map->header;
	uint32_t	block = 0;

	if ((uint64_t) s->first_extent + s->n_extents > h->n_extents)
		return refuse(why, "extents out of range");
	for (uint32_t i = 0; i < s->n_extents; i++)
	{
		const struct extent *x = map->extents + s->first_extent + i;

		if (x->block != block || x->count == 0 || x->count > s->blocks - block)
			return refuse(why, "extents don't cover the segment");
		if (x->layer != ZERO_EXTENT &&
			(x->layer >= h->n_layers ||
			 (uint64_t) x->page + x->count > map->layers[x->layer].pages))
			return refuse(why, "extent out of its layer");
		block += x->count;
	}
	if (block != s->blocks)
		return refuse(why, "extents don't cover the segment");
	return true;
}

static struct segment_key
key_of(const struct segment *s)
{
	return (struct segment_key) {s->spc, s->db, s->rel, s->fork, s->seg};
}

/*
 * Bit ranges must ascend without overlap, each from a whole byte: two
 * segments that share a byte would be two files whose fsyncs vouch for each
 * other.
 */
static bool
check_segments(const struct map *map, struct why *why)
{
	const struct map_header *h = map->header;
	uint64_t	free_bit = 0;

	for (uint32_t i = 0; i < h->n_segments; i++)
	{
		const struct segment *s = &map->segments[i];
		struct segment_key key = key_of(s);
		struct why	inner;

		if (i > 0)
		{
			struct segment_key before = key_of(s - 1);

			if (compare_keys(&before, &key) >= 0)
				return refuse(why, "segments are not in order at entry %u", i);
		}
		if (s->blocks > SEGMENT_BLOCKS || s->fork > FORK_INIT)
			return refuse(why, "segment %u: bad size or fork", i);
		if (s->first_bit % 8 != 0 || s->first_bit < free_bit ||
			s->blocks > h->n_bits || s->first_bit > h->n_bits - s->blocks)
			return refuse(why, "segment %u: bad range of bits", i);
		free_bit = s->first_bit + s->blocks;
		if (!check_extents(map, s, &inner))
			return refuse(why, "segment %u: %s", i, inner.text);
	}
	return true;
}

bool
map_check(struct map *map, const void *bytes, size_t len, struct why *why)
{
	const uint8_t *base = bytes;
	const struct map_header *h = bytes;

	if (!check_header(h, len, why))
		return false;
	if (crc32c(base + sizeof(*h), len - sizeof(*h)) != h->body_crc)
		return refuse(why, "checksum mismatch");
	map->header = h;
	map->layers = (const void *) (base + h->layers_offset);
	map->segments = (const void *) (base + h->segments_offset);
	map->extents = (const void *) (base + h->extents_offset);
	return check_segments(map, why);
}

bool
map_open(struct map *map, const char *path, struct why *why)
{
	struct why	inner;
	struct stat st;
	void	   *bytes;
	int			fd = real.openat(AT_FDCWD, path, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return refuse(why, "could not open map \"%s\": %s", path, strerror(errno));
	if (fstat(fd, &st) != 0 || st.st_size < (off_t) sizeof(struct map_header))
	{
		real.close(fd);
		return refuse(why, "map \"%s\" is too short", path);
	}
	bytes = real.mmap(NULL, (size_t) st.st_size, PROT_READ, MAP_SHARED, fd, 0);
	real.close(fd);
	if (bytes == MAP_FAILED)
		return refuse(why, "could not map \"%s\": %s", path, strerror(errno));
	if (!map_check(map, bytes, (size_t) st.st_size, &inner))
		return refuse(why, "map \"%s\": %s", path, inner.text);
	return true;
}

int32_t
map_find(const struct map *map, const struct segment_key *key)
{
	uint32_t	lo = 0;
	uint32_t	hi = map->header->n_segments;

	while (lo < hi)
	{
		uint32_t	mid = lo + (hi - lo) / 2;
		struct segment_key there = key_of(&map->segments[mid]);
		int			c = compare_keys(&there, key);

		if (c == 0)
			return (int32_t) mid;
		if (c < 0)
			lo = mid + 1;
		else
			hi = mid;
	}
	return -1;
}
