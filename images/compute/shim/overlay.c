/*-------------------------------------------------------------------------
 *
 * overlay.c
 *	  The overlay file: open, validate, own, lock, persist.
 *
 * Two kinds of locks live on its one descriptor.  flock() belongs to the
 * open file, which all children inherit: it keeps a second postmaster out as
 * long as any process of the first one lives.  fcntl() locks belong to a
 * process and vanish when it dies, so a backend killed while persisting
 * blocks nobody; the price is that closing *any* descriptor of the overlay
 * would drop them, hence one descriptor that is never closed (fdtable.c
 * refuses to).
 *
 * Crash argument for overlay_persist: bits only go up and each has durable
 * data behind it before we come here, so an early, partial or torn persist
 * says nothing untrue.  What must not happen is to report success while a
 * page of the overlay is only in the page cache, because the pg_control
 * written next moves the redo point past the WAL that would repeat the
 * write.  So:
 *	- "persist_unsure" is raised before the first write and lowered after the
 *	  sync: if a process dies in between, the next one finds no difference
 *	  between plane and file, but still rewrites and syncs.
 *	- It starts raised: the postmaster before us may have died there, or its
 *	  fdatasync may have failed and left clean-looking pages that never
 *	  reached the disk.  Rewriting makes them dirty again.
 *	- After a failure nothing is retried: what the kernel did with the pages
 *	  is unknown (as in data_sync_retry = off upstream).
 *
 * Not handled: overlays changed by anyone else while we hold the flock.
 *
 *-------------------------------------------------------------------------
 */
#include "overlay.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <string.h>
#include <sys/file.h>

#include "crc32c.h"
#include "real.h"

static uint64_t
round_up(uint64_t n)
{
	return (n + OVERLAY_PAGE - 1) / OVERLAY_PAGE * OVERLAY_PAGE;
}

static bool
check_header(const struct overlay_header *h, const struct map_header *map,
			 uint64_t file_size, struct why *why)
{
	if (memcmp(h->magic, OVERLAY_MAGIC, 8) != 0)
		return refuse(why, "not an overlay (bad magic)");
	if (h->version != OVERLAY_VERSION || h->header_size != sizeof(*h))
		return refuse(why, "version %u is not %u", h->version, OVERLAY_VERSION);
	if (crc32c(h, offsetof(struct overlay_header, header_crc)) != h->header_crc)
		return refuse(why, "header checksum mismatch");
	if (memcmp(h->tip_layer, map->tip_layer, 16) != 0 ||
		h->map_body_crc != map->body_crc ||
		h->n_segments != map->n_segments || h->n_bits != map->n_bits)
		return refuse(why, "belongs to another map");
	if (h->bits_offset != sizeof(*h) ||
		h->flags_offset != sizeof(*h) + round_up((h->n_bits + 7) / 8) ||
		h->file_size != h->flags_offset + round_up(h->n_segments))
		return refuse(why, "parts don't fill the file");
	if (h->file_size != file_size)
		return refuse(why, "file has %" PRIu64 " bytes, header says %" PRIu64,
					  file_size, h->file_size);
	return true;
}

/*
 * The flags are written through the mapping, where a full disk would be a
 * SIGBUS: have their blocks allocated now.
 */
static bool
map_parts(struct overlay *overlay, struct why *why)
{
	const struct overlay_header *h = overlay->header;
	size_t		flags_bytes = h->file_size - h->flags_offset;
	int			error;

	overlay->bits = (const uint8_t *) h + h->bits_offset;
	overlay->bits_bytes = h->flags_offset - h->bits_offset;
	overlay->flags = NULL;
	if (flags_bytes == 0)
		return true;
	error = real.posix_fallocate(overlay->fd, (off_t) h->flags_offset, (off_t) flags_bytes);
	if (error != 0)
		return refuse(why, "could not allocate flags: %s", strerror(error));
	overlay->flags = real.mmap(NULL, flags_bytes, PROT_READ | PROT_WRITE, MAP_SHARED,
							   overlay->fd, (off_t) h->flags_offset);
	if (overlay->flags == MAP_FAILED)
		return refuse(why, "could not map flags: %s", strerror(errno));
	return true;
}

static bool
open_and_own(struct overlay *overlay, const char *path, int lowest_fd, struct why *why)
{
	int			fd = real.openat(AT_FDCWD, path, O_RDWR | O_CLOEXEC);

	if (fd < 0)
		return refuse(why, "could not open overlay \"%s\": %s", path, strerror(errno));
	overlay->fd = real.fcntl(fd, F_DUPFD_CLOEXEC, lowest_fd);
	real.close(fd);
	if (overlay->fd < 0)
		return refuse(why, "no descriptor for overlay \"%s\": %s", path, strerror(errno));
	if (flock(overlay->fd, LOCK_EX | LOCK_NB) == 0)
		return true;
	if (errno == EWOULDBLOCK)
		return refuse(why, "overlay \"%s\" is in use by another postmaster", path);
	return refuse(why, "could not lock overlay \"%s\": %s", path, strerror(errno));
}

bool
overlay_open(struct overlay *overlay, const char *path, const struct map_header *map,
			 int lowest_fd, struct why *why)
{
	struct why	inner;
	struct stat st;
	void	   *bytes;

	if (!open_and_own(overlay, path, lowest_fd, why))
		return false;
	if (fstat(overlay->fd, &st) != 0 || st.st_size < (off_t) sizeof(struct overlay_header))
		return refuse(why, "overlay \"%s\" is too short", path);
	bytes = real.mmap(NULL, (size_t) st.st_size, PROT_READ, MAP_SHARED, overlay->fd, 0);
	if (bytes == MAP_FAILED)
		return refuse(why, "could not map overlay \"%s\": %s", path, strerror(errno));
	overlay->header = bytes;
	if (!check_header(overlay->header, map, (uint64_t) st.st_size, &inner) ||
		!map_parts(overlay, &inner))
		return refuse(why, "overlay \"%s\": %s", path, inner.text);
	return true;
}

