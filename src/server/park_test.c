/*
 * What a client parks is there for others, whatever becomes of the client, until it is dropped.
 */
#include "lib/raw_client.h"
#include "lib/test.h"
#include "lib/test_server.h"

#include <fcntl.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static const hf_id none = {0, 0};

static struct test_server test;
static struct raw_client one;
static struct raw_client other;
static int descriptors; /* that are open when nothing is parked */

static int set_up(void **state)
{
    test_server_init(&test);
    test.config.limits.parked = 3;
    test.config.limits.parked_bytes = 10;
    test_server_start(&test);
    raw_join(&one, test.address, "one");
    raw_join(&other, test.address, "other");
    descriptors = test_count_descriptors();
    return 0;
}

static int tear_down(void **state)
{
    raw_close(&one);
    raw_close(&other);
    test_server_deinit(&test);
    return 0;
}

/* An open file without a name. */
static int make_file(const char *content)
{
    const int fd = open(test.folder, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, content, strlen(content)), strlen(content));
    return fd;
}

static hf_id park_file(struct raw_client *client, hf_id ticket, hf_id id, const char *content)
{
    const int fd = make_file(content);
    const struct wire_message answer = raw_park(client, ticket, id, "data", fd);
    close(fd);
    assert_int_equal(answer.reason, WIRE_REASON_NONE);
    return answer.ticket;
}

static void expect_content(int fd, const char *content)
{
    char found[32] = "";
    assert_int_equal(pread(fd, found, sizeof(found) - 1, 0), strlen(content));
    assert_string_equal(found, content);
    close(fd);
}

static void expect_parked(struct raw_client *client, hf_id ticket, uint32_t index,
                          const char *content)
{
    int fd;
    const struct wire_message answer = raw_claim(client, ticket, index, &fd);
    assert_int_equal(answer.reason, WIRE_REASON_NONE);
    assert_int_equal(answer.data_size, 4);
    assert_memory_equal(answer.data, "data", 4);
    expect_content(fd, content);
}

static void expect_no_more(struct raw_client *client, hf_id ticket, uint32_t index)
{
    int fd;
    assert_int_equal(raw_claim(client, ticket, index, &fd).reason, WIRE_REASON_UNKNOWN_TICKET);
}

static void test_what_is_parked_is_there_for_others_until_it_is_dropped(void **state)
{
    const hf_id ticket = park_file(&one, none, none, "content");
    expect_parked(&other, ticket, 0, "content");
    expect_parked(&other, ticket, 0, "content");
    expect_parked(&one, ticket, 0, "content");
    assert_int_equal(test_server_stats(&test).parked, 1);

    assert_int_equal(raw_drop(&other, ticket), WIRE_REASON_NONE);
    expect_no_more(&one, ticket, 0);
    assert_int_equal(raw_drop(&one, ticket), WIRE_REASON_UNKNOWN_TICKET);
    assert_int_equal(test_server_stats(&test).parked, 0);
    assert_int_equal(test_count_descriptors(), descriptors);
}

static void test_it_outlives_the_client_that_parked_it(void **state)
{
    const hf_id ticket = park_file(&one, none, none, "content");
    raw_close(&one);
    raw_join(&one, test.address, "one again");
    raw_round_trip(&other);
    expect_parked(&other, ticket, 0, "content");
}

