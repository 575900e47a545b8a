/*-------------------------------------------------------------------------
 *
 * report.c
 *	  One line on stderr, without stdio's buffers and locks.
 *
 * A line is written with one write(2), so lines of several backends don't
 * mix.  Not handled: a stderr that is gone or full; there is nobody to tell.
 *
 *-------------------------------------------------------------------------
 */
#include "report.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "real.h"

bool
refuse(struct why *why, const char *format, ...)
{
	va_list		args;

	va_start(args, format);
	vsnprintf(why->text, sizeof(why->text), format, args);
	va_end(args);
	return false;
}

static void
write_line(const char *format, va_list args)
{
	char		line[1200];
	static const char prefix[] = "neonshim: ";
	size_t		used = sizeof(prefix) - 1;
	size_t		room;
	int			n;

	memcpy(line, prefix, used);
	room = sizeof(line) - used - 1;	/* keep one for the line feed */
	n = vsnprintf(line + used, room, format, args);
	if (n > 0)
		used += (size_t) n < room ? (size_t) n : room - 1;
	line[used++] = '\n';
	if (real.write(STDERR_FILENO, line, used) < 0)
		return;
}

void
report(const char *format, ...)
{
	int			save_errno = errno;
	va_list		args;

	va_start(args, format);
	write_line(format, args);
	va_end(args);
	errno = save_errno;
}

void
die(const char *format, ...)
{
	va_list		args;

	va_start(args, format);
	write_line(format, args);
	va_end(args);
	_exit(EXIT_BAD_CONFIG);
}
