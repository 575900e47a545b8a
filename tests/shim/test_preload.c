/*-------------------------------------------------------------------------
 *
 * test_preload.c
 *	  The library as Postgres gets it: by LD_PRELOAD and the environment.
 *
 * Usage: test_preload LIBRARY.  The program runs itself again under the
 * library, with the name of what to do as its argument.
 *
 *-------------------------------------------------------------------------
 */
#include <dirent.h>
#include <fcntl.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check.h"
#include "fixture.h"

static const struct segment segments[] = {{1663, 5, 100, 0, 0, 20, 0, 0, 0}};
static struct fixture f;
static const char *library;
static const char *self;
static uint8_t page[BLOCK_SIZE];

/* Variants that headers don't offer side by side. */
extern int	open64(const char *path, int flags, ...);
extern int	__open_2(const char *path, int flags);
extern int	__open64_2(const char *path, int flags);
extern ssize_t __read_chk(int fd, void *buf, size_t n, size_t room);
extern ssize_t __pread_chk(int fd, void *buf, size_t n, off_t at, size_t room);
extern ssize_t __pread64_chk(int fd, void *buf, size_t n, off_t at, size_t room);

/*----------------------------------------------------------------
 * What runs under the library.  fixture's seed is fixed, so a child can make
 * up what the layers hold: see whole_layer_segment().
 *----------------------------------------------------------------
 */
static void
expect_block(ssize_t n, uint32_t block)
{
	CHECK(n == BLOCK_SIZE);
	CHECK(page_version(page, 0, block) == VERSION_LAYER);
}

static void
child_reads(void)
{
	struct iovec iov = {page, BLOCK_SIZE};
	int			fds[] = {open("base/5/100", O_RDWR), open64("./base/5/100", O_RDWR),
		openat(AT_FDCWD, "base/5/100", O_RDWR), openat64(AT_FDCWD, "base/5/100", O_RDWR),
	__open_2("base/5/100", O_RDWR), __open64_2("base/5/100", O_RDWR)};

	for (size_t i = 0; i < sizeof(fds) / sizeof(fds[0]); i++)
	{
		int			fd = fds[i];

		CHECK(fd >= 0);
		expect_block(pread(fd, page, BLOCK_SIZE, 3 * BLOCK_SIZE), 3);
		expect_block(pread64(fd, page, BLOCK_SIZE, 3 * BLOCK_SIZE), 3);
		expect_block(__pread_chk(fd, page, BLOCK_SIZE, 3 * BLOCK_SIZE, BLOCK_SIZE), 3);
		expect_block(__pread64_chk(fd, page, BLOCK_SIZE, 3 * BLOCK_SIZE, BLOCK_SIZE), 3);
		expect_block(preadv(fd, &iov, 1, 3 * BLOCK_SIZE), 3);
		expect_block(preadv64(fd, &iov, 1, 3 * BLOCK_SIZE), 3);
		expect_block(preadv2(fd, &iov, 1, 3 * BLOCK_SIZE, 0), 3);
		expect_block(preadv64v2(fd, &iov, 1, 3 * BLOCK_SIZE, 0), 3);
		expect_block(read(fd, page, BLOCK_SIZE), 0);
		expect_block(__read_chk(fd, page, BLOCK_SIZE, BLOCK_SIZE), 1);
		expect_block(readv(fd, &iov, 1), 2);
		page_fill(page, 0, 9, 50 + i);
		CHECK(pwrite64(fd, page, BLOCK_SIZE, 9 * BLOCK_SIZE) == BLOCK_SIZE);
		CHECK(pread(fds[0], page, BLOCK_SIZE, 9 * BLOCK_SIZE) == BLOCK_SIZE);
		CHECK(page_version(page, 0, 9) == 50 + i);
	}
}

static void
child_forks(void)
{
	int			fd = open("base/5/100", O_RDWR);
	int			status;

	if (fork() == 0)
	{
		page_fill(page, 0, 4, 60);
		CHECK(pwrite(fd, page, BLOCK_SIZE, 4 * BLOCK_SIZE) == BLOCK_SIZE);
		_exit(0);
	}
	CHECK(wait(&status) > 0 && status == 0);
	CHECK(pread(fd, page, BLOCK_SIZE, 4 * BLOCK_SIZE) == BLOCK_SIZE);
	CHECK(page_version(page, 0, 4) == 60);
}

static void
child_leaves_nothing_to_its_programs(void)
{
	CHECK(getenv("LD_PRELOAD") == NULL && getenv("NEON_SHIM_PGDATA") == NULL);
	CHECK(system("env | grep -q -e NEON_ -e LD_PRELOAD") != 0);
	CHECK(system("ls /proc/self/fd/9* >/dev/null 2>&1") != 0);	/* close-on-exec */
	CHECK(system("test -e global/pg_control.neon && test ! -e global/pg_control") == 0);
	CHECK(access("global/pg_control", F_OK) == 0 && creat("global/new", 0600) >= 0);
}

