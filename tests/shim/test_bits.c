/* Bits are set, found, copied and merged exactly, and by many at once. */
#include <sched.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../../images/compute/shim/bits.h"
#include "../../images/compute/shim/format.h"
#include "../../images/compute/shim/real.h"
#include "check.h"
#include "fixture.h"

#define N_BITS 400

static struct planes planes;

static void
set_and_any_agree_with_a_plain_array(void)
{
	bool		model[N_BITS] = {false};
	uint32_t	seed = 5;

	real_resolve();
	CHECK(planes_make(&planes, N_BITS, 1));
	for (int round = 0; round < 2000; round++)
	{
		uint64_t	first = draw(&seed, N_BITS);
		uint64_t	count = draw(&seed, round % 3 ? 4 : 40);
		bool		any = false;
		bool		news = false;

		if (count > N_BITS - first)
			count = N_BITS - first;
		for (uint64_t i = first; i < first + count; i++)
			any |= model[i];
		CHECK(bits_any(planes.now, first, count) == any);
		if (round % 4 != 0)
			continue;
		for (uint64_t i = first; i < first + count; i++)
		{
			news |= !model[i];
			model[i] = true;
		}
		CHECK(bits_set(planes.now, first, count) == news);
		for (uint64_t i = 0; i < N_BITS; i++)
			CHECK(bit_test(planes.now, i) == model[i]);
	}
}

static void
copies_carry_one_range_to_another_plane(void)
{
	uint8_t		copy[8] = {0};

	real_resolve();
	CHECK(planes_make(&planes, N_BITS, 1));
	bits_set(planes.now, 64, 3);
	bits_set(planes.now, 70, 31);
	bits_set(planes.now, 8, 5);	/* of another segment */
	bits_copy(planes.now, 64, 37, copy);
	bits_set(planes.now, 67, 1);	/* after the copy */
	bits_merge(planes.synced, 64, 37, copy);
	for (uint64_t i = 0; i < N_BITS; i++)
		CHECK(bit_test(planes.synced, i) == ((i >= 64 && i < 67) || (i >= 70 && i < 101)));
}

static void
loading_keeps_what_is_set(void)
{
	uint8_t		persisted[OVERLAY_PAGE * 2] = {0};

	real_resolve();
	CHECK(planes_make(&planes, OVERLAY_PAGE * 8 + 1, 1));
	CHECK(planes.plane_bytes == sizeof(persisted));
	persisted[0] = 0x81;
	persisted[OVERLAY_PAGE] = 0x01;
	bits_set(planes.now, 3, 1);
	planes_load(&planes, persisted);
	CHECK(bit_test(planes.now, 0) && bit_test(planes.now, 7) && bit_test(planes.now, 3));
	CHECK(bit_test(planes.synced, 7) && !bit_test(planes.synced, 3));
	CHECK(bit_test(planes.now, OVERLAY_PAGE * 8) && bit_test(planes.synced, OVERLAY_PAGE * 8));
}

/* Neighbouring bits share bytes: none may be lost between processes. */
static void
processes_setting_at_once_lose_nothing(void)
{
	enum
	{
		WRITERS = 2, BITS = 2000000
	};

	real_resolve();
	CHECK(planes_make(&planes, BITS, 1));
	for (uint64_t w = 0; w < WRITERS; w++)
		if (fork() == 0)
		{
			/* start together, else one is done before the next begins */
			atomic_fetch_add(&planes.shared->opened, 1);
			while (atomic_load(&planes.shared->opened) < WRITERS)
				sched_yield();
			for (uint64_t i = w; i < BITS; i += WRITERS)
				CHECK(bits_set(planes.now, i, 1));
			_exit(0);
		}
	for (int w = 0; w < WRITERS; w++)
	{
		int			status;

		CHECK(wait(&status) > 0 && status == 0);
	}
	for (uint64_t i = 0; i < BITS; i++)
		CHECK(bit_test(planes.now, i));
}

int
main(void)
{
	RUN(set_and_any_agree_with_a_plain_array);
	RUN(copies_carry_one_range_to_another_plane);
	RUN(loading_keeps_what_is_set);
	RUN(processes_setting_at_once_lose_nothing);
	return 0;
}
