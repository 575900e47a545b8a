/*-------------------------------------------------------------------------
 *
 * interpose.h
 *	  How a function of ours takes the place of libc's.
 *
 * Interposers are thin: look up what the descriptor or the path is, then
 * either `real.<call>` or a function of ours.
 *
 *-------------------------------------------------------------------------
 */
#ifndef NEONSHIM_INTERPOSE_H
#define NEONSHIM_INTERPOSE_H

#include "control.h"
#include "fdtable.h"
#include "io.h"
#include "real.h"
#include "segment.h"
#include "shim.h"

#define EXPORT __attribute__((visibility("default")))

/* A second name of the same function: LP64's 64 variants. */
#define ALIAS(name, target) \
	EXPORT extern __typeof__(target) name __attribute__((alias(#target)))

#define LIKELY(x) __builtin_expect(!!(x), 1)

/* The entry of a descriptor, whenever we are called. */
static inline int32_t
entry_of(int fd)
{
	shim_ready();
	return fd_entry(fd);
}

/* The path's segment in the map, or -1. */
static inline int32_t
mapped_segment(int dirfd, const char *path)
{
	struct path_class c = shim_classify(dirfd, path);

	return segment_of(&c);
}

/*
 * pg_control's name on disk if the path means pg_control, else the path.
 * The result is absolute in the first case, so dirfd doesn't matter.
 */
extern const char *redirected(int dirfd, const char *path);

/* report() why something is refused, set errno, return -1. */
extern int	refuse_path(int error, const char *what, const char *path);
extern int	refuse_fd(int error, const char *what, int fd);

#endif							/* NEONSHIM_INTERPOSE_H */
