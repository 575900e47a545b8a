/*-------------------------------------------------------------------------
 *
 * boot.c
 *	  The library's constructor: start before main() does.
 *
 * Apart from shim.c so that test programs can link everything else and open
 * a branch themselves.
 *
 *-------------------------------------------------------------------------
 */
#include "shim.h"

__attribute__((constructor))
static void
boot(void)
{
	shim_boot();
}