/* And with it the value of its handle, as it was last published. */
static void test_a_sync_handle_that_is_parked_keeps_its_value(void **state)
{
    const hf_id id = {1, 7};
    const uint64_t handles = test_server_stats(&test).handles;
    raw_acquire(&one, 7, HF_EXCLUSIVE, WIRE_REFERENCE);
    const uint64_t grant = raw_expect(&one, WIRE_GRANT).grant;
    const hf_id ticket = park_file(&one, none, id, "content");
    assert_true(raw_send(&one,
                         &(struct wire_message){
                             .kind = WIRE_RELEASE,
                             .id = id,
                             .grant = grant,
                             .mode = HF_INVALID,
                             .flags = WIRE_VALUE | WIRE_CLOSE,
                             .data = (const uint8_t *)"offset",
                             .data_size = 6,
                         }));
    raw_round_trip(&one);

    int fd;
    const struct wire_message claimed = raw_claim(&other, ticket, 0, &fd);
    close(fd);
    assert_memory_equal(&claimed.id, &id, sizeof(id));
    raw_acquire(&other, 7, HF_SHARED, WIRE_REFERENCE);
    const struct wire_message granted = raw_expect(&other, WIRE_GRANT);
    assert_int_equal(granted.data_size, 6);
    assert_memory_equal(granted.data, "offset", 6);

    assert_int_equal(raw_drop(&other, ticket), WIRE_REASON_NONE);
    /* Only the last client's reference is left, and goes with it. */
    raw_hold(&other, 8, HF_EXCLUSIVE);
    raw_acquire(&one, 8, HF_EXCLUSIVE, 0);
    assert_int_equal(test_server_stats(&test).handles, handles + 2);
    raw_close(&other);
    raw_expect(&one, WIRE_GRANT);
    assert_int_equal(test_server_stats(&test).handles, handles + 1);
    raw_join(&other, test.address, "other again");
}

static void test_several_go_under_one_ticket_and_are_dropped_together(void **state)
{
    const hf_id ticket = park_file(&one, none, none, "first");
    const hf_id same = park_file(&one, ticket, none, "second");
    assert_memory_equal(&same, &ticket, sizeof(ticket));
    const hf_id another = park_file(&one, none, none, "third");
    assert_memory_not_equal(&another, &ticket, sizeof(ticket));

    expect_parked(&other, ticket, 1, "second");
    expect_parked(&other, ticket, 0, "first");
    expect_no_more(&other, ticket, 2);
    expect_no_more(&other, ticket, UINT32_MAX);
    assert_int_equal(raw_drop(&one, ticket), WIRE_REASON_NONE);
    assert_int_equal(test_server_stats(&test).parked, 1);
    expect_parked(&other, another, 0, "third");
}

static void test_over_the_limits_it_is_refused_and_costs_nothing(void **state)
{
    const int fd = make_file("content");
    assert_int_equal(raw_park(&one, none, none, "over the limit", fd).reason,
                     WIRE_REASON_PARK_LIMIT);
    assert_int_equal(raw_park(&one, (hf_id){1, 1}, none, "", fd).reason,
                     WIRE_REASON_UNKNOWN_TICKET);
    close(fd);
    assert_int_equal(test_count_descriptors(), descriptors);

    hf_id tickets[3];
    for (int i = 0; i < 3; i++) {
        tickets[i] = park_file(&one, none, none, "content");
    }
    const int fourth = make_file("content");
    assert_int_equal(raw_park(&one, none, none, "", fourth).reason, WIRE_REASON_PARK_LIMIT);
    assert_int_equal(raw_park(&other, tickets[0], none, "", fourth).reason, WIRE_REASON_PARK_LIMIT);
    close(fourth);
    assert_int_equal(test_count_descriptors(), descriptors + 3);
    assert_int_equal(raw_drop(&one, tickets[1]), WIRE_REASON_NONE);
    park_file(&one, none, none, "content");
    assert_int_equal(test_server_stats(&test).parked, 3);
}

/* The descriptor that was sent is lost on the way, through no fault of the client's. */
static void test_a_server_without_descriptors_says_so_and_goes_on(void **state)
{
    struct rlimit limit;
    const int fd = make_file("content");
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
    const struct rlimit none_left = {.rlim_cur = 3, .rlim_max = limit.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &none_left), 0);
    const struct wire_message answer = raw_park(&one, none, none, "", fd);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
    assert_int_equal(answer.reason, WIRE_REASON_NO_DESCRIPTOR);
    close(fd);
    const hf_id ticket = park_file(&one, none, none, "content");
    expect_parked(&other, ticket, 0, "content");
    assert_int_equal(test_server_stats(&test).cut_off, 0);
}

