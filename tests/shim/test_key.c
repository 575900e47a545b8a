/* Paths become segment keys exactly where Postgres would see a relation file. */
#include "../../images/compute/shim/format.h"
#include "../../images/compute/shim/key.h"
#include "check.h"

static struct roots roots = {.given = "/pg", .resolved = "/mnt/volume/pg"};

static enum path_kind
kind(const char *path)
{
	return classify_in(&roots, "/pg", path).kind;
}

static void
expect_key(const char *path, uint32_t spc, uint32_t db, uint32_t rel, uint32_t fork,
		   uint32_t seg)
{
	struct path_class c = classify_in(&roots, "/pg", path);
	struct segment_key key = {spc, db, rel, fork, seg};

	CHECK(c.kind == PATH_RELATION);
	CHECK(compare_keys(&c.key, &key) == 0);
}

static void
relation_files_have_keys(void)
{
	expect_key("base/5/1259", SPC_DEFAULT, 5, 1259, FORK_MAIN, 0);
	expect_key("base/5/1259.3", SPC_DEFAULT, 5, 1259, FORK_MAIN, 3);
	expect_key("base/5/1259_fsm", SPC_DEFAULT, 5, 1259, FORK_FSM, 0);
	expect_key("base/5/1259_vm.12", SPC_DEFAULT, 5, 1259, FORK_VM, 12);
	expect_key("base/5/1259_init", SPC_DEFAULT, 5, 1259, FORK_INIT, 0);
	expect_key("global/1262", SPC_GLOBAL, 0, 1262, FORK_MAIN, 0);
	expect_key("base/4294967295/4294967295", SPC_DEFAULT, UINT32_MAX, UINT32_MAX, 0, 0);
}

static void
every_spelling_of_a_path_is_seen(void)
{
	expect_key("./base/5/1259", SPC_DEFAULT, 5, 1259, FORK_MAIN, 0);
	expect_key("base//5/./1259", SPC_DEFAULT, 5, 1259, FORK_MAIN, 0);
	expect_key("base/6/../5/1259", SPC_DEFAULT, 5, 1259, FORK_MAIN, 0);
	expect_key("../pg/base/5/1259", SPC_DEFAULT, 5, 1259, FORK_MAIN, 0);
	expect_key("/pg/base/5/1259", SPC_DEFAULT, 5, 1259, FORK_MAIN, 0);
	expect_key("/../pg//base/5/1259", SPC_DEFAULT, 5, 1259, FORK_MAIN, 0);
	expect_key("/mnt/volume/pg/base/5/1259", SPC_DEFAULT, 5, 1259, FORK_MAIN, 0);
	CHECK(classify_in(&roots, "/pg/base", "5/1259").kind == PATH_RELATION);
	CHECK(classify_in(&roots, "/", "pg/base/5/1259").kind == PATH_RELATION);
	CHECK(classify_in(&roots, "/elsewhere", "base/5/1259").kind == PATH_OTHER);
}

static void
other_files_are_none_of_our_business(void)
{
	static const char *const paths[] = {
		"base/5/t3_1259", "base/5/pg_filenode.map", "base/5/PG_VERSION", "base/5/",
		"base/5/01259", "base/05/1259", "base/5/1259.0", "base/5/1259.01",
		"base/5/1259.", "base/5/1259_", "base/5/1259_foo", "base/5/1259_fsm_vm",
		"base/5/1259x", "base/5/1259/x", "base/5/4294967296", "base/5/-1",
		"base/5/1259.3_fsm", "base/pgsql_tmp/1", "global/pg_filenode.map",
		"global/pg_control.tmp", "pg_wal/000000010000000000000001", "bases/5/1259",
		"/pgx/base/5/1259", "/pg2", "1259", "pg_tblspc",
	};

	for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++)
	{
		if (strcmp(paths[i], "base/5/") == 0)
			continue;			/* a slash at the end is the directory */
		if (kind(paths[i]) != PATH_OTHER)
			fprintf(stderr, "%s\n", paths[i]);
		CHECK(kind(paths[i]) == PATH_OTHER);
	}
}

static void
control_tablespaces_and_holders_are_told_apart(void)
{
	CHECK(kind("global/pg_control") == PATH_CONTROL);
	CHECK(kind("./global/pg_control") == PATH_CONTROL);
	CHECK(kind("/pg/global/pg_control") == PATH_CONTROL);
	CHECK(kind("global/pg_control.neon") == PATH_CONTROL);
	CHECK(kind("pg_tblspc/16384") == PATH_TABLESPACE);
	CHECK(kind("/pg/pg_tblspc/1/PG_17_202406281") == PATH_TABLESPACE);
	CHECK(kind("base") == PATH_HOLDER);
	CHECK(kind("base/5") == PATH_HOLDER);
	CHECK(kind("base/5/") == PATH_HOLDER);
	CHECK(kind("global") == PATH_HOLDER);
	CHECK(kind("") == PATH_HOLDER);
	CHECK(kind("/pg") == PATH_HOLDER);
	CHECK(kind("/mnt/volume/pg/.") == PATH_HOLDER);
}

static void
paths_too_long_for_the_kernel_are_passed_on(void)
{
	static char path[3 * PATH_MAX];

	memset(path, '/', sizeof(path) - 1);
	CHECK(kind(path) == PATH_OTHER);
	memset(path, 0, sizeof(path));
	for (size_t i = 0; i < PATH_MAX - 2; i += 2)
		memcpy(path + i, "x/", 2);
	CHECK(kind(path) == PATH_OTHER);
}

static void
keys_are_ordered_field_by_field(void)
{
	struct segment_key keys[] = {
		{1663, 1, 9, 3, 9}, {1663, 2, 1, 0, 0}, {1663, 2, 2, 0, 0},
		{1663, 2, 2, 0, 1}, {1663, 2, 2, 1, 0}, {1664, 0, 1, 0, 0},
	};
	const int	n = sizeof(keys) / sizeof(keys[0]);

	for (int i = 0; i < n; i++)
		for (int j = 0; j < n; j++)
			CHECK(compare_keys(&keys[i], &keys[j]) == (i > j) - (i < j));
}

int
main(void)
{
	RUN(relation_files_have_keys);
	RUN(every_spelling_of_a_path_is_seen);
	RUN(other_files_are_none_of_our_business);
	RUN(control_tablespaces_and_holders_are_told_apart);
	RUN(paths_too_long_for_the_kernel_are_passed_on);
	RUN(keys_are_ordered_field_by_field);
	return 0;
}
