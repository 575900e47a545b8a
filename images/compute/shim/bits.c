/*-------------------------------------------------------------------------
 *
 * bits.c
 *	  The shared planes of bits and what can be done to them.
 *
 * Bytewise atomics: segments start at whole bytes, so no byte is shared by
 * two files.  Setting is a release, testing an acquire: the data of a block
 * is written before its bit is seen.  Nothing here ever clears a bit, which
 * is what makes a stale or torn copy harmless.
 *
 *-------------------------------------------------------------------------
 */
#include "bits.h"

#include <string.h>

#include "format.h"
#include "real.h"

static size_t
round_up(size_t n, size_t unit)
{
	return (n + unit - 1) / unit * unit;
}

bool
planes_make(struct planes *planes, uint64_t n_bits, uint32_t n_segments)
{
	size_t		plane = round_up((n_bits + 7) / 8, OVERLAY_PAGE);
	size_t		states = round_up(n_segments, OVERLAY_PAGE);
	uint8_t    *base = real.mmap(NULL, OVERLAY_PAGE + states + 2 * plane,
								 PROT_READ | PROT_WRITE,
								 MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	if (base == MAP_FAILED)
		return false;
	planes->shared = (struct shared_state *) base;
	planes->states = (_Atomic uint8_t *) (base + OVERLAY_PAGE);
	planes->now = (_Atomic uint8_t *) (base + OVERLAY_PAGE + states);
	planes->synced = planes->now + plane;
	planes->plane_bytes = plane;
	return true;
}

/* Only pages that hold something are touched: the rest costs no memory. */
void
planes_load(struct planes *planes, const uint8_t *persisted)
{
	static const uint8_t zeros[OVERLAY_PAGE];

	for (size_t at = 0; at < planes->plane_bytes; at += OVERLAY_PAGE)
	{
		if (memcmp(persisted + at, zeros, OVERLAY_PAGE) == 0)
			continue;
		bits_merge(planes->now + at, 0, OVERLAY_PAGE * 8, persisted + at);
		bits_merge(planes->synced + at, 0, OVERLAY_PAGE * 8, persisted + at);
	}
}

/* The part of byte number "byte" that lies within [first, first + count). */
static uint8_t
mask_of(uint64_t byte, uint64_t first, uint64_t count)
{
	uint8_t		mask = 0xff;
	uint64_t	end = first + count;

	if (byte == first / 8)
		mask &= (uint8_t) (0xff << (first % 8));
	if (byte == end / 8)
		mask &= (uint8_t) ((1u << (end % 8)) - 1);
	return mask;
}

/* OR without making the cache line ours when there is nothing new. */
static bool
merge_byte(_Atomic uint8_t *byte, uint8_t mask)
{
	if ((atomic_load_explicit(byte, memory_order_relaxed) & mask) == mask)
		return false;
	return (atomic_fetch_or_explicit(byte, mask, memory_order_release) & mask) != mask;
}

bool
bits_set(_Atomic uint8_t *plane, uint64_t first, uint64_t count)
{
	bool		changed = false;

	if (count == 0)
		return false;
	for (uint64_t b = first / 8; b <= (first + count - 1) / 8; b++)
		changed |= merge_byte(&plane[b], mask_of(b, first, count));
	return changed;
}

bool
bits_any(const _Atomic uint8_t *plane, uint64_t first, uint64_t count)
{
	if (count == 0)
		return false;
	for (uint64_t b = first / 8; b <= (first + count - 1) / 8; b++)
		if (atomic_load_explicit(&plane[b], memory_order_acquire) & mask_of(b, first, count))
			return true;
	return false;
}

void
bits_copy(const _Atomic uint8_t *plane, uint64_t first, uint64_t count, uint8_t *copy)
{
	for (uint64_t i = 0; i < (count + 7) / 8; i++)
		copy[i] = atomic_load_explicit(&plane[first / 8 + i], memory_order_acquire);
}

void
bits_merge(_Atomic uint8_t *plane, uint64_t first, uint64_t count, const uint8_t *copy)
{
	for (uint64_t i = 0; i < (count + 7) / 8; i++)
		if (copy[i] != 0)
			merge_byte(&plane[first / 8 + i], copy[i]);
}