static void
child_does_nothing(void)
{
}

static const struct
{
	const char *name;
	void		(*run) (void);
}			children[] = {
	{"reads", child_reads},
	{"forks", child_forks},
	{"leaves_nothing_to_its_programs", child_leaves_nothing_to_its_programs},
	{"nothing", child_does_nothing},
};

/*----------------------------------------------------------------
 * The other side
 *----------------------------------------------------------------
 */

/* Run ourselves under the library; the exit code. "out" gets stderr. */
static int
run_child(const char *name, char *out, size_t size)
{
	int			status;
	int			ends[2];
	pid_t		child;
	ssize_t		n;

	CHECK(pipe(ends) == 0);
	child = fork();
	if (child == 0)
	{
		CHECK(chdir(f.pgdata) == 0 && setenv("LD_PRELOAD", library, 1) == 0);
		if (out != NULL)
			dup2(ends[1], STDERR_FILENO);
		execl(self, self, "--child", name, (char *) NULL);
		_exit(127);
	}
	close(ends[1]);
	if (out != NULL)
	{
		n = read(ends[0], out, size - 1);
		out[n > 0 ? n : 0] = '\0';
	}
	close(ends[0]);
	CHECK(waitpid(child, &status, 0) == child);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void
configure(void)
{
	struct shim_config config = fixture_config(&f);

	setenv("NEON_SHIM_PGDATA", config.pgdata, 1);
	setenv("NEON_SHIM_MAP", config.map, 1);
	setenv("NEON_SHIM_LAYERS", config.layers, 1);
	setenv("NEON_SHIM_OVERLAY", config.overlay, 1);
	setenv("NEON_SHIM_MARKER", config.marker, 1);
	unsetenv("NEON_SHIM_MODE");
}

/* A seed whose first segment has no zero extents below block 10. */
static void
whole_layer_segment(void)
{
	for (unsigned seed = 1;; seed++)
	{
		uint32_t	b = 0;

		fixture_make(&f, segments, 1, seed);
		while (b < 10 && layer_version(&f, 0, b) == VERSION_LAYER)
			b++;
		if (b == 10)
			return;
		fixture_remove(&f);
	}
}

static void
the_library_works_by_preload(void)
{
	for (size_t i = 0; i < sizeof(children) / sizeof(children[0]); i++)
	{
		whole_layer_segment();
		configure();
		CHECK(run_child(children[i].name, NULL, 0) == 0);
		fixture_remove(&f);
	}
}

static void
one_that_is_not_configured_passes_through(void)
{
	whole_layer_segment();
	CHECK(run_child("nothing", NULL, 0) == 0);
	fixture_remove(&f);
}

static void
half_a_configuration_ends_with_78_and_one_line(void)
{
	static const char *const names[] = {"NEON_SHIM_PGDATA", "NEON_SHIM_MAP",
	"NEON_SHIM_LAYERS", "NEON_SHIM_OVERLAY", "NEON_SHIM_MARKER"};
	char		line[2000];

	whole_layer_segment();
	for (size_t i = 0; i < 10; i++)
	{
		configure();
		if (i < 5)
			unsetenv(names[i]);
		else
			setenv(names[i - 5], i == 9 ? "" : "/nonexistent/x", 1);
		CHECK(run_child("nothing", line, sizeof(line)) == EXIT_BAD_CONFIG);
		CHECK(strncmp(line, "neonshim: ", 10) == 0);
		CHECK(strchr(line, '\n') == line + strlen(line) - 1);
	}
	configure();
	setenv("NEON_SHIM_MODE", "of", 1);
	CHECK(run_child("nothing", line, sizeof(line)) == EXIT_BAD_CONFIG);
	fixture_remove(&f);
}

int
main(int argc, char **argv)
{
	if (argc == 3 && strcmp(argv[1], "--child") == 0)
	{
		for (size_t i = 0; i < sizeof(children) / sizeof(children[0]); i++)
			if (strcmp(argv[2], children[i].name) == 0)
			{
				children[i].run();
				return 0;
			}
		return 1;
	}
	CHECK(argc == 2);
	self = "/proc/self/exe";
	library = realpath(argv[1], NULL);
	CHECK(library != NULL);
	RUN(the_library_works_by_preload);
	RUN(one_that_is_not_configured_passes_through);
	RUN(half_a_configuration_ends_with_78_and_one_line);
	return 0;
}
