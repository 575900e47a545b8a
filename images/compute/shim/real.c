/*-------------------------------------------------------------------------
 *
 * real.c
 *	  Find libc's own versions of the interposed calls.
 *
 * dlsym(RTLD_NEXT) rather than raw system calls, so that the shim can be
 * stacked with other preloaded libraries (sanitizers in the tests).
 *
 *-------------------------------------------------------------------------
 */
#include "real.h"

#include <dlfcn.h>
#include <string.h>
#include <sys/syscall.h>

#include "report.h"

struct real_calls real;

_Static_assert(sizeof(void *) == sizeof(real.close), "pointers of one size");
_Static_assert(sizeof(off_t) == 8, "the 64 variants must be the plain ones");

static void
resolve(const char *name, void *slot)
{
	void	   *found = dlsym(RTLD_NEXT, name);

	if (found == NULL)
	{
		static const char text[] = "neonshim: libc has no function \"";

		/* real.write may be what is missing */
		syscall(SYS_write, STDERR_FILENO, text, sizeof(text) - 1);
		syscall(SYS_write, STDERR_FILENO, name, strlen(name));
		syscall(SYS_write, STDERR_FILENO, "\"\n", 2);
		_exit(EXIT_BAD_CONFIG);
	}
	memcpy(slot, &found, sizeof(found));
}

void
real_resolve(void)
{
#define X(name) resolve(#name, &real.name);
	REAL_CALLS(X)
#undef X
}
