/*-------------------------------------------------------------------------
 *
 * check.h
 *	  The tests' only harness: a check that dies with its place, and a name
 *	  for each test.
 *
 * Test programs link all of the shim, interposers included: once shim_open()
 * was called (fixture_open), the plain open(), pread() ... of a test are the
 * shim's.  `real` holds the ones below, and tests replace its members to make
 * a disk fail.
 *
 *-------------------------------------------------------------------------
 */
#ifndef NEONSHIM_CHECK_H
#define NEONSHIM_CHECK_H

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CHECK(condition) \
	do { \
		if (!(condition)) \
		{ \
			fprintf(stderr, "%s:%d: %s: CHECK(%s) failed, errno %d\n", \
					__FILE__, __LINE__, __func__, #condition, errno); \
			abort(); \
		} \
	} while (0)

/* Run one test in a process of its own: the shim opens once a process. */
#define RUN(test) run_forked(#test, test)

extern void run_forked(const char *name, void (*test) (void));

#endif							/* NEONSHIM_CHECK_H */