/* Locked bytes are names, nothing is stored in them: far past the file's end. */
static bool
change_lock(const struct overlay *overlay, enum overlay_lock which, short type)
{
	struct flock lock = {
		.l_type = type,
		.l_whence = SEEK_SET,
		.l_start = (off_t) 1 << 60 | which,
		.l_len = 1,
	};
	int			r;

	do
		r = real.fcntl(overlay->fd, F_SETLKW, &lock);
	while (r != 0 && errno == EINTR);
	return r == 0;
}

/*
 * The kernel gives a process what one of its threads has locked already, and
 * takes it back for all of them: threads must come one at a time.  They are
 * rare, so are these locks, and nobody forks while another thread holds one.
 */
static pthread_mutex_t threads[] = {
	[OVERLAY_LOCK_PERSIST] = PTHREAD_MUTEX_INITIALIZER,
	[OVERLAY_LOCK_COPY] = PTHREAD_MUTEX_INITIALIZER,
};

bool
overlay_lock(const struct overlay *overlay, enum overlay_lock which)
{
	int			save_errno;

	pthread_mutex_lock(&threads[which]);
	if (change_lock(overlay, which, F_WRLCK))
		return true;
	save_errno = errno;
	pthread_mutex_unlock(&threads[which]);
	errno = save_errno;
	return false;
}

void
overlay_unlock(const struct overlay *overlay, enum overlay_lock which)
{
	int			save_errno = errno;

	change_lock(overlay, which, F_UNLCK);
	pthread_mutex_unlock(&threads[which]);
	errno = save_errno;
}

/*
 * What a page of the file should be; true if it is worth writing.  Eight bytes
 * at a time: a standby writes pg_control often, and the plane of a terabyte
 * has 16 MiB.  Both pages are page-aligned; the file is read as it is mapped,
 * nobody but the holder of the lock writes it.
 */
static bool
merge_page(const uint8_t *file, const _Atomic uint8_t *synced, bool unsure, uint64_t *out)
{
	const uint64_t *old = (const uint64_t *) file;
	const _Atomic uint64_t *set = (const _Atomic uint64_t *) synced;
	uint64_t	news = 0;
	uint64_t	any = 0;

	for (size_t i = 0; i < OVERLAY_PAGE / sizeof(uint64_t); i++)
	{
		out[i] = old[i] | atomic_load_explicit(&set[i], memory_order_acquire);
		news |= out[i] ^ old[i];
		any |= out[i];
	}
	return news != 0 || (unsure && any != 0);
}

static bool
write_page(const struct overlay *overlay, size_t at, const void *page)
{
	size_t		done = 0;

	while (done < OVERLAY_PAGE)
	{
		ssize_t		n = real.pwrite(overlay->fd, (const uint8_t *) page + done, OVERLAY_PAGE - done,
									(off_t) (overlay->header->bits_offset + at + done));

		if (n > 0)
			done += (size_t) n;
		else if (n == 0)
		{
			errno = ENOSPC;
			return false;
		}
		else if (errno != EINTR)
			return false;
	}
	return true;
}

static bool
persist_locked(const struct overlay *overlay, const struct planes *planes, bool durable)
{
	struct shared_state *shared = planes->shared;
	bool		unsure = atomic_load(&shared->persist_unsure) != 0;
	bool		wrote = unsure;
	uint64_t	page[OVERLAY_PAGE / sizeof(uint64_t)];

	for (size_t at = 0; at < overlay->bits_bytes; at += OVERLAY_PAGE)
	{
		if (!merge_page(overlay->bits + at, planes->synced + at, unsure, page))
			continue;
		wrote = true;
		atomic_store(&shared->persist_unsure, 1);
		if (!write_page(overlay, at, page))
			return false;
	}
	if (wrote && durable && real.fdatasync(overlay->fd) != 0)
		return false;
	atomic_store(&shared->persist_unsure, 0);
	return true;
}

/*
 * Syncs of the overlay come one at a time, and one that failed is the last:
 * all processes share one open file, which reports an error of the disk to
 * only one of them.
 */
static bool
sync_once(const struct overlay *overlay, const struct planes *planes, bool durable,
		  bool (*sync) (const struct overlay *, const struct planes *, bool))
{
	struct shared_state *shared = planes->shared;
	bool		ok;

	if (!overlay_lock(overlay, OVERLAY_LOCK_PERSIST))
		return false;
	if (atomic_load(&shared->persist_failed))
	{
		errno = EIO;
		ok = false;
	}
	else
	{
		ok = sync(overlay, planes, durable);
		if (!ok)
			atomic_store(&shared->persist_failed, 1);
	}
	overlay_unlock(overlay, OVERLAY_LOCK_PERSIST);
	return ok;
}

bool
overlay_persist(const struct overlay *overlay, const struct planes *planes, bool durable)
{
	return sync_once(overlay, planes, durable, persist_locked);
}

static bool
sync_locked(const struct overlay *overlay, const struct planes *planes, bool durable)
{
	(void) planes;
	return !durable || real.fdatasync(overlay->fd) == 0;
}

bool
overlay_sync(const struct overlay *overlay, const struct planes *planes, bool durable)
{
	return sync_once(overlay, planes, durable, sync_locked);
}
