/*
 * Open files on their way are not lost: whoever is killed at whatever moment, whatever is wrong
 * with the bytes, and however often they are used.
 */
#include "fs_export.h"

#include "fs/export.h"
#include "fs/export_format.h"
#include "lib/process.h"
#include "lib/raw_client.h"

#include <errno.h>
#include <ftw.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

static struct test_server server;
static char root[80];
static struct puppet one;
static int descriptors; /* of this process, the server's among them, with nothing parked */

/* The server sees this message, of all of the victim's, and kills it before anything comes of it.
 */
static struct {
    _Atomic bool chosen; /* the rest is written only while not */
    char name[32];       /* of its client */
    int left;
    pid_t pid;
} victim;

static void kill_victim(void *context, const hf_trace_event *event)
{
    if (victim.chosen && strcmp(event->client_name, victim.name) == 0 && victim.left-- == 0) {
        kill(victim.pid, SIGKILL);
    }
}

static void start_server(uint32_t parked)
{
    test_server_init(&server);
    snprintf(root, sizeof root, "%s/r", server.folder);
    assert_int_equal(mkdir(root, 0755), 0);
    server.config.limits.parked = parked;
    server.config.trace = kill_victim;
    test_server_start(&server);
    puppet_start(&one, server.address, root, -1);
    descriptors = test_count_descriptors();
}

static int set_up(void **state)
{
    start_server(1000);
    return 0;
}

static int set_up_narrow(void **state)
{
    start_server(5);
    return 0;
}

static int remove_entry(const char *path, const struct stat *attributes, int type, struct FTW *at)
{
    return remove(path);
}

static int tear_down(void **state)
{
    puppet_end(&one);
    assert_int_equal(nftw(root, remove_entry, 16, FTW_DEPTH | FTW_PHYS), 0);
    test_server_deinit(&server);
    return 0;
}

static void start_other(struct puppet *other)
{
    puppet_start(other, server.address, root, -1);
}

/* Nothing is parked, and the puppets that there were meanwhile have ended. */
static void expect_nothing_parked(void)
{
    assert_int_equal(test_server_stats(&server).parked, 0);
}

static void expect_no_descriptor_left(void)
{
    /* The server closes a connection some time after its client has ended; this comes later. */
    struct raw_client last;
    while (test_server_stats(&server).clients > 1) {
        raw_join(&last, server.address, "last");
        raw_round_trip(&last);
        raw_close(&last);
    }
    raw_join(&last, server.address, "last");
    raw_round_trip(&last);
    assert_int_equal(test_count_descriptors(), descriptors + 2);
    raw_close(&last);
}

/* 0 has lost its name, 1 is a directory, 2 is the same open file as 0. */
static struct bytes export_some(void)
{
    assert_int_equal(tell_open(&one, "file", O_CREAT | O_RDWR), 0);
    assert_int_equal(tell_write(&one, 0, "all there"), 9);
    assert_int_equal(tell_seek(&one, 0, 3, SEEK_SET), 3);
    assert_int_equal(tell_path(&one, PUPPET_UNLINK, "file"), 0);
    assert_int_equal(tell_open(&one, "/", O_RDONLY), 1);
    assert_int_equal(puppet_tell(&one, PUPPET_DUP2, 0, 2, 0, NULL, 0), 2);
    return tell_export(&one);
}

static void close_some(void)
{
    for (int fd = 0; fd < 3; fd++) {
        assert_int_equal(tell_close(&one, fd), 0);
    }
}

static void expect_all_there(struct puppet *puppet)
{
    assert_int_equal(tell_offset(puppet, 0), 3);
    expect_read(puppet, 2, 10, " there");
    assert_int_equal(tell_seek(puppet, 0, 0, SEEK_SET), 0);
    expect_read(puppet, 0, 10, "all there");
    assert_int_equal(tell_stat(puppet, 0).st_nlink, 0);
    assert_int_equal(puppet_tell(puppet, PUPPET_READDIR, 1, 0, 0, NULL, 0), 1);
}

