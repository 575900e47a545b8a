/* What is damaged is refused, whichever byte or length it is; so is each way past read and write. */
#include <sys/sendfile.h>

#include "../../images/compute/shim/crc32c.h"
#include "../../images/compute/shim/layers.h"
#include "calls.h"

static off_t
size_of(const char *path)
{
	struct stat st;

	CHECK(real.stat(path, &st) == 0);
	return st.st_size;
}

/*
 * Opened and given back, for the next try: is it good?  A mapping keeps the
 * open file, and its flock.
 */
static bool
overlay_is_good(const struct map *map)
{
	struct overlay overlay = {.fd = -1};
	struct why	why;
	bool		good = overlay_open(&overlay, f.overlay, map->header, 3, &why);

	if (good)
		munmap((void *) overlay.flags, overlay.header->file_size - overlay.header->flags_offset);
	if (overlay.header != NULL)
		munmap((void *) overlay.header, (size_t) size_of(f.overlay));
	if (overlay.fd >= 0)
		real.close(overlay.fd);
	return good;
}

static struct map
good_map(void)
{
	struct map	map;
	struct why	why;

	CHECK(map_open(&map, f.map, &why));
	return map;
}

static void
each_byte_of_an_overlays_header_counts(void)
{
	struct map	map;
	uint8_t		byte;
	int			fd;

	make();
	map = good_map();
	fd = real.openat(AT_FDCWD, f.overlay, O_RDWR);
	CHECK(overlay_is_good(&map));
	for (off_t at = 0; at < (off_t) sizeof(struct overlay_header); at++)
		for (int flip = 0x01; flip <= 0x80; flip <<= 7)
		{
			CHECK(real.pread(fd, &byte, 1, at) == 1);
			byte ^= (uint8_t) flip;
			CHECK(real.pwrite(fd, &byte, 1, at) == 1);
			CHECK(!overlay_is_good(&map));
			byte ^= (uint8_t) flip;
			CHECK(real.pwrite(fd, &byte, 1, at) == 1);
		}
	CHECK(overlay_is_good(&map));
	fixture_remove(&f);
}

/* What it was, cut or extended by zeros, around each "step" of its length. */
static void
with_other_lengths(const char *path, off_t step, void (*expect_refused) (void))
{
	static uint8_t bytes[1 << 20];
	off_t		size = size_of(path);
	int			fd = real.openat(AT_FDCWD, path, O_RDWR);

	CHECK(fd >= 0 && real.pread(fd, bytes, sizeof(bytes), 0) == size);
	for (off_t at = 0; at <= size + step; at += step)
		for (off_t len = at > 0 ? at - 1 : 0; len <= at + 1; len++)
		{
			CHECK(real.pwrite(fd, bytes, (size_t) size, 0) == size);
			CHECK(real.ftruncate(fd, len) == 0);
			if (len != size)
				expect_refused();
		}
	CHECK(real.pwrite(fd, bytes, (size_t) size, 0) == size && real.ftruncate(fd, size) == 0);
	real.close(fd);
}

static struct map the_map;

static void
expect_overlay_refused(void)
{
	CHECK(!overlay_is_good(&the_map));
}

static void
an_overlay_of_another_length_is_refused(void)
{
	make();
	the_map = good_map();
	with_other_lengths(f.overlay, 512, expect_overlay_refused);
	CHECK(overlay_is_good(&the_map));
	fixture_remove(&f);
}

static void
expect_map_refused(void)
{
	struct map	map;
	struct why	why;

	CHECK(!map_open(&map, f.map, &why));
}

static void
a_map_of_another_length_is_refused(void)
{
	make();
	with_other_lengths(f.map, 32, expect_map_refused);
	fixture_remove(&f);
}

static bool
layers_are_good(void)
{
	int			fds[FIXTURE_LAYERS] = {-1, -1};
	struct why	why;
	bool		good = layers_open(&the_map, fixture_config(&f).layers, 3, fds, FIXTURE_LAYERS, &why);

	for (int i = 0; i < FIXTURE_LAYERS; i++)
		if (fds[i] >= 0)
			real.close(fds[i]);
	return good;
}

static void
expect_layers_refused(void)
{
	CHECK(!layers_are_good());
}

