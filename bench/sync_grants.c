/*
 * The part `grants` of the group `sync`: how many grants a server gives per second.
 *
 * One process plays 64 clients by writing their frames itself, so that the server and not a
 * client library is what is busy. Each client has some requests under way; for each GRANT it
 * sends RELEASE and the next ACQUIRE in one write. The yardstick is a relay that answers messages
 * of these sizes without looking at them.
 */
#include "relay.h"
#include "sync.h"

#include "wire/wire.h"

#include <assert.h>
#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"

#define CONNECTIONS 64
#define UNDER_WAY 32 /* requests of one connection, at most */
#define TIMEOUT_MS 10000
#define INPUT_BYTES 16384
#define OUTPUT_BYTES 8192

/* What the clients do. */
struct grants_kind {
    const char *name;
    uint64_t grants; /* in a round */
    unsigned under_way;
    bool contested;
};

struct connection {
    int socket;
    uint64_t number;
    uint32_t last_seq;
    unsigned answers;         /* of the yardstick */
    uint64_t left[UNDER_WAY]; /* grants still to get in this round, for each handle */
    uint64_t grant[UNDER_WAY];
    uint8_t input[INPUT_BYTES];
    size_t input_size;
    uint8_t output[OUTPUT_BYTES];
    size_t output_size;
};

struct driver {
    struct connection connections[CONNECTIONS];
    unsigned active; /* connections with requests under way, the first ones */
    unsigned under_way;
    bool contested; /* one handle for all; else each connection has its own */
    bool yardstick;
    int epoll;
    uint64_t outstanding; /* grants still to get in this round */
};

/* ---- one connection ---- */

static void put_message(struct connection *connection, const struct wire_message *message)
{
    assert(connection->output_size + wire_size(message) <= OUTPUT_BYTES);
    connection->output_size += wire_encode(message, connection->output + connection->output_size);
}

static bool flush(struct connection *connection)
{
    const size_t size = connection->output_size;
    connection->output_size = 0;
    return size == 0 ||
           send(connection->socket, connection->output, size, MSG_NOSIGNAL) == (ssize_t)size ||
           bench_fail("the server does not take requests: %s", strerror(errno));
}

static hf_id slot_id(const struct driver *driver, const struct connection *connection,
                     unsigned slot)
{
    return driver->contested ? (hf_id){1, 0} : (hf_id){connection->number + 1, slot};
}

static void put_release(const struct driver *driver, struct connection *connection, unsigned slot)
{
    put_message(connection,
                &(struct wire_message){.kind = WIRE_RELEASE,
                                       .id = slot_id(driver, connection, slot),
                                       .grant = connection->grant[slot],
                                       .mode = HF_INVALID});
}

static void put_acquire(const struct driver *driver, struct connection *connection, unsigned slot)
{
    put_message(connection,
                &(struct wire_message){.kind = WIRE_ACQUIRE,
                                       .id = slot_id(driver, connection, slot),
                                       .seq = ++connection->last_seq,
                                       .mode = HF_EXCLUSIVE});
}

/* Which of the connection's requests this answers. The yardstick's answers are all alike, and come
 * in the order of the requests. */
static unsigned granted_slot(const struct driver *driver, struct connection *connection,
                             const struct wire_message *message)
{
    if (driver->yardstick) {
        return connection->answers++ % driver->under_way;
    }
    return driver->contested ? 0 : (unsigned)message->id.object;
}

static bool on_grant(struct driver *driver, struct connection *connection,
                     const struct wire_message *message)
{
    const unsigned slot = granted_slot(driver, connection, message);
    if ((message->flags & WIRE_DENIED) != 0 || slot >= driver->under_way ||
        connection->left[slot] == 0) {
        return bench_fail("not what was asked for: %s", wire_reason_text(message->reason));
    }
    connection->grant[slot] = message->grant;
    driver->outstanding--;
    if (--connection->left[slot] > 0) {
        put_release(driver, connection, slot);
        put_acquire(driver, connection, slot);
    } else if (driver->contested) {
        put_release(driver, connection, slot);
    }
    return true;
}

