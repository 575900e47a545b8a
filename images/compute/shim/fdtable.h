/*-------------------------------------------------------------------------
 *
 * fdtable.h
 *	  What each descriptor of this process is to the shim.
 *
 *-------------------------------------------------------------------------
 */
#ifndef NEONSHIM_FDTABLE_H
#define NEONSHIM_FDTABLE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#define FD_TABLE_SIZE 65536

/* Values of an entry; one above zero is the index of a segment plus one. */
#define FD_OTHER 0
#define FD_CONTROL (-1)			/* pg_control: see control.c */
#define FD_OURS (-2)			/* overlay or layer: nobody else may close it */

extern _Atomic int32_t fd_table[FD_TABLE_SIZE];

static inline int32_t
fd_entry(int fd)
{
	return (unsigned) fd < FD_TABLE_SIZE
		? atomic_load_explicit(&fd_table[fd], memory_order_relaxed) : FD_OTHER;
}

/*
 * Remember what "fd" is.  False if it is past the table and would have to be
 * remembered: the caller then closes it and fails with EMFILE.
 */
extern bool fd_remember(int fd, int32_t entry);

/* Forget; call before the real close, else another thread may get the number. */
extern void fd_forget(int fd);

#endif							/* NEONSHIM_FDTABLE_H */
