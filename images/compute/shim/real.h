/*-------------------------------------------------------------------------
 *
 * real.h
 *	  libc's own versions of the calls the shim interposes.
 *
 * Inside the shim a plain pread() would come back to our own pread(): every
 * call that interpose_*.c defines must be made through `real`.
 *
 *-------------------------------------------------------------------------
 */
#ifndef NEONSHIM_REAL_H
#define NEONSHIM_REAL_H

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

/*
 * X(name): each is resolved by dlsym(RTLD_NEXT).  Only the plain names: on
 * LP64 the 64 variants are the same functions.
 */
#define REAL_CALLS(X) \
	X(access) X(chdir) X(close) X(close_range) X(copy_file_range) X(dup) \
	X(dup2) X(dup3) X(faccessat) X(fallocate) X(fchdir) X(fcntl) \
	X(fdatasync) X(fdopen) X(fopen) X(freopen) X(fstatat) X(fsync) \
	X(ftruncate) X(linkat) X(lseek) X(lstat) X(mkdirat) X(mmap) X(openat) \
	X(posix_fadvise) X(posix_fallocate) X(pread) X(preadv) X(preadv2) \
	X(pwrite) X(pwritev) X(pwritev2) X(read) X(readahead) X(readdir) X(readv) X(remove) \
	X(renameat2) X(sendfile) X(splice) X(stat) X(statx) X(symlinkat) \
	X(sync_file_range) X(syncfs) X(truncate) X(unlinkat) X(write) X(writev)

struct real_calls
{
#define X(name) __typeof__(name) *name;
	REAL_CALLS(X)
#undef X
};

extern struct real_calls real;

/* Resolve them all; dies if one is missing.  Idempotent. */
extern void real_resolve(void);

#endif							/* NEONSHIM_REAL_H */