/* ---- deaths ---- */

static void test_the_exporter_closes_exits_or_is_killed(void **state)
{
    for (int how = 0; how < 3; how++) {
        struct puppet other;
        const struct bytes bytes = export_some();
        if (how == 0) {
            close_some();
        } else {
            how == 1 ? puppet_exit(&one) : puppet_kill(&one);
            puppet_start(&one, server.address, root, -1);
        }
        start_other(&other);
        assert_int_equal(tell_import(&other, &bytes), 0);
        expect_all_there(&other);
        puppet_end(&other);
        expect_nothing_parked();
    }
    expect_no_descriptor_left();
}

/* Somebody moves it after the export, and is killed: where its last call left it. */
static void test_the_offset_is_where_it_was_left(void **state)
{
    struct puppet other;
    assert_int_equal(tell_open(&one, "file", O_CREAT | O_RDWR), 0);
    const struct bytes bytes = tell_export(&one);
    assert_int_equal(tell_control(&one, 0, F_SETFL, O_APPEND), 0);
    for (int i = 0; i < 100; i++) {
        assert_int_equal(tell_write(&one, 0, "x"), 1);
    }
    puppet_kill(&one);
    start_other(&other);
    assert_int_equal(tell_import(&other, &bytes), 0);
    assert_int_equal(tell_offset(&other, 0), 100);
    assert_int_equal(tell_control(&other, 0, F_GETFL, 0), O_RDWR | O_APPEND);
    puppet_end(&other);
    puppet_start(&one, server.address, root, -1);
}

/* The importer is killed at its message number @count. Return: whether it came to that. */
static bool killed_at(int count, const struct bytes *bytes)
{
    struct puppet other;
    start_other(&other);
    victim.pid = other.pid;
    victim.left = count;
    snprintf(victim.name, sizeof victim.name, "pid %d", (int)other.pid);
    victim.chosen = true;
    puppet_command(&other, PUPPET_IMPORT, 0, 0, 0, bytes->at, bytes->size);
    char byte;
    const bool killed = recv(other.fd, &byte, 1, MSG_PEEK) <= 0;
    victim.chosen = false;
    if (killed) {
        puppet_expect_killed(&other);
    } else {
        assert_int_equal(puppet_answer(&other), 0);
        puppet_end(&other);
    }
    return killed;
}

/* CLAIM, PARKED, ACQUIRE, GRANT for each of the two, then DROP. Before that nothing has happened;
 * from then on it was imported, by one that died right after. */
static void test_the_importer_is_killed_at_any_message(void **state)
{
    enum { MESSAGES_BEFORE_DROP = 8 };
    int count = 0;
    for (bool killed = true; killed; count++) {
        struct puppet other;
        const struct bytes bytes = export_some();
        close_some();
        killed = killed_at(count, &bytes);
        start_other(&other);
        if (count < MESSAGES_BEFORE_DROP) {
            assert_int_equal(tell_import(&other, &bytes), 0);
            expect_all_there(&other);
        } else {
            assert_int_equal(tell_import(&other, &bytes), -ESTALE);
        }
        puppet_end(&other);
        expect_nothing_parked();
    }
    assert_int_equal(count, MESSAGES_BEFORE_DROP + 3);
    expect_no_descriptor_left();
}

/* ---- used more than once, or not at all ---- */

static void test_bytes_are_good_for_one_import(void **state)
{
    struct puppet other;
    const struct bytes bytes = export_some();
    start_other(&other);
    assert_int_equal(tell_import(&other, &bytes), 0);
    assert_int_equal(tell_import(&other, &bytes), -EBUSY);
    for (int fd = 0; fd < 3; fd++) {
        assert_int_equal(tell_close(&other, fd), 0);
    }
    assert_int_equal(tell_import(&other, &bytes), -ESTALE);
    assert_int_equal(tell_bytes(&other, PUPPET_DROP, &bytes), -ESTALE);
    const struct bytes file = tell_export_file(&one, 0);
    assert_int_equal(tell_bytes(&other, PUPPET_IMPORT_FILE, &file), 0);
    assert_int_equal(tell_bytes(&other, PUPPET_IMPORT_FILE, &file), -ESTALE);
    puppet_end(&other);
}

