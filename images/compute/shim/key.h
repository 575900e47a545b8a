/*-------------------------------------------------------------------------
 *
 * key.h
 *	  From a path to what it means to the shim.
 *
 *-------------------------------------------------------------------------
 */
#ifndef NEONSHIM_KEY_H
#define NEONSHIM_KEY_H

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>

enum path_kind
{
	PATH_OTHER,					/* none of our business */
	PATH_RELATION,				/* looks like a relation segment */
	PATH_CONTROL,				/* global/pg_control, under either name */
	PATH_HOLDER,				/* PGDATA, base, base/<db>, global: holds segments */
	PATH_TABLESPACE,			/* something below pg_tblspc/ */
};

struct segment_key
{
	uint32_t	spc;
	uint32_t	db;
	uint32_t	rel;
	uint32_t	fork;
	uint32_t	seg;
};

struct path_class
{
	enum path_kind kind;
	struct segment_key key;		/* for PATH_RELATION */
};

/* Names of PGDATA: as configured, and with symbolic links resolved. */
struct roots
{
	char		given[PATH_MAX];
	char		resolved[PATH_MAX];
};

/*
 * Classify a path, relative ones to "dir", which is absolute.  "." and ".." and
 * double slashes are folded as text; symbolic links inside PGDATA are not
 * followed (see key.c).
 */
extern struct path_class classify_in(const struct roots *roots, const char *dir,
									 const char *path);

/* Classify a normalised path below PGDATA ("" is PGDATA itself). */
extern struct path_class classify_below(const char *path);

/* -1, 0 or 1 by (spc, db, rel, fork, seg). */
extern int	compare_keys(const struct segment_key *a, const struct segment_key *b);

#endif							/* NEONSHIM_KEY_H */
