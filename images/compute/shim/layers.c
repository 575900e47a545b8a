/*-------------------------------------------------------------------------
 *
 * layers.c
 *	  Open the layers once, in the postmaster.
 *
 * Layers never change and are never written, so the size is all there is to
 * check here; page contents carry Postgres's own checksums.  A layer that
 * garbage collection unlinks later stays readable through our descriptor.
 *
 *-------------------------------------------------------------------------
 */
#include "layers.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "real.h"

void
uuid_text(const uint8_t *id, char *out)
{
	static const char digits[] = "0123456789abcdef";

	for (int i = 0; i < 16; i++)
	{
		if (i == 4 || i == 6 || i == 8 || i == 10)
			*out++ = '-';
		*out++ = digits[id[i] >> 4];
		*out++ = digits[id[i] & 15];
	}
	*out = '\0';
}

static bool
open_layer(const struct map_layer *layer, const char *folder, int lowest_fd,
		   int *fd, struct why *why)
{
	char		path[PATH_MAX];
	char		name[37];
	struct stat st;
	int			low;

	uuid_text(layer->id, name);
	if (snprintf(path, sizeof(path), "%s/%s.pages", folder, name) >= (int) sizeof(path))
		return refuse(why, "path of the layers is too long");
	low = real.openat(AT_FDCWD, path, O_RDONLY | O_CLOEXEC);
	if (low < 0)
		return refuse(why, "could not open layer \"%.900s\": %s", path, strerror(errno));
	*fd = real.fcntl(low, F_DUPFD_CLOEXEC, lowest_fd);
	real.close(low);
	if (*fd < 0)
		return refuse(why, "no descriptor for layer \"%.900s\": %s", path, strerror(errno));
	if (fstat(*fd, &st) != 0 || !S_ISREG(st.st_mode) ||
		(uint64_t) st.st_size != layer->pages * BLOCK_SIZE)
		return refuse(why, "layer \"%.900s\" has %" PRId64 " bytes, the map says %" PRIu64,
					  path, (int64_t) st.st_size, layer->pages * BLOCK_SIZE);
	return true;
}

bool
layers_open(const struct map *map, const char *folder, int lowest_fd,
			int *fds, uint32_t room, struct why *why)
{
	if (map->header->n_layers > room)
		return refuse(why, "map has %u layers, more than %u", map->header->n_layers, room);
	for (uint32_t i = 0; i < map->header->n_layers; i++)
		if (!open_layer(&map->layers[i], folder, lowest_fd, &fds[i], why))
			return false;
	return true;
}