static void
a_layer_that_is_not_as_long_as_the_map_says_is_refused(void)
{
	char		uuid[37];
	char		path[400];

	make();
	the_map = good_map();
	CHECK(layers_are_good());
	for (int i = 0; i < FIXTURE_LAYERS; i++)
	{
		uuid_text(the_map.layers[i].id, uuid);
		snprintf(path, sizeof(path), "%s/layers/%s.pages", f.dir, uuid);
		with_other_lengths(path, BLOCK_SIZE / 2, expect_layers_refused);
		CHECK(layers_are_good());
	}
	CHECK(real.unlinkat(AT_FDCWD, path, 0) == 0 && !layers_are_good());
	CHECK(real.mkdirat(AT_FDCWD, path, 0700) == 0 && !layers_are_good());
	fixture_remove(&f);
}

/* Read through its descriptor, a layer that got shorter is an error, not zeros. */
static void
a_layer_cut_while_in_use_is_an_error(void)
{
	int			fd = begin();
	int			shortest = open("/dev/null", O_RDONLY);

	for (int i = 0; i < FIXTURE_LAYERS; i++)
		CHECK(real.dup2(shortest, shim.layer_fds[i]) >= 0);
	for (uint32_t b = 0; b < BLOCKS; b++)
		if (layer_version(&f, 0, b) == VERSION_LAYER)
		{
			CHECK(pread(fd, page, BLOCK_SIZE, (off_t) b * BLOCK_SIZE) == -1 && errno == EIO);
			CHECK(pwrite(fd, page, 10, (off_t) b * BLOCK_SIZE) == -1 && errno == EIO);
			calls++;
		}
	CHECK(calls > 0);
	fixture_remove(&f);
}

/*----------------------------------------------------------------
 * Calls
 *----------------------------------------------------------------
 */
static int	persists;

static int
counting_fdatasync(int fd)
{
	persists += fd == shim.overlay.fd;
	return 0;
}

/* A file with something that looks like pg_control, and a bit to persist. */
static void
prepare(int fd, uint32_t block, const char *aside)
{
	int			out = open(aside, O_CREAT | O_TRUNC | O_RDWR, 0600);

	put_version(fd, block, 7);
	CHECK(fsync(fd) == 0 && write(out, page, BLOCK_SIZE) == BLOCK_SIZE && close(out) == 0);
}

static void
nothing_takes_pg_controls_place_without_a_persist(void)
{
	int			fd = begin();

	real.fdatasync = counting_fdatasync;
	prepare(fd, 3, "aside");
	CHECK(link("aside", "global/pg_control") == -1 && errno == EPERM);
	CHECK(linkat(AT_FDCWD, "aside", AT_FDCWD, "global/pg_control.neon", 0) == -1 && errno == EPERM);
	CHECK(link("global/pg_control", "other") == -1 && errno == EPERM);
	CHECK(symlink("aside", "global/pg_control") == -1 && errno == EPERM);
	CHECK(symlink("global/pg_control", "other") == -1 && errno == EPERM);
	CHECK(symlinkat("../aside", open("global", O_RDONLY), "pg_control") == -1 && errno == EPERM);
	CHECK(renameat2(AT_FDCWD, "aside", AT_FDCWD, "global/pg_control", RENAME_EXCHANGE) == -1 &&
		  errno == EPERM);
	CHECK(renameat2(AT_FDCWD, "global/pg_control", AT_FDCWD, "aside", RENAME_EXCHANGE) == -1 &&
		  errno == EPERM);
	CHECK(freopen("global/pg_control", "w", fopen("/dev/null", "r")) == NULL && errno == EPERM);
	CHECK(persists == 0 && size_of("global/pg_control.neon") == BLOCK_SIZE);
	CHECK(renameat2(AT_FDCWD, "aside", AT_FDCWD, "global/pg_control", RENAME_NOREPLACE) == -1 &&
		  errno == EEXIST);
	persists = 0;
	prepare(fd, 4, "aside");
	CHECK(rename("aside", "./global//pg_control") == 0 && persists == 1);
	CHECK(shim.overlay.bits[0] & 1 << 4);
	fixture_remove(&f);
}

