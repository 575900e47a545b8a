/*
 * A clock that can be set: gettimeofday, which Postgres takes the time of a commit from, is off by the
 * seconds that the file named by CLOCK_OFFSET says, at each call anew. No file, no offset.
 *
 * Nothing else is told another time: not clock_gettime, by which Postgres measures, nor the kernel.
 */
#include <fcntl.h>
#include <stdlib.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static long
offset(void)
{
	const char *path = getenv("CLOCK_OFFSET");
	char		said[32] = "";
	int			fd = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;

	if (fd < 0)
		return 0;
	if (read(fd, said, sizeof said - 1) < 0)
		said[0] = '\0';
	close(fd);
	return strtol(said, NULL, 10);
}

int
gettimeofday(struct timeval *restrict tv, void *restrict zone)
{
	struct timespec now;

	(void) zone;
	if (clock_gettime(CLOCK_REALTIME, &now))
		return -1;
	tv->tv_sec = now.tv_sec + offset();
	tv->tv_usec = now.tv_nsec / 1000;
	return 0;
}
