/* A branch map is either right in all its parts or refused. */
#include "../../images/compute/shim/crc32c.h"
#include "../../images/compute/shim/map.h"
#include "../../images/compute/shim/real.h"
#include "check.h"
#include "fixture.h"

#define PAGES 100

/* Three segments: 10 blocks in two extents, 0 blocks, 9 blocks of zeros. */
static struct map_parts
good_parts(void)
{
	struct map_parts p = {.header = {.n_layers = 1, .n_segments = 3, .n_extents = 3,
	.n_bits = 40}};

	p.layers[0].pages = PAGES;
	p.segments[0] = (struct segment) {1663, 5, 100, 0, 0, 10, 0, 2, 0};
	p.segments[1] = (struct segment) {1663, 5, 100, 1, 0, 0, 2, 0, 16};
	p.segments[2] = (struct segment) {1664, 0, 7, 0, 0, 9, 2, 1, 16};
	p.extents[0] = (struct extent) {0, 4, 0, 96};
	p.extents[1] = (struct extent) {4, 6, 0, 0};
	p.extents[2] = (struct extent) {0, 9, ZERO_EXTENT, 0};
	return p;
}

static const char *
verdict(struct map_parts *p)
{
	static _Alignas(8) uint8_t bytes[sizeof(struct map_parts)];
	static struct why why;
	struct map	map;
	size_t		len = map_finish(p, bytes, sizeof(bytes));

	return map_check(&map, bytes, len, &why) ? "good" : why.text;
}

#define REFUSED(change, text) \
	do { \
		struct map_parts p = good_parts(); \
		change; \
		if (strstr(verdict(&p), text) == NULL) \
			fprintf(stderr, "verdict: %s\n", verdict(&p)); \
		CHECK(strstr(verdict(&p), text) != NULL); \
	} while (0)

static void
a_good_map_is_taken(void)
{
	struct map_parts p = good_parts();

	CHECK(strcmp(verdict(&p), "good") == 0);
}

static void
wrong_tables_are_refused(void)
{
	REFUSED(p.segments[1].fork = 0, "not in order");
	REFUSED(p.segments[2].spc = 1, "not in order");
	REFUSED(p.segments[0].blocks = 11, "extents don't cover");
	REFUSED(p.segments[0].blocks = 9, "extents don't cover");
	REFUSED(p.segments[1].blocks = 1, "extents don't cover");
	REFUSED(p.segments[0].n_extents = 1, "extents don't cover");
	REFUSED(p.segments[2].first_extent = 3, "extents out of range");
	REFUSED(p.segments[2].first_extent = UINT32_MAX, "extents out of range");
	REFUSED(p.extents[1].block = 5, "extents don't cover");
	REFUSED(p.extents[1].count = 0, "extents don't cover");
	REFUSED(p.extents[1].count = UINT32_MAX, "extents don't cover");
	REFUSED(p.extents[0].page = 97, "out of its layer");
	REFUSED(p.extents[0].page = UINT32_MAX, "out of its layer");
	REFUSED(p.extents[0].layer = 1, "out of its layer");
	REFUSED(p.segments[0].first_bit = 4, "bad range of bits");
	REFUSED(p.segments[2].first_bit = 8, "bad range of bits");
	REFUSED(p.segments[2].first_bit = 32, "bad range of bits");
	REFUSED(p.segments[2].first_bit = UINT64_MAX - 7, "bad range of bits");
	REFUSED(p.header.n_bits = 0, "bad range of bits");
	REFUSED(p.segments[0].blocks = SEGMENT_BLOCKS + 1, "bad size");
	REFUSED(p.segments[0].fork = 4, "bad size or fork");
}

static void
every_flipped_byte_is_refused(void)
{
	static _Alignas(8) uint8_t bytes[sizeof(struct map_parts)];
	struct map_parts p = good_parts();
	size_t		len = map_finish(&p, bytes, sizeof(bytes));
	struct map	map;
	struct why	why;

	for (size_t i = 0; i < len; i++)
	{
		bytes[i] ^= 0x10;
		CHECK(!map_check(&map, bytes, len, &why));
		bytes[i] ^= 0x10;
	}
	CHECK(map_check(&map, bytes, len, &why));
	for (size_t n = 0; n < len; n++)
		CHECK(!map_check(&map, bytes, n, &why));
}

static void
segments_and_extents_are_found(void)
{
	struct fixture f;
	struct map	map;
	struct why	why;
	struct segment segments[FIXTURE_SEGMENTS];

	for (uint32_t i = 0; i < FIXTURE_SEGMENTS; i++)
		segments[i] = (struct segment) {1663, 5, 10 + i * 2, 0, 0, i * 3, 0, 0, 0};
	fixture_make(&f, segments, FIXTURE_SEGMENTS, 7);
	CHECK(map_open(&map, f.map, &why));
	for (uint32_t i = 0; i < FIXTURE_SEGMENTS; i++)
	{
		struct segment_key key = {1663, 5, 10 + i * 2, 0, 0};

		CHECK(map_find(&map, &key) == (int32_t) i);
		key.rel++;
		CHECK(map_find(&map, &key) == -1);
		for (uint32_t b = 0; b < segments[i].blocks; b++)
		{
			const struct extent *x = map_extent(&map, &map.segments[i], b);

			CHECK(x->block <= b && b < x->block + x->count);
		}
	}
	fixture_remove(&f);
}

static void
missing_and_empty_files_are_refused(void)
{
	struct map	map;
	struct why	why;

	real_resolve();
	CHECK(!map_open(&map, "/nonexistent/x.map", &why));
	CHECK(strstr(why.text, "could not open map") != NULL);
	CHECK(!map_open(&map, "/dev/null", &why));
	CHECK(strstr(why.text, "too short") != NULL);
}

static void
both_ways_of_crc32c_agree_with_the_standard(void)
{
	uint8_t		bytes[4100];
	uint32_t	seed = 99;

	CHECK(crc32c("123456789", 9) == 0xE3069283);
	CHECK(crc32c_portable("123456789", 9) == 0xE3069283);
	CHECK(crc32c("", 0) == 0);
	for (size_t i = 0; i < sizeof(bytes); i++)
		bytes[i] = (uint8_t) draw(&seed, 256);
	for (size_t start = 0; start < 9; start++)
		for (size_t len = 0; len < sizeof(bytes) - start; len += 1 + len / 3)
			CHECK(crc32c(bytes + start, len) == crc32c_portable(bytes + start, len));
}

int
main(void)
{
	RUN(a_good_map_is_taken);
	RUN(wrong_tables_are_refused);
	RUN(every_flipped_byte_is_refused);
	RUN(segments_and_extents_are_found);
	RUN(missing_and_empty_files_are_refused);
	RUN(both_ways_of_crc32c_agree_with_the_standard);
	return 0;
}