static void test_of_two_importers_one_fails(void **state)
{
    struct puppet others[2];
    assert_int_equal(tell_open(&one, "file", O_CREAT | O_RDWR), 0);
    start_other(&others[0]);
    start_other(&others[1]);
    for (int round = 0; round < 50; round++) {
        const struct bytes bytes = tell_export(&one);
        for (int i = 0; i < 2; i++) {
            puppet_command(&others[i], PUPPET_IMPORT, 0, 0, 0, bytes.at, bytes.size);
        }
        int winner = -1;
        for (int i = 0; i < 2; i++) {
            const int64_t result = puppet_answer(&others[i]);
            assert_true(result == 0 || result == -ESTALE);
            assert_true(result != 0 || winner < 0);
            winner = result == 0 ? i : winner;
        }
        assert_true(winner >= 0);
        assert_int_equal(tell_close(&others[winner], 0), 0);
        assert_int_equal(tell_close(&others[1 - winner], 0), -EBADF);
    }
    puppet_end(&others[0]);
    puppet_end(&others[1]);
    expect_nothing_parked();
}

static void test_two_exporters_at_once(void **state)
{
    struct puppet other, third;
    assert_int_equal(tell_open(&one, "file", O_CREAT | O_RDWR), 0);
    start_other(&other);
    start_other(&third);
    struct bytes bytes = tell_export(&one);
    assert_int_equal(tell_import(&other, &bytes), 0);
    for (int round = 0; round < 50; round++) {
        puppet_command(&one, PUPPET_EXPORT, 0, 0, 0, NULL, 0);
        puppet_command(&other, PUPPET_EXPORT, 0, 0, 0, NULL, 0);
        bytes = keep_bytes(&one, puppet_answer(&one));
        assert_int_equal(tell_import(&third, &bytes), 0);
        assert_int_equal(tell_write(&third, 0, "x"), 1);
        assert_int_equal(tell_close(&third, 0), 0);
        bytes = keep_bytes(&other, puppet_answer(&other));
        assert_int_equal(tell_import(&third, &bytes), 0);
        assert_int_equal(tell_write(&third, 0, "x"), 1);
        assert_int_equal(tell_close(&third, 0), 0);
        assert_int_equal(tell_offset(&one, 0), 2 * round + 2);
    }
    puppet_end(&other);
    puppet_end(&third);
}

static void test_what_is_dropped_is_gone(void **state)
{
    struct puppet other;
    struct bytes bytes = export_some();
    start_other(&other);
    assert_int_equal(tell_bytes(&other, PUPPET_DROP, &bytes), 0);
    assert_int_equal(tell_import(&other, &bytes), -ESTALE);
    expect_nothing_parked();
    expect_all_there(&one); /* it has never gone from here */
    puppet_end(&other);
}

/* Of nothing the bytes say so, as often as one likes. */
static void test_nothing_is_exported(void **state)
{
    struct puppet other;
    const struct bytes bytes = tell_export(&one);
    expect_nothing_parked();
    start_other(&other);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(tell_import(&other, &bytes), 0);
    }
    assert_int_equal(tell_bytes(&other, PUPPET_DROP, &bytes), 0);
    puppet_end(&other);
}

/* ---- wrong bytes ---- */

