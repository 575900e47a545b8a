/*-------------------------------------------------------------------------
 *
 * key.c
 *	  Parse paths: base/<db>/<rel>[_fork][.seg], global/..., pg_control.
 *
 * Numbers must be canonical (no leading zero, within 32 bits), as Postgres
 * prints them; anything else is not a relation segment to Postgres either.
 * Temporary relations (t<backend>_<rel>) are never in a layer.
 *
 * Not handled: symbolic links and mounts inside PGDATA, and /proc/self/fd.
 * Safe: we lay PGDATA out ourselves without links, links below pg_tblspc are
 * refused, and Postgres makes no others.
 *
 *-------------------------------------------------------------------------
 */
#include "key.h"

#include <string.h>

#include "format.h"

static bool
take_text(const char **p, const char *text)
{
	size_t		len = strlen(text);

	if (strncmp(*p, text, len) != 0)
		return false;
	*p += len;
	return true;
}

static bool
take_number(const char **p, uint32_t *value)
{
	const char *s = *p;
	uint64_t	v = 0;

	if (*s < '0' || *s > '9' || (s[0] == '0' && s[1] >= '0' && s[1] <= '9'))
		return false;
	for (; *s >= '0' && *s <= '9'; s++)
	{
		v = v * 10 + (uint64_t) (*s - '0');
		if (v > UINT32_MAX)
			return false;
	}
	*value = (uint32_t) v;
	*p = s;
	return true;
}

static uint32_t
take_fork(const char **p)
{
	if (take_text(p, "_fsm"))
		return FORK_FSM;
	if (take_text(p, "_vm"))
		return FORK_VM;
	if (take_text(p, "_init"))
		return FORK_INIT;
	return FORK_MAIN;
}

/* <rel>[_fork][.seg] and nothing after it */
static bool
take_relation_name(const char *p, struct segment_key *key)
{
	if (!take_number(&p, &key->rel))
		return false;
	key->fork = take_fork(&p);
	key->seg = 0;
	if (take_text(&p, ".") && (!take_number(&p, &key->seg) || key->seg == 0))
		return false;
	return *p == '\0';
}

struct path_class
classify_below(const char *path)
{
	struct path_class c = {.kind = PATH_OTHER};

	if (*path == '\0' || strcmp(path, "base") == 0 || strcmp(path, "global") == 0)
		c.kind = PATH_HOLDER;
	else if (take_text(&path, "pg_tblspc/"))
		c.kind = PATH_TABLESPACE;
	else if (take_text(&path, "base/"))
	{
		c.key.spc = SPC_DEFAULT;
		if (!take_number(&path, &c.key.db))
			return c;
		if (*path == '\0')
			c.kind = PATH_HOLDER;
		else if (*path == '/' && take_relation_name(path + 1, &c.key))
			c.kind = PATH_RELATION;
	}
	else if (take_text(&path, "global/"))
	{
		c.key.spc = SPC_GLOBAL;
		if (strcmp(path, "pg_control") == 0 || strcmp(path, "pg_control.neon") == 0)
			c.kind = PATH_CONTROL;
		else if (take_relation_name(path, &c.key))
			c.kind = PATH_RELATION;
	}
	return c;
}

/*
 * Fold "dir/path" into out: no double slashes, no
 * "." and "..", no slash at the end; the root itself becomes "".  Output is
 * never longer than input.
 */
static void
normalise(const char *dir, const char *path, char *out)
{
	const char *parts[2] = {dir, path};
	char	   *end = out;

	for (int i = 0; i < 2; i++)
		for (const char *p = parts[i]; *p != '\0';)
		{
			size_t		len = strcspn(p, "/");

			if (len == 0)
				len = 1;		/* the slash itself */
			else if (len == 2 && p[0] == '.' && p[1] == '.')
			{
				while (end > out && *--end != '/')
					;
			}
			else if (!(len == 1 && p[0] == '.'))
			{
				*end++ = '/';
				memcpy(end, p, len);
				end += len;
			}
			p += len;
		}
	*end = '\0';
}

static const char *
below(const char *root, const char *path)
{
	size_t		len = strlen(root);

	if (len == 0 || strncmp(path, root, len) != 0)
		return NULL;
	if (path[len] == '\0')
		return path + len;
	return path[len] == '/' ? path + len + 1 : NULL;
}

struct path_class
classify_in(const struct roots *roots, const char *dir, const char *path)
{
	/*
	 * One byte a component may be added for its slash, only where the dir
	 * and the path meet.  A path the kernel refuses as too long is passed on.
	 */
	char		buffer[2 * PATH_MAX + 2];
	struct path_class other = {.kind = PATH_OTHER};
	const char *rest;

	if (strlen(path) >= PATH_MAX || strlen(dir) >= PATH_MAX)
		return other;
	normalise(path[0] == '/' ? "" : dir, path, buffer);
	rest = below(roots->given, buffer);
	if (rest == NULL)
		rest = below(roots->resolved, buffer);
	return rest ? classify_below(rest) : other;
}

int
compare_keys(const struct segment_key *a, const struct segment_key *b)
{
	if (a->spc != b->spc)
		return a->spc < b->spc ? -1 : 1;
	if (a->db != b->db)
		return a->db < b->db ? -1 : 1;
	if (a->rel != b->rel)
		return a->rel < b->rel ? -1 : 1;
	if (a->fork != b->fork)
		return a->fork < b->fork ? -1 : 1;
	if (a->seg != b->seg)
		return a->seg < b->seg ? -1 : 1;
	return 0;
}
