/* Descriptors and names mean what they should, and the rest is refused. */
#include <dirent.h>
#include <linux/falloc.h>
#include <sys/sendfile.h>

#include "calls.h"

static void
duplicates_mean_the_same_file(void)
{
	int			fd = begin();
	int			fds[5];

	fds[0] = dup(fd);
	fds[1] = fcntl(fd, F_DUPFD, 100);
	fds[2] = fcntl(fd, F_DUPFD_CLOEXEC, 200);
	fds[3] = dup2(fd, 300);
	fds[4] = dup3(fd, 301, O_CLOEXEC);
	close(fd);
	for (int i = 0; i < 5; i++)
	{
		CHECK(fd_entry(fds[i]) == 1);
		expect_version(fds[i], 3, layer_version(&f, 0, 3));
	}
	CHECK(dup2(open("/dev/null", O_RDWR), 300) == 300 && fd_entry(300) == FD_OTHER);
	CHECK(close_range(100, 250, 0) == 0);
	CHECK(fd_entry(100) == FD_OTHER && fd_entry(200) == FD_OTHER && fd_entry(301) == 1);
	fixture_remove(&f);
}

static void
our_own_descriptors_are_not_anyones_to_close(void)
{
	int			fd = begin();
	int			ours = shim.overlay.fd;
	int			layer = shim.layer_fds[0];

	CHECK(close(ours) == -1 && errno == EBADF);
	CHECK(close(layer) == -1 && errno == EBADF);
	CHECK(dup(layer) == -1 && dup2(fd, layer) == -1 && fcntl(layer, F_GETFD) == -1);
	closefrom(3);
	CHECK(fd_entry(fd) == FD_OTHER);
	fd = open(PATH, O_RDWR);
	expect_version(fd, 3, layer_version(&f, 0, 3));
	CHECK(write_control(1) == BLOCK_SIZE);
	fixture_remove(&f);
}

/* A kernel that gives out numbers past the table, whatever our limit is here. */
static int
high_dup(int fd)
{
	(void) fd;
	return FD_TABLE_SIZE;
}

static int
high_openat(int dirfd, const char *path, int flags, ...)
{
	(void) dirfd;
	(void) path;
	(void) flags;
	return FD_TABLE_SIZE;
}

static int
counting_close(int fd)
{
	CHECK(fd == FD_TABLE_SIZE);
	calls++;
	return 0;
}

static void
a_descriptor_past_the_table_is_closed_and_an_error(void)
{
	int			fd = begin();
	int			plain = open("/dev/null", O_RDWR);

	real.dup = high_dup;
	real.openat = high_openat;
	real.close = counting_close;
	CHECK(dup(fd) == -1 && errno == EMFILE && calls == 1);
	CHECK(open(PATH, O_RDWR) == -1 && errno == EMFILE && calls == 2);
	CHECK(open("global/pg_control", O_RDWR) == -1 && errno == EMFILE && calls == 3);
	CHECK(dup2(fd, FD_TABLE_SIZE) == -1 && errno == EBADF);
	CHECK(dup(plain) == FD_TABLE_SIZE && calls == 3);	/* of no interest */
	real_resolve();
	fixture_remove(&f);
}

static void
a_vfork_child_does_not_forget_for_its_parent(void)
{
	int			fd = begin();
	int			status;
	pid_t		child = vfork();

	if (child == 0)
	{
		close(fd);
		_exit(0);
	}
	CHECK(waitpid(child, &status, 0) == child && status == 0);
	expect_version(fd, 3, layer_version(&f, 0, 3));
	fixture_remove(&f);
}

static void
what_would_see_holes_is_refused(void)
{
	int			fd = begin();
	int			null = open("/dev/null", O_RDWR);
	off_t		at = 0;
	void	   *map = mmap(NULL, BLOCK_SIZE, PROT_READ, MAP_PRIVATE, fd, 0);

	CHECK(map == MAP_FAILED && errno == EPERM);
	CHECK(fopen(PATH, "r") == NULL && errno == EPERM);
	CHECK(fdopen(fd, "r") == NULL && errno == EPERM);
	CHECK(copy_file_range(fd, &at, null, NULL, 10, 0) == -1 && errno == EOPNOTSUPP);
	CHECK(copy_file_range(null, NULL, fd, &at, 10, 0) == -1 && errno == EOPNOTSUPP);
	CHECK(sendfile(null, fd, &at, 10) == -1 && errno == EOPNOTSUPP);
	CHECK(splice(fd, &at, null, NULL, 10, 0) == -1 && errno == EOPNOTSUPP);
	CHECK(open(PATH, O_RDWR | O_DIRECT) == -1 && errno == EINVAL);
	CHECK(open(PATH, O_RDWR | O_APPEND) == -1 && errno == EINVAL);
	CHECK(fcntl(fd, F_SETFL, O_APPEND) == -1 && errno == EINVAL);
	CHECK(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 10) == -1 &&
		  errno == EOPNOTSUPP);
	CHECK(rename(PATH, "base/5/101") == -1 && errno == EPERM);
	CHECK(rename("base/5/101", PATH) == -1 && errno == EPERM);
	CHECK(rename("base/5", "base/6") == -1 && errno == EPERM);
	CHECK(link(PATH, "x") == -1 && errno == EPERM);
	CHECK(symlink("x", PATH) == -1 && errno == EPERM);
	CHECK(symlink("/tmp", "pg_tblspc/1") == -1 && errno == EPERM);
	CHECK(mkdir("pg_tblspc/1", 0700) == -1 && errno == EPERM);
	CHECK(lseek(fd, 0, SEEK_HOLE) == BLOCKS * BLOCK_SIZE);
	CHECK(lseek(fd, 5, SEEK_DATA) == 5);
	CHECK(lseek(fd, BLOCKS * BLOCK_SIZE, SEEK_DATA) == -1 && errno == ENXIO);
	fixture_remove(&f);
}