static void test_damaged_bytes_are_refused_and_cost_nothing(void **state)
{
    struct puppet other;
    const struct bytes good = export_some();
    struct bytes bad = good;
    start_other(&other);
    for (bad.size = 0; bad.size < good.size; bad.size++) {
        assert_int_equal(tell_import(&other, &bad), -EINVAL);
        assert_int_equal(tell_bytes(&other, PUPPET_IMPORT_FILE, &bad), -EINVAL);
        assert_int_equal(tell_bytes(&other, PUPPET_DROP, &bad), -EINVAL);
    }
    bad.size = good.size + 1;
    assert_int_equal(tell_import(&other, &bad), -EINVAL);
    bad.size = good.size;
    for (size_t bit = 0; bit < 8 * good.size; bit++) {
        bad.at[bit / 8] ^= (char)(1u << bit % 8);
        assert_int_equal(tell_import(&other, &bad), -EINVAL);
        bad.at[bit / 8] = good.at[bit / 8];
    }
    assert_int_equal(tell_bytes(&other, PUPPET_IMPORT_FILE, &good), -EINVAL);
    const struct bytes file = tell_export_file(&one, 0);
    assert_int_equal(tell_import(&other, &file), -EINVAL);
    assert_int_equal(tell_bytes(&other, PUPPET_DROP, &file), 0);

    assert_int_equal(tell_import(&other, &good), 0);
    expect_all_there(&other);
    puppet_end(&other);
}

/* A client that knows the format, parks what it likes and makes bytes that say so. */
static int64_t import_forged(int fd, hf_id id, const void *data, size_t size)
{
    struct raw_client evil;
    struct puppet other;
    struct bytes bytes = {.size = HF_EXPORT_FILE_SIZE};
    const struct export_descriptor descriptor = {.number = 0};
    const struct wire_message park = {
        .kind = WIRE_PARK, .seq = 1, .id = id, .data = data, .data_size = (uint16_t)size};

    raw_join(&evil, server.address, "evil");
    assert_true(raw_send_with(&evil, &park, &fd, 1));
    const struct wire_message answer = raw_expect(&evil, WIRE_PARKED);
    assert_int_equal(answer.reason, WIRE_REASON_NONE);
    const struct export_head head = {
        .kind = EXPORT_FILE, .ticket = answer.ticket, .items = 1, .descriptors = 1};
    export_set_descriptor((uint8_t *)bytes.at, 0, &descriptor);
    export_set_head((uint8_t *)bytes.at, &head);

    start_other(&other);
    const int64_t result = tell_bytes(&other, PUPPET_IMPORT_FILE, &bytes);
    assert_int_equal(raw_drop(&evil, answer.ticket),
                     result < 0 ? WIRE_REASON_NONE : WIRE_REASON_UNKNOWN_TICKET);
    if (result >= 0) {
        assert_int_equal(tell_offset(&other, 0), -EIO);
    }
    assert_int_equal(tell_close(&other, 0), result < 0 ? -EBADF : 0);
    puppet_end(&other);
    raw_close(&evil);
    return result;
}

