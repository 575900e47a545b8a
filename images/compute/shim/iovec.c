/*-------------------------------------------------------------------------
 *
 * iovec.c
 *	  Arithmetic on I/O vectors.
 *
 *-------------------------------------------------------------------------
 */
#include <limits.h>
#include <stdint.h>

#include "io.h"

/* Sum of the lengths; false if the kernel would refuse the vector. */
bool
iovec_total(const struct iovec *iov, int count, size_t *total)
{
	size_t		sum = 0;

	if (count < 0 || count > IOV_MAX)
		return false;
	for (int i = 0; i < count; i++)
	{
		if (iov[i].iov_len > (size_t) SSIZE_MAX - sum)
			return false;
		sum += iov[i].iov_len;
	}
	*total = sum;
	return true;
}

/* The "len" bytes after the first "skip" of a vector; "out" has room for count. */
int
iovec_slice(const struct iovec *iov, int count, size_t skip, size_t len, struct iovec *out)
{
	int			n = 0;

	for (int i = 0; i < count && len > 0; i++)
	{
		size_t		piece = iov[i].iov_len;

		if (skip >= piece)
		{
			skip -= piece;
			continue;
		}
		piece -= skip;
		if (piece > len)
			piece = len;
		out[n].iov_base = (uint8_t *) iov[i].iov_base + skip;
		out[n].iov_len = piece;
		n++;
		len -= piece;
		skip = 0;
	}
	return n;
}
