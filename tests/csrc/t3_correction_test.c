/* t3_correction_test.c: by how much T3 is put off, learnt from simulated replies.  The time from
 * reading the clock to the departure has a floor, a tail, and stalls, as measured.  Prints each
 * claim that does not hold. */
#include "claim.h"
#include "reflector/t3_correction.h"

#define WINDOW   256
#define FLOOR_NS 1250
#define MANY     200000

struct machine {
    struct tw_t3_correction correction;
    enum tw_t3_state state;
    uint64_t random;
    uint64_t fastest_ns; /* of a reply, all at hand */
    uint64_t tail_ns;    /* the median beyond that */
    uint32_t late;       /* replies that left before their T3 */
    uint32_t replies;
};

static uint64_t draw(struct machine *machine)
{
    machine->random = machine->random * 6364136223846793005u + 1442695040888963407u;
    return machine->random >> 33;
}

/* Twice halved, so that few are near the fastest; one in a hundred is stalled. */
static uint64_t next_ns(struct machine *machine)
{
    const uint64_t scale_ns = 2 * machine->tail_ns + 1;
    const uint64_t ns =
        machine->fastest_ns + (draw(machine) % scale_ns + draw(machine) % scale_ns) / 2;

    return draw(machine) % 100 == 0 ? ns + draw(machine) % 1000000 : ns;
}

static uint64_t correction_ns(const struct machine *machine)
{
    return machine->correction.states[machine->state].correction_ns;
}

/* So many replies, of which one in every is a sample. */
static void reply(struct machine *machine, int count, int every)
{
    for (int i = 0; i < count; i++) {
        const uint64_t ns = next_ns(machine);

        machine->replies++;
        machine->late += ns < correction_ns(machine);
        if (i % every == 0)
            tw_t3_correction_learn(&machine->correction, machine->state, ns);
    }
}

static struct machine start(enum tw_t3_state state, uint64_t floor_ns)
{
    struct machine machine = {.state = state, .random = 7, .fastest_ns = 1800, .tail_ns = 300};

    tw_t3_correction_start(&machine.correction, floor_ns);
    return machine;
}

static void without_a_floor_a_whole_window_is_needed(void)
{
    struct machine machine = start(TW_T3_STEADY, 0);

    reply(&machine, WINDOW - 1, 1);
    CLAIM(correction_ns(&machine) == 0);
    reply(&machine, 1, 1);
    CLAIM(correction_ns(&machine) > 1000);
    CLAIM(machine.late == 0);
}

static void the_first_reply_is_corrected_by_the_floor(void)
{
    struct machine machine = start(TW_T3_ASLEEP, FLOOR_NS);

    CLAIM(correction_ns(&machine) > FLOOR_NS - FLOOR_NS / 10);
    CLAIM(correction_ns(&machine) < FLOOR_NS);
}

static void a_few_samples_are_enough_after_pauses(void)
{
    struct machine machine = start(TW_T3_ASLEEP, FLOOR_NS);

    reply(&machine, 10, 1);
    CLAIM(correction_ns(&machine) > 1600);
    reply(&machine, 20, 1);
    CLAIM(machine.late == 0);
    CLAIM(correction_ns(&machine) + 1000 > machine.fastest_ns + machine.tail_ns);
}

static void first_samples_that_are_all_disturbed_do_little(void)
{
    struct machine machine = start(TW_T3_ASLEEP, FLOOR_NS);

    for (int i = 0; i < 50; i++)
        tw_t3_correction_learn(&machine.correction, TW_T3_ASLEEP, 100000);
    CLAIM(correction_ns(&machine) < 2 * FLOOR_NS);
    tw_t3_correction_learn(&machine.correction, TW_T3_ASLEEP, 1800); /* at once */
    CLAIM(correction_ns(&machine) < 1800);
}

static void hardly_any_reply_leaves_before_its_t3(enum tw_t3_state state, int every)
{
    struct machine machine = start(state, FLOOR_NS);

    reply(&machine, MANY, every);
    CLAIM(machine.late <= MANY / 1000);
    CLAIM(correction_ns(&machine) + 1000 > machine.fastest_ns + machine.tail_ns);
    CLAIM(correction_ns(&machine) < machine.fastest_ns + machine.tail_ns);
}

