/*-------------------------------------------------------------------------
 *
 * crc32c.h
 *	  CRC-32C (Castagnoli), the checksum of all our formats.
 *
 *-------------------------------------------------------------------------
 */
#ifndef NEONSHIM_CRC32C_H
#define NEONSHIM_CRC32C_H

#include <stddef.h>
#include <stdint.h>

/* The checksum of a whole buffer. */
extern uint32_t crc32c(const void *data, size_t len);

/* The same without the processor's help; for tests to compare. */
extern uint32_t crc32c_portable(const void *data, size_t len);

#endif							/* NEONSHIM_CRC32C_H */
