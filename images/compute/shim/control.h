/*-------------------------------------------------------------------------
 *
 * control.h
 *	  pg_control: its name on disk, and what must come before it changes.
 *
 *-------------------------------------------------------------------------
 */
#ifndef NEONSHIM_CONTROL_H
#define NEONSHIM_CONTROL_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#define CONTROL_NAME "pg_control"
#define CONTROL_NAME_ON_DISK "pg_control.neon"

/* Absolute path of the file on disk. */
extern const char *control_path(void);

/*
 * To be called before "n" bytes from "head" are written to pg_control at
 * "at".  Waits for the marker if need be and persists the synced bits.  False
 * with errno set: the write must not happen.
 */
extern bool control_before_write(const void *head, size_t n, off_t at);

/* The same for a file that is about to be renamed over pg_control. */
extern bool control_before_rename(int dirfd, const char *path);

#endif							/* NEONSHIM_CONTROL_H */
