/*-------------------------------------------------------------------------
 *
 * fixture.c
 *	  Makes branches to test on.  See fixture.h and FORMATS in format.h.
 *
 *-------------------------------------------------------------------------
 */
#include "fixture.h"

#include <ftw.h>
#include <sys/wait.h>

#include "../../images/compute/shim/crc32c.h"
#include "../../images/compute/shim/layers.h"
#include "../../images/compute/shim/real.h"
#include "check.h"

#define JOIN(out, ...) CHECK(snprintf(out, sizeof(out), __VA_ARGS__) < (int) sizeof(out))

void
run_forked(const char *name, void (*test) (void))
{
	int			status;
	pid_t		child;

	fflush(NULL);
	child = fork();
	CHECK(child >= 0);
	if (child == 0)
	{
		test();
		exit(0);
	}
	CHECK(waitpid(child, &status, 0) == child);
	if (status != 0)
	{
		fprintf(stderr, "FAILED %s (status %#x)\n", name, status);
		exit(1);
	}
	printf("ok %s\n", name);
}

uint32_t
draw(uint32_t *state, uint32_t below)
{
	*state ^= *state << 13;
	*state ^= *state >> 17;
	*state ^= *state << 5;
	return below ? *state % below : 0;
}

void
page_fill(uint8_t *page, uint32_t segment, uint32_t block, uint64_t version)
{
	uint64_t	word = version * 0x9E3779B97F4A7C15u ^ ((uint64_t) segment << 32 | block);

	memset(page, 0, BLOCK_SIZE);
	if (version == VERSION_ZERO)
		return;
	for (size_t i = 1; i < BLOCK_SIZE / 8; i++)
		memcpy(page + 8 * i, &(uint64_t) {word + i}, 8);
	memcpy(page, &version, 8);
}

uint64_t
page_version(const uint8_t *page, uint32_t segment, uint32_t block)
{
	uint8_t		expected[BLOCK_SIZE];
	uint64_t	version;

	memcpy(&version, page, 8);
	page_fill(expected, segment, block, version);
	return memcmp(page, expected, BLOCK_SIZE) == 0 ? version : UINT64_MAX;
}

uint64_t
layer_version(const struct fixture *f, uint32_t segment, uint32_t block)
{
	const struct segment *s = &f->parts.segments[segment];

	for (uint32_t i = 0; i < s->n_extents; i++)
	{
		const struct extent *x = &f->parts.extents[s->first_extent + i];

		if (block >= x->block && block - x->block < x->count)
			return x->layer == ZERO_EXTENT ? VERSION_ZERO : VERSION_LAYER;
	}
	return VERSION_ZERO;
}

size_t
map_finish(struct map_parts *p, void *out, size_t room)
{
	struct map_header *h = &p->header;
	uint8_t    *to = out;

	memcpy(h->magic, MAP_MAGIC, 8);
	h->version = MAP_VERSION;
	h->header_size = sizeof(*h);
	h->block_size = BLOCK_SIZE;
	h->layers_offset = sizeof(*h);
	h->segments_offset = h->layers_offset + h->n_layers * sizeof(p->layers[0]);
	h->extents_offset = h->segments_offset + h->n_segments * sizeof(p->segments[0]);
	h->file_size = h->extents_offset + h->n_extents * sizeof(p->extents[0]);
	CHECK(h->file_size <= room);
	memcpy(to + h->layers_offset, p->layers, h->n_layers * sizeof(p->layers[0]));
	memcpy(to + h->segments_offset, p->segments, h->n_segments * sizeof(p->segments[0]));
	memcpy(to + h->extents_offset, p->extents, h->n_extents * sizeof(p->extents[0]));
	h->body_crc = crc32c(to + sizeof(*h), h->file_size - sizeof(*h));
	h->header_crc = crc32c(h, offsetof(struct map_header, header_crc));
	memcpy(to, h, sizeof(*h));
	return h->file_size;
}