static int set_up_with_few_descriptors(void **state)
{
    struct rlimit limit;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
    const struct rlimit few = {.rlim_cur = 64, .rlim_max = limit.rlim_max};
    test_server_init(&test);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &few), 0);
    test_server_start(&test);
    raw_join(&one, test.address, "one");
    raw_join(&other, test.address, "other");
    *state = (void *)(uintptr_t)limit.rlim_cur;
    return 0;
}

static int tear_down_with_few_descriptors(void **state)
{
    struct rlimit limit;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
    limit.rlim_cur = (rlim_t)(uintptr_t)*state;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
    return tear_down(state);
}

/* Whatever the limit says, there are descriptors left for clients that come later. */
static void test_half_of_the_descriptors_are_not_for_parking(void **state)
{
    struct raw_client third;
    const int fd = make_file("content");
    hf_id ticket = none;
    for (int i = 0; i < 32; i++) {
        const struct wire_message answer = raw_park(&one, ticket, none, "", fd);
        assert_int_equal(answer.reason, WIRE_REASON_NONE);
        ticket = answer.ticket;
    }
    assert_int_equal(raw_park(&one, ticket, none, "", fd).reason, WIRE_REASON_PARK_LIMIT);
    close(fd);
    raw_join(&third, test.address, "third");
    raw_close(&third);
    raw_round_trip(&other);
}

/* A frame in pieces: its descriptor waits for the rest. */
static void test_a_frame_may_come_in_pieces(void **state)
{
    uint8_t frame[64];
    const int fd = make_file("content");
    const size_t size = wire_encode(&(struct wire_message){.kind = WIRE_PARK, .seq = 1}, frame);
    assert_true(raw_write_with(&one, frame, 1, &fd, 1));
    close(fd);
    for (size_t i = 1; i < size; i++) {
        assert_true(raw_write(&one, frame + i, 1));
    }
    const struct wire_message answer = raw_expect(&one, WIRE_PARKED);
    assert_int_equal(answer.reason, WIRE_REASON_NONE);
    int claimed;
    assert_int_equal(raw_claim(&other, answer.ticket, 0, &claimed).reason, WIRE_REASON_NONE);
    expect_content(claimed, "content");
}

/* A forked child of the server's process keeps none of it. */
static void test_a_forked_child_has_nothing_of_what_is_parked(void **state)
{
    struct stat status;
    const int fd = make_file("content");
    const hf_id ticket = raw_park(&one, none, none, "", fd).ticket;
    assert_int_equal(fstat(fd, &status), 0);
    const pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        int found = 0;
        struct stat here;
        for (int i = 0; i < 1024; i++) {
            found += i != fd && fstat(i, &here) == 0 && here.st_ino == status.st_ino &&
                     here.st_dev == status.st_dev;
        }
        _exit(found);
    }
    int result;
    assert_int_equal(waitpid(pid, &result, 0), pid);
    assert_int_equal(result, 0);
    close(fd);
    expect_no_more(&other, ticket, 1);
}

/* What nobody ever drops ends with the server: test_server_deinit() finds nothing left. */
static void test_the_end_of_the_server_is_the_end_of_what_is_parked(void **state)
{
    park_file(&one, none, (hf_id){1, 9}, "content");
    park_file(&one, none, none, "content");
}

int main(void)
{
    cmocka_set_message_output(CM_OUTPUT_TAP);
#define TEST(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(test_what_is_parked_is_there_for_others_until_it_is_dropped),
        TEST(test_it_outlives_the_client_that_parked_it),
        TEST(test_a_sync_handle_that_is_parked_keeps_its_value),
        TEST(test_several_go_under_one_ticket_and_are_dropped_together),
        TEST(test_over_the_limits_it_is_refused_and_costs_nothing),
        TEST(test_a_server_without_descriptors_says_so_and_goes_on),
        cmocka_unit_test_setup_teardown(test_half_of_the_descriptors_are_not_for_parking,
                                        set_up_with_few_descriptors,
                                        tear_down_with_few_descriptors),
        TEST(test_a_frame_may_come_in_pieces),
        TEST(test_a_forked_child_has_nothing_of_what_is_parked),
        TEST(test_the_end_of_the_server_is_the_end_of_what_is_parked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
