/*-------------------------------------------------------------------------
 *
 * io.h
 *	  What the calls do on a descriptor of a mapped relation segment.
 *
 * Each has the contract of the call it stands for, errno included; "index" is
 * the segment's index in the map.
 *
 *-------------------------------------------------------------------------
 */
#ifndef NEONSHIM_IO_H
#define NEONSHIM_IO_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>

/* read.c */
extern ssize_t segment_pread(int32_t index, int fd, void *buf, size_t n, off_t at);
extern ssize_t segment_preadv(int32_t index, int fd, const struct iovec *iov, int count,
							  off_t at);
extern ssize_t segment_readv(int32_t index, int fd, const struct iovec *iov, int count);
extern int	segment_fadvise(int32_t index, int fd, off_t at, off_t len, int advice);

/* write.c */
extern ssize_t segment_pwritev(int32_t index, int fd, const struct iovec *iov, int count,
							   off_t at);
extern ssize_t segment_writev(int32_t index, int fd, const struct iovec *iov, int count);

/* cut.c */
extern int	segment_open(int32_t index, int dirfd, const char *path, int flags, mode_t mode);
extern int	segment_ftruncate(int32_t index, int fd, off_t len);
extern int	segment_truncate(int32_t index, const char *path, off_t len);
extern int	segment_unlink(int32_t index, int dirfd, const char *path, int flags);
extern int	segment_fallocate(int32_t index, int fd, int mode, off_t at, off_t len);
extern int	segment_posix_fallocate(int32_t index, int fd, off_t at, off_t len);

/* write.c, for cut.c: make a block local with the layers' content */
extern bool segment_copy_block(int32_t index, int fd, uint32_t block);

/* sync.c */
extern int	segment_fsync(int32_t index, int fd, bool data_only);
extern int	shim_syncfs(int fd);

/* iovec.c */
extern bool iovec_total(const struct iovec *iov, int count, size_t *total);
extern int	iovec_slice(const struct iovec *iov, int count, size_t skip, size_t len,
						struct iovec *out);

#endif							/* NEONSHIM_IO_H */
