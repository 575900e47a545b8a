/*-------------------------------------------------------------------------
 *
 * fdtable.c
 *	  The table of descriptors: per process, copied by fork like the
 *	  descriptors themselves.
 *
 * A flat array without locks: entries change in open, close and dup only,
 * and Postgres's processes have one thread that does these.  Its pages are
 * zero until used, so its size costs nothing.
 *
 * Not handled: descriptors closed behind libc's back (raw system calls,
 * fclose of a stream; streams on our files are refused).  vfork is turned
 * into fork by interpose_fd.c, since a vfork child's close() would change
 * its parent's table.
 *
 *-------------------------------------------------------------------------
 */
#include "fdtable.h"

int32_t		fd_table[FD_TABLE_SIZE];

bool
fd_remember(int fd, int32_t entry)
{
	if ((unsigned) fd >= FD_TABLE_SIZE)
		return entry == FD_OTHER;
	if (fd_table[fd] != entry)	/* don't dirty the page for nothing */
		fd_table[fd] = entry;
	return true;
}

void
fd_forget(int fd)
{
	fd_remember(fd, FD_OTHER);
}
