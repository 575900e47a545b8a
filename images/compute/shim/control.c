/*-------------------------------------------------------------------------
 *
 * control.c
 *	  pg_control: its name on disk, and what must come before it changes.
 *
 * A pg_control write moves the redo point: WAL before it is never replayed
 * again.  So every bit whose data was synced must be durable in the overlay
 * before it, whoever writes.  If that fails the write fails (Postgres PANICs)
 * and so does every later one.
 *
 * The marker.  Layout doesn't sync what it makes; a background sync and a
 * marker follow.  Until then a power cut may leave a volume that is not what
 * it says, and the volume is laid out again or rebuilt.  That is right only as
 * long as the volume's redo point is where layout put it, so writes after
 * opening (the first "in production") wait for the marker.  Start-up and
 * recovery before it don't wait: they would cost the time to the first
 * SELECT, and repeating them is what laying out again does.  The wait is
 * under upstream's ControlFileLock: checkpoints and shutdown wait with it,
 * reading and writing rows does not.
 *
 * Not handled: writes through a mapping, streams, copy_file_range; they are
 * refused in interpose_refuse.c.
 *
 *-------------------------------------------------------------------------
 */
#include "control.h"

#include <errno.h>
#include <string.h>
#include <time.h>

#include "real.h"
#include "shim.h"

/* ControlFileData.state: at byte 16 since 9.x, a 4-byte enum */
#define STATE_OFFSET 16
#define STATE_END (STATE_OFFSET + 4)
#define STATE_IN_PRODUCTION 6

#define POLL_MS 5
#define FIRST_NOTICE_MS 5000
#define LATER_NOTICE_MS 60000

const char *
control_path(void)
{
	return shim.control;
}

static bool
says_in_production(const void *head, size_t n, off_t at)
{
	uint32_t	state;

	if (at != 0 || n < STATE_END)
		return false;
	memcpy(&state, (const char *) head + STATE_OFFSET, sizeof(state));
	return state == STATE_IN_PRODUCTION;
}

static void
wait_for_marker(void)
{
	const struct timespec pause = {.tv_nsec = POLL_MS * 1000000L};
	long		waited = 0;
	long		notice = FIRST_NOTICE_MS;

	while (real.access(shim.marker, F_OK) != 0)
	{
		nanosleep(&pause, NULL);	/* a signal only makes it shorter */
		waited += POLL_MS;
		if (waited >= notice)
		{
			report("pg_control has been waiting for marker \"%s\" for %ld s",
				   shim.marker, waited / 1000);
			notice += LATER_NOTICE_MS;
		}
	}
}

bool
control_before_write(const void *head, size_t n, off_t at)
{
	int			save_errno = errno;

	if (atomic_load(&shim.planes.shared->opened))
		wait_for_marker();
	else if (says_in_production(head, n, at))
		atomic_store(&shim.planes.shared->opened, 1);

	if (!overlay_persist(&shim.overlay, &shim.planes, shim.mode != MODE_OFF))
	{
		report("could not persist overlay: %s; pg_control stays as it is", strerror(errno));
		errno = EIO;
		return false;
	}
	errno = save_errno;
	return true;
}

bool
control_before_rename(int dirfd, const char *path)
{
	char		head[STATE_END];
	ssize_t		n;
	int			fd = real.openat(dirfd, path, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return false;
	n = real.pread(fd, head, sizeof(head), 0);
	real.close(fd);
	if (n < 0)
		return false;
	return control_before_write(head, (size_t) n, 0);
}
