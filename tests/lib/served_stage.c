#include "lib/served_stage.h"

#include "lib/stores.h"
#include "lib/test.h"
#include "server/served/parts.h"
#include "store/ram/ram.h"

#include <grp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

void served_stage_init(struct served_stage *stage)
{
    *stage = (struct served_stage){.store = 0};
    test_server_init(&stage->test);
}

static void make_store(struct served_stage *stage, const struct served_stage_options *options)
{
    const struct store_limits limits = {.bytes = options->pages * STORE_PAGE_SIZE,
                                        .inodes = options->inodes};
    const struct store_limits none = {.bytes = STORE_NO_LIMIT, .inodes = STORE_NO_LIMIT};
    const struct store_call call = {.now = served_now()};
    struct any_store any;
    if (!options->in_directory) {
        assert_int_equal(
            ram_store_new(&limits, &call, options->mode, geteuid(), getegid(), &stage->backing), 0);
        return;
    }
    any_store_make(&any, true, &none, &call);
    assert_int_equal(chmod(any.path, options->mode), 0);
    stage->backing = any.store;
    memcpy(stage->path, any.path, sizeof(stage->path));
}

void served_stage_start(struct served_stage *stage, const struct served_stage_options *options)
{
    test_server_new(&stage->test);
    make_store(stage, options);
    assert_int_equal(served_add(stage->test.server,
                                stage->backing,
                                options->read_only,
                                options->is_inexact || options->in_directory ? 0 : WIRE_STORE_EXACT,
                                &stage->store),
                     0);
    if (!options->no_thread) {
        assert_int_equal(hf_server_start(stage->test.server), 0);
    }
}

void served_stage_deinit(struct served_stage *stage)
{
    hf_server_stats stats;
    hf_server_stop(stage->test.server);
    hf_server_get_stats(stage->test.server, &stats);
    assert_int_equal(stats.clients, 0);
    assert_int_equal(stats.uses, 0);
    assert_int_equal(stats.reserved_pages, 0);
    assert_int_equal(stats.reserved_inodes, 0);
    if (stage->path[0] == '\0') {
        ram_check(stage->backing, NULL, 0);
    }
    test_server_deinit(&stage->test);
    if (stage->path[0] != '\0') {
        any_store_empty(stage->path);
        assert_int_equal(folder_remove(stage->path), 0);
    }
}

void served_stage_join_as(struct served_stage *stage, struct raw_client *client, uid_t uid,
                          gid_t gid)
{
    int ends[2];
    /* The kernel notes who makes a pair of sockets, for good. */
    assert_int_equal(setgroups(0, NULL), 0);
    assert_int_equal(setegid(gid), 0);
    assert_int_equal(seteuid(uid), 0);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
    assert_int_equal(seteuid(0), 0);
    assert_int_equal(setegid(0), 0);
    assert_int_equal(hf_server_adopt(stage->test.server, ends[0]), 0);
    raw_join_fd(client, ends[1], "other");
}

void served_stage_check(struct served_stage *stage)
{
    const struct served_store *of = stage->test.server->served.stores[0];
    struct store_holder *holders[64];
    size_t count = 0;
    for (struct list *at = of->clients.next; at != &of->clients; at = at->next) {
        assert_true(count < 64);
        holders[count++] = &list_entry(at, struct served_client, link)->holder;
    }
    ram_check(stage->backing, holders, count);
}

struct timespec served_now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_REALTIME, &time);
    return time;
}

uint64_t served_make_in(struct served_stage *stage, struct raw_client *client, uint64_t directory,
                        const char *name, uint32_t mode)
{
    return raw_attributes(raw_ask(client,
                                  stage->store,
                                  OP(WIRE_OP_MAKE,
                                     .inode = directory,
                                     .mode = mode,
                                     .now = served_now(),
                                     .name = raw_name(name))))
        .number;
}

struct wire_reservation served_reserve_for(struct served_stage *stage, struct raw_client *client,
                                           uint64_t pages, uint64_t inodes, bool numbers)
{
    struct wire_reservation reservation;
    const struct raw_answer answer =
        raw_ask(client,
                stage->store,
                OP(WIRE_OP_RESERVE, .pages = pages, .inodes = inodes, .count = numbers ? 1 : 0));
    assert_int_equal(answer.error, 0);
    assert_true(wire_get_reservation(answer.data, answer.size, &reservation) == answer.size);
    return reservation;
}