static void
write_file(const char *path, const void *bytes, size_t len, off_t size)
{
	int			fd = real.openat(AT_FDCWD, path, O_CREAT | O_TRUNC | O_WRONLY, 0600);

	CHECK(fd >= 0);
	CHECK(real.write(fd, bytes, len) == (ssize_t) len);
	CHECK(real.ftruncate(fd, size) == 0);
	real.close(fd);
}

const char *
segment_path(const struct segment *s, char *out, size_t size)
{
	static const char *const forks[] = {"", "_fsm", "_vm", "_init"};
	char		dir[32] = "global";
	char		tail[16] = "";

	if (s->spc == SPC_DEFAULT)
		snprintf(dir, sizeof(dir), "base/%u", s->db);
	if (s->seg > 0)
		snprintf(tail, sizeof(tail), ".%u", s->seg);
	CHECK(snprintf(out, size, "%s/%u%s%s", dir, s->rel, forks[s->fork], tail) < (int) size);
	return out;
}

/* Cut a segment into random extents; pages go to the end of their layers. */
static void
draw_extents(struct map_parts *p, uint32_t index, int *layer_fds, uint32_t *seed)
{
	struct segment *s = &p->segments[index];
	uint8_t		page[BLOCK_SIZE];

	s->first_extent = (uint32_t) p->header.n_extents;
	for (uint32_t block = 0; block < s->blocks;)
	{
		struct extent *x = &p->extents[p->header.n_extents++];
		uint32_t	where = draw(seed, FIXTURE_LAYERS + 1);

		CHECK(p->header.n_extents <= FIXTURE_EXTENTS);
		x->block = block;
		x->count = 1 + draw(seed, 8);
		if (x->count > s->blocks - block)
			x->count = s->blocks - block;
		x->layer = where == FIXTURE_LAYERS ? ZERO_EXTENT : where;
		x->page = where == FIXTURE_LAYERS ? 0 : (uint32_t) p->layers[where].pages;
		for (uint32_t i = 0; where < FIXTURE_LAYERS && i < x->count; i++)
		{
			page_fill(page, index, block + i, VERSION_LAYER);
			CHECK(real.pwrite(layer_fds[where], page, BLOCK_SIZE,
							  (off_t) p->layers[where].pages * BLOCK_SIZE) == BLOCK_SIZE);
			p->layers[where].pages++;
		}
		block += x->count;
		s->n_extents++;
	}
}

void
fixture_lay_out(const struct fixture *f)
{
	const struct map_header *h = &f->parts.header;
	struct overlay_header o = {.version = OVERLAY_VERSION, .header_size = sizeof(o)};
	uint8_t		control[BLOCK_SIZE] = {0};
	char		path[512];
	char		name[64];

	memcpy(o.magic, OVERLAY_MAGIC, 8);
	memcpy(o.tip_layer, h->tip_layer, 16);
	o.map_body_crc = h->body_crc;
	o.n_segments = h->n_segments;
	o.n_bits = h->n_bits;
	o.bits_offset = sizeof(o);
	o.flags_offset = o.bits_offset + ((h->n_bits + 7) / 8 + 4095) / 4096 * 4096;
	o.file_size = o.flags_offset + (h->n_segments + 4095) / 4096 * 4096;
	o.header_crc = crc32c(&o, offsetof(struct overlay_header, header_crc));
	write_file(f->overlay, &o, sizeof(o), (off_t) o.file_size);

	for (uint32_t i = 0; i < h->n_segments; i++)
	{
		JOIN(path, "%s/%s", f->pgdata,
			 segment_path(&f->parts.segments[i], name, sizeof(name)));
		real.unlinkat(AT_FDCWD, path, 0);
		write_file(path, "", 0, (off_t) f->parts.segments[i].blocks * BLOCK_SIZE);
	}
	JOIN(path, "%s/global/pg_control.neon", f->pgdata);
	write_file(path, control, sizeof(control), sizeof(control));
	write_file(f->marker, "boot\n", 5, 5);
}