static void
paths_are_seen_from_everywhere(void)
{
	char		path[600];
	int			dir;

	begin();
	snprintf(path, sizeof(path), "%s/" PATH, f.pgdata);
	CHECK(chdir("/") == 0);
	expect_version(open(path, O_RDONLY), 3, layer_version(&f, 0, 3));
	CHECK(open(PATH, O_RDONLY) == -1);
	dir = open(f.pgdata, O_RDONLY);
	expect_version(openat(dir, PATH, O_RDONLY), 3, layer_version(&f, 0, 3));
	CHECK(fchdir(dir) == 0 && chdir("base") == 0);
	expect_version(open("5/100", O_RDONLY), 3, layer_version(&f, 0, 3));
	expect_version(open("../base/5/100", O_RDONLY), 3, layer_version(&f, 0, 3));
	fixture_remove(&f);
}

static void
pg_control_has_one_name_to_us_and_another_on_disk(void)
{
	struct stat st;
	struct dirent *entry;
	char		path[600];
	DIR		   *dir;
	FILE	   *stream;
	int			found = 0;

	begin();
	snprintf(path, sizeof(path), "%s/global/pg_control", f.pgdata);
	CHECK(stat("global/pg_control", &st) == 0 && st.st_size == BLOCK_SIZE);
	CHECK(lstat(path, &st) == 0 && access("./global/pg_control", R_OK) == 0);
	CHECK(fstatat(AT_FDCWD, path, &st, 0) == 0 && faccessat(AT_FDCWD, path, R_OK, 0) == 0);
	CHECK(real.stat(path, &st) == -1);
	CHECK((stream = fopen(path, "rb")) != NULL && fclose(stream) == 0);
	CHECK(fopen(path, "r+") == NULL);
	CHECK(rename("global/pg_control", "global/kept") == 0);
	CHECK(stat(path, &st) == -1);
	CHECK(rename("global/kept", path) == 0 && stat("global/pg_control.neon", &st) == 0);
	dir = opendir("global");
	while ((entry = readdir(dir)) != NULL)
	{
		CHECK(strcmp(entry->d_name, "pg_control.neon") != 0);
		found += strcmp(entry->d_name, "pg_control") == 0;
	}
	CHECK(found == 1 && closedir(dir) == 0);
	CHECK(unlink("global/pg_control") == 0 && real.stat("global/pg_control.neon", &st) == -1);
	fixture_remove(&f);
}

static void
pg_control_waits_for_the_marker_once_open(void)
{
	int			status;
	pid_t		child;

	begin();
	CHECK(unlink(f.marker) == 0);
	CHECK(write_control(5) == BLOCK_SIZE);	/* recovery */
	CHECK(write_control(1) == BLOCK_SIZE);
	CHECK(write_control(6) == BLOCK_SIZE);	/* open */
	child = fork();
	if (child == 0)
		_exit(write_control(6) != BLOCK_SIZE);
	usleep(100000);
	CHECK(waitpid(child, &status, WNOHANG) == 0);
	CHECK(close(open(f.marker, O_CREAT | O_WRONLY, 0600)) == 0);
	CHECK(waitpid(child, &status, 0) == child && status == 0);
	fixture_remove(&f);
}

int
main(void)
{
	RUN(duplicates_mean_the_same_file);
	RUN(our_own_descriptors_are_not_anyones_to_close);
	RUN(a_descriptor_past_the_table_is_closed_and_an_error);
	RUN(a_vfork_child_does_not_forget_for_its_parent);
	RUN(what_would_see_holes_is_refused);
	RUN(paths_are_seen_from_everywhere);
	RUN(pg_control_has_one_name_to_us_and_another_on_disk);
	RUN(pg_control_waits_for_the_marker_once_open);
	return 0;
}