static void test_what_others_park_is_not_believed(void **state)
{
    static const struct export_data good = {.magic = EXPORT_DATA_MAGIC, .mount = 1, .backend = 1};
    const hf_id none = {0, 0};
    const hf_id id = {HF_SPACE_RESERVED | UINT64_C(2) << 56 | 999, 1};
    const hf_id inode = {HF_SPACE_RESERVED | UINT64_C(1) << 56, 1};
    struct export_data data = good;
    const int directory = open(root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    const int path = open(root, O_PATH | O_CLOEXEC);

    assert_int_equal(import_forged(directory, id, &data, sizeof data - 1), -EINVAL);
    assert_int_equal(import_forged(directory, id, NULL, 0), -EINVAL);
    const struct export_data longer[2] = {good};
    assert_int_equal(import_forged(directory, id, longer, sizeof data + 1), -EINVAL);
    assert_int_equal(import_forged(directory, none, &data, sizeof data), -EINVAL);
    assert_int_equal(import_forged(directory, inode, &data, sizeof data), -EINVAL);
    assert_int_equal(import_forged(path, id, &data, sizeof data), -EINVAL);
    data.open_flags = O_PATH;
    assert_int_equal(import_forged(directory, none, &data, sizeof data), -EINVAL);
    assert_int_equal(import_forged(path, id, &data, sizeof data), -EINVAL);
    data.open_flags = O_PATH | O_SYNC;
    assert_int_equal(import_forged(path, none, &data, sizeof data), -EINVAL);
    data.open_flags = O_CREAT;
    assert_int_equal(import_forged(directory, id, &data, sizeof data), -EINVAL);
    data.open_flags = O_RDWR; /* that the descriptor says */
    assert_int_equal(import_forged(directory, id, &data, sizeof data), -EINVAL);
    data.open_flags = UINT32_MAX;
    assert_int_equal(import_forged(directory, id, &data, sizeof data), -EINVAL);
    data = good;
    data.magic++;
    assert_int_equal(import_forged(directory, id, &data, sizeof data), -EINVAL);
    data = good;
    data.mount = 0;
    assert_int_equal(import_forged(directory, id, &data, sizeof data), -EINVAL);
    data = good;
    data.mount_flags = 4;
    assert_int_equal(import_forged(directory, id, &data, sizeof data), -EINVAL);
    data = good;
    data.backend = 0;
    assert_int_equal(import_forged(directory, id, &data, sizeof data), -ENODEV);
    data.backend = UINT32_MAX;
    assert_int_equal(import_forged(directory, id, &data, sizeof data), -ENODEV);
    /* A handle without a value is found out when it is used. */
    assert_int_equal(import_forged(directory, id, &good, sizeof good), 0);
    int ends[2];
    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    assert_int_equal(import_forged(ends[0], id, &good, sizeof good), -EINVAL);
    assert_int_equal(import_forged(ends[0], inode, &good, sizeof good), -EINVAL);
    close(ends[0]);
    close(ends[1]);
    close(directory);
    close(path);
    expect_nothing_parked();
}

/* Bytes that are made up may name any open file as the working directory. */
static void test_a_working_directory_that_is_none(void **state)
{
    struct puppet other;
    struct export_head head;
    const struct bytes some = export_some();
    struct bytes bytes = tell_export_file(&one, 0);
    assert_int_equal(export_get_head((uint8_t *)bytes.at, bytes.size, &head), 0);
    head.kind = EXPORT_ALL;
    head.descriptors = 0;
    head.has_directory = true;
    export_set_head((uint8_t *)bytes.at, &head);
    bytes.size = export_size(0);
    start_other(&other);
    assert_int_equal(tell_import(&other, &bytes), -EINVAL);
    assert_int_equal(puppet_tell(&other, PUPPET_GETCWD, 0, 0, 0, NULL, 0), sizeof "/");
    assert_int_equal(tell_bytes(&other, PUPPET_DROP, &bytes), 0);
    assert_int_equal(tell_bytes(&other, PUPPET_DROP, &some), 0);
    puppet_end(&other);
}

static void test_a_ticket_that_was_guessed(void **state)
{
    struct puppet other;
    struct export_head head;
    struct bytes bytes = export_some();
    assert_int_equal(export_get_head((uint8_t *)bytes.at, bytes.size, &head), 0);
    head.ticket.object++;
    export_set_head((uint8_t *)bytes.at, &head);
    start_other(&other);
    assert_int_equal(tell_import(&other, &bytes), -ESTALE);
    puppet_end(&other);
}

/* ---- limits ---- */

static void test_over_the_limit_nothing_is_exported(void **state)
{
    struct puppet other;
    for (int i = 0; i < 6; i++) {
        char name[2] = {(char)('a' + i), '\0'};
        assert_int_equal(tell_open(&one, name, O_CREAT | O_RDWR), i);
    }
    assert_int_equal(puppet_tell(&one, PUPPET_EXPORT, 0, 0, 0, NULL, 0), -EDQUOT);
    expect_nothing_parked();
    expect_no_descriptor_left();
    assert_int_equal(tell_write(&one, 5, "x"), 1);
    assert_int_equal(tell_close(&one, 5), 0);
    struct bytes bytes = tell_export(&one);
    assert_int_equal(puppet_tell(&one, PUPPET_EXPORT_FILE, 0, 0, 0, NULL, 0), -EDQUOT);
    start_other(&other);
    assert_int_equal(tell_import(&other, &bytes), 0);
    bytes = tell_export_file(&one, 0);
    puppet_end(&other);
}

/* An importer without descriptors for it is as before, and the bytes are as good. */
static void test_an_importer_that_has_no_room(void **state)
{
    struct puppet other;
    char path[120];
    snprintf(path, sizeof path, "%s/d", root);
    assert_int_equal(mkdir(path, 0755), 0);
    const struct bytes bytes = export_some();
    close_some();
    start_other(&other);
    assert_int_equal(tell_path(&other, PUPPET_CHDIR, "d"), 0);
    assert_int_equal(puppet_tell(&other, PUPPET_UMASK, 077, 0, 0, NULL, 0), 022);
    bool imported = false;
    for (int limit = 4; !imported; limit++) {
        assert_true(limit < 100);
        assert_int_equal(puppet_tell(&other, PUPPET_LIMIT, limit, 0, 0, NULL, 0), 0);
        const int64_t result = tell_import(&other, &bytes);
        assert_int_equal(puppet_tell(&other, PUPPET_LIMIT, 0, 0, 0, NULL, 0), 0);
        imported = result == 0;
        if (!imported) {
            assert_int_equal(result, -EMFILE);
            assert_int_equal(tell_close(&other, 0), -EBADF);
            assert_int_equal(puppet_tell(&other, PUPPET_GETCWD, 0, 0, 0, NULL, 0), sizeof "/d");
            assert_int_equal(puppet_tell(&other, PUPPET_UMASK, 077, 0, 0, NULL, 0), 077);
        }
    }
    expect_all_there(&other);
    assert_int_equal(puppet_tell(&other, PUPPET_GETCWD, 0, 0, 0, NULL, 0), sizeof "/");
    puppet_end(&other);
}

/* ---- a server that is a program of its own ---- */

static void test_with_a_server_in_another_process(void **state)
{
    struct program serve;
    struct puppet exporter, other;
    char address[128], line[160];
    snprintf(address, sizeof address, "unix:%s/r/other", server.folder);
    snprintf(line, sizeof line, "holdfast: serving %s", address);
    program_start(&serve,
                  (const char *const[]){getenv("HOLDFAST"), "serve", "--listen", address, NULL});
    program_expect_line(&serve, line);
    puppet_start(&exporter, address, root, -1);
    puppet_start(&other, address, root, -1);
    assert_int_equal(tell_open(&exporter, "file", O_CREAT | O_RDWR), 0);
    assert_int_equal(tell_write(&exporter, 0, "text"), 4);
    const struct bytes bytes = tell_export(&exporter);
    /* Those of another server are unknown here. */
    assert_int_equal(tell_import(&one, &bytes), -ESTALE);
    puppet_kill(&exporter);
    assert_int_equal(tell_import(&other, &bytes), 0);
    assert_int_equal(tell_offset(&other, 0), 4);
    puppet_end(&other);
    kill(serve.pid, SIGTERM);
    assert_int_equal(program_wait(&serve), 0);
}

int main(int argc, char **argv)
{
    int status;
    if (puppet_play(argc, argv, &status)) {
        return status;
    }
    cmocka_set_message_output(CM_OUTPUT_TAP);
#define TEST(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(test_the_exporter_closes_exits_or_is_killed),
        TEST(test_the_offset_is_where_it_was_left),
        TEST(test_the_importer_is_killed_at_any_message),
        TEST(test_bytes_are_good_for_one_import),
        TEST(test_of_two_importers_one_fails),
        TEST(test_two_exporters_at_once),
        TEST(test_what_is_dropped_is_gone),
        TEST(test_nothing_is_exported),
        TEST(test_damaged_bytes_are_refused_and_cost_nothing),
        TEST(test_what_others_park_is_not_believed),
        TEST(test_a_working_directory_that_is_none),
        TEST(test_a_ticket_that_was_guessed),
        cmocka_unit_test_setup_teardown(
            test_over_the_limit_nothing_is_exported, set_up_narrow, tear_down),
        TEST(test_an_importer_that_has_no_room),
        TEST(test_with_a_server_in_another_process),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