/* Handle every whole frame that has come. */
static bool take_frames(struct driver *driver, struct connection *connection)
{
    size_t used = 0;
    for (;;) {
        struct wire_message message;
        size_t consumed;
        const enum wire_verdict verdict = wire_decode(connection->input + used,
                                                      connection->input_size - used,
                                                      WIRE_FRAME_MAX,
                                                      TO_CLIENT,
                                                      &message,
                                                      &consumed);
        if (verdict == WIRE_INCOMPLETE) {
            break;
        }
        if (verdict != WIRE_OK || message.kind == WIRE_GOODBYE) {
            return bench_fail("the server cut a connection off");
        }
        used += consumed;
        if (message.kind == WIRE_GRANT && !on_grant(driver, connection, &message)) {
            return false;
        }
    }
    connection->input_size -= used;
    memmove(connection->input, connection->input + used, connection->input_size);
    return true;
}

static bool receive_some(struct connection *connection)
{
    const ssize_t got = recv(connection->socket,
                             connection->input + connection->input_size,
                             INPUT_BYTES - connection->input_size,
                             0);
    if (got <= 0) {
        return bench_fail("the server closed a connection");
    }
    connection->input_size += (size_t)got;
    return true;
}

static bool say_hello(struct connection *connection)
{
    put_message(connection,
                &(struct wire_message){.kind = WIRE_HELLO,
                                       .magic = WIRE_MAGIC,
                                       .wire_version = WIRE_VERSION,
                                       .data = (const uint8_t *)"hf-bench",
                                       .data_size = 8});
    if (!flush(connection)) {
        return false;
    }
    for (;;) {
        struct wire_message message;
        size_t consumed;
        if (!receive_some(connection)) {
            return false;
        }
        const enum wire_verdict verdict = wire_decode(connection->input,
                                                      connection->input_size,
                                                      WIRE_FRAME_MAX,
                                                      TO_CLIENT,
                                                      &message,
                                                      &consumed);
        if (verdict == WIRE_OK && message.kind == WIRE_WELCOME) {
            connection->input_size = 0;
            return true;
        }
        if (verdict != WIRE_INCOMPLETE) {
            return bench_fail("the server does not welcome a connection");
        }
    }
}

/* ---- all of them ---- */

static bool driver_init(struct driver *driver, const int *sockets, const struct grants_kind *kind,
                        bool yardstick)
{
    driver->under_way = kind->under_way;
    /* One handle is with one client at a time, so the yardstick has one message under way. */
    driver->active = kind->contested && yardstick ? 1 : CONNECTIONS;
    driver->contested = kind->contested && !yardstick;
    driver->yardstick = yardstick;
    driver->outstanding = 0;
    driver->epoll = epoll_create1(EPOLL_CLOEXEC);
    for (unsigned i = 0; driver->epoll >= 0 && i < CONNECTIONS; i++) {
        struct connection *connection = &driver->connections[i];
        struct epoll_event event = {.events = EPOLLIN, .data.u32 = i};
        connection->socket = sockets[i];
        connection->number = i;
        connection->last_seq = 0;
        connection->answers = 0;
        connection->input_size = 0;
        connection->output_size = 0;
        if (epoll_ctl(driver->epoll, EPOLL_CTL_ADD, sockets[i], &event) != 0) {
            close(driver->epoll);
            driver->epoll = -1;
        }
    }
    return driver->epoll >= 0 || bench_fail("cannot watch sockets: %s", strerror(errno));
}

/* Get what is outstanding. */
static bool drain(struct driver *driver)
{
    while (driver->outstanding > 0) {
        struct epoll_event events[CONNECTIONS];
        const int ready = epoll_wait(driver->epoll, events, CONNECTIONS, TIMEOUT_MS);
        if (ready <= 0 && errno != EINTR) {
            return bench_fail("no grant within %d ms", TIMEOUT_MS);
        }
        for (int i = 0; i < ready; i++) {
            struct connection *connection = &driver->connections[events[i].data.u32];
            if (!receive_some(connection) || !take_frames(driver, connection) ||
                !flush(connection)) {
                return false;
            }
        }
    }
    return true;
}

