/*-------------------------------------------------------------------------
 *
 * report.h
 *	  The shim's voice: one line on stderr, and dying.
 *
 *-------------------------------------------------------------------------
 */
#ifndef NEONSHIM_REPORT_H
#define NEONSHIM_REPORT_H

#include <stdbool.h>
#include <stddef.h>

#define EXIT_BAD_CONFIG 78		/* sysexits' EX_CONFIG */

/* Why something was refused, filled by the functions that validate. */
struct why
{
	char		text[1024];
};

/* Fill "why" and return false, so that validators can `return refuse(...)`. */
extern bool refuse(struct why *why, const char *format, ...)
			__attribute__((format(printf, 2, 3)));

/* Write "neonshim: ..." and a line feed to stderr in one write; keeps errno. */
extern void report(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* report(), then _exit(EXIT_BAD_CONFIG). */
extern void die(const char *format, ...)
			__attribute__((format(printf, 1, 2), noreturn));

#endif							/* NEONSHIM_REPORT_H */
