/* See calls.h. */
#include "calls.h"

static const struct segment segments[] = {
	{1663, 5, 100, 0, 0, BLOCKS, 0, 0, 0},
	{1663, 5, 200, 0, 0, 0, 0, 0, 0},
	{1664, 0, 300, 0, 0, 9, 0, 0, 0},
};

struct fixture f;
uint8_t		page[BLOCK_SIZE];
int			calls;

void
make(void)
{
	shim_boot();
	fixture_make(&f, segments, 3, 11);
}

int
begin(void)
{
	int			fd;

	make();
	fixture_open(&f);
	fd = open(PATH, O_RDWR);
	CHECK(fd >= 0);
	return fd;
}

void
expect_version(int fd, uint32_t block, uint64_t version)
{
	CHECK(pread(fd, page, BLOCK_SIZE, (off_t) block * BLOCK_SIZE) == BLOCK_SIZE);
	CHECK(page_version(page, 0, block) == version);
}

void
put_version(int fd, uint32_t block, uint64_t version)
{
	page_fill(page, 0, block, version);
	CHECK(pwrite(fd, page, BLOCK_SIZE, (off_t) block * BLOCK_SIZE) == BLOCK_SIZE);
}

bool
local(uint32_t block)
{
	return block_is_local(segment_at(0), block);
}