/* A processor that slows down is noticed within two windows, one that speeds up at once. */
static void the_correction_follows_the_machine(void)
{
    struct machine machine = start(TW_T3_BUSY, FLOOR_NS);

    reply(&machine, 3 * WINDOW, 1);
    machine.fastest_ns = 3600;
    reply(&machine, 3 * WINDOW, 1);
    CLAIM(correction_ns(&machine) > 3300);
    CLAIM(machine.late == 0);
    machine.fastest_ns = 1800;
    reply(&machine, 20, 1);
    CLAIM(machine.late <= 3);
    CLAIM(correction_ns(&machine) < 2000);
}

/* Set forward between the two, the sample is too long; set back, too short, or none at all. */
static void a_clock_that_is_set_does_no_lasting_harm(void)
{
    struct machine machine = start(TW_T3_RESTED, FLOOR_NS);
    uint64_t before_ns;

    reply(&machine, 3 * WINDOW + 10, 1); /* not where a window begins */
    before_ns = correction_ns(&machine);
    tw_t3_correction_learn(&machine.correction, TW_T3_RESTED, 999999999);
    CLAIM(correction_ns(&machine) == before_ns);
    tw_t3_correction_learn(&machine.correction, TW_T3_RESTED, 3);
    CLAIM(correction_ns(&machine) <= 3);
    reply(&machine, 3 * WINDOW, 1);
    CLAIM(correction_ns(&machine) + 200 > before_ns);
    CLAIM(machine.late == 0);
}

static void each_state_has_samples_of_its_own(void)
{
    struct machine machine = start(TW_T3_RESTED, FLOOR_NS);
    const uint32_t first_ns = machine.correction.states[TW_T3_IDLE].correction_ns;

    reply(&machine, 3 * WINDOW, 1);
    CLAIM(machine.correction.states[TW_T3_IDLE].correction_ns == first_ns);
    tw_t3_correction_start(&machine.correction, 0);
    CLAIM(correction_ns(&machine) == 0);
}

static enum tw_t3_state after(uint64_t pause_ns, int count)
{
    return tw_t3_state_after(1000, 1000 + pause_ns, count);
}

static void the_longer_the_pause_the_colder_the_state(void)
{
    enum tw_t3_state last = TW_T3_STEADY;

    CLAIM(after(0, 2) == TW_T3_BUSY);
    CLAIM(after(UINT64_MAX, 64) == TW_T3_BUSY);
    CLAIM(after(100000, 1) == TW_T3_STEADY);   /* 10,000 a second */
    CLAIM(after(1000000, 1) == TW_T3_PAUSED);  /* 1,000 */
    CLAIM(after(10000000, 1) == TW_T3_RESTED); /* 100 */
    CLAIM(after(40000000, 1) == TW_T3_IDLE);   /* 25 */
    CLAIM(after(1000000000, 1) == TW_T3_ASLEEP);
    for (uint64_t pause_ns = 1; pause_ns != 0; pause_ns <<= 1) {
        CLAIM(after(pause_ns, 1) >= last);
        last = after(pause_ns, 1);
    }
}

int main(void)
{
    without_a_floor_a_whole_window_is_needed();
    the_first_reply_is_corrected_by_the_floor();
    a_few_samples_are_enough_after_pauses();
    first_samples_that_are_all_disturbed_do_little();
    hardly_any_reply_leaves_before_its_t3(TW_T3_RUN, 30);
    hardly_any_reply_leaves_before_its_t3(TW_T3_BUSY, 100);
    hardly_any_reply_leaves_before_its_t3(TW_T3_STEADY, 10);
    hardly_any_reply_leaves_before_its_t3(TW_T3_PAUSED, 1);
    hardly_any_reply_leaves_before_its_t3(TW_T3_ASLEEP, 1);
    the_correction_follows_the_machine();
    a_clock_that_is_set_does_no_lasting_harm();
    each_state_has_samples_of_its_own();
    the_longer_the_pause_the_colder_the_state();
    return failures != 0;
}
