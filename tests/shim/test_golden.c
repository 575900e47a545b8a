/*-------------------------------------------------------------------------
 *
 * test_golden.c
 *	  The files that Python makes are the ones the shim reads: tests/golden,
 *	  whose README.md says what each block of two-layers.map is.
 *
 *-------------------------------------------------------------------------
 */
#include <fcntl.h>
#include <unistd.h>

#include "../../images/compute/shim/real.h"
#include "check.h"
#include "fixture.h"

#define IMAGE 1
#define DELTA 2
#define ZEROS 0

static struct fixture f;		/* only its paths are used */

/* A page of a golden layer is 1024 times this pair. */
struct origin
{
	uint32_t	layer;
	uint32_t	number;
};

static void
copy(const char *name, const char *to)
{
	static uint8_t bytes[1 << 16];
	char		from[600];
	int			in;
	int			out;
	ssize_t		n;

	snprintf(from, sizeof(from), "%s/%s", GOLDEN, name);
	in = open(from, O_RDONLY);
	out = open(to, O_CREAT | O_WRONLY, 0600);
	CHECK(in >= 0 && out >= 0);
	n = read(in, bytes, sizeof(bytes));
	CHECK(n > 0 && write(out, bytes, (size_t) n) == n);
	close(in);
	close(out);
}

static void
expect(const char *path, off_t block, struct origin origin)
{
	uint8_t		page[BLOCK_SIZE];
	int			fd = open(path, O_RDONLY);

	CHECK(pread(fd, page, BLOCK_SIZE, block * BLOCK_SIZE) == BLOCK_SIZE);
	for (size_t i = 0; i < BLOCK_SIZE; i += sizeof(origin))
		CHECK(memcmp(page + i, &origin, sizeof(origin)) == 0);
	close(fd);
}

static void
lay_out(void)
{
	struct map	map;
	struct why	why;
	char		name[64];

	fixture_make(&f, NULL, 0, 1);
	CHECK(unlink(f.overlay) == 0 && unlink(f.map) == 0);
	copy("two-layers.map", f.map);
	copy("fresh.overlay", f.overlay);
	CHECK(map_open(&map, f.map, &why));
	CHECK(map.header->n_layers == 2 && map.header->n_segments == 7);
	CHECK(map.header->n_extents == 13 && map.header->n_bits == 131120);
	CHECK(map.header->body_crc == 0xc0e7f952);
	CHECK(chdir(f.pgdata) == 0);
	for (uint32_t i = 0; i < map.header->n_segments; i++)
	{
		int			fd = open(segment_path(&map.segments[i], name, sizeof(name)),
							  O_CREAT | O_WRONLY, 0600);

		CHECK(fd >= 0);
		CHECK(ftruncate(fd, (off_t) map.segments[i].blocks * BLOCK_SIZE) == 0);
		close(fd);
	}
}

static void
every_block_is_what_the_readme_says(void)
{
	struct shim_config config;
	struct why	why;
	const struct segment_key absent = {SPC_DEFAULT, 5, 16390, FORK_INIT, 0};

	shim_boot();
	lay_out();
	config = fixture_config(&f);
	config.layers = GOLDEN "/layers";
	CHECK(shim_open(&config, &why));
	shim_note_cwd();

	expect("base/5/1259", 0, (struct origin) {IMAGE, 0});
	expect("base/5/1259", 1, (struct origin) {DELTA, 0});
	expect("base/5/1259", 2, (struct origin) {IMAGE, 2});
	expect("base/5/1259", 3, (struct origin) {DELTA, 1});
	expect("base/5/1259", 4, (struct origin) {ZEROS, 0});
	expect("base/5/1259_fsm", 0, (struct origin) {ZEROS, 0});
	expect("base/5/2600", 0, (struct origin) {DELTA, 2});
	expect("base/5/2600", 1, (struct origin) {DELTA, 3});
	expect("base/5/16384", 0, (struct origin) {DELTA, 4});
	expect("base/5/16385", 99, (struct origin) {ZEROS, 0});
	expect("base/5/16385", 100, (struct origin) {DELTA, 5});
	expect("base/5/16385", 131071, (struct origin) {ZEROS, 0});
	expect("base/5/16385.1", 0, (struct origin) {IMAGE, 5});
	expect("base/5/16385.1", 1, (struct origin) {IMAGE, 6});
	expect("global/1262", 0, (struct origin) {IMAGE, 7});
	CHECK(map_find(&shim.map, &absent) == -1);
	fixture_remove(&f);
}

int
main(void)
{
	RUN(every_block_is_what_the_readme_says);
	return 0;
}
