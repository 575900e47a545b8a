/*-------------------------------------------------------------------------
 *
 * calls.h
 *	  What the tests of single calls share: one small branch, and pages that
 *	  say which version they are.
 *
 *-------------------------------------------------------------------------
 */
#ifndef NEONSHIM_CALLS_H
#define NEONSHIM_CALLS_H

#include <sys/wait.h>
#include <unistd.h>

#include "../../images/compute/shim/fdtable.h"
#include "../../images/compute/shim/real.h"
#include "../../images/compute/shim/segment.h"
#include "check.h"
#include "fixture.h"

#define BLOCKS 40				/* of the first segment */
#define PATH "base/5/100"		/* the first segment */

extern struct fixture f;
extern uint8_t page[BLOCK_SIZE];
extern int	calls;				/* of what a test counts */

/* Make the branch of these tests, without opening it. */
extern void make(void);

/* Make and open it, and a descriptor of the first segment. */
extern int	begin(void);

/* Read or write a whole block of the first segment. */
extern void expect_version(int fd, uint32_t block, uint64_t version);
extern void put_version(int fd, uint32_t block, uint64_t version);

/* Is this block of the first segment local? */
extern bool local(uint32_t block);

#endif							/* NEONSHIM_CALLS_H */
