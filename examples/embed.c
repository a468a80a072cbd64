#include <holdfast/server.h>
#include <stdio.h>
#include <sys/wait.h>

static int dial(void *server) /* how a forked child gets a connection of its own */
{
    return hf_server_connect(server);
}

int main(void)
{
    hf_server *server;
    if (hf_server_new(NULL, &server) != 0 || hf_server_start(server) != 0) {
        return 1;
    }
    hf_client_config config = HF_CLIENT_CONFIG_INIT;
    config.dial = dial;
    config.dial_context = server;
    hf_client *client;
    hf_sync *counter;
    if (hf_client_from_fd(dial(server), &config, &client) != 0 ||
        hf_sync_open_name(client, "counter", 0, &counter) != 0) {
        return 1;
    }
    long value = 0;
    pid_t child = hf_fork(); /* from here two processes, which share no memory */
    for (int i = 0; i < 100000; i++) {
        hf_sync_acquire(counter, HF_EXCLUSIVE, NULL);
        hf_sync_get_value(counter, &value, sizeof(value));
        value++;
        hf_sync_set_value(counter, &value, sizeof(value));
        hf_sync_release(counter);
    }
    if (child > 0 && wait(NULL) == child) {
        hf_sync_acquire(counter, HF_SHARED, NULL);
        hf_sync_get_value(counter, &value, sizeof(value));
        printf("%ld\n", value); /* 200000 */
    }
    return 0;
}
