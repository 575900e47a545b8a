/*-------------------------------------------------------------------------
 *
 * fdtable.c
 *	  The table of descriptors: per process, copied by fork like the
 *	  descriptors themselves.
 *
 * A flat array without locks: an entry changes in open, close and dup only,
 * by the one thread to which the kernel gave the number; threads meet where a
 * number is used again.  An entry stands for itself, so there is no order to
 * keep.  Its pages are zero until used, so its size costs nothing.
 *
 * Not handled: descriptors closed behind libc's back (raw system calls,
 * fclose of a stream; streams on our files are refused).  vfork is turned
 * into fork by interpose_fd.c, since a vfork child's close() would change
 * its parent's table.
 *
 *-------------------------------------------------------------------------
 */
#include "fdtable.h"

_Atomic int32_t fd_table[FD_TABLE_SIZE];

bool
fd_remember(int fd, int32_t entry)
{
	if ((unsigned) fd >= FD_TABLE_SIZE)
		return entry == FD_OTHER;
	if (fd_entry(fd) != entry)	/* don't dirty the page for nothing */
		atomic_store_explicit(&fd_table[fd], entry, memory_order_relaxed);
	return true;
}

void
fd_forget(int fd)
{
	fd_remember(fd, FD_OTHER);
}