void
fixture_make(struct fixture *f, const struct segment *segments, int n, unsigned seed)
{
	static const char *const dirs[] = {"layers", "data", "data/base", "data/global",
	"data/pg_tblspc", "data/base/5"};
	struct map_parts *p = &f->parts;
	const char *tmp = getenv("TMPDIR");
	int			layer_fds[FIXTURE_LAYERS];
	uint32_t	random = seed * 2654435761u + 1;
	static uint8_t bytes[sizeof(struct map_parts)];
	char		path[512];
	size_t		len;

	real_resolve();
	memset(f, 0, sizeof(*f));
	JOIN(f->dir, "%s/neonshim-XXXXXX", tmp ? tmp : "/tmp");
	CHECK(mkdtemp(f->dir) != NULL);
	for (size_t i = 0; i < sizeof(dirs) / sizeof(dirs[0]); i++)
	{
		JOIN(path, "%s/%s", f->dir, dirs[i]);
		CHECK(real.mkdirat(AT_FDCWD, path, 0700) == 0);
	}
	JOIN(f->pgdata, "%s/data", f->dir);
	JOIN(f->map, "%s/tip.map", f->dir);
	JOIN(f->overlay, "%s/overlay", f->dir);
	JOIN(f->marker, "%s/marker", f->dir);

	p->header.n_layers = FIXTURE_LAYERS;
	for (uint32_t i = 0; i < FIXTURE_LAYERS; i++)
	{
		char		uuid[37];

		memset(p->layers[i].id, (int) (0xa0 + i), 16);
		uuid_text(p->layers[i].id, uuid);
		JOIN(path, "%s/layers/%s.pages", f->dir, uuid);
		layer_fds[i] = real.openat(AT_FDCWD, path, O_CREAT | O_RDWR, 0600);
		CHECK(layer_fds[i] >= 0);
	}
	memcpy(p->header.tip_layer, p->layers[FIXTURE_LAYERS - 1].id, 16);

	CHECK(n <= FIXTURE_SEGMENTS);
	p->header.n_segments = (uint32_t) n;
	for (uint32_t i = 0; i < (uint32_t) n; i++)
	{
		p->segments[i] = segments[i];
		p->segments[i].first_bit = p->header.n_bits;
		draw_extents(p, i, layer_fds, &random);
		p->header.n_bits += (segments[i].blocks + 7) / 8 * 8;
	}
	for (int i = 0; i < FIXTURE_LAYERS; i++)
		real.close(layer_fds[i]);
	len = map_finish(p, bytes, sizeof(bytes));
	write_file(f->map, bytes, len, (off_t) len);
	fixture_lay_out(f);
}

struct shim_config
fixture_config(const struct fixture *f)
{
	static char layers[300];

	JOIN(layers, "%s/layers", f->dir);
	return (struct shim_config) {f->pgdata, f->map, layers, f->overlay, f->marker, NULL};
}

#ifndef UNDER_PRELOAD			/* there the library opens itself */
void
fixture_open(const struct fixture *f)
{
	struct shim_config config = fixture_config(f);
	struct why	why;

	shim_boot();
	if (!shim_open(&config, &why))
	{
		fprintf(stderr, "%s\n", why.text);
		CHECK(!"refused");
	}
	CHECK(chdir(f->pgdata) == 0);
}
#endif

static int
remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void) st;
	(void) ftw;
	return real.unlinkat(AT_FDCWD, path, type == FTW_DP ? AT_REMOVEDIR : 0);
}

void
fixture_remove(const struct fixture *f)
{
	nftw(f->dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

ssize_t
write_control(uint32_t state)
{
	uint8_t		page[BLOCK_SIZE] = {0};
	int			fd = open("global/pg_control", O_RDWR);
	ssize_t		n;
	int			save_errno;

	CHECK(fd >= 0);
	memcpy(page + 16, &state, 4);
	n = write(fd, page, sizeof(page));
	save_errno = errno;
	CHECK(close(fd) == 0);
	errno = save_errno;
	return n;
}
