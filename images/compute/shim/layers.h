/*-------------------------------------------------------------------------
 *
 * layers.h
 *	  The layer files that a map refers to.
 *
 *-------------------------------------------------------------------------
 */
#ifndef NEONSHIM_LAYERS_H
#define NEONSHIM_LAYERS_H

#include "map.h"

/*
 * Open <folder>/<uuid>.pages of each of the map's layers read-only, check
 * its size, and put descriptors numbered lowest_fd or above into "fds", which
 * has room for "room".
 */
extern bool layers_open(const struct map *map, const char *folder, int lowest_fd,
						int *fds, uint32_t room, struct why *why);

/* "xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx" and a zero byte: 37 bytes. */
extern void uuid_text(const uint8_t *id, char *out);

#endif							/* NEONSHIM_LAYERS_H */
