#include "lib/sync_stage.h"

#include "base/clock.h"
#include "lib/test.h"

#include <dirent.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>

void stage_init(struct stage *stage)
{
    *stage = (struct stage){.trips = 0};
    test_server_init(&stage->server);
}

void stage_start(struct stage *stage)
{
    test_server_start(&stage->server);
    raw_join(&stage->control, stage->server.address, "control");
}

void stage_deinit(struct stage *stage)
{
    raw_close(&stage->control);
    test_server_deinit(&stage->server);
}

static hf_client *join(struct stage *stage, const char *name, uint64_t quantum_ns)
{
    hf_client_config config = HF_CLIENT_CONFIG_INIT;
    hf_client *client = NULL;
    config.name = name;
    config.quantum_ns = quantum_ns;
    assert_int_equal(hf_client_connect(stage->server.address, &config, &client), 0);
    return client;
}

hf_client *stage_client(struct stage *stage, const char *name)
{
    return join(stage, name, 0);
}

hf_client *stage_batching_client(struct stage *stage, const char *name)
{
    const hf_client_config defaults = HF_CLIENT_CONFIG_INIT;
    return join(stage, name, defaults.quantum_ns);
}

hf_server_stats stage_stats(struct stage *stage)
{
    /* What was there before the ACQUIRE is handled before its answer goes out. The hold is kept
     * until the next time, so that the counters stand still now. */
    const uint64_t own = UINT64_C(1000000) + stage->control.number;
    if (stage->trips > 0) {
        raw_release(&stage->control, own, stage->control_grant, HF_INVALID);
    }
    stage->control_grant = raw_hold(&stage->control, own, HF_SHARED);
    stage->trips++;
    hf_server_stats stats = test_server_stats(&stage->server);
    stats.clients--;
    stats.handles -= 2; /* and the server's own, the table of mounts */
    stats.holds--;
    stats.acquires -= stage->trips;
    stats.grants -= stage->trips;
    stats.releases -= stage->trips - 1;
    return stats;
}

static void await(struct stage *stage, size_t offset, const char *what, uint64_t wanted)
{
    const uint64_t give_up_ns = clock_now_ns() + STAGE_PATIENCE_NS;
    uint64_t now = 0;
    do {
        const hf_server_stats stats = stage_stats(stage);
        memcpy(&now, (const char *)&stats + offset, sizeof(now));
        if (now == wanted) {
            return;
        }
    } while (clock_now_ns() < give_up_ns);
    fail_msg("%s stays %llu, not %llu", what, (unsigned long long)now, (unsigned long long)wanted);
}

void stage_await_queued(struct stage *stage, uint64_t queued)
{
    await(stage, offsetof(hf_server_stats, queued), "queued", queued);
}

void stage_await_clients(struct stage *stage, uint64_t clients)
{
    await(stage, offsetof(hf_server_stats, clients), "clients", clients);
}

uint64_t client_messages(hf_client *client)
{
    hf_client_stats stats;
    hf_client_get_stats(client, &stats);
    return stats.acquires_sent + stats.releases_sent + stats.cancels_sent + stats.grants_received +
           stats.recalls_received;
}

int await_client_error(hf_client *client)
{
    const uint64_t give_up_ns = clock_now_ns() + STAGE_PATIENCE_NS;
    int error;
    while ((error = hf_client_error(client)) == 0 && clock_now_ns() < give_up_ns) {
        sched_yield();
    }
    return error;
}

void await_recalls(hf_client *client, uint64_t recalls)
{
    const uint64_t give_up_ns = clock_now_ns() + STAGE_PATIENCE_NS;
    hf_client_stats stats;
    do {
        hf_client_get_stats(client, &stats);
    } while (stats.recalls_received < recalls && clock_now_ns() < give_up_ns);
    assert_int_equal(stats.recalls_received, recalls);
}

void await_grants(hf_client *client, uint64_t grants)
{
    const uint64_t give_up_ns = clock_now_ns() + STAGE_PATIENCE_NS;
    hf_client_stats stats;
    do {
        hf_client_get_stats(client, &stats);
    } while (stats.grants_received < grants && clock_now_ns() < give_up_ns);
    assert_int_equal(stats.grants_received, grants);
}

static hf_sync *open_handle(hf_client *client, uint64_t object, unsigned flags)
{
    hf_sync *handle = NULL;
    assert_int_equal(hf_sync_open(client, (hf_id){7, object}, flags, &handle), 0);
    return handle;
}

hf_sync *open_value(hf_client *client, uint64_t object)
{
    return open_handle(client, object, 0);
}

hf_sync *open_lock(hf_client *client, uint64_t object)
{
    return open_handle(client, object, HF_SYNC_LOCK);
}

uint64_t value_get(hf_sync *handle)
{
    uint64_t value = 0;
    const ssize_t size = hf_sync_get_value(handle, &value, sizeof(value));
    assert_true(size == 0 || size == sizeof(value));
    return value;
}

void value_set(hf_sync *handle, uint64_t value)
{
    assert_int_equal(hf_sync_set_value(handle, &value, sizeof(value)), 0);
}

uint64_t after_ms(uint64_t milliseconds)
{
    return clock_now_ns() + milliseconds * UINT64_C(1000000);
}

static void *run_acquirer(void *argument)
{
    struct acquirer *self = argument;
    self->result = self->call != NULL ? self->call(self)
                                      : hf_sync_acquire(self->handle, self->mode, &self->opts);
    return NULL;
}

void acquirer_start(struct acquirer *acquirer)
{
    assert_int_equal(pthread_create(&acquirer->thread, NULL, run_acquirer, acquirer), 0);
}

int acquirer_join(struct acquirer *acquirer)
{
    struct timespec give_up;
    clock_gettime(CLOCK_REALTIME, &give_up);
    give_up.tv_sec += (time_t)(STAGE_PATIENCE_NS / UINT64_C(1000000000));
    assert_int_equal(pthread_timedjoin_np(acquirer->thread, NULL, &give_up), 0);
    return acquirer->result;
}

bool can_watch_forks(void)
{
    const char *variant = getenv("HF_TEST_VARIANT");
    return variant == NULL || strcmp(variant, "tsan") != 0;
}

void skip_without_forks(void)
{
    if (!can_watch_forks()) {
        skip();
    }
}

int count_threads(void)
{
    DIR *folder = opendir("/proc/self/task");
    assert_non_null(folder);
    int count = -2; /* . and .. */
    while (readdir(folder) != NULL) {
        count++;
    }
    closedir(folder);
    return count;
}

void await_threads(int most)
{
    const uint64_t give_up_ns = clock_now_ns() + STAGE_PATIENCE_NS;
    while (count_threads() > most && clock_now_ns() < give_up_ns) {
        sched_yield();
    }
    assert_in_range(count_threads(), 1, most);
}
