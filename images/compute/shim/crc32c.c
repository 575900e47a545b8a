/*-------------------------------------------------------------------------
 *
 * crc32c.c
 *	  CRC-32C by the processor's instruction where it has one, else by
 *	  tables, eight bytes at a time.
 *
 * It runs over the whole map at each start, megabytes for a database with
 * many relations, so a bytewise loop would be felt on the way to the first
 * SELECT.  Not handled: other polynomials, checksums computed in pieces.
 *
 *-------------------------------------------------------------------------
 */
#include "crc32c.h"

#include <stdbool.h>
#include <string.h>

#if defined(__aarch64__)
#include <sys/auxv.h>
#ifndef HWCAP_CRC32
#define HWCAP_CRC32 (1 << 7)
#endif
#endif

#define POLYNOMIAL 0x82F63B78u	/* reflected */

static uint64_t
load64(const uint8_t *p)
{
	uint64_t	v;

	memcpy(&v, p, sizeof(v));
	return v;
}

uint32_t
crc32c_portable(const void *data, size_t len)
{
	static uint32_t table[8][256];
	static bool filled = false;
	const uint8_t *p = data;
	uint32_t	crc = ~0u;

	if (!filled)
	{
		for (uint32_t i = 0; i < 256; i++)
		{
			uint32_t	c = i;

			for (int k = 0; k < 8; k++)
				c = (c & 1) ? (c >> 1) ^ POLYNOMIAL : c >> 1;
			table[0][i] = c;
		}
		for (int t = 1; t < 8; t++)
			for (int i = 0; i < 256; i++)
				table[t][i] = (table[t - 1][i] >> 8) ^ table[0][table[t - 1][i] & 0xff];
		filled = true;
	}

	for (; len >= 8; p += 8, len -= 8)
	{
		uint64_t	v = load64(p) ^ crc;

		crc = 0;
		for (int t = 0; t < 8; t++)
			crc ^= table[7 - t][(v >> (8 * t)) & 0xff];
	}
	for (; len > 0; p++, len--)
		crc = (crc >> 8) ^ table[0][(crc ^ *p) & 0xff];
	return ~crc;
}

#if defined(__x86_64__)

__attribute__((target("sse4.2")))
static uint32_t
crc32c_hardware(const void *data, size_t len)
{
	const uint8_t *p = data;
	uint64_t	crc = ~0u;

	for (; len >= 8; p += 8, len -= 8)
		crc = __builtin_ia32_crc32di(crc, load64(p));
	for (; len > 0; p++, len--)
		crc = __builtin_ia32_crc32qi((uint32_t) crc, *p);
	return ~(uint32_t) crc;
}

static bool
have_hardware(void)
{
	__builtin_cpu_init();
	return __builtin_cpu_supports("sse4.2");
}

#elif defined(__aarch64__)

/* Inline assembly: <arm_acle.h> needs -march flags that differ by compiler. */
static uint32_t
crc32c_hardware(const void *data, size_t len)
{
	const uint8_t *p = data;
	uint32_t	crc = ~0u;

	for (; len >= 8; p += 8, len -= 8)
	{
		uint64_t	v = load64(p);

		__asm__(".arch_extension crc\n\tcrc32cx %w0, %w0, %x1" : "+r"(crc) : "r"(v));
	}
	for (; len > 0; p++, len--)
	{
		uint32_t	v = *p;

		__asm__(".arch_extension crc\n\tcrc32cb %w0, %w0, %w1" : "+r"(crc) : "r"(v));
	}
	return ~crc;
}

static bool
have_hardware(void)
{
	return (getauxval(AT_HWCAP) & HWCAP_CRC32) != 0;
}

#else

static uint32_t
crc32c_hardware(const void *data, size_t len)
{
	return crc32c_portable(data, len);
}

static bool
have_hardware(void)
{
	return false;
}

#endif

uint32_t
crc32c(const void *data, size_t len)
{
	return have_hardware() ? crc32c_hardware(data, len) : crc32c_portable(data, len);
}
