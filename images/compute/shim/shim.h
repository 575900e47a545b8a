/*-------------------------------------------------------------------------
 *
 * shim.h
 *	  The shim's one global: what it was configured with, and whether at all.
 *
 * Filled in the postmaster before main() and the first fork, never changed
 * afterwards but for cwd_is_pgdata: children inherit it with everything it
 * points to.
 *
 *-------------------------------------------------------------------------
 */
#ifndef NEONSHIM_SHIM_H
#define NEONSHIM_SHIM_H

#include <sys/types.h>

#include "bits.h"
#include "key.h"
#include "map.h"
#include "overlay.h"
#include "report.h"

#define MAX_LAYERS 256

/*
 * Our descriptors go here or above if the limit allows: out of the way of
 * programs that expect low numbers, below what would make the kernel's
 * table of descriptors, which every fork copies, large.
 */
#define LOWEST_FD 900

enum shim_mode
{
	MODE_LOCAL,
	MODE_OFF,					/* no syncs; another boot discards the volume */
};

struct shim_config
{
	const char *pgdata;
	const char *map;
	const char *layers;
	const char *overlay;
	const char *marker;
	const char *mode;			/* may be NULL */
};

struct shim
{
	bool		booted;			/* real calls are resolved */
	bool		active;			/* there is a branch; else all passes through */
	bool		cwd_is_pgdata;
	enum shim_mode mode;
	dev_t		pgdata_dev;
	ino_t		pgdata_ino;
	struct roots roots;
	char		marker[PATH_MAX];
	char		control[PATH_MAX + 32]; /* pg_control by its name on disk */
	struct map	map;
	struct overlay overlay;
	struct planes planes;
	int			layer_fds[MAX_LAYERS];
};

extern struct shim shim;

/* Open a branch; false with "why" if anything at all is not as it should be. */
extern bool shim_open(const struct shim_config *config, struct why *why);

/* Resolve libc's calls and configure from the environment.  Idempotent. */
extern void shim_boot(void);

/* For interposers: other libraries' constructors may call before ours ran. */
static inline void
shim_ready(void)
{
	if (__builtin_expect(!shim.booted, 0))
		shim_boot();
}

/* Look again whether the working directory is PGDATA. */
extern void shim_note_cwd(void);

/* Classify a path as given to a *at() call. */
extern struct path_class shim_classify(int dirfd, const char *path);

#endif							/* NEONSHIM_SHIM_H */
