/*-------------------------------------------------------------------------
 *
 * recorder.h
 *	  The log of what a process tree does to its files, as the disk sees it.
 *
 * The recorder is preloaded *after* the shim, so the shim's own calls come
 * through it.  Its log (the file that POWER_LOG names, made large and sparse
 * by whoever starts the process) is a header and then records, in the order in
 * which the calls took effect: a lock is held over each call and its record.
 *
 *	  header   u64 end of the log · u32 lock · u32 0 · 48 bytes of 0
 *	  record   u32 size, a multiple of 8 · u32 kind · u64 inode · u64 a · u64 b
 *			   · u32 bytes of data · u32 0 · data
 *
 * log.py reads it and says what a and b are.
 *
 * Nothing is really synced: a sync is a record when it begins and one when it
 * ends, with a pause between for others to write in.
 *
 * Not handled: stdio (fopen's writes are libc's own: such files have no
 * content here, and upstream makes none that it relies on after a crash),
 * copy_file_range and more than one writable mapping of a file.
 *
 *-------------------------------------------------------------------------
 */
#ifndef POWER_RECORDER_H
#define POWER_RECORDER_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

enum kind
{
	KIND_WRITE = 1,				/* a: offset; data */
	KIND_TRUNCATE,				/* a: size */
	KIND_EXTEND,				/* a: size at least */
	KIND_CREATE,				/* a: folder; b: 1 if it is one itself; data: name */
	KIND_UNLINK,				/* a: folder; data: name */
	KIND_RENAME,				/* a, b: folders; data: names with a 0 between */
	KIND_LINK,					/* a: folder; data: name */
	KIND_SYNC_BEGIN,			/* inode 0: everything */
	KIND_SYNC_END,				/* a: where it began */
	KIND_NOTE,					/* data: the workload's own words */
};

/* Take the lock, with signals held back; what the mapping got is logged first. */
extern void log_lock(void);
extern void log_unlock(void);

/* Append a record (under the lock); where it begins. */
extern uint64_t log_append(enum kind kind, uint64_t inode, uint64_t a, uint64_t b,
						   const void *data, size_t n);

/* Room for a record whose data the caller fills in. */
extern uint8_t *log_room(enum kind kind, uint64_t inode, uint64_t a, size_t n);

/* From now on stores into this shared mapping are logged; only the first one is watched. */
extern void log_watch(void *address, size_t len, uint64_t inode, off_t at);

/* Is there a log at all? */
extern bool log_open(void);

#endif							/* POWER_RECORDER_H */
