/*-------------------------------------------------------------------------
 *
 * shim.c
 *	  Start-up: read the configuration, open everything, or die.
 *
 * Runs in the postmaster before main().  With none of the NEON_SHIM_ variables
 * set the shim passes everything through; with any of them set, whatever is
 * missing or wrong ends the process with one line and exit code 78.  A
 * Postgres that runs on a branch without its map would read holes as empty
 * pages, so there is no half-way.
 *
 * The environment is cleaned, so programs that Postgres starts (archive and
 * restore commands, COPY TO PROGRAM) don't load the shim: they would find the
 * overlay taken and die.
 *
 *-------------------------------------------------------------------------
 */
#include "shim.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "control.h"
#include "fdtable.h"
#include "layers.h"
#include "real.h"

struct shim shim;

/* LOWEST_FD, or less where the limit on descriptors is small. */
static int
lowest_fd(uint32_t needed)
{
	struct rlimit limit;
	rlim_t		room = (rlim_t) LOWEST_FD + needed + 1;

	if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < room)
		return 3;
	return LOWEST_FD;
}

static bool
open_pgdata(const char *path, struct why *why)
{
	char		plain[PATH_MAX + sizeof("/global/" CONTROL_NAME)];
	size_t		len = strlen(path);
	struct stat st;

	while (len > 1 && path[len - 1] == '/')
		len--;
	if (path[0] != '/' || len < 2 || len >= PATH_MAX)
		return refuse(why, "NEON_SHIM_PGDATA \"%.900s\" is not an absolute path", path);
	memcpy(shim.roots.given, path, len);
	shim.roots.given[len] = '\0';
	if (realpath(path, shim.roots.resolved) == NULL ||
		real.stat(path, &st) != 0 || !S_ISDIR(st.st_mode))
		return refuse(why, "PGDATA \"%.900s\" is not a directory", path);
	shim.pgdata_dev = st.st_dev;
	shim.pgdata_ino = st.st_ino;

	snprintf(shim.control, sizeof(shim.control), "%s/global/" CONTROL_NAME_ON_DISK,
			 shim.roots.resolved);

	/* a cluster that a Postgres without us would start on */
	snprintf(plain, sizeof(plain), "%s/global/" CONTROL_NAME, shim.roots.resolved);
	if (real.access(plain, F_OK) == 0)
		return refuse(why, "PGDATA \"%.900s\" is not a branch: it has a global/pg_control",
					  path);
	return true;
}

static bool
open_mode(const char *mode, struct why *why)
{
	if (mode == NULL || strcmp(mode, "local") == 0)
		shim.mode = MODE_LOCAL;
	else if (strcmp(mode, "off") == 0)
		shim.mode = MODE_OFF;
	else
		return refuse(why, "NEON_SHIM_MODE \"%.900s\" is neither \"local\" nor \"off\"", mode);
	return true;
}

static bool
open_files(const struct shim_config *config, struct why *why)
{
	const struct map_header *h;
	int			low;

	if (!map_open(&shim.map, config->map, why))
		return false;
	h = shim.map.header;
	low = lowest_fd(h->n_layers);
	if (!overlay_open(&shim.overlay, config->overlay, h, low, why) ||
		!layers_open(&shim.map, config->layers, low, shim.layer_fds, MAX_LAYERS, why))
		return false;
	if (!fd_remember(shim.overlay.fd, FD_OURS))
		return refuse(why, "overlay's descriptor is past the table");
	for (uint32_t i = 0; i < h->n_layers; i++)
		if (!fd_remember(shim.layer_fds[i], FD_OURS))
			return refuse(why, "a layer's descriptor is past the table");
	return true;
}

bool
shim_open(const struct shim_config *config, struct why *why)
{
	if (strlen(config->marker) >= sizeof(shim.marker))
		return refuse(why, "path of the marker is too long");
	strcpy(shim.marker, config->marker);
	if (!open_mode(config->mode, why) || !open_pgdata(config->pgdata, why) ||
		!open_files(config, why))
		return false;
	if (!planes_make(&shim.planes, shim.map.header->n_bits, shim.map.header->n_segments))
		return refuse(why, "no memory for the planes of bits: %s", strerror(errno));
	planes_load(&shim.planes, shim.overlay.bits);
	atomic_store(&shim.planes.shared->persist_unsure, 1);
	shim.active = true;
	shim_note_cwd();
	return true;
}

static void
open_from_environment(void)
{
	static const char *const names[] = {
		"NEON_SHIM_PGDATA", "NEON_SHIM_MAP", "NEON_SHIM_LAYERS",
		"NEON_SHIM_OVERLAY", "NEON_SHIM_MARKER", "NEON_SHIM_MODE",
	};
	const int	n_names = sizeof(names) / sizeof(names[0]);
	const char *values[sizeof(names) / sizeof(names[0])];
	struct shim_config config;
	struct why	why;
	bool		any = false;

	for (int i = 0; i < n_names; i++)
	{
		values[i] = getenv(names[i]);
		any |= values[i] != NULL;
	}
	if (!any)
		return;
	for (int i = 0; i < n_names - 1; i++)	/* the mode has a default */
		if (values[i] == NULL || values[i][0] == '\0')
			die("%s is not set", names[i]);

	config = (struct shim_config) {values[0], values[1], values[2],
		values[3], values[4], values[5]};
	if (!shim_open(&config, &why))
		die("%s", why.text);
	for (int i = 0; i < n_names; i++)
		unsetenv(names[i]);
	unsetenv("LD_PRELOAD");
}

void
shim_boot(void)
{
	int			save_errno = errno;

	if (shim.booted)
		return;
	real_resolve();
	shim.booted = true;
	open_from_environment();
	errno = save_errno;
}

void
shim_note_cwd(void)
{
	int			save_errno = errno;
	struct stat st;

	shim.cwd_is_pgdata = shim.active && real.stat(".", &st) == 0 &&
		st.st_dev == shim.pgdata_dev && st.st_ino == shim.pgdata_ino;
	errno = save_errno;
}

/* The directory a descriptor stands for, as text. */
static bool
directory_of(int dirfd, char *out, size_t size)
{
	char		link[64];
	ssize_t		n;

	if (dirfd == AT_FDCWD)
		return getcwd(out, size) != NULL;
	snprintf(link, sizeof(link), "/proc/self/fd/%d", dirfd);
	n = readlink(link, out, size - 1);
	if (n <= 0)
		return false;
	out[n] = '\0';
	return true;
}

struct path_class
shim_classify(int dirfd, const char *path)
{
	struct path_class other = {.kind = PATH_OTHER};
	char		dir[PATH_MAX];
	int			save_errno = errno;

	if (!shim.active || path == NULL)
		return other;
	if (path[0] == '/' || (dirfd == AT_FDCWD && shim.cwd_is_pgdata))
		return classify_in(&shim.roots, shim.roots.resolved, path);
	if (directory_of(dirfd, dir, sizeof(dir)))
		other = classify_in(&shim.roots, dir, path);
	errno = save_errno;
	return other;
}
