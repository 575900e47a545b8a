/*-------------------------------------------------------------------------
 *
 * power.h
 *	  What the lives of test_power.c and the disk under them share.
 *
 *-------------------------------------------------------------------------
 */
#ifndef NEONSHIM_POWER_H
#define NEONSHIM_POWER_H

#include "check.h"
#include "fixture.h"

#define N_FILES 3
#define MAX_BLOCKS 32
#define MAX_HISTORY 1500
#define EXIT_CRASH 9

struct history
{
	uint64_t	versions[MAX_HISTORY];
	int			n;
	int			synced;			/* newest when the last ended fsync began */
	int			floor;
};

/* Shared by the lives and their judge. */
struct world
{
	struct history blocks[N_FILES][MAX_BLOCKS];
	bool		unlinked[N_FILES];	/* and not synced since */
	uint64_t	next_version;
	long		judged;			/* how many blocks were looked at */
	long		lost;			/* how many of them read as before the last write */
};

extern struct fixture f;
extern const struct segment segments[N_FILES];
extern struct world *world;
extern uint32_t seed;
extern uint32_t crash_in;		/* hooks left until a crash */

/* Add an entry to a block's history. */
extern void remember(int i, uint32_t block, uint64_t version);

/* What is on disk now is all there is: as after layout and its sync. */
extern void disk_begin(void);

/* Put a disk that remembers below the shim, and crash points around it. */
extern void disk_hook(void);

/* Die here if it is time. */
extern void crash_point(void);

/* The power fails: every file, size, flag and bit as synced or as now. */
extern void disk_lose_power(void);

#endif							/* NEONSHIM_POWER_H */