/* The first grants: nothing is held yet. The yardstick expects a RELEASE with each ACQUIRE. */
static bool first_round(struct driver *driver)
{
    for (unsigned i = 0; i < driver->active; i++) {
        struct connection *connection = &driver->connections[i];
        for (unsigned slot = 0; slot < driver->under_way; slot++) {
            if (driver->yardstick) {
                put_release(driver, connection, slot);
            }
            put_acquire(driver, connection, slot);
            connection->left[slot] = 1;
            driver->outstanding++;
        }
        if (!flush(connection)) {
            return false;
        }
    }
    return drain(driver);
}

/* At least @grants grants, the same number for each handle. */
static bool driver_round(struct driver *driver, uint64_t grants, double *grants_per_second)
{
    const uint64_t requests = (uint64_t)driver->active * driver->under_way;
    const uint64_t each = (grants + requests - 1) / requests;
    const uint64_t begin = clock_now_ns();
    driver->outstanding = each * requests;
    for (unsigned i = 0; i < driver->active; i++) {
        struct connection *connection = &driver->connections[i];
        for (unsigned slot = 0; slot < driver->under_way; slot++) {
            if (!driver->contested) {
                put_release(driver, connection, slot);
            }
            put_acquire(driver, connection, slot);
            connection->left[slot] = each;
        }
        if (!flush(connection)) {
            return false;
        }
    }
    if (!drain(driver)) {
        return false;
    }
    *grants_per_second = (double)(each * requests) * 1e9 / (double)(clock_now_ns() - begin);
    return true;
}

/* ---- the rows ---- */

static uint64_t server_messages(const hf_server_stats *stats)
{
    return stats->acquires + stats->releases + stats->cancels + stats->grants + stats->denials +
           stats->recalls;
}

static bool run_rounds(struct bench *bench, struct bench_row *row, struct driver *subject,
                       struct driver *yardstick, const struct server_child *server, uint64_t grants)
{
    struct bench_series series = {0};
    struct server_report before, after;
    for (unsigned i = 0; i < CONNECTIONS; i++) {
        if (!say_hello(&subject->connections[i])) {
            return false;
        }
    }
    if (!first_round(subject) || !first_round(yardstick) || !server_child_report(server, &before)) {
        return false;
    }
    for (unsigned round = 0; round < bench->rounds; round++) {
        double ours, theirs;
        if (!driver_round(subject, grants, &ours) || !driver_round(yardstick, grants, &theirs)) {
            return false;
        }
        bench_series_add(&series, ours, theirs);
    }
    if (!server_child_report(server, &after)) {
        return false;
    }
    bench_row_measure(row, &series);
    row->messages_per_op =
        (double)(server_messages(&after.stats) - server_messages(&before.stats)) /
        (double)(after.stats.grants - before.stats.grants);
    return true;
}

static bool measure_grants(struct bench *bench, const struct grants_kind *kind)
{
    static struct driver subject, yardstick;
    struct server_child server = {0};
    struct echo echo = {0};
    struct bench_row row = {.name = kind->name, .unit = "grants/s", .yardstick_name = "relay"};
    bool done = server_child_start(&server, CONNECTIONS, NULL);
    if (done) {
        done = echo_start(&echo, CONNECTIONS);
        if (done) {
            done =
                driver_init(&subject, server.sockets, kind, false) &&
                driver_init(&yardstick, echo.sockets, kind, true) &&
                run_rounds(
                    bench, &row, &subject, &yardstick, &server, bench_scale(bench, kind->grants));
            close(subject.epoll);
            close(yardstick.epoll);
            done = echo_end(&echo) && done;
        }
        done = server_child_end(&server) && done;
    }
    if (done) {
        bench_row_add(bench, &row);
    }
    return done;
}

bool bench_sync_grants(struct bench *bench)
{
    static const struct grants_kind kinds[] = {
        {"64 connections, own handles, 1 under way", 60000, 1, false},
        {"64 connections, own handles, 32 under way", 400000, UNDER_WAY, false},
        {"64 connections queue for one handle", 10000, 1, true},
    };
    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
        if (!measure_grants(bench, &kinds[i])) {
            return false;
        }
    }
    return true;
}