static void
each_way_past_read_and_write_is_refused(void)
{
	int			fd = begin();
	int			other = open("plain", O_CREAT | O_RDWR, 0600);
	int			control = open("global/pg_control", O_RDWR);
	int			ends[2];
	static const int protections[] = {PROT_READ, PROT_READ | PROT_WRITE};
	FILE	   *stream = fopen("/dev/null", "r");

	CHECK(write(other, page, BLOCK_SIZE) == BLOCK_SIZE && pipe(ends) == 0);
	CHECK(write(ends[1], page, 100) == 100);
	for (int i = 0; i < 2; i++)
	{
		CHECK(mmap(NULL, 100, protections[i], MAP_SHARED, fd, 0) == MAP_FAILED && errno == EPERM);
		CHECK(mmap(NULL, 100, protections[i], MAP_PRIVATE, fd, 0) == MAP_FAILED && errno == EPERM);
		CHECK(mmap(NULL, 100, protections[i], MAP_SHARED, control, 0) == MAP_FAILED);
	}
	CHECK(sendfile(other, fd, NULL, 10) == -1 && errno == EOPNOTSUPP);
	CHECK(sendfile(fd, other, NULL, 10) == -1 && errno == EOPNOTSUPP);
	CHECK(sendfile(control, other, NULL, 10) == -1 && errno == EOPNOTSUPP);
	CHECK(splice(fd, NULL, ends[1], NULL, 10, 0) == -1 && errno == EOPNOTSUPP);
	CHECK(splice(ends[0], NULL, fd, NULL, 10, 0) == -1 && errno == EOPNOTSUPP);
	CHECK(splice(ends[0], NULL, control, NULL, 10, 0) == -1 && errno == EOPNOTSUPP);
	CHECK(copy_file_range(fd, NULL, other, NULL, 10, 0) == -1 && errno == EOPNOTSUPP);
	CHECK(copy_file_range(other, NULL, fd, NULL, 10, 0) == -1 && errno == EOPNOTSUPP);
	CHECK(copy_file_range(other, NULL, control, NULL, 10, 0) == -1 && errno == EOPNOTSUPP);
	CHECK(freopen(PATH, "r", stream) == NULL && errno == EPERM);
	CHECK(freopen(PATH, "a", stream) == NULL && errno == EPERM);
	CHECK(fdopen(fd, "r+") == NULL && fdopen(control, "r+") == NULL && errno == EPERM);
	CHECK(preadv2(fd, &(struct iovec) {page, 10}, 1, 0, RWF_NOWAIT) == -1 && errno == EOPNOTSUPP);
	CHECK(pwritev2(fd, &(struct iovec) {page, 10}, 1, 0, RWF_APPEND) == -1 && errno == EOPNOTSUPP);
	expect_version(fd, 3, layer_version(&f, 0, 3));	/* and nothing happened */
	CHECK(!local(0) && size_of(PATH) == BLOCKS * BLOCK_SIZE);
	CHECK(size_of("global/pg_control.neon") == BLOCK_SIZE);
	fixture_remove(&f);
}

static void
no_tablespace_comes_into_being(void)
{
	int			top;
	int			spaces;

	begin();
	top = open(".", O_RDONLY);
	spaces = open("pg_tblspc", O_RDONLY);
	CHECK(mkdirat(top, "pg_tblspc/16400", 0700) == -1 && errno == EPERM);
	CHECK(mkdirat(spaces, "16400", 0700) == -1 && errno == EPERM);
	CHECK(symlinkat("/tmp", top, "pg_tblspc/16400") == -1 && errno == EPERM);
	CHECK(symlinkat("/tmp", spaces, "16400") == -1 && errno == EPERM);
	CHECK(mkdir("elsewhere", 0700) == 0 && mkdirat(top, "base/6", 0700) == 0);
	CHECK(rename("elsewhere", "pg_tblspc/16400") == -1 && errno == EPERM);
	CHECK(renameat(top, "elsewhere", spaces, "16400") == -1 && errno == EPERM);
	CHECK(rename("base/5", "elsewhere/5") == -1 && rename("base/6", "base/5") == -1 && errno == EPERM);
	CHECK(access("pg_tblspc/16400", F_OK) == -1 && errno == ENOENT);
	fixture_remove(&f);
}

int
main(void)
{
	RUN(each_byte_of_an_overlays_header_counts);
	RUN(an_overlay_of_another_length_is_refused);
	RUN(a_map_of_another_length_is_refused);
	RUN(a_layer_that_is_not_as_long_as_the_map_says_is_refused);
	RUN(a_layer_cut_while_in_use_is_an_error);
	RUN(nothing_takes_pg_controls_place_without_a_persist);
	RUN(each_way_past_read_and_write_is_refused);
	RUN(no_tablespace_comes_into_being);
	return 0;
}
