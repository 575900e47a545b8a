/* See recorder.h: names of openat for programs without the shim, which makes all of them openat itself. */
#include <fcntl.h>
#include <stdarg.h>

#define OPEN(name) \
extern int	name(const char *path, int flags,...); \
int \
name(const char *path, int flags,...) \
{ \
	va_list		args; \
	mode_t		mode; \
\
	va_start(args, flags); \
	mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(args, mode_t) : 0; \
	va_end(args); \
	return openat(AT_FDCWD, path, flags, mode); \
}

OPEN(open)
OPEN(open64)
